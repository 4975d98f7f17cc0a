import os
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


configfile: Path(workflow.basedir, "config", "config.yaml")


# What `snakemake --report report.zip` says first.
report: "workflow/report/workflow.rst"


# For --sdm apptainer alone; envs/faceneuro.def builds it.
container: os.path.relpath(Path(workflow.basedir, "faceneuro.sif"))


include: "workflow/rules/common.smk"
include: "workflow/rules/assets.smk"
include: "workflow/rules/cohorts.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/validation.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/summary.smk"
include: "workflow/rules/provenance.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/compare.smk"


# A paper is one file of rules, included when the configuration has its study.
for study in STUDIES:

    include: f"workflow/rules/{study}.smk"


include: "workflow/rules/score.smk"


if COLLECTIONS:

    include: "workflow/rules/meta_analysis.smk"


stamp_scripts()


rule all:
    """Every table and figure that the configuration asks for, the report of them, and the manifest of the run."""
    default_target: True
    input:
        rules.summarise.output,
        rules.record_run.output,
        rules.write_report.output,
        final_files(),


onstart:
    list_jobs()
    announce_device()
    tell_notes()


onsuccess:
    tell_summary()
    tell_comparison()
