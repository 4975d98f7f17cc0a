rule split_folds:
    """Who trains and who is tested, under one protocol."""
    input:
        samples="results/studies/{study}/samples.parquet",
    output:
        folds="results/studies/{study}/{protocol}/folds.parquet",
    log:
        "logs/split_folds/{study}/{protocol}.log",
    benchmark:
        "benchmarks/split_folds/{study}/{protocol}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        settings=lookup("studies/{study}/protocols/{protocol}", within=config),
        expected=fold_count,
        code=folds_stamp,
    script:
        "../scripts/split_folds.py"


rule evaluate_study:
    """All metrics of a study, with intervals over its subjects."""
    input:
        predictions=predictions_of,
    output:
        metrics="results/studies/{study}/metrics.parquet",
    log:
        "logs/evaluate_study/{study}.log",
    benchmark:
        "benchmarks/evaluate_study/{study}.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        bootstrap=lookup("studies/{study}/bootstrap", within=config),
        code=evaluation_stamp,
    script:
        "../scripts/evaluate_study.py"


rule hash_pictures:
    """Numbers that nearly equal pictures share, of every crop that a study works on."""
    input:
        # Kept when the crops are deleted, so that a change of a model makes none of them again.
        images=pictures_of,
        crops=lambda wildcards: tables_of(wildcards.study, "crops"),
    output:
        hashes="results/studies/{study}/hashes.parquet",
    log:
        "logs/hash_pictures/{study}.log",
    benchmark:
        "benchmarks/hash_pictures/{study}.tsv"
    wildcard_constraints:
        study="|".join(PICTURED),
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code_stamp("features.hashes", "studies.pictures"),
    script:
        "../scripts/hash_pictures.py"


rule audit_study:
    """What else than the disease could explain a study's result, and how far the result can be trusted."""
    input:
        unpack(audited_tables),
    output:
        audits="results/studies/{study}/audits.parquet",
    log:
        "logs/audit_study/{study}.log",
    benchmark:
        "benchmarks/audit_study/{study}.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        groups=lookup("studies/{study}/groups", within=config),
        tasks=lookup("studies/{study}/tasks", within=config),
        model=audited_model,
        repeats=repeats_of,
        backgrounds=background_models,
        bootstrap=lookup("studies/{study}/bootstrap", within=config),
        code=audits_stamp,
    script:
        "../scripts/audit_study.py"


rule tabulate_audits:
    """The audits of all studies as one table of verdicts."""
    input:
        audits=audits_of_studies,
        own=["results/studies/parkinson/audits.csv"] if "parkinson" in classifying_studies() else [],
    output:
        shown(
            multiext("results/tables/audits", csv=".csv", md=".md", tex=".tex"),
            part="whole",
            title="Audits of all studies",
            caption="audits",
        ),
    log:
        "logs/tabulate_audits.log",
    benchmark:
        "benchmarks/tabulate_audits.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        studies={study: cohort_description(study) for study in classifying_studies()},
        code=code_stamp("report.audits"),
    script:
        "../scripts/tabulate_audits.py"
