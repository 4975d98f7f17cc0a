import tracemalloc
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from faceneuro.meta.moderation import meta_regression, subgroups
from faceneuro.meta.pooling import (
    METHODS,
    TESTS,
    Pooled,
    heterogeneity_variance,
    pool,
    prediction_interval,
    regress,
    tau2_interval,
)

REFERENCE = Path(__file__).parent / "reference" / "meta_analysis"
EFFECTS = dict(iter(pd.read_csv(REFERENCE / "effects_input.csv").groupby("dataset", sort=False)))
EXPECTED = pd.read_csv(REFERENCE / "expected_results.csv")
PUBLISHED = EXPECTED.to_dict("records")
NAMES = {
    "tau2": "tau2",
    "se_tau2": "tau2_se",
    "mu": "estimate",
    "se": "se",
    "stat": "statistic",
    "pval": "p_value",
    "ci_lb": "ci_low",
    "ci_ub": "ci_high",
    "pi_lb": "pi_low",
    "pi_ub": "pi_high",
    "I2": "i2",
    "H2": "h2",
    "Q": "q",
    "Q_pval": "q_p_value",
    "loglik_reml": "log_likelihood",
}
RANDOM = tuple(method for method in METHODS if method != "FE")
ABSOLUTE_LATITUDE = [44, 55, 42, 52, 13, 44, 19, 13, 27, 42, 18, 33, 33]

# R's uniroot and SciPy's brentq are the same algorithm; this is the tolerance that metafor gives it.
as_metafor = partial(brentq, a=0, b=100, xtol=np.finfo(float).eps ** 0.25, rtol=4 * np.finfo(float).eps)


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    return EFFECTS[name]["yi"].to_numpy(), EFFECTS[name]["vi"].to_numpy()


def q_profile(tau2: float, y: np.ndarray, v: np.ndarray) -> float:
    w = 1 / (v + tau2)
    return float((w * (y - np.average(y, weights=w)) ** 2).sum())


def projection(v: np.ndarray, x: np.ndarray, tau2: float) -> np.ndarray:
    """P as the books have it, k by k."""
    w = np.diag(1 / (v + tau2))
    return w - w @ x @ np.linalg.inv(x.T @ w @ x) @ x.T @ w


def log_likelihood(y: np.ndarray, v: np.ndarray, x: np.ndarray, tau2: float, restricted: bool) -> float:
    """Density of the effects at their best fit, or of their error contrasts."""
    k, p = x.shape
    quadratic = y @ projection(v, x, tau2) @ y
    value = -np.log(v + tau2).sum() - quadratic - (k - p * restricted) * np.log(2 * np.pi)
    if restricted:
        information = x.T @ np.diag(1 / (v + tau2)) @ x
        value += np.linalg.slogdet(x.T @ x)[1] - np.linalg.slogdet(information)[1]
    return value / 2


def described(row: dict) -> str:
    return f"{row['dataset']}-{row['method']}-{row['test']}"


@pytest.mark.parametrize("row", PUBLISHED, ids=described)
def test_results_are_those_of_metafor(row):
    y, v = data(row["dataset"])
    test = {"z": "z", "knha": "knapp_hartung"}[row["test"]]
    # metafor's Paule-Mandel estimate is rounded, see below; all that follows from it is not.
    given_tau2 = row["tau2"] if row["method"] == "PM" else None
    found = pool(y, v, row["method"], test, tau2=given_tau2)
    assert found.k == row["k"]
    for column, name in NAMES.items():
        if column == "se_tau2" and given_tau2 is not None:
            assert np.isnan(found.tau2_se)
        else:
            assert getattr(found, name) == pytest.approx(row[column], rel=1e-9, abs=1e-15, nan_ok=True), column


@pytest.mark.parametrize("name", EFFECTS)
def test_paule_mandel_is_exact_where_metafor_rounds(name):
    y, v = data(name)
    row = EXPECTED.query("dataset == @name and method == 'PM'").iloc[0]
    found = pool(y, v, "PM")
    df = len(y) - 1
    assert q_profile(found.tau2, y, v) == pytest.approx(df, rel=1e-12)
    assert row["tau2"] == pytest.approx(as_metafor(lambda tau2: q_profile(tau2, y, v) - df), rel=1e-12)
    assert found.tau2 == heterogeneity_variance(y, v, "EB")

    def standard_error(tau2: float) -> float:
        return np.sqrt(2 * len(y) ** 2 / df) / (1 / (v + tau2)).sum()

    assert row["se_tau2"] == pytest.approx(standard_error(row["tau2"]), rel=1e-12)
    assert found.tau2_se == pytest.approx(standard_error(found.tau2), rel=1e-12)


def test_paule_mandel_of_equal_variances_is_the_closed_form():
    assert heterogeneity_variance(*data("edge_k3_equal_v"), "PM") == pytest.approx(0.05, rel=1e-14)


@pytest.mark.parametrize("name", ["bcg_logRR", "raudenbush", "pritz_PLO"])
def test_q_profile_limits_are_exact_where_metafor_rounds(name):
    y, v = data(name)
    row = pd.read_csv(REFERENCE / "expected_bias_tests.csv").set_index("dataset").loc[name]
    for found, column, tail in zip(tau2_interval(y, v), ("tau2_ci_lb", "tau2_ci_ub"), (0.025, 0.975), strict=True):
        quantile = stats.chi2.isf(tail, len(y) - 1)
        assert q_profile(found, y, v) == pytest.approx(quantile, rel=1e-12)
        rounded = as_metafor(lambda tau2, quantile=quantile: q_profile(tau2, y, v) - quantile)
        assert row[column] == pytest.approx(rounded, rel=1e-12)


def test_q_profile_limits_below_zero_are_zero():
    alike = np.full(6, 2.0)
    assert tau2_interval(alike, np.arange(1.0, 7)) == (0, 0)
    low, high = tau2_interval(np.array([0.0, 1, 2]), np.ones(3))
    assert low == 0
    assert high == pytest.approx(2 / stats.chi2.ppf(0.025, 2) - 1, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_thin_algebra_is_that_of_full_matrices(method, seed):
    random = np.random.default_rng(seed)
    k = 12
    v = random.uniform(0.05, 2, k)
    x = np.column_stack([np.ones(k), random.normal(0, 1, k), random.integers(0, 2, k)])
    y = x @ [1, 0.5, -1] + random.normal(0, np.sqrt(v + 1.5))
    found = regress(y, v, x, method)
    tau2, df = found.tau2, k - 3
    fixed, unweighted, weighted = projection(v, x, 0), projection(np.ones(k), x, 0), projection(v, x, tau2)
    crude = projection(v, x, np.var(y))
    diagonal, trace = np.diag(v), np.trace
    if method in ("REML", "ML"):
        grid = np.concatenate([[0], np.geomspace(1e-4, 1e3, 300)])
        best = max(log_likelihood(y, v, x, each, method == "REML") for each in grid)
        assert log_likelihood(y, v, x, tau2, method == "REML") >= best
        score = y @ weighted @ weighted @ y - trace(weighted if method == "REML" else np.diag(1 / (v + tau2)))
        assert abs(score) < 1e-10 or (tau2 == 0 and score < 0)
    expected = {
        "DL": lambda: (y @ fixed @ y - df) / trace(fixed),
        "HE": lambda: (y @ unweighted @ y - trace(unweighted @ diagonal)) / df,
        "SJ": lambda: np.var(y) * (y @ crude @ y) / df,
        "FE": lambda: 0,
    }
    if method in expected:
        assert tau2 == pytest.approx(max(0, expected[method]()), rel=1e-10)
    if method in ("PM", "EB") and tau2:
        assert y @ weighted @ y == pytest.approx(df, rel=1e-10)

    pp = trace(weighted @ weighted)
    spread = diagonal + tau2 * np.eye(k)
    error = {
        "ML": lambda: np.sqrt(2 / (1 / (v + tau2) ** 2).sum()),
        "REML": lambda: np.sqrt(2 / pp),
        "DL": lambda: np.sqrt(2 * trace(fixed @ spread @ fixed @ spread)) / trace(fixed),
        "HE": lambda: np.sqrt(2 * trace(unweighted @ spread @ unweighted @ spread)) / df,
        "SJ": lambda: np.sqrt(2 * trace(crude @ spread @ crude @ spread)) * np.var(y) / df,
        "FE": lambda: np.nan,
    }.get(method, lambda: np.sqrt(2 * k**2 / df) / (1 / (v + tau2)).sum())
    assert found.tau2_se == pytest.approx(error(), rel=1e-10, nan_ok=True)

    w = np.diag(1 / (v + tau2))
    covariance = np.linalg.inv(x.T @ w @ x)
    assert found.coefficients == pytest.approx(covariance @ x.T @ w @ y, rel=1e-10)
    assert found.se == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-10)
    assert found.q == pytest.approx(y @ fixed @ y, rel=1e-10)
    assert found.log_likelihood == pytest.approx(log_likelihood(y, v, x, tau2, method == "REML"), rel=1e-10)
    assert found.weights.sum() == pytest.approx(1)
    if method != "FE":
        assert found.h2 == pytest.approx(tau2 * trace(fixed) / df + 1, rel=1e-10)
    factor = y @ weighted @ y / df
    hartung = regress(y, v, x, method, "knapp_hartung")
    assert hartung.se == pytest.approx(found.se * np.sqrt(factor), rel=1e-10)
    assert hartung.p_value == pytest.approx(2 * stats.t.sf(abs(hartung.statistic), df), rel=1e-10)
    assert hartung.ci_high - hartung.coefficients == pytest.approx(stats.t.ppf(0.975, df) * hartung.se, rel=1e-10)


@pytest.mark.parametrize(
    ("y", "v", "expected"),
    [
        ([10.3, -0.3, 0.0], [8.776, 0.004, 0.042], 27.03),
        ([0.3, 0.1, 0.0, -12.3], [0.026, 0.015, 0.005, 9.815], 0.0055),
        ([0.0, -3.8, -0.03, 0.0, 1.12, -4.19], [0.0011, 1.0277, 0.001, 0.0004, 1.8887, 2.0251], 0.0),
    ],
)
def test_of_several_maxima_the_highest_is_taken(y, v, expected):
    y, v = np.array(y), np.array(v)
    grid = np.concatenate([[0], np.geomspace(1e-5, 1e3, 4000)])
    values = np.array([log_likelihood(y, v, np.ones((len(y), 1)), tau2, restricted=True) for tau2 in grid])
    local = (values >= np.append(values[1:], -np.inf)) & (values >= np.insert(values[:-1], 0, -np.inf))
    assert local.sum() == 2
    found = heterogeneity_variance(y, v)
    assert found == pytest.approx(expected, rel=0.01, abs=1e-12)
    assert log_likelihood(y, v, np.ones((len(y), 1)), found, restricted=True) >= values.max()


@given(
    st.lists(st.tuples(st.floats(-10, 10), st.floats(-4, 1)), min_size=2, max_size=8),
    st.sampled_from(["REML", "ML"]),
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_no_tau2_is_likelier(studies, method):
    y, v = np.array([effect for effect, _ in studies]), 10.0 ** np.array([log for _, log in studies])
    x, restricted = np.ones((len(y), 1)), method == "REML"
    found = heterogeneity_variance(y, v, method)
    others = max(log_likelihood(y, v, x, tau2, restricted) for tau2 in [0, *np.geomspace(1e-6, 1e4, 200)])
    best = log_likelihood(y, v, x, found, restricted)
    # The reference loses digits where a variance is tiny, our estimate does not.
    assert best >= others - 1e-8 * max(1, abs(best))


def test_one_study_may_know_nearly_everything():
    y, v = [3.0, 3.5, -0.25, 4.0], [2.0**-40, 0.5, 1.0, 2.0]
    w = [1 / Fraction(each) for each in v]
    p = [[w[i] * (i == j) - w[i] * w[j] / sum(w) for j in range(4)] for i in range(4)]
    mean = sum(a * Fraction(b) for a, b in zip(w, y, strict=True)) / sum(w)
    q = sum(a * (Fraction(b) - mean) ** 2 for a, b in zip(w, y, strict=True))
    trace = sum(p[i][i] for i in range(4))
    tau2 = (q - 3) / trace
    found = pool(y, v, "DL")
    assert found.q == pytest.approx(float(q), rel=1e-14)
    assert found.tau2 == pytest.approx(float(tau2), rel=1e-14)
    assert found.h2 == pytest.approx(float(tau2 * trace / 3 + 1), rel=1e-14)
    spread = [Fraction(each) + tau2 for each in v]
    twice = sum(p[i][j] ** 2 * spread[i] * spread[j] for i in range(4) for j in range(4))
    assert found.tau2_se == pytest.approx(float(np.sqrt(float(2 * twice))) / float(trace), rel=1e-13)


def test_equal_variances_have_closed_forms():
    y, v = np.array([1.0, 4, 6, 2]), np.full(4, 0.7)
    between = y.var(ddof=1) - 0.7
    for method in ("REML", "DL", "HE", "PM", "EB"):
        assert heterogeneity_variance(y, v, method) == pytest.approx(between, rel=1e-13)
    assert heterogeneity_variance(y, v, "ML") == pytest.approx(y.var() - 0.7, rel=1e-13)
    for method in RANDOM[:-1]:
        assert heterogeneity_variance(y, v * 100, method) == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("test", TESTS)
def test_one_study_is_its_own_estimate(method, test):
    found = pool([3.0], [4.0], method, test)
    assert (found.k, found.estimate, found.tau2, found.q, found.q_df) == (1, 3, 0, 0, 0)
    assert found.weights.tolist() == [1]
    undefined = ("i2", "h2", "i2_q", "h2_q", "pi_low", "pi_high", "tau2_se", "q_p_value")
    assert all(np.isnan(getattr(found, name)) for name in undefined)
    if test == "z":
        assert (found.se, found.statistic) == (2, 1.5)
        assert found.ci_high == pytest.approx(3 + 2 * stats.norm.ppf(0.975))
    else:
        assert all(np.isnan([found.se, found.statistic, found.p_value, found.ci_low, found.ci_high]))
    assert all(np.isnan(tau2_interval([3.0], [4.0])))


def test_two_studies():
    y, v = np.array([0.0, 3]), np.array([1.0, 2])
    # With two studies the restricted likelihood is that of their difference, of variance 3 + 2 tau2.
    for method in ("REML", "DL", "HE", "PM", "EB"):
        assert heterogeneity_variance(y, v, method) == pytest.approx(3, rel=1e-12)
    hartung = pool(y, v, test="knapp_hartung")
    assert hartung.ci_high - hartung.estimate == pytest.approx(stats.t.ppf(0.975, 1) * hartung.se, rel=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_studies_that_agree_have_no_heterogeneity(method):
    found = pool(np.full(5, 0.3), [0.1, 0.2, 0.3, 0.4, 0.5], method)
    assert found.tau2 == found.i2 == found.i2_q == 0
    assert found.h2 == found.h2_q == 1
    assert found.estimate == pytest.approx(0.3, rel=1e-14)
    assert found.q == pytest.approx(0, abs=1e-25)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [1e-9, 1e6])
def test_unit_may_be_tiny_or_huge(method, unit):
    y, v = data("bcg_logRR")
    plain, scaled = pool(y, v, method), pool(unit * y, unit**2 * v, method)
    assert scaled.tau2 == pytest.approx(unit**2 * plain.tau2, rel=1e-10)
    assert scaled.estimate == pytest.approx(unit * plain.estimate, rel=1e-10)


@pytest.mark.parametrize("method", ["REML", "ML", "HE", "PM", "EB", "SJ"])
def test_effects_far_apart_and_variances_tiny(method):
    y, v = data("raudenbush")
    # Against such differences sampling variances are nothing, and tau2 is the variance of the effects.
    divisor = len(y) if method == "ML" else len(y) - 1
    expected = ((y - y.mean()) ** 2).sum() / divisor
    assert heterogeneity_variance(1e6 * y, v, method) == pytest.approx(1e12 * expected, rel=1e-9)
    assert heterogeneity_variance(y, 1e-15 * v, method) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_ten_thousand_studies(method):
    random = np.random.default_rng(1)
    k = 10_000
    v = random.uniform(0.5, 2, k)
    y = random.normal(5, np.sqrt(v + 1))
    tracemalloc.start()
    found = pool(y, v, method)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < k * k  # Bytes: an eighth of a k by k matrix.
    assert found.estimate == pytest.approx(5, abs=0.1)
    if method not in ("FE", "SJ"):  # The one is 0, the other biased.
        assert found.tau2 == pytest.approx(1, abs=0.15)


def test_given_tau2_is_not_estimated():
    y, v = data("bcg_logRR")
    found, fixed = pool(y, v, "DL", tau2=0.0), pool(y, v, "FE")
    assert (found.estimate, found.se, found.tau2) == (fixed.estimate, fixed.se, 0)
    assert np.isnan(found.tau2_se)
    assert pool(y, v, tau2=1e12).estimate == pytest.approx(y.mean(), rel=1e-9)


def test_prediction_interval_takes_any_degrees_of_freedom():
    y, v = data("bcg_logRR")
    found = pool(y, v)
    assert (found.pi_low, found.pi_high) == prediction_interval(found.estimate, found.se, found.tau2, np.inf)
    # Higgins, Thompson and Spiegelhalter's.
    low, high = prediction_interval(found.estimate, found.se, found.tau2, 11)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 11) * np.hypot(found.se, np.sqrt(found.tau2)))
    assert all(np.isnan(prediction_interval(found.estimate, found.se, found.tau2, 0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pool([], []), "no study"),
        (lambda: pool([1.0, 2], [1.0]), "one length"),
        (lambda: pool([[1.0, 2]], [[1.0, 2]]), "two vectors"),
        (lambda: pool([1.0, np.nan], [1.0, 1]), "effect of study 2 is not finite"),
        (lambda: pool([1.0, 2], [np.inf, 1]), "variance of study 1 is not finite"),
        (lambda: pool([1.0, 2], [1.0, 0]), "variance of study 2 is not positive"),
        (lambda: pool([1.0, 2], [1.0, 1], "reml"), "unknown method 'reml'"),
        (lambda: pool([1.0, 2], [1.0, 1], test="t"), "unknown test 't'"),
        (lambda: pool([1.0, 2], [1.0, 1], level=95), "between 0 and 1"),
        (lambda: pool([1.0, 2], [1.0, 1], tau2=-1), "at least 0"),
        (lambda: pool([1.0, 2], [1.0, 1], "FE", tau2=1), "no tau2"),
        (lambda: tau2_interval([1.0, 2], [1.0, 1], level=1), "between 0 and 1"),
        (lambda: heterogeneity_variance([1.0, 2], [1.0, 1], "XX"), "unknown method"),
        (lambda: regress([1.0, 2, 3], np.ones(3), np.ones((2, 1))), "must have shape"),
        (lambda: regress([1.0, 2, 3], np.ones(3), np.full((3, 1), np.nan)), "not finite"),
        (lambda: regress([1.0, 2, 3], np.ones(3), np.ones((3, 2))), "not linearly independent"),
        (lambda: regress([1.0, 2], np.ones(2), [[1.0, 2, 3], [1, 3, 2]]), "3 coefficients"),
        (lambda: meta_regression([1.0, 2, 3], np.ones(3), [5, 5, 5]), "not linearly independent"),
        (lambda: meta_regression([1.0, 2, 3], np.ones(3), [[5, 5, 6]]), "must be a vector"),
        (lambda: subgroups([1.0, 2], [1.0, 1], ["a"]), "differ in number"),
        (lambda: subgroups([1.0, 2], [1.0, 1], ["a", np.nan]), "no group"),
        (lambda: subgroups([], [], []), "no study"),
    ],
)
def test_what_cannot_be_pooled_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_more_studies_than_coefficients_leave_no_heterogeneity():
    design = [[1.0, 0], [1, 1]]
    assert heterogeneity_variance([1.0, 3], [1.0, 2], design=design) == 0
    found = regress([1.0, 3], [1.0, 2], design)
    assert found.coefficients == pytest.approx([1, 2])
    assert found.se == pytest.approx([1, np.sqrt(3)])
    assert (found.tau2, found.q, found.q_df) == (0, 0, 0)
    assert all(np.isnan([found.i2, found.h2, found.q_p_value]))
    assert np.isnan(regress([1.0, 3], [1.0, 2], design, test="knapp_hartung").se).all()


# Laws.

some_studies = st.lists(
    st.tuples(st.floats(-10, 10), st.floats(-2, 1)), min_size=2, max_size=10, unique_by=lambda study: study[0]
).map(lambda rows: (np.array([y for y, _ in rows]), 10.0 ** np.array([log for _, log in rows])))
modest = settings(max_examples=50, deadline=None, derandomize=True)
INVARIANT = ("i2", "h2", "i2_q", "h2_q", "q", "q_p_value")


def same(found: Pooled, expected: Pooled, *, scale: float = 1, shift: float = 0, tolerance: float = 0) -> None:
    """One is the other in units of which it takes ``scale``, on an axis moved by ``shift``."""
    # Where a likelihood is flat its maximum is known to half the digits. Else only the difference of nearby effects and
    # the standard error of nearly equal ones lose some.
    tolerance = tolerance or (1e-6 if expected.method in ("REML", "ML") else 1e-9)
    unit = expected.se
    for name in ("estimate", "ci_low", "ci_high", "pi_low", "pi_high"):
        approximately = pytest.approx(
            (getattr(expected, name) + shift) * scale, abs=tolerance * unit * scale, nan_ok=True
        )
        assert getattr(found, name) == approximately, name
    assert found.se == pytest.approx(scale * expected.se, rel=tolerance)
    assert found.tau2 == pytest.approx(scale**2 * expected.tau2, rel=tolerance, abs=tolerance * (scale * unit) ** 2)
    for name in INVARIANT:
        assert getattr(found, name) == pytest.approx(
            getattr(expected, name), rel=tolerance, abs=tolerance, nan_ok=True
        ), name


@modest
@given(some_studies, st.sampled_from(METHODS), st.sampled_from(TESTS), st.randoms(use_true_random=False))
def test_order_of_the_studies_does_not_matter(studies, method, test, random):
    y, v = studies
    order = random.sample(range(len(y)), len(y))
    found, expected = pool(y[order], v[order], method, test), pool(y, v, method, test)
    same(found, expected)
    assert found.weights == pytest.approx(expected.weights[order], rel=1e-6)


@modest
@given(some_studies, st.sampled_from(METHODS), st.sampled_from(TESTS), st.floats(-3, 3))
def test_unit_scales_the_estimate(studies, method, test, log_scale):
    y, v = studies
    scale = 10**log_scale
    same(pool(scale * y, scale**2 * v, method, test), pool(y, v, method, test), scale=scale)


@modest
@given(some_studies, st.sampled_from(METHODS), st.sampled_from(TESTS), st.floats(-100, 100))
def test_common_shift_moves_the_estimate_alone(studies, method, test, shift):
    y, v = studies
    assume(np.ptp(y) > 1e-6)
    same(pool(y + shift, v, method, test), pool(y, v, method, test), shift=shift)


@modest
@given(some_studies, st.sampled_from(["FE", "REML", "ML"]), st.floats(-10, 10))
def test_study_that_says_nothing_changes_nothing(studies, method, effect):
    y, v = studies
    found = pool(np.append(y, effect), np.append(v, 1e14), method)
    expected = pool(y, v, method)
    assert found.estimate == pytest.approx(expected.estimate, abs=1e-5 * expected.se)
    assert found.se == pytest.approx(expected.se, rel=1e-5)
    assert found.tau2 == pytest.approx(expected.tau2, rel=1e-5, abs=1e-5 * expected.se**2)


@modest
@given(some_studies, st.floats(-10, 10))
def test_study_that_says_nothing_changes_no_estimate_at_given_tau2(studies, effect):
    # DL counts the study among its degrees of freedom, so only its weighting, not its tau2, can stay.
    y, v = studies
    tau2 = heterogeneity_variance(y, v, "DL")
    found, expected = pool(np.append(y, effect), np.append(v, 1e14), "DL", tau2=tau2), pool(y, v, "DL")
    assert found.estimate == pytest.approx(expected.estimate, abs=1e-9 * expected.se)
    assert found.se == pytest.approx(expected.se, rel=1e-9)


@modest
@given(some_studies, st.floats(0.5, 0.99))
def test_q_profile_interval_contains_paule_mandel(studies, level):
    y, v = studies
    low, high = tau2_interval(y, v, max(level, 0.7))
    assert low <= heterogeneity_variance(y, v, "PM") <= high


# Moderators.


@modest
@given(some_studies, st.sampled_from(METHODS))
def test_one_group_is_the_whole(studies, method):
    y, v = studies
    found = subgroups(y, v, ["all"] * len(y), method)
    assert (found.q_between, found.df) == (0, 0)
    assert np.isnan(found.p_value)
    same(found.groups["all"], pool(y, v, method))


@pytest.mark.parametrize("test", TESTS)
def test_groups_are_pooled_by_themselves(test):
    y, v = data("raudenbush")
    labels = ["b", "a", "c"] * 6 + ["b"]
    found = subgroups(y, v, labels, test=test, level=0.9)
    assert list(found.groups) == ["b", "a", "c"]
    for name, group in found.groups.items():
        members = np.array(labels) == name
        same(group, pool(y[members], v[members], test=test, level=0.9), tolerance=1e-14)
        assert group.k == members.sum()
    estimates = np.array([group.estimate for group in found.groups.values()])
    w = np.array([group.se for group in found.groups.values()]) ** -2.0
    expected = (w * estimates**2).sum() - (w * estimates).sum() ** 2 / w.sum()
    assert found.q_between == pytest.approx(expected, rel=1e-9)
    assert found.p_value == pytest.approx(stats.chi2.sf(expected, 2), rel=1e-9)


def test_fixed_effect_groups_divide_q():
    y, v = data("raudenbush")
    found = subgroups(y, v, ["a", "b"] * 9 + ["a"], "FE")
    within = sum(group.q for group in found.groups.values())
    assert within + found.q_between == pytest.approx(pool(y, v, "FE").q, rel=1e-12)


def test_group_of_one_study_has_no_knapp_hartung_error():
    found = subgroups([1.0, 2, 3], [1.0, 1, 1], ["a", "a", "b"], test="knapp_hartung")
    assert np.isnan([found.q_between, found.p_value]).all()
    assert found.groups["b"].estimate == 3


def test_fixed_effect_regression_is_weighted_least_squares():
    y, v = data("bcg_logRR")
    found = meta_regression(y, v, ABSOLUTE_LATITUDE, "FE")
    (slope, intercept), covariance = np.polyfit(ABSOLUTE_LATITUDE, y, 1, w=1 / np.sqrt(v), cov="unscaled")
    assert found.coefficients == pytest.approx([intercept, slope], rel=1e-10)
    assert found.covariance == pytest.approx(covariance[::-1, ::-1], rel=1e-10)
    hartung = meta_regression(y, v, ABSOLUTE_LATITUDE, "FE", "knapp_hartung")
    _, scaled = np.polyfit(ABSOLUTE_LATITUDE, y, 1, w=1 / np.sqrt(v), cov=True)
    assert hartung.covariance == pytest.approx(scaled[::-1, ::-1], rel=1e-10)
    assert hartung.df == 11


def test_bcg_protects_better_far_from_the_equator():
    """As printed for this regression in metafor's documentation, which gives tau2 as 0.0764."""
    y, v = data("bcg_logRR")
    found = meta_regression(y, v, ABSOLUTE_LATITUDE)
    assert found.coefficients.round(4).tolist() == [0.2515, -0.0291]
    assert found.se.round(4).tolist() == [0.2491, 0.0072]
    assert found.p_value[0].round(4) == 0.3127
    assert (round(found.i2, 2), round(found.h2, 2), round(found.q, 4)) == (68.39, 3.16, 30.7331)

    x = np.column_stack([np.ones(len(y)), ABSOLUTE_LATITUDE])

    def step(tau2: float) -> float:
        """Of Fisher scoring."""
        p = projection(v, x, tau2)
        return (y @ p @ p @ y - np.trace(p)) / np.trace(p @ p)

    assert abs(step(found.tau2)) < 1e-14
    # metafor starts from the Hedges-Olkin estimate and stops after the first step below 0.00001: a little too early for
    # the fourth decimal of tau2 and of the statistics that it prints.
    tau2, change = heterogeneity_variance(y, v, "HE", x), 1.0
    while abs(change) > 1e-5:
        change = step(tau2)
        tau2 += change
    assert (round(tau2, 4), round(found.tau2, 4)) == (0.0764, 0.0763)
    stopped = regress(y, v, x, tau2=tau2)
    assert stopped.coefficients.round(4).tolist() == [0.2515, -0.0291]
    assert stopped.statistic.round(4).tolist() == [1.0095, -4.0444]


def test_moderator_may_lie_far_from_zero():
    y, v = data("bcg_logRR")
    plain, far = meta_regression(y, v, ABSOLUTE_LATITUDE), meta_regression(y, v, np.add(ABSOLUTE_LATITUDE, 1e6))
    assert far.coefficients[1] == pytest.approx(plain.coefficients[1], rel=1e-8)
    assert far.se[1] == pytest.approx(plain.se[1], rel=1e-8)
    assert (far.tau2, far.log_likelihood) == pytest.approx((plain.tau2, plain.log_likelihood), rel=1e-8)
