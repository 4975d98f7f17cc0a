"""Manifest of one shard -> its selected frames, and what decoding met."""

from faceneuro.tables import DECODING, FRAMES, TableWriter, read_rows
from faceneuro.video.decoding import decode_clip
from faceneuro.workflow import job

with (
    job(snakemake) as run,
    TableWriter(snakemake.output.frames, FRAMES, run.provenance, rows_per_group=16) as frames,
    TableWriter(snakemake.output.decoding, DECODING, run.provenance) as reports,
):
    for clip in run.progress(read_rows(snakemake.input.manifest)):
        reports.append(decode_clip(clip, frames.append, **snakemake.params.selection))
