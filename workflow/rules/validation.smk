rule validate_measurements:
    """What was measured in the virtual patients' faces against what the faces did."""
    input:
        landmarks=tables_of_all(FILMED_COHORTS, "landmarks"),
        truth=tables_of_all(FILMED_COHORTS, "truth"),
    output:
        shown(
            multiext("results/tables/measurement_validation", csv=".csv", md=".md", tex=".tex"),
            part="recordings",
            title="Measured against true movements",
            caption="measurement_validation",
        ),
    log:
        "logs/validate_measurements.log",
    benchmark:
        "benchmarks/validate_measurements.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        photographed=[name for name in VIRTUAL_COHORTS if name not in FILMED_COHORTS],
        code=code_stamp("evaluation.measurement", "cohorts.virtual.record", "report.measurement"),
    script:
        "../scripts/validate_measurements.py"


rule draw_contact_sheet:
    """Stills of a virtual cohort: its patients at rest, as far as they are filmed, and at the height of their tasks."""
    input:
        manifest=collect("results/cohorts/{{cohort}}/manifest/{shard}.parquet", shard=shards_of),
        recordings=collect("results/cohorts/{{cohort}}/recordings/{shard}", shard=shards_of),
    output:
        sheet=shown(
            "results/figures/{cohort}_contact_sheet.png",
            part="recordings",
            title="Stills: {cohort}",
            caption="contact_sheet",
        ),
    log:
        "logs/draw_contact_sheet/{cohort}.log",
    benchmark:
        "benchmarks/draw_contact_sheet/{cohort}.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        cohort=lookup("cohorts/{cohort}", within=config),
        code=code_stamp("cohorts.virtual.contact_sheet"),
    script:
        "../scripts/draw_contact_sheet.py"
