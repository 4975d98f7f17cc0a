"""Held-out figures of the extractors that were trained here -> a table of them."""

from pathlib import Path

import pandas as pd

from faceneuro.report.extractors import write_extractors
from faceneuro.workflow import job

with job(snakemake):
    quality = pd.concat(map(pd.read_csv, snakemake.input.quality), ignore_index=True)
    settings = snakemake.params
    write_extractors(
        quality, settings.own, Path(snakemake.output.csv).with_suffix(""), settings.cohort, settings.virtual
    )
