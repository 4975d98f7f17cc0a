"""Metrics of a study with two classes or more from its predictions, with intervals over subjects.

Every metric is a function of a few sums over subjects. So a bootstrap resample, which counts some subjects twice and
others not at all, is a weighted sum, and a thousand of them are one matrix product.

Levels: a frame's probabilities are the model's; a clip's and a subject's are the means over their tested frames. The
predicted class is the most probable one, of equally probable ones the first: of two classes the positive one where its
probability exceeds a half.

Aggregation: ``pooled`` puts the tested units of all folds together. ``fold_mean`` averages each fold's metric over the
folds in which it is defined: precision, recall and F1 of a class need a tested unit of that class, its area against the
rest one of the rest as well, and whatever looks at all classes needs all. Where no fold qualifies (ROC AUC when each
fold tests one subject) the value is null. Precision without any prediction of the class counts as 0, as scikit-learn
has it.

Where no fold tests two subjects of any class but the first, as in leaving one patient out, resamples for ``fold_mean``
draw folds with all their subjects. Drawn one by one, subjects would leave many folds without a negative one to be taken
for positive, and so with a precision of 1 that no model earned, or without their patient.

References
----------
Hand, Till, "A simple generalisation of the area under the ROC curve for multiple class classification problems",
Machine Learning 45, 2001, equation 7 (``roc_auc/ovo``).
Kubat, Matwin, "Addressing the curse of imbalanced training sets: one-sided selection", ICML 1997 (``g_mean``).
Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78, 1950 (``brier`` of more
than two classes; of two it is half of that, as is usual).
Cohen, "Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial credit", Psychological
Bulletin 70, 1968 (``kappa/quadratic``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.tables import KEYS

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEVELS = {"frame": list(KEYS), "clip": list(KEYS[:3]), "subject": list(KEYS[:2])}
"""Which keys make a unit of each level."""

CORRECTION = 0.001
"""The recall that ``g_mean/corrected`` gives to a class of which no unit is recognised."""


def evaluate(predictions: pd.DataFrame, classes: Sequence[str], resamples: int, seed: int) -> pd.DataFrame:
    """Metrics of every protocol and model in a predictions table, at every level, in both aggregations.

    Parameters
    ----------
    predictions
        Rows of :data:`faceneuro.tables.PREDICTIONS`, or of :func:`faceneuro.tables.class_predictions_schema` for the
        number of classes; any number of protocols, models and folds.
    classes
        Negative and positive class; of more than two, all in the order of their severity, first the healthy one.
    resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    Rows of :data:`faceneuro.tables.METRICS`. Names: accuracy, balanced_accuracy, roc_auc, brier, support, and
    precision, recall and f1 as ``precision/{class}``, ``precision/macro``, ``precision/weighted``; ``support/{class}``.
    ``n`` counts units of the level. Intervals are null where a class has fewer than two subjects, and for supports.

    Of more than two classes, ``roc_auc`` is the mean of the areas of each class against the rest, ``roc_auc/{class}``,
    and ``brier`` sums over the classes. There are further names: roc_auc/ovo (every class against every other), g_mean
    (geometric mean of the recalls), g_mean/corrected (with a recall of :data:`CORRECTION` instead of none),
    kappa/quadratic, mae (mean distance of the predicted class from the true one, in steps between classes), and, of
    the first class against the rest, detection_accuracy and detection_roc_auc.

    Raises
    ------
    ValueError
        If a label is none of the classes, or the predictions are of another number of classes.
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
    fold, the unit's keys, label and the mean ``probability`` of its tested frames, sorted; or ``probabilities``, where
    the predictions have these.
    """
    keys = ["fold", *LEVELS[level], "label"]
    if "probability" in predictions:
        return predictions.groupby(keys, sort=True)["probability"].mean().reset_index()
    frames = predictions[keys].reset_index(drop=True).join(pd.DataFrame(class_probabilities(predictions)))
    means = frames.groupby(keys, sort=True).mean()
    return means.index.to_frame(index=False).assign(probabilities=list(means.to_numpy()))


def class_probabilities(table: pd.DataFrame) -> Doubles:
    """Probabilities of every class, shape (rows, classes), of predictions or of :func:`units` of either kind."""
    if "probability" in table:
        positive = table["probability"].to_numpy()
        return np.column_stack([1 - positive, positive])
    return np.stack(table["probabilities"].to_list())


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
    truth = pd.Index(classes).get_indexer(tested["label"])
    if (truth < 0).any():
        raise ValueError(f"a label is neither {' nor '.join(classes)}")
    probabilities = class_probabilities(tested)
    if probabilities.shape[1] != len(classes):
        raise ValueError(f"predictions are of {probabilities.shape[1]} classes, where there are {len(classes)}")
    # One of the labels of a subject decides its stratum; a subject has several only in a negative control gone wrong.
    stratum = np.zeros(len(subjects), int)
    stratum[subject] = truth
    counts = subject_resamples(stratum, resamples, seed)
    weights = np.vstack([np.ones(len(subjects)), counts])
    pooled = _metrics(_Sums.of(subject, truth, probabilities, len(subjects)), weights, classes)
    folds = list(tested.groupby("fold").indices.values())
    alone = _one_patient_each(folds, subject, stratum)
    # Folds that are drawn whole need only be looked at as they are.
    weights_inside = weights[:1] if alone else weights
    per_fold = [
        _metrics(_Sums.of(subject[rows], truth[rows], probabilities[rows], len(subjects)), weights_inside, classes)
        for rows in folds
    ]
    counted = _fold_resamples(folds, truth, resamples, seed) if alone else np.ones((len(folds), 1))
    fold_mean = {name: _mean_of_defined(np.stack([fold[name] for fold in per_fold]), counted) for name in pooled}
    enough = np.bincount(stratum, minlength=len(classes)).min() >= 2
    return Bootstrap({"pooled": pooled, "fold_mean": fold_mean}, len(subjects), bool(enough))


def _one_patient_each(folds: Sequence[Integers], subject: Integers, stratum: Integers) -> bool:
    """Whether each fold tests at most one subject of every class but the first."""
    return all(np.bincount(stratum[np.unique(subject[rows])])[1:].max(initial=0) <= 1 for rows in folds)


def _fold_resamples(folds: Sequence[Integers], truth: Integers, resamples: int, seed: int) -> Doubles:
    """How often each fold counts, shape (folds, 1 + resamples); drawn among folds that test the same classes."""
    kinds = np.array([np.sum(2 ** np.unique(truth[rows])) for rows in folds])
    return np.vstack([np.ones(len(folds)), subject_resamples(kinds, resamples, seed)]).T


@dataclass(frozen=True)
class _Ranking:
    """How the units of one class are ranked above those of another, by subject.

    ``wins[i, j]`` counts pairs of a unit of subject ``above[i]`` in the one class and a unit of subject ``below[j]`` in
    the other, of which the first has the higher probability of the one class; a tie counts as half a pair.
    """

    above: Integers
    below: Integers
    wins: Doubles

    @classmethod
    def of(cls, above: Integers, above_scores: Doubles, below: Integers, below_scores: Doubles) -> "_Ranking":
        """From subject and score of each unit of the one class and of the other."""
        (rows, row), columns = np.unique(above, return_inverse=True), np.unique(below)
        wins = np.zeros((len(rows), len(columns)))
        for column, subject in enumerate(columns):
            scores = np.sort(below_scores[below == subject])
            lower = np.searchsorted(scores, above_scores, side="left")
            not_higher = np.searchsorted(scores, above_scores, side="right")
            np.add.at(wins[:, column], row, (lower + not_higher) / 2)
        return cls(rows, columns, wins)

    def total(self, weights: Doubles) -> Doubles:
        """Pairs that are ranked right under every weighting of the subjects, shape (weightings,)."""
        return ((weights[:, self.above] @ self.wins) * weights[:, self.below]).sum(axis=1)


@dataclass(frozen=True)
class _Sums:
    """What the metrics need to know of each subject.

    ``confusion`` counts units by (true, predicted) class, shape (s, c, c); ``squares`` are sums of squared errors of
    probabilities, shape (s,); ``rankings[a, b]`` tells how units of class a are ranked above those of class b by the
    probability of a. Of two classes, ``squares`` and ``rankings`` are those of the positive one: the other's say the
    same.
    """

    confusion: Doubles
    squares: Doubles
    rankings: Mapping[tuple[int, int], _Ranking]

    @classmethod
    def of(cls, subject: Integers, truth: Integers, probabilities: Doubles, s: int) -> "_Sums":
        c = probabilities.shape[1]
        confusion, squares = np.zeros((s, c, c)), np.zeros(s)
        np.add.at(confusion, (subject, truth, probabilities.argmax(axis=1)), 1)
        errors = (probabilities - np.eye(c)[truth]) ** 2
        np.add.at(squares, subject, errors[:, 1] if c == 2 else errors.sum(axis=1))
        rankings = {}
        for a, b in [(1, 0)] if c == 2 else permutations(range(c), 2):
            ours, theirs = truth == a, truth == b
            score = probabilities[:, a]
            rankings[a, b] = _Ranking.of(subject[ours], score[ours], subject[theirs], score[theirs])
        return cls(confusion, squares, rankings)


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
    wins = {pair: ranking.total(weights) for pair, ranking in sums.rankings.items()}
    areas = _areas(wins, truly)
    metrics = {
        "accuracy": _ratio(right.sum(axis=1), n),
        "balanced_accuracy": recall.mean(axis=1),
        "roc_auc": areas.mean(axis=1),
        "brier": _ratio(weights @ sums.squares, n),
    }
    if len(classes) > 2:
        metrics |= {f"roc_auc/{label}": areas[:, i] for i, label in enumerate(classes)}
        metrics |= _of_many_classes(confusion, wins)
        metrics["detection_roc_auc"] = areas[:, 0]
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        metrics |= {f"{name}/{label}": values[:, i] for i, label in enumerate(classes)}
        metrics[f"{name}/macro"] = values.mean(axis=1)
        metrics[f"{name}/weighted"] = _ratio((values * truly).sum(axis=1), n)
    return metrics


def _of_many_classes(confusion: Doubles, wins: Mapping[tuple[int, int], Doubles]) -> dict[str, Doubles]:
    """What is told of more than two classes alone, from confusion counts, shape (weightings, c, c), and rankings."""
    truly, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    n, c = truly.sum(axis=1), truly.shape[1]
    recall = _ratio(np.einsum("bii->bi", confusion), truly)
    one_against_one = [_ratio(values, truly[:, a] * truly[:, b]) for (a, b), values in wins.items()]
    steps = np.abs(np.subtract.outer(np.arange(c), np.arange(c)))
    disagreement = np.einsum("bij,ij->b", confusion, steps**2)
    by_chance = _ratio(np.einsum("bi,bj,ij->b", truly, predicted, steps**2), n)
    # The first class taken for the first, and any other for any other.
    detected = confusion[:, 0, 0] + confusion[:, 1:, 1:].sum(axis=(1, 2))
    return {
        "roc_auc/ovo": np.mean(one_against_one, axis=0),
        "g_mean": recall.prod(axis=1) ** (1 / c),
        "g_mean/corrected": np.where(recall == 0, CORRECTION, recall).prod(axis=1) ** (1 / c),
        "kappa/quadratic": np.where((truly > 0).all(axis=1), 1 - _ratio(disagreement, by_chance), np.nan),
        "mae": _ratio(np.einsum("bij,ij->b", confusion, steps), n),
        "detection_accuracy": _ratio(detected, n),
    }


def _areas(wins: Mapping[tuple[int, int], Doubles], truly: Doubles) -> Doubles:
    """Areas of the classes against all others, shape (weightings, c), or of two classes the positive one's alone."""
    areas = []
    for a in sorted({a for a, _ in wins}):
        others = [b for above, b in wins if above == a]
        areas.append(_ratio(sum(wins[a, b] for b in others), truly[:, a] * truly[:, others].sum(axis=1)))
    return np.column_stack(areas)


def _ratio(numerator: Doubles, denominator: Doubles, empty: float = np.nan) -> Doubles:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), empty)


def _mean_of_defined(values: Doubles, counted: Doubles) -> Doubles:
    """Mean over the first axis of what is defined, each counted so often; NaN where nothing is."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values * counted, 0).sum(axis=0), np.where(defined, counted, 0).sum(axis=0))
