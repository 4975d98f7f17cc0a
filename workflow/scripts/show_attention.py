"""Weights of the attention, and the truth where it is known -> which expressions count in each class, and why."""

from itertools import chain
from pathlib import Path

from faceneuro.cohorts.virtual.heads import UNIT_NAMES
from faceneuro.cohorts.virtual.tasks import TASKS
from faceneuro.evaluation.attention import follows_loss, gate_by_expression, movement_lost
from faceneuro.report.classification import cohort_note
from faceneuro.report.parkinson import write_attention
from faceneuro.report.parkinson_figures import attention_figure
from faceneuro.studies.parkinson import CLASSES, PUBLISHED_MODEL, note_of
from faceneuro.tables import read_rows, read_table
from faceneuro.workflow import job

with job(snakemake):
    gates, bootstrap, expressions = (
        read_table(snakemake.input.attention),
        snakemake.params.bootstrap,
        snakemake.params.tasks,
    )
    about = {name: snakemake.params[name] for name in ("cohort", "virtual", "permuted")}
    losses = None
    if about["virtual"]:
        clips = read_table(snakemake.input.manifest)
        truth = chain.from_iterable(read_rows(path, ["subject", "clip", "units"]) for path in snakemake.input.truth)
        task_of = {clip: task for clip, task in clips[["clip", "task"]].itertuples(index=False) if task in expressions}
        gestures = {name: TASKS[name].gestures[0] for name in expressions}
        losses = movement_lost(truth, task_of, gestures, UNIT_NAMES)
        losses = losses.merge(gates[["subject", "label"]].drop_duplicates(), on="subject")
    backbone = note_of(PUBLISHED_MODEL, snakemake.params.backbones)
    weights = gate_by_expression(gates, expressions, CLASSES, **bootstrap)
    followed = follows_loss(gates, losses, expressions, CLASSES, **bootstrap)
    table, figure = (Path(path).with_suffix("") for path in (snakemake.output.csv, snakemake.output.figure[0]))
    write_attention(weights, followed, table, **about, backbone=backbone)
    caption = f"{about['cohort']}: {cohort_note(about['virtual'], about['permuted'])}"
    attention_figure(weights, losses, expressions, CLASSES, caption, figure)
