"""Can the grade be read from the 29 measures of people who were never seen? A ridge regression, one per fold."""

import logging
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval
from faceneuro.evaluation.monotony import EVERYONE, LEAST, NOT_SHOWN, PATIENTS, TOO_FEW, distances, draws, spearman
from faceneuro.training.folds import SUBJECT, roles_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

log = logging.getLogger(__name__)

PENALTIES = np.logspace(-1, 5, 13)
"""Of the ridge; standardised measures of n crops have sums of squares of n."""

SPLITS = 5
"""Parts that the training subjects are divided into to choose the penalty, at most."""

BEATS, WORSE = "beats the mean", "worse than the mean"
"""Verdicts on the regression beside always predicting the mean grade."""

PREDICTED = [*SUBJECT, "group", "fold", "severity", "predicted", "mean"]
SCORES = ["among", "quantity", "value", "ci_low", "ci_high", "n_subjects", "verdict"]
"""Columns of :func:`predict_grades` and of :func:`score_grades`."""


def predict_grades(samples: pd.DataFrame, measures: npt.ArrayLike, folds: pd.DataFrame) -> pd.DataFrame:
    """Grades of the subjects that each fold holds out, by a ridge regression on the measures of the others.

    It sees the measures' distances from their neutral values. The sign of an angle says which side is weak; to a grade,
    which has no side, a line could only add up the one side's patients against the other's.

    Scaling, penalty and weights all come from the subjects that the fold does not hold out. Those who watch the
    training of a network (validation) train here: a linear fit has no epochs to choose. Crops without a grade are left
    out, and folds in whose training part there are not two subjects and two grades.

    Parameters
    ----------
    samples
        Data frame of a samples table, n rows: keys, ``group``, ``severity``.
    measures
        Shape (n, 29), finite.
    folds
        Rows of :data:`faceneuro.tables.FOLDS` of one study and protocol, made of these samples.

    Returns
    -------
    Rows of :data:`PREDICTED`, one per fold and subject held out: the true grade, the prediction (mean over the crops),
    and the mean grade of the subjects trained on. None where no grade is known.
    """
    values = distances(measures)
    grades = samples["severity"].to_numpy(float)
    subjects = samples.groupby(SUBJECT, sort=True).ngroup().to_numpy()
    rows = []
    for fold in sorted(folds["fold"].unique()):
        roles = roles_of(folds, fold, samples)
        test = (roles == "test") & ~np.isnan(grades)
        train = np.isin(roles, ("train", "validation")) & ~np.isnan(grades)
        if not test.any():
            continue
        if min(len(np.unique(each[train])) for each in (grades, subjects)) < 2:
            log.warning("fold %d: no two subjects to train on have different grades, so none is predicted", fold)
            continue
        model = fit_ridge(values[train], grades[train], subjects[train])
        mean = pd.Series(grades[train]).groupby(subjects[train]).mean().mean()
        held_out = samples.loc[test, [*SUBJECT, "group"]].assign(
            severity=grades[test], predicted=model.predict(values[test])
        )
        of_subject = held_out.groupby(SUBJECT, sort=True).agg(
            {"group": "first", "severity": "mean", "predicted": "mean"}
        )
        rows.append(of_subject.reset_index().assign(fold=fold, mean=mean))
    return pd.concat(rows, ignore_index=True)[PREDICTED] if rows else pd.DataFrame(columns=PREDICTED)


def fit_ridge(measures: npt.ArrayLike, grades: npt.ArrayLike, subjects: npt.ArrayLike) -> "Pipeline":
    """Ridge regression on standardised measures, with the penalty that predicts whole subjects left out best.

    Parameters
    ----------
    measures, grades, subjects
        Of the training samples, shapes (n, features), (n,), (n,); two subjects at least.
    """
    # Imported here: it takes a second, and this module is also asked for its names.
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    # Crops of one person left out one by one would be predicted from its other crops, and no penalty be the best.
    parts = GroupKFold(min(SPLITS, len(np.unique(subjects)))).split(measures, grades, subjects)
    # Not R2: a part that is one subject has one grade, of which there is no variance to explain.
    ridge = RidgeCV(PENALTIES, scoring="neg_mean_squared_error", cv=list(parts))
    return Pipeline([("scale", StandardScaler()), ("ridge", ridge)]).fit(measures, grades)


def score_grades(predicted: pd.DataFrame, positive: str, resamples: int, seed: int) -> pd.DataFrame:
    """How well the grades of subjects held out were predicted.

    Parameters
    ----------
    predicted
        From :func:`predict_grades`.
    positive
        The patients' group.
    resamples, seed
        Of the bootstrap over subjects, which is not stratified. The folds' regressions are not fitted anew.

    Returns
    -------
    Rows of :data:`SCORES`, among all subjects and, where these are not all patients, among patients alone.
    Quantities: ``spearman`` of predicted and true grade; ``mae``, the mean absolute error, in grades; ``mae_of_mean``,
    that of always predicting the training subjects' mean; ``gain``, the second less the first, whose verdict is
    :data:`BEATS` where the whole 95 % interval is above zero. Limits are null with fewer subjects than
    :data:`~faceneuro.evaluation.monotony.LEAST`.
    """
    rows = []
    patients = (predicted["group"] == positive).to_numpy()
    whom = {EVERYONE: np.ones(len(predicted), bool)}
    if patients.any() and not patients.all():
        whom[PATIENTS] = patients
    for among, members in whom.items():
        true, guess, mean = (predicted[name].to_numpy(float)[members] for name in ("severity", "predicted", "mean"))
        if not len(true):
            continue
        every, drawn = np.arange(len(true)), draws(len(true), resamples, seed)
        error, error_of_mean = np.abs(guess - true), np.abs(mean - true)
        quantities = {
            "spearman": lambda who, true=true, guess=guess: spearman(guess[who], true[who]),
            "mae": lambda who, error=error: error[who].mean(-1),
            "mae_of_mean": lambda who, error=error_of_mean: error[who].mean(-1),
            "gain": lambda who, gain=error_of_mean - error: gain[who].mean(-1),
        }
        for quantity, of in quantities.items():
            value = float(of(every))
            enough = len(true) >= LEAST and not np.isnan(value)
            low, high = percentile_interval(of(drawn)) if enough else (np.nan, np.nan)
            rows.append(
                {
                    "among": among,
                    "quantity": quantity,
                    "value": value,
                    "ci_low": low,
                    "ci_high": high,
                    "n_subjects": len(true),
                    "verdict": _verdict(low, high) if quantity == "gain" else "",
                }
            )
    return pd.DataFrame(rows, columns=SCORES)


def _verdict(low: float, high: float) -> str:
    if np.isnan(low):
        return TOO_FEW
    return BEATS if low > 0 else WORSE if high < 0 else NOT_SHOWN
