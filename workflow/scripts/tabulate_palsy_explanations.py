"""Judged explanations of all models and folds of the palsy study -> a table."""

from pathlib import Path

from faceneuro.report.explanations import explanations_table, write_explanations
from faceneuro.studies.palsy import LINES, note_of
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    rows = read_table(snakemake.input.explanations)
    people = {name: snakemake.params[name] for name in ("cohort", "virtual", "permuted")}
    notes = {model: note_of(model, snakemake.params.backbones) for model in rows["model"].unique()}
    table = explanations_table(rows, LINES, notes=notes, **people, **snakemake.params.bootstrap)
    write_explanations(table, Path(snakemake.output.csv).with_suffix(""), **people)
