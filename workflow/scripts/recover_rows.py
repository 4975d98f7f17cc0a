"""What the review prints below each block of its forest plot -> the rows of it that are illegible."""

from pathlib import Path

from faceneuro.meta.effects import read_studies
from faceneuro.report.meta_analysis import write_recovery
from faceneuro.studies.meta_analysis import read_printed, recover_rows
from faceneuro.workflow import job

with job(snakemake):
    studies = read_studies(snakemake.input.studies)
    weights = read_printed(snakemake.input.studies).set_index("study")["weight_pct"]
    rows, residuals = recover_rows(studies, read_printed(snakemake.input.statistics), weights)
    write_recovery(Path(snakemake.output.csv).with_suffix(""), studies, rows, residuals)
