"""Do the measures of asymmetry follow the disease? The 29 against the grade, differences of the sides against the side.

Nothing is learnt here: a measure is ranked against the grade that a clinician gave, or that a virtual patient was made
with, and the sign of a difference is compared with the side that is known to be weak. The unit is the subject.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.features.asymmetry import MEASURES, REGIONS, side_differences
from faceneuro.tables import LANDMARK_COUNT
from faceneuro.training.folds import SUBJECT

Doubles = npt.NDArray[np.float64]

OWN_TASKS = {
    "brow": ("brow_raise",),
    "eye": ("eye_closure_tight", "eye_closure_gentle"),
    "mouth": ("smile_open", "smile_closed"),
    "nose": ("smile_open", "smile_closed", "nose_wrinkle"),
    "face": ("smile_open", "smile_closed"),
}
"""Tasks that show whether a region works; the first that was recorded is the region's own. A smile lifts the wings of
the nose too, and the measures of several regions all end at a lip."""

ALL_TASKS = "all tasks"
"""In the place of a task: a subject's mean over all of them, those without a name included. A region's own where none
of its tasks was recorded."""

EVERYONE, PATIENTS = "all", "patients"
"""Whom a correlation is over. Among everyone it also rewards telling patients from others."""

WEAK_LEFT, WEAK_RIGHT = "weak on the left", "weak on the right"
"""Patients of one weak side: a readout that always says left is right about the first and wrong about the second."""

RISES, FALLS = "rises with the grade", "falls with the grade"
NAMED, MISNAMED = "names the weak side", "names the healthy side"
NOT_SHOWN = "not shown"
TOO_FEW = "too few subjects to tell"

LEAST = 6
"""Subjects that a verdict needs. Resampling few people finds too little variation: for four subjects a correlation of
unrelated values has an interval without zero in a quarter of all cases, for six in 7 %, from ten on in the nominal 5 %.
And of fewer than six, even if all are right, the exact interval of the share begins below a half."""

WEAK = {"brow_height": -1, "eye_opening": 1, "mouth_corner_height": -1}
"""Sign of left minus right where the left side is the weak one. A weak brow and corner of the mouth stay low; a weak
eye stays open."""

REGION_OF = {"brow_height": "brow", "eye_opening": "eye", "mouth_corner_height": "mouth"}
"""Region, as of the measures, of each difference of the sides."""

MONOTONY = ["measure", "region", "task", "own", "among", "value", "ci_low", "ci_high", "n_subjects", "verdict"]
SIDES = ["measure", "region", "task", "own", "among", "value", "ci_low", "ci_high", "right", "n_subjects", "verdict"]
"""Columns of :func:`monotony` and of :func:`weak_sides`."""

NEUTRAL = np.array([np.nan if measure.neutral is None else measure.neutral for measure in MEASURES])


def monotony(samples: pd.DataFrame, measures: npt.ArrayLike, positive: str, resamples: int, seed: int) -> pd.DataFrame:
    """Spearman correlation of every measure with the grade, over subjects, task by task.

    A subject's value is the mean over its crops, of the measure's distance from its neutral value (angles have signs,
    by the side), or of the measure itself where no value is neutral. Crops without a grade do not count.

    Parameters
    ----------
    samples
        Data frame of a samples table, n rows: keys, ``group``, ``task``, ``severity``.
    measures
        Shape (n, 29), finite.
    positive
        The patients' group.
    resamples, seed
        Of the bootstrap over subjects. It is not stratified: what class a subject belongs to is part of its grade.

    Returns
    -------
    Rows of :data:`MONOTONY`: for each task, and for :data:`ALL_TASKS`, every measure in the published order, among all
    subjects with a grade and, where these are not all patients, among patients alone. ``value`` is null where all
    grades or all values are equal; limits (95 %) also where there are fewer subjects than :data:`LEAST`. ``own`` says
    whether the task is that of the measure's region. No row at all where no grade is known.

    References
    ----------
    Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3 (percentile interval).
    """
    values = distances(measures)
    graded = samples["severity"].notna().to_numpy()
    recorded = tasks_of(samples[graded])
    rows = []
    for task, in_task in _by_task(samples):
        used = graded & in_task
        if not used.any():
            continue
        means = _subject_means(samples[used], values[used], ["severity"])
        patients = _belong(samples[used], means.index, positive)
        for among, members in _whom(patients):
            grades, columns = means["severity"].to_numpy()[members], means.drop(columns="severity").to_numpy()[members]
            drawn = draws(len(grades), resamples, seed)
            for measure, column in zip(MEASURES, columns.T, strict=True):
                value = float(spearman(column, grades))
                low, high = (np.nan, np.nan)
                if len(grades) >= LEAST and not np.isnan(value):
                    low, high = percentile_interval(spearman(column[drawn], grades[drawn]))
                rows.append(
                    {
                        "measure": measure.name,
                        "region": measure.region,
                        "task": task,
                        "own": task == own_task(measure.region, recorded),
                        "among": among,
                        "value": value,
                        "ci_low": low,
                        "ci_high": high,
                        "n_subjects": len(grades),
                        "verdict": _verdict(low, high, 0.0, RISES, FALLS),
                    }
                )
    return pd.DataFrame(rows, columns=MONOTONY)


def weak_sides(samples: pd.DataFrame, coordinates: npt.ArrayLike) -> pd.DataFrame:
    """How often the sign of left minus right names the side that is weak, by region and task.

    The differences are those of :func:`faceneuro.features.asymmetry.side_differences`, averaged over a subject's crops
    of the task, with the signs of :data:`WEAK`. They are taken from landmarks as shares of a crop, in which x and y
    have different units. Three of the four are heights over the line between the eyes: an area over a length, and
    stretching a picture multiplies all areas alike, so their signs are those in pixels, however the head is tilted. The
    fourth, ``mouth_corner_reach``, is a length along that line; its sign may change, and it is left out.

    Parameters
    ----------
    samples
        Data frame of a samples table, n rows: keys, ``task``, ``side``.
    coordinates
        x and y of the landmarks over the crop's width and height, shape (n, 956).

    Returns
    -------
    Rows of :data:`SIDES`: for each task, and for :data:`ALL_TASKS`, every region, for all subjects whose weak side is
    known, and for those of either side. ``value`` is the share of subjects whose side is named, ``right`` their number;
    no difference at all names no side. Limits are the exact ones of a binomial share (95 %), because resampling five
    right answers out of five gives five out of five. No row where no weak side is known.

    References
    ----------
    Clopper, Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika
    1934.
    """
    sided = samples["side"].isin(["left", "right"]).to_numpy()
    places = [REGIONS.index(region) for region in WEAK]
    recorded = tasks_of(samples[sided])
    rows = []
    for task, in_task in _by_task(samples):
        used = sided & in_task
        if not used.any():
            continue
        points = np.asarray(coordinates)[used].reshape(-1, LANDMARK_COUNT, 2)
        means = _subject_means(samples[used], side_differences(points)[:, places])
        sides = samples[used].groupby(SUBJECT)["side"].agg(["first", "nunique"])
        # Who is weak on one side in one recording and on the other in the next has no weak side.
        torn = (sides["nunique"] > 1).to_numpy()
        left = (sides["first"] == "left").to_numpy()
        for (measure, sign), column in zip(WEAK.items(), means.to_numpy().T, strict=True):
            judged = np.isfinite(column) & ~torn
            named = np.where(left, column * sign > 0, column * sign < 0)
            for among, members in ((EVERYONE, judged), (WEAK_LEFT, judged & left), (WEAK_RIGHT, judged & ~left)):
                count, right = int(members.sum()), int(named[members].sum())
                low, high = _binomial_limits(right, count)
                verdict = _verdict(low, high, 0.5, NAMED, MISNAMED) if count >= LEAST else TOO_FEW
                rows.append(
                    {
                        "measure": measure,
                        "region": REGION_OF[measure],
                        "task": task,
                        "own": task == own_task(REGION_OF[measure], recorded),
                        "among": among,
                        "value": right / count if count else np.nan,
                        "ci_low": low,
                        "ci_high": high,
                        "right": right,
                        "n_subjects": count,
                        "verdict": verdict,
                    }
                )
    return pd.DataFrame(rows, columns=SIDES)


def distances(measures: npt.ArrayLike) -> Doubles:
    """The measures' distances from their neutral values, or the measures where none is neutral; shape (n, 29)."""
    values = np.asarray(measures, np.float64)
    return np.where(np.isnan(NEUTRAL), values, np.abs(values - NEUTRAL))


def tasks_of(samples: pd.DataFrame) -> list[str]:
    """The tasks that have a name, sorted."""
    return sorted(samples["task"].dropna().unique())


def own_task(region: str, recorded: Iterable[str]) -> str:
    """The task that shows whether a region works: the first of :data:`OWN_TASKS` that was recorded, or all of them."""
    return next((task for task in OWN_TASKS[region] if task in recorded), ALL_TASKS)


def spearman(x: Doubles, y: Doubles) -> Doubles:
    """Rank correlation along the last axis, ties at their mean rank; NaN where either side is constant."""
    # Imported here: it takes a second, and this module is also asked for its names.
    from scipy.stats import rankdata

    a, b = (ranks - ranks.mean(-1, keepdims=True) for ranks in (rankdata(side, axis=-1) for side in (x, y)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def draws(subjects: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Which subjects are in each resample, with repetitions; shape (resamples, subjects)."""
    counts = subject_resamples(np.zeros(subjects), resamples, seed).astype(np.int64)
    return np.repeat(np.tile(np.arange(subjects), resamples), counts.ravel()).reshape(resamples, subjects)


def _by_task(samples: pd.DataFrame) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Every task and which samples are of it, then all of them together."""
    for task in tasks_of(samples):
        yield task, (samples["task"] == task).to_numpy()
    yield ALL_TASKS, np.ones(len(samples), bool)


def _subject_means(samples: pd.DataFrame, values: Doubles, beside: Sequence[str] = ()) -> pd.DataFrame:
    """Means over each subject's samples, of the values and of some columns; indexed by subject, sorted."""
    owner = [samples[name].to_numpy() for name in SUBJECT]
    table = pd.DataFrame(values).assign(**{name: samples[name].to_numpy(float) for name in beside})
    return table.groupby(owner, sort=True).mean()


def _belong(samples: pd.DataFrame, subjects: pd.Index, group: str) -> npt.NDArray[np.bool_]:
    """Which subjects belong to a group."""
    return (samples.groupby(SUBJECT)["group"].first().loc[subjects] == group).to_numpy()


def _whom(patients: npt.NDArray[np.bool_]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    yield EVERYONE, np.ones(len(patients), bool)
    if patients.any() and not patients.all():
        yield PATIENTS, patients


def _binomial_limits(right: int, count: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    if not count:
        return float("nan"), float("nan")
    limits = binomtest(right, count).proportion_ci(0.95, "exact")
    return float(limits.low), float(limits.high)


def _verdict(low: float, high: float, chance: float, above: str, below: str) -> str:
    if np.isnan(low):
        return TOO_FEW
    return above if low > chance else below if high < chance else NOT_SHOWN
