"""Which claims of the papers hold here: all studies' verdicts, and the review's, in one table.

Columns of the table (:data:`COLUMNS`), all text but the last:

- ``study``: as in the configuration, or meta_analysis; ``paper``: a short citation; ``claim``: one sentence.
- ``published``: the number that the claim is about, as it is printed; empty if none is.
- ``here``: the same number with its 95 % interval on this cohort; empty if it was not run.
- ``verdict``: of a study *holds*, *not shown*, *does not hold* or *not run*; of the review *follows*, *follows in
  part*, *does not follow* or *cannot be checked*.
- ``sure``: how sure that is: the number of subjects, the p-value, the smallest effect that so many can show.
- ``reservations``: what else limits it: a negative control, untrained backbones, the size of the networks, and of a
  claim that holds what the audits of the study found; empty if nothing does.
- ``why``: the evidence in full.
- ``cohort``, ``cohort_note``: whose faces.
- ``headline``: whether the paper stands on it; true of one claim per study.
"""

import os
from collections.abc import Iterable, Mapping

import pandas as pd

from faceneuro.errors import InputError
from faceneuro.evaluation.audits import POWER
from faceneuro.evaluation.sources import BAD, SUSPICIOUS
from faceneuro.report.about import ABOUT
from faceneuro.report.comparisons import BEYOND, CONTROL, HOLDS, NOT_RUN, UNTRAINED, p_text, tally
from faceneuro.report.tables import Table, write_files

TITLE = "Which claims hold here"

COLUMNS = [
    *("study", "paper", "claim", "published", "here", "verdict", "sure", "reservations", "why"),
    *("cohort", "cohort_note", "headline"),
]

REVIEW = "meta_analysis"
"""The study that recomputes a review from what it prints."""

PRINTED_ALONE = "effect sizes as the review prints them, no recording"
"""What stands in place of a cohort where a review is recomputed."""

REVIEW_VERDICTS = {
    "follows": ("follows", "follow"),
    "follows in part": ("follows in part", "follow in part"),
    "does not follow": ("does not follow", "do not follow"),
    "cannot be checked": ("cannot be checked", "cannot be checked"),
}
"""Verdicts on claims of a review, and how they are counted: of one, of several."""


def claims_of_study(study: str, table: pd.DataFrame, audits: pd.DataFrame | None = None) -> pd.DataFrame:
    """The paper's claims in a study's table; checks of the data and what is beyond the paper are left out.

    Parameters
    ----------
    study
        A name of :data:`faceneuro.report.about.ABOUT`.
    table
        The study's table as its CSV file has it (:func:`faceneuro.report.comparisons.tidy`).
    audits
        Rows of :data:`faceneuro.tables.AUDITS`, of any number of studies; none where nothing is audited.

    Returns
    -------
    Rows of :data:`COLUMNS`, the headline first.

    Raises
    ------
    InputError
        If the table has not one headline among its claims: it was made by another version.
    """
    results = table[table["kind"] == "row"]
    claims = table[table["kind"] == "claim"]
    claims = claims[~claims["claim"].str.startswith((BEYOND, CONTROL))]
    if claims.empty or "headline" not in claims or _true(claims["headline"]).sum() != 1:
        raise InputError(
            f"results/tables/{study}.csv has not one headline among its claims; it was made by another version: "
            f"delete it and call again"
        )
    mine = audits[audits["study"] == study] if audits is not None else pd.DataFrame()
    about = results[["cohort", "cohort_note"]].iloc[0].to_dict()
    rows = []
    for claim in claims.to_dict("records"):
        models = [name for name in _text(claim["models"]).split(", ") if name]
        behind = results[results["model"].isin(models) & results["reproduced"].notna()]
        rows.append(
            {
                "study": study,
                "paper": ABOUT[study].citation,
                "claim": claim["claim"],
                "published": _text(claim["in_print"]),
                "here": _text(claim["here"]),
                "verdict": claim["verdict"],
                "sure": _sure(claim, behind, mine),
                "reservations": "; ".join(_reservations(claim, behind, mine, about["cohort_note"])),
                "why": claim["evidence"],
                **about,
                "headline": bool(_true(pd.Series([claim["headline"]])).iloc[0]),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("headline", ascending=False, kind="stable")


def claims_of_review(table: pd.DataFrame) -> pd.DataFrame:
    """The claims of the review, held against its own data.

    Parameters
    ----------
    table
        As the CSV file has it (:func:`faceneuro.report.meta_analysis.write_judgement`).

    Returns
    -------
    Rows of :data:`COLUMNS`.
    """
    claims = table[table["kind"] == "claim"]
    return pd.DataFrame(
        {
            "study": REVIEW,
            "paper": ABOUT[REVIEW].citation,
            "claim": claims["item"],
            "published": [_accuracy(*row) for row in _pairs(claims[["claimed", "claimed_low", "claimed_high"]])],
            "here": [_accuracy(*row) for row in _pairs(claims[["recomputed", "ci_low", "ci_high"]].round(2))],
            "verdict": claims["verdict"],
            "sure": "arithmetic on printed numbers",
            "reservations": "",
            "why": claims["evidence"],
            "cohort": "",
            "cohort_note": PRINTED_ALONE,
            "headline": _true(claims["headline"]),
        },
        columns=COLUMNS,
    )


def _accuracy(value: float, low: float, high: float) -> str:
    """In percent, with its interval where it has one."""
    if pd.isna(value):
        return ""
    return f"{value:g} %" if pd.isna(low) else f"{value:.2f} % [{low:.2f}, {high:.2f}]"


def _true(values: pd.Series) -> pd.Series:
    """Yes or no, from a column of a CSV file in which other rows are empty."""
    return values.astype(str).eq("True")


def _text(value: object) -> str:
    return "" if pd.isna(value) else str(value)


def _sure(claim: Mapping, behind: pd.DataFrame, audits: pd.DataFrame) -> str:
    """How many subjects, how likely by chance, and what so many can show at all."""
    if claim["verdict"] == NOT_RUN or behind.empty:
        return ""
    said = [f"{behind['n_subjects'].max():.0f} subjects"]
    if p := p_text(claim["p_value"]):
        said.append(f"p {p}" if p.startswith("<") else f"p = {p}")
    power = audits[audits["audit"] == POWER] if len(audits) else audits
    if len(power):
        least, large = power.iloc[0][["value", "reference"]]
        said.append(
            "so few can show no effect, however large"
            if pd.isna(least)
            else f"so many can show a ROC AUC of {least:.2f} or more (a large effect has {large:.2f})"
        )
    return "; ".join(said)


def _reservations(claim: Mapping, behind: pd.DataFrame, audits: pd.DataFrame, cohort_note: str) -> list[str]:
    """What limits a verdict beside the number of subjects, the gravest first."""
    said = [part for part in cohort_note.split("; ") if part.startswith("negative control")]
    if claim["verdict"] == NOT_RUN:
        return said
    if claim["verdict"] == HOLDS and len(audits):
        alarms = audits[audits["grade"].isin([BAD, SUSPICIOUS])].sort_values("grade", kind="stable")
        said += dict.fromkeys(f"{verdict} ({grade})" for verdict, grade in _pairs(alarms[["verdict", "grade"]]))
    if "note" in behind:
        untrained = behind.loc[behind["note"].map(_text).str.contains(UNTRAINED), "model"].unique()
        said += [f"{UNTRAINED} image backbones: {', '.join(untrained)}"] if len(untrained) else []
    return said + ([_text(claim["note"])] if _text(claim.get("note")) else [])


def _pairs(frame: pd.DataFrame) -> Iterable[tuple]:
    return frame.itertuples(index=False, name=None)


def write_claims(claims: pd.DataFrame, stem: str | os.PathLike) -> None:
    """Write the claims of all studies as .csv (all of them), .md and .tex (the review's counted).

    Parameters
    ----------
    claims
        Rows of :data:`COLUMNS`, of at least one study.
    stem
        Path without suffix.
    """
    lead = [*_answer(claims), *(_sentence(row) for row in claims[claims["headline"]].to_dict("records"))]
    write_files(stem, claims, TITLE, lead, [_table(claims)], _remarks(claims))


def _answer(claims: pd.DataFrame) -> list[str]:
    """What a newcomer wants to know first."""
    studies, review = claims[claims["study"] != REVIEW], claims[claims["study"] == REVIEW]
    said = []
    if len(studies):
        main = studies[studies["headline"]]
        papers = f"{len(main)} papers" if len(main) > 1 else "1 paper"
        said.append(
            f"{_whose(studies)}: of the main claims of {papers} {_tally(main)}; of all {len(studies)} claims "
            f"{_tally(studies)}."
        )
    if len(review):
        main = review[review["headline"]].iloc[0]
        said.append(
            f"{main['paper']}, a review, held against its own numbers: its main claim {main['verdict']}; of all "
            f"{len(review)} claims {_count(review['verdict'])}."
        )
    return [" ".join(said)]


def _tally(claims: pd.DataFrame) -> str:
    """How many claims have which verdict, and how many of those that hold do so with reservations."""
    said = tally(claims["verdict"])
    holding = claims[claims["verdict"] == HOLDS]
    limited = int((holding["reservations"] != "").sum())
    if not limited:
        return said
    first, comma, rest = said.partition(", ")
    return f"{first} {'' if limited == len(holding) else f'({limited} of them) '}with reservations{comma}{rest}"


def _whose(studies: pd.DataFrame) -> str:
    """The people that the verdicts are about."""
    kinds: dict[str, list[str]] = {}
    for study, note in _pairs(studies[["study", "cohort_note"]].drop_duplicates()):
        kinds.setdefault(note, []).append(study)
    alone = len(kinds) == 1
    said = ", ".join(note if alone else f"{note} ({', '.join(names)})" for note, names in kinds.items())
    return said[0].upper() + said[1:]


def _count(verdicts: pd.Series) -> str:
    counts = verdicts.value_counts()
    return ", ".join(
        f"{counts[verdict]} {form[int(counts[verdict] > 1)]}"
        for verdict, form in REVIEW_VERDICTS.items()
        if verdict in counts
    )


def _sentence(row: Mapping) -> str:
    """A headline in short: verdict, both numbers, what limits it."""
    said = f"{row['study']}, {row['paper']}: {row['verdict']}"
    if row["here"]:
        said += f", here {row['here']}" + (f"; published {row['published']}" if row["published"] else "")
    return f"{said}. But: {row['reservations']}." if row["reservations"] and row["verdict"] == HOLDS else f"{said}."


def _table(claims: pd.DataFrame) -> Table:
    """All claims of the studies, the headlines in bold; of the review the headline, and the others counted."""
    lines = []
    for row in claims[(claims["study"] != REVIEW) | claims["headline"]].to_dict("records"):
        claim = f"**{row['claim']}**" if row["headline"] else row["claim"]
        told = row["why"] if row["verdict"] == NOT_RUN else row["sure"]
        sure = ". ".join(filter(None, [told.rstrip("."), row["reservations"] and f"But: {row['reservations']}"]))
        lines.append([row["study"], claim, row["published"], row["here"], f"**{row['verdict']}**", sure])
    others = claims[(claims["study"] == REVIEW) & ~claims["headline"]]
    if len(others):
        lines.append([REVIEW, f"{len(others)} other claims of the review", "", "", _count(others["verdict"]), ""])
    header = ["Study", "Claim", "Published", "Here", "Verdict", "How sure"]
    return Table("Claims and verdicts", header, lines, text_columns=len(header), sentences=(1, 2, 3, 5))


def _remarks(claims: pd.DataFrame) -> list[str]:
    known = set(claims["study"])
    absent = [f"{study} ({about.citation})" for study, about in ABOUT.items() if study not in known]
    return [
        "In bold: the claim that the paper stands on. Published and here: of the comparison that decides, which is the "
        "one that speaks against the claim most. All numbers behind a verdict are in the study's own table, and in the "
        "column why of the CSV file.",
        "**holds**: better, with the whole 95 % interval of the difference above zero; of a printed number: the "
        "interval lies above chance and reaches it. **not shown**: better, but within the interval. **does not hold**: "
        "not better, or all of the interval below the printed number. **not run**: no result decides.",
        "A claim of the review **follows** where what it prints gives what it says; that needs no cohort.",
        "But: what the audits of the study found of a claim that holds, networks with random weights, and what else "
        "limits a verdict. A verdict on virtual people says what the method does with them, not with patients.",
        *([f"Not in this configuration: {', '.join(absent)}."] if absent else []),
    ]
