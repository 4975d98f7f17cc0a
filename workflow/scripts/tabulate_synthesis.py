"""Scores of all rows of the synthesis study -> the paper's table, published and reproduced, and what follows."""

from pathlib import Path

import pandas as pd

from faceneuro.report.synthesis import (
    Made,
    judge_claims,
    parameters_of,
    people_of,
    row_differences,
    synthesis_table,
    write_synthesis,
)
from faceneuro.studies.synthesis import LINES
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.transfer import summarise
from faceneuro.synthesis.trivial import contests
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    settings, size = snakemake.params, SIZES[snakemake.params.size]
    scores, pairs = read_table(snakemake.input.scores), read_table(snakemake.input.pairs)
    sets = pd.concat(map(pd.read_csv, snakemake.input.sets), ignore_index=True)
    people, bootstrap = people_of(pairs), settings.bootstrap
    table = synthesis_table(
        summarise(scores, people, **bootstrap),
        sets,
        snakemake.input.published,
        LINES,
        cohort=settings.cohort,
        virtual=settings.virtual,
    )
    differences = row_differences(scores, people, **bootstrap)
    write_synthesis(
        table,
        differences,
        judge_claims(table, differences),
        contests(scores, people, **bootstrap),
        pairs,
        Made(
            settings.size,
            size.pixels,
            settings.steps or size.steps,
            settings.sampling_steps or size.sampling_steps,
            settings.as_released,
        ),
        Path(snakemake.output.csv).with_suffix(""),
        {Path(path).parent.name: parameters_of(path) for path in snakemake.input.models},
    )
