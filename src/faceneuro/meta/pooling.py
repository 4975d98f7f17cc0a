"""Random-effects models: the heterogeneity variance, the pooled estimate, meta-regression.

Study i reports an effect y_i with a known sampling variance v_i. Its true effect is x_i' b plus a deviation of variance
tau2, the heterogeneity variance; the random-effects model of a plain meta-analysis has the intercept as its only x.
With W = diag(1 / (v_i + tau2)), everything below is made of

    P = W - W X (X' W X)^-1 X' W,

which turns effects into weighted residuals. P is never formed: it is the diagonal W less a product of thin matrices, so
thousands of studies are no burden.

Units: effects and estimates have the unit of the effect size, variances and tau2 its square.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.optimize import brentq

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

METHODS = ("REML", "ML", "DL", "HE", "PM", "EB", "SJ", "FE")
"""Estimators of tau2; FE, the fixed-effect model, sets it to 0."""

TESTS = ("z", "knapp_hartung")
"""Standard errors and tests of the coefficients: normal, or rescaled with Student's t."""

GRID_STEP = 0.1
"""Of the search for likelihood maxima, in log(tau2 + smallest variance)."""


@dataclass(frozen=True)
class Regression:
    """A fitted meta-regression with p coefficients; see :func:`regress`."""

    method: str
    test: str
    k: int
    p: int
    coefficients: Vector
    covariance: Matrix
    se: Vector
    statistic: Vector
    p_value: Vector
    ci_low: Vector
    ci_high: Vector
    df: float
    """Degrees of freedom of the coefficients' tests, infinite for z."""
    tau2: float
    tau2_se: float
    i2: float
    """Percent."""
    h2: float
    q: float
    q_df: int
    q_p_value: float
    log_likelihood: float
    """Restricted for REML, full otherwise."""
    weights: Vector
    """Shape (k,), sum 1."""


@dataclass(frozen=True)
class Pooled:
    """A pooled estimate and its heterogeneity; see :func:`pool`."""

    method: str
    test: str
    k: int
    estimate: float
    se: float
    statistic: float
    p_value: float
    ci_low: float
    ci_high: float
    pi_low: float
    pi_high: float
    tau2: float
    tau2_se: float
    i2: float
    """Percent, from tau2; from Q for FE."""
    h2: float
    i2_q: float
    """Percent, from Q."""
    h2_q: float
    q: float
    q_df: int
    q_p_value: float
    log_likelihood: float
    """Restricted for REML, full otherwise."""
    weights: Vector
    """Shape (k,), sum 1."""


def heterogeneity_variance(
    effects: npt.ArrayLike, variances: npt.ArrayLike, method: str = "REML", design: npt.ArrayLike | None = None
) -> float:
    """Estimate tau2, the variance of the true effects around their mean or regression line.

    Each estimate is exact to rounding. ``PM`` and ``EB`` solve the same equation, Q(tau2) = k - p, which has one root
    at most. The likelihoods of ``ML`` and ``REML`` can have several maxima; all are bracketed and the highest is taken,
    the boundary 0 included. ``DL``, ``HE`` and ``SJ`` are closed expressions. Negative estimates become 0.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), the latter above 0.
    method
        One of :data:`METHODS`.
    design
        Shape (k, p), of full column rank; a column of ones if left out.

    Returns
    -------
    tau2, at least 0, in squared units of the effects; 0 if there are no more studies than coefficients.

    Raises
    ------
    ValueError
        If there is no study, lengths differ, a value is not finite, a variance is not positive, the design lacks rank
        or the method is unknown.

    References
    ----------
    DL: DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 1986. HE: Hedges and
    Olkin, Statistical Methods for Meta-Analysis, 1985, chapter 9. PM: Paule and Mandel, "Consensus values and weighting
    factors", Journal of Research of the National Bureau of Standards 1982. SJ: Sidik and Jonkman, "Simple heterogeneity
    variance estimation for meta-analysis", Journal of the Royal Statistical Society C 2005. ML, REML, EB, and all of
    them compared: Viechtbauer, "Bias and efficiency of meta-analytic variance estimators in the random-effects model",
    Journal of Educational and Behavioral Statistics 2005.
    """
    y, v = _studies(effects, variances)
    x = np.ones((len(y), 1)) if design is None else _design(design, len(y))
    _known(method, METHODS, "method")
    if len(y) <= x.shape[1]:
        return 0.0
    return _tau2(_model(y, v, x), method)


def regress(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    design: npt.ArrayLike,
    method: str = "REML",
    test: str = "z",
    level: float = 0.95,
    tau2: float | None = None,
) -> Regression:
    """Fit a meta-regression: weighted least squares with weights 1 / (v_i + tau2).

    With ``test="knapp_hartung"`` the covariance is multiplied by the weighted residual mean square and the tests use
    Student's t with k - p degrees of freedom; the factor may be below 1.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), the latter above 0.
    design
        Shape (k, p), of full column rank. An intercept is a column like any other.
    method
        Estimator of tau2, one of :data:`METHODS`.
    test
        One of :data:`TESTS`.
    level
        Of the confidence intervals, between 0 and 1.
    tau2
        If given, it is taken as known and not estimated.

    Returns
    -------
    The fit. ``i2`` and ``h2`` compare tau2 with the typical sampling variance (k - p) / tr P at tau2 = 0; for ``FE``
    they come from Q. ``q`` is the residual heterogeneity at tau2 = 0 and its p-value that of chi-squared. ``tau2_se``
    is the asymptotic standard error that belongs to the method: from the Fisher information for ML and REML, from the
    variance of the quadratic form else; NaN where tau2 was given or set to 0 by ``FE``. What needs residual degrees of
    freedom (heterogeneity, Knapp-Hartung) is NaN where k = p.

    Raises
    ------
    ValueError
        As :func:`heterogeneity_variance`; and if there are fewer studies than coefficients, the test is unknown, the
        level is not between 0 and 1, or the given tau2 is negative.

    References
    ----------
    Knapp and Hartung, "Improved tests for a random effects meta-regression with a single covariate", Statistics in
    Medicine 2003. I2 and H2: Higgins and Thompson, "Quantifying heterogeneity in a meta-analysis", Statistics in
    Medicine 2002. Standard errors of tau2: Viechtbauer 2005, see :func:`heterogeneity_variance`.
    """
    y, v = _studies(effects, variances)
    x = _design(design, len(y))
    _known(method, METHODS, "method")
    _known(test, TESTS, "test")
    _fraction(level)
    if tau2 is not None:
        _given(tau2, method)
    k, p = x.shape
    if k < p:
        raise ValueError(f"{p} coefficients cannot be estimated from {k} studies")
    model = _model(y, v, x)
    residual_df = k - p
    estimated = tau2 is None and method != "FE" and residual_df > 0
    between = _tau2(model, method) if estimated else float(tau2 or 0)
    fit = _fit(model, between)

    unscaled = np.linalg.inv(fit.information)
    df, factor = math.inf, 1.0
    if test == "knapp_hartung":
        df, factor = residual_df, float(fit.q) / residual_df if residual_df else math.nan
    covariance = factor * model.back @ unscaled @ model.back.T
    coefficients = model.back @ (model.offset + fit.coefficients)
    se = np.sqrt(np.diag(covariance))
    with np.errstate(divide="ignore", invalid="ignore"):
        # Without any residual the Knapp-Hartung standard error is 0.
        statistic = coefficients / se
    margin = _quantile(level, df) * se

    q = float(_fit(model, 0.0).q) if residual_df else 0.0
    i2, h2 = _relative_to_q(q, residual_df) if method == "FE" else _relative_to_tau2(between, model)
    return Regression(
        method=method,
        test=test,
        k=k,
        p=p,
        coefficients=coefficients,
        covariance=covariance,
        se=se,
        statistic=statistic,
        p_value=_two_sided(statistic, df),
        ci_low=coefficients - margin,
        ci_high=coefficients + margin,
        df=float(df),
        tau2=between,
        tau2_se=_tau2_se(model, method, between) if estimated else math.nan,
        i2=i2,
        h2=h2,
        q=q,
        q_df=residual_df,
        q_p_value=chi2_tail(q, residual_df),
        log_likelihood=float(_log_likelihood(model, fit, restricted=method == "REML")),
        weights=fit.weights / fit.weights.sum(),
    )


def pool(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    method: str = "REML",
    test: str = "z",
    level: float = 0.95,
    tau2: float | None = None,
) -> Pooled:
    """Pool the effects of several studies.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), the latter above 0.
    method
        Estimator of tau2, one of :data:`METHODS`.
    test
        One of :data:`TESTS`.
    level
        Of the confidence and the prediction interval, between 0 and 1.
    tau2
        If given, it is taken as known and not estimated.

    Returns
    -------
    The estimate and its heterogeneity; for ``i2``, ``h2`` and ``tau2_se`` see :func:`regress`. ``i2_q`` and ``h2_q``
    are (Q - df) / Q and Q / df, at least 0 and 1. The prediction interval uses the quantile of the test, normal or
    Student's t with k - 1 degrees of freedom; :func:`prediction_interval` takes others. It is NaN for ``FE``. A single
    study is its own estimate with tau2 = 0; its heterogeneity, its prediction interval and the Knapp-Hartung standard
    error are NaN.

    Raises
    ------
    ValueError
        As :func:`regress`.

    References
    ----------
    DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials 1986. I2 and H2: Higgins and
    Thompson, "Quantifying heterogeneity in a meta-analysis", Statistics in Medicine 2002. Knapp and Hartung 2003, see
    :func:`regress`.
    """
    y, v = _studies(effects, variances)
    fit = regress(y, v, np.ones((len(y), 1)), method, test, level, tau2)
    estimate, se = float(fit.coefficients[0]), float(fit.se[0])
    no_prediction = method == "FE" or fit.k == 1
    pi_low, pi_high = (
        (math.nan, math.nan) if no_prediction else prediction_interval(estimate, se, fit.tau2, fit.df, level)
    )
    i2_q, h2_q = _relative_to_q(fit.q, fit.q_df)
    return Pooled(
        method=method,
        test=test,
        k=fit.k,
        estimate=estimate,
        se=se,
        statistic=float(fit.statistic[0]),
        p_value=float(fit.p_value[0]),
        ci_low=float(fit.ci_low[0]),
        ci_high=float(fit.ci_high[0]),
        pi_low=pi_low,
        pi_high=pi_high,
        tau2=fit.tau2,
        tau2_se=fit.tau2_se,
        i2=fit.i2,
        h2=fit.h2,
        i2_q=i2_q,
        h2_q=h2_q,
        q=fit.q,
        q_df=fit.q_df,
        q_p_value=fit.q_p_value,
        log_likelihood=fit.log_likelihood,
        weights=fit.weights,
    )


def prediction_interval(estimate: float, se: float, tau2: float, df: float, level: float = 0.95) -> tuple[float, float]:
    """Where the true effect of a new study is expected: estimate -/+ quantile * sqrt(tau2 + se^2).

    Parameters
    ----------
    estimate, se, tau2
        Of a random-effects model.
    df
        Of Student's t: infinite for the normal, k - 1 to go with Knapp-Hartung, k - 2 as Higgins et al. propose.
    level
        Between 0 and 1.

    Returns
    -------
    Lower and upper limit; NaN where ``df`` is not above 0.

    References
    ----------
    Higgins, Thompson and Spiegelhalter, "A re-evaluation of random-effects meta-analysis", Journal of the Royal
    Statistical Society A 2009.
    """
    _fraction(level)
    margin = float(_quantile(level, df)) * math.sqrt(tau2 + se**2)
    return estimate - margin, estimate + margin


def tau2_interval(effects: npt.ArrayLike, variances: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of tau2 by the Q-profile method.

    Q(tau2), the weighted residual sum of squares with weights 1 / (v_i + tau2), is chi-squared with k - 1 degrees of
    freedom at the true tau2 and falls as tau2 grows; the limits are where it meets the quantiles.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), the latter above 0.
    level
        Between 0 and 1.

    Returns
    -------
    Lower and upper limit. A limit below 0, outside the parameter space, is 0; both are 0 where the effects agree
    better than chance would have it. NaN for a single study.

    Raises
    ------
    ValueError
        As :func:`heterogeneity_variance`, or if the level is not between 0 and 1.

    References
    ----------
    Viechtbauer, "Confidence intervals for the amount of heterogeneity in meta-analysis", Statistics in Medicine 2007.
    """
    y, v = _studies(effects, variances)
    _fraction(level)
    df = len(y) - 1
    if not df:
        return math.nan, math.nan
    model = _model(y, v, np.ones((len(y), 1)))
    upper_tail = (1 - level) / 2
    return (
        _profile(model, float(special.chdtri(df, upper_tail))),
        _profile(model, float(special.chdtri(df, 1 - upper_tail))),
    )


def chi2_tail(statistic: float, df: int) -> float:
    """Probability that chi-squared exceeds a statistic; NaN without degrees of freedom."""
    return float(special.chdtrc(df, statistic)) if df else math.nan


class _Model(NamedTuple):
    """Studies made ready for computing: effects as residuals, a well-conditioned design, the way back from it."""

    y: Vector
    v: Vector
    x: Matrix
    outer: Matrix  # (k, p * p): products of the columns of x
    offset: Vector  # coefficients, in terms of x, of what was taken off the effects
    back: Matrix  # turns coefficients of x into coefficients of the design as given
    spread: float  # maximum likelihood variance of the effects as given


class _Fit(NamedTuple):
    """Weighted least squares at one tau2, or along leading axes at many."""

    weights: Vector
    information: Matrix
    coefficients: Vector
    residuals: Vector
    q: Vector


def _model(y: Vector, v: Vector, design: Matrix) -> _Model:
    p = design.shape[1]
    # Orthonormal columns keep years and the like from spoiling the normal equations; a single column cannot.
    x, triangle = np.linalg.qr(design) if p > 1 else (design, np.eye(1))
    scale = np.linalg.norm(design, axis=0)
    if not np.all(scale > 0) or np.linalg.matrix_rank(design / scale) < p:
        raise ValueError(f"the {p} columns of the design are not linearly independent")
    # Taking the fixed-effect fit off first keeps digits where the effects are far from 0 or a study is very precise.
    root = 1 / np.sqrt(v)
    offset = np.linalg.lstsq(root[:, None] * x, root * y)[0]
    outer = (x[:, :, None] * x[:, None, :]).reshape(len(y), -1)
    spread = float(np.var(y)) if np.ptp(y) else 0.0
    return _Model(y - x @ offset, v, x, outer, offset, np.linalg.inv(triangle), spread)


def _fit(model: _Model, tau2: float | Vector) -> _Fit:
    p = model.x.shape[1]
    weights = 1 / (model.v + np.asarray(tau2)[..., None])
    information = (weights @ model.outer).reshape(*weights.shape[:-1], p, p)
    moments = (weights * model.y) @ model.x
    coefficients = np.linalg.solve(information, moments[..., None])[..., 0]
    residuals = model.y - coefficients @ model.x.T
    return _Fit(weights, information, coefficients, residuals, (weights * residuals**2).sum(-1))


def _score(model: _Model, tau2: float | Vector, restricted: bool) -> Vector:
    """Twice the derivative of the log-likelihood: y' P P y less tr P (REML) or tr W (ML)."""
    fit = _fit(model, tau2)
    trace = fit.weights.sum(-1)
    if restricted:
        squared = (fit.weights**2 @ model.outer).reshape(fit.information.shape)
        trace = trace - np.trace(np.linalg.solve(fit.information, squared), axis1=-2, axis2=-1)
    return ((fit.weights * fit.residuals) ** 2).sum(-1) - trace


def _log_likelihood(model: _Model, fit: _Fit, restricted: bool) -> Vector:
    k, p = model.x.shape
    twice = np.log(fit.weights).sum(-1) - fit.q
    if not restricted:
        return (twice - k * math.log(2 * math.pi)) / 2
    # The determinant of X'X makes the value independent of how the design is coded.
    ratio = np.linalg.slogdet(model.x.T @ model.x)[1] - np.linalg.slogdet(fit.information)[1]
    return (twice + ratio - (k - p) * math.log(2 * math.pi)) / 2


def _tau2(model: _Model, method: str) -> float:
    match method:
        case "REML" | "ML":
            return _likeliest(model, restricted=method == "REML")
        case "PM" | "EB":
            k, p = model.x.shape
            return _profile(model, k - p)
        case "DL":
            return _dersimonian_laird(model)
        case "HE":
            return _hedges_olkin(model)
        case "SJ":
            return _sidik_jonkman(model)
        case _:
            return 0.0


def _likeliest(model: _Model, restricted: bool) -> float:
    """The tau2 of the highest likelihood: brackets of all local maxima on a grid, refined, and 0."""
    lowest, highest = model.v.min(), model.v.max()
    k, p = model.x.shape
    # Beyond this bound the score is negative. With s the residual mean square of ordinary least squares,
    # y' P P y <= (k - p) s / (tau2 + lowest)^2 and tr P >= (k - p) / (tau2 + highest).
    s = _unweighted_rss(model) / (k - p)
    bound = (s + math.sqrt(s**2 + 4 * s * (highest - lowest))) / 2 - lowest
    if bound <= 0:
        return 0.0
    # In log(tau2 + lowest) the score is analytic as far as pi off the real axis: its singularities, as those of the
    # weights, are where tau2 is real and below -lowest. So it cannot wiggle between points that are 0.1 apart.
    end = math.log1p(1.01 * bound / lowest)
    grid = lowest * np.expm1(np.linspace(0, end, 2 + math.ceil(end / GRID_STEP)))
    block = max(1, 1_000_000 // k)
    signs = np.concatenate(
        [_score(model, grid[i : i + block], restricted) for i in range(0, len(grid), block)],
    )
    rises = np.flatnonzero((signs[:-1] > 0) & (signs[1:] <= 0))
    candidates = [_root(lambda t: float(_score(model, t, restricted)), grid[i], grid[i + 1]) for i in rises]
    if signs[0] <= 0:
        candidates.insert(0, 0.0)
    return max(candidates, key=lambda t: float(_log_likelihood(model, _fit(model, t), restricted)), default=0.0)


def _profile(model: _Model, target: float) -> float:
    """The tau2 where Q(tau2) has come down to a target, 0 if it starts below."""
    if float(_fit(model, 0.0).q) <= target:
        return 0.0
    # Q(tau2) <= rss / (tau2 + lowest), rss by ordinary least squares, so that the root is not beyond this.
    bound = _unweighted_rss(model) / target - model.v.min()
    return _root(lambda t: float(_fit(model, t).q) - target, 0.0, 1.01 * bound)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from positive at low to negative at high is 0, to the last digits."""
    # Rounding may leave an end that is itself the root on the wrong side.
    if function(low) <= 0:
        return float(low)
    if function(high) >= 0:
        return float(high)
    return float(brentq(function, low, high, xtol=np.finfo(float).tiny, rtol=4 * np.finfo(float).eps, maxiter=1000))


def _unweighted_rss(model: _Model) -> float:
    coefficients = np.linalg.lstsq(model.x, model.y)[0]
    return float(((model.y - model.x @ coefficients) ** 2).sum())


def _dersimonian_laird(model: _Model) -> float:
    k, p = model.x.shape
    return max(0.0, (float(_fit(model, 0.0).q) - (k - p)) / float(_diagonal(model, 1 / model.v).sum()))


def _hedges_olkin(model: _Model) -> float:
    k, p = model.x.shape
    return max(0.0, (_unweighted_rss(model) - float(_diagonal(model, np.ones(k)) @ model.v)) / (k - p))


def _sidik_jonkman(model: _Model) -> float:
    k, p = model.x.shape
    # The crude start, of denominator k, is that of the paper.
    return model.spread * float(_fit(model, model.spread).q) / (k - p)


def _tau2_se(model: _Model, method: str, tau2: float) -> float:
    """Asymptotic standard error of an estimate of tau2."""
    k, p = model.x.shape
    weights = 1 / (model.v + tau2)
    match method:
        case "ML":
            return math.sqrt(2 / float(weights @ weights))
        case "REML":
            return math.sqrt(2 / _trace_twice(model, weights, np.ones(k)))
        case "PM" | "EB":
            return math.sqrt(2 * k**2 / (k - p)) / float(weights.sum())
    # The others are quadratic forms y' A y less a constant, of variance 2 tr(A S A S) with S = V + tau2 I; A is a
    # multiple of P at weights of their own.
    form, multiple = {
        "DL": (1 / model.v, 1 / float(_diagonal(model, 1 / model.v).sum())),
        "HE": (np.ones(k), 1 / (k - p)),
        "SJ": (1 / (model.v + model.spread), model.spread / (k - p)),
    }[method]
    return multiple * math.sqrt(2 * _trace_twice(model, form, model.v + tau2))


def _diagonal(model: _Model, weights: Vector) -> Vector:
    """The diagonal of P, w_i (1 - leverage of i)."""
    p = model.x.shape[1]
    terms = weights[:, None] * model.outer
    # By the matrix determinant lemma 1 - leverage is the share that the other studies have in what all know. Next to
    # one study that knows nearly everything a difference would leave nothing of it.
    others, everything = (np.linalg.det(part.reshape(-1, p, p)) for part in (_sums_of_others(terms), terms.sum(0)))
    return weights * others / everything


def _trace_twice(model: _Model, weights: Vector, diagonal: Vector) -> float:
    """The trace of P D P D, D diagonal: the sum of d_i d_j P_ij^2."""
    information = (model.x.T * weights) @ model.x
    # P_ij is -u_i' u_j off the diagonal, and its square the product of the outer products.
    u = np.linalg.solve(np.linalg.cholesky(information), (weights[:, None] * model.x).T).T
    squares = diagonal[:, None] * (u[:, :, None] * u[:, None, :]).reshape(len(u), -1)
    return float(((diagonal * _diagonal(model, weights)) ** 2).sum() + (squares * _sums_of_others(squares)).sum())


def _sums_of_others(rows: Matrix) -> Matrix:
    """For every row the sum of all others, by what came before and after it: nothing cancels."""
    sums = np.zeros_like(rows)
    sums[1:] += np.cumsum(rows[:-1], axis=0)
    sums[:-1] += np.cumsum(rows[:0:-1], axis=0)[::-1]
    return sums


def _relative_to_tau2(tau2: float, model: _Model) -> tuple[float, float]:
    k, p = model.x.shape
    if k == p:
        return math.nan, math.nan
    typical = (k - p) / float(_diagonal(model, 1 / model.v).sum())
    return 100 * tau2 / (tau2 + typical), tau2 / typical + 1


def _relative_to_q(q: float, df: int) -> tuple[float, float]:
    if not df:
        return math.nan, math.nan
    return (100 * (q - df) / q, q / df) if q > df else (0.0, 1.0)


def _quantile(level: float, df: float) -> float:
    """Half width of a central interval, in standard errors."""
    if math.isinf(df):
        return float(special.ndtri((1 + level) / 2))
    return float(special.stdtrit(df, (1 + level) / 2)) if df > 0 else math.nan


def _two_sided(statistic: Vector, df: float) -> Vector:
    return 2 * (special.ndtr(-abs(statistic)) if math.isinf(df) else special.stdtr(df, -abs(statistic)))


def _studies(effects: npt.ArrayLike, variances: npt.ArrayLike) -> tuple[Vector, Vector]:
    y, v = np.asarray(effects, float), np.asarray(variances, float)
    if y.ndim != 1 or y.shape != v.shape:
        raise ValueError(f"effects and variances must be two vectors of one length, not of shape {y.shape}, {v.shape}")
    if not len(y):
        raise ValueError("there is no study to pool")
    for name, values in {"effect": y, "variance": v}.items():
        if not np.isfinite(values).all():
            worst = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"the {name} of study {worst + 1} is not finite: {values[worst]}")
    if not (v > 0).all():
        worst = int(np.flatnonzero(v <= 0)[0])
        raise ValueError(f"the variance of study {worst + 1} is not positive: {v[worst]}")
    return y, v


def _design(design: npt.ArrayLike, k: int) -> Matrix:
    x = np.asarray(design, float)
    if x.ndim != 2 or len(x) != k or not x.shape[1]:
        raise ValueError(f"the design of {k} studies must have shape ({k}, p), not {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("the design has a value that is not finite")
    return x


def _known(value: str, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {what} {value!r}; it is one of {', '.join(allowed)}")


def _fraction(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def _given(tau2: float, method: str) -> None:
    if not 0 <= tau2 < math.inf:
        raise ValueError(f"tau2 must be a number of at least 0, not {tau2}")
    if method == "FE" and tau2:
        raise ValueError("the fixed-effect model has no tau2 other than 0")
