"""Landmarks and crops of the study's clips -> one sample per subject, and the images that it is made of."""

from faceneuro.studies.parkinson import samples
from faceneuro.tables import EXPRESSION_IMAGES, PARKINSON_SAMPLES, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    rows, images = samples(
        snakemake.input.manifest,
        snakemake.input.quality,
        snakemake.input.landmarks,
        snakemake.input.crops,
        groups=snakemake.params.groups,
        tasks=snakemake.params.tasks,
        filled=snakemake.params.filled,
        stages=snakemake.params.stages,
        least_expressions=snakemake.params.least_expressions,
        permute=snakemake.params.permute_labels,
    )
    write_table(rows, snakemake.output.samples, PARKINSON_SAMPLES, run.provenance)
    write_table(images, snakemake.output.images, EXPRESSION_IMAGES, run.provenance)
