"""Samples, folds and inner products -> the reduction fitted on the training part of one fold."""

import numpy as np

from faceneuro.studies.als import read_samples
from faceneuro.tables import KEYS, read_table
from faceneuro.training.folds import roles_of
from faceneuro.training.reduction import reduce
from faceneuro.workflow import job

with job(snakemake):
    samples, landmarks = read_samples(snakemake.input.samples)
    roles = roles_of(read_table(snakemake.input.folds), int(snakemake.wildcards.fold), samples)
    reduction = reduce(
        np.load(snakemake.input.gram),
        landmarks,
        samples[list(KEYS)].to_numpy().tolist(),
        np.flatnonzero(roles == "train"),
        snakemake.params.components,
        snakemake.threads,
    )
    reduction.save(snakemake.output.reduction)
