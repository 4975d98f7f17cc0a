"""Metrics of the ALS study -> Table I of the paper, published and reproduced."""

from pathlib import Path

from faceneuro.report.classification import classification_table, write_classification
from faceneuro.studies.als import PUBLISHED_MODEL, TABLE_ROWS
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    table = classification_table(
        read_table(snakemake.input.metrics),
        snakemake.input.published,
        TABLE_ROWS,
        published_model=PUBLISHED_MODEL,
        cohort=snakemake.params.cohort,
        virtual=snakemake.params.virtual,
        permuted=snakemake.params.permuted,
    )
    write_classification(table, Path(snakemake.output.csv).with_suffix(""), "ALS from orofacial video (Table I)")
