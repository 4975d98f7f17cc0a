"""Whether a property of the studies, a group or a number, goes with their effects."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.meta.pooling import Pooled, Regression, chi2_tail, pool, regress


@dataclass(frozen=True)
class Subgroups:
    """Estimates by group and the test that they are one; see :func:`subgroups`."""

    groups: dict[str, Pooled]
    q_between: float
    df: int
    p_value: float


def subgroups(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    labels: Iterable[str],
    method: str = "REML",
    test: str = "z",
    level: float = 0.95,
) -> Subgroups:
    """Pool each group of studies by itself, and test whether the groups differ.

    Every group has a heterogeneity variance of its own. The groups' estimates are then compared as if they were
    studies: Q_between is their squared deviation from their common mean, both weighted by 1 / se^2, and chi-squared
    with one degree of freedom less than there are groups.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), the latter above 0.
    labels
        Group of each study, k of them, none missing.
    method, test, level
        As of :func:`faceneuro.meta.pooling.pool`.

    Returns
    -------
    Groups in order of appearance. With a single group Q_between is 0 and its p-value NaN. Both are NaN where a group
    has no standard error: a single study under Knapp-Hartung.

    Raises
    ------
    ValueError
        As :func:`faceneuro.meta.pooling.pool`, or if the labels do not fit the studies.

    References
    ----------
    Hedges and Olkin, Statistical Methods for Meta-Analysis, 1985, chapter 7, for the test; Borenstein et al.,
    "Introduction to Meta-Analysis", 2009, chapter 19, for it with separate random-effects estimates.
    """
    y, v, of_study = np.asarray(effects, float), np.asarray(variances, float), list(labels)
    if len(of_study) != y.size or y.shape != v.shape:
        raise ValueError(f"effects, variances and labels differ in number: {y.size}, {v.size}, {len(of_study)}")
    if any(pd.isna(label) for label in of_study):
        raise ValueError("a study has no group")
    names = np.array([str(label) for label in of_study])
    groups = {
        name: pool(y[names == name], v[names == name], method, test, level) for name in dict.fromkeys(names.tolist())
    }
    if not groups:
        raise ValueError("there is no study to pool")
    df = len(groups) - 1
    estimates = np.array([group.estimate for group in groups.values()])
    with np.errstate(divide="ignore", invalid="ignore"):
        # Under Knapp-Hartung a group of equal effects has the standard error 0: then nothing can be weighted.
        weights = 1 / np.array([group.se for group in groups.values()]) ** 2
        # From the first group on, so that a single one deviates from itself by nothing.
        deviations = estimates - estimates[0]
        deviations = deviations - (weights * deviations).sum() / weights.sum()
        q_between = float((weights * deviations**2).sum()) if df else 0.0
    return Subgroups(groups, q_between, df, chi2_tail(q_between, df))


def meta_regression(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    moderator: npt.ArrayLike,
    method: str = "REML",
    test: str = "z",
    level: float = 0.95,
) -> Regression:
    """Regress the effects on one moderator.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), the latter above 0.
    moderator
        A number per study, such as its year, shape (k,).
    method, test, level
        As of :func:`faceneuro.meta.pooling.regress`.

    Returns
    -------
    The fit; its coefficients are the intercept and the slope, in units of the effect per unit of the moderator.

    Raises
    ------
    ValueError
        As :func:`faceneuro.meta.pooling.regress`: among others if the moderator is the same for all studies.

    References
    ----------
    Viechtbauer 2005, see :func:`faceneuro.meta.pooling.heterogeneity_variance`; Knapp and Hartung 2003, see
    :func:`faceneuro.meta.pooling.regress`.
    """
    x = np.asarray(moderator, float)
    if x.ndim != 1:
        raise ValueError(f"the moderator must be a vector, not of shape {x.shape}")
    return regress(effects, variances, np.column_stack([np.ones(len(x)), x]), method, test, level)
