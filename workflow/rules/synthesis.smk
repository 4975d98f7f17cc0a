rule gather_faces:
    """The faces of the study in one file, and who of them is learnt from."""
    input:
        aligned=tables_of("synthesis", "aligned"),
        manifest=tables_of("synthesis", "manifest"),
        quality=quality_of("synthesis"),
    output:
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
    log:
        "logs/gather_faces.log",
    benchmark:
        "benchmarks/gather_faces.tsv"
    conda:
        "../../envs/synthesis.yaml"
    params:
        groups=lookup("studies/synthesis/groups", within=config),
        tasks=lookup("studies/synthesis/tasks", within=config),
        test_fraction=lookup("studies/synthesis/test_fraction", within=config),
        seed=lookup("studies/synthesis/seed", within=config),
        pixels=SIZES[config["studies"]["synthesis"]["size"]].pixels,
        code=code_stamp("studies.synthesis"),
    script:
        "../scripts/gather_faces.py"


rule pair_faces:
    """Who is to look like whom in the test."""
    input:
        unpack(own_pairs),
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
    output:
        pairs="results/studies/synthesis/pairs.parquet",
    log:
        "logs/pair_faces.log",
    benchmark:
        "benchmarks/pair_faces.tsv"
    conda:
        "../../envs/synthesis.yaml"
    params:
        positive=lookup("studies/synthesis/groups/positive", within=config),
        per_image=lookup("studies/synthesis/pairs/per_image", within=config),
        seed=lookup("studies/synthesis/seed", within=config),
        code=code_stamp("studies.synthesis"),
    script:
        "../scripts/pair_faces.py"


rule render_targets:
    """What each pair should come to: on virtual patients it is known, because they can be photographed with any signs."""
    input:
        heads=HEADS,
        model=FACE_LANDMARKER,
        pairs="results/studies/synthesis/pairs.parquet",
        faces="results/studies/synthesis/faces.parquet",
    output:
        targets="results/studies/synthesis/targets.parquet",
    log:
        "logs/render_targets.log",
    benchmark:
        "benchmarks/render_targets.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        settings=config["cohorts"].get(cohort_names("synthesis")),
        options=lookup("features/landmarks", within=config),
        code=code_stamp("cohorts.virtual.targets", "features.landmarks"),
    script:
        "../scripts/render_targets.py"


rule train_extractor:
    """A network that tells who somebody is, how the face is moved or where its points are; and how well, on others."""
    input:
        unpack(identity_extractor),
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
    output:
        weights="results/studies/synthesis/extractors/{kind}.safetensors",
        history="results/studies/synthesis/extractors/{kind}_history.csv",
        quality="results/studies/synthesis/extractors/{kind}_quality.csv",
    log:
        "logs/train_extractor/{kind}.log",
    benchmark:
        "benchmarks/train_extractor/{kind}.tsv"
    wildcard_constraints:
        kind="identity|expression|landmarks",
    priority: 5
    conda:
        "../../envs/synthesis.yaml"
    resources:
        gpu=gpus,
    params:
        size=lookup("studies/synthesis/size", within=config),
        training=lookup("studies/synthesis/extractor_training", within=config),
        code=code_stamp("synthesis.extractor_training", "training.devices"),
    script:
        "../scripts/train_extractor.py"


rule train_generator:
    """One row of the paper, from its last checkpoint if there is one."""
    input:
        unpack(start_of_training),
        **extractor_files(),
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
    output:
        model="results/studies/synthesis/{model}/model.safetensors",
        history="results/studies/synthesis/{model}/history.csv",
    log:
        "logs/train_generator/{model}.log",
    benchmark:
        "benchmarks/train_generator/{model}.tsv"
    wildcard_constraints:
        model="|".join(ROWS),
    priority: 4
    conda:
        "../../envs/synthesis.yaml"
    resources:
        gpu=gpus,
    params:
        size=lookup("studies/synthesis/size", within=config),
        as_released=lookup("studies/synthesis/as_released", within=config),
        training=lookup("studies/synthesis/training", within=config),
        code=code_stamp("synthesis.training", "training.devices"),
    script:
        "../scripts/train_generator.py"


rule sample_faces:
    """The face of every pair: given another person's palsy (there), and from that its own back (back)."""
    input:
        **extractor_files(),
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
        pairs="results/studies/synthesis/pairs.parquet",
        model="results/studies/synthesis/{model}/model.safetensors",
        there=first_pass,
    output:
        index="results/studies/synthesis/{model}/{way}.parquet",
    log:
        "logs/sample_faces/{model}/{way}.log",
    benchmark:
        "benchmarks/sample_faces/{model}/{way}.tsv"
    wildcard_constraints:
        model="|".join(ROWS),
        way="there|back",
    conda:
        "../../envs/synthesis.yaml"
    resources:
        gpu=gpus,
    params:
        size=lookup("studies/synthesis/size", within=config),
        as_released=lookup("studies/synthesis/as_released", within=config),
        sampling=lookup("studies/synthesis/sampling", within=config),
        code=code_stamp("synthesis.sampling", "training.devices"),
    script:
        "../scripts/sample_faces.py"


rule look_at_faces:
    """What the extractors see in every face, and in what each pair should come to, once for all rows."""
    input:
        unpack(looking_networks),
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
        pairs="results/studies/synthesis/pairs.parquet",
        targets=targets_of_pairs(),
    output:
        seen="results/studies/synthesis/seen.safetensors",
    log:
        "logs/look_at_faces.log",
    benchmark:
        "benchmarks/look_at_faces.tsv"
    conda:
        "../../envs/synthesis.yaml"
    resources:
        gpu=gpus,
    params:
        size=lookup("studies/synthesis/size", within=config),
        batch_size=lookup("studies/synthesis/sampling/batch_size", within=config),
        code=code_stamp("synthesis.scoring", "training.devices"),
    script:
        "../scripts/look_at_faces.py"


rule score_synthesis:
    """Every score of the pictures of one row, a model's or a trivial one's."""
    input:
        unpack(looking_networks),
        unpack(made_by),
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
        pairs="results/studies/synthesis/pairs.parquet",
        seen="results/studies/synthesis/seen.safetensors",
        targets=targets_of_pairs(),
    output:
        scores="results/studies/synthesis/{model}/scores.parquet",
        set="results/studies/synthesis/{model}/set.csv",
    log:
        "logs/score_synthesis/{model}.log",
    benchmark:
        "benchmarks/score_synthesis/{model}.tsv"
    conda:
        "../../envs/synthesis.yaml"
    resources:
        gpu=gpus,
    params:
        size=lookup("studies/synthesis/size", within=config),
        extractors=lookup("studies/synthesis/extractors", within=config),
        features=lookup("studies/synthesis/features", within=config),
        positive=lookup("studies/synthesis/groups/positive", within=config),
        virtual=cohort_description("synthesis")["virtual"],
        batch_size=lookup("studies/synthesis/sampling/batch_size", within=config),
        code=code_stamp("synthesis.scoring", "training.devices"),
    script:
        "../scripts/score_synthesis.py"


rule tabulate_synthesis:
    """The six rows of the paper beside what they give here, the trivial rows, and what follows."""
    input:
        scores=of_synthesis_rows("scores.parquet"),
        sets=of_synthesis_rows("set.csv"),
        models=of_generators("model.safetensors"),
        pairs="results/studies/synthesis/pairs.parquet",
        published=published("synthesis_table1.csv"),
    output:
        shown(
            multiext("results/tables/synthesis", csv=".csv", md=".md", tex=".tex"),
            part="synthesis",
            title="Table I: all rows, claims and trivial rows",
            caption="synthesis",
        ),
    log:
        "logs/tabulate_synthesis.log",
    benchmark:
        "benchmarks/tabulate_synthesis.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        cohort=cohort_names("synthesis"),
        virtual=cohort_description("synthesis")["virtual"],
        size=lookup("studies/synthesis/size", within=config),
        steps=lookup("studies/synthesis/training/steps", within=config),
        sampling_steps=lookup("studies/synthesis/sampling/steps", within=config),
        as_released=lookup("studies/synthesis/as_released", within=config),
        bootstrap=lookup("studies/synthesis/bootstrap", within=config),
        code=code_stamp("report.synthesis", "synthesis.trivial", "studies.synthesis"),
    script:
        "../scripts/tabulate_synthesis.py"


rule tabulate_synthesis_extractors:
    """How good the networks are that the synthesis goes by."""
    input:
        quality=extractor_qualities(),
    output:
        shown(
            multiext("results/tables/synthesis_extractors", csv=".csv", md=".md", tex=".tex"),
            part="synthesis",
            title="Networks that the synthesis goes by",
            caption="synthesis_extractors",
        ),
    log:
        "logs/tabulate_synthesis_extractors.log",
    benchmark:
        "benchmarks/tabulate_synthesis_extractors.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        cohort=cohort_names("synthesis"),
        virtual=cohort_description("synthesis")["virtual"],
        own=lookup("studies/synthesis/extractors", within=config),
        code=code_stamp("report.extractors"),
    script:
        "../scripts/tabulate_synthesis_extractors.py"


rule plot_synthesis:
    """What every row makes of some pairs, and how the losses fell."""
    input:
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
        pairs="results/studies/synthesis/pairs.parquet",
        there=of_generators("there.parquet"),
        histories=of_generators("history.csv"),
        targets=targets_of_pairs(),
    output:
        grid=shown(
            multiext("results/figures/synthesis_grid", ".png", ".svg"),
            part="synthesis",
            title="What every row makes of some pairs",
            caption="synthesis_grid",
        ),
        losses=shown(
            multiext("results/figures/synthesis_losses", ".png", ".svg"),
            part="synthesis",
            title="Losses of the training",
            caption="synthesis_losses",
        ),
    log:
        "logs/plot_synthesis.log",
    benchmark:
        "benchmarks/plot_synthesis.tsv"
    conda:
        "../../envs/synthesis.yaml"
    params:
        cohort=cohort_names("synthesis"),
        virtual=cohort_description("synthesis")["virtual"],
        models=lookup("studies/synthesis/models", within=config),
        code=code_stamp("report.synthesis_figures", "report.classification", "synthesis.scoring"),
    script:
        "../scripts/plot_synthesis.py"


rule synthesis:
    """The tables and the figures of the synthesis study."""
    input:
        expand("results/tables/{name}.md", name=study_tables("synthesis")),
        study_figures("synthesis"),


rule pair_dataset:
    """Who is shown with whose palsy in the data set."""
    input:
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
    output:
        pairs="results/studies/synthesis/dataset/pairs.parquet",
    log:
        "logs/pair_dataset.log",
    benchmark:
        "benchmarks/pair_dataset.tsv"
    conda:
        "../../envs/synthesis.yaml"
    params:
        positive=lookup("studies/synthesis/groups/positive", within=config),
        images=lookup("studies/synthesis/dataset/images", within=config),
        seed=lookup("studies/synthesis/seed", within=config),
        code=code_stamp("synthesis.dataset"),
    script:
        "../scripts/pair_dataset.py"


use rule sample_faces as sample_dataset with:
    input:
        **extractor_files(),
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
        pairs="results/studies/synthesis/dataset/pairs.parquet",
        model="results/studies/synthesis/{model}/model.safetensors",
    output:
        index="results/studies/synthesis/dataset/{model}.parquet",
    log:
        "logs/sample_dataset/{model}.log",
    benchmark:
        "benchmarks/sample_dataset/{model}.tsv"
    wildcard_constraints:
        model="|".join(ROWS),


rule write_synthesis_dataset:
    """A data set of synthetic faces: pictures, what is known of each, a datasheet that says who may have it."""
    input:
        images="results/studies/synthesis/faces.npy",
        faces="results/studies/synthesis/faces.parquet",
        pairs="results/studies/synthesis/dataset/pairs.parquet",
        index=f"results/studies/synthesis/dataset/{config['studies']['synthesis']['dataset']['model']}.parquet",
        quality=extractor_qualities(),
    output:
        images=directory("results/datasets/synthetic_palsy/images"),
        csv="results/datasets/synthetic_palsy/metadata.csv",
        parquet="results/datasets/synthetic_palsy/metadata.parquet",
        datasheet="results/datasets/synthetic_palsy/datasheet.md",
        grid=multiext("results/datasets/synthetic_palsy/examples", ".png", ".svg"),
    log:
        "logs/write_synthesis_dataset.log",
    benchmark:
        "benchmarks/write_synthesis_dataset.tsv"
    conda:
        "../../envs/synthesis.yaml"
    params:
        cohort=cohort_names("synthesis"),
        virtual=cohort_description("synthesis")["virtual"],
        extractors=lookup("studies/synthesis/extractors", within=config),
        steps=generator_steps(),
        seed=lookup("studies/synthesis/training/seed", within=config),
        as_released=lookup("studies/synthesis/as_released", within=config),
        code=code_stamp("synthesis.dataset", "report.synthesis_figures", "report.classification"),
    script:
        "../scripts/write_synthesis_dataset.py"


rule synthesis_dataset:
    """A data set of synthetic faces with palsy, with a datasheet."""
    input:
        "results/datasets/synthetic_palsy/datasheet.md",


if "palsy" in STUDIES:

    include: "augmentation.smk"

else:

    rule augmentation:
        """Whether synthetic pictures of palsies help to detect palsy."""
        input:
            no_palsy_study,
