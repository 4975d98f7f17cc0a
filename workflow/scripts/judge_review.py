"""What the review prints -> its claims judged and its forest plot recomputed."""

from pathlib import Path

from faceneuro.meta.effects import read_studies, remarks
from faceneuro.report.meta_analysis import write_judgement
from faceneuro.studies.meta_analysis import read_printed, reproduce
from faceneuro.studies.meta_claims import Review, judge
from faceneuro.tables import read_table
from faceneuro.workflow import job

with job(snakemake):
    studies = read_studies(snakemake.input.studies)
    statistics = read_printed(snakemake.input.statistics)
    weights = read_printed(snakemake.input.studies).set_index("study")["weight_pct"]
    claims = judge(Review(studies, statistics, read_printed(snakemake.input.included)))
    numbers = reproduce(studies, statistics, weights)
    stem = Path(snakemake.output.csv).with_suffix("")
    write_judgement(stem, studies, claims, numbers, read_table(snakemake.input.pooled), remarks(studies))
