"""Rows of a forest plot that cannot be read, solved from the totals printed below them.

A forest plot prints each study's estimate and limits, and below a block what was pooled from it. The pooled numbers
depend on every row, so where a few rows are illegible, the totals are equations for them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, stats

from faceneuro.meta.pooling import pool
from faceneuro.meta.rounding import attainable

Array = npt.NDArray[np.float64]

TOTALS = {
    "estimate": "estimate",
    "ci_low": "ci_low",
    "ci_high": "ci_high",
    "tau2": "tau2",
    "i2": "i2",
    "h2": "h2",
    "q": "q",
    "z": "statistic",
}
"""What may be printed below a block, and the attribute of :class:`faceneuro.meta.pooling.Pooled` that it is."""

NUMBERS = ["accuracy", "ci_low", "ci_high"]
"""What is printed of a row."""

STARTS = 4
"""Searches, from different values, for each row that is to be solved."""

DRAWS = 8
"""Values that are drawn to start a search from the best of them."""

CLOSE = 10.0
"""Half units: from solutions as close as this to all that is printed, one that meets it is looked for."""

FEW = 20
"""Half units: how far such a search goes in one round."""

ROUNDS = 20
"""Of such a search."""

EXACT = 10.0
"""By how much more the equation of the heterogeneity variance counts than a printed number."""

APART = 0.5
"""Solutions that differ by more points than this in some accuracy or limit are different ones."""

WIDEST = 100.0
"""Half of the widest interval that is thought of, in points."""


@dataclass(frozen=True)
class Recovery:
    """Rows solved from totals.

    ``rows``: study, accuracy, ci_low and ci_high of each solved row, rounded as printed. ``residuals``: for each
    printed total and weight, statistic, printed, recomputed (from all rows as printed), difference, half_units (the
    difference in half units of the last printed place: from -1 to 1 is agreement), low and high (what the rounding of
    the rows can make of the recomputed value). ``solutions``: how many different sets of rows were found that meet
    everything that is printed; 0 if the rows given are only the nearest. ``determined``: there is one, and no change of
    it by a point would go unnoticed.
    """

    rows: pd.DataFrame
    residuals: pd.DataFrame
    determined: bool
    solutions: int


@dataclass(frozen=True)
class _Block:
    """A block as printed: rows (k, 3), totals by name, weights (k,); NaN where something is not legible."""

    rows: Array
    totals: dict[str, float]
    weights: Array
    overall_tau2: float
    half_unit: float
    z: float
    level: float

    @property
    def unknown(self) -> npt.NDArray[np.bool_]:
        """Rows to be solved."""
        return np.isnan(self.rows).any(axis=1)

    @property
    def weighted(self) -> npt.NDArray[np.bool_]:
        """Rows whose weight is printed."""
        return ~np.isnan(self.weights)


@dataclass(frozen=True)
class _Solution:
    """``values`` as in :func:`_unpack`, the unknown ``rows``, and the sum of squares and the worst of the misfit.

    ``sharpness``: how far the printed numbers move, in half units and all together, when the unknowns move by a point
    in the direction that shows least.
    """

    values: Array
    rows: Array
    cost: float
    worst: float
    sharpness: float


def recover(
    studies: pd.DataFrame,
    totals: Mapping[str, float],
    *,
    weights: npt.ArrayLike | None = None,
    overall_tau2: float | None = None,
    level: float = 0.95,
    decimals: int = 2,
    seed: int = 1,
) -> Recovery:
    """Solve the illegible rows of one block of a forest plot.

    Unknown are the accuracy and the width of the interval of each row of which a number is missing; the interval is
    symmetric. Equations are the totals, the weights and whatever is legible of such a row, each in units of half the
    last printed place, solved by least squares from several starting values. The legible rows are first taken at their
    word. If no solution then meets every total, they, too, may lie anywhere in the intervals that round to the printed
    numbers: statistics like Q are so sensitive to the narrowest interval that its rounding alone can move them by far
    more than their last place. A row that has nothing to tell it from another, not even its weight, comes before it if
    its interval is narrower.

    Parameters
    ----------
    studies
        Columns study, accuracy, ci_low, ci_high, one row per row of the block; NaN where a number is illegible.
    totals
        Printed numbers, by the names in :data:`TOTALS`; NaN or left out where there is none. Of a random-effects model
        by restricted maximum likelihood; I2 (in percent) and H2 are those based on tau2.
    weights
        Printed weights of the rows in percent, shape (k,), NaN where illegible. They are those of the whole plot: of
        the rows of all blocks, with the heterogeneity of all.
    overall_tau2
        The heterogeneity variance of the whole plot; needed with weights.
    level
        Of the intervals.
    decimals
        How many decimals everything is printed with.
    seed
        Of the starting values.

    Returns
    -------
    The rows, how well they meet what is printed, and whether nothing else would.

    Raises
    ------
    ValueError
        If a total has an unknown name, or weights come without the overall heterogeneity or not one for each row.
    """
    strange = set(totals) - set(TOTALS)
    if strange:
        raise ValueError(f"no totals {', '.join(sorted(strange))}; there are {', '.join(TOTALS)}")
    if weights is not None and (overall_tau2 is None or np.shape(weights) != (len(studies),)):
        raise ValueError("weights need the overall tau2, and there must be one for each row")
    block = _Block(
        rows=studies[NUMBERS].to_numpy(float),
        # I2 and H2 of a single row are not defined, whatever is printed.
        totals={
            name: float(value)
            for name, value in totals.items()
            if not pd.isna(value) and not (len(studies) == 1 and name in ("i2", "h2"))
        },
        weights=np.full(len(studies), np.nan) if weights is None else np.asarray(weights, float),
        overall_tau2=0.0 if overall_tau2 is None else float(overall_tau2),
        half_unit=0.5 * 10.0**-decimals,
        z=float(stats.norm.isf((1 - level) / 2)),
        level=level,
    )
    names = studies["study"].to_numpy()
    if not block.unknown.any():
        return Recovery(_named(names, block.rows)[:0], _residuals(block, block.rows, names), True, 1)
    found = _solutions(block, np.random.default_rng(seed))
    rows = _printed(block, found[0], decimals)
    solutions = len(found) if found[0].worst <= 1 else 0
    return Recovery(
        rows=_named(names, rows)[block.unknown].reset_index(drop=True),
        residuals=_residuals(block, rows, names),
        determined=solutions == 1 and found[0].sharpness >= 1,
        solutions=solutions,
    )


def _named(names: npt.NDArray, rows: Array) -> pd.DataFrame:
    return pd.DataFrame({"study": names, **dict(zip(NUMBERS, rows.T, strict=True))})


def _solutions(block: _Block, random: np.random.Generator) -> list[_Solution]:
    """Different solutions, the best first: all that meet what is printed, or else the best single one."""

    def cost(values: Array) -> float:
        return float((_misfit(block, values) ** 2).sum())

    count = STARTS * int(block.unknown.sum())
    starts = [min((_start(block, random) for _ in range(DRAWS)), key=cost) for _ in range(count)]
    found = _refined(block, _distinct(_solve(block, start) for start in starts))
    if found[0].worst > 1:
        slack = np.zeros(2 * int((~block.unknown).sum()))
        loosened = (_solve(block, np.concatenate([each.values, slack])) for each in found[:STARTS])
        found = _refined(block, _distinct(loosened))
    return [each for each in found if each.worst <= 1] or found[:1]


def _refined(block: _Block, solutions: list[_Solution]) -> list[_Solution]:
    """The same, moved a little where the least squares overstep in one place what a solution nearby keeps in all."""
    moved = [_evened(block, each) if 1 < each.worst < CLOSE else each for each in solutions]
    return sorted(moved, key=lambda solution: (solution.worst > 1, solution.cost))


def _start(block: _Block, random: np.random.Generator) -> Array:
    """Starting values: accuracies anywhere, widths about what the weights say, or else like those of other rows."""
    unknown, weighted = block.unknown, block.weighted
    half = (block.rows[:, 2] - block.rows[:, 1]) / 2
    usual = 5.0 if unknown.all() else float(np.median(half[~unknown]))
    half[unknown] = usual * random.uniform(0.3, 3, int(unknown.sum()))
    constant = 1.0
    if weighted.any():
        # A weight is a constant of the whole plot over the sum of both variances.
        trusted = weighted & ~unknown if (weighted & ~unknown).any() else weighted
        constant = float((block.weights * ((half / block.z) ** 2 + block.overall_tau2))[trusted].mean())
        solved = unknown & weighted
        variances = np.maximum(constant / block.weights[solved] - block.overall_tau2, 0.1)
        half[solved] = block.z * np.sqrt(variances) * random.uniform(0.8, 1.25, len(variances))
    half = np.clip(half, 2 * block.half_unit, WIDEST / 2)
    blank = np.isnan(block.rows[:, 0])
    accuracy = np.where(blank, random.uniform(0, 100, len(half)), block.rows[:, 0])
    tau2 = block.totals.get("tau2", float(np.var(accuracy)))
    if "estimate" in block.totals and blank.any():
        # Moved together, so that the pooled estimate is about the printed one.
        share = 1 / ((half / block.z) ** 2 + tau2)
        accuracy[blank] += (share * (block.totals["estimate"] - accuracy)).sum() / share[blank].sum()
        accuracy = np.clip(accuracy, 0, 100)
    return np.concatenate([accuracy[unknown], np.log(half[unknown]), [tau2, np.log(constant)][: 1 + weighted.any()]])


def _solve(block: _Block, start: Array) -> _Solution:
    """The least squares solution that is found from there."""
    u = int(block.unknown.sum())
    found = optimize.least_squares(
        lambda values: _misfit(block, values), start, bounds=_bounds(block, len(start)), x_scale="jac", max_nfev=300
    )
    order = _narrowest_first(block, found.x[u : 2 * u])
    values = np.concatenate([found.x[:u][order], found.x[u : 2 * u][order], found.x[2 * u :]])
    # Per point of accuracy and of width. What the remaining values can make up for does not show.
    own = found.jac[:, : 2 * u] / np.concatenate([np.ones(u), np.exp(found.x[u : 2 * u])])
    others = np.linalg.qr(found.jac[:, 2 * u :])[0]
    singular = np.linalg.svd(own - others @ (others.T @ own), compute_uv=False)
    return _solution(block, values, float(singular[-1]) if len(found.fun) >= len(start) else 0.0)


def _evened(block: _Block, solution: _Solution) -> _Solution:
    """A solution nearby whose largest misfit is smaller, down to one half unit.

    So near to it the misfit is almost linear in the values, and the least largest misfit is that of a linear programme;
    a few of them, each from where the last one led, do for the rest.
    """
    values, misfit = solution.values, _misfit(block, solution.values)
    low, high = (np.array(bound) for bound in _bounds(block, len(values)))
    u, scaled = int(block.unknown.sum()), int(block.weighted.any())
    widths = np.exp(values[u : 2 * u])
    slack = len(values) - 2 * u - 1 - scaled
    # A few units of the numbers: how far the linear form is trusted.
    reach = FEW * np.concatenate([np.full(u, block.half_unit), block.half_unit / widths, [block.half_unit]])
    reach = np.concatenate([reach, [1e-3] * scaled, np.ones(slack)])
    for _ in range(ROUNDS):
        if np.abs(misfit).max() <= 1:
            break
        slopes = optimize.approx_fprime(values, lambda x: _misfit(block, x), 1e-7 * np.maximum(1, np.abs(values)))
        column = np.full((len(misfit), 1), -1.0)
        steps = np.column_stack([np.maximum(low - values, -reach), np.minimum(high - values, reach)])
        best = optimize.linprog(
            [*np.zeros(len(values)), 1.0],
            A_ub=np.vstack([np.hstack([slopes, column]), np.hstack([-slopes, column])]),
            b_ub=np.concatenate([-misfit, misfit]),
            bounds=[*steps, (0, None)],
        )
        if best.x is None:
            break
        tried = np.clip(values + best.x[:-1], low, high)
        if np.abs(_misfit(block, tried)).max() < np.abs(misfit).max():
            values, misfit = tried, _misfit(block, tried)
        else:
            reach = reach / 4
    return _solution(block, values, solution.sharpness)


def _solution(block: _Block, values: Array, sharpness: float) -> _Solution:
    misfit = _misfit(block, values)
    accuracy, half, *_ = _unpack(block, values)
    rows = np.column_stack([accuracy, accuracy - half, accuracy + half])[block.unknown]
    return _Solution(values, rows, float((misfit**2).sum()), float(np.abs(misfit).max()), sharpness)


def _bounds(block: _Block, size: int) -> tuple[list[float], list[float]]:
    """Of the values, see :func:`_unpack`."""
    u, scaled = int(block.unknown.sum()), int(block.weighted.any())
    slack = size - 2 * u - 1 - scaled
    return (
        [*[0.0] * u, *[np.log(block.half_unit)] * u, 0.0, *[-np.inf] * scaled, *[-1.0] * slack],
        [*[100.0] * u, *[np.log(WIDEST)] * u, np.inf, *[np.inf] * scaled, *[1.0] * slack],
    )


def _narrowest_first(block: _Block, half_widths: Array) -> npt.NDArray[np.intp]:
    """Order of the solved rows in which those that nothing printed tells apart have ascending widths."""
    blank = np.isnan(block.rows[block.unknown]).all(axis=1)
    weights = np.nan_to_num(block.weights[block.unknown])
    order = np.arange(len(half_widths))
    for weight in np.unique(weights[blank]):
        same = np.flatnonzero(blank & (weights == weight))
        order[same] = same[np.argsort(half_widths[same])]
    return order


def _distinct(solutions: Iterable[_Solution]) -> list[_Solution]:
    """Solutions, the best first, without those that are the same as a better one."""
    kept: list[_Solution] = []
    for each in sorted(solutions, key=lambda solution: solution.cost):
        if all(np.abs(each.rows - other.rows).max() > APART for other in kept):
            kept.append(each)
    return kept


def _unpack(block: _Block, values: Array) -> tuple[Array, Array, float, float, Array]:
    """Accuracy and half width of every row, the heterogeneity, the constant of the weights and the legible rows' slack.

    ``values``: accuracies and logarithms of the half widths of the unknown rows, the heterogeneity variance, the
    logarithm of the constant of the weights if any is printed; then either nothing or by how many half units the
    accuracies and the half widths of the legible rows differ from the printed ones.
    """
    unknown, scaled = block.unknown, int(block.weighted.any())
    u = int(unknown.sum())
    accuracy, half = block.rows[:, 0].copy(), (block.rows[:, 2] - block.rows[:, 1]) / 2
    accuracy[unknown], half[unknown] = values[:u], np.exp(values[u : 2 * u])
    slack = values[2 * u + 1 + scaled :]
    if len(slack):
        accuracy[~unknown] += block.half_unit * slack[: len(slack) // 2]
        half[~unknown] += block.half_unit * slack[len(slack) // 2 :]
    return accuracy, half, values[2 * u], np.exp(values[2 * u + 1]) if scaled else np.nan, slack


def _misfit(block: _Block, values: Array) -> Array:
    """What is computed less what is printed, in half units.

    Of the totals, the heterogeneity variance as an estimate, the weights, the legible numbers of unknown rows, and the
    legible rows.
    """
    accuracy, half, tau2, constant, slack = _unpack(block, values)
    variances = (half / block.z) ** 2
    totals, step = _totals(accuracy, variances, tau2, block.z)
    of_rows = np.column_stack([accuracy, accuracy - half, accuracy + half]) - block.rows
    parts = [
        np.array([totals[name] - printed for name, printed in block.totals.items()]),
        # That it is the estimate for these rows is no less an equation than what is printed, and an exact one.
        [EXACT * (tau2 - max(0.0, tau2 + step))],
        (constant / (variances + block.overall_tau2) - block.weights)[block.weighted],
        of_rows[block.unknown[:, None] & ~np.isnan(block.rows)],
    ]
    return np.concatenate([*(np.asarray(part) / block.half_unit for part in parts), slack])


def _totals(y: Array, v: Array, tau2: float, z: float) -> tuple[dict[str, float], float]:
    """Pooled numbers for a given heterogeneity variance, and the step of Fisher's scoring towards its REML estimate.

    To estimate it anew for all rows that are tried, as :func:`faceneuro.meta.pooling.pool` does, would be a search in
    every step of a search. One more unknown with one more equation costs nothing.
    """
    k, w, fixed = len(y), 1 / (v + tau2), 1 / v
    total = w.sum()
    estimate, se = (w * y).sum() / total, total**-0.5
    totals = {"estimate": estimate, "ci_low": estimate - z * se, "ci_high": estimate + z * se, "z": estimate / se}
    totals |= {"tau2": tau2, "q": (fixed * (y - (fixed * y).sum() / fixed.sum()) ** 2).sum()}
    if k == 1:
        return totals, 0.0
    typical = (k - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    totals |= {"h2": tau2 / typical + 1, "i2": 100 * tau2 / (tau2 + typical)}
    squares = (w**2).sum()
    score = (w**2 * (y - estimate) ** 2).sum() - total + squares / total
    return totals, score / (squares - 2 * (w**3).sum() / total + (squares / total) ** 2)


def _recomputed(block: _Block, rows: Array) -> Array:
    """Totals, and weights where they are printed, from rows as printed, shape (k, 3)."""
    variances = ((rows[:, 2] - rows[:, 1]) / (2 * block.z)) ** 2
    inverse = 1 / (variances + block.overall_tau2)[block.weighted]
    # The rows of the other blocks are not at hand, so the constant is the one that suits these weights best.
    constant = (inverse * block.weights[block.weighted]).sum() / (inverse**2).sum() if len(inverse) else 1.0
    pooled = pool(rows[:, 0], variances, level=block.level)
    return np.concatenate([[getattr(pooled, TOTALS[name]) for name in block.totals], constant * inverse])


def _as_printed(block: _Block) -> Array:
    return np.array([*block.totals.values(), *block.weights[block.weighted]])


def _printed(block: _Block, solution: _Solution, decimals: int) -> Array:
    """All rows of the block with the solved ones rounded, so that the totals are met, if they can be.

    Rounding to the nearest may move a total by many units of its last place, so the places next to it are tried, too.
    Not if the totals were only met with the legible rows unrounded: then these must not be made up for.
    """
    unit = 2 * block.half_unit
    rows = block.rows.copy()
    exact = rows.copy()
    exact[block.unknown] = solution.rows
    cells = np.argwhere(np.isnan(rows))
    rows[np.isnan(rows)] = np.round(exact[np.isnan(rows)], decimals)
    if len(solution.values) > 2 * block.unknown.sum() + 1 + block.weighted.any() or solution.worst > 1:
        return rows
    moves = [(move,) for move in product(range(len(cells)), (-1, 1))]
    moves += [pair for pair in combinations([move for (move,) in moves], 2) if pair[0][0] != pair[1][0]]
    misfit = np.abs(_recomputed(block, rows) - _as_printed(block)) / block.half_unit
    while misfit.max() > 1:
        best, least = None, (misfit**2).sum()
        for move in moves:
            tried = rows.copy()
            for cell, sign in move:
                tried[tuple(cells[cell])] += sign * unit
            tried[np.isnan(block.rows)] = np.round(tried[np.isnan(block.rows)], decimals)
            if np.abs(tried - exact)[block.unknown].max() > 1.5 * unit:
                continue
            error = np.abs(_recomputed(block, tried) - _as_printed(block)) / block.half_unit
            if (error**2).sum() < least:
                best, least = (tried, error), (error**2).sum()
        if best is None:
            break
        rows, misfit = best
    return rows


def _residuals(block: _Block, rows: Array, names: npt.NDArray) -> pd.DataFrame:
    printed, found = _as_printed(block), _recomputed(block, rows)
    low, high = attainable(lambda inputs: _recomputed(block, inputs.reshape(-1, 3)), rows.ravel(), block.half_unit)
    return pd.DataFrame(
        {
            "statistic": [*block.totals, *(f"weight of {name}" for name in names[block.weighted])],
            "printed": printed,
            "recomputed": found,
            "difference": found - printed,
            "half_units": (found - printed) / block.half_unit,
            "low": low,
            "high": high,
        }
    )
