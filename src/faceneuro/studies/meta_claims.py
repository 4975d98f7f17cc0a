"""What the review of Yoonesi et al. 2025 says, held against the numbers that it prints itself.

Every claim is judged by a computation on the printed rows (Fig. 3), the printed totals or the list of included studies
(Table 2); the sentence of evidence carries the computed numbers, so that it changes when they do.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from faceneuro.meta import bias, pooling
from faceneuro.meta.effects import from_scale, on_scale
from faceneuro.meta.moderation import subgroups
from faceneuro.meta.pooling import Pooled
from faceneuro.studies.meta_analysis import Z, pool_rows, shortest_errors

FOLLOWS = "follows"
PARTLY = "follows in part"
FAILS = "does not follow"
UNKNOWN = "cannot be checked"
"""Verdicts on a claim: whether it follows from the review's own data."""

SIGNIFICANT = 0.05
"""The review's own level (Methods, Statistical analysis)."""

COIN = 50.0
"""Accuracy of tossing a coin, percent: a high capability should at least exceed it wherever it is tried next."""

SUBSTANTIAL = 50.0
"""I2 in percent from which results are no longer called consistent (Higgins et al., BMJ 2003)."""

LOWEST = "Andrea Bandini et al."
"""The study whose accuracy is 1.8 % in the text and 18.00 % in the figure."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the review (in our words), where it stands, and what its own data say to it.

    Attributes
    ----------
    about
        What its number is the accuracy of; empty where it is about no one number.
    claimed, claimed_low, claimed_high
        That number as printed, in percent, and its interval where it has one; else NaN.
    recomputed, ci_low, ci_high
        What the review's own effect sizes give, and the 95 % interval of that.
    headline
        Whether the review stands on it.
    """

    where: str
    claim: str
    verdict: str
    evidence: str
    about: str = ""
    claimed: float = float("nan")
    claimed_low: float = float("nan")
    claimed_high: float = float("nan")
    recomputed: float = float("nan")
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    headline: bool = False


@dataclass(frozen=True)
class Review:
    """What the review prints.

    Attributes
    ----------
    studies
        Rows of Fig. 3, as :func:`faceneuro.meta.effects.read_studies` gives them.
    printed
        Totals of Fig. 3, text and abstract, as text.
    included
        Rows of Table 2, as text.
    """

    studies: pd.DataFrame
    printed: pd.DataFrame
    included: pd.DataFrame

    @cached_property
    def overall(self) -> Pooled:
        return pool_rows(self.studies)

    def number(self, where: str, block: str, name: str) -> float:
        """A printed number."""
        rows = self.printed[(self.printed["where"] == where) & (self.printed["subgroup_block"] == block)]
        return float(rows[name].iloc[0])

    def condition(self, name: str) -> pd.DataFrame:
        """All rows of one condition, from whichever block."""
        return self.studies[self.studies["subgroup"] == name]

    def block(self, name: str) -> pd.DataFrame:
        return self.studies[self.studies["block"] == name]


def judge(review: Review) -> pd.DataFrame:
    """All claims, the most consequential first, a row per :class:`Claim`."""
    return pd.DataFrame([asdict(judged(review)) for judged in _CLAIMS])


def _percent(pooled: Pooled) -> str:
    return f"{pooled.estimate:.2f} % [{pooled.ci_low:.2f}, {pooled.ci_high:.2f}]"


def _beside(about: str, own: Pooled, claimed: float, low: float = np.nan, high: float = np.nan) -> dict[str, Any]:
    """A printed number beside what its rows pool to."""
    printed = {"about": about, "claimed": claimed, "claimed_low": low, "claimed_high": high}
    return printed | {"recomputed": own.estimate, "ci_low": own.ci_low, "ci_high": own.ci_high}


def _verdict(follows: bool) -> str:
    return FOLLOWS if follows else FAILS


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.2g}"


def _on_logit(rows: pd.DataFrame) -> tuple[float, float, float]:
    """Pooled on the logit scale, in percent: estimate and limits."""
    y, v, _ = on_scale(rows, "logit")
    found = pooling.pool(y, v)
    return tuple(map(float, from_scale(np.array([found.estimate, found.ci_low, found.ci_high]), "logit")))


def _headline(review: Review) -> Claim:
    estimate, low, high = (review.number("abstract", "overall", name) for name in ("estimate", "ci_low", "ci_high"))
    own = review.overall
    others = {name: pool_rows(review.studies, name).estimate for name in pooling.METHODS}
    nearest = max(others.values())
    return Claim(
        "abstract, results, discussion, conclusion",
        f"The pooled accuracy is {estimate:.2f} % (95 % CI {low:.2f} to {high:.2f}), by a random-effects model.",
        _verdict(low <= own.estimate <= high),
        f"The review's own Fig. 3 pools the same rows to {_percent(own)}, recomputed here; no estimator gives more "
        f"than {nearest:.2f} % (fixed effect: {others['FE']:.2f} %). The claimed interval is "
        f"{(own.ci_high - own.ci_low) / (high - low):.0f} times narrower than the figure's.",
        **_beside("All, abstract", own, estimate, low, high),
        headline=True,
    )


def _figure(review: Review) -> Claim:
    printed = [review.number("fig3", "overall", name) for name in ("estimate", "ci_low", "ci_high")]
    own = review.overall
    return Claim(
        "Fig. 3",
        f"All rows pool to {printed[0]:.2f} % (95 % CI {printed[1]:.2f} to {printed[2]:.2f}).",
        _verdict(np.allclose(printed, [own.estimate, own.ci_low, own.ci_high], atol=0.02)),
        f"Recomputed: {_percent(own)}. This is the number that the review should have put into its abstract.",
        **_beside("All, Fig. 3", own, *printed),
    )


def _dementia(review: Review) -> Claim:
    claimed = review.number("abstract", "dementia", "estimate")
    rows = review.condition("Dementia")
    merged = pool_rows(rows)
    top = rows.loc[rows["accuracy"].idxmax()]
    return Claim(
        "abstract",
        f"The accuracy for dementia is {claimed:.0f} %.",
        _verdict(merged.ci_low <= claimed <= merged.ci_high),
        f"{top['accuracy']:.2f} % is one of {len(rows)} dementia effect sizes, the largest ({top['study']}); they "
        f"range from {rows['accuracy'].min():.0f} % and pool to {_percent(merged)}. The text says "
        f"{review.number('text', 'dementia', 'estimate'):.2f} %.",
        **_beside("Dementia, abstract", merged, claimed),
    )


def _bells_palsy(review: Review) -> Claim:
    claimed = review.number("abstract", "bells_palsy", "estimate")
    rows = review.condition("Bell's palsy")
    merged = pool_rows(rows)
    single = rows[np.isclose(rows["accuracy"], claimed)]["study"]
    return Claim(
        "abstract",
        f"The accuracy for Bell's palsy is {claimed:.1f} %.",
        PARTLY if merged.ci_low <= claimed <= merged.ci_high else FAILS,
        f"It is the effect size of one study ({', '.join(single) or 'none'}), which Fig. 3 lists in a block of its "
        f"own. All {len(rows)} of Bell's palsy pool to {_percent(merged)}; the text gives the other two, "
        f"{review.number('text', 'bells_palsy', 'estimate'):.2f} %. The difference is small.",
        **_beside("Bell's palsy, abstract", merged, claimed),
    )


def _als_and_stroke(review: Review) -> Claim:
    claimed = review.number("abstract", "als_and_stroke", "estimate")
    motor, stroke = review.block("motor"), review.block("stroke")
    both = pool_rows(pd.concat([stroke, review.studies[review.studies["study"] == LOWEST]]))
    return Claim(
        "abstract",
        f"ALS and stroke have a lower accuracy, {claimed:.1f} %.",
        _verdict(abs(both.estimate - claimed) < 0.05),
        f"{claimed:.1f} % is the block 'motor condition' ({pool_rows(motor).estimate:.2f} %), of whose {len(motor)} "
        f"rows one is the study of ALS and stroke ({LOWEST}, {motor.set_index('study').loc[LOWEST, 'accuracy']:.2f} "
        f"%) and at least three are of Parkinson's disease. Stroke has its own block: "
        f"{_percent(pool_rows(stroke))}, above the overall estimate.",
        **_beside("ALS and stroke, abstract", both, claimed),
    )


def _text_subgroups(review: Review) -> Claim:
    claimed = {name: review.number("text", name, "estimate") for name in ("dementia", "bells_palsy", "stroke", "motor")}
    blocks = {"dementia": "dementia_a", "bells_palsy": "bells_palsy_b", "stroke": "stroke", "motor": "motor"}
    equal = all(abs(pool_rows(review.block(blocks[name])).estimate - value) < 0.05 for name, value in claimed.items())
    dementia, palsy = review.condition("Dementia"), review.condition("Bell's palsy")
    return Claim(
        "results",
        "Dementia 77.49 %, Bell's palsy 94.58 %, stroke 90.4 %, motor impairments 73.2 %.",
        PARTLY if equal else FAILS,
        "Each number is a block of Fig. 3 and is reproduced. But dementia and Bell's palsy stand there in two blocks "
        f"each, and the text takes one: {len(review.block('dementia_a'))} of {len(dementia)} and "
        f"{len(review.block('bells_palsy_b'))} of {len(palsy)} rows. Merged: {_percent(pool_rows(dementia))} and "
        f"{_percent(pool_rows(palsy))}.",
    )


def _above_hundred(review: Review) -> Claim:
    above = int((review.studies["ci_high"] > 100).sum())
    totals = review.printed[(review.printed["where"] == "fig3") & (review.printed["ci_high"] != "")]
    pooled = totals[totals["ci_high"].astype(float) > 100]["subgroup_block"]
    estimate, low, high = _on_logit(review.block("stroke"))
    return Claim(
        "results, Fig. 3",
        "The accuracy is 73.23 to 107.65 % in stroke and 45.82 to 100.59 % in motor conditions (95 % CI).",
        _verdict(above == 0 and pooled.empty),
        f"No accuracy exceeds 100 %, yet {above} of {len(review.studies)} rows and {len(pooled)} pooled blocks have "
        f"such a limit: the normal approximation is used where it breaks down. On the logit scale stroke pools to "
        f"{estimate:.1f} % [{low:.1f}, {high:.1f}].",
    )


def _lowest(review: Review) -> Claim:
    rows = review.studies.set_index("study")
    figure = rows.loc[LOWEST, "accuracy"]
    text = float(review.included.set_index("effect").loc[LOWEST, "text_pct"])
    without = pool_rows(review.studies[review.studies["study"] != LOWEST])
    motor = review.block("motor")
    motor_without = pool_rows(motor[motor["study"] != LOWEST])
    return Claim(
        "results",
        f"The lowest accuracy is {text} % ({LOWEST}, ALS and stroke).",
        _verdict(figure == text),
        f"Fig. 3 pools it as {figure:.2f} %, ten times as much. The discussion of the same study speaks of a "
        "normalised root-mean-square error (of facial landmarks), so it is probably no accuracy at all. Left out, "
        f"everything pools to {_percent(without)} and the motor block to {_percent(motor_without)}.",
    )


def _highest(review: Review) -> Claim:
    rows = review.studies.set_index("study")["accuracy"]
    claimed = rows["Xin Liu et al."]
    higher = rows[rows > claimed].sort_values(ascending=False)
    return Claim(
        "results",
        f"The highest accuracy is {claimed:.1f} % (Xin Liu et al., Bell's palsy).",
        _verdict(higher.empty),
        f"{len(higher)} rows of Fig. 3 are higher: "
        + ", ".join(f"{study} {value:.2f} %" for study, value in higher.items())
        + ".",
    )


def _text_against_figure(review: Review) -> Claim:
    said = review.included[(review.included["text_pct"] != "") & (review.included["effect"] != "")]
    said = said[said["effect"] != LOWEST]
    figure = review.studies.set_index("study")["accuracy"]
    apart = []
    for row in said.itertuples():
        value = figure[row.effect]
        if row.text_measure != "accuracy":
            apart.append(f"{row.effect} {row.text_measure.replace('_', ' ')} {row.text_pct} pooled as {value:.2f} %")
        elif abs(float(row.text_pct) - value) > 1:
            apart.append(f"{row.effect} {row.text_pct} % in the text, {value:.2f} % in the figure")
    return Claim(
        "discussion, Fig. 3",
        "The figure pools the accuracies that the studies reported.",
        FAILS if apart else FOLLOWS,
        f"Of {len(said)} studies whose result the text names, {len(said) - len(apart)} agree with the figure within "
        f"one point; these do not: {'; '.join(apart)}.",
    )


def _counted_24(review: Review) -> Claim:
    articles, effects = review.included["article"].nunique(), len(review.studies)
    pooled = review.studies["article"].nunique()
    return Claim(
        "abstract",
        "The meta-analysis includes 24 studies.",
        _verdict(pooled == 24),
        f"Fig. 3 pools {effects} effect sizes from {pooled} articles. {articles} is the number of distinct articles in "
        "Table 2, of which "
        + " and ".join(sorted(set(review.included["article"]) - set(review.studies["article"])))
        + " are in no figure.",
    )


def _counted_28(review: Review) -> Claim:
    rows, articles = len(review.included), review.included["article"].nunique()
    return Claim(
        "abstract, results, discussion",
        "28 studies were included; 89.25 % is pooled across 28 studies.",
        _verdict(articles == 28),
        f"Table 2 has {rows} rows from {articles} articles (three of Araujo de Santana, two each of Singh and "
        f"Davodabadi); Fig. 3 pools {len(review.studies)} of the rows.",
    )


def _heterogeneity(review: Review) -> Claim:
    claimed_i2, claimed_q = (review.number("text", "overall", name) for name in ("i2_pct", "q"))
    own = review.overall
    return Claim(
        "results",
        f"The studies differ by more than chance: Q = {claimed_q}, p < 0.0001, I2 = {claimed_i2} %.",
        _verdict(abs(own.q - claimed_q) < 0.002 * claimed_q and round(own.i2, 2) == claimed_i2),
        f"Recomputed Q = {own.q:.2f} on {own.q_df:.0f} df (the difference is rounding), {_p(own.q_p_value)}; I2 = "
        f"{own.i2:.2f} %.",
    )


def _formula(review: Review) -> Claim:
    claimed_i2, claimed_q = (review.number("text", "overall", name) for name in ("i2_pct", "q"))
    own = review.overall
    by_formula = 100 * (claimed_q - own.q_df) / claimed_q
    return Claim(
        "methods",
        "I2 was computed as 100 % x (Q - df) / Q.",
        _verdict(abs(by_formula - claimed_i2) < 0.005),
        f"That gives {by_formula:.2f} %; the printed {claimed_i2} % is the form based on tau2 ({own.i2:.2f} %). The "
        "conclusion is the same.",
    )


def _meaning(review: Review) -> Claim:
    own = review.overall
    y, v, _ = on_scale(review.studies, "logit")
    logit = pooling.pool(y, v, test="knapp_hartung")
    low, high = from_scale(np.array([logit.pi_low, logit.pi_high]), "logit")
    return Claim(
        "abstract, conclusion",
        "The pooled accuracy indicates a high predictive capability.",
        _verdict(low > COIN),
        f"With these rows the accuracy of a new study is expected anywhere from {low:.0f} % to {high:.0f} % (95 % "
        f"prediction interval on the logit scale; in raw percent {own.pi_low:.0f} to {own.pi_high:.0f}). A mean of "
        "tasks, classes and measures that have little in common predicts none of them.",
    )


def _consistent(review: Review) -> Claim:
    dementia, palsy = review.condition("Dementia"), review.condition("Bell's palsy")
    own = pool_rows(dementia)
    steady = [pool_rows(rows).i2 < SUBSTANTIAL for rows in (dementia, palsy)]
    return Claim(
        "conclusion",
        "Performance is consistently high in dementia and Bell's palsy.",
        FOLLOWS if all(steady) else PARTLY if any(steady) else FAILS,
        f"Bell's palsy: {len(palsy)} rows from {palsy['accuracy'].min():.1f} to {palsy['accuracy'].max():.1f} %, yes. "
        f"Dementia: {len(dementia)} rows from {dementia['accuracy'].min():.0f} to {dementia['accuracy'].max():.0f} %, "
        f"I2 {own.i2:.1f} %, pooled below the overall estimate.",
    )


def _motor_lower(review: Review) -> Claim:
    motor = review.block("motor")
    without, others = motor[motor["study"] != LOWEST], review.studies[review.studies["block"] != "motor"]
    found = subgroups(*_arrays(pd.concat([motor, others])), ["motor"] * len(motor) + ["others"] * len(others))
    return Claim(
        "results, abstract",
        "Performance in motor conditions is lower than in others.",
        _verdict(found.p_value < SIGNIFICANT and pool_rows(without).estimate < pool_rows(others).estimate),
        f"Motor {_percent(pool_rows(motor))} against {_percent(pool_rows(others))} in all others: {_p(found.p_value)}. "
        f"Without {LOWEST} motor pools to {_percent(pool_rows(without))}, above the others.",
    )


def _differ(review: Review) -> Claim:
    y, v = _arrays(review.studies)
    blocks = subgroups(y, v, review.studies["block"].tolist())
    merged = subgroups(y, v, review.studies["subgroup"].tolist())
    logit, variances, used = on_scale(review.studies, "logit")
    on_logit = subgroups(logit, variances, review.studies.loc[used, "subgroup"].tolist())
    single = [name for name, pooled in merged.groups.items() if pooled.k == 1]
    return Claim(
        "results, Fig. 3",
        "Accuracy differs significantly between conditions (Q_b = 44.73, 7 df).",
        PARTLY if merged.p_value < SIGNIFICANT else FAILS,
        f"Recomputed Q_b = {blocks.q_between:.2f} on {blocks.df:.0f} df, {_p(blocks.p_value)}, but with dementia and "
        f"Bell's palsy counted twice; merged {merged.q_between:.2f} on {merged.df:.0f} df, {_p(merged.p_value)}; on "
        f"the logit scale {on_logit.q_between:.2f}, {_p(on_logit.p_value)}. It rests on groups of one to three rows "
        f"({', '.join(single)}: one), whose spread between studies is taken as nil or hardly known.",
    )


def _funnel(review: Review) -> Claim:
    studies, own = review.studies, pool_rows(review.studies, "FE")
    inside = int((abs(studies["accuracy"] - own.estimate) <= Z * np.sqrt(studies["variance"])).sum())
    random = int((abs(studies["accuracy"] - review.overall.estimate) <= Z * np.sqrt(studies["variance"])).sum())
    return Claim(
        "results, Fig. 4",
        "Most studies lie within the pseudo 95 % limits of the funnel plot.",
        _verdict(max(inside, random) > len(studies) / 2),
        f"{inside} of {len(studies)} do, around the fixed-effect estimate; {random} around the random-effects "
        "estimate. With an I2 of 99 % it cannot be otherwise.",
    )


def _publication_bias(review: Review) -> Claim:
    y, v = _arrays(review.studies)
    egger, begg, filled = bias.egger(y, v), bias.begg(y, v), bias.trim_and_fill(y, v)
    quiet = min(egger.p_value, begg.p_value) >= SIGNIFICANT
    return Claim(
        "results, Fig. 4",
        "Publication bias is unlikely; the funnel plot confirms the lack of it.",
        UNKNOWN if quiet else FAILS,
        f"No test was done. Egger {_p(egger.p_value)}, Begg {_p(begg.p_value)}; trim and fill adds "
        f"{filled.k0 or 'no'} studies, which gives {_percent(filled.pooled)}. With this heterogeneity, and with "
        "accuracies that are bounded by 100 %, such tests can neither show nor exclude it.",
    )


def _galbraith(review: Review) -> Claim:
    own = pool_rows(review.studies, "FE")
    away = abs(review.studies["accuracy"] - own.estimate) / np.sqrt(review.studies["variance"])
    inside = int((away <= 2).sum())
    return Claim(
        "results, Fig. 5",
        "Most studies lie along the regression line of the Galbraith plot.",
        _verdict(inside > len(away) / 2),
        f"{inside} of {len(away)} are within two standard errors of it.",
    )


def _imputation(review: Review) -> Claim:
    marked = (review.studies["provenance"] == "imputed").any()
    other = review.studies[review.studies["measure"] != "accuracy"]["study"]
    return Claim(
        "methods, limitations",
        "Missing accuracies were imputed (regression, multiple imputation).",
        FOLLOWS if marked else UNKNOWN,
        "Fig. 3 marks no row as imputed, and the review reports no variance between imputations. "
        f"Candidates are the rows for which the text names another measure: {', '.join(other)}",
    )


def _precision(review: Review) -> Claim:
    smallest, largest = 26, 437
    p, se = review.studies["accuracy"] / 100, np.sqrt(review.studies["variance"]) / 100
    implied = (p * (1 - p) / se**2).set_axis(review.studies["study"])
    outside = implied[(implied < smallest) | (implied > largest)]
    legible = review.studies[review.studies["provenance"] != "recovered"]
    errors = shortest_errors(legible)
    tenths = int((errors == errors.round(1)).sum())
    return Claim(
        "results, Fig. 3",
        f"Test samples range from {smallest} to {largest} images or recordings.",
        FAILS if len(outside) else FOLLOWS,
        f"An accuracy is a share, so its standard error tells the sample behind it. For {len(outside)} of "
        f"{len(implied)} rows it is outside that range, from {implied.min():.0f} ({implied.idxmin()}) to "
        f"{implied.max():.0f} ({implied.idxmax()}). {tenths} of the {len(legible)} legible intervals are those of a "
        "standard error round to a tenth of a point; where these come from is not said.",
    )


def _arrays(studies: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return studies["accuracy"].to_numpy(), studies["variance"].to_numpy()


_CLAIMS: tuple[Callable[[Review], Claim], ...] = (
    _headline,
    _figure,
    _dementia,
    _bells_palsy,
    _als_and_stroke,
    _text_subgroups,
    _above_hundred,
    _lowest,
    _highest,
    _text_against_figure,
    _counted_24,
    _counted_28,
    _heterogeneity,
    _formula,
    _meaning,
    _consistent,
    _motor_lower,
    _differ,
    _funnel,
    _publication_bias,
    _galbraith,
    _imputation,
    _precision,
)
