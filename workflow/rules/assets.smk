# A command and not a script, and no code stamp: Snakemake runs a rule again when its script is newer than its output, and
# what is fetched here, or was put in place by hand, is fixed by its hash. Changed code is no reason to ask the network.
rule fetch_asset:
    """A model file or a set of meshes, by pinned version and sha256."""
    output:
        # Not removed before it is made: another run that shares the folder may be reading it.
        update(f"{ASSETS}/{{file}}"),
    log:
        "logs/fetch_asset/{file}.log",
    benchmark:
        "benchmarks/fetch_asset/{file}.tsv"
    wildcard_constraints:
        file="|".join(assets.ASSETS),
    conda:
        "../../envs/vision.yaml"
    params:
        configured=configured_asset,
    shell:
        "python -m faceneuro.assets {output:q} {params.configured:q} 2>&1 | tee {log:q} >&2"


rule build_heads:
    """The meshes, shapes and face units that virtual patients are made of."""
    input:
        wheel=f"{ASSETS}/{assets.HEADS.file}",
    output:
        heads=update(f"{ASSETS}/heads.npz"),
    log:
        "logs/build_heads.log",
    benchmark:
        "benchmarks/build_heads.tsv"
    conda:
        "../../envs/vision.yaml"
    params:
        code=code_stamp("cohorts.virtual.heads"),
    script:
        "../scripts/build_heads.py"
