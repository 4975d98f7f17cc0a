"""Tables and figures of a run -> a sentence for each result, and where everything is."""

from pathlib import Path

from faceneuro.files import replacing
from faceneuro.report.summary import summary
from faceneuro.workflow import job

with job(snakemake), replacing(snakemake.output.summary) as part:
    part.write_text(summary(map(Path, snakemake.input.tables), map(Path, snakemake.input.figures)), encoding="utf-8")
