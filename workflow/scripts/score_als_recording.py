"""Landmarks and flow of one recording -> what the model of every fold says of its frames, if it is good enough."""

from faceneuro.features.quality import accepted
from faceneuro.studies.als import PUBLISHED_MODEL, unseen
from faceneuro.tables import VOTES, read_table, write_table
from faceneuro.training.fit import load_weights, predict
from faceneuro.training.reduction import Axes, Reduction
from faceneuro.workflow import job

with job(snakemake) as run:
    votes = []
    (verdict,) = read_table(snakemake.input.quality)["verdict"]
    if accepted(verdict, snakemake.params.least):
        samples, landmarks, flow = unseen(snakemake.input.landmarks, snakemake.input.flow)
        key = {"study": "als", "protocol": "grouped", "model": PUBLISHED_MODEL}
        files = zip(snakemake.input.reductions, snakemake.input.axes, snakemake.input.models, strict=True)
        for fold, (reduction, axes, model) in enumerate(files if len(samples) else ()):
            inputs = Reduction.load(reduction).inputs_of_others(Axes.load(axes), flow, landmarks)
            settings = snakemake.params.training
            probability = predict(PUBLISHED_MODEL, load_weights(model), inputs, settings, threads=snakemake.threads)
            votes += samples.assign(**key, fold=fold, probability=probability).to_dict("records")
    write_table(votes, snakemake.output.votes, VOTES, run.provenance)
