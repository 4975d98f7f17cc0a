"""Audits of all studies -> one table of verdicts."""

from pathlib import Path

import pandas as pd

from faceneuro.report.audits import write_audits
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    # The Parkinson study's own audits, of origin and age.
    own = [pd.read_csv(path).assign(study="parkinson") for path in snakemake.input.own]
    audits = [read_table(path) for path in snakemake.input.audits]
    write_audits([*audits, *own], snakemake.params.studies, Path(snakemake.output.csv).with_suffix(""))
