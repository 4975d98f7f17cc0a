"""Published effect sizes, the user's, and this pipeline's own results -> one collection."""

from faceneuro.studies.meta_analysis import gather
from faceneuro.tables import EFFECTS, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    metrics = dict(zip(snakemake.params.cohorts, snakemake.input.metrics, strict=True))
    effects = gather(snakemake.input.tables, snakemake.params.published, metrics, snakemake.params.cohorts)
    write_table(effects, snakemake.output.effects, EFFECTS, run.provenance)
