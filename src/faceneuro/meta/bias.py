"""Whether small studies report other effects than large ones, as they do when unwelcome results stay unpublished."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from faceneuro.meta.moderation import meta_regression
from faceneuro.meta.pooling import Pooled, Vector, pool

LARGEST_EXACT = 170
"""Studies up to which Kendall's exact distribution is used; the factorial of a larger number overflows."""


@dataclass(frozen=True)
class BiasTest:
    """A test of funnel plot asymmetry."""

    statistic: float
    p_value: float
    df: float
    """Degrees of freedom of a t statistic; infinite for a normal one, NaN for a rank correlation."""


@dataclass(frozen=True)
class TrimAndFill:
    """Studies with those filled in; see :func:`trim_and_fill`."""

    k0: int
    side: str
    """Where studies are missing: left or right."""
    pooled: Pooled
    effects: Vector
    """Shape (k + k0,), the given ones first."""
    variances: Vector
    filled: npt.NDArray[np.bool_]


def egger(effects: npt.ArrayLike, variances: npt.ArrayLike, model: str = "random") -> BiasTest:
    """Egger's test: regress the effects on their standard errors and test the slope.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), k at least 3, the latter above 0.
    model
        ``"random"``: a random-effects meta-regression (REML), normal test. ``"weighted"``: the classical test, least
        squares weighted by 1 / v_i with the residual variance estimated, Student's t with k - 2 degrees of freedom.

    Returns
    -------
    The slope's statistic. Positive: small studies report larger effects. NaN where all variances are equal: then there
    is no slope.

    Raises
    ------
    ValueError
        As :func:`faceneuro.meta.pooling.pool`, or if there are fewer than three studies or the model is unknown.

    References
    ----------
    Egger et al., "Bias in meta-analysis detected by a simple, graphical test", BMJ 1997. Both models: Sterne and Egger,
    "Regression methods to detect publication and other bias in meta-analysis", in Publication Bias in Meta-Analysis,
    2005, chapter 6.
    """
    if model not in ("random", "weighted"):
        raise ValueError(f"unknown model {model!r}; it is one of random, weighted")
    k = pool(effects, variances, "FE").k
    if k < 3:
        raise ValueError(f"Egger's test needs three studies, there are {k}")
    errors = np.sqrt(np.asarray(variances, float))
    if not _differ(errors):
        return BiasTest(math.nan, math.nan, math.inf if model == "random" else float(k - 2))
    # Weighted least squares with a free residual variance is the fixed-effect model with the Knapp-Hartung factor.
    how = {"random": ("REML", "z"), "weighted": ("FE", "knapp_hartung")}[model]
    fit = meta_regression(effects, variances, errors, *how)
    return BiasTest(float(fit.statistic[1]), float(fit.p_value[1]), fit.df)


def begg(effects: npt.ArrayLike, variances: npt.ArrayLike) -> BiasTest:
    """Begg and Mazumdar's test: rank correlation between standardised effects and sampling variances.

    Effects are taken as deviations from the fixed-effect estimate, in units of their own standard error.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), k at least 2, the latter above 0.

    Returns
    -------
    Kendall's tau-b and its two-sided p-value: exact without ties, else normal with the variance corrected for ties and
    without a correction for continuity. NaN where all variances are equal.

    Raises
    ------
    ValueError
        As :func:`faceneuro.meta.pooling.pool`, or if there is only one study.

    References
    ----------
    Begg and Mazumdar, "Operating characteristics of a rank correlation test for publication bias", Biometrics 1994.
    Distribution: Kendall, Rank Correlation Methods, 1970.
    """
    fit = pool(effects, variances, "FE")
    if fit.k < 2:
        raise ValueError("a rank correlation needs two studies, there is 1")
    y, v = np.asarray(effects, float), np.asarray(variances, float)
    # The variance of a deviation from the mean, which each study pulls towards itself.
    deviates = (y - fit.estimate) / np.sqrt(v - fit.se**2)
    tied = len(np.unique(deviates)) < fit.k or len(np.unique(v)) < fit.k
    found = stats.kendalltau(
        deviates, v, variant="b", method="asymptotic" if tied or fit.k > LARGEST_EXACT else "exact"
    )
    return BiasTest(float(found.statistic), float(found.pvalue), math.nan)


def trim_and_fill(effects: npt.ArrayLike, variances: npt.ArrayLike, method: str = "REML") -> TrimAndFill:
    """Estimate how many studies one side of the funnel lacks, and pool with their mirror images filled in.

    Studies are missing on the side opposite to where the small ones lie: on the right if the regression of the effects
    on their standard errors slopes down, else on the left. Seen from there, the k0 most extreme studies of the other
    side are trimmed, the rest is pooled, and the ranks of all deviations from that give the next k0 = (4 T - k (k + 1))
    / (2 k - 1), T the rank sum of the positive ones, until it stays. Should the iteration run in a circle, the largest
    k0 of the circle is taken.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), k at least 3, the latter above 0.
    method
        Estimator of tau2 throughout, one of :data:`faceneuro.meta.pooling.METHODS`.

    Returns
    -------
    All studies, given and filled in, and their pooled estimate. Where all variances are equal nothing tells the side,
    and it is the left.

    Raises
    ------
    ValueError
        As :func:`faceneuro.meta.pooling.pool`, or if there are fewer than three studies.

    References
    ----------
    Duval and Tweedie, "Trim and fill: a simple funnel-plot-based method of testing and adjusting for publication bias
    in meta-analysis", Biometrics 2000, estimator L0.
    """
    pool(effects, variances, method)
    y, v = np.asarray(effects, float), np.asarray(variances, float)
    k = len(y)
    if k < 3:
        raise ValueError(f"trim and fill needs three studies, there are {k}")
    errors = np.sqrt(v)
    side = "right" if _differ(errors) and meta_regression(y, v, errors, method).coefficients[1] < 0 else "left"
    sign = -1 if side == "right" else 1
    # Mirrored, so that studies are always missing on the left. Equal effects are ordered by variance: the order in
    # which studies are given must not matter.
    order = np.lexsort((v, sign * y))
    mirrored, spread = sign * y[order], v[order]

    visited = [0]
    while True:
        centre = _centre(mirrored, spread, k - visited[-1], method)
        k0 = _missing(mirrored - centre)
        if k0 in visited:
            break
        visited.append(k0)
    k0 = max(visited[visited.index(k0) :])
    centre = _centre(mirrored, spread, k - k0, method)

    extreme = slice(k - k0, k)
    all_effects = np.concatenate([y, sign * (2 * centre - mirrored[extreme])])
    all_variances = np.concatenate([v, spread[extreme]])
    return TrimAndFill(
        k0=k0,
        side=side,
        pooled=pool(all_effects, all_variances, method),
        effects=all_effects,
        variances=all_variances,
        filled=np.arange(k + k0) >= k,
    )


def _differ(errors: Vector) -> bool:
    # By more than rounding: else a slope is 0 / 0.
    return bool(np.ptp(errors) > 1e-9 * errors.max())


def _centre(effects: Vector, variances: Vector, kept: int, method: str) -> float:
    return pool(effects[:kept], variances[:kept], method).estimate


def _missing(deviations: Vector) -> int:
    """Duval and Tweedie's L0 of deviations in ascending order, rounded."""
    k = len(deviations)
    # Of two equally far from the centre the first, the negative one, ranks lower.
    ranks = stats.rankdata(abs(deviations), method="ordinal")
    positive = int(ranks[deviations > 0].sum())
    return max(0, round((4 * positive - k * (k + 1)) / (2 * k - 1)))


def funnel_limits(
    pooled_estimate: float, se: npt.ArrayLike, level: float = 0.95, tau2: float = 0.0
) -> tuple[Vector, Vector]:
    """Within which limits studies are expected around a pooled estimate, if nothing keeps any away.

    Parameters
    ----------
    pooled_estimate
        Tip of the funnel.
    se
        Standard errors at which to compute the limits, shape (n,), at least 0.
    level
        Share of the studies that is expected inside, between 0 and 1.
    tau2
        Heterogeneity variance; at 0 the limits are the straight lines of a fixed-effect funnel.

    Returns
    -------
    Lower and upper limits, shape (n,).

    Raises
    ------
    ValueError
        If a standard error or tau2 is negative, or the level not between 0 and 1.

    References
    ----------
    Sterne and Egger, "Funnel plots for detecting bias in meta-analysis: guidelines on choice of axis", Journal of
    Clinical Epidemiology 2001.
    """
    errors = np.asarray(se, float)
    if not (errors >= 0).all() or not tau2 >= 0:
        raise ValueError("standard errors and tau2 must be at least 0")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    margin = special.ndtri((1 + level) / 2) * np.sqrt(errors**2 + tau2)
    return pooled_estimate - margin, pooled_estimate + margin
