# Does it help? Synthetic pictures of palsies among those that the palsy study learns from. Asked for by name.


rule plan_augmentation:
    """Who of the palsy study is given whose palsy, and the faces that this takes."""
    input:
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
        samples="results/studies/palsy/samples.parquet",
        aligned=tables_of("palsy", "aligned"),
    output:
        images="results/studies/synthesis/augmentation/faces.npy",
        faces="results/studies/synthesis/augmentation/faces.parquet",
        conditions="results/studies/synthesis/augmentation/conditions.parquet",
    log:
        "logs/plan_augmentation.log",
    benchmark:
        "benchmarks/plan_augmentation.tsv"
    conda:
        "../../envs/synthesis.yaml"
    params:
        cohorts=augmentation_cohorts(),
        positive=lookup("studies/synthesis/groups/positive", within=config),
        per_identity=max(config["studies"]["synthesis"]["augmentation"]["per_identity"]),
        seed=lookup("studies/synthesis/seed", within=config),
        code=code_stamp("studies.augmentation"),
    script:
        "../scripts/plan_augmentation.py"


use rule sample_faces as sample_augmentation with:
    input:
        **extractor_files(),
        images="results/studies/synthesis/augmentation/faces.npy",
        faces="results/studies/synthesis/augmentation/faces.parquet",
        pairs="results/studies/synthesis/augmentation/conditions.parquet",
        model="results/studies/synthesis/{model}/model.safetensors",
    output:
        index="results/studies/synthesis/augmentation/{model}.parquet",
    log:
        "logs/sample_augmentation/{model}.log",
    benchmark:
        "benchmarks/sample_augmentation/{model}.tsv"
    wildcard_constraints:
        model="|".join(ROWS),


rule cache_augmentation:
    """What the frozen part of the palsy study's image network makes of the pictures that may be added."""
    input:
        images="results/studies/synthesis/augmentation/faces.npy",
        faces="results/studies/synthesis/augmentation/faces.parquet",
        conditions="results/studies/synthesis/augmentation/conditions.parquet",
        aligned=tables_of("palsy", "aligned"),
        crops=tables_of("palsy", "crops"),
        index=made_for_augmentation,
    output:
        activations="results/studies/synthesis/augmentation/{kind}.safetensors",
    log:
        "logs/cache_augmentation/{kind}.log",
    benchmark:
        "benchmarks/cache_augmentation/{kind}.tsv"
    wildcard_constraints:
        kind="generated|warp",
    conda:
        "../../envs/synthesis.yaml"
    resources:
        gpu=gpus,
    params:
        backbones=augmented_backbones(),
        images=lookup("studies/palsy/images", within=config),
        cache=lookup("studies/palsy/cache", within=config),
        code=code_stamp("studies.augmentation", "training.activations", "models.backbones", "training.devices"),
    script:
        "../scripts/cache_augmentation.py"


rule train_augmented_fold:
    """The palsy study's image network on one fold, with so many synthetic pictures of everybody whom it learns from."""
    input:
        samples="results/studies/palsy/samples.parquet",
        folds=f"results/studies/palsy/{augmentation_protocol()}/folds.parquet",
        conditions="results/studies/synthesis/augmentation/conditions.parquet",
        real="results/studies/palsy/activations/rgb_mixer.safetensors",
        made=activations_of_arm,
    output:
        predictions="results/studies/synthesis/augmentation/{arm}/fold{fold}.parquet",
    log:
        "logs/train_augmented_fold/{arm}/fold{fold}.log",
    benchmark:
        "benchmarks/train_augmented_fold/{arm}/fold{fold}.tsv"
    wildcard_constraints:
        arm="none|(generated|warp)_[0-9]+",
    conda:
        "../../envs/synthesis.yaml"
    resources:
        gpu=gpus,
    params:
        cohorts=augmentation_cohorts(),
        protocol=augmentation_protocol(),
        backbones=augmented_backbones(),
        training=lookup("studies/palsy/training/visual", within=config),
        code=code_stamp("studies.augmentation", "training.fit", "training.folds", "training.devices", "studies.palsy"),
    script:
        "../scripts/train_augmented_fold.py"


rule tabulate_augmentation:
    """Whether the network tells palsy better with synthetic pictures than without."""
    input:
        predictions=predictions_of_arms(),
        samples="results/studies/palsy/samples.parquet",
        folds=f"results/studies/palsy/{augmentation_protocol()}/folds.parquet",
        conditions="results/studies/synthesis/augmentation/conditions.parquet",
        faces="results/studies/synthesis/faces.parquet",
    output:
        shown(
            multiext("results/tables/augmentation", csv=".csv", md=".md", tex=".tex"),
            part="synthesis",
            title="Does synthetic palsy help to detect palsy?",
            caption="augmentation",
        ),
    log:
        "logs/tabulate_augmentation.log",
    benchmark:
        "benchmarks/tabulate_augmentation.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        **cohort_description("palsy"),
        per_identity=lookup("studies/synthesis/augmentation/per_identity", within=config),
        generator=[
            config["studies"]["synthesis"]["augmentation"]["model"],
            config["studies"]["synthesis"]["size"],
            generator_steps(),
            cohort_names("synthesis"),
        ],
        bootstrap=lookup("studies/palsy/bootstrap", within=config),
        code=code_stamp("report.augmentation", "evaluation.metrics", "evaluation.paired", "studies.palsy"),
    script:
        "../scripts/tabulate_augmentation.py"


rule augmentation:
    """Whether synthetic pictures of palsies help to detect palsy."""
    input:
        "results/tables/augmentation.md",
