"""Samples and folds of the palsy study -> a table: the measures against the grade, weak sides, grades predicted."""

from pathlib import Path

from faceneuro.evaluation.monotony import monotony, weak_sides
from faceneuro.evaluation.severity import predict_grades, score_grades
from faceneuro.report.palsy_measures import measures_table, people_of, write_measures
from faceneuro.studies.palsy import read_samples
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    samples, inputs = read_samples(snakemake.input.samples)
    positive, bootstrap = snakemake.params.groups["positive"], snakemake.params.bootstrap
    cohort = {name: snakemake.params[name] for name in ("cohort", "virtual", "permuted")}
    predicted = predict_grades(samples, inputs["measures"], read_table(snakemake.input.folds))
    table = measures_table(
        monotony(samples, inputs["measures"], positive, **bootstrap),
        weak_sides(samples, inputs["coordinates"]),
        score_grades(predicted, positive, **bootstrap),
        **cohort,
    )
    write_measures(table, people_of(samples, positive), Path(snakemake.output.csv).with_suffix(""), **cohort)
