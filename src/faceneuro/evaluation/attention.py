"""Which expressions a network attends to, by class; and of virtual patients, whether these are the ones that they lose.

The attention multiplies every channel of every expression's feature maps by a number between 0 and 1. The mean of an
expression's channels is its weight. A weight is no explanation: a network can undo a small one in the layers that
follow. What can be said is whether it differs between expressions, and whether it follows what the disease takes away.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval
from faceneuro.evaluation.monotony import NOT_SHOWN, TOO_FEW, draws, spearman

Doubles = npt.NDArray[np.float64]

WEIGHTS = [
    "label",
    "expression",
    "weight",
    "ci_low",
    "ci_high",
    "surplus",
    "surplus_low",
    "surplus_high",
    "n_subjects",
    "verdict",
]
FOLLOWED = ["label", "value", "ci_low", "ci_high", "p_value", "n_expressions", "n_subjects", "verdict", "sentence"]
"""Columns of :func:`gate_by_expression` and of :func:`follows_loss`."""

MORE, LESS = "more than the others", "less than the others"
FOLLOWS, OPPOSES = "follows what is lost", "runs against what is lost"
UNDEFINED = "cannot be told"
"""Verdicts, beside "not shown" and "too few subjects to tell"."""

LEVEL = 0.05

LEAST_SUBJECTS = 5
"""Of fewer, resamples are too much alike for a verdict."""

LEAST_EXPRESSIONS = 5
"""Of four, not even a perfect agreement of the ranks would be rare: 2 of 24 orders are as far from none."""


def gate_by_expression(
    gates: pd.DataFrame, expressions: Sequence[str], classes: Sequence[str], resamples: int, seed: int
) -> pd.DataFrame:
    """Mean weight of each expression in each class, and by how much it is above the subject's other expressions.

    Parameters
    ----------
    gates
        One row per subject and expression: ``subject``, ``label``, ``expression``, ``weight``, null where the
        expression is missing.
    expressions, classes
        In the order of the result; a class or an expression without any weight has no rows.
    resamples, seed
        Of the bootstrap over the subjects of a class.

    Returns
    -------
    Rows of :data:`WEIGHTS`. ``surplus`` is the weight less the mean of all expressions that the subject has: networks
    of different folds, which tested different subjects, have weights of different heights. Limits are 95 %, null with
    fewer than two subjects. The verdict is about the surplus, at the 95 % limits divided among the expressions
    (Bonferroni).
    """
    rows = []
    for label in classes:
        weights = _by_subject(gates[gates["label"] == label], "weight", expressions)
        count = len(weights)
        if not count:
            continue
        surplus = weights - np.nanmean(weights, axis=1, keepdims=True)
        drawn = np.vstack([np.arange(count)[None], draws(count, resamples, seed)])
        for place, expression in enumerate(expressions):
            seen = ~np.isnan(weights[:, place])
            if not seen.any():
                continue
            mean, above = (_mean(values[:, place][drawn]) for values in (weights, surplus))
            enough = seen.sum() > 1
            limits = [percentile_interval(values[1:]) if enough else (np.nan, np.nan) for values in (mean, above)]
            judged = seen.sum() >= LEAST_SUBJECTS
            strict = percentile_interval(above[1:], 1 - LEVEL / len(expressions)) if judged else (np.nan, np.nan)
            rows.append(
                {
                    "label": label,
                    "expression": expression,
                    "weight": mean[0],
                    "ci_low": limits[0][0],
                    "ci_high": limits[0][1],
                    "surplus": above[0],
                    "surplus_low": limits[1][0],
                    "surplus_high": limits[1][1],
                    "n_subjects": int(seen.sum()),
                    "verdict": _verdict(*strict),
                }
            )
    return pd.DataFrame(rows, columns=WEIGHTS)


def _by_subject(rows: pd.DataFrame, value: str, expressions: Sequence[str]) -> Doubles:
    """Values of subjects that have any, sorted, shape (subjects, expressions); NaN where missing."""
    table = rows.dropna(subset=value).pivot(index="subject", columns="expression", values=value)
    return table.reindex(columns=list(expressions)).dropna(how="all").to_numpy(float)


def _mean(drawn: Doubles) -> Doubles:
    """Mean over the last axis of what is not missing; NaN where all is."""
    seen = ~np.isnan(drawn)
    count = seen.sum(axis=-1)
    return np.where(count > 0, np.where(seen, drawn, 0).sum(axis=-1) / np.maximum(count, 1), np.nan)


def _verdict(low: float, high: float) -> str:
    if np.isnan(low):
        return TOO_FEW
    return MORE if low > 0 else LESS if high < 0 else NOT_SHOWN


def movement_lost(
    truth: Iterable[Mapping[str, Any]],
    task_of: Mapping[str, str],
    gestures: Mapping[str, Mapping[str, float]],
    units: Sequence[str],
) -> pd.DataFrame:
    """How much of the movement that a task asks for a virtual patient does not make.

    Parameters
    ----------
    truth
        Rows of a truth table: ``subject``, ``clip`` and the weights of the facial ``units``.
    task_of
        Expression by clip; other clips do not count.
    gestures
        Weight of each facial unit in the full movement, by expression.
    units
        Names of the facial units in the order of the truth.

    Returns
    -------
    subject, expression, ``loss``: sum of the instructed weights less the sum of those made, in the frame that comes
    closest. An absolute number, because that is what a picture shows: a third of a large movement is more than a third
    of a small one.
    """
    place = {name: number for number, name in enumerate(units)}
    most: dict[tuple[str, str], float] = {}
    for row in truth:
        if row["clip"] in task_of:
            key = (row["subject"], task_of[row["clip"]])
            made = float(np.asarray(row["units"], float)[[place[name] for name in gestures[key[1]]]].sum())
            most[key] = max(made, most.get(key, -np.inf))
    rows = [(*key, sum(gestures[key[1]].values()) - made) for key, made in sorted(most.items())]
    return pd.DataFrame(rows, columns=["subject", "expression", "loss"])


def follows_loss(
    gates: pd.DataFrame,
    losses: pd.DataFrame | None,
    expressions: Sequence[str],
    classes: Sequence[str],
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Does the attention weigh those expressions most that lose most of their movement?

    Parameters
    ----------
    gates
        As for :func:`gate_by_expression`.
    losses
        One row per subject and expression: ``subject``, ``expression``, ``loss``. None where the truth is not known,
        as of people.
    expressions, classes, resamples, seed
        As for :func:`gate_by_expression`.

    Returns
    -------
    Rows of :data:`FOLLOWED`, one per class: Spearman's correlation over expressions, of the mean surplus weight with
    the mean loss of the same subjects. The limits (95 %) are over subjects; the p-value, two-sided, is the share of all
    orders of the expressions that give as much: six expressions are few, however many subjects show them. It is judged
    at :data:`LEVEL` divided among the classes. Where nothing can be told, the sentence says why.
    """
    return pd.DataFrame(
        [
            _of_class(gates[gates["label"] == label], label, losses, expressions, resamples, seed, LEVEL / len(classes))
            for label in classes
        ],
        columns=FOLLOWED,
    )


def _of_class(
    gates: pd.DataFrame,
    label: str,
    losses: pd.DataFrame | None,
    expressions: Sequence[str],
    resamples: int,
    seed: int,
    level: float,
) -> dict:
    def told(sentence: str, verdict: str = UNDEFINED, **numbers: float) -> dict:
        return dict.fromkeys(FOLLOWED, np.nan) | {"label": label, "verdict": verdict, "sentence": sentence} | numbers

    if losses is None:
        return told(f"{label}: how much of its movement an expression has lost is known of virtual patients only.")
    joined = gates.dropna(subset="weight").merge(losses.dropna(subset="loss"), on=["subject", "expression"])
    weight, loss = (_by_subject(joined, name, expressions) for name in ("weight", "loss"))
    seen = ~np.isnan(weight).all(axis=0) if len(weight) else np.zeros(len(expressions), bool)
    sizes = {"n_expressions": int(seen.sum()), "n_subjects": len(weight)}
    if sizes["n_expressions"] < LEAST_EXPRESSIONS:
        few = f"{label}: weight and loss are both known of {sizes['n_expressions']} expressions"
        return told(f"{few}, and {LEAST_EXPRESSIONS} are needed.", **sizes)
    surplus = weight - np.nanmean(weight, axis=1, keepdims=True)
    means = _mean(surplus.T)[seen], _mean(loss.T)[seen]
    if any(np.ptp(values) == 0 for values in means):
        same = "lose equally much" if np.ptp(means[1]) == 0 else "have the same weight"
        return told(f"{label}: all expressions {same}, so nothing can follow.", **sizes)
    value = float(spearman(*means))
    p_value = _exact(*means)
    low, high = np.nan, np.nan
    if len(weight) > 1:
        drawn = draws(len(weight), resamples, seed)
        resampled = [
            np.stack([_mean(values[:, k][drawn]) for k in np.flatnonzero(seen)], 1) for values in (surplus, loss)
        ]
        whole = ~np.isnan(np.concatenate(resampled, axis=1)).any(axis=1)
        low, high = percentile_interval(spearman(*(values[whole] for values in resampled)))
    verdict = NOT_SHOWN if p_value >= level else FOLLOWS if value > 0 else OPPOSES
    limits = "" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    sentence = (
        f"{label}: rank correlation of weight and lost movement over {sizes['n_expressions']} expressions "
        f"{value:.2f}{limits} (p = {p_value:.3f}, {len(weight)} subjects): {verdict}."
    )
    return told(sentence, verdict, value=value, ci_low=low, ci_high=high, p_value=p_value, **sizes)


def _exact(x: Doubles, y: Doubles) -> float:
    """Two-sided p-value of no rank correlation: the share of all orders that are as far from none."""
    orders = np.array(list(permutations(range(len(y)))))
    # Equal correlations may differ by the order of summation.
    return float((np.abs(spearman(x[None], y[orders])) >= abs(spearman(x, y)) - 1e-9).mean())
