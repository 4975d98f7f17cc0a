rule assemble_als_samples:
    """One sample per pair of successive frames: label, landmarks, and where its flow field is."""
    input:
        manifest=tables_of("als", "manifest"),
        quality=quality_of("als"),
        landmarks=tables_of("als", "landmarks"),
        flow=tables_of("als", "flow"),
    output:
        samples="results/studies/als/samples.parquet",
    log:
        "logs/assemble_als_samples.log",
    benchmark:
        "benchmarks/assemble_als_samples.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        groups=lookup("studies/als/groups", within=config),
        tasks=lookup("studies/als/tasks", within=config),
        permute_labels=lookup("studies/als/permute_labels", within=config),
        code=code_stamp("studies.als"),
    script:
        "../scripts/assemble_als_samples.py"


rule multiply_flow:
    """Inner products of all flow fields: what the principal components of every fold have in common."""
    input:
        samples="results/studies/als/samples.parquet",
        flow=tables_of("als", "flow"),
    output:
        gram="results/studies/als/inner_products.npy",
    log:
        "logs/multiply_flow.log",
    benchmark:
        "benchmarks/multiply_flow.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        memory_mib=lookup("studies/als/reduction/memory_mib", within=config),
        code=code_stamp("training.reduction", "studies.als"),
    script:
        "../scripts/multiply_flow.py"


rule fit_reduction:
    """Principal components of the flow and scales of the landmarks, fitted on one fold's training part."""
    input:
        samples="results/studies/als/samples.parquet",
        folds="results/studies/als/{protocol}/folds.parquet",
        gram="results/studies/als/inner_products.npy",
    output:
        reduction="results/studies/als/{protocol}/reduction/fold{fold}.safetensors",
    log:
        "logs/fit_reduction/{protocol}/fold{fold}.log",
    benchmark:
        "benchmarks/fit_reduction/{protocol}/fold{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        components=lookup("studies/als/reduction/components", within=config),
        code=code_stamp("training.reduction", "training.folds", "studies.als"),
    script:
        "../scripts/fit_reduction.py"


rule train_als_fold:
    """One model on one fold, and its predictions for the samples held out."""
    input:
        samples="results/studies/als/samples.parquet",
        folds="results/studies/als/{protocol}/folds.parquet",
        gram="results/studies/als/inner_products.npy",
        reduction="results/studies/als/{protocol}/reduction/fold{fold}.safetensors",
    output:
        model="results/studies/als/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/als/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/als/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/train_als_fold/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/train_als_fold/{protocol}/{model}/fold{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        training=lookup("studies/als/training", within=config),
        code=code_stamp("training.fit", "training.reduction", "training.folds", "training.devices", "studies.als"),
    script:
        "../scripts/train_als_fold.py"


# The same with another seed: what of the result is owed to the seed is audited. Folds and inputs are those of the first.
use rule train_als_fold as repeat_als_fold with:
    output:
        model="results/studies/als/repeats/{repeat}/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/als/repeats/{repeat}/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/als/repeats/{repeat}/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/repeat_als_fold/{repeat}/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/repeat_als_fold/{repeat}/{protocol}/{model}/fold{fold}.tsv"
    params:
        training=lambda wildcards: seeded(config["studies"]["als"]["training"], wildcards),


rule find_axes:
    """Principal components of one fold as flow fields, on which recordings of others are projected."""
    input:
        samples="results/studies/als/samples.parquet",
        flow=tables_of("als", "flow"),
        reduction="results/studies/als/{protocol}/reduction/fold{fold}.safetensors",
    output:
        axes="results/studies/als/{protocol}/reduction/fold{fold}_axes.safetensors",
    log:
        "logs/find_axes/{protocol}/fold{fold}.log",
    benchmark:
        "benchmarks/find_axes/{protocol}/fold{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        code=code_stamp("training.reduction", "studies.als"),
    script:
        "../scripts/find_axes.py"


rule score_als_recording:
    """What the model of every fold says of a recording of somebody whom none was trained on."""
    input:
        quality="results/score/{name}/quality.parquet",
        landmarks="results/score/{name}/landmarks.parquet",
        flow="results/score/{name}/flow.parquet",
        reductions=lambda wildcards: reductions_of_grouped_folds(""),
        axes=lambda wildcards: reductions_of_grouped_folds("_axes"),
        models=lambda wildcards: of_grouped_folds("als", SCORING_MODELS["als"], "model.safetensors"),
    output:
        votes="results/score/{name}/als_votes.parquet",
    log:
        "logs/score_als_recording/{name}.log",
    benchmark:
        "benchmarks/score_als_recording/{name}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        training=lookup("studies/als/training", within=config),
        least=lookup("score/least_quality", within=config),
        code=code_stamp("training.fit", "training.reduction", "studies.als", "features.quality"),
    script:
        "../scripts/score_als_recording.py"


rule tabulate_als:
    """Table I of the paper beside what both protocols give here, and which of its claims hold."""
    input:
        predictions=of_every_fold("als", "predictions"),
        metrics="results/studies/als/metrics.parquet",
        published=published("als_table1.csv"),
    output:
        shown(
            multiext("results/tables/als", csv=".csv", md=".md", tex=".tex"),
            part="als",
            title="Table I: precision, recall and F1",
            caption="als",
        ),
    log:
        "logs/tabulate_als.log",
    benchmark:
        "benchmarks/tabulate_als.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("als"),
        bootstrap=lookup("studies/als/bootstrap", within=config),
        code=code_stamp("report.als", "evaluation.paired", "studies.als"),
    script:
        "../scripts/tabulate_als.py"


rule plot_als:
    """Accuracy and loss by epoch, confusion matrices, ROC and calibration curves."""
    input:
        predictions=of_every_fold("als", "predictions"),
        histories=of_every_fold("als", "history"),
        metrics="results/studies/als/metrics.parquet",
    output:
        curves=shown(
            multiext("results/figures/als_learning_curves", ".png", ".svg"),
            part="als",
            title="Learning curves",
            caption="learning_curves",
        ),
        confusion=shown(
            multiext("results/figures/als_confusion", ".png", ".svg"),
            part="als",
            title="Confusion matrices",
            caption="confusion",
        ),
        roc=shown(multiext("results/figures/als_roc", ".png", ".svg"), part="als", title="ROC curves", caption="roc"),
        calibration=shown(
            multiext("results/figures/als_calibration", ".png", ".svg"),
            part="als",
            title="Calibration",
            caption="calibration",
        ),
    log:
        "logs/plot_als.log",
    benchmark:
        "benchmarks/plot_als.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("als"),
        bootstrap=lookup("studies/als/bootstrap", within=config),
        code=code_stamp("report.figures", "report.classification", "studies.als"),
    script:
        "../scripts/plot_als.py"


rule als:
    """The table, the figures and the audits of the ALS study."""
    input:
        "results/tables/als.md",
        study_figures("als"),
        study_audits("als"),
