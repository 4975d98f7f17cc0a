"""The clips of one shard, as the cohort's adapter lists them -> manifest table."""

from faceneuro.tables import MANIFEST, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    write_table(snakemake.params.clips, snakemake.output.manifest, MANIFEST, run.provenance)
