"""Verdicts of all cohorts -> the quality table."""

from pathlib import Path

from faceneuro.report.quality import write_quality
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    write_quality([read_table(path) for path in snakemake.input], Path(snakemake.output.csv).with_suffix(""))
