"""The interval of a difference, made of the intervals of two estimates."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from faceneuro.evaluation.noise import discoveries, gaps

NUMBERS = st.floats(-100, 100, allow_nan=False)
WIDTHS = st.floats(0.01, 50)
ESTIMATES = st.lists(st.tuples(NUMBERS, WIDTHS, WIDTHS), min_size=2, max_size=2)


def estimates(*rows: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["value", "ci_low", "ci_high"])


def test_half_widths_add_in_quadrature_each_on_its_own_side():
    found = gaps(estimates((10, 7, 11)), estimates((4, 1, 8))).iloc[0]
    # Below: 3 of the one and 4 above the other; above: 1 and 3.
    assert found["difference"] == 6
    assert found["ci_low"] == pytest.approx(6 - 5)
    assert found["ci_high"] == pytest.approx(6 + 10**0.5)
    assert found["p_value"] == pytest.approx(2 * norm.sf(norm.isf(0.025) * 6 / 5))


def test_of_two_means_of_normal_samples_it_is_the_usual_test():
    half = norm.isf(0.025)
    found = gaps(estimates((1.2, 1.2 - half * 0.3, 1.2 + half * 0.3)), estimates((0, -half * 0.4, half * 0.4))).iloc[0]
    assert found["p_value"] == pytest.approx(2 * norm.sf(1.2 / 0.5))
    assert found["ci_high"] - found["difference"] == pytest.approx(half * 0.5)


@given(ESTIMATES)
def test_an_interval_without_zero_and_a_small_p_value_are_the_same(two):
    here, there = (estimates((value, value - low, value + high)) for value, low, high in two)
    found = gaps(here, there).iloc[0]
    outside = found["ci_low"] > 0 or found["ci_high"] < 0
    assert outside == (found["p_value"] < 0.05) or found["p_value"] == pytest.approx(0.05)


@given(ESTIMATES)
def test_swapped_it_is_the_mirror_image(two):
    here, there = (estimates((value, value - low, value + high)) for value, low, high in two)
    one, other = gaps(here, there).iloc[0], gaps(there, here).iloc[0]
    assert (one["difference"], one["ci_low"], one["ci_high"]) == (
        -other["difference"],
        -other["ci_high"],
        -other["ci_low"],
    )
    assert one["p_value"] == other["p_value"]


@pytest.mark.parametrize("bad", [(1, np.nan, np.nan), (0, 0, 0), (5, 1, 4), (np.inf, 1, np.inf), (np.nan, 1, 2)])
def test_where_an_interval_tells_nothing_the_noise_is_not_known(bad):
    for pair in ((estimates(bad), estimates((2, 1, 3))), (estimates((2, 1, 3)), estimates(bad))):
        assert gaps(*pair)[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)


def test_of_bootstrapped_areas_of_few_people_about_one_in_twenty_is_an_alarm():
    """Two cohorts of eleven patients and eleven others, drawn anew each time from the same people."""
    random = np.random.default_rng(1)

    def area() -> tuple[float, float, float]:
        ill, well = random.normal(0.5, 1, 11), random.normal(0, 1, 11)
        drawn = random.integers(0, 11, (2, 300, 11))
        wins = ill[drawn[0]][:, :, None] > well[drawn[1]][:, None, :]
        return (ill[:, None] > well).mean(), *np.percentile(wins.mean(axis=(1, 2)), [2.5, 97.5])

    p_values = gaps(estimates(*(area() for _ in range(400))), estimates(*(area() for _ in range(400))))["p_value"]
    assert 0.02 < (p_values < 0.05).sum() / p_values.notna().sum() < 0.1


def test_discoveries_are_adjusted_over_what_is_known():
    adjusted = discoveries(pd.Series([0.01, np.nan, 0.02, 0.9], index=list("abcd")))
    assert adjusted.drop("b").to_list() == pytest.approx([0.03, 0.03, 0.9])
    assert np.isnan(adjusted["b"])
    assert discoveries(pd.Series([np.nan])).isna().all()
