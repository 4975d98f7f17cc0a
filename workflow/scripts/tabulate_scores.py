"""Rows of all recordings, and files that are none -> one table."""

from pathlib import Path

from faceneuro.report.score import write_scores
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    scores = read_table(snakemake.input.rows)
    stem = Path(snakemake.output.csv).with_suffix("")
    write_scores(scores, snakemake.params.left_out, snakemake.params.study, stem)
