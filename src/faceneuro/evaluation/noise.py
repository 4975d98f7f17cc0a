"""Whether two numbers differ by more than their noise, judged by nothing but their intervals."""

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, norm

LEVEL = 0.05
"""Of the intervals, and of what is taken for a difference."""


def gaps(here: pd.DataFrame, there: pd.DataFrame) -> pd.DataFrame:
    """Differences of independent estimates, with the intervals that follow from those of both.

    Half-widths are added in quadrature, each on its own side, so intervals need not be symmetric (Newcombe 1998; Zou
    and Donner 2008, doi:10.1002/sim.3095). The p-value is that of a normal deviate as many half-widths away.

    Parameters
    ----------
    here, there
        Columns value, ci_low and ci_high, of the same length and order; intervals of 95 %.

    Returns
    -------
    With the index of ``here``: difference (here less there), ci_low, ci_high and p_value. All but the difference are
    NaN where either interval is missing, has no width (then nothing varied, which is no knowledge of noise) or leaves
    its own value out.
    """
    one, two = (frame[["value", "ci_low", "ci_high"]].to_numpy(float).T for frame in (here, there))
    # Of what is infinite it is not known.
    with np.errstate(invalid="ignore"):
        difference = one[0] - two[0]
        known = _known(one) & _known(two)
        below = np.hypot(one[0] - one[1], two[2] - two[0])
        above = np.hypot(one[2] - one[0], two[0] - two[1])
        noise = np.where(difference > 0, below, above)
        # On the side where neither interval has any room.
        known &= noise > 0
        deviate = norm.isf(LEVEL / 2) * np.abs(difference) / np.where(known, noise, 1.0)
        table = pd.DataFrame(
            {
                "difference": difference,
                "ci_low": difference - below,
                "ci_high": difference + above,
                "p_value": 2 * norm.sf(deviate),
            },
            index=here.index,
        )
    table.loc[~known, ["ci_low", "ci_high", "p_value"]] = np.nan
    return table


def _known(estimate: np.ndarray) -> np.ndarray:
    value, low, high = estimate
    return (low < high) & (low <= value) & (value <= high)


def discoveries(p_values: pd.Series) -> pd.Series:
    """Adjusted p-values: of the differences at or below a level, so large a share is expected to be chance.

    By Benjamini and Hochberg (1995), over all that are not NaN.
    """
    adjusted = pd.Series(np.nan, index=p_values.index)
    known = p_values.notna()
    if known.any():
        adjusted[known] = false_discovery_control(p_values[known].to_numpy())
    return adjusted
