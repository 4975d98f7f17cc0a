"""Audits of all studies as one table of verdicts."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from faceneuro.evaluation.sources import BAD, GOOD, LEVEL, SUSPICIOUS, UNKNOWN
from faceneuro.report.classification import cohort_note
from faceneuro.report.tables import Table, write_files
from faceneuro.tables import AUDITS

TITLE = "Audits of the studies"
GRADES = (BAD, SUSPICIOUS, UNKNOWN, GOOD)
"""In the order of the lines: what matters most comes first."""


def write_audits(
    audits: Sequence[pd.DataFrame], studies: Mapping[str, Mapping[str, Any]], stem: str | os.PathLike
) -> None:
    """Write the audits of all studies as .csv, .md and .tex.

    Parameters
    ----------
    audits
        Rows of :data:`faceneuro.tables.AUDITS`.
    studies
        By name, in the order of the table: ``cohort``, and whether it is ``virtual`` and its labels ``permuted``.
    stem
        Path without suffix.
    """
    everything = pd.concat([part.dropna(axis=1, how="all") for part in audits], ignore_index=True)
    everything = everything.reindex(columns=AUDITS.names)
    rank = pd.Categorical(everything["grade"], GRADES, ordered=True)
    order = pd.Categorical(everything["study"], list(studies), ordered=True)
    frame = everything.assign(_study=order, _grade=rank).sort_values(["_study", "_grade"], kind="stable")
    frame = frame.drop(columns=["_study", "_grade"]).reset_index(drop=True)
    lead = [_sentence(study, about, frame[frame["study"] == study]) for study, about in studies.items()]
    remarks = [
        "fail: the result must be taken to come from it, until shown otherwise. warn: could explain the result, or "
        "limits what it shows. ok: nothing was found, which with few subjects is no proof that there is nothing. "
        "not told: the data do not allow to tell, the sentence says why.",
        "Every audit is another look at the same people. Most raise an alarm at a level of "
        f"{LEVEL:.0%}: of a hundred audits of clean studies about one is false. The leakage gap is an alarm where its "
        "95 % interval is above zero: without a gap that was so in 3 to 6 % of simulated studies of 60 to 12 subjects. "
        "The comparison with chance is a warning where a test at 5 % finds nothing. Seeds are a warning, too, where "
        "that test finds something with some of them only: near its limit any seed decides.",
        "The CSV file of the same name has values, 95 % intervals, what they stand beside (reference) and p-values.",
    ]
    write_files(stem, frame, TITLE, lead, [_table(study, frame[frame["study"] == study]) for study in studies], remarks)


def _sentence(study: str, about: Mapping[str, Any], rows: pd.DataFrame) -> str:
    """Whose faces, how many looks were taken, and what they found."""
    alarms = rows[rows["grade"].isin([BAD, SUSPICIOUS])]
    found = "; ".join(f"{verdict} ({grade})" for verdict, grade in _once(alarms)) or "none raised an alarm"
    untold = int((rows["grade"] == UNKNOWN).sum())
    some = f" {untold} could not tell." if untold else ""
    looks = "1 look" if len(rows) == 1 else f"{len(rows)} looks"
    return (
        f"{study}, cohort {about['cohort']} ({cohort_note(about['virtual'], about['permuted'])}): {looks} at "
        f"the same subjects; {found}.{some}"
    )


def _once(alarms: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(alarms[["verdict", "grade"]].itertuples(index=False, name=None)))


def _table(study: str, rows: pd.DataFrame) -> Table:
    lines = [[row.audit, f"**{row.grade}**", row.sentence] for row in rows.itertuples()]
    return Table(f"Study {study}", ["Audit", "Verdict", "What was found"], lines, 3, sentences=(0, 2))
