"""Manifest, decoding reports and landmarks of a study's clips -> how each of them was recorded."""

from importlib import import_module
from itertools import chain

from faceneuro.features.circumstances import circumstances
from faceneuro.studies.clips import usable_clips
from faceneuro.tables import CIRCUMSTANCES, KEYS, read_rows, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    study = snakemake.wildcards.study
    clips = usable_clips(
        read_table(snakemake.input.manifest),
        read_table(snakemake.input.quality),
        snakemake.params.groups,
        import_module(f"faceneuro.studies.{study}").CLASSES,
        snakemake.params.tasks,
        study=study,
    )
    columns = [*KEYS, "height", "width", "found", "landmarks"]
    landmarks = chain.from_iterable(read_rows(path, columns) for path in snakemake.input.landmarks)
    found = circumstances(clips, read_table(snakemake.input.decoding), landmarks)
    write_table(found, snakemake.output.circumstances, CIRCUMSTANCES, run.provenance)
