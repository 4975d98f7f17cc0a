"""The trained networks of all folds -> the weight of each expression in the attention, subject by subject."""

import numpy as np

from faceneuro.studies.parkinson import CLASSES, PUBLISHED_MODEL, model_inputs
from faceneuro.tables import ATTENTION, TableWriter, read_table
from faceneuro.training.fit import embed, load_weights
from faceneuro.training.folds import roles_of
from faceneuro.workflow import job

with job(snakemake) as run, TableWriter(snakemake.output.attention, ATTENTION, run.provenance) as table:
    samples, folds = read_table(snakemake.input.samples), read_table(snakemake.input.folds)
    settings = {
        "backbones": snakemake.params.backbones,
        "attention": snakemake.params.attention,
        "classes": len(CLASSES),
    }
    for fold, model in enumerate(snakemake.input.models):
        tested = roles_of(folds, fold, samples) == "test"
        inputs = model_inputs(samples, snakemake.input.activations, tested)
        weights = embed(
            PUBLISHED_MODEL, load_weights(model), inputs, settings, threads=snakemake.threads, method="gate"
        )
        key = {"study": "parkinson", "protocol": "grouped", "model": PUBLISHED_MODEL, "fold": fold}
        for sample, row, present in zip(samples[tested].to_dict("records"), weights, inputs["present"], strict=True):
            about = {name: sample[name] for name in ("cohort", "subject", "label")}
            for task, weight in zip(snakemake.params.tasks, np.where(present > 0, row, np.nan), strict=True):
                table.append({**key, **about, "expression": task, "weight": weight})
