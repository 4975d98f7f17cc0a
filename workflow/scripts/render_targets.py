"""Pairs of virtual patients -> the exact target of each, aligned, and the truth about it."""

from faceneuro.assets import FACE_LANDMARKER, verify
from faceneuro.cohorts.virtual.heads import UNIT_NAMES, load_heads
from faceneuro.cohorts.virtual.record import POINTS
from faceneuro.cohorts.virtual.targets import target_rows
from faceneuro.features.landmarks import LandmarkDetector
from faceneuro.tables import TableWriter, read_rows, read_table, targets_schema
from faceneuro.workflow import job

with job(snakemake) as run:
    model = verify(snakemake.input.model, FACE_LANDMARKER)
    heads, cohort = load_heads(snakemake.input.heads), snakemake.params.settings
    pairs, tasks = list(read_rows(snakemake.input.pairs)), read_table(snakemake.input.faces, ["task"])["task"]
    with (
        LandmarkDetector(model, **snakemake.params.options) as detector,
        TableWriter(snakemake.output.targets, targets_schema(len(UNIT_NAMES), len(POINTS)), run.provenance) as table,
    ):
        rows = target_rows(heads, pairs, tasks, cohort, detector)
        for row in run.progress(rows, total=len(pairs), unit="target"):
            table.append(row)
