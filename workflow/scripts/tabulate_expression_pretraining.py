"""What the backbones say of faces that they have not seen -> a table of how well they tell expressions apart."""

from pathlib import Path

from faceneuro.report.classification import cohort_note
from faceneuro.report.expressions import write_expressions
from faceneuro.studies.expressions import quality
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    cohort = snakemake.params.cohort
    origin = (
        f"{cohort}: {cohort_note(snakemake.params.virtual, False)}" if cohort else "the configured folder of images"
    )
    predictions = dict(zip(snakemake.params.families, map(read_table, snakemake.input.predictions), strict=True))
    write_expressions(
        {family: quality(found, **snakemake.params.bootstrap) for family, found in predictions.items()},
        next(iter(predictions.values()))["protocol"].iloc[0],
        origin,
        Path(snakemake.output.csv).with_suffix(""),
    )
