"""Predictions and metrics of the Parkinson study -> confusion matrices, ROC and calibration curves."""

from pathlib import Path

from faceneuro.report.classification import cohort_note
from faceneuro.report.figures import calibration_curve, confusion_matrices, roc_curves
from faceneuro.studies.parkinson import CLASSES
from faceneuro.tables import read_table
from faceneuro.workflow import job

VIEWS = [("grouped", "subject")]

with job(snakemake):
    confusion, roc, calibration = (
        Path(snakemake.output[name][0]).with_suffix("") for name in ("confusion", "roc", "calibration")
    )
    caption = f"{snakemake.params.cohort}: {cohort_note(snakemake.params.virtual, snakemake.params.permuted)}"
    predictions = read_table(snakemake.input.predictions)
    confusion_matrices(predictions, snakemake.params.model, CLASSES, caption, confusion, views=VIEWS)
    roc_curves(predictions, read_table(snakemake.input.metrics), CLASSES, caption, roc, views=VIEWS)
    calibration_curve(predictions, snakemake.params.model, CLASSES, caption, calibration, **snakemake.params.bootstrap)
