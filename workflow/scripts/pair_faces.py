"""Faces of the synthesis study -> who is to look like whom: the pairs of the test, or those of the user's table."""

from faceneuro.studies.synthesis import Faces, pairs, read_pairs
from faceneuro.tables import PAIRS, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    faces, seed = Faces.load(snakemake.input.images, snakemake.input.faces), snakemake.params.seed
    if table := snakemake.input.get("table"):
        rows = read_pairs(table, faces, seed)
    else:
        positive, per_image = snakemake.params.positive, snakemake.params.per_image
        rows = pairs(faces, positive=positive, per_image=per_image, seed=seed)
    write_table(rows, snakemake.output.pairs, PAIRS, run.provenance)
