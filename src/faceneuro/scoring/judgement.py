"""What the models of a study say of one recording, and what that is worth: votes, calibration, likeness to the cohort.

References
----------
Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
Association 22, 1927 (the interval of :func:`people_alike`).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from faceneuro.evaluation.audits import calibration_edges


@dataclass(frozen=True)
class Verdict:
    """The votes of all folds' models on one recording.

    Attributes
    ----------
    probability
        Of the positive class: the mean of the models' probabilities.
    lowest, highest
        Of a single model.
    folds
        Models that voted.
    samples
        Samples of the recording; a model's probability is the mean over them, as that of a subject of the study is.
    """

    probability: float
    lowest: float
    highest: float
    folds: int
    samples: int


def verdict(votes: pd.DataFrame) -> Verdict | None:
    """Sum up votes.

    Parameters
    ----------
    votes
        Rows of :data:`faceneuro.tables.VOTES`, of one model of every fold.

    Returns
    -------
    None if there are none.
    """
    if votes.empty:
        return None
    of_fold = votes.groupby("fold")["probability"].mean()
    return Verdict(
        float(of_fold.mean()), float(of_fold.min()), float(of_fold.max()), len(of_fold), len(votes) // len(of_fold)
    )


@dataclass(frozen=True)
class Alike:
    """People of a study who, held out, got about the probability of a recording.

    Attributes
    ----------
    lowest, highest
        Of their probabilities.
    people, ill
        How many they are, and how many of them belong to the positive class.
    ci_low, ci_high
        95 % of the share of the ill, Wilson's.
    inside
        Whether the recording's probability lies within what any person of the study got.
    """

    lowest: float
    highest: float
    people: int
    ill: int
    ci_low: float
    ci_high: float
    inside: bool


def people_alike(people: pd.DataFrame, probability: float) -> Alike:
    """Who of a study got about such a probability when held out, and what they had.

    The people are divided as the study's calibration error divides them: into bins of about equal counts.

    Parameters
    ----------
    people
        From :func:`faceneuro.evaluation.audits.held_out`.
    probability
        Of the recording.
    """
    from scipy.stats import binomtest

    score = people["probability"].to_numpy()
    edges = calibration_edges(score)
    # Among equal probabilities a bin may be empty: then the next one with anybody in it.
    bins = np.searchsorted(edges, score, side="right")
    own = np.searchsorted(edges, probability, side="right")
    chosen = people[bins == min(set(bins), key=lambda each: (abs(each - own), each))]
    n, ill = len(chosen), int(chosen["ill"].sum())
    interval = binomtest(ill, n).proportion_ci(method="wilson")
    found = chosen["probability"]
    inside = bool(score.min() <= probability <= score.max())
    return Alike(float(found.min()), float(found.max()), n, ill, float(interval.low), float(interval.high), inside)


@dataclass(frozen=True)
class Comparison:
    """A circumstance of a recording beside those of the cohort that the models were trained on.

    Attributes
    ----------
    what
        In words.
    value, range
        Of the recording, and of the cohort, as text.
    inside
        Whether the one lies within the other, or next to it (:data:`BEYOND`); None where one of them is not known.
    """

    what: str
    value: str
    range: str
    inside: bool | None


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _round(value: float) -> str:
    return f"{value:.0f}"


def _rate(value: float) -> str:
    return f"{value:.4g}"


NUMBERS: dict[str, tuple[str, Callable[[float], str]]] = {
    "fps": ("frames per second", _rate),
    "width": ("width of the picture, pixels", _round),
    "height": ("height of the picture, pixels", _round),
    "face_width": ("width of the face, of the picture's", _percent),
    "face_x": ("middle of the face, from the left", _percent),
    "face_y": ("middle of the face, from the top", _percent),
}
"""Circumstances that are numbers: in words, and how they are written."""

BEYOND = 0.25
"""Share of its width by which the cohort's range may be left: one more person of a small cohort often leaves it."""

INEXACT = 0.02
"""Share of a value by which any range may be left, because clocks are inexact."""


def comparisons(own: Mapping[str, Any], cohort: pd.DataFrame) -> list[Comparison]:
    """A recording's circumstances beside those of the clips that the models were trained on.

    Parameters
    ----------
    own
        A row of :data:`faceneuro.tables.CIRCUMSTANCES`.
    cohort
        Such rows.
    """
    tasks = sorted(set(cohort["task"].dropna()))
    task = own["task"] if isinstance(own["task"], str) else None
    known = None if task is None or not tasks else task in tasks
    found = [Comparison("task", task or "not known", ", ".join(tasks) or "not known", known)]
    for name, (what, text) in NUMBERS.items():
        value, others = own[name], cohort[name].dropna()
        missing = value is None or pd.isna(value)
        spread = "not known"
        inside = None
        if len(others):
            low, high = others.min(), others.max()
            spread = text(low) if text(low) == text(high) else f"{text(low)} to {text(high)}"
            room = max(BEYOND * (high - low), INEXACT * high)
            inside = None if missing else bool(low - room <= value <= high + room)
        found.append(Comparison(what, "not known" if missing else text(value), spread, inside))
    return found


def measurement_errors(validation: str | os.PathLike | None, cohorts: Sequence[str]) -> pd.DataFrame:
    """How far measured excursions are from true ones, as far as anybody knows: from virtual patients.

    Parameters
    ----------
    validation
        The CSV file of the measurement validation; None where nothing was validated.
    cohorts
        Of the study. Those of them that were validated count; if none was, all that were.

    Returns
    -------
    One row per measure and side, the index: ``error`` (mean absolute, percent of the iris distance) in the cohort in
    which it is largest, and the ``cohort``. Empty where nothing is known.
    """
    columns = ["error", "cohort"]
    if validation is None:
        return pd.DataFrame(columns=columns)
    found = pd.read_csv(validation)
    own = found[found["cohort"].isin(cohorts)]
    used = own if len(own) else found
    errors = used[used["quantity"] == "mae"].rename(columns={"value": "error"}).sort_values("error", kind="stable")
    return errors.groupby(["measure", "side"], sort=False)[columns].last()
