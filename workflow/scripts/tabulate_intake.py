"""What was found of every data set -> the intake table."""

from pathlib import Path

from faceneuro.report.intake import write_intake
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    findings, files = read_table(snakemake.input.intake), read_table(snakemake.input.files)
    write_intake(findings, files, Path(snakemake.output.csv).with_suffix(""))
