rule summarise:
    """A sentence for each result, and where everything is."""
    input:
        tables=expand("results/tables/{name}.md", name=table_names()),
        figures=figure_files(),
    output:
        summary="results/summary.md",
    log:
        "logs/summarise.log",
    benchmark:
        "benchmarks/summarise.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        code=code_stamp("report.summary"),
    script:
        "../scripts/summarise.py"
