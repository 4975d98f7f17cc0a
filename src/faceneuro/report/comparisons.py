"""What tables of models share: a number and its interval as text, differences between models, verdicts on claims."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from faceneuro.report.tables import Table

HOLDS = "holds"
NOT_SHOWN = "not shown"
FAILS = "does not hold"
NOT_RUN = "not run"
"""Verdicts. A claim that one model is better than another is not shown where it is, but within the interval."""

CONTROL = "Control"
BEYOND = "Beyond the paper"
"""How a claim begins that is not the paper's: a check of the data, or what the paper does not ask."""

UNTRAINED = "untrained"
"""The word by which a model's note says that its image backbone has random weights."""

_WORST_FIRST = (FAILS, NOT_SHOWN, HOLDS)

Key = TypeVar("Key", bound=Hashable)

View = tuple[str, str]
"""Level and aggregation of a metric, see :mod:`faceneuro.evaluation.metrics`."""


@dataclass(frozen=True)
class Claim:
    """What is said, whether it holds on this cohort, and the numbers that decide it.

    Attributes
    ----------
    claim, verdict, evidence
        A sentence, a verdict, and all numbers that it rests on.
    in_print, here
        The number that decides, as it is printed (empty if it is not) and with its 95 % interval on this cohort.
    p_value
        Of the comparison that decides; NaN if there is none.
    models
        Whose results it rests on, by their names in the table's column ``model``, with commas between them.
    headline
        Whether the paper stands on it; true of one claim of a study.
    """

    claim: str
    verdict: str
    evidence: str
    in_print: str = ""
    here: str = ""
    p_value: float = float("nan")
    models: str = ""
    headline: bool = False


def verdict_on(difference: Mapping) -> str:
    """Whether one model is better than another.

    Parameters
    ----------
    difference
        ``difference``, above zero where the model is better, and its ``ci_low``.
    """
    if not difference["difference"] > 0:
        return FAILS
    return HOLDS if difference["ci_low"] > 0 else NOT_SHOWN


def worst_of(verdicts: Iterable[str]) -> str:
    """A claim that rests on several comparisons is as good as the worst of them."""
    found = set(verdicts)
    return next(verdict for verdict in _WORST_FIRST if verdict in found)


def decisive(differences: Mapping[Key, Mapping]) -> Key:
    """Which of several comparisons speaks against a claim most: of those with the worst verdict, the one whose
    difference is the least for the width of its interval, so that metrics of any unit compare.

    Parameters
    ----------
    differences
        ``difference``, ``ci_low`` and ``ci_high`` of each; at least one.
    """

    def favour(key: Key) -> tuple[int, float]:
        gap = differences[key]
        width = gap["ci_high"] - gap["ci_low"]
        return _WORST_FIRST.index(verdict_on(gap)), gap["difference"] / width if width > 0 else gap["difference"]

    return min(differences, key=favour)


def difference_between(
    differences: pd.DataFrame, a: str, b: str, metric: str, view: View, scale: float = 1.0
) -> pd.Series | None:
    """One paired difference, a less b, whichever way round it was computed.

    Parameters
    ----------
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences`.
    a, b, metric, view
        Which one.
    scale
        What difference and limits are multiplied by: 100 gives percentage points, a negative one turns a metric round
        of which less is better.

    Returns
    -------
    difference, ci_low, ci_high, p_value; none if it was not computed or is undefined.
    """
    wanted = {"metric": metric, "level": view[0], "aggregation": view[1]}
    rows = differences[(differences[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    for first, second, sign in ((a, b, scale), (b, a, -scale)):
        pair = rows[(rows["model_a"] == first) & (rows["model_b"] == second)]
        if len(pair) and pd.notna(pair.iloc[0]["difference"]):
            row = pair.iloc[0]
            low, high = sorted(sign * row[name] for name in ("ci_low", "ci_high"))
            numbers = {"difference": sign * row["difference"], "ci_low": low, "ci_high": high}
            return pd.Series(numbers | {"p_value": row["p_value"]})
    return None


def interval_text(row: Mapping, value: str = "reproduced", form: str = ".1f") -> str:
    """A number and its limits, which are shown without the sign that the form may ask for; empty if undefined."""
    if pd.isna(row[value]):
        return ""
    text, plain = format(row[value], form), form.removeprefix("+")
    return text if pd.isna(row["ci_low"]) else f"{text} [{row['ci_low']:{plain}}, {row['ci_high']:{plain}}]"


def difference_text(gap: Mapping, form: str = "+.1f") -> str:
    """A difference, its limits and its p-value."""
    p = p_text(gap["p_value"])
    return interval_text(gap, "difference", form) + (f" (p {p})" if p.startswith("<") else f" (p = {p})" if p else "")


def against_text(name: str, ours: float, theirs: float, form: str) -> str:
    """Two numbers side by side, as they are printed; empty if either is not."""
    return "" if pd.isna(ours) or pd.isna(theirs) else f"{name} {ours:{form}} against {theirs:{form}}"


def p_text(value: float) -> str:
    """A p-value with three decimals; empty if undefined."""
    if pd.isna(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def reason_not_run(rows: pd.DataFrame) -> str:
    """Why a model was not run, where its note says more than that; empty if it does not."""
    note = rows["note"].iloc[0] if len(rows) else ""
    return note.removeprefix(NOT_RUN).removeprefix(":").strip()


def not_run_sentence(frame: pd.DataFrame, models: Iterable[str]) -> str:
    """A sentence about which of these models have no result, and why; empty if all have.

    Parameters
    ----------
    frame
        A study's table: ``model``, ``reproduced``, ``note``.
    models
        Their names; one that the table lacks was not run.
    """
    said = []
    for model in models:
        rows = frame[frame["model"] == model]
        if rows["reproduced"].isna().all():
            reason = reason_not_run(rows)
            said.append(f"{model} ({reason})" if reason else model)
    return f"Not run: {', '.join(said)}." if said else ""


def tally(verdicts: pd.Series) -> str:
    """How many claims have which verdict: "2 hold, 1 is not shown"."""
    counts = verdicts.value_counts()
    forms = {
        HOLDS: ("holds", "hold"),
        NOT_SHOWN: ("is not shown", "are not shown"),
        FAILS: ("does not hold", "do not hold"),
        NOT_RUN: ("was not run", "were not run"),
    }
    return ", ".join(
        f"{counts[verdict]} {form[int(counts[verdict] > 1)]}" for verdict, form in forms.items() if verdict in counts
    )


def untrained_sentence(rows: Sequence[str]) -> list[str]:
    """A sentence if some rows of a table see the image through random weights."""
    if not rows:
        return []
    return [
        f"The image backbones of these rows are {UNTRAINED}, random weights instead of ImageNet's: {', '.join(rows)}. "
        "They show that the pipeline runs, not what such a network can see."
    ]


def model_remarks(frame: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """Which models were not run, and why; what a reader must know of the others.

    Parameters
    ----------
    frame
        A study's table: ``model``, ``reproduced``, ``note``.
    names
        What a model is called where it was not run, by model, in the order of the table.
    """
    reasons: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for model, name in names.items():
        rows = frame[frame["model"] == model]
        if rows["reproduced"].isna().all():
            reasons.setdefault(reason_not_run(rows) or "not among the models of this run", []).append(name)
        elif note := rows["note"].iloc[0]:
            notes.setdefault(note, []).append(model)
    return [
        *(f"Not run: {', '.join(models)}: {reason}." for reason, models in reasons.items()),
        *(f"Of {', '.join(models)}: {note}." for note, models in notes.items()),
    ]


def claims_table(heading: str, claims: pd.DataFrame) -> Table:
    """Claims, verdicts and evidence as they are read."""
    lines = [[row.claim, f"**{row.verdict}**", row.evidence] for row in claims.itertuples()]
    return Table(heading, ["Claim", "Verdict", "Evidence from this cohort"], lines, 3, sentences=(0, 1, 2))


def tidy(frame: pd.DataFrame, differences: pd.DataFrame, scale: float = 1.0, **more: pd.DataFrame) -> pd.DataFrame:
    """All that a study's table says as rows of one kind or another, for its CSV file.

    Parameters
    ----------
    frame
        The results, rows of the kind "row".
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences`, rows of the kind "difference": ``against`` the
        second model, multiplied by ``scale``. Their protocol is that of the results, unless they have a column of it.
    **more
        Rows of further kinds, by name.
    """
    names = [name for name in ("study", "protocol", "cohort", "cohort_note") if name not in differences]
    same = {name: frame[name].iloc[0] for name in names}
    scaled = {name: scale * differences[name] for name in ("difference", "ci_low", "ci_high")}
    compared = differences.assign(kind="difference", **scaled, **same)
    compared = compared.rename(columns={"difference": "reproduced", "model_a": "model", "model_b": "against"})
    parts = [
        frame.assign(kind="row"),
        compared.astype({"n_subjects": "Int64"}),
        *(rows.assign(kind=kind, study=frame["study"].iloc[0]) for kind, rows in more.items()),
    ]
    everything = pd.concat(parts, ignore_index=True)
    first = ["kind", "study", "row"]
    return everything[[*first, *(name for name in everything if name not in first)]]
