"""What rounding does: how far a statistic can be off when it is computed from rounded numbers.

A published table gives its numbers to a few digits. Statistics computed anew from it need not agree with the published
ones, which were computed before rounding; the range that they can attain says whether rounding is to blame.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt

TIE = 1e-9
"""Of a unit in the last place: so much below one half still counts as a half, because binary fractions miss it."""

ROUNDS = 8
"""How often the signs are looked at again; two or three rounds are what it takes."""

Array = npt.NDArray[np.float64]


def attainable(
    statistics: Callable[[Array], Array], printed: npt.ArrayLike, half_unit: npt.ArrayLike
) -> tuple[Array, Array]:
    """Lowest and highest value of each statistic when every printed input may be off by half a unit.

    A statistic that is monotone in each input is extreme in a corner of the box of all inputs that round to the printed
    ones. The signs of its gradient at the centre choose the corner; there they are looked at again, input by input,
    until no single change leads further. The statistic is evaluated at the corners, it is not linearised. So both
    values are attained, and they are the extremes wherever the signs do not depend on where in the box one is. Where
    they do, the extremes of everything that was evaluated are given: the range is never too wide.

    Parameters
    ----------
    statistics
        Function of the inputs, shape (n,), that returns the statistics, shape (m,). It may be called a few hundred
        times, and must not change its argument.
    printed
        Inputs as printed, shape (n,).
    half_unit
        Half a unit in the last printed place, one for all inputs or shape (n,); 0 for an input that is exact.

    Returns
    -------
    Lowest and highest values, each of shape (m,); NaN for a statistic that is NaN at the printed inputs.

    Raises
    ------
    ValueError
        If a half unit is negative, or the shapes do not fit.
    """
    centre = np.array(printed, float)
    if centre.ndim != 1:
        raise ValueError(f"the inputs have shape {centre.shape}, not (n,)")
    half = np.broadcast_to(np.asarray(half_unit, float), centre.shape)
    if (half < 0).any():
        raise ValueError("a half unit is negative")
    free = np.flatnonzero(half)
    seen: dict[bytes, Array] = {}

    def at(signs: npt.NDArray[np.int8]) -> Array:
        key = signs.tobytes()
        if key not in seen:
            seen[key] = np.array(statistics(centre + signs * half), float)
        return seen[key]

    middle = np.zeros(len(centre), np.int8)
    defined = ~np.isnan(at(middle))
    slopes = np.array([at(_changed(middle, i, 1)) - at(_changed(middle, i, -1)) for i in free])
    slopes = slopes.reshape(len(free), len(defined))
    for statistic in np.flatnonzero(defined):
        for direction in (1, -1):
            signs = middle.copy()
            # An input without influence at the centre may have some in the corner, so it is put there, too.
            signs[free] = np.where(direction * slopes[:, statistic] < 0, -1, 1)
            _climb(lambda s, j=statistic, d=direction: d * at(s)[j], signs, free)
    values = np.array(list(seen.values()))
    low, high = (extreme.reduce(values, axis=0) for extreme in (np.fmin, np.fmax))
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def _changed(signs: npt.NDArray[np.int8], index: int, sign: int) -> npt.NDArray[np.int8]:
    changed = signs.copy()
    changed[index] = sign
    return changed


def _climb(value: Callable[[npt.NDArray[np.int8]], float], signs: npt.NDArray[np.int8], free: npt.NDArray) -> None:
    """Go from corner to corner as long as changing the signs of single inputs raises the value."""
    for _ in range(ROUNDS):
        here = value(signs)
        gains = np.array([value(_changed(signs, i, -signs[i])) for i in free]) - here
        # Less than this is the noise of the arithmetic.
        better = gains > 1e-10 * max(1.0, abs(here))
        if not better.any():
            return
        together = signs.copy()
        together[free[better]] *= -1
        best = _changed(signs, free[np.nanargmax(gains)], -signs[free[np.nanargmax(gains)]])
        signs = together if value(together) >= value(best) else best


def decimals(text: str) -> int:
    """Number of digits after the point of a number as printed: 2 for ``77.50``.

    Raises
    ------
    ValueError
        If the text is not a number.
    """
    try:
        exponent = Decimal(text.strip()).as_tuple().exponent
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not isinstance(exponent, int):
        raise ValueError(f"{text!r} is not a finite number")
    return max(0, -exponent)


def agrees(value: float, printed: float, decimals: int) -> bool:
    """Whether a value, rounded half away from zero to so many decimals, is the printed one; NaN agrees with NaN only.

    Examples
    --------
    >>> agrees(2.675, 2.68, 2), agrees(2.6749, 2.68, 2)
    (True, False)
    """
    if not (np.isfinite(value) and np.isfinite(printed)):
        return bool(value == printed or (np.isnan(value) and np.isnan(printed)))
    unit = 10.0**decimals
    rounded = np.copysign(np.floor(abs(value) * unit + 0.5 + TIE), value)
    return bool(rounded == np.round(printed * unit))
