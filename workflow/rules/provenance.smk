localrules:
    record_run,


rule record_run:
    """The manifest of the run: software, settings, inputs, machines, times and outputs; enough to repeat it."""
    input:
        summary="results/summary.md",
        tables=expand("results/tables/{name}.md", name=table_names()),
        figures=figure_files(),
    output:
        manifest="results/provenance.json",
        config="results/config.yaml",
        crate="results/ro-crate-metadata.json",
    log:
        "logs/record_run.log",
    benchmark:
        "benchmarks/record_run.tsv"
    conda:
        "../../envs/report.yaml"
    params:
        # Nothing here changes from call to call: what does is in the file, which is no input for the same reason.
        call=str(CALL),
        config=PUBLISHABLE,
        config_text=publishable_text,
        withheld=WITHHELD,
        cohorts=cohort_states(),
        files=named_files(in_order({**config, **NO_PART}, DEFAULT)),
        assets=assets_used(),
        code=code_stamp("report.provenance", "report.crate"),
    script:
        "../scripts/record_run.py"
