"""Tables and manifests of two runs -> what differs between them, as a table and as a page."""

from pathlib import Path

from faceneuro.report.two_runs import compare, read_run, write_comparison
from faceneuro.workflow import job

with job(snakemake):
    given, output = snakemake.input, snakemake.output
    here = read_run(given.tables, given.manifest)
    there = read_run(given.other_tables, next(iter(given.other_manifest), None))
    write_comparison(compare(here, there), Path(output.csv).with_suffix(""), output.page)
