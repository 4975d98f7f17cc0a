"""Predictions of all protocols, models and folds of a study -> metrics with intervals."""

from importlib import import_module

from faceneuro.evaluation.metrics import evaluate
from faceneuro.tables import METRICS, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    study = import_module(f"faceneuro.studies.{snakemake.wildcards.study}")
    predictions = read_table(snakemake.input.predictions)
    metrics = evaluate(predictions, study.CLASSES, **snakemake.params.bootstrap)
    write_table(metrics, snakemake.output.metrics, METRICS, run.provenance)
