from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


configfile: Path(workflow.basedir, "config", "config.yaml")


include: "workflow/rules/common.smk"
include: "workflow/rules/assets.smk"
include: "workflow/rules/cohorts.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/quality.smk"
include: "workflow/rules/validation.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/summary.smk"


# A paper is one file of rules, included when the configuration has its study.
for study in STUDIES:

    include: f"workflow/rules/{study}.smk"


if COLLECTIONS:

    include: "workflow/rules/meta_analysis.smk"


rule all:
    """Every table and figure that the configuration asks for, and a summary of them."""
    default_target: True
    input:
        "results/summary.md",


onstart:
    announce_device()
    tell_notes()


onsuccess:
    tell_summary()
