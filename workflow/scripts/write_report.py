"""All tables, figures and the manifest of a run -> one page."""

import json
from pathlib import Path

import pandas as pd

from faceneuro.report.page import write_report
from faceneuro.workflow import job


def by_name(paths):
    return {Path(path).stem: path for path in paths}


with job(snakemake):
    given = snakemake.input
    write_report(
        snakemake.output.page,
        claims=pd.read_csv(given.claims) if given.claims else None,
        audits=pd.read_csv(given.audits) if given.audits else None,
        quality=pd.read_csv(given.quality),
        manifest=json.loads(Path(given.manifest).read_text(encoding="utf-8")),
        studies=snakemake.params.studies,
        tables=by_name(given.tables),
        figures=by_name(given.figures),
        sheets={name.removesuffix("_contact_sheet"): path for name, path in by_name(given.sheets).items()},
    )
