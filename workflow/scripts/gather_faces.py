"""Aligned faces of a cohort -> those that the synthesis study uses, in one file, and who of them is learnt from."""

from faceneuro.studies.synthesis import gather
from faceneuro.workflow import job

with job(snakemake) as run:
    gather(
        snakemake.input.aligned,
        snakemake.input.manifest,
        snakemake.input.quality,
        snakemake.output.images,
        snakemake.output.faces,
        groups=snakemake.params.groups,
        tasks=snakemake.params.tasks,
        pixels=snakemake.params.pixels,
        test_fraction=snakemake.params.test_fraction,
        seed=snakemake.params.seed,
        provenance=run.provenance,
    )
