"""The review of Yoonesi et al. 2025: its forest plot recomputed, number by number.

The plot (Fig. 3) prints every effect size with its 95 % interval and, below each block, what was pooled from them. All
was rounded to two decimals before it was printed, the intervals too, from which the sampling variances must be taken.
So a recomputed number may differ from the printed one without either being wrong. How far rounding can go is not
guessed: every statistic is recomputed at the corners of the box in which the unrounded inputs lie.

All but one of the legible intervals are those of a standard error that is round to a tenth of a point. With these,
which nobody printed, the plot follows almost to the last digit; see :func:`shortest_errors`.

References
----------
Yoonesi S, Abedi Azar R, Arab Bafrani M, et al. Facial expression deep learning algorithms in the detection of
neurological disorders: a systematic review and meta-analysis. 2025.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from faceneuro.errors import InputError
from faceneuro.meta.effects import read_studies, remarks
from faceneuro.meta.moderation import subgroups
from faceneuro.meta.pooling import Pooled, pool
from faceneuro.meta.recovery import TOTALS, recover
from faceneuro.meta.rounding import agrees, attainable, decimals
from faceneuro.tables import EFFECTS, read_table

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]
Compute = Callable[[FloatArray, FloatArray], FloatArray]
"""Statistics of effect sizes and their sampling variances."""

EQUAL = "equal"
ROUNDING = "explained by rounding"
DIFFERENT = "not reproducible"
"""Verdicts on a recomputed number."""

STATISTICS = {
    "k": "k",
    "estimate": "estimate",
    "ci_low": "ci_low",
    "ci_high": "ci_high",
    "tau2": "tau2",
    "i2_pct": "i2",
    "h2": "h2",
    "q": "q",
    "q_df": "q_df",
    "z": "statistic",
}
"""Columns of the printed statistics and the attributes of :class:`faceneuro.meta.pooling.Pooled` that they are."""

OVERALL = "overall"
DIFFERENCES = "group_differences"
HALF_UNIT = 0.005
"""Effect sizes and limits are printed with two decimals."""
Z = stats.norm.ppf(0.975)


def read_printed(path: str | os.PathLike) -> pd.DataFrame:
    """Numbers as they are printed, as text, because their digits count; empty where nothing is printed."""
    return pd.read_csv(path, comment="#", dtype=str, keep_default_na=False)


def reproduce(studies: pd.DataFrame, statistics: pd.DataFrame, weights: pd.Series) -> pd.DataFrame:
    """Recompute every number of the forest plot from its rows.

    Parameters
    ----------
    studies
        The rows of the plot, as :func:`faceneuro.meta.effects.read_studies` gives them.
    statistics
        What is printed below the blocks, from :func:`read_printed`.
    weights
        The weights printed beside the rows, as text, by study.

    Returns
    -------
    One row per printed number: block, statistic, printed, recomputed, difference, low and high (what the rounding of
    the inputs can make of it; NaN where the digits are equal), verdict, shortest (recomputed from the standard errors
    of :func:`shortest_errors`), shortest_equal, recovered (whether rows entered that were themselves solved from such
    numbers, so that agreement is no evidence).
    """
    printed = statistics[statistics["where"] == "fig3"].set_index("subgroup_block")
    errors = shortest_errors(studies)
    rows = []
    for block in printed.index:
        inside = studies if block in (OVERALL, DIFFERENCES) else studies[studies["block"] == block]
        numbers = printed.loc[block, [name for name in STATISTICS if printed.loc[block, name]]]
        compute = _differences(inside, list(numbers.index)) if block == DIFFERENCES else _pooled(list(numbers.index))
        rows += _compare(block, numbers, inside, errors, compute)
    rows += _compare("weights", weights.loc[studies["study"]], studies, errors, _weights)
    return pd.DataFrame(rows)


def shortest_errors(studies: pd.DataFrame) -> pd.Series:
    """The standard error with the fewest decimals that gives a row's printed interval.

    Parameters
    ----------
    studies
        From :func:`faceneuro.meta.effects.read_studies`.

    Returns
    -------
    Percent, with the index of ``studies``: to a tenth where both limits allow it, else to a hundredth; of a recovered
    row, which has no printed limits, the nearest tenth.
    """
    half = (studies["ci_high"] - studies["ci_low"]) / 2
    tenths = (half / Z).round(1)
    fits = (abs(half - Z * tenths) <= HALF_UNIT) | (studies["provenance"] == "recovered")
    return tenths.where(fits, (half / Z).round(2))


def _pooled(names: list[str]) -> Compute:
    return lambda y, v: np.array([getattr(pool(y, v), STATISTICS[name]) for name in names], float)


def _weights(y: FloatArray, v: FloatArray) -> FloatArray:
    return 100 * pool(y, v).weights


def _differences(inside: pd.DataFrame, names: list[str]) -> Compute:
    labels = inside["block"].tolist()

    def compute(y: FloatArray, v: FloatArray) -> FloatArray:
        found = subgroups(y, v, labels)
        known = {"k": len(found.groups), "q": found.q_between, "q_df": found.df}
        return np.array([known[name] for name in names], float)

    return compute


def _compare(
    block: str, numbers: pd.Series, inside: pd.DataFrame, errors: pd.Series, compute: Compute
) -> list[dict[str, Any]]:
    """Printed numbers beside what the rows give, and beside what the rounding of the rows allows."""
    printed, digits = numbers.astype(float).to_numpy(), [decimals(text) for text in numbers]
    inputs = inside[["accuracy", "ci_low", "ci_high"]].to_numpy().T.ravel()

    def equal(values: FloatArray) -> npt.NDArray[np.bool_]:
        return np.array([agrees(*each) for each in zip(values, printed, digits, strict=True)])

    def from_printed(values: FloatArray, chosen: Any = slice(None)) -> FloatArray:
        accuracy, low, high = values.reshape(3, -1)
        return compute(accuracy, ((high - low) / (2 * Z)) ** 2)[chosen]

    found = from_printed(inputs)
    shortest = compute(inside["accuracy"].to_numpy(), errors[inside.index].to_numpy() ** 2)
    same = equal(found)
    lows, highs = np.full((2, len(found)), np.nan)
    if not same.all():
        lows[~same], highs[~same] = attainable(lambda values: from_printed(values, ~same), inputs, HALF_UNIT)
    slack = 0.5 * 10.0 ** -np.array(digits)
    possible = (lows - slack <= printed) & (printed <= highs + slack)
    return [
        {
            "block": block,
            "statistic": name,
            "printed": text,
            "recomputed": found[i],
            "difference": found[i] - printed[i],
            "low": lows[i],
            "high": highs[i],
            "verdict": EQUAL if same[i] else ROUNDING if possible[i] else DIFFERENT,
            "shortest": shortest[i],
            "shortest_equal": bool(equal(shortest)[i]),
            "recovered": bool((inside["provenance"] == "recovered").any()),
        }
        for i, (name, text) in enumerate(numbers.items())
    ]


def pool_rows(rows: pd.DataFrame, method: str = "REML", test: str = "z") -> Pooled:
    """Rows of a table of effect sizes, pooled in percent."""
    return pool(rows["accuracy"].to_numpy(), rows["variance"].to_numpy(), method, test)


def gather(
    tables: Iterable[str | os.PathLike],
    published: bool,
    metrics: Mapping[str, str | os.PathLike],
    cohorts: Mapping[str, Mapping[str, Any]],
) -> pd.DataFrame:
    """One collection of effect sizes from the review, tables of the user and results of this pipeline.

    Parameters
    ----------
    tables
        CSV files for :func:`faceneuro.meta.effects.read_studies`.
    published
        Whether the first of them is the review's.
    metrics
        Tables of metrics of studies of this pipeline, by name of the study.
    cohorts
        What there is to say about the people of each: cohort, virtual, permuted.

    Returns
    -------
    Rows of :data:`faceneuro.tables.EFFECTS`.

    Raises
    ------
    InputError
        If a table cannot be used, two rows bear one name, or nothing can be pooled.
    """
    parts = []
    for place, path in enumerate(tables):
        studies = read_studies(path)
        for sentence in remarks(studies):
            log.info("%s: %s", path, sentence)
        parts.append(studies.assign(origin="published" if published and not place else "own table"))
    own = [own_effect(study, read_table(table), cohorts[study]) for study, table in metrics.items()]
    parts += [pd.DataFrame([row]) for row in own if row]
    if not parts:
        raise InputError("there is no effect size to pool: none of the studies has people held out (protocol grouped)")
    effects = pd.concat(parts, ignore_index=True)
    if effects["accuracy"].isna().all():
        raise InputError(
            f"{' and '.join(map(str, tables))}: column accuracy_pct is blank in every row, so there is nothing to "
            "pool; fill in what is known"
        )
    twice = effects["study"][effects["study"].duplicated()]
    if len(twice):
        raise InputError(
            f"{' and '.join(map(str, tables))} both have a study {twice.iloc[0]!r}: remove one of the two rows, or "
            "tell them apart as (a) and (b)"
        )
    return effects[EFFECTS.names]


def own_effect(study: str, metrics: pd.DataFrame, cohort: Mapping[str, Any]) -> dict[str, Any] | None:
    """The accuracy of a study of this pipeline over people held out, as an effect size.

    Parameters
    ----------
    study
        Its name; its module says which condition it is about and which model the paper is known for.
    metrics
        Rows of :data:`faceneuro.tables.METRICS`.
    cohort
        What there is to say about its people: cohort, virtual, permuted.

    Returns
    -------
    A row of :data:`faceneuro.tables.EFFECTS`, or None where no people were held out.
    """
    module = import_module(f"faceneuro.studies.{study}")
    chosen = metrics.query("protocol == 'grouped' and level == 'subject' and aggregation == 'pooled'")
    # The review's accuracies tell a condition from none: of more than two classes, that is detecting any of the others.
    metric = "detection_accuracy" if "detection_accuracy" in set(chosen["metric"]) else "accuracy"
    chosen = chosen[chosen["metric"] == metric].set_index("model")
    if chosen.empty:
        log.warning("study %s holds nobody out (no protocol 'grouped'): it does not enter the meta-analysis", study)
        return None
    model = module.PUBLISHED_MODEL if module.PUBLISHED_MODEL in chosen.index else chosen.index[0]
    found = chosen.loc[model]
    n = int(found["n_subjects"])
    low, high = found["ci_low"], found["ci_high"]
    if not low < high:
        # All right, or all wrong: every resample is too, but so few people do not make one certain (Wilson 1927).
        low, high = stats.binomtest(round(found["value"] * n), n).proportion_ci(method="wilson")
    origin = f"virtual cohort {cohort['cohort']}" if cohort["virtual"] else "recordings of people"
    return {
        "study": f"This pipeline: {study}, {model}",
        "subgroup": module.CONDITION,
        "block": "This pipeline",
        "article": f"This pipeline: {study}",
        "year": None,
        "accuracy": 100 * found["value"],
        "ci_low": 100 * low,
        "ci_high": 100 * high,
        "variance": (100 * (high - low) / (2 * Z)) ** 2,
        "n": n,
        "measure": metric.replace("_", " "),
        "provenance": "computed",
        "origin": origin + (", labels permuted" if cohort["permuted"] else ""),
    }


def recover_rows(studies: pd.DataFrame, statistics: pd.DataFrame, weights: pd.Series) -> tuple[pd.DataFrame, ...]:
    """Solve the illegible rows of the forest plot anew, block by block.

    Parameters
    ----------
    studies, statistics, weights
        As for :func:`reproduce`; the accuracy and limits of rows marked as recovered are not looked at.

    Returns
    -------
    rows
        block, study, accuracy, ci_low, ci_high as solved, used_accuracy, used_ci_low, used_ci_high as in ``studies``,
        determined.
    residuals
        block, statistic, printed, recomputed, difference, half_units, low, high.
    """
    printed = statistics[statistics["where"] == "fig3"].set_index("subgroup_block")
    numbers = printed[list(STATISTICS)].apply(pd.to_numeric).rename(columns={"i2_pct": "i2"})[list(TOTALS)]
    found, residuals = [], []
    names = ["accuracy", "ci_low", "ci_high"]
    for block, rows in studies.groupby("block", sort=False):
        illegible = rows["provenance"] == "recovered"
        if not illegible.any():
            continue
        solved = recover(
            rows[["study"]].join(rows[names].mask(illegible)),
            numbers.loc[block].to_dict(),
            weights=weights.loc[rows["study"]].astype(float).to_numpy(),
            overall_tau2=numbers.loc[OVERALL, "tau2"],
        )
        used = rows.loc[illegible, ["study", *names]].rename(columns={name: f"used_{name}" for name in names})
        found.append(solved.rows.merge(used, on="study").assign(block=block, determined=solved.determined))
        residuals.append(solved.residuals.assign(block=block))
    return pd.concat(found, ignore_index=True), pd.concat(residuals, ignore_index=True)
