"""Predictions, metrics and audits of the Parkinson study -> the paper's table, published and reproduced, and more."""

from pathlib import Path

import pandas as pd

from faceneuro.evaluation.paired import paired_differences
from faceneuro.report.parkinson import COMPARED, PAIRS, judge_claims, parkinson_table, write_parkinson
from faceneuro.studies.parkinson import CLASSES, LINES, note_of
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    metrics, predictions = read_table(snakemake.input.metrics), read_table(snakemake.input.predictions)
    # The protocol of held-out data sets is an audit, not a result.
    metrics, predictions = (table[table["protocol"] == "grouped"] for table in (metrics, predictions))
    run = set(metrics["model"])
    table = parkinson_table(
        metrics,
        snakemake.input.published,
        LINES,
        cohort=snakemake.params.cohort,
        virtual=snakemake.params.virtual,
        permuted=snakemake.params.permuted,
        notes={model: note_of(model, snakemake.params.backbones) for *_, model in LINES if model in run},
    )
    pairs = [pair for pair in PAIRS if run.issuperset(pair)]
    differences = paired_differences(predictions, pairs, COMPARED, CLASSES, **snakemake.params.bootstrap)
    audits = pd.read_csv(snakemake.input.audits)
    stem = Path(snakemake.output.csv).with_suffix("")
    write_parkinson(table, differences, judge_claims(table, differences), audits, stem)
