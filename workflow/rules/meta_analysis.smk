rule judge_review:
    """The review's forest plot recomputed number by number, and its claims held against its own data."""
    input:
        studies=published("meta_analysis_studies.csv"),
        statistics=published("meta_analysis_statistics.csv"),
        included=published("meta_analysis_table2.csv"),
        pooled="results/meta_analysis/review/pooled.parquet",
    output:
        shown(
            multiext("results/tables/meta_analysis", csv=".csv", md=".md", tex=".tex"),
            part="meta_analysis",
            title="Claims of the review, recomputed",
            caption="meta_analysis",
        ),
    log:
        "logs/judge_review.log",
    benchmark:
        "benchmarks/judge_review.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code_stamp("studies.meta_claims", "report.meta_analysis"),
    script:
        "../scripts/judge_review.py"


rule recover_rows:
    """The illegible rows of the review's forest plot, solved from the totals that it prints."""
    input:
        studies=published("meta_analysis_studies.csv"),
        statistics=published("meta_analysis_statistics.csv"),
    output:
        shown(
            multiext("results/tables/meta_analysis_recovery", csv=".csv", md=".md", tex=".tex"),
            part="meta_analysis",
            title="Illegible rows, solved from the totals",
            caption="meta_analysis_recovery",
        ),
    log:
        "logs/recover_rows.log",
    benchmark:
        "benchmarks/recover_rows.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        code=code_stamp("studies.meta_analysis", "meta.recovery", "report.meta_analysis"),
    script:
        "../scripts/recover_rows.py"


rule gather_effects:
    """One collection of effect sizes: the review's, tables of the user's, results of this pipeline."""
    input:
        tables=effect_tables,
        metrics=effect_metrics,
    output:
        effects="results/meta_analysis/{collection}/effects.parquet",
    log:
        "logs/gather_effects/{collection}.log",
    benchmark:
        "benchmarks/gather_effects/{collection}.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        published=lookup("{collection}/published", within=COLLECTIONS),
        cohorts=effect_cohorts,
        code=effects_stamp,
    script:
        "../scripts/gather_effects.py"


rule pool_effects:
    """A collection pooled in every way, and what each of its rows does to the pooled estimate."""
    input:
        effects="results/meta_analysis/{collection}/effects.parquet",
    output:
        pooled="results/meta_analysis/{collection}/pooled.parquet",
        rows="results/meta_analysis/{collection}/rows.parquet",
        filled="results/meta_analysis/{collection}/filled.parquet",
    log:
        "logs/pool_effects/{collection}.log",
    benchmark:
        "benchmarks/pool_effects/{collection}.tsv"
    conda:
        "../../envs/statistics.yaml"
    params:
        settings={key: config["meta_analysis"][key] for key in ("method", "test", "imputations", "seed")},
        code=code_stamp("meta.analysis", "tables"),
    script:
        "../scripts/pool_effects.py"


rule tabulate_effects:
    """All analyses of a collection, and its rows with their weight and influence."""
    input:
        pooled="results/meta_analysis/{collection}/pooled.parquet",
        rows="results/meta_analysis/{collection}/rows.parquet",
    output:
        pooled=shown(
            multiext("results/tables/meta_analysis_{collection}", ".csv", ".md", ".tex"),
            part="meta_analysis",
            title="Pooled: {collection}",
            caption="meta_analysis_pooled",
        ),
        rows=shown(
            multiext("results/tables/meta_analysis_{collection}_rows", ".csv", ".md", ".tex"),
            part="meta_analysis",
            title="Rows: {collection}",
            caption="meta_analysis_rows",
        ),
    log:
        "logs/tabulate_effects/{collection}.log",
    benchmark:
        "benchmarks/tabulate_effects/{collection}.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        code=code_stamp("report.meta_analysis", "meta.effects"),
    script:
        "../scripts/tabulate_effects.py"


rule plot_effects:
    """Forest, funnel, Galbraith, leave-one-out and Baujat plots of a collection."""
    input:
        pooled="results/meta_analysis/{collection}/pooled.parquet",
        rows="results/meta_analysis/{collection}/rows.parquet",
        filled="results/meta_analysis/{collection}/filled.parquet",
    output:
        forest=shown(
            multiext("results/figures/meta_analysis_{collection}_forest", ".png", ".svg"),
            part="meta_analysis",
            title="Forest plot: {collection}",
            caption="forest",
        ),
        funnel=shown(
            multiext("results/figures/meta_analysis_{collection}_funnel", ".png", ".svg"),
            part="meta_analysis",
            title="Funnel plot: {collection}",
            caption="funnel",
        ),
        galbraith=shown(
            multiext("results/figures/meta_analysis_{collection}_galbraith", ".png", ".svg"),
            part="meta_analysis",
            title="Radial plot: {collection}",
            caption="galbraith",
        ),
        leave_one_out=shown(
            multiext("results/figures/meta_analysis_{collection}_leave_one_out", ".png", ".svg"),
            part="meta_analysis",
            title="Leaving one out: {collection}",
            caption="leave_one_out",
        ),
        baujat=shown(
            multiext("results/figures/meta_analysis_{collection}_baujat", ".png", ".svg"),
            part="meta_analysis",
            title="Baujat plot: {collection}",
            caption="baujat",
        ),
    log:
        "logs/plot_effects/{collection}.log",
    benchmark:
        "benchmarks/plot_effects/{collection}.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        code=code_stamp("report.meta_figures", "report.meta_analysis"),
    script:
        "../scripts/plot_effects.py"


rule meta_analysis:
    """The review and every collection that needs no study of this pipeline: seconds, no recording is touched."""
    input:
        expand("results/tables/{name}.md", name=meta_tables(collections_from_tables())),
        meta_figures(collections_from_tables()),
