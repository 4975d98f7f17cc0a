"""Histories, predictions and metrics of the ALS study -> its four figures."""

from pathlib import Path

from faceneuro.report.classification import cohort_note
from faceneuro.report.figures import calibration_curve, confusion_matrices, learning_curves, roc_curves
from faceneuro.studies.als import CLASSES, PUBLISHED_MODEL
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    curves, confusion, roc, calibration = (Path(figure).with_suffix("") for figure in snakemake.output[::2])
    caption = f"{snakemake.params.cohort}: {cohort_note(snakemake.params.virtual, snakemake.params.permuted)}"
    predictions = read_table(snakemake.input.predictions)
    models = list(predictions["model"].unique())
    model = PUBLISHED_MODEL if PUBLISHED_MODEL in models else models[0]
    learning_curves(read_table(snakemake.input.histories), model, caption, curves)
    confusion_matrices(predictions, model, CLASSES, caption, confusion)
    roc_curves(predictions, read_table(snakemake.input.metrics), CLASSES, caption, roc)
    calibration_curve(predictions, model, CLASSES, caption, calibration, **snakemake.params.bootstrap)
