"""Pictures of all samples -> what the frozen part of a backbone makes of them."""

from faceneuro.models import EXTRACTOR
from faceneuro.models.backbones import load, origin
from faceneuro.studies.pictures import VIEW, images_of
from faceneuro.tables import KEYS, read_table
from faceneuro.training.activations import cache
from faceneuro.training.devices import lease
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    study, views = snakemake.params.study, snakemake.params.images
    ((family, settings),) = snakemake.params.backbones.items()
    images = read_table(snakemake.input.images, [*KEYS, "crop_table", "crop_row"])
    kind, key = snakemake.wildcards.get("images", "rgb"), f"studies.{study}.backbones"
    frozen, _, _ = load(family, settings, key, maps=study == "parkinson" and family == EXTRACTOR)
    pictures = images_of(
        images, snakemake.input.crops, kind, views["views"], views["gray"], settings.get("pixels", VIEW)
    )
    cache(
        run.progress(pictures, len(images), "image"),
        len(images),
        frozen,
        snakemake.output.activations,
        **snakemake.params.cache,
        metadata={"weights": origin(family, settings, key)},
        key=f"studies.{study}.cache",
        device=device.name,
        threads=snakemake.threads,
    )
