"""Tables of the meta-analysis: which claims hold, every printed number recomputed, and what else the rows say."""

import os
from collections.abc import Mapping, Sequence

import pandas as pd

from faceneuro.report.tables import Table, write_files

TESTS = {"z": "z", "knapp_hartung": "Knapp-Hartung", "t": "t", "rubin": "Rubin's rules"}
SCALES = {"raw": "percent", "logit": "logit", "freeman_tukey": "Freeman-Tukey"}
NUMBERS = {
    "k": "effect sizes",
    "estimate": "accuracy, %",
    "ci_low": "lower limit, %",
    "ci_high": "upper limit, %",
    "tau2": "tau2",
    "i2_pct": "I2, %",
    "h2": "H2",
    "q": "Q",
    "q_df": "df of Q",
    "z": "z",
}
CLAIMED = ("about", "claimed", "claimed_low", "claimed_high", "ci_low", "ci_high", "headline")
"""Columns of claims that are about a number; what it is recomputed to is in the column of that name."""

SOURCE = (
    "Computed from what Yoonesi et al. 2025 print in Fig. 3 (accuracy and 95 % interval of {rows} rows, of which "
    "{recovered} are illegible there and were solved from its totals); no recording is involved."
)


def write_judgement(
    stem: str | os.PathLike,
    studies: pd.DataFrame,
    claims: pd.DataFrame,
    numbers: pd.DataFrame,
    pooled: pd.DataFrame,
    remarks: Sequence[str],
) -> None:
    """Write which of the review's claims follow from its data, and its forest plot recomputed.

    Parameters
    ----------
    stem
        Path without suffix.
    studies
        Its effect sizes, from :func:`faceneuro.meta.effects.read_studies`.
    claims
        From :func:`faceneuro.studies.meta_claims.judge`.
    numbers
        From :func:`faceneuro.studies.meta_analysis.reproduce`.
    pooled
        Rows of :data:`faceneuro.tables.POOLED` of the review's effect sizes.
    remarks
        Sentences about rows that need one.
    """
    frame = pd.concat(
        [
            claims.rename(columns={"where": "place", "claim": "item"}).assign(kind="claim"),
            numbers.rename(columns={"block": "place", "statistic": "item"}).assign(kind="number"),
        ]
    )
    columns = ["kind", "place", "item", "printed", "recomputed", "difference", "low", "high", "verdict", "shortest"]
    tables = [
        Table(
            "The review's claims",
            ["Claim", "Where", "Verdict", "Evidence from its own data"],
            [[row.claim, row.where, f"**{row.verdict}**", row.evidence] for row in claims.itertuples()],
            text_columns=4,
            sentences=(0, 1, 3),
        ),
        _overview("What the 25 rows say", pooled),
        _recomputed(numbers),
    ]
    lead = [_source(studies), _count_claims(claims), _count_numbers(numbers)]
    remarks = [
        "**equal**: the same digits as printed. **explained by rounding**: the printed number lies between the lowest "
        "and the highest value that the statistic takes when every accuracy and limit may be off by half of its last "
        "digit.",
        "**Round errors**: recomputed from the standard error with the fewest decimals that gives each printed "
        "interval (tenths of a point in all rows but one; assumed for illegible rows). Nobody printed these, but with "
        f"them the figure follows almost to the last digit: {_exceptions(numbers)}.",
        "Rows marked with a dagger include illegible effect sizes that were solved from these very totals: agreement "
        "there is no independent evidence. The analysis without them is in the second table.",
        "The review states no protocol for its headline; Fig. 2, where it is said to come from, shows no numbers.",
        *remarks,
    ]
    write_files(
        stem,
        frame[[*columns, "shortest_equal", "recovered", "evidence", *CLAIMED]],
        "Meta-analysis: the claims of the review, recomputed",
        lead,
        tables,
        remarks,
    )


def write_pooled(
    stem: str | os.PathLike, pooled: pd.DataFrame, rows: pd.DataFrame, name: str, remarks: Sequence[str] = ()
) -> None:
    """Write all analyses of one collection.

    Parameters
    ----------
    stem
        Path without suffix.
    pooled, rows
        Rows of :data:`faceneuro.tables.POOLED` and :data:`faceneuro.tables.EFFECT_ROWS`.
    name
        Of the collection.
    remarks
        Sentences about rows that need one.
    """
    tables = [
        _overview("Overall", pooled),
        *_grouped("By condition", pooled, "subgroup"),
        *_grouped("By block of the forest plot", pooled, "block"),
        _estimators(pooled),
        *_small_studies(pooled),
        *_years(pooled),
    ]
    reading = [
        "Prediction interval: where the accuracy of a new, similar study is expected. tau2 is the variance between "
        "studies in the squared unit of the scale (points squared for percent).",
        "On the percent scale intervals are normal approximations and may pass 100 %; on the logit scale they cannot.",
        "Three levels: effect sizes within articles, articles within the collection. Imputed: what the text calls "
        "another measure than accuracy is taken as missing, drawn again from what the other rows predict, and "
        "combined by Rubin's rules.",
        *remarks,
    ]
    write_files(stem, pooled, f"Meta-analysis: {name}", [origin_note(rows), _headline(pooled)], tables, reading)


def write_rows(stem: str | os.PathLike, rows: pd.DataFrame, name: str) -> None:
    """Write the effect sizes of one collection, their weights, and what leaving each out does."""
    header = [
        "Study",
        "Condition",
        "Origin",
        "Accuracy [95 %]",
        "Weight, %",
        "Without it [95 %]",
        "tau2 without",
        "Cook",
    ]
    lines = [
        [
            _marked(row),
            row.subgroup,
            row.origin,
            _interval(row._asdict()),
            _number(row.weight, 2),
            _interval(row._asdict(), "loo_estimate", "loo_ci_low", "loo_ci_high"),
            _number(row.loo_tau2, 1),
            _number(row.cook, 3),
        ]
        for row in rows.itertuples()
    ]
    table = Table("Effect sizes and their influence", header, lines, text_columns=3)
    remarks = [
        "† illegible in the figure, solved from its totals.",
        "Without it: the pooled estimate when the row is left out. Cook: the squared change of the pooled estimate in "
        "units of its variance. Studentised residuals, DFFITS, covariance ratios and Baujat's two axes are in the CSV "
        "file.",
    ]
    write_files(stem, rows, f"Meta-analysis: rows of {name}", [origin_note(rows)], [table], remarks)


def write_recovery(
    stem: str | os.PathLike, studies: pd.DataFrame, recovered: pd.DataFrame, residuals: pd.DataFrame
) -> None:
    """Write effect sizes solved from printed totals, beside those in use, and how well they meet the totals.

    Parameters
    ----------
    stem
        Path without suffix.
    studies
        All effect sizes, from :func:`faceneuro.meta.effects.read_studies`.
    recovered
        Columns block, study, accuracy, ci_low, ci_high, used_accuracy, used_ci_low, used_ci_high, determined.
    residuals
        Columns block, statistic, printed, recomputed, difference, half_units, low, high.
    """
    rows = [
        [
            row.block,
            row.study,
            "yes" if row.determined else "no",
            _interval(row._asdict()),
            _interval(row._asdict(), "used_accuracy", "used_ci_low", "used_ci_high"),
        ]
        for row in recovered.itertuples()
    ]
    within = _within_rounding(residuals)
    met = [
        [
            row.block,
            row.statistic,
            "yes" if fits else "no",
            f"{row.printed:.2f}",
            f"{row.recomputed:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
        ]
        for row, fits in zip(residuals.itertuples(), within, strict=True)
    ]
    lead = [
        _source(studies),
        f"{len(recovered)} illegible rows solved from {len(residuals)} printed numbers, of which {within.sum()} are "
        "met as closely as the rounding of the rows allows.",
    ]
    frame = pd.concat([recovered.assign(kind="row"), residuals.assign(kind="residual")])
    header = ["Block", "Number", "Met", "Printed", "Recomputed", "Possible by rounding"]
    tables = [
        Table("Solved rows", ["Block", "Study", "Determined", "Solved", "In use"], rows, text_columns=3),
        Table("What they must meet", header, met, text_columns=3),
    ]
    remarks = [
        "Determined: the printed numbers leave one solution. Where they leave many, as for three illegible rows in one "
        "block, the one shown is not better than the one in use, which was chosen with the fragments of digits that "
        "the figure still shows.",
    ]
    write_files(stem, frame, "Meta-analysis: recovery of illegible rows", lead, tables, remarks)


def _within_rounding(residuals: pd.DataFrame) -> pd.Series:
    """Whether a printed number lies in what the rounding of the rows can make of it, and of itself."""
    half = (residuals["difference"] / residuals["half_units"]).abs().fillna(0)
    return residuals["printed"].between(residuals["low"] - half, residuals["high"] + half)


def origin_note(rows: pd.DataFrame) -> str:
    """Where the effect sizes of a collection come from; what is virtual is said first."""
    counts = rows["origin"].value_counts(sort=False)
    parts = ", ".join(f"{count} {origin}" for origin, count in counts.items())
    note = f"{len(rows)} effect sizes: {parts}."
    virtual = rows.loc[rows["origin"].str.startswith("virtual"), "study"]
    if len(virtual):
        note += f" Of a virtual cohort, rendered faces and no patients: {', '.join(virtual)}."
    return note


def _headline(pooled: pd.DataFrame) -> str:
    main = pooled.iloc[0]
    return (
        f"Pooled accuracy ({main['method']}, {TESTS[main['test']]}) {_interval(main)} %; a new study is "
        f"expected between {_number(main['pi_low'], 0)} and {_number(main['pi_high'], 0)} % (95 %); "
        f"I2 {_number(main['i2'], 1)} %."
    )


def _count_claims(claims: pd.DataFrame) -> str:
    counts = claims["verdict"].value_counts()
    forms = {
        "follows": ("follows", "follow"),
        "follows in part": ("follows in part", "follow in part"),
        "does not follow": ("does not follow", "do not follow"),
        "cannot be checked": ("cannot be checked", "cannot be checked"),
    }
    said = [f"{counts.get(verdict, 0)} {form[int(counts.get(verdict, 0) != 1)]}" for verdict, form in forms.items()]
    headline = claims.iloc[0]
    return (
        f"Of {len(claims)} claims of the review, held against its own data, {', '.join(said)}. Its headline "
        f"{headline['verdict']}: {headline['evidence']}"
    )


def _count_numbers(numbers: pd.DataFrame) -> str:
    counts = numbers["verdict"].value_counts()
    order = ("equal", "explained by rounding", "not reproducible")
    said = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in order)
    exact = int(numbers["shortest_equal"].sum())
    return (
        f"Of {len(numbers)} numbers printed in Fig. 3: {said}. With standard errors that are round to a tenth of a "
        f"point, as the intervals suggest, {exact} are equal to the last digit."
    )


def _exceptions(numbers: pd.DataFrame) -> str:
    """The numbers that even the round standard errors do not give."""
    apart = [
        f"{row.block} {NUMBERS.get(row.statistic, row.statistic)} "
        f"{row.shortest:.2f}, printed {row.printed} ({row.verdict})"
        for row in numbers[~numbers["shortest_equal"]].itertuples()
    ]
    return "the exceptions are " + "; ".join(apart) if apart else "without exception"


def _source(studies: pd.DataFrame) -> str:
    return SOURCE.format(rows=len(studies), recovered=int((studies["provenance"] == "recovered").sum()))


def _recomputed(numbers: pd.DataFrame) -> Table:
    lines = [
        [
            row.block + ("†" if row.recovered else ""),
            NUMBERS.get(row.statistic, row.statistic),
            row.verdict,
            row.printed,
            f"{row.recomputed:.3f}",
            f"{row.difference:+.3f}",
            "" if pd.isna(row.low) else f"{row.low:.2f} to {row.high:.2f}",
            f"{row.shortest:.3f}" + ("" if row.shortest_equal else " (not equal)"),
        ]
        for row in numbers.itertuples()
    ]
    header = [
        "Block",
        "Number",
        "Verdict",
        "Printed",
        "Recomputed",
        "Difference",
        "Possible by rounding",
        "With round errors",
    ]
    return Table("Fig. 3, recomputed", header, lines, text_columns=3)


_OVERVIEW = (
    ("main", "all", "As the review did: random effects"),
    ("scale", "all", "All rows"),
    ("three_level", "all", "Three levels, by article"),
    ("missing", "left out", "Rows of another measure left out"),
    ("missing", "imputed", "Rows of another measure imputed"),
    ("sensitivity", None, None),
)


def _overview(heading: str, pooled: pd.DataFrame) -> Table:
    """The lines that a reader should see first."""
    lines = []
    for analysis, group, label in _OVERVIEW:
        chosen = pooled[pooled["analysis"] == analysis]
        chosen = chosen if group is None else chosen[chosen["group"] == group]
        for row in chosen.to_dict("records"):
            if analysis == "scale" and (row["scale"], row["test"]) == ("raw", "z"):
                continue
            name = "Random effects" if analysis == "main" else label or row["group"].capitalize()
            lines.append([name, SCALES[row["scale"]], TESTS[row["test"]], *_results(row)])
    return Table(heading, ["Analysis", "Scale", "Interval", *_RESULTS], lines, text_columns=3)


_RESULTS = ("k", "Accuracy [95 %]", "Prediction interval", "tau2", "I2, %")


def _results(row: Mapping) -> list[str]:
    return [
        _number(row["k"], 0),
        _interval(row),
        "" if pd.isna(row["pi_low"]) else f"{row['pi_low']:.1f} to {row['pi_high']:.1f}",
        _number(row["tau2"], 2),
        _number(row["i2"], 1),
    ]


def _grouped(heading: str, pooled: pd.DataFrame, analysis: str) -> list[Table]:
    chosen = pooled[pooled["analysis"] == analysis]
    if chosen.empty:
        return []
    lines, differences = [], []
    for row in chosen.to_dict("records"):
        if row["group"] == "differences":
            differences.append(
                f"{SCALES[row['scale']]}: Q = {row['q']:.2f}, {row['q_df']:.0f} df, {_p(row['q_p_value'])}"
            )
        else:
            lines.append([row["group"], SCALES[row["scale"]], *_results(row)])
    heading = f"{heading} (differences: {'; '.join(differences)})"
    return [Table(heading, ["Group", "Scale", *_RESULTS], lines, text_columns=2)]


def _estimators(pooled: pd.DataFrame) -> Table:
    chosen = pooled[pooled["analysis"] == "estimator"].to_dict("records")
    lines = [
        [row["method"], TESTS[row["test"]], *_results(row), _number(row["h2"], 2), _number(row["i2_q"], 1)]
        for row in chosen
    ]
    header = ["Heterogeneity variance", "Interval", *_RESULTS, "H2", "I2 by Q, %"]
    return Table("By estimator of the heterogeneity variance", header, lines, text_columns=2)


def _small_studies(pooled: pd.DataFrame) -> list[Table]:
    chosen = pooled[pooled["analysis"] == "bias"].to_dict("records")
    lines = [
        [
            row["group"],
            "" if pd.isna(row["note"]) else row["note"],
            _number(row["statistic"], 3) if row["group"] != "trim and fill" else "",
            _p(row["p_value"]) if row["group"] != "trim and fill" else "",
            _interval(row),
        ]
        for row in chosen
    ]
    header = ["Method", "Result", "Statistic", "p", "Accuracy [95 %]"]
    return [Table("Small-study effects and publication bias", header, lines, text_columns=2)] if lines else []


def _years(pooled: pd.DataFrame) -> list[Table]:
    chosen = pooled[pooled["analysis"].isin(["moderator", "cumulative"])].to_dict("records")
    lines = [[row["group"].capitalize(), *_results(row)] for row in chosen]
    return [Table("By year", ["Studies", *_RESULTS], lines)] if lines else []


def _marked(row: tuple) -> str:
    return row.study + ("†" if row.provenance == "recovered" else "")


def _interval(row: Mapping, value: str = "estimate", low: str = "ci_low", high: str = "ci_high") -> str:
    value = value if value in row else "accuracy"
    if pd.isna(row[value]) or pd.isna(row[low]):
        return ""
    return f"{row[value]:.2f} [{row[low]:.2f}, {row[high]:.2f}]"


def _number(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def _p(value: float) -> str:
    if pd.isna(value):
        return ""
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"
