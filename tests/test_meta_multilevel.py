from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from faceneuro.meta.imputation import pool_imputed, rubin
from faceneuro.meta.multilevel import three_level
from faceneuro.meta.pooling import pool

REFERENCE = Path(__file__).parent / "reference" / "meta_analysis"


@pytest.fixture(scope="module")
def schools() -> pd.DataFrame:
    return pd.read_csv(REFERENCE / "konstantopoulos2011.csv", comment="#")


def simulated(seed: int, sizes: list[int], between: float, within: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Effects, variances and clusters of a three-level model with mean 1."""
    random = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    variances = random.uniform(0.01, 0.3, len(clusters))
    effects = 1 + random.normal(0, between**0.5, len(sizes))[clusters] + random.normal(0, (within + variances) ** 0.5)
    return effects, variances, clusters


def dense_log_likelihood(taus, effects, variances, clusters) -> float:
    """The restricted likelihood as the density of error contrasts: an orthonormal basis of what sums to zero."""
    k = len(effects)
    covariance = np.diag(variances + taus[1]) + taus[0] * (clusters[:, None] == clusters)
    contrasts = np.linalg.svd(np.ones((1, k)))[2][1:]
    return stats.multivariate_normal.logpdf(contrasts @ effects, np.zeros(k - 1), contrasts @ covariance @ contrasts.T)


def test_the_published_schools(schools):
    """Expected are the results of metafor's rma.mv for these data."""
    found = three_level(schools["yi"], schools["vi"], schools["district"], test="z")
    assert (found.k, found.clusters, found.df) == (56, 11, np.inf)
    assert found.tau2_between == pytest.approx(0.0651, abs=5e-5)
    assert found.tau2_within == pytest.approx(0.0327, abs=5e-5)
    assert found.estimate == pytest.approx(0.1847, abs=5e-5)
    assert found.se == pytest.approx(0.0846, abs=5e-5)
    assert found.log_likelihood == pytest.approx(-7.9587, abs=5e-5)
    assert (found.ci_low, found.ci_high) == pytest.approx(found.estimate + found.se * 1.959964 * np.array([-1, 1]))


def test_t_has_one_degree_of_freedom_less_than_there_are_clusters(schools):
    found = three_level(schools["yi"], schools["vi"], schools["district"])
    assert found.df == 10
    assert found.ci_high - found.ci_low == pytest.approx(2 * stats.t.ppf(0.975, 10) * found.se)
    assert found.p_value == pytest.approx(2 * stats.t.sf(found.statistic, 10))


@pytest.mark.parametrize(
    ("seed", "between", "within"), [(0, 0.2, 0.1), (1, 0.0, 0.2), (2, 0.3, 0.0), (3, 0.0, 0.0), (4, 0.05, 0.05)]
)
def test_the_likelihood_is_the_dense_one_and_nowhere_higher(seed, between, within):
    data = simulated(seed, [1, 3, 2, 4, 1, 2], between, within)
    found = three_level(*data)
    taus = np.array([found.tau2_between, found.tau2_within])
    assert found.log_likelihood == pytest.approx(dense_log_likelihood(taus, *data), abs=1e-8)
    grid = [(a, b) for a in np.linspace(0, 1, 13) for b in np.linspace(0, 1, 13)]
    best = max(grid, key=lambda point: dense_log_likelihood(point, *data))
    # Squares, so that the search may cross 0 and come to rest there.
    climbed = optimize.minimize(
        lambda roots: -dense_log_likelihood(roots**2, *data),
        np.sqrt(best) + 0.01,
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-11},
    )
    assert found.log_likelihood >= -climbed.fun - 1e-9
    np.testing.assert_allclose(taus, climbed.x**2, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_clusters_of_one_are_the_two_level_model(seed):
    effects, variances, clusters = simulated(seed, [1] * 8, 0.2, 0.1)
    found, two = three_level(effects, variances, clusters, test="z"), pool(effects, variances)
    assert (found.tau2_between, found.tau2_within) == (two.tau2, 0)
    for name in ("estimate", "se", "ci_low", "ci_high", "p_value", "log_likelihood"):
        assert getattr(found, name) == pytest.approx(getattr(two, name), rel=1e-9)


@given(st.integers(0, 50), st.randoms(use_true_random=False))
@settings(max_examples=15)
def test_neither_the_order_of_the_rows_nor_the_names_of_the_clusters_matter(seed, random):
    effects, variances, clusters = simulated(seed, [3, 1, 2, 2], 0.2, 0.1)
    order = random.sample(range(len(effects)), len(effects))
    named = np.array(["d", "a", "c", "b"])[clusters]
    found, other = (
        three_level(effects, variances, clusters),
        three_level(effects[order], variances[order], named[order]),
    )
    np.testing.assert_allclose(list(vars(other).values()), list(vars(found).values()), rtol=1e-6, atol=1e-9)


@given(st.integers(0, 50), st.floats(-3, 3), st.floats(-100, 100))
@settings(max_examples=15)
def test_another_unit_and_another_zero_change_only_the_unit_and_the_zero(seed, log_scale, shift):
    effects, variances, clusters = simulated(seed, [3, 1, 2, 2], 0.2, 0.1)
    scale = 10**log_scale
    found, other = (
        three_level(effects, variances, clusters),
        three_level(scale * effects + shift, scale**2 * variances, clusters),
    )
    assert other.estimate == pytest.approx(scale * found.estimate + shift, rel=1e-6, abs=1e-6 * scale)
    assert other.se == pytest.approx(scale * found.se, rel=1e-5)
    assert other.tau2_between == pytest.approx(scale**2 * found.tau2_between, rel=1e-5, abs=1e-6 * scale**2)
    assert other.tau2_within == pytest.approx(scale**2 * found.tau2_within, rel=1e-5, abs=1e-6 * scale**2)


def test_effects_that_share_a_cluster_count_less():
    """Copies of one effect size, in one article each or all in few, are not the same evidence."""
    effects, variances = np.repeat([0.2, 0.5, 1.1, 1.3], 4), np.full(16, 0.01)
    shared = three_level(effects, variances, np.repeat(np.arange(4), 4), test="z")
    assert shared.se > 1.5 * pool(effects, variances).se


def test_a_single_cluster_has_no_mean_of_its_own():
    found = three_level([1.0, 2.0], [0.1, 0.1], ["a", "a"])
    assert (found.k, found.clusters) == (2, 1)
    assert np.isnan([found.estimate, found.se, found.ci_low, found.tau2_between, found.df]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], [0.1, 0.1], ["a", "b"], "f"), "z or t"),
        (([1.0, 2.0], [0.1], ["a", "b"]), "shapes"),
        (([1.0, np.nan], [0.1, 0.1], ["a", "b"]), "finite"),
        (([1.0, 2.0], [0.1, 0.0], ["a", "b"]), "positive"),
    ],
)
def test_three_level_refuses_what_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        three_level(*arguments)


def test_rubins_rules_by_hand():
    # Mean 4, within (1 + 2 + 3) / 3 = 2, between ((-1)^2 + 0 + 1^2) / 2 = 1; total 2 + 4/3 = 10/3.
    found = rubin([3.0, 4.0, 5.0], [1.0, 2.0, 3.0])
    assert (found.estimate, found.within, found.between, found.imputations) == (4, 2, 1, 3)
    assert found.se == pytest.approx((10 / 3) ** 0.5)
    # Share of the variance due to missing (4/3) / (10/3) = 0.4; 2 / 0.16 = 12.5 degrees of freedom.
    assert found.df == pytest.approx(12.5)
    # Relative increase 2/3; (2/3 + 2 / 15.5) / (5/3).
    assert found.fraction_missing == pytest.approx((2 / 3 + 2 / 15.5) / (5 / 3))
    assert found.ci_high == pytest.approx(4 + stats.t.ppf(0.975, 12.5) * (10 / 3) ** 0.5)
    # Barnard and Rubin with 10 complete ones: observed 11/13 10 0.6 = 66/13; 1 / (1/12.5 + 13/66) = 3.6105.
    assert rubin([3.0, 4.0, 5.0], [1.0, 2.0, 3.0], complete_df=10).df == pytest.approx(3.6105, abs=5e-5)


def test_equal_estimates_have_nothing_missing():
    found = rubin([1.0, 1.0], [0.5, 0.5], complete_df=7)
    assert (found.between, found.fraction_missing, found.df) == (0, 0, 7)
    assert rubin([1.0, 1.0], [0.5, 0.5]).df == np.inf


@pytest.mark.parametrize("arguments", [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([1.0, 2.0], [0.0, 1.0])])
def test_rubin_refuses_what_cannot_be(arguments):
    with pytest.raises(ValueError, match="variances"):
        rubin(*arguments)


def studies(seed: int, k: int = 20, tau2: float = 100.0) -> tuple[np.ndarray, np.ndarray]:
    """Effects around 80 and their variances."""
    random = np.random.default_rng(seed)
    variances = random.uniform(1, 30, k)
    return random.normal(80, np.sqrt(tau2 + variances)), variances


def with_missing(seed: int, effects: np.ndarray, count: int) -> np.ndarray:
    gaps = effects.copy()
    gaps[np.random.default_rng(seed).permutation(len(effects))[:count]] = np.nan
    return gaps


@pytest.mark.parametrize("method", ["REML", "DL"])
def test_nothing_missing_is_nothing_imputed(method):
    effects, variances = studies(0)
    found, plain = pool_imputed(effects, variances, method=method), pool(effects, variances, method)
    for name in ("estimate", "se", "statistic", "p_value", "ci_low", "ci_high", "k"):
        assert getattr(found, name) == getattr(plain, name)
    assert (found.missing, found.imputations, found.between, found.fraction_missing) == (0, 0, 0, 0)


def test_what_is_missing_widens_the_interval_and_it_covers():
    covered, widened, sets = 0, 0, 100
    for seed in range(sets):
        effects, variances = studies(seed)
        complete, found = pool(effects, variances), pool_imputed(with_missing(seed, effects, 6), variances, 25, seed)
        covered += found.ci_low < 80 < found.ci_high
        widened += found.ci_high - found.ci_low > complete.ci_high - complete.ci_low
        assert (found.k, found.missing, found.imputations) == (20, 6, 25)
        assert 0 < found.fraction_missing < 1
    # The six lost may be the ones that lie far out; then the others, rightly, agree better.
    assert widened > 0.8 * sets
    assert covered > 0.9 * sets


def test_many_imputations_approach_the_estimate_without_the_missing_ones():
    effects, _ = studies(1)
    variances = np.full(len(effects), 9.0)
    gaps = with_missing(1, effects, 4)
    known = ~np.isnan(gaps)
    plain = pool(gaps[known], variances[known])
    distances = [abs(pool_imputed(gaps, variances, m, seed=3).estimate - plain.estimate) for m in (4, 400)]
    assert distances[1] < distances[0]
    assert distances[1] < 0.05 * plain.se


def test_a_seed_determines_the_result():
    effects, variances = studies(2)
    gaps = with_missing(2, effects, 3)
    assert pool_imputed(gaps, variances, 5, seed=1) == pool_imputed(gaps, variances, 5, seed=1)
    assert pool_imputed(gaps, variances, 5, seed=1) != pool_imputed(gaps, variances, 5, seed=2)


def test_missing_variances_are_drawn_from_the_known_ones():
    effects, variances = studies(3)
    gaps = with_missing(3, effects, 3)
    variances = np.where(np.isnan(gaps), np.nan, 4.0)
    assert pool_imputed(gaps, variances, 5) == pool_imputed(gaps, np.full(20, 4.0), 5)


def test_homogeneous_effects_are_imputed_without_heterogeneity():
    gaps = np.array([80.0, 80.0, 80.0, 80.0, np.nan])
    found = pool_imputed(gaps, np.full(5, 4.0), 200)
    assert found.estimate == pytest.approx(80, abs=0.5)
    # Four known ones tell 4 / 4 = 1; a fifth that is made up adds nothing but noise.
    assert found.se == pytest.approx(1, rel=0.1)


def test_too_few_known_effects_are_not_imputed():
    found = pool_imputed([80.0, np.nan], [4.0, np.nan])
    assert np.isnan([found.estimate, found.se, found.df]).all()
    assert (found.k, found.missing, found.imputations) == (2, 1, 0)


def test_a_known_effect_needs_its_variance():
    with pytest.raises(ValueError, match="no variance"):
        pool_imputed([80.0, 70.0], [4.0, np.nan])
    with pytest.raises(ValueError, match="shapes"):
        pool_imputed([80.0, 70.0], [4.0])
