"""Faces and extractors -> a trained generator, one row of the paper's table, and the course of its training."""

from functools import partial
from pathlib import Path

import pandas as pd

from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.extractors import KINDS, Extractors, load_extractor
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.training import Settings, build, start_from, train
from faceneuro.training.devices import lease
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    name, as_released = snakemake.params.size, snakemake.params.as_released
    size, settings = SIZES[name], Settings.of(SIZES[name], snakemake.params.training)
    networks = [load_extractor(kind, size, snakemake.input[kind], as_released=as_released) for kind in KINDS]
    generator = build(snakemake.wildcards.model, name, Extractors(*networks), settings.seed, as_released)
    if start := snakemake.input.get("start"):
        start_from(generator, start)
    history = train(
        generator,
        Faces.load(snakemake.input.images, snakemake.input.faces),
        settings,
        folder=Path(snakemake.output.model).parent,
        stamp=snakemake.params.code,
        device=device.name,
        threads=snakemake.threads,
        # A job may be given several GPUs, with --set-resources train_generator:gpu=2.
        processes=len(device.index.split(",")) if device.index else 1,
        progress=partial(run.progress, unit="step"),
    )
    pd.DataFrame(history).to_csv(snakemake.output.history, index=False)
