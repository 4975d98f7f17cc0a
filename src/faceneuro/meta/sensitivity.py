"""How much a pooled estimate hangs on single studies."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.meta.pooling import Pooled, Vector, pool


@dataclass(frozen=True)
class Baujat:
    """Coordinates of a Baujat plot, shape (k,); see :func:`baujat`."""

    contribution: Vector
    influence: Vector


@dataclass(frozen=True)
class Influence:
    """Deletion diagnostics, shape (k,); see :func:`influence`."""

    rstudent: Vector
    dffits: Vector
    cook: Vector
    covariance_ratio: Vector
    hat: Vector
    tau2_deleted: Vector
    q_deleted: Vector


def leave_one_out(
    effects: npt.ArrayLike, variances: npt.ArrayLike, method: str = "REML", test: str = "z", level: float = 0.95
) -> list[Pooled]:
    """Pool k times, each time without one study.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), k at least 2, the latter above 0.
    method, test, level
        As of :func:`faceneuro.meta.pooling.pool`.

    Returns
    -------
    Entry i is the estimate without study i.

    Raises
    ------
    ValueError
        As :func:`faceneuro.meta.pooling.pool`, or if there is only one study.

    References
    ----------
    Viechtbauer and Cheung, "Outlier and influence diagnostics for meta-analysis", Research Synthesis Methods 2010.
    """
    # Pooled as a whole first, so that a bad value is named by its place among all studies.
    k = pool(effects, variances, method, test, level).k
    if k < 2:
        raise ValueError("leaving a study out needs two studies, there is 1")
    y, v = np.asarray(effects, float), np.asarray(variances, float)
    return [pool(np.delete(y, i), np.delete(v, i), method, test, level) for i in range(k)]


def cumulative(
    effects: npt.ArrayLike,
    variances: npt.ArrayLike,
    order: npt.ArrayLike,
    method: str = "REML",
    test: str = "z",
    level: float = 0.95,
) -> list[Pooled]:
    """Pool the studies as they came in.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), the latter above 0.
    order
        What they are ordered by, such as their years, shape (k,), none missing. Studies of equal value enter together.
    method, test, level
        As of :func:`faceneuro.meta.pooling.pool`.

    Returns
    -------
    One estimate per distinct value of ``order``, ascending, of all studies up to it.

    Raises
    ------
    ValueError
        As :func:`faceneuro.meta.pooling.pool`, or if ``order`` does not fit the studies.

    References
    ----------
    Lau et al., "Cumulative meta-analysis of therapeutic trials for myocardial infarction", New England Journal of
    Medicine 1992.
    """
    k = pool(effects, variances, method, test, level).k
    y, v, values = np.asarray(effects, float), np.asarray(variances, float), np.asarray(order)
    if values.shape != (k,) or pd.isna(values).any():
        raise ValueError(f"order must be a vector of {k} values, none missing")
    return [pool(y[values <= last], v[values <= last], method, test, level) for last in np.unique(values)]


def baujat(effects: npt.ArrayLike, variances: npt.ArrayLike, method: str = "REML") -> Baujat:
    """Which studies make the heterogeneity, and which of them move the estimate.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), k at least 2, the latter above 0.
    method
        Estimator of tau2, one of :data:`faceneuro.meta.pooling.METHODS`. Baujat's own plot is that of ``"FE"``.

    Returns
    -------
    ``contribution``: the squared Pearson residual (y_i - mu)^2 / (v_i + tau2); for ``FE`` these add up to Q.
    ``influence``: the squared change of the estimate when study i is left out, (mu - mu_(i))^2 / var(mu_(i)).

    Raises
    ------
    ValueError
        As :func:`leave_one_out`.

    References
    ----------
    Baujat et al., "A graphical method for exploring heterogeneity in meta-analyses", Statistics in Medicine 2002;
    for random effects as Viechtbauer, "Conducting meta-analyses in R with the metafor package", Journal of
    Statistical Software 2010, has it.
    """
    whole, without = pool(effects, variances, method), leave_one_out(effects, variances, method)
    y, v = np.asarray(effects, float), np.asarray(variances, float)
    estimates, errors = (np.array([getattr(one, name) for one in without]) for name in ("estimate", "se"))
    return Baujat(
        contribution=(y - whole.estimate) ** 2 / (v + whole.tau2),
        influence=(whole.estimate - estimates) ** 2 / errors**2,
    )


def influence(effects: npt.ArrayLike, variances: npt.ArrayLike, method: str = "REML") -> Influence:
    """What changes when a study is left out; a (i) marks what was estimated without study i, tau2 included.

    Parameters
    ----------
    effects, variances
        Effect sizes and their sampling variances, shape (k,), k at least 2, the latter above 0.
    method
        Estimator of tau2, one of :data:`faceneuro.meta.pooling.METHODS`.

    Returns
    -------
    ``rstudent``: the deleted residual y_i - mu_(i) over its standard error sqrt(v_i + tau2_(i) + var(mu_(i))).
    ``dffits``: mu - mu_(i) over sqrt(h_i (v_i + tau2_(i))).
    ``cook``: Cook's distance, (mu - mu_(i))^2 / var(mu).
    ``covariance_ratio``: var(mu_(i)) / var(mu).
    ``hat``: the leverage h_i, which in this model is the weight's share.
    ``tau2_deleted``, ``q_deleted``: tau2 and Q without study i.

    Raises
    ------
    ValueError
        As :func:`leave_one_out`.

    References
    ----------
    Viechtbauer and Cheung, "Outlier and influence diagnostics for meta-analysis", Research Synthesis Methods 2010.
    """
    whole, without = pool(effects, variances, method), leave_one_out(effects, variances, method)
    y, v = np.asarray(effects, float), np.asarray(variances, float)
    estimates, errors, tau2, q = (
        np.array([getattr(one, name) for one in without]) for name in ("estimate", "se", "tau2", "q")
    )
    change = whole.estimate - estimates
    return Influence(
        rstudent=(y - estimates) / np.sqrt(v + tau2 + errors**2),
        dffits=change / np.sqrt(whole.weights * (v + tau2)),
        cook=change**2 / whole.se**2,
        covariance_ratio=errors**2 / whole.se**2,
        hat=whole.weights,
        tau2_deleted=tau2,
        q_deleted=q,
    )
