"""Samples of a study -> the role of each in every fold of one protocol."""

from importlib import import_module

import pyarrow.parquet as pq

from faceneuro.tables import FOLDS, KEYS, read_table, write_table
from faceneuro.training.folds import split
from faceneuro.workflow import job

with job(snakemake) as run:
    known = pq.read_schema(snakemake.input.samples).names
    samples = read_table(snakemake.input.samples, [name for name in (*KEYS, "label", "source") if name in known])
    study = import_module(f"faceneuro.studies.{snakemake.wildcards.study}")
    folds = split(
        samples,
        snakemake.wildcards.study,
        snakemake.wildcards.protocol,
        expected=snakemake.params.expected,
        positive=study.CLASSES[1],
        negative=study.CLASSES[0],
        # Which models are trained under a protocol makes no difference to its folds.
        **{name: value for name, value in snakemake.params.settings.items() if name != "models"},
    )
    write_table(folds, snakemake.output.folds, FOLDS, run.provenance)
