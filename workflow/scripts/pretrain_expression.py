"""Faces showing expressions -> a backbone that tells them apart, and what it says of those that it has not seen."""

from faceneuro.studies.expressions import EMOTIONS, hold_out, of_cohort, of_folder
from faceneuro.tables import HISTORY, class_predictions_schema, write_table
from faceneuro.training.devices import lease
from faceneuro.training.fit import save_weights
from faceneuro.training.pretraining import pretrain
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    family, backbone = snakemake.wildcards.family, {**snakemake.params.backbone, "weights": "none"}
    settings = dict(snakemake.params.training)
    _, folder, fraction = (settings.pop(name) for name in ("cohort", "folder", "test_fraction"))
    size = {"pixels": backbone["pixels"], "gray": snakemake.params.gray, "progress": run.progress}
    if folder:
        faces = of_folder(folder, **size)
    else:
        tables = (getattr(snakemake.input, name) for name in ("manifest", "quality", "landmarks", "crops"))
        faces = of_cohort(*tables, **size)
    tested = hold_out(faces, fraction, settings["seed"])
    trained = pretrain(
        family,
        backbone,
        faces.images,
        faces.labels,
        tested,
        classes=len(EMOTIONS),
        **settings,
        device=device.name,
        threads=snakemake.threads,
        progress=run.progress,
    )
    key = {"study": "expression", "protocol": faces.held_out, "model": family, "fold": 0}
    save_weights(snakemake.output.weights, trained.weights, {"rule": snakemake.rule})
    write_table([{**key, **row} for row in trained.history], snakemake.output.history, HISTORY, run.provenance)
    write_table(
        faces.rows[tested].assign(**key, probabilities=list(trained.probabilities)),
        snakemake.output.predictions,
        class_predictions_schema(len(EMOTIONS)),
        run.provenance,
    )
