"""A trained model of one fold -> what it goes by in tested patients, judged by the truth about them."""

from faceneuro.evaluation.explanations import explain_images, explain_measures, to_explain
from faceneuro.models import IMAGES
from faceneuro.studies.palsy import CLASSES, model_inputs, read_samples
from faceneuro.studies.pictures import images_of
from faceneuro.tables import EXPLANATIONS, read_table, write_table
from faceneuro.training.devices import lease
from faceneuro.training.fit import load_weights
from faceneuro.training.folds import roles_of
from faceneuro.workflow import job, log

with job(snakemake) as run, lease(snakemake.resources.gpu) as device:
    fold, model = int(snakemake.wildcards.fold), snakemake.wildcards.model
    samples, inputs = read_samples(snakemake.input.samples)
    roles = roles_of(read_table(snakemake.input.folds), fold, samples)
    settings = snakemake.params.explanations
    # Of other cohorts the truth is not known.
    places = to_explain(samples, roles, CLASSES[1], settings["at_most"] if snakemake.params.virtual else 0)
    chosen = samples.iloc[places]
    weights = load_weights(snakemake.input.model)
    if model in IMAGES:
        kind, family = IMAGES[model]
        pictures = images_of(chosen, snakemake.input.crops, kind, 1, snakemake.params.images["gray"])
        rows = explain_images(
            model,
            weights,
            chosen,
            inputs["coordinates"][places],
            run.progress(pictures, len(chosen), "picture"),
            snakemake.params.backbones[family],
            patch=settings["patch"],
            stride=settings["stride"],
            device=device.name,
            threads=snakemake.threads,
        )
    else:
        measures = model_inputs(model, inputs, [])["measures"]
        healthy = (roles == "train") & (samples["label"] == CLASSES[0]).to_numpy()
        rows = explain_measures(model, weights, chosen, measures[places], measures[healthy].mean(0), snakemake.threads)
    key = {"study": "palsy", "protocol": snakemake.wildcards.protocol, "model": model, "fold": fold}
    write_table((key | row for row in rows), snakemake.output.explanations, EXPLANATIONS, run.provenance)
    if chosen.empty:
        log.info("fold %d tests no virtual patient whose weak side and grade are known: nothing is explained", fold)
