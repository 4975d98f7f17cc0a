"""Samples of the palsy study and faces of the synthesis study -> who is given whose palsy, and the faces it takes."""

from faceneuro.studies.augmentation import gather_conditions, plan, same_people
from faceneuro.studies.palsy import read_samples
from faceneuro.studies.synthesis import Faces
from faceneuro.tables import KEYS, read_table
from faceneuro.workflow import job

with job(snakemake) as run:
    samples, _ = read_samples(snakemake.input.samples)
    faces = Faces.load(snakemake.input.images, snakemake.input.faces)
    planned = plan(
        samples,
        read_table(snakemake.input.aligned, KEYS),
        faces,
        positive=snakemake.params.positive,
        per_identity=snakemake.params.per_identity,
        seed=snakemake.params.seed,
        people=same_people(snakemake.params.cohorts),
    )
    output = snakemake.output.images, snakemake.output.faces, snakemake.output.conditions
    gather_conditions(planned, samples, snakemake.input.aligned, faces, *output, run.provenance)
