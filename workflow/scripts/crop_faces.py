"""Frames and landmarks of one shard of subjects -> crops of the faces, and the frames without them."""

from faceneuro.features.crops import crop_rows
from faceneuro.tables import CROPS, TableWriter
from faceneuro.workflow import job

with job(snakemake) as run, TableWriter(snakemake.output.crops, CROPS, run.provenance) as table:
    rows = crop_rows(snakemake.input.frames, snakemake.input.landmarks, snakemake.params.at_most)
    for row in run.progress(rows, unit="crop"):
        table.append(row)
