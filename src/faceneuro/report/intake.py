"""What there is of each data set, beside what there should be, as a table to read."""

import os

import pandas as pd

from faceneuro.report.tables import Table, write_files

EXAMPLES = 2


def write_intake(findings: pd.DataFrame, files: pd.DataFrame, stem: str | os.PathLike) -> None:
    """Write what was found of all data sets.

    Parameters
    ----------
    findings
        Rows of :data:`faceneuro.tables.INTAKE`, of all cohorts.
    files
        Rows of :data:`faceneuro.tables.FILES`, of all cohorts.
    stem
        Path without suffix.
    """
    tables = []
    counts = findings[findings["section"] == "count"]
    lines = [[row.cohort, row.what, _number(row.found), _number(row.expected)] for row in counts.itertuples()]
    tables.append(Table("What there is", ["Cohort", "What", "found", "expected"], lines, 2))
    missing = findings[findings["section"] == "missing"]
    if len(missing):
        lines = [[cohort, ", ".join(rows["what"])] for cohort, rows in missing.groupby("cohort", sort=False)]
        tables.append(Table("Subjects that a whole copy has, and this one has not", ["Cohort", "Subjects"], lines, 2))
    notes = findings[findings["section"] == "note"]
    if len(notes):
        lines = notes[["cohort", "what"]].to_numpy().tolist()
        tables.append(Table("To know, or to mend", ["Cohort", "What"], lines, 2, (1,)))
    out = files[files["reason"].notna()]
    if len(out):
        lines = [
            [cohort, reason, ", ".join(rows["path"][:EXAMPLES]), str(len(rows))]
            for (cohort, reason), rows in out.groupby(["cohort", "reason"], sort=True)
        ]
        tables.append(Table("Files that are in no clip", ["Cohort", "Why", "For instance", "files"], lines, 3, (1,)))
    lead = [sentence(rows) for _, rows in findings.groupby("cohort", sort=False)]
    remarks = [
        "expected: what the data set's authors, or its papers, state of a whole copy; a dash where nobody does.",
        "Every file is in one clip, or in no clip for one reason: results/cohorts/*/files.parquet lists them all.",
    ]
    write_files(stem, findings, "Intake of the data sets", lead, tables, remarks)


def sentence(findings: pd.DataFrame) -> str:
    """Sum up the findings about one cohort.

    Parameters
    ----------
    findings
        Rows of :data:`faceneuro.tables.INTAKE` of one cohort.
    """
    first = findings.iloc[0]
    counts = findings[findings["section"] == "count"]
    parts = [
        f"{row.found:,.0f} of {row.expected:,.0f} {row.what}"
        if row.expected == row.expected
        else f"{row.found:,.0f} {row.what}"
        for row in counts.itertuples()
    ]
    stated = counts[counts["expected"].notna()]
    if (stated["found"] > stated["expected"]).any():
        verdict = "more than there should be"
    elif (stated["found"] < stated["expected"]).any():
        verdict = "a part of it, which is used as it is"
    else:
        verdict = "a whole copy" if len(stated) else "nobody says how much there should be"
    more = [
        f"{rows['found'].sum():,.0f} files are in no clip"
        if section == "left_out"
        else f"{len(rows)} to know or to mend"
        for section, rows in findings.groupby("section", sort=False)
        if section in ("left_out", "note")
    ]
    return f"{first['cohort']} ({first['title']}): {'; '.join([verdict, ', '.join(parts), *more])}."


def _number(value: float) -> str:
    return "-" if value != value else f"{value:,.0f}"
