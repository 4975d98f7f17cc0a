"""Samples of one fold and synthetic pictures of its people -> what the network, trained on both, says of the others."""

import numpy as np

from faceneuro.models import KINDS
from faceneuro.studies.augmentation import MODEL, NONE, arm_of, chosen, enlarged, same_people
from faceneuro.studies.palsy import CLASSES, read_samples
from faceneuro.tables import PREDICTIONS, read_table, write_table
from faceneuro.training.activations import Activations
from faceneuro.training.devices import lease
from faceneuro.training.fit import fit
from faceneuro.training.folds import roles_of
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    fold, arm = int(snakemake.wildcards.fold), arm_of(snakemake.wildcards.arm)
    samples, _ = read_samples(snakemake.input.samples)
    roles = roles_of(read_table(snakemake.input.folds), fold, samples)
    labels = (samples["label"] == CLASSES[1]).to_numpy()
    inputs, parts = Activations(snakemake.input.real), roles
    if arm.kind != NONE:
        people = same_people(snakemake.params.cohorts)
        mask = chosen(read_table(snakemake.input.conditions), samples, roles, arm.count, people)
        inputs, labels, parts = enlarged(inputs, Activations(snakemake.input.made), labels, roles, mask)
    fitted = fit(
        MODEL,
        {"activations": inputs},
        labels,
        parts,
        {**snakemake.params.training, "backbones": snakemake.params.backbones},
        key=f"studies.palsy.training.{KINDS[MODEL]}",
        device=device.name,
        threads=snakemake.threads,
        progress=run.progress,
    )
    key = {"study": "augmentation", "protocol": snakemake.params.protocol, "model": arm.name, "fold": fold}
    tested = np.flatnonzero(roles == "test")
    held_out = samples.iloc[tested].assign(probability=fitted.probability[tested], **key)
    write_table(held_out[PREDICTIONS.names], snakemake.output.predictions, PREDICTIONS, run.provenance)
