rule render_patients:
    """Videos or photographs of virtual patients, and the truth about what their faces did."""
    input:
        heads=f"{ASSETS}/heads.npz",
    output:
        recordings=directory("results/cohorts/{cohort}/recordings/{shard}"),
        truth="results/cohorts/{cohort}/truth/{shard}.parquet",
    log:
        "logs/render_patients/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/render_patients/{cohort}/{shard}.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        patients=patients_of,
        settings=recording_settings,
        code=code_stamp("cohorts.virtual.record"),
    script:
        "../scripts/render_patients.py"


rule intake:
    """The manifest: who is recorded in which clip, doing what."""
    input:
        recordings=recordings_of,
    output:
        manifest="results/cohorts/{cohort}/manifest/{shard}.parquet",
    log:
        "logs/intake/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/intake/{cohort}/{shard}.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        clips=clips_of,
        code=code_stamp("tables"),
    script:
        "../scripts/intake.py"
