"""Tables of all studies, their audits, and the review's claims -> which claims hold here."""

from pathlib import Path

import pandas as pd

from faceneuro.report.claims import claims_of_review, claims_of_study, write_claims
from faceneuro.workflow import job

with job(snakemake):
    audits = pd.read_csv(snakemake.input.audits) if snakemake.input.audits else None
    tables = zip(snakemake.params.studies, snakemake.input.studies, strict=True)
    claims = [claims_of_study(study, pd.read_csv(path), audits) for study, path in tables]
    claims += [claims_of_review(pd.read_csv(snakemake.input.review))] if snakemake.input.review else []
    write_claims(pd.concat(claims, ignore_index=True), Path(snakemake.output.csv).with_suffix(""))
