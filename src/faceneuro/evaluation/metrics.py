"""Metrics of a two-class study from its predictions, with intervals over subjects.

Every metric is a function of a few sums over subjects. So a bootstrap resample, which counts some subjects twice and
others not at all, is a weighted sum, and a thousand of them are one matrix product.

Levels: a frame's probability is the model's; a clip's and a subject's are the means over their tested frames. The
predicted class is the positive one where the probability exceeds a half.

Aggregation: ``pooled`` puts the tested units of all folds together. ``fold_mean`` averages each fold's metric over the
folds in which it is defined: precision, recall and F1 of a class need a tested unit of that class, and whatever looks
at both classes needs both. Where no fold qualifies (ROC AUC when each fold tests one subject) the value is null.
Precision without any prediction of the class counts as 0, as scikit-learn has it.

Where no fold tests two subjects of the positive class, as in leaving one patient out, resamples for ``fold_mean`` draw
folds with all their subjects. Drawn one by one, subjects would leave many folds without a negative one to be taken for
positive, and so with a precision of 1 that no model earned, or without their patient.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.tables import KEYS

Doubles = npt.NDArray[np.float64]

LEVELS = {"frame": list(KEYS), "clip": list(KEYS[:3]), "subject": list(KEYS[:2])}
"""Which keys make a unit of each level."""

THRESHOLD = 0.5


def evaluate(predictions: pd.DataFrame, classes: Sequence[str], resamples: int, seed: int) -> pd.DataFrame:
    """Metrics of every protocol and model in a predictions table, at every level, in both aggregations.

    Parameters
    ----------
    predictions
        Rows of :data:`faceneuro.tables.PREDICTIONS`, any number of protocols, models and folds.
    classes
        Negative and positive class.
    resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    Rows of :data:`faceneuro.tables.METRICS`. Names: accuracy, balanced_accuracy, roc_auc, brier, support, and
    precision, recall and f1 as ``precision/{class}``, ``precision/macro``, ``precision/weighted``; ``support/{class}``.
    ``n`` counts units of the level. Intervals are null where a class has fewer than two subjects, and for supports.
    """
    rows = []
    for (study, protocol, model), part in predictions.groupby(["study", "protocol", "model"], sort=True):
        for level in LEVELS:
            for row in _of_level(units(part, level), classes, resamples, seed):
                rows.append({"study": study, "protocol": protocol, "model": model, "level": level} | row)
    return pd.DataFrame(rows)


def units(predictions: pd.DataFrame, level: str) -> pd.DataFrame:
    """Tested units of one protocol and model at a level, per fold.

    Returns
    -------
    fold, the unit's keys, label and the mean ``probability`` of its tested frames, sorted.
    """
    keys = ["fold", *LEVELS[level], "label"]
    return predictions.groupby(keys, sort=True)["probability"].mean().reset_index()


def _of_level(tested: pd.DataFrame, classes: Sequence[str], resamples: int, seed: int) -> Iterator[dict]:
    found = bootstrap(tested, classes, resamples, seed)
    sizes = {"n": len(tested), "n_subjects": found.n_subjects}
    for aggregation, metrics in found.metrics.items():
        for name, values in metrics.items():
            low, high = percentile_interval(values[1:]) if found.enough else (np.nan, np.nan)
            interval = {"value": values[0], "ci_low": low, "ci_high": high}
            yield {"metric": name, "aggregation": aggregation} | interval | sizes
    for name in classes:
        count = float((tested["label"] == name).sum())
        yield {"metric": f"support/{name}", "aggregation": "pooled", "value": count} | sizes
    yield {"metric": "support", "aggregation": "pooled", "value": float(len(tested))} | sizes


@dataclass(frozen=True)
class Bootstrap:
    """Metrics of some tested units and of resamples of their subjects.

    Attributes
    ----------
    metrics
        For ``pooled`` and ``fold_mean``, values by name, shape (1 + resamples,) each; the first is that of the units as
        they are. NaN where undefined.
    n_subjects
        How many subjects there are.
    enough
        Whether each class has the two subjects that an interval needs at least.
    """

    metrics: dict[str, dict[str, Doubles]]
    n_subjects: int
    enough: bool


def bootstrap(tested: pd.DataFrame, classes: Sequence[str], resamples: int, seed: int) -> Bootstrap:
    """Metrics of tested units, and of as many resamples of their subjects.

    The resamples follow from the seed and the subjects' names and classes: models that were tested on the same subjects
    have the same ones.

    Parameters
    ----------
    tested
        From :func:`units`.
    classes, resamples, seed
        As for :func:`evaluate`.
    """
    owner = pd.MultiIndex.from_frame(tested[LEVELS["subject"]])
    subjects = owner.unique().sort_values()
    subject = subjects.get_indexer(owner)
    positive = (tested["label"] == classes[1]).to_numpy()
    if not (positive | (tested["label"] == classes[0]).to_numpy()).all():
        raise ValueError(f"a label is neither {classes[0]} nor {classes[1]}")
    probability = tested["probability"].to_numpy()
    # One of the two labels of a subject decides its stratum; a subject has two only in a negative control gone wrong.
    stratum = np.zeros(len(subjects), bool)
    stratum[subject] = positive
    counts = subject_resamples(stratum, resamples, seed)
    weights = np.vstack([np.ones(len(subjects)), counts])
    pooled = _metrics(_Sums.of(subject, positive, probability, len(subjects)), weights, classes)
    folds = list(tested.groupby("fold").indices.values())
    alone = _one_patient_each(folds, subject, stratum)
    # Folds that are drawn whole need only be looked at as they are.
    weights_inside = weights[:1] if alone else weights
    per_fold = [
        _metrics(_Sums.of(subject[rows], positive[rows], probability[rows], len(subjects)), weights_inside, classes)
        for rows in folds
    ]
    counted = _fold_resamples(folds, positive, resamples, seed) if alone else np.ones((len(folds), 1))
    fold_mean = {name: _mean_of_defined(np.stack([fold[name] for fold in per_fold]), counted) for name in pooled}
    enough = min(stratum.sum(), (~stratum).sum()) >= 2
    return Bootstrap({"pooled": pooled, "fold_mean": fold_mean}, len(subjects), bool(enough))


def _one_patient_each(
    folds: Sequence[npt.NDArray[np.int64]], subject: npt.NDArray[np.int64], stratum: npt.NDArray[np.bool_]
) -> bool:
    return all(stratum[np.unique(subject[rows])].sum() <= 1 for rows in folds)


def _fold_resamples(
    folds: Sequence[npt.NDArray[np.int64]], positive: npt.NDArray[np.bool_], resamples: int, seed: int
) -> Doubles:
    """How often each fold counts, shape (folds, 1 + resamples); drawn among folds that test the same classes."""
    kinds = np.array([2 * positive[rows].any() + (~positive[rows]).any() for rows in folds])
    return np.vstack([np.ones(len(folds)), subject_resamples(kinds, resamples, seed)]).T


@dataclass(frozen=True)
class _Sums:
    """What the metrics need to know of each subject.

    ``confusion`` counts units by (true, predicted) class, shape (s, 2, 2); ``squares`` are sums of squared errors of
    probabilities, shape (s,); ``wins[i, j]`` counts pairs of a positive unit of i and a negative unit of j that are
    ranked right, a tie as half a pair.
    """

    confusion: Doubles
    squares: Doubles
    wins: Doubles

    @classmethod
    def of(
        cls, subject: npt.NDArray[np.int64], positive: npt.NDArray[np.bool_], probability: Doubles, s: int
    ) -> "_Sums":
        confusion, squares, wins = np.zeros((s, 2, 2)), np.zeros(s), np.zeros((s, s))
        np.add.at(confusion, (subject, positive.astype(int), (probability > THRESHOLD).astype(int)), 1)
        np.add.at(squares, subject, (probability - positive) ** 2)
        for j in np.unique(subject[~positive]):
            negatives = np.sort(probability[~positive & (subject == j)])
            below = np.searchsorted(negatives, probability[positive], side="left")
            not_above = np.searchsorted(negatives, probability[positive], side="right")
            np.add.at(wins[:, j], subject[positive], (below + not_above) / 2)
        return cls(confusion, squares, wins)


def _metrics(sums: _Sums, weights: Doubles, classes: Sequence[str]) -> dict[str, Doubles]:
    """Every metric under every weighting of the subjects, shape (weightings,) each; NaN where undefined."""
    confusion = np.einsum("bs,sij->bij", weights, sums.confusion)
    truly, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    right = np.einsum("bii->bi", confusion)
    n = truly.sum(axis=1)
    present = truly > 0
    recall = _ratio(right, truly)
    precision = np.where(present, _ratio(right, predicted, empty=0.0), np.nan)
    f1 = np.where(present, _ratio(2 * right, truly + predicted), np.nan)
    metrics = {
        "accuracy": _ratio(right.sum(axis=1), n),
        "balanced_accuracy": recall.mean(axis=1),
        "roc_auc": _ratio(((weights @ sums.wins) * weights).sum(axis=1), truly[:, 0] * truly[:, 1]),
        "brier": _ratio(weights @ sums.squares, n),
    }
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        metrics |= {f"{name}/{label}": values[:, i] for i, label in enumerate(classes)}
        metrics[f"{name}/macro"] = values.mean(axis=1)
        metrics[f"{name}/weighted"] = _ratio((values * truly).sum(axis=1), n)
    return metrics


def _ratio(numerator: Doubles, denominator: Doubles, empty: float = np.nan) -> Doubles:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), empty)


def _mean_of_defined(values: Doubles, counted: Doubles) -> Doubles:
    """Mean over the first axis of what is defined, each counted so often; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values * counted, 0).sum(axis=0), np.where(defined, counted, 0).sum(axis=0))
