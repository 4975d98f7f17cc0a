from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from faceneuro.meta.effects import read_studies
from faceneuro.meta.pooling import pool
from faceneuro.meta.recovery import NUMBERS, TOTALS, Recovery, recover
from faceneuro.meta.rounding import agrees, attainable, decimals

PUBLISHED = Path(__file__).parents[1] / "resources" / "published"
Z = stats.norm.ppf(0.975)

ONE_UNKNOWN = ["bells_palsy_b", "functional", "motor"]


@cache
def forest_plot() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the review's forest plot with their weights, and what is printed below each block."""
    path = PUBLISHED / "meta_analysis_studies.csv"
    studies = read_studies(path).assign(weight=pd.read_csv(path, comment="#")["weight_pct"])
    printed = pd.read_csv(PUBLISHED / "meta_analysis_statistics.csv", comment="#").rename(columns={"i2_pct": "i2"})
    return studies, printed[printed["where"] == "fig3"].set_index("subgroup_block")


@cache
def recovered(block: str, weighted: bool = True, legible: tuple[str, ...] = ()) -> tuple[Recovery, Recovery]:
    """The illegible rows of a block solved anew, and how well those in use meet the totals.

    ``legible`` are the numbers that are not blanked in the rows of Singh et al.
    """
    studies, totals = forest_plot()
    used = studies[studies["block"] == block]
    blanked = used.copy()
    blanked.loc[used["provenance"] == "recovered", NUMBERS] = np.nan
    singh = used["study"].str.startswith("Singh")
    blanked.loc[singh, list(legible)] = used.loc[singh, list(legible)]
    printed = {name: totals.loc[block, name] for name in TOTALS}
    options = {}
    if weighted:
        options = {"weights": used["weight"].to_numpy(), "overall_tau2": totals.loc["overall", "tau2"]}
    return recover(blanked, printed, **options), recover(used, printed, **options)


def shipped_rows(block: str) -> pd.DataFrame:
    studies, _ = forest_plot()
    return studies[(studies["block"] == block) & (studies["provenance"] == "recovered")]


def of_totals(recovery: Recovery) -> pd.DataFrame:
    return recovery.residuals[recovery.residuals["statistic"].isin(list(TOTALS))]


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("block", ONE_UNKNOWN)
def test_a_single_illegible_row_is_found_again_and_determined(block, weighted):
    found, _ = recovered(block, weighted)
    assert (found.determined, found.solutions) == (True, 1)
    assert found.rows["study"].tolist() == shipped_rows(block)["study"].tolist()
    np.testing.assert_allclose(found.rows[NUMBERS], shipped_rows(block)[NUMBERS], atol=0.02 + 1e-9)


@pytest.mark.parametrize("block", [*ONE_UNKNOWN, "dementia_a"])
def test_the_totals_are_met_no_worse_than_by_the_rows_in_use(block):
    found, used = recovered(block)
    worst = of_totals(found)["half_units"].abs().max()
    # To the last printed place both agree, and below it there is nothing to compare.
    assert worst <= max(1, of_totals(used)["half_units"].abs().max()) + 1e-6


@pytest.mark.parametrize("block", ["bells_palsy_b", "functional"])
def test_every_total_is_met_where_the_legible_rows_allow_it(block):
    residuals = of_totals(recovered(block)[0])
    assert (residuals["half_units"].abs() <= 1).all()
    assert all(agrees(row.recomputed, row.printed, 2) for row in residuals.itertuples())


@pytest.mark.parametrize("block", [*ONE_UNKNOWN, "dementia_a"])
def test_what_is_off_is_within_what_the_rounding_of_the_rows_can_do(block):
    residuals = recovered(block)[0].residuals
    assert (residuals["low"] <= residuals["printed"] + 0.005 + 1e-9).all()
    assert (residuals["high"] >= residuals["printed"] - 0.005 - 1e-9).all()
    np.testing.assert_allclose(residuals["difference"], residuals["recomputed"] - residuals["printed"])
    np.testing.assert_allclose(residuals["half_units"], residuals["difference"] / 0.005)


def test_three_rows_of_which_nothing_is_legible_are_not_determined():
    """Others than those in use meet the totals as well: that they do is no evidence for a set of rows."""
    found, _ = recovered("dementia_a")
    assert not found.determined
    assert found.solutions > 1
    assert of_totals(found)["half_units"].abs().max() < 10
    far = np.abs(found.rows[NUMBERS].to_numpy() - shipped_rows("dementia_a")[NUMBERS].to_numpy()).max()
    assert far > 1


@pytest.mark.parametrize("legible", [("accuracy",), ("ci_low",), ("ci_low", "ci_high")])
def test_they_are_determined_if_two_of_them_are_partly_legible(legible):
    found, _ = recovered("dementia_a", legible=legible)
    assert found.determined
    np.testing.assert_allclose(found.rows[NUMBERS], shipped_rows("dementia_a")[NUMBERS], atol=0.2)
    # What is legible stays as it is printed.
    np.testing.assert_array_equal(
        found.rows.loc[1:, list(legible)], shipped_rows("dementia_a")[list(legible)].to_numpy()[1:]
    )


def test_nothing_illegible_leaves_nothing_but_the_residuals():
    studies, totals = forest_plot()
    inside = studies[studies["block"] == "stroke"]
    found = recover(inside, {"estimate": totals.loc["stroke", "estimate"], "h2": np.nan})
    assert found.rows.empty
    assert found.determined
    assert found.residuals["statistic"].tolist() == ["estimate"]
    assert found.residuals["recomputed"].iloc[0] == pool(inside["accuracy"], inside["variance"]).estimate


def block_of(seed: int, k: int) -> tuple[pd.DataFrame, dict[str, float]]:
    """A block as printed, and its totals computed before rounding."""
    random = np.random.default_rng(seed)
    accuracy, half = random.uniform(50, 99, k), random.uniform(3, 12, k)
    pooled = pool(accuracy, (half / Z) ** 2)
    rows = np.round(np.column_stack([accuracy, accuracy - half, accuracy + half]), 2)
    studies = pd.DataFrame(rows, columns=NUMBERS).assign(study=[f"S{i}" for i in range(k)])
    return studies, {name: round(getattr(pooled, attribute), 2) for name, attribute in TOTALS.items()}


@pytest.mark.parametrize("k", [3, 4, 6])
@pytest.mark.parametrize("seed", range(4))
def test_an_illegible_row_of_any_block_is_solved(seed, k):
    studies, totals = block_of(seed, k)
    blanked = studies.copy()
    blanked.loc[seed % k, NUMBERS] = np.nan
    found = recover(blanked, totals)
    assert found.determined
    np.testing.assert_allclose(found.rows[NUMBERS].iloc[0], studies.loc[seed % k, NUMBERS].astype(float), atol=0.1)


def test_a_row_that_is_its_whole_block_is_its_total():
    blank = pd.DataFrame({"study": ["S"], **{name: [np.nan] for name in NUMBERS}})
    found = recover(blank, {"estimate": 93.7, "ci_low": 85.27, "ci_high": 102.13, "tau2": 0.0, "h2": 1.0})
    assert found.rows[NUMBERS].iloc[0].tolist() == [93.7, 85.27, 102.13]
    assert found.determined


def test_too_few_totals_determine_nothing():
    studies, totals = block_of(0, 4)
    studies.loc[0, NUMBERS] = np.nan
    assert not recover(studies, {"estimate": totals["estimate"]}).determined


def test_rows_that_nothing_tells_apart_come_narrowest_first():
    studies, totals = block_of(3, 5)
    studies.loc[[1, 3], NUMBERS] = np.nan
    widths = np.diff(recover(studies, totals).rows[["ci_low", "ci_high"]].to_numpy())
    assert widths[0] <= widths[1]


def test_what_is_no_printed_block_is_refused():
    studies, totals = block_of(0, 3)
    with pytest.raises(ValueError, match="no totals mean; there are estimate"):
        recover(studies, {"mean": 80.0})
    with pytest.raises(ValueError, match="overall tau2"):
        recover(studies, totals, weights=[1, 2, 3])
    with pytest.raises(ValueError, match="one for each row"):
        recover(studies, totals, weights=[1, 2], overall_tau2=3.0)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(0.001, 2))
def test_a_linear_function_attains_the_exact_box(slopes, half_unit):
    slopes = np.array(slopes)
    printed = np.arange(len(slopes), dtype=float)
    low, high = attainable(lambda x: np.array([slopes @ x, -(slopes @ x)]), printed, half_unit)
    reach = half_unit * np.abs(slopes).sum()
    np.testing.assert_allclose(high, [slopes @ printed + reach, -(slopes @ printed) + reach], atol=1e-9)
    np.testing.assert_allclose(low, [slopes @ printed - reach, -(slopes @ printed) - reach], atol=1e-9)


def test_a_monotone_function_attains_its_corners():
    printed, half = np.array([1.0, 2.0]), np.array([0.5, 0.25])
    low, high = attainable(lambda x: np.array([np.exp(x[0]) / x[1] ** 3]), printed, half)
    assert low[0] == np.exp(0.5) / 2.25**3
    assert high[0] == np.exp(1.5) / 1.75**3


def test_signs_that_turn_on_the_way_are_noticed():
    # At the centre, x has no influence and y little; in the corner, x y does all.
    low, high = attainable(lambda x: np.array([x[0] * x[1] + 0.1 * x[1]]), np.zeros(2), 1.0)
    assert (low[0], high[0]) == (-1.1, 1.1)


def test_an_exact_input_stays_and_nan_stays_nan():
    low, high = attainable(lambda x: np.array([x.sum(), np.nan]), np.array([1.0, 2.0]), np.array([0.0, 0.5]))
    np.testing.assert_array_equal(low, [2.5, np.nan])
    np.testing.assert_array_equal(high, [3.5, np.nan])
    low, high = attainable(lambda x: x, np.array([1.0]), 0)
    assert (low[0], high[0]) == (1, 1)


def test_a_negative_half_unit_is_refused():
    with pytest.raises(ValueError, match="negative"):
        attainable(lambda x: x, np.array([1.0]), -1)
    with pytest.raises(ValueError, match="shape"):
        attainable(lambda x: x.ravel(), np.ones((2, 2)), 1)


@pytest.mark.parametrize("block", [None, "stroke", "bells_palsy_b"])
def test_no_draw_from_the_box_of_the_review_leaves_the_range(block):
    studies, _ = forest_plot()
    inside = studies if block is None else studies[studies["block"] == block]
    printed = inside[NUMBERS].to_numpy().T.ravel()

    def statistics(inputs: np.ndarray) -> np.ndarray:
        accuracy, low, high = inputs.reshape(3, -1)
        pooled = pool(accuracy, ((high - low) / (2 * Z)) ** 2)
        return np.array([getattr(pooled, name) for name in TOTALS.values()])

    low, high = attainable(statistics, printed, 0.005)
    random = np.random.default_rng(0)
    # Half of the draws anywhere in the box, half in its corners, where the range is hardest to hold.
    offsets = [*random.uniform(-1, 1, (150, len(printed))), *random.choice([-1, 1], (150, len(printed)))]
    draws = np.array([statistics(printed + 0.005 * offset) for offset in offsets])
    slack = 1e-6 * (high - low) + 1e-12
    assert (draws >= low - slack).all()
    assert (draws <= high + slack).all()


@pytest.mark.parametrize(
    ("text", "expected"), [("77.50", 2), ("77", 0), (" 0.125 ", 3), ("-1.5", 1), ("1e3", 0), ("1.5e-3", 4)]
)
def test_decimals_are_counted_as_printed(text, expected):
    assert decimals(text) == expected


@pytest.mark.parametrize("text", ["", ".", "n/a", "nan", "inf"])
def test_what_is_no_number_has_no_decimals(text):
    with pytest.raises(ValueError, match="is not a"):
        decimals(text)


@pytest.mark.parametrize(
    ("value", "printed", "places", "expected"),
    [
        (77.494999, 77.49, 2, True),
        (77.495, 77.5, 2, True),
        (2.675, 2.68, 2, True),
        (-2.675, -2.68, 2, True),
        (-0.004, 0.0, 2, True),
        (0.5, 1, 0, True),
        (2.6749, 2.68, 2, False),
        (1.0, 1.01, 2, False),
        (np.nan, np.nan, 2, True),
        (np.nan, 1.0, 2, False),
        (1.0, np.nan, 2, False),
        (np.inf, np.inf, 2, True),
    ],
)
def test_agreement_is_rounding_half_away_from_zero(value, printed, places, expected):
    assert agrees(value, printed, places) is expected


@given(st.integers(-(10**6), 10**6), st.floats(-0.49, 0.49), st.integers(0, 4))
def test_what_rounds_to_the_printed_number_agrees(units, offset, places):
    unit = 10.0**-places
    assert agrees((units + offset) * unit, units * unit, places)
    assert not agrees((units + offset + 1.0) * unit, units * unit, places)
