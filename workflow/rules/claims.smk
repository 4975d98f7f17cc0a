rule tabulate_claims:
    """Which claims of the papers hold here: the verdicts of all studies, and on the review, in one table."""
    input:
        studies=claimed_tables,
        audits=audits_table(),
        review="results/tables/meta_analysis.csv" if COLLECTIONS else [],
    output:
        shown(
            multiext("results/tables/claims", csv=".csv", md=".md", tex=".tex"),
            part="whole",
            title="Which claims hold here",
            caption="claims",
        ),
    log:
        "logs/tabulate_claims.log",
    benchmark:
        "benchmarks/tabulate_claims.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        studies=STUDIES,
        code=code_stamp("report.claims"),
    script:
        "../scripts/tabulate_claims.py"


rule plot_published:
    """Every published number of a study and the same number here, side by side."""
    input:
        table="results/tables/{study}.csv",
    output:
        shown(
            multiext("results/figures/{study}_published", ".png", ".svg"),
            part=part_of_study,
            title="Published and here",
            caption="published",
        ),
    log:
        "logs/plot_published/{study}.log",
    benchmark:
        "benchmarks/plot_published/{study}.tsv"
    wildcard_constraints:
        study="|".join(["meta_analysis", *STUDIES]),
    conda:
        "../../envs/report.yaml"
    params:
        virtual=people_of_study("virtual"),
        permuted=people_of_study("permuted"),
        code=code_stamp("report.published_figures"),
    script:
        "../scripts/plot_published.py"
