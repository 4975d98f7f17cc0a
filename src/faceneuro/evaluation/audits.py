"""Audits of a study that tells patients from others: what else could explain a result, and how far it can be trusted.

Every audit is a function from tables to rows of :data:`faceneuro.evaluation.sources.AUDITS`: a number, its interval, a
grade (ok, warn, fail, or not told where the data do not allow to tell) and a sentence. A study of several classes is
audited as one of two: any disease or none. Whatever is said of subjects is said of subjects held out, each judged once
by the mean of its frames' probabilities.

A test raises an alarm at :data:`faceneuro.evaluation.sources.LEVEL`, because several audits are made of every study.
The exceptions are the leakage gap, whose 95 % interval decides, and the comparison with chance, which is an alarm where
a test at 5 % finds nothing; likewise where seeds disagree about that comparison.

References
----------
Ojala, Garriga, "Permutation tests for studying classifier performance", Journal of Machine Learning Research 2010
(:func:`against_chance`).
Broecker, Smith, "Increasing the reliability of reliability diagrams", Weather and Forecasting 22, 2007 (what a
calibrated model shows with so few subjects, :func:`calibration`).
Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019 (bins of equal counts).
Hanley, McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology 143,
1982 (:func:`smallest_area`).
Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021 (training again with another
seed on the same folds, :func:`seeds`).
Cohen, "Statistical power analysis for the behavioral sciences", 1988 (a large effect, :data:`LARGE`).
"""

from collections.abc import Mapping, Sequence
from math import comb

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.evaluation.metrics import class_probabilities, units
from faceneuro.evaluation.paired import p_value
from faceneuro.evaluation.sources import (
    BACKGROUND_TELLS_CLASS,
    BAD,
    GOOD,
    GROUPED,
    LEVEL,
    OK,
    SUSPICIOUS,
    area_of,
    audit_row,
    audit_rows,
    number_text,
    orders,
)
from faceneuro.features.hashes import nearest
from faceneuro.tables import KEYS
from faceneuro.training.folds import SUBJECT

Doubles = npt.NDArray[np.float64]

LEAK = "random frames held out, against subjects held out"
CHANCE = "subjects held out, against permuted labels"
CALIBRATION = "probabilities of subjects, against what they have"
MISSED = "frames without a face, patients against others"
POWER = "the smallest effect that these subjects can show"
SUBGROUPS = "parts of the cohort, against each other"
SEEDS = "trainings with other seeds, against each other"
DUPLICATES = "pictures of two people who are not tested together"
"""Audits."""

ALARMS = {
    LEAK: (SUSPICIOUS, "the published protocol rewards recognising people"),
    CHANCE: (SUSPICIOUS, "cannot be told from chance"),
    BACKGROUND_TELLS_CLASS: (BAD, "the background gives the class away"),
    CALIBRATION: (SUSPICIOUS, "probabilities cannot be taken at their word"),
    MISSED: (SUSPICIOUS, "faces are missed more often in one group"),
    POWER: (SUSPICIOUS, "too few subjects for even a large effect"),
    SUBGROUPS: (SUSPICIOUS, "not as good in every part of the cohort"),
    SEEDS: (SUSPICIOUS, "depends on the seed of the training"),
    DUPLICATES: (SUSPICIOUS, "one picture may stand for two people"),
}
"""Grade and verdict of each audit where it finds something."""

PUBLISHED = "published"
"""The protocol that holds out random frames."""

PERMUTATIONS = 999
"""Of labels or of parts; a p-value can be as low as 1 in 1000."""

SIGNIFICANT = 0.05
"""Level at which a result counts as better than chance; one-sided, as for the smallest effect."""

SHARE_SHOWN = 0.8
"""Power: how often the smallest effect would be shown."""

LARGE = 0.714
"""ROC AUC of a large effect: two normal distributions 0.8 standard deviations apart."""

BESIDE_SUBJECTS = 0.5
"""Standard deviation by seed, in standard errors over subjects, that may be: it makes an interval 12 % wider."""

PER_BIN, BINS = 5, 10
"""Subjects in a bin of the calibration error at least, and bins at most."""

LEAST = 5
"""Subjects of either class that a part of the cohort needs to be judged."""

NEAR = 20
"""Bits of 256 by which two hashes of one picture may differ. Crops saved as JPEG of quality 30, at half the size or
brighter differed from themselves in 16 at most; crops of two of 54 virtual people never differed in fewer than 34."""


def held_out(predictions: pd.DataFrame, model: str, negative: str) -> pd.DataFrame:
    """The subjects that a model was tested on by the protocol ``grouped``.

    Parameters
    ----------
    predictions
        Of a study: any number of protocols and models.
    model
        Its name.
    negative
        Label of the healthy subjects, the first class.

    Returns
    -------
    One row per subject: cohort, subject, fold, ``ill`` (of any other class) and ``probability`` (of being ill).
    """
    chosen = predictions[(predictions["protocol"] == GROUPED) & (predictions["model"] == model)]
    tested = units(chosen, "subject")
    score = 1 - class_probabilities(tested)[:, 0]
    people = tested[[*SUBJECT, "fold"]].assign(ill=(tested["label"] != negative).to_numpy(), probability=score)
    return people.sort_values(SUBJECT, ignore_index=True)


def leakage_gap(
    predictions: pd.DataFrame, model: str, classes: Sequence[str], resamples: int, seed: int
) -> pd.DataFrame:
    """How much better a model looks where the people tested on are the people trained on.

    Parameters
    ----------
    predictions
        Of a study, with the protocols ``published`` and ``grouped``.
    model
        Its name.
    classes
        Of the study.
    resamples, seed
        Of the bootstrap over subjects, stratified by class; both protocols see the same resamples.

    Returns
    -------
    One row of :data:`~faceneuro.evaluation.sources.AUDITS`: the balanced accuracy of frames under ``published`` less
    that under ``grouped`` (``reference``).
    """
    parts = [predictions[(predictions["protocol"] == each) & (predictions["model"] == model)] for each in _PROTOCOLS]
    if any(part.empty for part in parts):
        return audit_rows(
            [audit_row(LEAK, "difference", model=model, sentence=f"{model} was not run under both protocols.")]
        )
    frames = pd.concat(parts)
    people, subject = np.unique(pd.MultiIndex.from_frame(frames[SUBJECT]).to_flat_index(), return_inverse=True)
    truth = pd.Index(classes).get_indexer(frames["label"])
    right = class_probabilities(frames).argmax(axis=1) == truth
    stratum = np.zeros(len(people), int)
    stratum[subject] = truth
    weights = np.vstack([np.ones(len(people)), subject_resamples(stratum, resamples, seed)])
    published, grouped = (
        _balanced(subject[mine], truth[mine], right[mine], weights, len(classes))
        for mine in (frames["protocol"].to_numpy() == each for each in _PROTOCOLS)
    )
    gap = published - grouped
    enough = np.bincount(stratum, minlength=len(classes)).min() >= 2
    if np.isnan(gap[0]) or not enough:
        sentence = f"{len(people)} subjects are too few for every class to be tested under both protocols."
        return audit_rows([audit_row(LEAK, "difference", model=model, n_subjects=len(people), sentence=sentence)])
    low, high = percentile_interval(gap[1:])
    grade, verdict = ALARMS[LEAK] if low > 0 else (GOOD, OK)
    sentence = (
        f"{model} recognises {published[0]:.0%} of frames, mean of the classes, where random frames are held out and "
        f"{grouped[0]:.0%} where subjects are: difference {_signed(gap[0], low, high)}."
    )
    numbers = {"value": gap[0], "ci_low": low, "ci_high": high, "reference": grouped[0], "p_value": p_value(gap[1:])}
    return audit_rows(
        [
            audit_row(
                LEAK,
                "difference",
                model=model,
                **numbers,
                n_subjects=len(people),
                grade=grade,
                verdict=verdict,
                sentence=sentence,
            )
        ]
    )


_PROTOCOLS = (PUBLISHED, GROUPED)


def _balanced(
    subject: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], right: npt.NDArray, weights: Doubles, classes: int
) -> Doubles:
    """Mean over classes of the share of units recognised, by weighting of the subjects; NaN where undefined."""
    hits, counts = np.zeros((2, weights.shape[1], classes))
    np.add.at(hits, (subject, truth), right)
    np.add.at(counts, (subject, truth), 1)
    tested = weights @ counts
    return np.where(tested > 0, weights @ hits / np.where(tested > 0, tested, 1), np.nan).mean(axis=1)


def against_chance(people: pd.DataFrame, model: str, resamples: int, seed: int, audit: str = CHANCE) -> pd.DataFrame:
    """Whether a model tells patients from others better than it would if labels meant nothing.

    Labels are permuted within folds, because probabilities of different folds come from different networks. Where each
    fold tests subjects of one class alone they are permuted over all: a network that learnt from everyone else expects
    of the one left out the other class rather than its own, so this errs towards chance.

    Parameters
    ----------
    people
        From :func:`held_out`.
    model
        Its name.
    resamples, seed
        Of the bootstrap over subjects; the seed also of the permutations.
    audit
        :data:`CHANCE`, an alarm where the model is no better; or
        :data:`~faceneuro.evaluation.sources.BACKGROUND_TELLS_CLASS`, of a model that sees everything but the face: an
        alarm where it is better.

    Returns
    -------
    One row of :data:`~faceneuro.evaluation.sources.AUDITS`: the ROC AUC.
    """
    ill, score = people["ill"].to_numpy(bool), people["probability"].to_numpy()
    folds = list(people.groupby("fold").indices.values())
    inside = any(len(np.unique(ill[fold])) > 1 for fold in folds)
    strata = folds if inside else [np.arange(len(ill))]
    n = len(ill)
    control = audit == BACKGROUND_TELLS_CLASS
    level = LEVEL if control else SIGNIFICANT
    if orders(ill[each] for each in strata) <= 1 / level:
        sentence = f"{n} subjects are too few: labels can be dealt anew in too few ways to judge by."
        return audit_rows([audit_row(audit, "roc_auc", model=model, n_subjects=n, sentence=sentence)])
    found = area_of(score[ill], score[~ill], resamples, seed)
    low, high = percentile_interval(found[1:])
    random = np.random.default_rng(seed)
    dealt = np.empty((PERMUTATIONS, n), bool)
    for each in strata:
        dealt[:, each] = random.permuted(np.tile(ill[each], (PERMUTATIONS, 1)), axis=1)
    p = _share(_areas(score, dealt), found[0])
    better = p < level
    grade, verdict = ALARMS[audit] if better == control else (GOOD, OK)
    sentence = (
        f"{model} tells {n} subjects held out apart {'better' if better else 'no better'} than by chance: ROC AUC "
        f"{number_text(found[0], low, high)} (p = {p:.3f}, labels permuted {'within folds' if inside else 'over all'})."
    )
    numbers = {"value": found[0], "ci_low": low, "ci_high": high, "reference": 0.5, "p_value": p}
    return audit_rows(
        [
            audit_row(
                audit, "roc_auc", model=model, **numbers, n_subjects=n, grade=grade, verdict=verdict, sentence=sentence
            )
        ]
    )


def _areas(score: Doubles, ill: npt.NDArray[np.bool_]) -> Doubles:
    """ROC AUC under several labellings, shape (labellings, n), all with as many patients."""
    from scipy.stats import rankdata

    patients = ill[0].sum()
    return (ill @ rankdata(score) - patients * (patients + 1) / 2) / (patients * (len(score) - patients))


def _share(drawn: Doubles, found: float) -> float:
    """One-sided p-value: how often what was drawn is as large. Equal numbers may differ by the order of summation."""
    return (1 + int((drawn >= found - 1e-9).sum())) / (1 + len(drawn))


def calibration(people: pd.DataFrame, model: str, resamples: int, seed: int) -> pd.DataFrame:
    """Whether, of the subjects that get a probability of so much, so many are ill.

    With few subjects even a perfectly calibrated model has a large calibration error. What it would have on average is
    ``reference``, and ``p_value`` is how often it would have as large a one: outcomes are drawn from the probabilities.

    Parameters
    ----------
    people
        From :func:`held_out`.
    model
        Its name.
    resamples, seed
        Of the bootstrap over subjects, stratified by class; as many outcomes are drawn.

    Returns
    -------
    Two rows of :data:`~faceneuro.evaluation.sources.AUDITS`: the Brier score beside that of the share of patients
    alone, an alarm if the whole interval is above it; and the expected calibration error, in bins of equal counts.
    """
    ill, score = people["ill"].to_numpy(float), people["probability"].to_numpy()
    n, patients = len(ill), int(ill.sum())
    if min(patients, n - patients) < 2:
        sentence = f"Of {n} subjects held out {patients} are patients: two of either class are needed."
        return audit_rows(
            audit_row(CALIBRATION, quantity, model=model, n_subjects=n, sentence=sentence)
            for quantity in ("brier", "calibration_error")
        )
    weights = np.vstack([np.ones(n), subject_resamples(ill, resamples, seed)])
    brier = weights @ (score - ill) ** 2 / n
    bins = _bins(score)
    count = "one bin" if not bins.max() else f"{bins.max() + 1} bins"
    error = calibration_error(score, ill, weights, bins)
    drawn = np.random.default_rng(seed).random((resamples, n)) < score
    null = np.array([calibration_error(score, each, weights[:1], bins)[0] for each in drawn.astype(float)])
    p = _share(null, error[0])
    base = float(ill.mean() * (1 - ill.mean()))
    (low, high), around = percentile_interval(brier[1:]), percentile_interval(error[1:])
    grade, verdict = ALARMS[CALIBRATION] if low > base else (GOOD, OK)
    first = audit_row(
        CALIBRATION,
        "brier",
        model=model,
        value=brier[0],
        ci_low=low,
        ci_high=high,
        reference=base,
        n_subjects=n,
        grade=grade,
        verdict=verdict,
        sentence=f"Brier score of {model} {number_text(brier[0], low, high)}; of the patients' share alone {base:.2f}.",
    )
    grade, verdict = ALARMS[CALIBRATION] if p < LEVEL else (GOOD, OK)
    second = audit_row(
        CALIBRATION,
        "calibration_error",
        model=model,
        value=error[0],
        ci_low=around[0],
        ci_high=around[1],
        reference=null.mean(),
        p_value=p,
        n_subjects=n,
        grade=grade,
        verdict=verdict,
        sentence=f"Expected calibration error of {model} {number_text(error[0], *around)} in {count}; a "
        f"calibrated model of these {n} subjects has {null.mean():.2f} on average (p = {p:.3f}).",
    )
    return audit_rows([first, second])


def calibration_error(
    score: Doubles, ill: Doubles, weights: Doubles, bins: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Expected calibration error under several weightings of the subjects.

    Parameters
    ----------
    score, ill
        Probability and outcome (0 or 1) of each subject, shape (n,).
    weights
        Shape (weightings, n).
    bins
        Bin of each subject, shape (n,).
    """
    inside = bins[:, None] == np.unique(bins)
    return np.abs((weights * (score - ill)) @ inside).sum(axis=1) / weights.sum(axis=1)


def reliability(people: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """What share of the subjects who get about such a probability is ill, beside what to expect if it can be trusted.

    Parameters
    ----------
    people
        From :func:`held_out`.
    resamples, seed
        Of the outcomes drawn from the probabilities.

    Returns
    -------
    One row per bin of :func:`calibration`, by probability: ``n``, ``probability`` (mean), ``share`` (who are ill, with
    Wilson's 95 % interval, ``ci_low`` and ``ci_high``), and ``expected_low`` and ``expected_high``, between which 95 %
    of the shares of a calibrated model lie.

    References
    ----------
    Broecker, Smith, Weather and Forecasting 22, 2007 (resampled outcomes of each bin).
    """
    from scipy.stats import binomtest

    ill, score = people["ill"].to_numpy(bool), people["probability"].to_numpy(float)
    drawn = np.random.default_rng(seed).random((resamples, len(score))) < score
    bins = _bins(score)
    rows = []
    for each in np.unique(bins):
        mine = bins == each
        found = binomtest(int(ill[mine].sum()), int(mine.sum())).proportion_ci(method="wilson")
        low, high = percentile_interval(drawn[:, mine].mean(axis=1))
        rows.append((int(mine.sum()), score[mine].mean(), ill[mine].mean(), found.low, found.high, low, high))
    names = ("n", "probability", "share", "ci_low", "ci_high", "expected_low", "expected_high")
    return pd.DataFrame(rows, columns=list(names))


def calibration_edges(score: Doubles) -> Doubles:
    """Probabilities at which the bins of the calibration error meet, so that they are of about equal counts.

    A probability belongs to the bin ``numpy.searchsorted(edges, probability, side="right")``.

    Parameters
    ----------
    score
        Probability of each subject, shape (n,).
    """
    count = int(np.clip(len(score) // PER_BIN, 1, BINS))
    return np.quantile(score, np.arange(1, count) / count)


def _bins(score: Doubles) -> npt.NDArray[np.int64]:
    """Bin of each subject, those that hold anybody counted from 0; equal probabilities in one bin."""
    return np.unique(np.searchsorted(calibration_edges(score), score, side="right"), return_inverse=True)[1]


def seeds(trainings: Sequence[pd.DataFrame], model: str, resamples: int, seed: int) -> pd.DataFrame:
    """How much a result depends on the seed of the training: on initial weights, batches and dropout.

    The standard deviation over seeds is compared with the standard error over subjects, by the widest of the 95 %
    intervals: near a ROC AUC of 1 they shrink, and the widest does so least. An alarm if seeds disagree whether the
    model is better than chance (:func:`against_chance`), or if the deviation is shown (chi-squared test, of normally
    distributed results) to be more than :data:`BESIDE_SUBJECTS` standard errors.

    Of 200 simulated studies each of 12, 22 and 54 people with three seeds, whose deviation was a third of a standard
    error or a little more, 0 to 0.5 % were said to have too large a one. Seeds disagreed in 6 to 10 % of those with
    nothing to find and in up to 27 % where an effect lay near what so many people can show.

    Parameters
    ----------
    trainings
        From :func:`held_out`, of each training: the same subjects in the same folds.
    model
        Its name.
    resamples, seed
        Of the bootstrap over subjects; the seed also of the permutations. All trainings see the same.

    Returns
    -------
    One row of :data:`~faceneuro.evaluation.sources.AUDITS`: the standard deviation of the ROC AUC over seeds, beside
    half of the widest interval over subjects (``reference``). Its own interval is that of a normal distribution's
    standard deviation, which of three values is wide.

    Raises
    ------
    ValueError
        If trainings were not tested on the same subjects in the same folds.
    """
    from scipy.stats import chi2, norm

    first, n, count = trainings[0], len(trainings[0]), len(trainings)
    for other in trainings[1:]:
        if not other.drop(columns="probability").equals(first.drop(columns="probability")):
            raise ValueError(f"trainings of {model} with several seeds were not tested on the same subjects and folds")
    known = {"model": model, "n_subjects": n}
    found = pd.concat([against_chance(each, model, resamples, seed) for each in trainings])
    areas, p_values = found["value"].to_numpy(), found["p_value"].to_numpy()
    if count < 2 or np.isnan(areas).any():
        once = f"{model} was trained once, so how much the result depends on the seed is not known (key repeats)."
        sentence = once if count < 2 else f"{n} subjects are too few to judge by, whatever the seed."
        return audit_rows([audit_row(SEEDS, _SPREAD, **known, sentence=sentence)])
    half = ((found["ci_high"] - found["ci_low"]) / 2).max()
    spread, free = areas.std(ddof=1), count - 1
    low, high = spread * np.sqrt(free / chi2.ppf([0.975, 0.025], free))
    allowed = BESIDE_SUBJECTS * half / norm.ppf(0.975)
    p = float(chi2.sf(free * (spread / allowed) ** 2, free)) if allowed else float(spread == 0)
    better = int((p_values < SIGNIFICANT).sum())
    grade, verdict = ALARMS[SEEDS] if p < LEVEL or 0 < better < count else (GOOD, OK)
    says = {0: "none", count: "each"}.get(better, f"{better} of {count}")
    sentence = (
        f"Trained with {count} seeds, {model} has ROC AUC {', '.join(f'{area:.2f}' for area in areas)} over the same "
        f"{n} subjects held out, better than chance with {says}: standard deviation {number_text(spread, low, high)}; "
        f"other subjects could change one of them by {half:.2f} (half of a 95 % interval)."
    )
    numbers = {"value": spread, "ci_low": low, "ci_high": high, "reference": half, "p_value": p}
    return audit_rows([audit_row(SEEDS, _SPREAD, **known, **numbers, grade=grade, verdict=verdict, sentence=sentence)])


_SPREAD = "standard deviation of roc_auc"


def missed_faces(quality: pd.DataFrame, groups: Mapping[str, str], resamples: int, seed: int) -> pd.DataFrame:
    """Whether faces are found as often in patients as in others: what is not found is not judged.

    Parameters
    ----------
    quality
        Rows of :data:`faceneuro.tables.QUALITY` of the study's clips, the unusable ones among them.
    groups
        Names of the groups that are the ``negative`` and the ``positive`` class.
    resamples, seed
        Of the bootstrap over subjects, stratified by group; the seed also of the permutations of groups over subjects.

    Returns
    -------
    One row of :data:`~faceneuro.evaluation.sources.AUDITS`: the mean share of frames without a face of the patients
    less that of the others (``reference``).
    """
    from scipy.stats import permutation_test

    used = quality[quality["group"].isin(list(groups.values())) & (quality["frames_kept"] > 0)]
    counts = used.groupby([*SUBJECT, "group"])[["frames_kept", "faces_found"]].sum().reset_index()
    share = (1 - counts["faces_found"] / counts["frames_kept"]).to_numpy(float)
    ill = (counts["group"] == groups["positive"]).to_numpy()
    n, known = len(ill), {"n_subjects": len(ill)}
    if comb(n, int(ill.sum())) <= 1 / LEVEL:
        sentence = f"{n} subjects with frames are too few to compare patients ({int(ill.sum())}) with others."
        return audit_rows([audit_row(MISSED, "difference", **known, sentence=sentence)])
    difference = share[ill].mean() - share[~ill].mean()
    weights = subject_resamples(ill, resamples, seed)
    low, high = percentile_interval(
        weights[:, ill] @ share[ill] / ill.sum() - weights[:, ~ill] @ share[~ill] / (~ill).sum()
    )
    p = permutation_test(
        (share[ill], share[~ill]),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(seed),
    ).pvalue
    grade, verdict = ALARMS[MISSED] if p < LEVEL else (GOOD, OK)
    sentence = (
        f"No face was found in {share[ill].mean():.1%} of a patient's frames on average, {share[~ill].mean():.1%} of "
        f"another's: difference {_signed(difference, low, high)} (p = {p:.3f}, groups permuted)."
    )
    numbers = {"value": difference, "ci_low": low, "ci_high": high, "reference": share[~ill].mean(), "p_value": p}
    return audit_rows(
        [audit_row(MISSED, "difference", **numbers, **known, grade=grade, verdict=verdict, sentence=sentence)]
    )


def smallest_area(patients: int, others: int, power: float = SHARE_SHOWN, level: float = SIGNIFICANT) -> float:
    """The smallest ROC AUC that so many subjects show to be above a half so often, by a one-sided rank test.

    Standard errors are Hanley and McNeil's: without an effect that of the Mann-Whitney statistic, with one that of
    exponentially distributed scores.

    Parameters
    ----------
    patients, others
        Subjects of either class.
    power
        Share of studies of so many subjects that show it.
    level
        Of the test.

    Returns
    -------
    Above a half and below 1; NaN where so few subjects show no effect at all so often.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    if comb(patients + others, patients) <= 1 / level:
        return float("nan")
    needed = 0.5 + norm.isf(level) * np.sqrt((patients + others + 1) / (12 * patients * others))

    def above(area: float) -> float:
        first, second = area / (2 - area), 2 * area**2 / (1 + area)
        variance = area * (1 - area) + (patients - 1) * (first - area**2) + (others - 1) * (second - area**2)
        return area - norm.ppf(power) * np.sqrt(variance / (patients * others)) - needed

    return float(brentq(above, 0.5, 1)) if above(1) > 0 else float("nan")


def power(people: pd.DataFrame) -> pd.DataFrame:
    """The smallest ROC AUC that these subjects can show.

    Parameters
    ----------
    people
        From :func:`held_out`.

    Returns
    -------
    One row of :data:`~faceneuro.evaluation.sources.AUDITS`; an alarm if that is more than a large effect.
    """
    n, patients = len(people), int(people["ill"].sum())
    smallest = smallest_area(patients, n - patients)
    counts = f"{patients} patients and {n - patients} others"
    if np.isnan(smallest):
        sentence = f"With {counts} no effect is shown in {SHARE_SHOWN:.0%} of studies, however large."
    else:
        sentence = (
            f"With {counts}, a ROC AUC of {smallest:.2f} or more is shown to be above chance in {SHARE_SHOWN:.0%} of "
            f"studies (one-sided, 5 %); a large effect has {LARGE:.2f}."
        )
    grade, verdict = (GOOD, OK) if smallest <= LARGE else ALARMS[POWER]
    numbers = {"value": smallest, "reference": LARGE, "n_subjects": n}
    return audit_rows([audit_row(POWER, "roc_auc", **numbers, grade=grade, verdict=verdict, sentence=sentence)])


def subgroups(people: pd.DataFrame, manifest: pd.DataFrame, model: str, resamples: int, seed: int) -> pd.DataFrame:
    """Whether a model is as good for women as for men, for older people as for younger, in every data set of origin.

    A part of the cohort is judged by its balanced accuracy, so that it does not matter how many patients are in it. The
    best and the worst part are compared; parts are permuted over the subjects of each class.

    Parameters
    ----------
    people
        From :func:`held_out`.
    manifest
        Rows of :data:`faceneuro.tables.MANIFEST`.
    model
        Its name.
    resamples, seed
        Of the bootstrap over subjects, stratified by part and class; the seed also of the permutations.

    Returns
    -------
    A row of :data:`~faceneuro.evaluation.sources.AUDITS` each for sex, age (from the median on, or below) and source:
    the best part's balanced accuracy less the worst's (``reference``). Parts with fewer than :data:`LEAST` subjects of
    either class are left out.
    """
    known = people.merge(manifest.drop_duplicates(SUBJECT)[[*SUBJECT, "sex", "age", "source"]], on=SUBJECT, how="left")
    middle = known["age"].median()
    older = known["age"].map(lambda age: f"{middle:g} years or older" if age >= middle else f"under {middle:g} years")
    parts = {"sex": known["sex"], "age": older.where(known["age"].notna()), "source": known["source"]}
    ill = known["ill"].to_numpy(bool)
    right = ((known["probability"] > 0.5) == ill).to_numpy(float)
    return audit_rows(_by(name, part, ill, right, model, resamples, seed) for name, part in parts.items())


def _by(
    name: str, part: pd.Series, ill: npt.NDArray[np.bool_], right: Doubles, model: str, resamples: int, seed: int
) -> dict:
    quantity = f"balanced accuracy by {name}"
    sizes = pd.crosstab(part, ill).reindex(columns=[False, True], fill_value=0)
    kept = list(sizes.index[(sizes >= LEAST).all(axis=1)])
    used = part.isin(kept).to_numpy()
    if len(kept) < 2:
        sentence = f"By {name} fewer than two parts of the cohort have {LEAST} patients and {LEAST} others."
        return audit_row(SUBGROUPS, quantity, model=model, n_subjects=int(used.sum()), sentence=sentence)
    codes = pd.Categorical(part[used], kept).codes.astype(int)
    ill, right = ill[used], right[used]
    once = np.ones((1, len(right)))
    shares = np.array([_of_part(k, codes, ill, right, once)[0] for k in range(len(kept))])
    best, worst = int(shares.argmax()), int(shares.argmin())
    gap = shares[best] - shares[worst]
    weights = subject_resamples(2 * codes + ill, resamples, seed)
    low, high = percentile_interval(
        _of_part(best, codes, ill, right, weights) - _of_part(worst, codes, ill, right, weights)
    )
    random, drawn = np.random.default_rng(seed), np.empty(PERMUTATIONS)
    for draw in range(PERMUTATIONS):
        dealt = codes.copy()
        for each in (ill, ~ill):
            dealt[each] = random.permutation(codes[each])
        drawn[draw] = np.ptp([_of_part(k, dealt, ill, right, once)[0] for k in range(len(kept))])
    p = _share(drawn, gap)
    grade, verdict = ALARMS[SUBGROUPS] if p < LEVEL else (GOOD, OK)
    sentence = (
        f"By {name}, {model} is best in {kept[best]} (balanced accuracy {shares[best]:.2f}) and worst in {kept[worst]} "
        f"({shares[worst]:.2f}): difference {_signed(gap, low, high)} (p = {p:.3f}, parts permuted)."
    )
    numbers = {"value": gap, "ci_low": low, "ci_high": high, "reference": shares[worst], "p_value": p}
    return audit_row(
        SUBGROUPS,
        quantity,
        model=model,
        **numbers,
        n_subjects=len(right),
        grade=grade,
        verdict=verdict,
        sentence=sentence,
    )


def _of_part(
    k: int, codes: npt.NDArray[np.int64], ill: npt.NDArray[np.bool_], right: Doubles, weights: Doubles
) -> Doubles:
    """Balanced accuracy of one part under every weighting of the subjects."""
    both = [(codes == k) & each for each in (ill, ~ill)]
    return np.mean([weights[:, each] @ right[each] / weights[:, each].sum(axis=1) for each in both], axis=0)


def duplicates(hashes: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """Whether a picture of somebody who is trained on is, under another name, a picture of somebody tested.

    Parameters
    ----------
    hashes
        Rows of :data:`faceneuro.tables.HASHES`, of the pictures that the study uses.
    people
        From :func:`held_out`: the fold that tests each subject. Two who are tested by one fold are never on both sides.

    Returns
    -------
    One row of :data:`~faceneuro.evaluation.sources.AUDITS`: how many pictures have their like, within :data:`NEAR`
    bits, among those of another subject whom another fold tests. An alarm that names the two most alike, to be looked
    at; it is bad where they are the same.
    """
    known = hashes.merge(people[[*SUBJECT, "fold"]], on=SUBJECT).sort_values(list(KEYS), ignore_index=True)
    words = np.frombuffer(b"".join(known["hash"]), np.uint64).reshape(len(known), -1)
    subject = known.groupby(SUBJECT).ngroup().to_numpy()
    fold = known["fold"].to_numpy()
    pairs = [np.zeros((0, 3), np.int64)]
    for each in np.unique(subject):
        mine = np.flatnonzero(subject == each)
        others = np.flatnonzero((subject > each) & (fold != fold[mine[0]]))
        found = nearest(words[mine], words[others], NEAR)
        pairs.append(np.column_stack([mine[found[:, 0]], others[found[:, 1]], found[:, 2]]))
    alike = np.concatenate(pairs)
    pictures = np.unique(alike[:, :2])
    n = known[SUBJECT].drop_duplicates().shape[0]
    if not len(alike):
        sentence = f"None of {len(known)} pictures of {n} subjects is nearly that of somebody whom another fold tests."
        row = audit_row(DUPLICATES, "pictures", value=0, n_subjects=n, grade=GOOD, verdict=OK, sentence=sentence)
        return audit_rows([row])
    first, second, bits = alike[alike[:, 2].argmin()]
    one, other = (" ".join(map(str, known.loc[place, list(KEYS[1:])])) for place in (first, second))
    who = known.loc[pictures, SUBJECT].drop_duplicates()
    grade, verdict = (BAD, "one picture stands for two people") if bits == 0 else ALARMS[DUPLICATES]
    sentence = (
        f"{len(pictures)} of {len(known)} pictures, of {len(who)} subjects, are nearly those of somebody whom another "
        f"fold tests; the most alike differ in {bits} of 256 bits: {one} and {other}."
    )
    numbers = {"value": len(pictures), "n_subjects": n}
    return audit_rows([audit_row(DUPLICATES, "pictures", **numbers, grade=grade, verdict=verdict, sentence=sentence)])


def all_audits(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    quality: pd.DataFrame,
    hashes: pd.DataFrame | None,
    *,
    classes: Sequence[str],
    groups: Mapping[str, str],
    model: str,
    backgrounds: Sequence[str],
    repeats: Sequence[pd.DataFrame] | None,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Every audit of one study.

    Parameters
    ----------
    predictions
        Of all protocols and models.
    manifest, quality
        Tables of the study's clips.
    hashes
        Rows of :data:`faceneuro.tables.HASHES`; none where the study works on no pictures.
    classes
        Of the study, first the healthy one.
    groups
        Names of the groups that are the ``negative`` and the ``positive`` class.
    model
        The one that audits are about.
    backgrounds
        Models that see everything but the face.
    repeats
        Predictions of that model trained again on the same folds, a table for each further seed; none at all where
        nothing in its training is random.
    resamples, seed
        Of bootstraps; the seed also of permutations.

    Returns
    -------
    Rows of :data:`~faceneuro.evaluation.sources.AUDITS`.
    """
    drawn = {"resamples": resamples, "seed": seed}
    people = held_out(predictions, model, classes[0])
    trainings = [people, *(held_out(each, model, classes[0]) for each in repeats or ())]
    protocols = set(predictions["protocol"])
    parts = [
        *([leakage_gap(predictions, model, classes, **drawn)] if PUBLISHED in protocols else []),
        against_chance(people, model, **drawn),
        *(
            against_chance(held_out(predictions, each, classes[0]), each, **drawn, audit=BACKGROUND_TELLS_CLASS)
            for each in backgrounds
        ),
        *([duplicates(hashes, people)] if hashes is not None else []),
        missed_faces(quality, groups, **drawn),
        calibration(people, model, **drawn),
        subgroups(people, manifest, model, **drawn),
        *([seeds(trainings, model, **drawn)] if repeats is not None else []),
        power(people),
    ]
    return pd.concat(parts, ignore_index=True)


def _signed(value: float, low: float, high: float) -> str:
    return f"{value:+.2f} [{low:.2f}, {high:.2f}]"
