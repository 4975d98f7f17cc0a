"""Faces of the synthesis study -> a network that looks at faces, the course of its training, how good it is."""

from functools import partial

import pandas as pd

from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.extractor_training import Settings, save_extractor, train_extractor
from faceneuro.synthesis.extractors import load_extractor
from faceneuro.synthesis.sizes import SIZES
from faceneuro.training.devices import lease
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    size = snakemake.params.size
    known = snakemake.input.get("identity")
    trained = train_extractor(
        snakemake.wildcards.kind,
        Faces.load(snakemake.input.images, snakemake.input.faces),
        size,
        Settings.of(size, snakemake.params.training),
        load_extractor("identity", SIZES[size], known) if known else None,
        key="studies.synthesis.extractor_training",
        device=device.name,
        threads=snakemake.threads,
        progress=partial(run.progress, unit="step"),
    )
    pd.DataFrame(trained.history).to_csv(snakemake.output.history, index=False)
    pd.DataFrame(trained.quality).to_csv(snakemake.output.quality, index=False)
    save_extractor(trained, snakemake.output.weights)
