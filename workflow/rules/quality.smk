rule assess_quality:
    """Which clips of a cohort can be used, which cannot, and why."""
    input:
        manifest=collect("results/cohorts/{{cohort}}/manifest/{shard}.parquet", shard=shards_of),
        decoding=collect("results/cohorts/{{cohort}}/decoding/{shard}.parquet", shard=shards_of),
        landmarks=collect("results/cohorts/{{cohort}}/landmarks/{shard}.parquet", shard=shards_of),
    output:
        quality="results/cohorts/{cohort}/quality.parquet",
    log:
        "logs/assess_quality/{cohort}.log",
    benchmark:
        "benchmarks/assess_quality/{cohort}.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        detection_rate=lookup("features/quality/detection_rate", within=config),
        limits={},
        code=code_stamp("features.quality", "tables"),
    script:
        "../scripts/assess_quality.py"


rule tabulate_quality:
    """The quality of all recordings as one table to read."""
    input:
        expand("results/cohorts/{cohort}/quality.parquet", cohort=COHORTS),
    output:
        shown(
            multiext("results/tables/quality", csv=".csv", md=".md", tex=".tex"),
            part="recordings",
            title="Quality of the recordings",
            caption="quality",
        ),
    log:
        "logs/tabulate_quality.log",
    benchmark:
        "benchmarks/tabulate_quality.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        code=code_stamp("report.quality", "tables"),
    script:
        "../scripts/tabulate_quality.py"
