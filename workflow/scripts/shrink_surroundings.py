"""Crops of all expression images -> the same without the face, and small."""

from torch.nn import Identity

from faceneuro.studies.pictures import images_of
from faceneuro.tables import KEYS, read_table
from faceneuro.training.activations import cache
from faceneuro.workflow import job

PIXELS = 16
"""Height and width: enough for where lights and walls are."""

with job(snakemake) as run:
    images = read_table(snakemake.input.images, [*KEYS, "crop_table", "crop_row"])
    pictures = images_of(images, snakemake.input.crops, "surroundings", 1, False, PIXELS)
    pictures = run.progress(pictures, len(images), "image")
    cache(pictures, len(images), Identity(), snakemake.output.surroundings, threads=snakemake.threads)
