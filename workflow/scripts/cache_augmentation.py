"""Synthetic faces, put back into their crops -> what the frozen part of the palsy study's network makes of them."""

from faceneuro.models.backbones import load, origin
from faceneuro.studies.augmentation import GENERATED, generated, pictures_of, warped
from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.dataset import folder_of
from faceneuro.tables import read_table
from faceneuro.training.activations import cache
from faceneuro.training.devices import lease
from faceneuro.workflow import job

KEY = "studies.palsy.backbones"

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    conditions = read_table(snakemake.input.conditions)
    if snakemake.wildcards.kind == GENERATED:
        index = snakemake.input.index
        make = generated(folder_of(index), read_table(index))
    else:
        make = warped(Faces.load(snakemake.input.images, snakemake.input.faces))
    ((family, settings),) = snakemake.params.backbones.items()
    views = snakemake.params.images
    pictures = pictures_of(
        conditions, snakemake.input.aligned, snakemake.input.crops, make, count=views["views"], gray=views["gray"]
    )
    cache(
        run.progress(pictures, len(conditions), "picture"),
        len(conditions),
        load(family, settings, KEY)[0],
        snakemake.output.activations,
        **snakemake.params.cache,
        metadata={"weights": origin(family, settings, KEY)},
        device=device.name,
        threads=snakemake.threads,
    )
