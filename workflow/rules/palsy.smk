rule assemble_palsy_samples:
    """One sample per face crop: label, asymmetry measures, landmarks, blendshapes, and where its picture is."""
    input:
        manifest=tables_of("palsy", "manifest"),
        quality=quality_of("palsy"),
        landmarks=tables_of("palsy", "landmarks"),
        crops=tables_of("palsy", "crops"),
    output:
        samples="results/studies/palsy/samples.parquet",
    log:
        "logs/assemble_palsy_samples.log",
    benchmark:
        "benchmarks/assemble_palsy_samples.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        groups=lookup("studies/palsy/groups", within=config),
        tasks=lookup("studies/palsy/tasks", within=config),
        form=lookup("studies/palsy/measures", within=config),
        permute_labels=lookup("studies/palsy/permute_labels", within=config),
        code=code_stamp("studies.palsy"),
    script:
        "../scripts/assemble_palsy_samples.py"


rule cache_activations:
    """What the frozen part of a backbone makes of every picture, once for all folds and epochs."""
    input:
        images="results/studies/palsy/samples.parquet",
        crops=tables_of("palsy", "crops"),
    output:
        activations="results/studies/palsy/activations/{images}_{family}.safetensors",
    log:
        "logs/cache_activations/{images}_{family}.log",
    benchmark:
        "benchmarks/cache_activations/{images}_{family}.tsv"
    wildcard_constraints:
        images="rgb|lines|surroundings",
        family="mixer|resnet|fastervit",
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        study="palsy",
        backbones=backbones_of,
        images=lookup("studies/palsy/images", within=config),
        cache=lookup("studies/palsy/cache", within=config),
        code=code_stamp("training.activations", "models.backbones", "training.devices", "studies.pictures"),
    script:
        "../scripts/cache_activations.py"


rule train_palsy_fold:
    """One model on one fold, its predictions for the samples held out, and how it sees every sample."""
    input:
        samples="results/studies/palsy/samples.parquet",
        folds="results/studies/palsy/{protocol}/folds.parquet",
        activations=activations_of,
    output:
        model="results/studies/palsy/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/palsy/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/palsy/{protocol}/{model}/fold{fold}/predictions.parquet",
        embedding="results/studies/palsy/{protocol}/{model}/fold{fold}/embedding.safetensors",
    log:
        "logs/train_palsy_fold/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/train_palsy_fold/{protocol}/{model}/fold{fold}.tsv"
    wildcard_constraints:
        model="[a-z]+_fnn|(rgb|lines|surroundings)_[a-z]+",
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        backbones=backbones_of,
        training=training_of,
        code=code_stamp("training.fit", "training.activations", "training.folds", "training.devices", "studies.palsy"),
    script:
        "../scripts/train_palsy_fold.py"


rule fuse_palsy_fold:
    """A fusion network on what the fold's own branches see, and its predictions for the samples held out."""
    input:
        samples="results/studies/palsy/samples.parquet",
        folds="results/studies/palsy/{protocol}/folds.parquet",
        embeddings=of_branches("embedding.safetensors"),
    output:
        model="results/studies/palsy/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/palsy/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/palsy/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/fuse_palsy_fold/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/fuse_palsy_fold/{protocol}/{model}/fold{fold}.tsv"
    wildcard_constraints:
        model="(early|gated|attention)_[a-z]+",
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        training=training_of,
        code=code_stamp("training.fit", "training.folds", "training.devices", "studies.palsy"),
    script:
        "../scripts/fuse_palsy_fold.py"


rule train_palsy_clips:
    """A network over the frames of a clip, on landmarks and on what the fold's own image network sees."""
    input:
        samples="results/studies/palsy/samples.parquet",
        folds="results/studies/palsy/{protocol}/folds.parquet",
        embeddings=of_branches("embedding.safetensors"),
    output:
        model="results/studies/palsy/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/palsy/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/palsy/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/train_palsy_clips/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/train_palsy_clips/{protocol}/{model}/fold{fold}.tsv"
    wildcard_constraints:
        model="temporal_[a-z]+",
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        training=training_of,
        code=code_stamp("training.fit", "training.folds", "training.devices", "studies.palsy", "studies.palsy_clips"),
    script:
        "../scripts/train_palsy_clips.py"


rule average_palsy_fold:
    """Late fusion: the mean of the probabilities of the fold's own branches."""
    input:
        predictions=of_branches("predictions.parquet"),
    output:
        predictions="results/studies/palsy/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/average_palsy_fold/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/average_palsy_fold/{protocol}/{model}/fold{fold}.tsv"
    wildcard_constraints:
        model="late_[a-z]+",
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code_stamp("studies.palsy", "tables"),
    script:
        "../scripts/average_palsy_fold.py"


# The same with other seeds, branches and fusions alike: what of the result is owed to the seed is audited.
use rule train_palsy_fold as repeat_palsy_fold with:
    output:
        model="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/predictions.parquet",
        embedding="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/embedding.safetensors",
    log:
        "logs/repeat_palsy_fold/{repeat}/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/repeat_palsy_fold/{repeat}/{protocol}/{model}/fold{fold}.tsv"


use rule fuse_palsy_fold as repeat_palsy_fusion with:
    output:
        model="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/repeat_palsy_fusion/{repeat}/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/repeat_palsy_fusion/{repeat}/{protocol}/{model}/fold{fold}.tsv"


use rule train_palsy_clips as repeat_palsy_clips with:
    output:
        model="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/repeat_palsy_clips/{repeat}/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/repeat_palsy_clips/{repeat}/{protocol}/{model}/fold{fold}.tsv"


use rule average_palsy_fold as repeat_palsy_average with:
    output:
        predictions="results/studies/palsy/repeats/{repeat}/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/repeat_palsy_average/{repeat}/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/repeat_palsy_average/{repeat}/{protocol}/{model}/fold{fold}.tsv"


rule score_palsy_recording:
    """What the model of every fold says of a recording of somebody whom none was trained on."""
    input:
        quality="results/score/{name}/quality.parquet",
        landmarks="results/score/{name}/landmarks.parquet",
        crops="results/score/{name}/crops.parquet",
        models=lambda wildcards: of_grouped_folds("palsy", SCORING_MODELS["palsy"], "model.safetensors"),
        measures=lambda wildcards: scoring_branches(0),
        images=lambda wildcards: scoring_branches(1),
    output:
        votes="results/score/{name}/palsy_votes.parquet",
    log:
        "logs/score_palsy_recording/{name}.log",
    benchmark:
        "benchmarks/score_palsy_recording/{name}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        form=lookup("studies/palsy/measures", within=config),
        views=lookup("studies/palsy/images", within=config),
        dtype=lookup("studies/palsy/cache/dtype", within=config),
        backbones=lookup("studies/palsy/backbones", within=config),
        least=lookup("score/least_quality", within=config),
        code=code_stamp("training.fit", "training.activations", "studies.palsy", "studies.pictures", "features.quality"),
    script:
        "../scripts/score_palsy_recording.py"


rule tabulate_palsy:
    """The thirteen rows of the paper beside what they give here, and what follows from them."""
    input:
        predictions=of_every_fold("palsy", "predictions"),
        metrics="results/studies/palsy/metrics.parquet",
        published=published("palsy_table1.csv"),
    output:
        shown(
            multiext("results/tables/palsy", csv=".csv", md=".md", tex=".tex"),
            part="palsy",
            title="Table I: all rows, claims and controls",
            caption="palsy",
        ),
    log:
        "logs/tabulate_palsy.log",
    benchmark:
        "benchmarks/tabulate_palsy.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("palsy"),
        backbones=lookup("studies/palsy/backbones", within=config),
        bootstrap=lookup("studies/palsy/bootstrap", within=config),
        code=code_stamp("report.palsy", "evaluation.paired", "studies.palsy"),
    script:
        "../scripts/tabulate_palsy.py"


rule plot_palsy:
    """Confusion matrices and calibration of the published model, ROC curves of it, its branches and the control."""
    input:
        predictions=of_every_fold("palsy", "predictions"),
        metrics="results/studies/palsy/metrics.parquet",
    output:
        confusion=shown(
            multiext("results/figures/palsy_confusion", ".png", ".svg"),
            part="palsy",
            title="Confusion matrices",
            caption="confusion",
        ),
        roc=shown(
            multiext("results/figures/palsy_roc", ".png", ".svg"), part="palsy", title="ROC curves", caption="roc"
        ),
        calibration=shown(
            multiext("results/figures/palsy_calibration", ".png", ".svg"),
            part="palsy",
            title="Calibration",
            caption="calibration",
        ),
    log:
        "logs/plot_palsy.log",
    benchmark:
        "benchmarks/plot_palsy.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("palsy"),
        bootstrap=lookup("studies/palsy/bootstrap", within=config),
        code=code_stamp("report.figures", "report.classification", "studies.palsy"),
    script:
        "../scripts/plot_palsy.py"


rule tabulate_palsy_measures:
    """Whether the asymmetry measures follow the grade, name the weak side, and predict the grade."""
    input:
        samples="results/studies/palsy/samples.parquet",
        folds="results/studies/palsy/grouped/folds.parquet",
    output:
        shown(
            multiext("results/tables/palsy_measures", csv=".csv", md=".md", tex=".tex"),
            part="palsy",
            title="Asymmetry, grade and weak side",
            caption="palsy_measures",
        ),
    log:
        "logs/tabulate_palsy_measures.log",
    benchmark:
        "benchmarks/tabulate_palsy_measures.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("palsy"),
        groups=lookup("studies/palsy/groups", within=config),
        bootstrap=lookup("studies/palsy/bootstrap", within=config),
        code=code_stamp("report.palsy_measures", "evaluation.monotony", "evaluation.severity", "studies.palsy"),
    script:
        "../scripts/tabulate_palsy_measures.py"


rule explain_palsy_fold:
    """What a trained model goes by in the patients held out, judged by the truth about them."""
    input:
        samples="results/studies/palsy/samples.parquet",
        folds="results/studies/palsy/{protocol}/folds.parquet",
        crops=crops_to_explain,
        model="results/studies/palsy/{protocol}/{model}/fold{fold}/model.safetensors",
    output:
        explanations="results/studies/palsy/{protocol}/{model}/fold{fold}/explanations.parquet",
    log:
        "logs/explain_palsy_fold/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/explain_palsy_fold/{protocol}/{model}/fold{fold}.tsv"
    wildcard_constraints:
        model="(handcrafted|shuffled)_fnn|(rgb|lines)_[a-z]+",
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        backbones=backbones_of,
        images=lookup("studies/palsy/images", within=config),
        explanations={key: config["studies"]["palsy"]["explanations"][key] for key in ("at_most", "patch", "stride")},
        virtual=cohort_description("palsy")["virtual"],
        code=code_stamp(
            "evaluation.explanations", "training.fit", "training.folds", "training.devices", "studies.palsy"
        ),
    script:
        "../scripts/explain_palsy_fold.py"


rule tabulate_palsy_explanations:
    """Whether the models go by the weak side, and by the part of the face that moves."""
    input:
        explanations=explained_folds(),
    output:
        shown(
            multiext("results/tables/palsy_explanations", csv=".csv", md=".md", tex=".tex"),
            part="palsy",
            title="What the models go by",
            caption="palsy_explanations",
        ),
    log:
        "logs/tabulate_palsy_explanations.log",
    benchmark:
        "benchmarks/tabulate_palsy_explanations.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("palsy"),
        backbones=lookup("studies/palsy/backbones", within=config),
        bootstrap=lookup("studies/palsy/bootstrap", within=config),
        code=code_stamp("report.explanations", "studies.palsy"),
    script:
        "../scripts/tabulate_palsy_explanations.py"


rule palsy:
    """The tables, the figures and the audits of the palsy study."""
    input:
        expand("results/tables/{name}.md", name=study_tables("palsy")),
        study_figures("palsy"),
        study_audits("palsy"),
