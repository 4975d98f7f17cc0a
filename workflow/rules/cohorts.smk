rule render_patients:
    """Videos or photographs of virtual patients, and the truth about what their faces did."""
    input:
        heads=HEADS,
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


rule list_clips:
    """The manifest: who is recorded in which clip, doing what."""
    input:
        recordings=recordings_of,
    output:
        manifest="results/cohorts/{cohort}/manifest/{shard}.parquet",
    log:
        "logs/list_clips/{cohort}/{shard}.log",
    benchmark:
        "benchmarks/list_clips/{cohort}/{shard}.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        clips=clips_of,
        code=code_stamp("tables"),
    script:
        "../scripts/list_clips.py"


rule examine_copy:
    """Every file of a copy of a data set, the clip it is in or why it is in none, and what the copy holds and lacks."""
    output:
        files="results/cohorts/{cohort}/files.parquet",
        intake="results/cohorts/{cohort}/intake.parquet",
    log:
        "logs/examine_copy/{cohort}.log",
    benchmark:
        "benchmarks/examine_copy/{cohort}.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        settings=lookup("cohorts/{cohort}", within=config),
        state=state_of,
        code=adapter_stamp,
    script:
        "../scripts/examine_copy.py"


rule tabulate_intake:
    """What there is of each data set, beside what there should be."""
    input:
        intake=expand("results/cohorts/{cohort}/intake.parquet", cohort=OWN_COHORTS),
        files=expand("results/cohorts/{cohort}/files.parquet", cohort=OWN_COHORTS),
    output:
        shown(
            multiext("results/tables/intake", csv=".csv", md=".md", tex=".tex"),
            part="recordings",
            title="Intake of the data sets",
            caption="intake",
        ),
    log:
        "logs/tabulate_intake.log",
    benchmark:
        "benchmarks/tabulate_intake.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        code=code_stamp("report.intake", "tables"),
    script:
        "../scripts/tabulate_intake.py"


rule intake:
    """The data sets looked through, before anything is measured."""
    input:
        intake_table,
