"""Landmarks and crops of the study's clips -> its samples."""

from faceneuro.studies.palsy import samples
from faceneuro.tables import PALSY_SAMPLES, TableWriter
from faceneuro.workflow import job

with (
    job(snakemake) as run,
    TableWriter(snakemake.output.samples, PALSY_SAMPLES, run.provenance) as table,
):
    found = samples(
        snakemake.input.manifest,
        snakemake.input.quality,
        snakemake.input.landmarks,
        snakemake.input.crops,
        groups=snakemake.params.groups,
        tasks=snakemake.params.tasks,
        form=snakemake.params.form,
        permute=snakemake.params.permute_labels,
    )
    for row in run.progress(found, unit="sample"):
        table.append(row)
