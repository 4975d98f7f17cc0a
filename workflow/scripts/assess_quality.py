"""Manifest, decoding reports and landmarks of a cohort -> one verdict per clip."""

from faceneuro.features.quality import assess_cohort
from faceneuro.tables import QUALITY, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    quality = assess_cohort(
        read_table(snakemake.input.manifest),
        read_table(snakemake.input.decoding),
        read_table(snakemake.input.landmarks, ["cohort", "subject", "clip", "frame", "found", "faces"]),
        detection_rate=snakemake.params.detection_rate,
        **snakemake.params.limits,
    )
    write_table(quality, snakemake.output.quality, QUALITY, run.provenance)
