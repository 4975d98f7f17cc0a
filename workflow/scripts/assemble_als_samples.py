"""Landmarks and flow of the study's clips -> its samples."""

from faceneuro.studies.als import samples
from faceneuro.tables import SAMPLES, TableWriter
from faceneuro.workflow import job

with (
    job(snakemake) as run,
    TableWriter(snakemake.output.samples, SAMPLES, run.provenance) as table,
):
    found = samples(
        snakemake.input.manifest,
        snakemake.input.quality,
        snakemake.input.landmarks,
        snakemake.input.flow,
        groups=snakemake.params.groups,
        tasks=snakemake.params.tasks,
        permute=snakemake.params.permute_labels,
    )
    for row in run.progress(found, unit="sample"):
        table.append(row)
