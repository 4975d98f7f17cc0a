"""Analyses and rows of a collection of effect sizes -> two tables to read."""

from pathlib import Path

from faceneuro.meta.effects import remarks
from faceneuro.report.meta_analysis import write_pooled, write_rows
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    pooled, rows = read_table(snakemake.input.pooled), read_table(snakemake.input.rows)
    name = snakemake.wildcards.collection
    write_pooled(Path(snakemake.output.pooled[0]).with_suffix(""), pooled, rows, name, remarks(rows))
    write_rows(Path(snakemake.output.rows[0]).with_suffix(""), rows, name)
