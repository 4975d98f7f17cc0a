"""Landmarks and truth of the filmed virtual cohorts -> how well the measurements follow the faces."""

from itertools import chain
from pathlib import Path

from faceneuro.cohorts.virtual.record import POINTS
from faceneuro.evaluation.measurement import validate
from faceneuro.report.measurement import write_validation
from faceneuro.tables import KEYS, read_rows
from faceneuro.workflow import job

with job(snakemake):
    landmarks = (read_rows(path, [*KEYS, "found", "landmarks"]) for path in snakemake.input.landmarks)
    truth = (read_rows(path, [*KEYS, "points"]) for path in snakemake.input.truth)
    points = {name: landmark for name, (landmark, _) in POINTS.items()}
    found = validate(chain.from_iterable(landmarks), chain.from_iterable(truth), points)
    write_validation(found, Path(snakemake.output.csv).with_suffix(""), snakemake.params.photographed)
