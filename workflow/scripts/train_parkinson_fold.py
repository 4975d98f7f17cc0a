"""Samples of one fold -> a trained model, its history and its predictions."""

from faceneuro.models import OBJECTIVES
from faceneuro.studies.parkinson import CLASSES, codes_of, model_inputs
from faceneuro.tables import read_table
from faceneuro.training.devices import lease
from faceneuro.training.fit import fit, write_fold
from faceneuro.training.folds import roles_of
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    fold, model = int(snakemake.wildcards.fold), snakemake.wildcards.model
    samples = read_table(snakemake.input.samples)
    roles = roles_of(read_table(snakemake.input.folds), fold, samples)
    settings = {
        **snakemake.params.training,
        "backbones": snakemake.params.backbones,
        "attention": snakemake.params.attention,
        "objective": {"loss": OBJECTIVES[model], **snakemake.params.balancing},
        "classes": len(CLASSES),
    }
    fitted = fit(
        model,
        model_inputs(samples, snakemake.input.activations),
        codes_of(samples["label"]),
        roles,
        settings,
        key="studies.parkinson.training",
        device=device.name,
        threads=snakemake.threads,
        progress=run.progress,
    )
    key = {"study": "parkinson", "protocol": snakemake.wildcards.protocol, "model": model, "fold": fold}
    write_fold(fitted, samples, roles, key, snakemake.output, run.provenance)
