"""Reduced inputs of one fold -> a trained model, its history, its predictions for the samples held out."""

import numpy as np

from faceneuro.studies.als import CLASSES, read_samples
from faceneuro.tables import read_table
from faceneuro.training.devices import lease
from faceneuro.training.fit import fit, write_fold
from faceneuro.training.folds import roles_of
from faceneuro.training.reduction import Reduction
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    samples, landmarks = read_samples(snakemake.input.samples)
    fold, model = int(snakemake.wildcards.fold), snakemake.wildcards.model
    roles = roles_of(read_table(snakemake.input.folds), fold, samples)
    fitted = fit(
        model,
        Reduction.load(snakemake.input.reduction).inputs(np.load(snakemake.input.gram), landmarks),
        (samples["label"] == CLASSES[1]).to_numpy(),
        roles,
        snakemake.params.training,
        key="studies.als.training",
        device=device.name,
        threads=snakemake.threads,
        progress=run.progress,
    )
    key = {"study": "als", "protocol": snakemake.wildcards.protocol, "model": model, "fold": fold}
    write_fold(fitted, samples, roles, key, snakemake.output, run.provenance)
