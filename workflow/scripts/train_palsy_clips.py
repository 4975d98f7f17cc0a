"""Landmarks of one fold's clips, and what an image network of the fold sees in them -> a network over time."""

from dataclasses import replace

from faceneuro.models import KINDS
from faceneuro.studies.palsy import CLASSES, read_samples
from faceneuro.studies.palsy_clips import clip_sequences, gather, spread
from faceneuro.tables import read_table
from faceneuro.training.devices import lease
from faceneuro.training.fit import fit, load_weights, write_fold
from faceneuro.training.folds import roles_of
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    fold, model = int(snakemake.wildcards.fold), snakemake.wildcards.model
    samples, inputs = read_samples(snakemake.input.samples)
    (embedding,) = [load_weights(path)["embedding"] for path in snakemake.input.embeddings]
    clips, sequences = clip_sequences(samples, inputs["coordinates"], embedding)
    roles = roles_of(read_table(snakemake.input.folds), fold, samples)
    fitted = fit(
        model,
        sequences,
        (clips["label"] == CLASSES[1]).to_numpy(),
        gather(samples, clips, roles),
        snakemake.params.training,
        key=f"studies.palsy.training.{KINDS[model]}",
        device=device.name,
        threads=snakemake.threads,
        progress=run.progress,
    )
    key = {"study": "palsy", "protocol": snakemake.wildcards.protocol, "model": model, "fold": fold}
    of_samples = replace(fitted, probability=spread(samples, clips, fitted.probability))
    write_fold(of_samples, samples, roles, key, snakemake.output, run.provenance)
