"""Faces of the synthesis study -> who is shown with whose palsy in the data set."""

from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.dataset import dataset_pairs
from faceneuro.tables import PAIRS, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    faces = Faces.load(snakemake.input.images, snakemake.input.faces)
    rows = dataset_pairs(faces, snakemake.params.positive, snakemake.params.images, snakemake.params.seed)
    write_table(rows, snakemake.output.pairs, PAIRS, run.provenance)
