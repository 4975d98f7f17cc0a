"""Predictions and metrics of the palsy study -> its three figures."""

from pathlib import Path

from faceneuro.report.classification import cohort_note
from faceneuro.report.figures import calibration_curve, confusion_matrices, roc_curves
from faceneuro.studies.palsy import CLASSES, PUBLISHED_MODEL
from faceneuro.tables import read_table
from faceneuro.workflow import job

COMPARED = ("handcrafted_fnn", "rgb_mixer", "early_rgb", "late_rgb", "surroundings_mixer")

with job(snakemake):
    confusion, roc, calibration = (
        Path(snakemake.output[name][0]).with_suffix("") for name in ("confusion", "roc", "calibration")
    )
    caption = f"{snakemake.params.cohort}: {cohort_note(snakemake.params.virtual, snakemake.params.permuted)}"
    predictions = read_table(snakemake.input.predictions)
    models = list(predictions["model"].unique())
    model = PUBLISHED_MODEL if PUBLISHED_MODEL in models else models[0]
    confusion_matrices(predictions, model, CLASSES, caption, confusion)
    # More curves than these cannot be told apart; the areas of all are in the table.
    shown = [name for name in COMPARED if name in models] or models[:1]
    roc_curves(
        predictions[predictions["model"].isin(shown)], read_table(snakemake.input.metrics), CLASSES, caption, roc
    )
    calibration_curve(predictions, model, CLASSES, caption, calibration, **snakemake.params.bootstrap)
