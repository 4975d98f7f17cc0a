"""Several effect sizes from one article: the three-level model of meta-analysis."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from faceneuro.meta.pooling import heterogeneity_variance

Array = npt.NDArray[np.float64]

BOUNDARY = 1e-7
"""A variance below this part of the effects' own is 0."""


@dataclass(frozen=True)
class ThreeLevel:
    """A pooled estimate whose effect sizes lie within clusters; in the units of the effects.

    ``tau2_between`` is the variance of the clusters' true effects, ``tau2_within`` that of the true effects inside a
    cluster. ``df`` is inf for a z test. ``k`` counts effect sizes, ``clusters`` clusters.
    """

    estimate: float
    se: float
    statistic: float
    p_value: float
    ci_low: float
    ci_high: float
    df: float
    tau2_between: float
    tau2_within: float
    log_likelihood: float
    k: int
    clusters: int


@dataclass(frozen=True)
class _Fit:
    estimate: float
    information: float
    log_likelihood: float
    score: Array


def three_level(
    effects: npt.ArrayLike, variances: npt.ArrayLike, clusters: npt.ArrayLike, test: str = "t", level: float = 0.95
) -> ThreeLevel:
    """Pool effect sizes that share articles, by restricted maximum likelihood.

    Effect i of cluster j is mu + b_j + w_ij + e_ij with variances tau2_between, tau2_within and the known sampling
    variance. Two effect sizes of one article are then correlated, as people, recordings and methods are shared; taken
    as independent they would count for more than they tell.

    Parameters
    ----------
    effects, variances
        Effect sizes and sampling variances, shape (k,).
    clusters
        Label of the cluster (article) of each effect size, shape (k,).
    test
        ``"z"``, or ``"t"`` with one degree of freedom less than there are clusters.
    level
        Of the confidence interval.

    Returns
    -------
    The fit. If no cluster has two effect sizes, the spread inside clusters cannot be told from that between them; all
    of it is then called between, and the model is the usual one with two levels. With a single cluster the mean cannot
    be told from the cluster's own effect: every number is NaN then.

    Raises
    ------
    ValueError
        If the test is unknown, the shapes differ, or an effect or variance is not finite or a variance not positive.

    References
    ----------
    Konstantopoulos, "Fixed effects and variance components estimation in three-level meta-analysis", Research Synthesis
    Methods 2:61-76, 2011, section 2.3. Van den Noortgate et al., "Three-level meta-analysis of dependent effect sizes",
    Behavior Research Methods 45:576-594, 2013. The likelihood is Harville's ("Maximum likelihood approaches to variance
    component estimation and to related problems", Journal of the American Statistical Association 72:320-338, 1977,
    section 5), with the constant that makes it that of error contrasts.
    """
    y, v, labels = np.asarray(effects, float), np.asarray(variances, float), np.asarray(clusters)
    if test not in ("z", "t"):
        raise ValueError(f"the test is z or t, not {test}")
    if y.ndim != 1 or v.shape != y.shape or labels.shape != y.shape or not len(y):
        raise ValueError(f"effects, variances and clusters have shapes {y.shape}, {v.shape} and {labels.shape}")
    if not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all()):
        raise ValueError("effects must be finite, variances finite and positive")
    _, cluster = np.unique(labels, return_inverse=True)
    count = int(cluster.max()) + 1
    if count == 1:
        return ThreeLevel(*[float("nan")] * 10, k=len(y), clusters=1)
    if count == len(y):
        taus = np.array([heterogeneity_variance(y, v, "REML"), 0.0])
    else:
        taus = _variance_components(y, v, cluster)
    fit = _fit(taus, y, v, cluster)
    se = fit.information**-0.5
    df = count - 1 if test == "t" else np.inf
    quantile = stats.t.isf((1 - level) / 2, df)
    return ThreeLevel(
        estimate=fit.estimate,
        se=se,
        statistic=fit.estimate / se,
        p_value=float(2 * stats.t.sf(abs(fit.estimate / se), df)),
        ci_low=float(fit.estimate - quantile * se),
        ci_high=float(fit.estimate + quantile * se),
        df=float(df),
        tau2_between=float(taus[0]),
        tau2_within=float(taus[1]),
        log_likelihood=fit.log_likelihood,
        k=len(y),
        clusters=count,
    )


def _fit(taus: Array, y: Array, v: Array, cluster: npt.NDArray[np.intp]) -> _Fit:
    """Mean, information, restricted log-likelihood and its derivatives by the two variances.

    Inside a cluster the covariance matrix is diagonal plus a constant, so its inverse is a rank-one change of a
    diagonal (Sherman and Morrison) and nothing larger than a vector is needed.
    """
    between, within = taus

    def total(values: Array) -> Array:
        return np.bincount(cluster, values)

    weight = 1 / (v + within)
    precision = total(weight)
    shrinkage = 1 / (1 + between * precision)
    # The inverse times a vector of ones, and times the residuals.
    ones = weight * shrinkage[cluster]
    information = float((precision * shrinkage).sum())
    estimate = float((ones * y).sum() / information)
    weighted = weight * (y - estimate)
    residual = weighted - ones * (between * total(weighted))[cluster]
    k = len(y)
    log_likelihood = -0.5 * float(
        (k - 1) * np.log(2 * np.pi)
        - np.log(k)
        - np.log(weight).sum()
        - np.log(shrinkage).sum()
        + np.log(information)
        + ((y - estimate) * residual).sum()
    )
    # Traces of the projection matrix times the derivative of the covariance, against the residuals' squares.
    trace_between = (precision * shrinkage).sum() - ((precision * shrinkage) ** 2).sum() / information
    trace_within = weight.sum() - (between * shrinkage * total(weight**2)).sum() - (ones**2).sum() / information
    score = 0.5 * np.array([(total(residual) ** 2).sum() - trace_between, (residual**2).sum() - trace_within])
    return _Fit(estimate, information, log_likelihood, score)


def _variance_components(y: Array, v: Array, cluster: npt.NDArray[np.intp]) -> Array:
    """The two variances at the highest restricted likelihood.

    The likelihood may have several maxima, also on the boundary, so the climb starts from the best points of a grid,
    and from the best ones that have no spread between, or none within, the clusters.
    """
    # In units of the effects' own spread: where the grid lies and what is small must not depend on the unit.
    scale = float(np.var(y, ddof=1) + v.mean())
    y, v = (y - y.mean()) / np.sqrt(scale), v / scale

    def loss(taus: Array) -> tuple[float, Array]:
        fit = _fit(taus, y, v, cluster)
        return -fit.log_likelihood, -fit.score

    steps = [0.0, *np.geomspace(1e-3, 4, 11)]
    grid = sorted((np.array(taus) for taus in product(steps, steps)), key=lambda taus: loss(taus)[0])
    starts = grid[:3] + [next(taus for taus in grid if taus[i] == 0) for i in range(2)]
    found = [
        optimize.minimize(
            loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2, options={"ftol": 1e-15, "gtol": 1e-9}
        ).x
        for start in starts
    ]
    return scale * _stationary(min(found, key=lambda taus: loss(taus)[0]), loss)


def _stationary(taus: Array, loss: Callable[[Array], tuple[float, Array]]) -> Array:
    """The point nearby where the derivatives vanish: a search for the lowest value sees only half of the digits."""
    free = taus > BOUNDARY

    def at(values: Array) -> Array:
        full = np.zeros(2)
        full[free] = values
        return full

    if not free.any():
        return np.zeros(2)
    found = optimize.root(lambda values: loss(at(np.abs(values)))[1][free], taus[free], tol=1e-13)
    better = at(np.abs(found.x))
    return better if loss(better)[0] <= loss(taus)[0] + 1e-9 else at(taus[free])
