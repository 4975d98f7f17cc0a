"""Whether one model is better than another, judged on the people that both were tested on."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval
from faceneuro.evaluation.metrics import LEVELS, Doubles, bootstrap, units

COLUMNS = [
    "model_a",
    "model_b",
    "metric",
    "level",
    "aggregation",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
    "n_subjects",
]

SAME = 1e-12
"""Metrics that differ by less are equal: the rest is the order of summation."""


def paired_differences(
    predictions: pd.DataFrame,
    pairs: Iterable[tuple[str, str]],
    metrics: Sequence[str],
    classes: Sequence[str],
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Differences between models in some metrics, with intervals and p-values over subjects.

    Both models of a pair see the same resamples of the same subjects, so what makes a subject hard for both cancels.
    With the seed and the number of resamples of :func:`faceneuro.evaluation.metrics.evaluate`, resamples are those of
    the intervals there.

    Parameters
    ----------
    predictions
        Rows of :data:`faceneuro.tables.PREDICTIONS`, or of :func:`faceneuro.tables.class_predictions_schema`, of one
        study and protocol.
    pairs
        Two models each. A pair of which one has no predictions, or which have no tested unit in common, has no rows.
    metrics
        Names, as :func:`~faceneuro.evaluation.metrics.evaluate` has them.
    classes, resamples, seed
        As for :func:`~faceneuro.evaluation.metrics.evaluate`.

    Returns
    -------
    One row per pair, metric, level and aggregation: model_a, model_b, metric, level, aggregation, difference (a less b;
    null where the metric of either is undefined), ci_low, ci_high (95 %), p_value, n_subjects. Intervals and p-values
    are null where a class has fewer than two subjects. Units that one model alone was tested on are left out.

    ``p_value`` is twice the share of resamples in which the difference is not above zero, or not below, whichever is
    rarer; at least 1 over the number of resamples, which is as little as they can tell, and at most 1. Resamples in
    which the difference is undefined are left out. It is not adjusted for the number of pairs.

    Raises
    ------
    ValueError
        If there are several studies or protocols, a metric is unknown, a label is none of the classes, or the
        predictions are of another number of classes.

    References
    ----------
    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, sections 13.3 (percentile interval) and 15.4 (its
    achieved significance level).
    """
    if len(predictions[["study", "protocol"]].drop_duplicates()) > 1:
        raise ValueError("predictions of several studies or protocols cannot be paired")
    models = dict(iter(predictions.groupby("model")))
    tested = {(name, level): units(part, level) for name, part in models.items() for level in LEVELS}
    rows = []
    for a, b in pairs:
        if not {a, b} <= models.keys():
            continue
        for level in LEVELS:
            both = _common(tested[a, level], tested[b, level], level)
            if not len(both[0]):
                continue
            first, second = (bootstrap(part, classes, resamples, seed) for part in both)
            for aggregation, values in first.metrics.items():
                for metric in metrics:
                    if metric not in values:
                        raise ValueError(f"there is no metric {metric!r}")
                    difference = values[metric] - second.metrics[aggregation][metric]
                    difference[np.abs(difference) < SAME] = 0.0
                    low, high = percentile_interval(difference[1:]) if first.enough else (np.nan, np.nan)
                    rows.append(
                        {
                            "model_a": a,
                            "model_b": b,
                            "metric": metric,
                            "level": level,
                            "aggregation": aggregation,
                            "difference": difference[0],
                            "ci_low": low,
                            "ci_high": high,
                            "p_value": p_value(difference[1:]) if first.enough else np.nan,
                            "n_subjects": first.n_subjects,
                        }
                    )
    return pd.DataFrame(rows, columns=COLUMNS)


def p_value(differences: Doubles) -> float:
    """Two-sided p-value of no difference, from resampled differences; those not defined (NaN) are left out."""
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return float("nan")
    rarer = min((defined <= 0).mean(), (defined >= 0).mean())
    return float(np.clip(2 * rarer, 1 / len(defined), 1))


def _common(first: pd.DataFrame, second: pd.DataFrame, level: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What both models were tested on, in the same order."""
    keys = ["fold", *LEVELS[level], "label"]
    a, b = (pd.MultiIndex.from_frame(tested[keys]) for tested in (first, second))
    return first[a.isin(b)].reset_index(drop=True), second[b.isin(a)].reset_index(drop=True)
