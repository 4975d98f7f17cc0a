"""Pairs of faces and a generator -> the synthetic face of each, a file each, and a table of them."""

from functools import partial

from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.dataset import folder_of
from faceneuro.synthesis.extractors import KINDS, Extractors, load_extractor
from faceneuro.synthesis.generator import load_generator
from faceneuro.synthesis.sampling import sample
from faceneuro.synthesis.sizes import SIZES
from faceneuro.tables import SYNTHETIC, read_rows, write_table
from faceneuro.training.devices import lease
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    size, as_released = SIZES[snakemake.params.size], snakemake.params.as_released
    networks = [load_extractor(kind, size, snakemake.input[kind], as_released=as_released) for kind in KINDS]
    there = snakemake.input.get("there")
    settings = dict(snakemake.params.sampling)
    made = sample(
        load_generator(snakemake.input.model, Extractors(*networks)),
        read_rows(snakemake.input.pairs),
        Faces.load(snakemake.input.images, snakemake.input.faces),
        **settings | {"steps": settings["steps"] or size.sampling_steps},
        folder=folder_of(snakemake.output.index),
        back=folder_of(there) if there else None,
        device=device.name,
        threads=snakemake.threads,
        progress=partial(run.progress, unit="batch"),
    )
    write_table(made, snakemake.output.index, SYNTHETIC, run.provenance)
