"""Frames of one shard of subjects -> landmarks and blendshapes."""

from faceneuro.assets import FACE_LANDMARKER, verify
from faceneuro.features.landmarks import LandmarkDetector, landmarks_of_clip
from faceneuro.tables import LANDMARKS, TableWriter, read_clips
from faceneuro.workflow import job

with job(snakemake) as run:
    model = verify(snakemake.input.model, FACE_LANDMARKER)
    with (
        LandmarkDetector(model, **snakemake.params.options) as detector,
        TableWriter(snakemake.output.landmarks, LANDMARKS, run.provenance) as table,
    ):
        for clip, frames in run.progress(read_clips(snakemake.input.frames)):
            for row in landmarks_of_clip(detector, frames):
                table.append(clip | row)
