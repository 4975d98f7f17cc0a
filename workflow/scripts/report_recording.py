"""Everything about one recording -> its page, and its row of the table."""

from importlib import import_module

from faceneuro.evaluation.audits import held_out
from faceneuro.report.score import Findings, row_of, write_score
from faceneuro.scoring.judgement import comparisons, measurement_errors, people_alike, verdict
from faceneuro.tables import SCORES, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    about, given = snakemake.params.study, snakemake.input
    classes = import_module(f"faceneuro.studies.{about['name']}").CLASSES
    (quality,) = read_table(given.quality).to_dict("records")
    (circumstances,) = read_table(given.circumstances).to_dict("records")
    people = held_out(read_table(given.predictions), about["model"], classes[0])
    votes = verdict(read_table(given.votes))
    found = Findings(
        recording=snakemake.wildcards.name,
        study=about | {"positive": classes[1]},
        quality=quality,
        circumstances=circumstances,
        comparisons=comparisons(circumstances, read_table(given.cohort)),
        excursions=read_table(given.excursions),
        errors=measurement_errors(next(iter(given.validation), None), about["cohorts"]),
        votes=votes,
        alike=people_alike(people, votes.probability) if votes else None,
        people=people,
        audits=read_table(given.audits),
    )
    write_score(found, snakemake.output.page)
    write_table([row_of(found)], snakemake.output.row, SCORES, run.provenance)
