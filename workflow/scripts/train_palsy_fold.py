"""Samples of one fold -> a trained model, its history, its predictions, and what it makes of every sample."""

from faceneuro.models import KINDS
from faceneuro.studies.palsy import CLASSES, model_inputs, read_samples
from faceneuro.tables import read_table
from faceneuro.training.devices import lease
from faceneuro.training.fit import embed, fit, save_weights, write_fold
from faceneuro.training.folds import roles_of
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    fold, model = int(snakemake.wildcards.fold), snakemake.wildcards.model
    samples, inputs = read_samples(snakemake.input.samples)
    inputs = model_inputs(model, inputs, snakemake.input.activations)
    roles = roles_of(read_table(snakemake.input.folds), fold, samples)
    settings = {**snakemake.params.training, "backbones": snakemake.params.backbones}
    machine = {"device": device.name, "threads": snakemake.threads}
    fitted = fit(
        model,
        inputs,
        (samples["label"] == CLASSES[1]).to_numpy(),
        roles,
        settings,
        key=f"studies.palsy.training.{KINDS[model]}",
        progress=run.progress,
        **machine,
    )
    embedding = embed(model, fitted.weights, inputs, settings, **machine)
    key = {"study": "palsy", "protocol": snakemake.wildcards.protocol, "model": model, "fold": fold}
    save_weights(snakemake.output.embedding, {"embedding": embedding}, {"rule": snakemake.rule})
    write_fold(fitted, samples, roles, key, snakemake.output, run.provenance)
