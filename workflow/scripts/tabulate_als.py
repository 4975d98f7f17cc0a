"""Predictions and metrics of the ALS study -> Table I of the paper, published and reproduced, and what follows."""

from pathlib import Path

from faceneuro.evaluation.paired import paired_differences
from faceneuro.report.als import COMPARED, PAIRS, judge_claims
from faceneuro.report.classification import classification_table, write_classification
from faceneuro.studies.als import CLASSES, PUBLISHED_MODEL, TABLE_ROWS
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
    predictions = read_table(snakemake.input.predictions)
    held_out = predictions[predictions["protocol"] == "grouped"]
    differences = paired_differences(held_out, PAIRS, COMPARED, CLASSES, **snakemake.params.bootstrap)
    stem = Path(snakemake.output.csv).with_suffix("")
    write_classification(
        table, differences, judge_claims(table, differences), stem, "ALS from orofacial video (Table I)"
    )
