"""Crops that a study uses -> a perceptual hash of each."""

from faceneuro.features.hashes import PIXELS, perceptual_hash
from faceneuro.studies.pictures import images_of
from faceneuro.tables import HASHES, KEYS, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    images = read_table(snakemake.input.images, [*KEYS, "crop_table", "crop_row"])
    pictures = images_of(images, snakemake.input.crops, "rgb", 1, True, PIXELS)
    rows = (
        {name: row[name] for name in KEYS} | {"hash": perceptual_hash(picture[0, 0]).tobytes()}
        for row, picture in zip(images.to_dict("records"), run.progress(pictures, len(images), "image"), strict=True)
    )
    write_table(rows, snakemake.output.hashes, HASHES, run.provenance)
