"""Predictions and metrics of the palsy study -> the paper's table, published and reproduced, and what follows."""

from pathlib import Path

from faceneuro.evaluation.paired import paired_differences
from faceneuro.models import FAMILIES, IMAGES, missing_package
from faceneuro.report.palsy import METRICS, PAIRS, judge_claims, palsy_table, write_palsy
from faceneuro.studies.palsy import CLASSES, LINES, note_of
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    metrics = read_table(snakemake.input.metrics)
    run = set(metrics["model"])
    missing = {family: sentence for family in FAMILIES if (sentence := missing_package(family))}
    notes = {model: note_of(model, snakemake.params.backbones) for *_, model in LINES if model in run}
    notes |= {model: missing[family] for model, (_, family) in IMAGES.items() if family in missing and model not in run}
    table = palsy_table(
        metrics,
        snakemake.input.published,
        LINES,
        cohort=snakemake.params.cohort,
        virtual=snakemake.params.virtual,
        permuted=snakemake.params.permuted,
        notes={model: note for model, note in notes.items() if note},
    )
    pairs = [pair for pair in PAIRS if run.issuperset(pair)]
    predictions = read_table(snakemake.input.predictions)
    differences = paired_differences(predictions, pairs, list(METRICS.values()), CLASSES, **snakemake.params.bootstrap)
    stem = Path(snakemake.output.csv).with_suffix("")
    write_palsy(table, differences, judge_claims(table, differences), stem)
