"""A copy of a data set -> every file of it and where it belongs, and what the copy holds and lacks."""

from faceneuro import cohorts
from faceneuro.cohorts.intake.examine import examine
from faceneuro.tables import FILES, INTAKE, TableWriter
from faceneuro.workflow import job

with job(snakemake) as run:
    cohort, settings = snakemake.wildcards.cohort, snakemake.params.settings
    files, findings = examine(cohorts.listing(cohort, settings), settings)
    for output, schema, rows in ((snakemake.output.files, FILES, files), (snakemake.output.intake, INTAKE, findings)):
        with TableWriter(output, schema, run.provenance, rows_per_group=4096) as table:
            for row in rows:
                table.append({"cohort": cohort} | row)
