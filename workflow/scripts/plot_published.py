"""A study's table -> every published number and the same number here, side by side."""

from pathlib import Path

import pandas as pd

from faceneuro.report.published_figures import published_figure
from faceneuro.workflow import job

with job(snakemake):
    table = pd.read_csv(snakemake.input.table)
    published_figure(snakemake.wildcards.study, table, Path(snakemake.output[0]).with_suffix(""))
