"""Frames and landmarks of one shard of subjects -> faces brought to one place, and 68 points of each."""

from faceneuro.features.alignment import align_rows
from faceneuro.tables import ALIGNED, TableWriter
from faceneuro.workflow import job

with job(snakemake) as run, TableWriter(snakemake.output.aligned, ALIGNED, run.provenance) as table:
    rows = align_rows(snakemake.input.frames, snakemake.input.landmarks, snakemake.params.at_most)
    for row in run.progress(rows, unit="face"):
        table.append(row)
