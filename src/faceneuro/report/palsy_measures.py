"""The table of the asymmetry measures: do they follow the grade, is the weak side named, can the grade be predicted."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from faceneuro.evaluation.monotony import (
    ALL_TASKS,
    EVERYONE,
    FALLS,
    LEAST,
    MISNAMED,
    NAMED,
    PATIENTS,
    RISES,
    TOO_FEW,
    WEAK_LEFT,
    WEAK_RIGHT,
)
from faceneuro.evaluation.severity import BEATS, WORSE
from faceneuro.features.asymmetry import MEASURES
from faceneuro.report.classification import cohort_note
from faceneuro.report.tables import Table, write_files
from faceneuro.training.folds import SUBJECT

TITLE = "Facial asymmetry, grade and weak side"

MONOTONY, SIDE, GRADE = "monotony", "side", "grade"
"""Kinds of rows: measures against the grade, sides named, grades predicted."""

COLUMNS = [
    "kind",
    "study",
    "number",
    "measure",
    "region",
    "task",
    "own",
    "among",
    "quantity",
    "value",
    "ci_low",
    "ci_high",
    "chance",
    "n_subjects",
    "verdict",
    "cohort",
    "cohort_note",
]

QUANTITIES = {
    "spearman": "Spearman correlation",
    "mae": "mean absolute error",
    "mae_of_mean": "error of the mean",
    "gain": "gain over the mean",
}

Grades = tuple[float, float] | None


@dataclass(frozen=True)
class People:
    """Who is in the samples.

    Attributes
    ----------
    subjects, patients
        How many there are, and how many of them belong to the positive group.
    patient_grades, other_grades
        Lowest and highest grade of the patients, and of the others; none where no grade of theirs is known.
    sided
        How many have a known weak side.
    """

    subjects: int
    patients: int
    patient_grades: Grades
    other_grades: Grades
    sided: int


def people_of(samples: pd.DataFrame, positive: str) -> People:
    """Who is in a samples table.

    Parameters
    ----------
    samples
        Data frame with keys, ``group``, ``severity``, ``side``.
    positive
        The patients' group.
    """
    subjects = samples.groupby(SUBJECT)["group"].first()
    grades = {
        ill: samples.loc[(samples["group"] == positive) == ill, "severity"].dropna().astype(float)
        for ill in (True, False)
    }
    limits = {ill: (float(known.min()), float(known.max())) if len(known) else None for ill, known in grades.items()}
    sided = samples.loc[samples["side"].isin(["left", "right"]), SUBJECT].drop_duplicates()
    return People(len(subjects), int((subjects == positive).sum()), limits[True], limits[False], len(sided))


def measures_table(
    monotony: pd.DataFrame,
    sides: pd.DataFrame,
    grades: pd.DataFrame,
    *,
    cohort: str,
    virtual: bool,
    permuted: bool,
) -> pd.DataFrame:
    """Everything about the measures in one tidy table.

    Parameters
    ----------
    monotony, sides
        From :func:`faceneuro.evaluation.monotony.monotony` and :func:`~faceneuro.evaluation.monotony.weak_sides`.
    grades
        From :func:`faceneuro.evaluation.severity.score_grades`.
    cohort
        Its name.
    virtual, permuted
        Whether the cohort is rendered, and whether labels were permuted over subjects.

    Returns
    -------
    Rows of :data:`COLUMNS`; each of the three may have none. ``kind`` is one of the three; shares of sides named are in
    percent, errors in grades. ``number`` is the measure's place among the 29.
    """
    number = {measure.name: place for place, measure in enumerate(MEASURES)}
    percent = {name: 100 * sides[name].astype(float) for name in ("value", "ci_low", "ci_high")}
    parts = [
        monotony.assign(kind=MONOTONY, quantity="spearman", chance=0.0, number=monotony["measure"].map(number)),
        sides.assign(kind=SIDE, quantity="named", chance=50.0, **percent),
        grades.assign(kind=GRADE),
    ]
    rows = [
        row | {"study": "palsy", "cohort": cohort, "cohort_note": cohort_note(virtual, permuted)}
        for part in parts
        for row in part.to_dict("records")
    ]
    numbers = dict.fromkeys(("value", "ci_low", "ci_high", "chance"), "float64")
    return pd.DataFrame(rows, columns=COLUMNS).astype(numbers | dict.fromkeys(("number", "n_subjects"), "Int64"))


def write_measures(
    frame: pd.DataFrame,
    people: People,
    stem: str | os.PathLike,
    *,
    cohort: str,
    virtual: bool,
    permuted: bool,
) -> None:
    """Write the table of the measures as .csv (everything), .md and .tex (what one reads).

    Parameters
    ----------
    frame
        From :func:`measures_table`.
    people
        Of the same samples.
    stem
        Path without suffix.
    cohort, virtual, permuted
        As for the table.
    """
    parts = {kind: frame[frame["kind"] == kind] for kind in (MONOTONY, SIDE, GRADE)}
    lead = [
        _warning(people, cohort, cohort_note(virtual, permuted)),
        *_missing(people, parts),
        *_headline(parts, people),
    ]
    makers = {MONOTONY: _monotony_table, SIDE: _side_table, GRADE: _grade_table}
    tables = [maker(parts[kind]) for kind, maker in makers.items() if len(parts[kind])]
    # In print the sentences stand in a caption; so there is a table, even if it is empty.
    tables = tables or [_monotony_table(parts[MONOTONY])]
    write_files(stem, frame, TITLE, lead, tables, _remarks(parts, virtual, permuted))


def _warning(people: People, cohort: str, note: str) -> str:
    graded = [
        f"of {whose} {_from_to(limits)}"
        for whose, limits in (("patients", people.patient_grades), ("others", people.other_grades))
        if limits
    ]
    grades = f", recorded grades {' and '.join(graded)}" if graded else ""
    return (
        f"Cohort {cohort}: {note}; {people.subjects} subjects, {people.patients} of them with palsy{grades}. In "
        "brackets: 95 % intervals over subjects."
    )


def _from_to(limits: tuple[float, float]) -> str:
    low, high = limits
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _missing(people: People, parts: Mapping[str, pd.DataFrame]) -> list[str]:
    """A sentence for each part that cannot be made."""
    said = []
    if people.patient_grades is None and people.other_grades is None:
        said.append(
            "No subject's grade is recorded: whether the measures rise with it is not said, and no regression is made."
        )
    else:
        if people.patient_grades is None:
            said.append("No patient's grade is recorded: the grades are those of the others.")
        elif people.other_grades is None and people.subjects > people.patients:
            said.append(
                "No grade is recorded of subjects without palsy: where the grade is needed, patients alone count."
            )
        if parts[GRADE].empty:
            said.append("No fold has two different grades to learn from: no regression is made.")
    if not people.sided:
        said.append("No patient's weak side is recorded: whether the difference of the sides names it is not said.")
    return said


def _headline(parts: Mapping[str, pd.DataFrame], people: People) -> list[str]:
    said = []
    own = _own(parts[MONOTONY], EVERYONE)
    if len(own):
        rising, falling = (own.loc[own["verdict"] == verdict, "measure"].tolist() for verdict in (RISES, FALLS))
        which = f" ({', '.join(rising)})" if rising else ""
        down = f", {len(falling)} {'fall' if len(falling) > 1 else 'falls'} ({', '.join(falling)})" if falling else ""
        if (own["verdict"] == TOO_FEW).all():
            said.append(f"Too few grades are known, or no two different ones, to tell whether any of {len(own)} rises.")
        else:
            verb = "rise" if len(rising) != 1 else "rises"
            said.append(
                f"Of {len(own)} measures, each in its own task, {len(rising)} {verb} with the grade{which}{down}."
            )
    named = _own(parts[SIDE], EVERYONE)
    if len(named):
        rates = [f"{row.measure} {_rate(row)} ({row.verdict})" for row in named.itertuples()]
        said.append(f"How many weak sides are named right, each in its own task: {'; '.join(rates)}.")
    scores = parts[GRADE][parts[GRADE]["among"] == EVERYONE].set_index("quantity")
    if len(scores):
        said.append(_prediction(scores))
    return said


def _own(frame: pd.DataFrame, among: str | None = None) -> pd.DataFrame:
    """Rows of the region's own task, among some or all."""
    rows = frame[frame["own"].eq(True)]
    return rows if among is None else rows[rows["among"] == among]


def _rate(row: Any) -> str:
    right = round(row.value / 100 * row.n_subjects) if row.n_subjects else 0
    return f"{right} of {row.n_subjects}"


def _prediction(scores: pd.DataFrame) -> str:
    sentence = {
        BEATS: "the regression beats the mean",
        WORSE: "the regression is worse than the mean",
        TOO_FEW: "there are too few subjects to tell which is better",
    }.get(scores.loc["gain", "verdict"], "it is not shown that the regression beats the mean")
    return (
        f"Grades of held-out subjects, predicted from the measures, are wrong by {_interval(scores.loc['mae'])} grades "
        f"on average, and by {_interval(scores.loc['mae_of_mean'])} if the training subjects' mean is predicted: "
        f"{sentence}."
    )


def _monotony_table(frame: pd.DataFrame) -> Table:
    lines = []
    for (number, measure), rows in _own(frame).groupby(["number", "measure"], sort=True):
        by = rows.set_index("among")
        first = by.loc[EVERYONE]
        alone = _interval(by.loc[PATIENTS], ".2f") if PATIENTS in by.index else ""
        cells = [f"f{number} {measure}", first["region"], first["task"], f"**{first['verdict']}**"]
        lines.append([*cells, _interval(first, ".2f"), alone, str(first["n_subjects"])])
    header = ["Measure", "Region", "Task", "Verdict", "Spearman", "Spearman: patients alone", "Subjects"]
    return Table("Measures against the grade", header, lines, text_columns=4)


def _side_table(frame: pd.DataFrame) -> Table:
    lines = []
    for measure, rows in _own(frame).groupby("measure", sort=False):
        by = rows.set_index("among")
        first = by.loc[EVERYONE]
        counts = [_rate(by.loc[among]) for among in (WEAK_LEFT, WEAK_RIGHT)]
        cells = [measure, first["task"], f"**{first['verdict']}**", _interval(first, ".0f")]
        lines.append([*cells, *counts])
    header = [
        "Left minus right of",
        "Task",
        "Verdict",
        "Named right, %",
        "Right: weak on the left",
        "Right: on the right",
    ]
    return Table("Weak side, by the difference of the sides", header, lines, text_columns=3)


def _grade_table(frame: pd.DataFrame) -> Table:
    lines = []
    for among, rows in frame.groupby("among", sort=False):
        by = rows.set_index("quantity")
        cells = [_interval(by.loc[quantity], ".2f") for quantity in QUANTITIES]
        lines.append([among, f"**{by.loc['gain', 'verdict']}**", *cells, str(by["n_subjects"].iloc[0])])
    header = ["Among", "Verdict", *(name.capitalize() for name in QUANTITIES.values()), "Subjects"]
    return Table("Grade of held-out subjects, predicted from the measures", header, lines, text_columns=2)


def _interval(row: Mapping, form: str = ".2f") -> str:
    if pd.isna(row["value"]):
        return ""
    text = format(row["value"], form)
    return text if pd.isna(row["ci_low"]) else f"{text} [{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def _remarks(parts: Mapping[str, pd.DataFrame], virtual: bool, permuted: bool) -> list[str]:
    monotony = [
        "A subject's value is the mean over its face crops of the task, of the measure's distance from its neutral "
        "value, or of the measure itself where it has none (docs/asymmetry.md); crops from before and after the "
        "movement count too.",
        "Shown is the task that moves the measure's own region: raising the brows, closing the eyes, smiling; for "
        f"measures of several regions, smiling, because all of these end at a lip; {ALL_TASKS}, where that task was "
        "not recorded. Every measure in every task is in the CSV file.",
        f"**{RISES}**, **{FALLS}**: the whole interval of the Spearman correlation over all subjects is above, or "
        "below, 0. The correlation also rewards telling patients from others; patients alone shows the grade by "
        "itself. Intervals are bootstrapped over subjects and not adjusted for the number of measures: of 29 that "
        "have nothing to do with the grade, one or two would have an interval without 0.",
    ]
    side = [
        f"**{NAMED}**: the whole interval, the exact one of a share, is above 50, which is chance; **{MISNAMED}**: "
        "below. In raising the brows and smiling the weak side is the lower one; in closing the eyes it is the eye "
        "that stays more open. No face is quite symmetric at rest, and the difference at rest is not subtracted.",
        "The differences are heights over the line between the eyes, whose signs are the same in a crop as in pixels; "
        "mouth_corner_reach, along that line, has no such sign and is left out.",
        *(
            ["Up to grade 3 the weak eye of a virtual patient closes all but completely: it gives no sign of the side."]
            if virtual
            else []
        ),
    ]
    grade = [
        "Ridge regression on the 29 measures' distances from neutral, standardised; scaling, penalty and weights come "
        "from the subjects that the fold does not hold out. A subject's prediction is the mean over its crops. Gain: "
        "error of the mean less error of the regression. "
        f"**{BEATS}**: its whole interval, bootstrapped over subjects, is above 0.",
    ]
    remarks = {MONOTONY: monotony, SIDE: side, GRADE: grade}
    said = [remark for kind, some in remarks.items() if len(parts[kind]) for remark in some]
    if said:
        said.append(f"**{TOO_FEW}**: fewer than {LEAST} subjects, or, for a correlation, no two different values.")
        if permuted:
            said.append("Grades and sides are as recorded: the permutation of the labels does not touch them.")
    return said
