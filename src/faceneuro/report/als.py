"""What the paper on ALS claims, and whether it holds on a cohort: of frames, of people not seen, of both branches."""

from collections.abc import Mapping
from dataclasses import asdict

import pandas as pd

from faceneuro.report.classification import HEADLINE
from faceneuro.report.comparisons import (
    FAILS,
    HOLDS,
    NOT_RUN,
    NOT_SHOWN,
    Claim,
    against_text,
    decisive,
    difference_between,
    difference_text,
    interval_text,
    verdict_on,
    worst_of,
)

OURS, BRANCHES = "dual_branch", ("landmarks_only", "flow_only")
"""The paper's model, and each of its branches alone."""

PAIRS = tuple((OURS, branch) for branch in BRANCHES)
"""Models to compare."""

COMPARED = ("accuracy", "roc_auc")
"""Metrics in which they are compared; the first decides."""

CLASSES = ("Healthy", "ALS")

HALF_DIGIT = 0.005
"""By how much a printed number, of two decimals, may be off."""

VIEWS = {
    ("published", "frame"): "frames of {subjects} subjects held out at random",
    HEADLINE: "{subjects} subjects held out, each judged once by the mean of its frames",
}
"""Protocol and level by which the accuracy is judged, and who is counted."""


def judge_claims(frame: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """What the paper claims, on this cohort.

    Parameters
    ----------
    frame
        From :func:`faceneuro.report.classification.classification_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences` of the predictions for subjects held out, for
        :data:`PAIRS` and :data:`COMPARED`; may be empty.

    Returns
    -------
    A row per :class:`~faceneuro.report.comparisons.Claim`. The printed accuracy *holds* where the interval lies above
    chance, the share of the larger class, and reaches the printed number; *does not hold* where all of it lies below
    the printed number; is *not shown* otherwise, or without an interval. The comparison of both branches with either
    *holds* where the difference in accuracy is above zero with its whole interval, is *not shown* where only the
    difference is, and *does not hold* where it is not above zero; the worse of the two decides.
    """
    claims = (
        _accuracy(frame, "The dual-branch network tells people with ALS from healthy people", HEADLINE),
        _accuracy(frame, "The dual-branch network recognises frames held out at random", ("published", "frame")),
        _branches(frame, differences),
    )
    return pd.DataFrame([asdict(claim) for claim in claims])


def _cell(frame: pd.DataFrame, model: str, view: tuple[str, str], row: str, metric: str) -> pd.Series | None:
    wanted = {"protocol": view[0], "level": view[1], "aggregation": "pooled", "model": model, "row": row}
    rows = frame[(frame[list(wanted)] == pd.Series(wanted)).all(axis=1) & (frame["metric"] == metric)]
    return rows.iloc[0] if len(rows) else None


def _missing(frame: pd.DataFrame, protocol: str, *models: str) -> str:
    """A sentence about what was not run; empty if all was."""
    mine = frame[frame["protocol"] == protocol]
    if mine.empty:
        return f"Not run: the protocol {protocol}."
    absent = [model for model in models if model not in set(mine["model"])]
    return f"Not run: {', '.join(absent)}." if absent else ""


def _accuracy(frame: pd.DataFrame, claim: str, view: tuple[str, str]) -> Claim:
    """The printed accuracy beside that of one view of the results."""
    of_model = frame[(frame["model"] == OURS) & (frame["row"] == "accuracy") & (frame["metric"] == "accuracy")]
    printed = float(of_model["published"].max()) if len(of_model) else float("nan")
    known = pd.notna(printed)
    about = {"in_print": f"accuracy {printed:.2f}" if known else "", "models": OURS, "headline": view == HEADLINE}
    claim += f" (accuracy {printed:.2f})." if known else "."
    if missing := _missing(frame, view[0], OURS):
        return Claim(claim, NOT_RUN, missing, **about)
    accuracy = _cell(frame, OURS, view, "accuracy", "accuracy")
    counts = [_cell(frame, OURS, view, name, "support")["reproduced"] for name in CLASSES]
    chance = max(counts) / sum(counts)
    verdict, lies = _judged(accuracy, chance, printed)
    here, who = interval_text(accuracy, form=".2f"), VIEWS[view].format(subjects=accuracy["n_subjects"])
    evidence = f"Accuracy of {OURS} {here}, {who}: {lies}. Calling all by the larger class has {chance:.2f}."
    return Claim(claim, verdict, evidence, here=f"accuracy {here}", **about)


def _judged(accuracy: Mapping, chance: float, printed: float) -> tuple[str, str]:
    """Verdict on an accuracy, and where its interval lies."""
    low, high = accuracy["ci_low"], accuracy["ci_high"]
    if pd.isna(low):
        return NOT_SHOWN, "there are too few subjects for an interval"
    better = low > chance
    where = "above chance" if better else "not above chance"
    if pd.isna(printed):
        return HOLDS if better else NOT_SHOWN, f"the interval lies {where}"
    if high < printed - HALF_DIGIT:
        return FAILS, f"the interval lies below the printed {printed:.2f}, {where}"
    return HOLDS if better else NOT_SHOWN, f"the interval reaches the printed {printed:.2f} and lies {where}"


def _branches(frame: pd.DataFrame, differences: pd.DataFrame) -> Claim:
    """The paper joins both "to capture information about small-scale muscle deviation and structural changes"."""
    claim = "Optical flow and landmarks together tell people apart better than either alone."
    about = {"models": ", ".join([OURS, *BRANCHES])}
    if missing := _missing(frame, HEADLINE[0], OURS, *BRANCHES):
        return Claim(claim, NOT_RUN, missing, **about)
    view = (HEADLINE[1], "pooled")
    gaps = {branch: difference_between(differences, OURS, branch, COMPARED[0], view) for branch in BRANCHES}
    if absent := [branch for branch, gap in gaps.items() if gap is None]:
        return Claim(claim, NOT_RUN, f"{OURS} was not compared with {' or '.join(absent)}.", **about)
    accuracies = {model: _cell(frame, model, HEADLINE, "accuracy", "accuracy") for model in (OURS, *BRANCHES)}
    numbers = {model: interval_text(cell, form=".2f") for model, cell in accuracies.items()}
    said = [f"of {branch} {numbers[branch]}, difference {difference_text(gap, '+.2f')}" for branch, gap in gaps.items()]
    areas = {branch: difference_between(differences, OURS, branch, "roc_auc", view) for branch in BRANCHES}
    beside = [f"from {name} {difference_text(gap, '+.2f')}" for name, gap in areas.items() if gap is not None]
    told = f" Differences in ROC AUC: {', '.join(beside)}." if beside else ""
    other = decisive(gaps)
    values = (accuracies[model]["reproduced"] for model in (OURS, other))
    return Claim(
        claim,
        worst_of(map(verdict_on, gaps.values())),
        f"Accuracy of {OURS} {numbers[OURS]}; {'; '.join(said)}.{told} The paper prints no branch alone.",
        here=f"{against_text('accuracy', *values, '.2f')} of {other}: "
        f"{interval_text(gaps[other], 'difference', '+.2f')}",
        p_value=float(gaps[other]["p_value"]),
        **about,
    )
