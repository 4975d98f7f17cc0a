rule write_report:
    """One page of everything that was found: claims, numbers, audits, figures, and how far they can be trusted."""
    input:
        claims=claims_table(),
        audits=audits_table(),
        quality="results/tables/quality.csv",
        manifest="results/provenance.json",
        tables=expand("results/tables/{name}.md", name=table_names()),
        figures=drawings(),
        sheets=contact_sheets(),
    output:
        page=shown("results/report/index.html", part="whole", title="The report of this run", caption="page"),
    log:
        "logs/write_report.log",
    benchmark:
        "benchmarks/write_report.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        studies=parts_of_report(),
        code=code_stamp("report.page"),
    script:
        "../scripts/write_report.py"


rule report:
    """The report of everything that the configuration asks for."""
    input:
        rules.write_report.output,
