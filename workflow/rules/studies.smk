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
