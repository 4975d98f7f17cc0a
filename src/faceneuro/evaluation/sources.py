"""What else than the disease could tell patients from others: where a picture was taken, and how old people are.

Patients photographed in a clinic and healthy people from public data sets differ in camera, light, background and age
as well as in health. A network that learns any of these looks as if it had learnt the disease. What is asked:

- Can the data set of a healthy subject be told from what the network sees, or from the picture without the face? Health
  is the same in all of them, so what tells them apart is no sign of disease.
- Can patients be told from others by the picture without the face?
- Are healthy subjects of a data set still told to be healthy by a network that was never trained on that data set?
- Are patients still told from healthy subjects of the same age?

Tests are exact or by permutation, because resampled subjects say nothing about predictions that depend on each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import factorial, prod

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.evaluation.metrics import class_probabilities, units
from faceneuro.training.folds import SUBJECT

Doubles = npt.NDArray[np.float64]

AUDITS = [
    "audit",
    "model",
    "source",
    "quantity",
    "value",
    "ci_low",
    "ci_high",
    "reference",
    "p_value",
    "n_subjects",
    "grade",
    "verdict",
    "sentence",
]
"""Columns of every audit. ``reference`` is what the value stands beside: chance, the share under ``grouped``, or the
value among everyone."""

GOOD, SUSPICIOUS, BAD, UNKNOWN = "ok", "warn", "fail", "not told"
"""Grades. What is suspicious could explain a result; what is bad must be taken to."""

FEATURES_TELL_SOURCE = "data set of healthy subjects, from the features"
BACKGROUND_TELLS_SOURCE = "data set of healthy subjects, from the background alone"
BACKGROUND_TELLS_CLASS = "patient or not, from the background alone"
UNSEEN_SOURCE = "healthy subjects of a data set not trained on"
AGE_TELLS_CLASS = "patient or not, from the age alone"
EQUAL_AGES = "patient or not, at equal ages"
"""Audits."""

OK = "ok"
NOT_TOLD = "not told"
NOTHING = "no detection to explain"
ALARMS = {
    BACKGROUND_TELLS_CLASS: (BAD, "the background gives the class away"),
    UNSEEN_SOURCE: (BAD, "healthy people of new data sets are taken for patients"),
    EQUAL_AGES: (SUSPICIOUS, "detection is not shown at equal ages"),
    AGE_TELLS_CLASS: (SUSPICIOUS, "age tells patients from others"),
    BACKGROUND_TELLS_SOURCE: (SUSPICIOUS, "the background tells the data set"),
    FEATURES_TELL_SOURCE: (SUSPICIOUS, "the features tell the data set"),
}
"""Grade and verdict of each audit where it finds something, the worst first."""

LEVEL = 0.01
"""Significance of an alarm. Some five audits are made of every cohort: at 0.05 one clean cohort in five would raise
one."""

PERMUTATIONS = 199
"""As few as leave room below :data:`LEVEL`: the smallest p-value is 1 in 200."""

ENOUGH = 10
"""Permutations that do as well after which no more are drawn: what chance explains needs no further digits."""

PENALTY = 1.0
"""Inverse of the penalty of the logistic regression, for rows of unit length."""

SOURCES, GROUPED = "sources", "grouped"
"""Protocols: one data set of the healthy subjects held out; subjects of all data sets held out."""


@dataclass(frozen=True)
class Probe:
    """How well a label is told from some features.

    Attributes
    ----------
    classes
        Labels that were told apart.
    left_out
        Labels with too few subjects to be in every fold.
    value
        Mean share of each class that was recognised in subjects held out (balanced accuracy); NaN with fewer than two
        classes.
    ci_low, ci_high
        95 %, over subjects.
    chance
        One over the number of classes.
    p_value
        Share of permutations of the labels that are told apart as well; one-sided. NaN where there are so few subjects
        that no result could be significant.
    n_subjects
        How many subjects the classes have.
    """

    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    value: float
    ci_low: float
    ci_high: float
    chance: float
    p_value: float
    n_subjects: int


def probe(
    features: npt.ArrayLike,
    labels: Sequence[str | None],
    *,
    folds: int,
    seed: int,
    resamples: int,
    permutations: int = PERMUTATIONS,
) -> Probe:
    """Tell labels from features of subjects held out, by a logistic regression with an L2 penalty.

    Scaling and weights come from the training part of each fold. Labels are permuted within the folds, so that every
    permutation has the same folds and the same number of each class in them.

    Parameters
    ----------
    features
        One row per subject, finite, shape (n, d). All from one network: what the networks of different folds make of a
        picture cannot be compared.
    labels
        Shape (n,); subjects without one (None, NaN) do not count, nor do labels of fewer subjects than there are folds.
    folds
        Into which the subjects are divided, stratified by label.
    seed
        Of the division, the permutations and the bootstrap.
    resamples
        Of the bootstrap over subjects, stratified by label; the regressions are not fitted anew.
    permutations
        At most; see :data:`ENOUGH`.

    Raises
    ------
    ValueError
        If features and labels differ in length, or a feature is not finite.

    References
    ----------
    Ojala, Garriga, "Permutation tests for studying classifier performance", Journal of Machine Learning Research 2010.
    Besag, Clifford, "Sequential Monte Carlo p-values", Biometrika 1991.
    """
    rows, names = np.asarray(features, float), pd.Series(list(labels), dtype=object)
    if len(rows) != len(names):
        raise ValueError(f"there are {len(rows)} rows of features and {len(names)} labels")
    if not np.isfinite(rows).all():
        raise ValueError("a feature is not finite")
    sizes = names.value_counts()
    left_out = tuple(sorted(map(str, sizes.index[sizes < folds])))
    used = names.isin(sizes.index[sizes >= folds]).to_numpy()
    rows, (codes, classes) = rows[used], pd.factorize(names[used], sort=True)
    if len(classes) < 2:
        return Probe(tuple(map(str, classes)), left_out, *[np.nan] * 5, len(rows))
    parts = list(_parts(rows, codes, folds, seed))
    hit = (_held_out(parts, codes) == codes).astype(float)
    weights = np.vstack([np.ones(len(codes)), subject_resamples(codes, resamples, seed)])
    values = _balanced_accuracy(hit, codes, weights)
    low, high = percentile_interval(values[1:])
    # Shares of the same counts may differ by the order of summation.
    # Not multiplied by the level: of a thousand subjects there are more ways than a float can hold.
    enough = orders(codes[test] for _, test, *_ in parts) >= 1 / LEVEL
    p_value = _permuted(parts, codes, values[0] - 1e-9, permutations, seed) if enough else np.nan
    return Probe(tuple(map(str, classes)), left_out, float(values[0]), low, high, 1 / len(classes), p_value, len(codes))


def orders(folds: Iterable[npt.NDArray]) -> int:
    """How many different ways there are to deal labels anew within folds: one over it is the smallest p-value.

    Parameters
    ----------
    folds
        The labels of each fold.
    """
    ways = 1
    for labels in folds:
        counts = np.unique(labels, return_counts=True)[1]
        ways *= factorial(len(labels)) // prod(factorial(int(count)) for count in counts)
    return ways


def _permuted(
    parts: Sequence["Part"], codes: npt.NDArray[np.int64], value: float, permutations: int, seed: int
) -> float:
    """How often permuted labels are told apart as well, one-sided."""
    random = np.random.default_rng(seed)
    as_well = 0
    for drawn in range(1, permutations + 1):
        dealt = codes.copy()
        for _, test, *_ in parts:
            dealt[test] = random.permutation(codes[test])
        hit = (_held_out(parts, dealt) == dealt).astype(float)
        as_well += int(_balanced_accuracy(hit, dealt, np.ones((1, len(dealt))))[0] >= value)
        if as_well == ENOUGH:
            return as_well / drawn
    return (as_well + 1) / (permutations + 1)


Part = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Doubles, Doubles]


def _parts(rows: Doubles, codes: npt.NDArray[np.int64], folds: int, seed: int) -> Iterator[Part]:
    """Training and test places of every fold, and the scaled features of either."""
    # Imported here, as below: it takes a second, and this module is also asked for its names.
    from sklearn.model_selection import StratifiedKFold

    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, codes):
        spread = rows[train].std(axis=0)
        # Divided by the root of their number, so that one penalty suits few features and many.
        scale = np.where(spread > 0, spread, 1) * np.sqrt(rows.shape[1])
        known, new = ((rows[places] - rows[train].mean(axis=0)) / scale for places in (train, test))
        # The penalty does not depend on the axes, so no more of them are needed than there are subjects.
        left, lengths, axes = np.linalg.svd(known, full_matrices=False)
        yield train, test, left * lengths, new @ axes.T


def _held_out(parts: Sequence[Part], codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The class that every subject is taken for by the regression that was not fitted to it."""
    from sklearn.linear_model import LogisticRegression

    found = np.empty_like(codes)
    for train, test, known, new in parts:
        model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000)
        found[test] = model.fit(known, codes[train]).predict(new)
    return found


def _balanced_accuracy(hit: Doubles, codes: npt.NDArray[np.int64], weights: Doubles) -> Doubles:
    recalls = [weights[:, codes == k] @ hit[codes == k] / weights[:, codes == k].sum(axis=1) for k in np.unique(codes)]
    return np.mean(recalls, axis=0)


def probe_audit(audit: str, found: Probe) -> pd.DataFrame:
    """What a probe found, in a row of :data:`AUDITS`.

    Parameters
    ----------
    audit
        :data:`FEATURES_TELL_SOURCE`, :data:`BACKGROUND_TELLS_SOURCE` or :data:`BACKGROUND_TELLS_CLASS`.
    found
        From :func:`probe`.
    """
    quantity = "balanced accuracy"
    what = "class" if audit == BACKGROUND_TELLS_CLASS else "data set of origin"
    few = f"; left out, with too few subjects: {', '.join(found.left_out)}" if found.left_out else ""
    if np.isnan(found.value):
        there = f"there is one, {found.classes[0]}" if found.classes else "none is known"
        sentence = f"Of the {what} two values with enough subjects are needed, and {there}{few}."
        return audit_rows([audit_row(audit, quantity, n_subjects=found.n_subjects, sentence=sentence)])
    if np.isnan(found.p_value):
        sentence = (
            f"{found.n_subjects} subjects are too few: labels can be dealt anew in too few ways to judge by{few}."
        )
        return audit_rows(
            [audit_row(audit, quantity, value=found.value, n_subjects=found.n_subjects, sentence=sentence)]
        )
    alarm = found.p_value < LEVEL
    grade, verdict = ALARMS[audit] if alarm else (GOOD, OK)
    share = number_text(found.value, found.ci_low, found.ci_high)
    sentence = (
        f"Of {found.n_subjects} subjects held out, {', '.join(found.classes)} are told apart "
        f"{'better' if alarm else 'no better'} than by chance: mean share recognised {share}, by chance "
        f"{found.chance:.2f} (p = {found.p_value:.3f}, labels permuted){few}."
    )
    return audit_rows(
        [
            audit_row(
                audit,
                quantity,
                value=found.value,
                ci_low=found.ci_low,
                ci_high=found.ci_high,
                reference=found.chance,
                p_value=found.p_value,
                n_subjects=found.n_subjects,
                grade=grade,
                verdict=verdict,
                sentence=sentence,
            )
        ]
    )


def specificity_by_source(
    predictions: pd.DataFrame, samples: pd.DataFrame, negative: str, resamples: int, seed: int
) -> pd.DataFrame:
    """Are healthy subjects told to be healthy where nobody of their data set was trained on?

    The same subjects are tested under ``grouped`` by networks that know others of their data set. Where these are right
    more often, they go by the data set. Of the subjects that only one of the two is right about, either has half by
    chance (McNemar's exact test, one-sided). Each data set is tested at its share of :data:`LEVEL`.

    Parameters
    ----------
    predictions
        Predictions of the protocols ``sources`` and, to compare with, ``grouped``; several models.
    samples
        Keys and ``source``.
    negative
        Label of the healthy subjects, the first class.
    resamples, seed
        Of the bootstrap over subjects, stratified by data set.

    Returns
    -------
    Rows of :data:`AUDITS`. For every model one of each data set: the ``specificity`` there with Wilson's interval, and
    that of the same subjects under ``grouped``. Then one of all data sets together, without a ``source``: the
    ``difference``, held out less ``grouped``. If there are no predictions of ``sources``, one row says so.

    References
    ----------
    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika
    1947. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 1927.
    """
    unseen = predictions[(predictions["protocol"] == SOURCES) & (predictions["label"] == negative)]
    rows = []
    for model, part in unseen.groupby("model", sort=True):
        same = (predictions["protocol"] == GROUPED) & (predictions["model"] == model)
        found = _told_healthy(part, samples).rename(columns={"healthy": "held_out"})
        known = _told_healthy(predictions[same & (predictions["label"] == negative)], samples)
        found = found.merge(known.rename(columns={"healthy": "grouped"}), on=[*SUBJECT, "source"], how="left")
        rows += _of_model(str(model), found, resamples, seed)
    if not rows:
        sentence = "No healthy subject was tested by a network that had seen nobody of its data set."
        rows = [audit_row(UNSEEN_SOURCE, "specificity", sentence=sentence)]
    return audit_rows(rows)


def _told_healthy(predictions: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Subjects, their data set, and whether each was told to be of the first class."""
    if predictions.empty:
        return pd.DataFrame(columns=[*SUBJECT, "source", "healthy"])
    tested = units(predictions, "subject")
    healthy = tested[SUBJECT].assign(healthy=class_probabilities(tested).argmax(axis=1) == 0)
    return healthy.merge(samples[[*SUBJECT, "source"]].drop_duplicates(SUBJECT), on=SUBJECT)


def _of_model(model: str, found: pd.DataFrame, resamples: int, seed: int) -> list[dict]:
    from scipy.stats import binomtest

    both = found.dropna(subset="grouped")
    sources = list(found.groupby("source", sort=True))
    of_sources = []
    for source, part in sources:
        right, count = int(part["held_out"].sum()), len(part)
        limits = binomtest(right, count).proportion_ci(method="wilson")
        p_value = _worse(part)
        compared = part["grouped"].notna()
        grade, verdict = _judged(UNSEEN_SOURCE, compared.any(), p_value < LEVEL / len(sources))
        beside = f" (of {part.loc[compared, 'grouped'].sum():.0f} under {GROUPED})" if compared.any() else ""
        of_sources.append(
            audit_row(
                UNSEEN_SOURCE,
                "specificity",
                model=model,
                source=source,
                value=right / count,
                ci_low=limits.low,
                ci_high=limits.high,
                reference=part["grouped"].astype(float).mean(),
                p_value=p_value,
                n_subjects=count,
                grade=grade,
                verdict=verdict,
                sentence=f"Of {count} healthy subjects of {source}, {model} tells {right} to be healthy{beside}.",
            )
        )
    if not len(both):
        sentence = f"{model} was not tested under {GROUPED}, so nothing is compared."
        return [*of_sources, audit_row(UNSEEN_SOURCE, "difference", model=model, sentence=sentence)]
    gain = both["held_out"].to_numpy(float) - both["grouped"].to_numpy(float)
    weights = subject_resamples(both["source"].to_numpy(str), resamples, seed)
    low, high = percentile_interval(weights @ gain / len(gain))
    p_value = _worse(both)
    grade, verdict = _judged(UNSEEN_SOURCE, True, p_value < LEVEL)
    sentence = (
        f"{model} tells {found['held_out'].mean():.0%} of {len(found)} healthy subjects to be healthy where their data "
        f"set was not trained on, {both['grouped'].astype(float).mean():.0%} under {GROUPED}: difference "
        f"{gain.mean():+.2f} [{low:.2f}, {high:.2f}] (p = {p_value:.3f})."
    )
    together = audit_row(
        UNSEEN_SOURCE,
        "difference",
        model=model,
        value=gain.mean(),
        ci_low=low,
        ci_high=high,
        reference=0.0,
        p_value=p_value,
        n_subjects=len(both),
        grade=grade,
        verdict=verdict,
        sentence=sentence,
    )
    return [*of_sources, together]


def _worse(found: pd.DataFrame) -> float:
    """One-sided p-value of subjects being told to be healthy less often where their data set was held out."""
    from scipy.stats import binomtest

    both = found.dropna(subset="grouped")
    held_out, grouped = both["held_out"].astype(bool), both["grouped"].astype(bool)
    lost, won = int((grouped & ~held_out).sum()), int((held_out & ~grouped).sum())
    return binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0


def age_matched(
    predictions: pd.DataFrame, samples: pd.DataFrame, negative: str, *, calliper: float, resamples: int, seed: int
) -> pd.DataFrame:
    """Are patients still told from others where both are of the same age?

    Each patient is paired with a healthy subject at most ``calliper`` years older or younger, nobody twice: as many
    pairs as there can be, and of these the ones with the least differences in all.

    Parameters
    ----------
    predictions
        Of one protocol and model.
    samples
        Keys and ``age`` in years, null where unknown.
    negative
        Label of the healthy subjects, the first class.
    calliper
        In years.
    resamples, seed
        Of the bootstrap over subjects, or over pairs.

    Returns
    -------
    Two rows of :data:`AUDITS`: the ROC AUC of age alone, the higher the older, and that of the probability of any
    disease among the pairs, beside the same among everyone (``reference``). Where ages are missing they say so.

    Raises
    ------
    ValueError
        If there are several protocols or models.
    """
    if len(predictions[["protocol", "model"]].drop_duplicates()) != 1:
        raise ValueError("ages are matched for one protocol and model at a time")
    tested = units(predictions, "subject")
    tested = tested[[*SUBJECT, "label"]].assign(score=1 - class_probabilities(tested)[:, 0])
    people = tested.merge(samples[[*SUBJECT, "age"]].drop_duplicates(SUBJECT), on=SUBJECT).sort_values(SUBJECT)
    model = predictions["model"].iloc[0]
    ill = people["label"] != negative
    score, ages = people["score"].to_numpy(float), people["age"].to_numpy(float)
    known = ~np.isnan(ages)
    unknown = f" The ages of {int((~known).sum())} of {len(people)} subjects are not known." if not known.all() else ""
    patients, others = (np.flatnonzero(known & group) for group in (ill, ~ill))
    if not len(patients) or not len(others):
        whose = "" if not known.any() else " of healthy subjects" if len(patients) else " of patients"
        sentence = f"No ages{whose} are known: whether age explains the result cannot be told."
        names = {AGE_TELLS_CLASS: "", EQUAL_AGES: model}
        return audit_rows(audit_row(audit, "roc_auc", model=name, sentence=sentence) for audit, name in names.items())
    everyone = area_of(score[ill], score[~ill], resamples, seed)
    by_age = area_of(ages[patients], ages[others], resamples, seed)
    return audit_rows(
        [
            _age_row(by_age, ages[patients], ages[others], unknown),
            _matched_row(model, score, ages, patients, others, everyone, calliper, resamples, seed, unknown),
        ]
    )


def _age_row(area: Doubles, patients: Doubles, others: Doubles, unknown: str) -> dict:
    from scipy.stats import mannwhitneyu

    enough = min(len(patients), len(others)) > 1
    low, high = percentile_interval(area[1:]) if enough else (np.nan, np.nan)
    p_value = float(mannwhitneyu(patients, others).pvalue)
    grade, verdict = _judged(AGE_TELLS_CLASS, enough, p_value < LEVEL)
    sentence = (
        f"Patients are {_years(patients)} years old, others {_years(others)}; ROC AUC of age alone "
        f"{number_text(area[0], low, high)} (p = {p_value:.3f}).{unknown}"
    )
    numbers = {"value": area[0], "ci_low": low, "ci_high": high, "reference": 0.5, "p_value": p_value}
    return audit_row(
        AGE_TELLS_CLASS,
        "roc_auc",
        **numbers,
        n_subjects=len(patients) + len(others),
        grade=grade,
        verdict=verdict,
        sentence=sentence,
    )


def _matched_row(
    model: str,
    score: Doubles,
    ages: Doubles,
    patients: npt.NDArray[np.int64],
    others: npt.NDArray[np.int64],
    everyone: Doubles,
    calliper: float,
    resamples: int,
    seed: int,
    unknown: str,
) -> dict:
    pairs = match_ages(ages[patients], ages[others], calliper)
    if len(pairs) < 2:
        count = "no pair" if not len(pairs) else "one pair"
        sentence = f"At most {calliper:g} years apart there is {count} of a patient and a healthy subject.{unknown}"
        return audit_row(EQUAL_AGES, "roc_auc", model=model, n_subjects=2 * len(pairs), sentence=sentence)
    first, second = score[patients[pairs[:, 0]]], score[others[pairs[:, 1]]]
    area = area_of(first, second, resamples, seed, paired=True)
    low, high = percentile_interval(area[1:])
    around = percentile_interval(everyone[1:])
    if low > 0.5:
        grade, verdict = GOOD, OK
    elif around[0] > 0.5:
        grade, verdict = ALARMS[EQUAL_AGES]
    else:
        # Age cannot explain what is not there.
        grade, verdict = GOOD, NOTHING
    gap = np.abs(ages[patients[pairs[:, 0]]] - ages[others[pairs[:, 1]]]).mean()
    sentence = (
        f"Among {len(pairs)} pairs of a patient and a healthy subject, {gap:.1f} years apart on average, ROC AUC of "
        f"{model} {number_text(area[0], low, high)}; among everyone {number_text(everyone[0], *around)}.{unknown}"
    )
    numbers = {"value": area[0], "ci_low": low, "ci_high": high, "reference": everyone[0]}
    return audit_row(
        EQUAL_AGES,
        "roc_auc",
        model=model,
        **numbers,
        n_subjects=2 * len(pairs),
        grade=grade,
        verdict=verdict,
        sentence=sentence,
    )


def match_ages(patients: npt.ArrayLike, others: npt.ArrayLike, calliper: float) -> npt.NDArray[np.int64]:
    """Pairs of a patient and another subject of about the same age, nobody twice.

    Parameters
    ----------
    patients, others
        Ages in years, finite, shapes (p,) and (o,).
    calliper
        Most years between the two of a pair.

    Returns
    -------
    Places of the patient and of the other, shape (pairs, 2): as many pairs as there can be, and among all sets of so
    many the one with the least sum of differences.
    """
    from scipy.optimize import linear_sum_assignment

    gaps = np.abs(np.subtract.outer(np.asarray(patients, float), np.asarray(others, float)))
    # A pair that may not be costs more than all that may be together, so it stands only where there is no other.
    forbidden = calliper * (min(gaps.shape) + 1) + 1
    first, second = linear_sum_assignment(np.where(gaps <= calliper, gaps, forbidden))
    kept = gaps[first, second] <= calliper
    return np.column_stack([first[kept], second[kept]])


def area_of(positive: Doubles, negative: Doubles, resamples: int, seed: int, paired: bool = False) -> Doubles:
    """ROC AUC of some scores and of resamples of the two groups, or of their pairs; shape (1 + resamples,)."""
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    sizes = (len(positive),) if paired else (len(positive), len(negative))
    drawn = subject_resamples(np.repeat(np.arange(len(sizes)), sizes), resamples, seed)
    weights = np.vstack([np.ones(sum(sizes)), drawn])
    first, second = (weights, weights) if paired else (weights[:, : sizes[0]], weights[:, sizes[0] :])
    return ((first @ wins) * second).sum(axis=1) / wins.size


def overall_verdict(audits: pd.DataFrame) -> str:
    """What all audits come to in words: every alarm, the worst first; "ok" if there is none.

    Parameters
    ----------
    audits
        Rows of :data:`AUDITS`, of one audit or several. Where nothing could be told the verdict is "not told".
    """
    raised = audits[audits["grade"].isin([BAD, SUSPICIOUS])]
    alarms = [verdict for audit, (_, verdict) in ALARMS.items() if (raised["audit"] == audit).any()]
    if alarms:
        return "; ".join(alarms)
    return OK if (audits["grade"] == GOOD).any() else NOT_TOLD


def _judged(audit: str, known: bool, alarm: bool) -> tuple[str, str]:
    if not known:
        return UNKNOWN, NOT_TOLD
    return ALARMS[audit] if alarm else (GOOD, OK)


def audit_row(audit: str, quantity: str, **known: object) -> dict:
    """A row of an audit; one that is not given a grade could not tell."""
    of = {"audit": audit, "model": "", "source": "", "quantity": quantity}
    return of | {"grade": UNKNOWN, "verdict": NOT_TOLD} | known


def audit_rows(rows: object) -> pd.DataFrame:
    numbers = dict.fromkeys(("value", "ci_low", "ci_high", "reference", "p_value"), "float64")
    return pd.DataFrame(list(rows), columns=AUDITS).astype(numbers | {"n_subjects": "Int64"})


def number_text(value: float, low: float, high: float) -> str:
    return f"{value:.2f}" if np.isnan(low) else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _years(ages: Doubles) -> str:
    return f"{np.mean(ages):.0f}" if len(ages) < 2 else f"{np.mean(ages):.0f} ± {np.std(ages, ddof=1):.0f}"
