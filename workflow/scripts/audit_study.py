"""Predictions of a study, its clips and hashes of its pictures -> every audit, a row each."""

from importlib import import_module

from faceneuro.evaluation.audits import all_audits, headline_model
from faceneuro.tables import AUDITS, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    study = import_module(f"faceneuro.studies.{snakemake.wildcards.study}")
    predictions = read_table(snakemake.input.predictions)
    hashes = snakemake.input.get("hashes")
    quality, tasks = read_table(snakemake.input.quality), snakemake.params.tasks
    audits = all_audits(
        predictions,
        read_table(snakemake.input.manifest),
        quality[quality["task"].isin(tasks)] if tasks else quality,
        read_table(hashes) if hashes else None,
        classes=study.CLASSES,
        groups=snakemake.params.groups,
        model=headline_model(predictions, snakemake.params.models, study.PUBLISHED_MODEL),
        backgrounds=snakemake.params.backgrounds,
        **snakemake.params.bootstrap,
    )
    write_table(audits.assign(study=snakemake.wildcards.study), snakemake.output.audits, AUDITS, run.provenance)
