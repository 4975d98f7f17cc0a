"""Samples of a study -> the role of each in every fold of one protocol."""

from importlib import import_module

from faceneuro.tables import FOLDS, KEYS, read_table, write_table
from faceneuro.training.folds import split
from faceneuro.workflow import job

with job(snakemake) as run:
    samples = read_table(snakemake.input.samples, [*KEYS, "label"])
    study = import_module(f"faceneuro.studies.{snakemake.wildcards.study}")
    folds = split(
        samples,
        snakemake.wildcards.study,
        snakemake.wildcards.protocol,
        expected=snakemake.params.expected,
        positive=study.CLASSES[1],
        **snakemake.params.settings,
    )
    write_table(folds, snakemake.output.folds, FOLDS, run.provenance)
