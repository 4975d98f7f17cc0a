"""Predictions of a study and of its repeats, its clips and hashes of its pictures -> every audit, a row each."""

from importlib import import_module

from faceneuro.evaluation.audits import all_audits
from faceneuro.tables import AUDITS, read_table, write_table
from faceneuro.workflow import job

with job(snakemake) as run:
    study = import_module(f"faceneuro.studies.{snakemake.wildcards.study}")
    tables, repeats = snakemake.input, snakemake.params.repeats
    hashes = tables.get("hashes")
    quality, tasks = read_table(tables.quality), snakemake.params.tasks
    audits = all_audits(
        read_table(tables.predictions),
        read_table(tables.manifest),
        quality[quality["task"].isin(tasks)] if tasks else quality,
        read_table(hashes) if hashes else None,
        classes=study.CLASSES,
        groups=snakemake.params.groups,
        model=snakemake.params.model,
        backgrounds=snakemake.params.backgrounds,
        repeats=[read_table(tables[f"repeat{number}"]) for number in repeats] if repeats is not None else None,
        **snakemake.params.bootstrap,
    )
    write_table(audits.assign(study=snakemake.wildcards.study), snakemake.output.audits, AUDITS, run.provenance)
