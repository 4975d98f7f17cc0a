rule compare_runs:
    """The tables of this run beside those of another one: what differs, and what of it is beyond noise."""
    input:
        unpack(other_files),
        tables=own_tables(),
        manifest="results/provenance.json",
    output:
        shown(
            multiext("results/comparison/comparison", csv=".csv", md=".md", tex=".tex"),
            part="whole",
            title="Beside another run",
            caption="comparison",
        ),
        page=shown(
            "results/comparison/index.html", part="whole", title="Beside another run, row by row", caption="comparison"
        ),
    log:
        "logs/compare_runs.log",
    benchmark:
        "benchmarks/compare_runs.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        code=code_stamp("report.two_runs"),
    script:
        "../scripts/compare_runs.py"


rule compare:
    """This run beside another one, whose results folder the configuration names."""
    input:
        rules.compare_runs.output,
