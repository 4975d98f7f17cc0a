"""The patients of one shard -> a video or a photograph of each task, and the truth about every frame."""

from pathlib import Path

from faceneuro.cohorts.virtual.heads import UNIT_NAMES, load_heads
from faceneuro.cohorts.virtual.patients import file_name, recruit
from faceneuro.cohorts.virtual.record import POINTS, record_clip
from faceneuro.tables import TableWriter, truth_schema
from faceneuro.workflow import job

with job(snakemake) as run:
    cohort, folder = snakemake.params.settings, Path(snakemake.output.recordings)
    heads = load_heads(snakemake.input.heads)
    patients = [recruit(*who, cohort["seed"]) for who in snakemake.params.patients]
    clips = [(patient, task) for patient in patients for task in cohort["tasks"]]
    key = {"cohort": snakemake.wildcards.cohort}
    with TableWriter(snakemake.output.truth, truth_schema(len(UNIT_NAMES), len(POINTS)), run.provenance) as truth:
        for patient, task in run.progress(clips):
            path = folder / file_name(patient, task, cohort["medium"])
            for row in record_clip(heads, patient, task, cohort, path):
                truth.append(key | row)
