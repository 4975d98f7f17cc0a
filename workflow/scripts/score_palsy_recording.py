"""Landmarks and crops of one recording -> what the model of every fold says of them, if it is good enough."""

from pathlib import Path
from tempfile import TemporaryDirectory

from faceneuro.features.quality import accepted
from faceneuro.models import BRANCHES, IMAGES, INPUTS
from faceneuro.models.backbones import load
from faceneuro.studies.palsy import PUBLISHED_MODEL, unseen
from faceneuro.studies.pictures import images_of
from faceneuro.tables import VOTES, read_table, write_table
from faceneuro.training.activations import Activations, cache
from faceneuro.training.fit import embed, load_weights, predict
from faceneuro.workflow import job

with job(snakemake) as run, TemporaryDirectory(dir=Path(snakemake.output.votes).parent) as folder:
    votes, given, about = [], snakemake.input, snakemake.params
    (verdict,) = read_table(given.quality)["verdict"]
    if accepted(verdict, about.least):
        samples, inputs = unseen(given.landmarks, given.crops, about.form)
    if accepted(verdict, about.least) and len(samples):
        measuring, seeing = BRANCHES[PUBLISHED_MODEL]
        kind, family = IMAGES[seeing]
        machine, settings = {"threads": snakemake.threads}, {"backbones": about.backbones}
        frozen, _, _ = load(family, about.backbones[family])
        pictures = images_of(samples, [given.crops], kind, about.views["views"], about.views["gray"])
        cache(pictures, len(samples), frozen, f"{folder}/cache", dtype=about.dtype, **machine)
        seen = {"activations": Activations(f"{folder}/cache")}
        known = {name: inputs[name] for name in INPUTS[measuring]}
        for fold, files in enumerate(zip(given.models, given.measures, given.images, strict=True)):
            fusion, of_measures, of_images = map(load_weights, files)
            branches = (
                embed(measuring, of_measures, known, settings, **machine),
                embed(seeing, of_images, seen, settings, **machine),
            )
            joined = dict(zip(INPUTS[PUBLISHED_MODEL], branches, strict=True))
            probability = predict(PUBLISHED_MODEL, fusion, joined, settings, **machine)
            key = {"study": "palsy", "protocol": "grouped", "model": PUBLISHED_MODEL, "fold": fold}
            votes += samples.assign(**key, probability=probability).to_dict("records")
    write_table(votes, snakemake.output.votes, VOTES, run.provenance)
