"""Effect sizes that were not reported: multiple imputation and its combination by Rubin's rules."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from faceneuro.meta.pooling import pool

Array = npt.NDArray[np.float64]

NAN = float("nan")


@dataclass(frozen=True)
class Combined:
    """An estimate combined over imputed data sets.

    ``within`` is the mean sampling variance of the estimates, ``between`` their variance over the imputations,
    ``fraction_missing`` the share (0 to 1) of the information about the estimate that is missing.
    """

    estimate: float
    se: float
    statistic: float
    p_value: float
    ci_low: float
    ci_high: float
    df: float
    within: float
    between: float
    fraction_missing: float
    imputations: int


@dataclass(frozen=True)
class Imputed(Combined):
    """A pooled estimate in whose ``k`` effect sizes ``missing`` ones were imputed; no imputations where none is."""

    k: int
    missing: int


def rubin(
    estimates: npt.ArrayLike, variances: npt.ArrayLike, complete_df: float = np.inf, level: float = 0.95
) -> Combined:
    """Combine the estimates from several imputed data sets.

    Parameters
    ----------
    estimates, variances
        The estimate and its squared standard error in each completed data set, shape (m,), m at least 2.
    complete_df
        Degrees of freedom that the estimate would have without missing data; inf for a normal one.
    level
        Of the confidence interval.

    Returns
    -------
    The combination. Where the estimates do not differ at all, nothing is missing: the degrees of freedom are the
    complete ones.

    Raises
    ------
    ValueError
        If there are fewer than two imputations, or a variance is not positive.

    References
    ----------
    Rubin, Multiple Imputation for Nonresponse in Surveys, 1987, section 3.1. Barnard and Rubin, "Small-sample degrees
    of freedom with multiple imputation", Biometrika 86:948-955, 1999.
    """
    q, u = np.asarray(estimates, float), np.asarray(variances, float)
    m = len(q)
    if m < 2 or u.shape != q.shape:
        raise ValueError(f"{m} estimates with {len(u)} variances; two imputations are the least")
    if not (np.isfinite(q).all() and np.isfinite(u).all() and (u > 0).all()):
        raise ValueError("estimates must be finite, variances finite and positive")
    estimate, within, between = float(q.mean()), float(u.mean()), float(q.var(ddof=1))
    added = (1 + 1 / m) * between
    share = added / (within + added)
    df, fraction = float(complete_df), 0.0
    if share > 0:
        df = _degrees_of_freedom(m, share, complete_df)
        ratio = added / within
        fraction = (ratio + 2 / (df + 3)) / (ratio + 1)
    se = (within + added) ** 0.5
    quantile = stats.t.isf((1 - level) / 2, df)
    return Combined(
        estimate=estimate,
        se=se,
        statistic=estimate / se,
        p_value=float(2 * stats.t.sf(abs(estimate / se), df)),
        ci_low=float(estimate - quantile * se),
        ci_high=float(estimate + quantile * se),
        df=df,
        within=within,
        between=between,
        fraction_missing=fraction,
        imputations=m,
    )


def _degrees_of_freedom(m: int, share: float, complete_df: float) -> float:
    """Of Barnard and Rubin; they never exceed the complete ones. ``share`` is that of the variance due to missing."""
    from_imputations = (m - 1) / share**2
    if np.isinf(complete_df):
        return from_imputations
    observed = (complete_df + 1) / (complete_df + 3) * complete_df * (1 - share)
    return from_imputations * observed / (from_imputations + observed)


def pool_imputed(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    imputations: int = 100,
    seed: int = 1,
    method: str = "REML",
    level: float = 0.95,
) -> Imputed:
    """Pool effect sizes of which some are missing, by multiple imputation.

    Every imputation is proper: it draws the heterogeneity variance and the mean before it draws the effects, so that
    their uncertainty is carried on. Nothing is known of a missing effect but that it is one of its kind, so imputing
    cannot sharpen the estimate; it shows what the missing ones could do to it if they are missing at random. If they
    are missing because of what they were, no method that looks only at the others can tell.

    Parameters
    ----------
    effects
        Shape (k,), NaN where missing.
    variances
        Sampling variances, shape (k,); NaN only for a missing effect, and then drawn from the others.
    imputations
        How many; at least 2.
    seed
        Of all draws.
    method
        Estimator of the heterogeneity variance in the completed sets, one of :data:`faceneuro.meta.pooling.METHODS`.
    level
        Of the confidence interval.

    Returns
    -------
    The combined estimate; that of :func:`faceneuro.meta.pooling.pool` where nothing is missing, and NaN throughout
    where fewer than two effects are known. With fewer than four known ones the drawn heterogeneity has no mean, so the
    standard error does not settle however many imputations there are.

    Raises
    ------
    ValueError
        If the shapes differ, or a known effect lacks its variance.

    References
    ----------
    Rubin, Multiple Imputation for Nonresponse in Surveys, 1987, chapters 3 and 5. The heterogeneity variance is drawn
    by inverting the generalised Q statistic, a pivot: Viechtbauer, "Confidence intervals for the amount of
    heterogeneity in meta-analysis", Statistics in Medicine 26:37-52, 2007, section 3.
    """
    y, v = np.asarray(effects, float), np.asarray(variances, float)
    if y.ndim != 1 or v.shape != y.shape:
        raise ValueError(f"effects and variances have shapes {y.shape} and {v.shape}")
    missing = np.isnan(y)
    count, k = int(missing.sum()), len(y)
    if np.isnan(v[~missing]).any():
        raise ValueError("a known effect has no variance")
    if not count and k:
        return _complete(y, v, method, level)
    if k - count < 2:
        return Imputed(*[NAN] * 10, imputations=0, k=k, missing=count)
    random = np.random.default_rng(seed)
    estimates, squares = np.empty((2, imputations))
    for i in range(imputations):
        pooled = pool(*_completed(y, v, random), method=method)
        estimates[i], squares[i] = pooled.estimate, pooled.se**2
    return Imputed(**vars(rubin(estimates, squares, level=level)), k=k, missing=count)


def _complete(y: Array, v: Array, method: str, level: float) -> Imputed:
    pooled = pool(y, v, method=method, level=level)
    return Imputed(
        estimate=pooled.estimate,
        se=pooled.se,
        statistic=pooled.statistic,
        p_value=pooled.p_value,
        ci_low=pooled.ci_low,
        ci_high=pooled.ci_high,
        df=np.inf,
        within=pooled.se**2,
        between=0.0,
        fraction_missing=0.0,
        imputations=0,
        k=len(y),
        missing=0,
    )


def _completed(y: Array, v: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """One completed data set."""
    missing = np.isnan(y)
    known, sampling = y[~missing], v[~missing]
    tau2 = _draw_tau2(known, sampling, random)
    weights = 1 / (sampling + tau2)
    mean = random.normal(np.average(known, weights=weights), weights.sum() ** -0.5)
    variances = np.where(np.isnan(v), random.choice(sampling, len(v)), v)
    return np.where(missing, random.normal(mean, np.sqrt(tau2 + variances)), y), variances


def _draw_tau2(y: Array, v: Array, random: np.random.Generator) -> float:
    """A heterogeneity variance from its confidence distribution.

    At the true one, Q has a chi-squared distribution, and Q falls as the variance grows; so the variance whose Q is a
    draw from that distribution is a draw of the variance. Where even 0 has too small a Q, it is 0.
    """
    target = random.chisquare(len(y) - 1)

    def excess(tau2: float) -> float:
        weights = 1 / (v + tau2)
        return float((weights * (y - np.average(y, weights=weights)) ** 2).sum()) - target

    if excess(0.0) <= 0:
        return 0.0
    # Q is at most the sum of squares over tau2.
    highest = ((y - y.mean()) ** 2).sum() / target
    return float(optimize.brentq(excess, 0.0, highest * (1 + 1e-9), xtol=1e-12 * v.min(), rtol=1e-12))
