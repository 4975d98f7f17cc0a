"""Predictions with and without synthetic pictures -> a table of whether they help."""

from pathlib import Path

from faceneuro.evaluation.metrics import evaluate
from faceneuro.evaluation.paired import paired_differences
from faceneuro.report.augmentation import augmentation_table, comparisons, judge_augmentation, write_augmentation
from faceneuro.report.palsy import METRICS
from faceneuro.studies.augmentation import added, arms
from faceneuro.studies.palsy import CLASSES, read_samples
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    settings = snakemake.params
    predictions, conditions = read_table(snakemake.input.predictions), read_table(snakemake.input.conditions)
    samples, _ = read_samples(snakemake.input.samples)
    tried = arms(settings.per_identity)
    table = augmentation_table(
        evaluate(predictions, CLASSES, **settings.bootstrap),
        tried,
        added(conditions, samples, read_table(snakemake.input.folds), settings.per_identity),
        cohort=settings.cohort,
        virtual=settings.virtual,
        permuted=settings.permuted,
    )
    differences = paired_differences(
        predictions, comparisons(tried), tuple(METRICS.values()), CLASSES, **settings.bootstrap
    )
    row, size, steps, cohort = settings.generator
    people = read_table(snakemake.input.faces, ["subject", "role"]).query("role == 'train'")["subject"].nunique()
    words = f"{row}, size {size}, {steps:,} steps of training, on {people} people of cohort {cohort}"
    stem = Path(snakemake.output.csv).with_suffix("")
    write_augmentation(table, differences, judge_augmentation(table, differences), stem, generator=words)
