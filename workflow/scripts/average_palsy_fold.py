"""Predictions of two branches of a fold -> their mean."""

from faceneuro.studies.palsy import average
from faceneuro.tables import PREDICTIONS, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    branches = [read_table(path) for path in snakemake.input.predictions]
    write_table(average(branches, snakemake.wildcards.model), snakemake.output.predictions, PREDICTIONS, run.provenance)
