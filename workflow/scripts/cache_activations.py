"""Pictures of all samples -> what the frozen part of a backbone makes of them."""

from faceneuro.models.backbones import load, origin
from faceneuro.studies.palsy import images_of, read_samples
from faceneuro.training.activations import cache
from faceneuro.training.devices import lease
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    images, family = snakemake.wildcards.images, snakemake.wildcards.family
    settings = snakemake.params.backbones[family]
    samples, _ = read_samples(snakemake.input.samples)
    views = snakemake.params.images
    frozen, _, _ = load(family, settings)
    cache(
        run.progress(images_of(samples, snakemake.input.crops, images, views["views"], views["gray"]), len(samples)),
        len(samples),
        frozen,
        snakemake.output.activations,
        **snakemake.params.cache,
        metadata={"weights": origin(family, settings)},
        device=device.name,
        threads=snakemake.threads,
    )
