"""All that is asked of one collection of effect sizes: pooled in several ways, tested, taken apart row by row."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from faceneuro.meta import bias, imputation, moderation, multilevel, pooling, sensitivity
from faceneuro.meta.effects import SCALES, from_scale, on_scale
from faceneuro.tables import EFFECT_ROWS, POOLED

FEWEST = 3
"""Fewer effect sizes than this leave nothing to test for bias, influence or a trend."""

Line = dict[str, Any]

_SHARED = ("k", "statistic", "p_value", "tau2", "i2", "h2", "i2_q", "h2_q", "q", "q_df", "q_p_value")


def analyse(effects: pd.DataFrame, method: str, test: str, imputations: int, seed: int) -> pd.DataFrame:
    """Pool a collection of effect sizes in every way that a reader should see.

    Parameters
    ----------
    effects
        Rows of :data:`faceneuro.tables.EFFECTS`; an accuracy that is missing (NaN) only enters the imputation.
    method, test
        Of the main analysis, as for :func:`faceneuro.meta.pooling.pool`.
    imputations, seed
        Of the multiple imputation.

    Returns
    -------
    Rows of :data:`faceneuro.tables.POOLED`, in the order in which they are best read. The first is the main analysis.
    """
    known = effects[effects["accuracy"].notna()].reset_index(drop=True)
    lines = [
        *_main(known, method, test),
        *_estimators(known),
        *_scales(known, method),
        *_by_group(known, "block", method, test),
        *_by_group(known, "subgroup", method, test),
        *_dependence(known),
        *_missing(effects, method, imputations, seed),
        *_left_out(known, method, test),
        *_bias(known, method),
        *_trend(known, method, test),
    ]
    return pd.DataFrame(lines, columns=POOLED.names)


def describe_rows(effects: pd.DataFrame, method: str, test: str) -> pd.DataFrame:
    """What every effect size does to the pooled estimate.

    Parameters
    ----------
    effects
        Rows of :data:`faceneuro.tables.EFFECTS`.
    method, test
        As for :func:`analyse`.

    Returns
    -------
    Rows of :data:`faceneuro.tables.EFFECT_ROWS`; weights in percent. A row without an accuracy has none of it.
    """
    known = effects["accuracy"].notna().to_numpy()
    y, v = effects.loc[known, ["accuracy", "variance"]].to_numpy().T
    found: dict[str, Any] = {
        "se": np.sqrt(v),
        "weight": 100 * pooling.pool(y, v, method).weights,
        "weight_fixed": 100 * pooling.pool(y, v, "FE").weights,
    }
    if len(y) >= FEWEST:
        without = sensitivity.leave_one_out(y, v, method, test)
        for name in ("estimate", "ci_low", "ci_high", "tau2", "i2"):
            found[f"loo_{name}"] = [getattr(each, name) for each in without]
        pulls = sensitivity.baujat(y, v, method)
        found |= {"baujat_contribution": pulls.contribution, "baujat_influence": pulls.influence}
        influence = asdict(sensitivity.influence(y, v, method))
        found |= {name: influence[name] for name in ("rstudent", "dffits", "cook", "covariance_ratio", "hat")}
    return effects.join(pd.DataFrame(found, index=effects.index[known])).reindex(columns=EFFECT_ROWS.names)


def filled_effects(effects: pd.DataFrame, method: str) -> pd.DataFrame:
    """The effect sizes that trim-and-fill adds to make the funnel symmetric: accuracy and se, in percent."""
    known = effects[effects["accuracy"].notna()]
    if len(known) < FEWEST:
        return pd.DataFrame({"accuracy": [], "se": []}, dtype=float)
    result = bias.trim_and_fill(known["accuracy"].to_numpy(), known["variance"].to_numpy(), method)
    return pd.DataFrame({"accuracy": result.effects, "se": np.sqrt(result.variances)})[result.filled]


def _line(analysis: str, group: str, found: Any, scale: str = "raw", **more: Any) -> Line:
    """A pooled estimate as a row of the table, in percent."""
    line = {"analysis": analysis, "group": group, "scale": scale, "method": found.method, "test": found.test}
    line |= {name: getattr(found, name) for name in _SHARED}
    line |= {name: getattr(found, name) for name in ("estimate", "ci_low", "ci_high", "pi_low", "pi_high")}
    return line | more


def _pooled(effects: pd.DataFrame, method: str, test: str) -> pooling.Pooled:
    return pooling.pool(effects["accuracy"].to_numpy(), effects["variance"].to_numpy(), method, test)


def _main(known: pd.DataFrame, method: str, test: str) -> Iterator[Line]:
    low, high = pooling.tau2_interval(known["accuracy"].to_numpy(), known["variance"].to_numpy())
    yield _line("main", "all", _pooled(known, method, test), tau2_ci_low=low, tau2_ci_high=high)


def _estimators(known: pd.DataFrame) -> Iterator[Line]:
    for method in pooling.METHODS:
        for test in pooling.TESTS:
            yield _line("estimator", "all", _pooled(known, method, test))


def _scales(known: pd.DataFrame, method: str) -> Iterator[Line]:
    for scale in SCALES:
        for test in pooling.TESTS:
            yield from _on_scale("scale", "all", known, scale, method, test)


def _on_scale(analysis: str, group: str, known: pd.DataFrame, scale: str, method: str, test: str) -> Iterator[Line]:
    """Pooled on another scale, and back in percent; nothing where no effect size can be put on it."""
    y, v, used = on_scale(known, scale)
    if not used.any():
        return
    n = known.loc[used, "n"].to_numpy(float) if scale == "freeman_tukey" else None
    line = _line(analysis, group, pooling.pool(y, v, method, test), scale)
    for name in ("estimate", "ci_low", "ci_high", "pi_low", "pi_high"):
        line[name] = float(from_scale(np.array([line[name]]), scale, n)[0])
    left = known.loc[~used, "study"]
    yield line | {"note": f"cannot be put on this scale: {', '.join(left)}"} if len(left) else line


def _by_group(known: pd.DataFrame, column: str, method: str, test: str) -> Iterator[Line]:
    """Every block of the forest plot, or every condition, by itself; then how far they differ."""
    if known[column].nunique() < 2 or (column == "subgroup" and (known["subgroup"] == known["block"]).all()):
        return
    for scale in ("raw", "logit"):
        y, v, used = on_scale(known, scale)
        labels = known.loc[used, column].tolist()
        found = moderation.subgroups(y, v, labels, method, test)
        for name in found.groups:
            yield from _on_scale(column, name, known[used & (known[column] == name)], scale, method, test)
        yield {
            "analysis": column,
            "group": "differences",
            "scale": scale,
            "method": method,
            "test": test,
            "k": len(found.groups),
            "q": found.q_between,
            "q_df": found.df,
            "q_p_value": found.p_value,
        }


def _dependence(known: pd.DataFrame) -> Iterator[Line]:
    """Effect sizes of one article are no independent studies: three levels instead of two."""
    if known["article"].is_unique or known["article"].nunique() < FEWEST:
        return
    for scale in ("raw", "logit"):
        y, v, used = on_scale(known, scale)
        found = multilevel.three_level(y, v, known.loc[used, "article"].to_numpy())
        back = from_scale(np.array([found.estimate, found.ci_low, found.ci_high]), scale)
        yield {
            "analysis": "three_level",
            "group": "all",
            "scale": scale,
            "method": "REML",
            "test": "t",
            "k": found.k,
            **dict(zip(("estimate", "ci_low", "ci_high"), map(float, back), strict=True)),
            "statistic": found.statistic,
            "df": found.df,
            "p_value": found.p_value,
            "tau2": found.tau2_between + found.tau2_within,
            "note": f"{found.clusters} articles; tau2 between articles {found.tau2_between:.4g}, "
            f"within {found.tau2_within:.4g}",
        }


def _missing(effects: pd.DataFrame, method: str, imputations: int, seed: int) -> Iterator[Line]:
    """What is no accuracy, or was not reported, taken as missing: left out, and imputed."""
    missing = (effects["accuracy"].isna() | (effects["measure"] != "accuracy")).to_numpy()
    if not missing.any() or (~missing).sum() < FEWEST:
        return
    note = f"taken as missing: {', '.join(effects.loc[missing, 'study'])}"
    yield _line("missing", "left out", _pooled(effects[~missing], method, "z"), note=note)
    found = imputation.pool_imputed(
        effects["accuracy"].where(~missing).to_numpy(float),
        effects["variance"].to_numpy(float),
        imputations,
        seed,
        method,
    )
    yield {
        "analysis": "missing",
        "group": "imputed",
        "scale": "raw",
        "method": method,
        "test": "rubin",
        "k": found.k,
        "estimate": found.estimate,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "statistic": found.statistic,
        "df": found.df,
        "p_value": found.p_value,
        "note": f"{found.imputations} imputations, {found.fraction_missing:.0%} of the information missing; {note}",
    }


_PARTS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "printed rows only": lambda effects: effects["provenance"] != "recovered",
    "published rows only": lambda effects: effects["origin"] == "published",
    "recordings of people only": lambda effects: ~effects["origin"].str.startswith("virtual"),
}


def _left_out(known: pd.DataFrame, method: str, test: str) -> Iterator[Line]:
    """Without the rows that a reader may not trust."""
    for name, chosen in _PARTS.items():
        keep = chosen(known)
        if keep.any() and not keep.all():
            yield _line(
                "sensitivity",
                name,
                _pooled(known[keep], method, test),
                note=f"without {', '.join(known.loc[~keep, 'study'])}",
            )


def _bias(known: pd.DataFrame, method: str) -> Iterator[Line]:
    if len(known) < FEWEST:
        return
    y, v = known["accuracy"].to_numpy(), known["variance"].to_numpy()
    tests = {
        "Egger, random effects": ("z", bias.egger(y, v, "random")),
        "Egger, weighted regression": ("t", bias.egger(y, v, "weighted")),
        "Begg, rank correlation": ("tau", bias.begg(y, v)),
    }
    for name, (test, found) in tests.items():
        yield {
            "analysis": "bias",
            "group": name,
            "scale": "raw",
            "method": method,
            "test": test,
            "k": len(y),
            "statistic": found.statistic,
            "df": found.df,
            "p_value": found.p_value,
        }
    found = bias.trim_and_fill(y, v, method)
    note = f"{found.k0} added on the {found.side}" if found.k0 else "nothing to add"
    yield _line("bias", "trim and fill", found.pooled, note=note)


def _trend(known: pd.DataFrame, method: str, test: str) -> Iterator[Line]:
    """Does accuracy change with the year, and how did the pooled estimate come about?"""
    dated = known[known["year"].notna()]
    if dated["year"].nunique() < FEWEST:
        return
    y, v, years = (dated[name].to_numpy(float) for name in ("accuracy", "variance", "year"))
    found = moderation.meta_regression(y, v, years - years.mean(), method, test)
    yield {
        "analysis": "moderator",
        "group": "points per year of publication",
        "scale": "raw",
        "method": method,
        "test": test,
        "k": found.k,
        "estimate": found.coefficients[1],
        "ci_low": found.ci_low[1],
        "ci_high": found.ci_high[1],
        "statistic": found.statistic[1],
        "p_value": found.p_value[1],
        "tau2": found.tau2,
        "i2": found.i2,
        "h2": found.h2,
        "q": found.q,
        "q_df": found.q_df,
        "q_p_value": found.q_p_value,
    }
    for year, pooled in zip(np.unique(years), sensitivity.cumulative(y, v, years, method, test), strict=True):
        yield _line("cumulative", f"up to {year:.0f}", pooled)
