"""Frames of one shard of subjects -> flow magnitude table."""

from faceneuro.features.flow import flow_of_clip
from faceneuro.tables import TableWriter, flow_schema, read_clips
from faceneuro.workflow import job

with job(snakemake) as run:
    grid = tuple(snakemake.params.grid)
    with TableWriter(snakemake.output.flow, flow_schema(grid), run.provenance) as table:
        for clip, frames in run.progress(read_clips(snakemake.input.frames)):
            for row in flow_of_clip(frames, grid, **snakemake.params.farneback):
                table.append(clip | row)
