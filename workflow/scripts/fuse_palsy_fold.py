"""What the fold's own branches make of every sample -> a fusion network and its predictions."""

from faceneuro.models import INPUTS, KINDS
from faceneuro.studies.palsy import CLASSES, read_samples
from faceneuro.tables import read_table
from faceneuro.training.devices import lease
from faceneuro.training.fit import fit, load_weights, write_fold
from faceneuro.training.folds import roles_of
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    fold, model = int(snakemake.wildcards.fold), snakemake.wildcards.model
    samples, _ = read_samples(snakemake.input.samples)
    embeddings = [load_weights(path)["embedding"] for path in snakemake.input.embeddings]
    roles = roles_of(read_table(snakemake.input.folds), fold, samples)
    fitted = fit(
        model,
        dict(zip(INPUTS[model], embeddings, strict=True)),
        (samples["label"] == CLASSES[1]).to_numpy(),
        roles,
        snakemake.params.training,
        key=f"studies.palsy.training.{KINDS[model]}",
        device=device.name,
        threads=snakemake.threads,
        progress=run.progress,
    )
    key = {"study": "palsy", "protocol": snakemake.wildcards.protocol, "model": model, "fold": fold}
    write_fold(fitted, samples, roles, key, snakemake.output, run.provenance)
