"""Faces of the synthesis study, and exact targets -> what the extractors see in each: points and an embedding."""

from functools import partial

from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.extractors import load_extractor
from faceneuro.synthesis.scoring import Networks, see_study
from faceneuro.synthesis.sizes import SIZES
from faceneuro.tables import read_table
from faceneuro.training.devices import lease
from faceneuro.training.loop import reproducible
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device, reproducible(0, device.name, snakemake.threads):
    size = SIZES[snakemake.params.size]
    networks = [load_extractor(kind, size, snakemake.input[kind]).to(device.name) for kind in ("identity", "landmarks")]
    see_study(
        Faces.load(snakemake.input.images, snakemake.input.faces),
        len(read_table(snakemake.input.pairs, ["pair"])),
        snakemake.input.get("targets") or None,
        Networks(*networks, device.name),
        snakemake.output.seen,
        snakemake.params.batch_size,
        partial(run.progress, unit="batch"),
    )
