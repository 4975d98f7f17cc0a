"""The pictures of one row, a model's or a trivial one's -> every score of each, and of all as a set."""

from pathlib import Path

import pandas as pd

from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.extractors import load_extractor
from faceneuro.synthesis.metrics import load_distances, load_vectors
from faceneuro.synthesis.scoring import (
    Networks,
    Trial,
    called,
    grader_of,
    load_seen,
    pictures_of_row,
    score,
    score_set,
)
from faceneuro.synthesis.sizes import SIZES
from faceneuro.tables import SYNTHESIS_SCORES, TableWriter, read_table
from faceneuro.training.devices import lease
from faceneuro.training.loop import reproducible
from faceneuro.workflow import job

with job(snakemake) as run, lease(snakemake.resources.gpu) as device, reproducible(0, device.name, snakemake.threads):
    row, own, settings = snakemake.wildcards.model, snakemake.params.extractors, snakemake.params
    size = SIZES[settings.size]
    looking = [load_extractor(kind, size, snakemake.input[kind]).to(device.name) for kind in ("identity", "landmarks")]
    names = (called(kind, own[kind]) for kind in ("identity", "landmarks"))
    networks = Networks(*looking, device.name, *names)
    faces, pairs = Faces.load(snakemake.input.images, snakemake.input.faces), read_table(snakemake.input.pairs)
    seen, points = load_seen(snakemake.input.seen)
    trial = Trial(
        faces, pairs, seen, settings.positive, settings.virtual, snakemake.input.get("targets") or None, points
    )
    drawn = pictures_of_row(row, faces, pairs, snakemake.input.get("there"), snakemake.input.get("back"))
    distances = load_distances(settings.features["vgg"], networks.identity)
    with TableWriter(snakemake.output.scores, SYNTHESIS_SCORES, run.provenance, rows_per_group=4096) as table:
        kept = {"grader": grader_of(trial), "batch_size": settings.batch_size}
        for each in score(row, drawn, trial, networks, distances, **kept):
            table.append(each)
    vectors = load_vectors(settings.features["inception"], networks.identity, size.dim)
    found = score_set(row, drawn, trial, vectors, batch_size=settings.batch_size, device=device.name)
    columns = ["row", "metric", "against", "value", "n", "features"]
    pd.DataFrame([found] if found else [], columns=columns).to_csv(Path(snakemake.output.set), index=False)
