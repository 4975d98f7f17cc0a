from faceneuro.models import OBJECTIVES

PARKINSON = config["studies"]["parkinson"]
# What figures and audits are about: the paper's own model, or else the first of those that are run.
SHOWN_MODEL = "attention_fusion" if "attention_fusion" in PARKINSON["models"] else PARKINSON["models"][0]
SHOWN_FAMILY = {"family": PARKINSON_FAMILIES[SHOWN_MODEL]}
# What a model looks at: what others look at is no reason to train it again.
ATTENTION = dict.fromkeys(("unbalanced", "attention_fusion", "ordinal"), PARKINSON["attention"])
BALANCING = {
    "focal": PARKINSON["balancing"],
    "corn": {"weights": PARKINSON["balancing"]["weights"]},
    "cross_entropy": {},
}


rule assemble_parkinson_samples:
    """One sample per subject, its class and the images of its six expressions; and where each image is."""
    input:
        manifest=tables_of("parkinson", "manifest"),
        quality=quality_of("parkinson"),
        landmarks=tables_of("parkinson", "landmarks"),
        crops=tables_of("parkinson", "crops"),
    output:
        samples="results/studies/parkinson/samples.parquet",
        images="results/studies/parkinson/images.parquet",
    log:
        "logs/assemble_parkinson_samples.log",
    benchmark:
        "benchmarks/assemble_parkinson_samples.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        groups=lookup("studies/parkinson/groups", within=config),
        stages=lookup("studies/parkinson/stages", within=config),
        tasks=lookup("studies/parkinson/tasks", within=config),
        filled=filled_tasks(PARKINSON, SHARDS),
        least_expressions=lookup("studies/parkinson/least_expressions", within=config),
        permute_labels=lookup("studies/parkinson/permute_labels", within=config),
        code=code_stamp("studies.parkinson"),
    script:
        "../scripts/assemble_parkinson_samples.py"


rule pretrain_expression:
    """A backbone that tells seven expressions apart, and how well it does on people that it has not seen."""
    input:
        unpack(expression_faces),
    output:
        weights="results/pretraining/expression/{family}.safetensors",
        history="results/pretraining/expression/{family}_history.parquet",
        predictions="results/pretraining/expression/{family}_predictions.parquet",
    log:
        "logs/pretrain_expression/{family}.log",
    benchmark:
        "benchmarks/pretrain_expression/{family}.tsv"
    # The longest job of the study, and the first that others wait for.
    priority: 10
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        # How much of it is trained again later is no reason to begin anew.
        backbone=lambda wildcards: {
            name: value
            for name, value in PARKINSON["backbones"][wildcards.family].items()
            if name not in ("weights", "unfreeze")
        },
        gray=lookup("studies/parkinson/images/gray", within=config),
        training=lookup("studies/parkinson/pretraining", within=config),
        code=code_stamp("training.pretraining", "training.devices", "studies.expressions"),
    script:
        "../scripts/pretrain_expression.py"


rule tabulate_expression_pretraining:
    """How well the backbones tell expressions of people that they have not seen."""
    input:
        predictions=expand("results/pretraining/expression/{family}_predictions.parquet", family=pretrained_families()),
    output:
        shown(
            multiext("results/tables/expression_pretraining", csv=".csv", md=".md", tex=".tex"),
            part="parkinson",
            title="Training on expressions before",
            caption="expression_pretraining",
        ),
    log:
        "logs/tabulate_expression_pretraining.log",
    benchmark:
        "benchmarks/tabulate_expression_pretraining.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        families=pretrained_families(),
        cohort=lookup("studies/parkinson/pretraining/cohort", within=config),
        virtual=config["studies"]["parkinson"]["pretraining"]["cohort"] in VIRTUAL_COHORTS,
        bootstrap=lookup("studies/parkinson/bootstrap", within=config),
        code=code_stamp("report.expressions"),
    script:
        "../scripts/tabulate_expression_pretraining.py"


rule cache_expressions:
    """What the frozen part of a backbone makes of every expression image, once for all folds and epochs."""
    input:
        images="results/studies/parkinson/images.parquet",
        crops=tables_of("parkinson", "crops"),
        weights=pretrained_weights,
    output:
        activations="results/studies/parkinson/activations/{family}.safetensors",
    log:
        "logs/cache_expressions/{family}.log",
    benchmark:
        "benchmarks/cache_expressions/{family}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        study="parkinson",
        backbones=sized_backbones,
        images=lookup("studies/parkinson/images", within=config),
        cache=lookup("studies/parkinson/cache", within=config),
        code=code_stamp("training.activations", "models.backbones", "training.devices", "studies.pictures"),
    script:
        "../scripts/cache_activations.py"


rule shrink_surroundings:
    """Each expression image without the face, small enough to keep: whether it gives anything away is audited."""
    input:
        images="results/studies/parkinson/images.parquet",
        crops=tables_of("parkinson", "crops"),
    output:
        surroundings="results/studies/parkinson/surroundings.safetensors",
    log:
        "logs/shrink_surroundings.log",
    benchmark:
        "benchmarks/shrink_surroundings.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        code=code_stamp("training.activations", "studies.pictures"),
    script:
        "../scripts/shrink_surroundings.py"


rule train_parkinson_fold:
    """One model on one fold, and its predictions for the subjects held out."""
    input:
        samples="results/studies/parkinson/samples.parquet",
        folds="results/studies/parkinson/{protocol}/folds.parquet",
        activations=expressions_of,
        weights=pretrained_weights,
    output:
        model="results/studies/parkinson/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/parkinson/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/parkinson/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/train_parkinson_fold/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/train_parkinson_fold/{protocol}/{model}/fold{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    resources:
        gpu=gpus,
    params:
        backbones=sized_backbones,
        attention=lambda wildcards: ATTENTION.get(wildcards.model, {}),
        balancing=lambda wildcards: BALANCING[OBJECTIVES[wildcards.model]],
        training=lookup("studies/parkinson/training", within=config),
        code=code_stamp("training.fit", "training.folds", "training.devices", "studies.parkinson"),
    script:
        "../scripts/train_parkinson_fold.py"


# The same with another seed: what of the result is owed to the seed is audited. Folds and inputs are those of the first.
use rule train_parkinson_fold as repeat_parkinson_fold with:
    output:
        model="results/studies/parkinson/repeats/{repeat}/{protocol}/{model}/fold{fold}/model.safetensors",
        history="results/studies/parkinson/repeats/{repeat}/{protocol}/{model}/fold{fold}/history.parquet",
        predictions="results/studies/parkinson/repeats/{repeat}/{protocol}/{model}/fold{fold}/predictions.parquet",
    log:
        "logs/repeat_parkinson_fold/{repeat}/{protocol}/{model}/fold{fold}.log",
    benchmark:
        "benchmarks/repeat_parkinson_fold/{repeat}/{protocol}/{model}/fold{fold}.tsv"
    params:
        training=lambda wildcards: seeded(config["studies"]["parkinson"]["training"], wildcards),


rule weigh_expressions:
    """Which expressions carry the weight of the attention, in every subject held out."""
    input:
        samples="results/studies/parkinson/samples.parquet",
        folds="results/studies/parkinson/grouped/folds.parquet",
        activations="results/studies/parkinson/activations/resnet.safetensors",
        models=attention_models(),
    output:
        attention="results/studies/parkinson/attention.parquet",
    log:
        "logs/weigh_expressions.log",
    benchmark:
        "benchmarks/weigh_expressions.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        backbones=sized_backbones,
        attention=lookup("studies/parkinson/attention", within=config),
        tasks=lookup("studies/parkinson/tasks", within=config),
        code=code_stamp("training.fit", "training.folds", "studies.parkinson"),
    script:
        "../scripts/weigh_expressions.py"


rule audit_parkinson:
    """Whether the networks could go by where a recording comes from, or by age, instead of by the disease."""
    input:
        samples="results/studies/parkinson/samples.parquet",
        # Not the crops: with the frames they are deleted, and would be made again for every change of a model.
        surroundings="results/studies/parkinson/surroundings.safetensors",
        activations=expressions_of(SHOWN_FAMILY),
        weights=pretrained_weights(SHOWN_FAMILY),
        predictions=of_every_fold("parkinson", "predictions"),
    output:
        audits="results/studies/parkinson/audits.csv",
    log:
        "logs/audit_parkinson.log",
    benchmark:
        "benchmarks/audit_parkinson.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        model=SHOWN_MODEL,
        backbones=sized_backbones(SHOWN_FAMILY),
        calliper=lookup("studies/parkinson/age_calliper", within=config),
        folds=lookup("studies/parkinson/protocols/grouped/folds", within=config),
        bootstrap=lookup("studies/parkinson/bootstrap", within=config),
        code=code_stamp("evaluation.sources", "studies.parkinson"),
    script:
        "../scripts/audit_parkinson.py"


rule tabulate_parkinson:
    """Table I of the paper beside what is found here, what it claims, and what else could explain the result."""
    input:
        metrics="results/studies/parkinson/metrics.parquet",
        predictions=of_every_fold("parkinson", "predictions"),
        audits="results/studies/parkinson/audits.csv",
        published=published("parkinson_table1.csv"),
    output:
        shown(
            multiext("results/tables/parkinson", csv=".csv", md=".md", tex=".tex"),
            part="parkinson",
            title="Table I: all rows, claims and audits",
            caption="parkinson",
        ),
    log:
        "logs/tabulate_parkinson.log",
    benchmark:
        "benchmarks/tabulate_parkinson.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("parkinson"),
        backbones=lookup("studies/parkinson/backbones", within=config),
        bootstrap=lookup("studies/parkinson/bootstrap", within=config),
        code=code_stamp("report.parkinson", "evaluation.paired", "studies.parkinson"),
    script:
        "../scripts/tabulate_parkinson.py"


rule plot_parkinson:
    """Confusion matrices, ROC and calibration curves."""
    input:
        predictions=of_every_fold("parkinson", "predictions"),
        metrics="results/studies/parkinson/metrics.parquet",
    output:
        confusion=shown(
            multiext("results/figures/parkinson_confusion", ".png", ".svg"),
            part="parkinson",
            title="Confusion matrices",
            caption="confusion",
        ),
        roc=shown(
            multiext("results/figures/parkinson_roc", ".png", ".svg"),
            part="parkinson",
            title="ROC curves",
            caption="roc",
        ),
        calibration=shown(
            multiext("results/figures/parkinson_calibration", ".png", ".svg"),
            part="parkinson",
            title="Calibration",
            caption="calibration",
        ),
    log:
        "logs/plot_parkinson.log",
    benchmark:
        "benchmarks/plot_parkinson.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("parkinson"),
        bootstrap=lookup("studies/parkinson/bootstrap", within=config),
        model=SHOWN_MODEL,
        code=code_stamp("report.figures", "report.classification", "studies.parkinson"),
    script:
        "../scripts/plot_parkinson.py"


rule show_attention:
    """Which expressions carry the weight of the attention in each class, and on virtual patients which ones move less."""
    input:
        attention="results/studies/parkinson/attention.parquet",
        truth=truth_of("parkinson"),
        manifest=tables_of("parkinson", "manifest"),
    output:
        shown(
            multiext("results/tables/parkinson_attention", csv=".csv", md=".md", tex=".tex"),
            part="parkinson",
            title="Weight of the expressions",
            caption="parkinson_attention",
        ),
        figure=shown(
            multiext("results/figures/parkinson_attention", ".png", ".svg"),
            part="parkinson",
            title="Weight of the expressions",
            caption="parkinson_attention",
        ),
    log:
        "logs/show_attention.log",
    benchmark:
        "benchmarks/show_attention.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("parkinson"),
        tasks=lookup("studies/parkinson/tasks", within=config),
        backbones=lookup("studies/parkinson/backbones", within=config),
        bootstrap=lookup("studies/parkinson/bootstrap", within=config),
        code=code_stamp(
            "evaluation.attention",
            "cohorts.virtual.tasks",
            "report.parkinson",
            "report.parkinson_figures",
            "studies.parkinson",
        ),
    script:
        "../scripts/show_attention.py"


rule parkinson:
    """The tables, the figures and the audits of the Parkinson study."""
    input:
        expand("results/tables/{name}.md", name=study_tables("parkinson")),
        study_figures("parkinson"),
        study_audits("parkinson"),
