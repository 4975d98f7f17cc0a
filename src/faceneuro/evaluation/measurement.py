"""Measurement validation on virtual patients: what was measured in a face against what the face did.

No error of a recording's true motion is known, but a virtual patient's is. Each excursion is computed twice by the same
formulas, from the landmarks and from the projected points of the head that they stand for, and the two are compared.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Points = Mapping[str, npt.NDArray[np.complex128]]

CLIP = ["cohort", "subject", "clip"]
FRAME = [*CLIP, "frame"]
COLUMNS = ["cohort", "measure", "side", "quantity", "value", "ci_low", "ci_high", "n_frames", "n_subjects"]
OTHER = {"left": "right", "right": "left"}
OUTWARDS = {"left": 1, "right": -1}

# Functions of points in the head's own frame (see _in_head): x to the subject's left, y downwards, in percent of the
# iris distance. Each is signed so that the active movement, or opening, is positive.
SIDED: dict[str, Callable[[Points, str], npt.NDArray[np.float64]]] = {
    "mouth corner rise": lambda p, side: -p[f"mouth_corner_{side}"].imag,
    "mouth corner spread": lambda p, side: OUTWARDS[side] * p[f"mouth_corner_{side}"].real,
    "lid opening": lambda p, side: (p[f"lower_lid_{side}"] - p[f"upper_lid_{side}"]).imag,
    "brow height": lambda p, side: -p[f"brow_{side}"].imag,
}
MIDLINE: dict[str, Callable[[Points], npt.NDArray[np.float64]]] = {
    "jaw opening": lambda p: p["chin"].imag,
    "lip opening": lambda p: (p["lower_lip"] - p["upper_lip"]).imag,
}


def validate(
    landmarks: Iterable[Mapping[str, Any]],
    truth: Iterable[Mapping[str, Any]],
    points: Mapping[str, int],
    baseline_frames: int = 5,
    moving: float = 5.0,
    still: float = 2.0,
    resamples: int = 2000,
    seed: int = 1,
) -> pd.DataFrame:
    """Compare measured with true excursions, per cohort, measure and side.

    Points are expressed in a frame fixed to the head: its origin midway between the irises, its first axis along them,
    its unit 1 % of their distance in the same frame. So translation, roll and scale drop out, in the truth by its own
    irises and in the measurement by the measured ones: an error in finding the irises counts as one of measurement, as
    it would in a patient. The irises are the references because no facial muscle moves them; mouth, brows and lids all
    do, and the chin opens with the jaw. An excursion is the difference from the median over the first frames of the
    clip, in which the face is at rest.

    Parameters
    ----------
    landmarks
        Rows with the keys, ``found`` and ``landmarks`` of :data:`faceneuro.tables.LANDMARKS`.
    truth
        Rows with the keys and ``points`` of :func:`faceneuro.tables.truth_schema`: x, y of each point in pixels.
    points
        Names of the true points in their order, and the landmark that stands for each; at least those of
        :data:`faceneuro.features.points.MEASURED`, left being the subject's.
    baseline_frames
        Measured frames at the start of each clip that are its rest.
    moving, still
        Percent of the iris distance. Leak is taken over the frames in which the other side truly moves more than
        ``moving`` and this one less than ``still``.
    resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    Columns cohort, measure, side (left, right, midline), quantity, value, ci_low, ci_high (95 %, over subjects; NaN
    with fewer than two), n_frames, n_subjects. Quantities: ``slope`` of measured on true (1 is faithful, less is
    compressed), ``r`` (Pearson), ``mae`` (mean absolute error) and ``leak`` (the same on a still side while the other
    moves), both in percent of the iris distance.

    Raises
    ------
    ValueError
        If no frame is in both tables with a face found.
    """
    table, measured, true = _matched(landmarks, truth, points)
    shift = {"measured": _rested(_excursions(measured), table, baseline_frames)}
    shift["true"] = _rested(_excursions(true), table, baseline_frames)
    random = np.random.default_rng(seed)
    rows = []
    for cohort, index in table.groupby("cohort", sort=True).indices.items():
        subject, names = pd.factorize(table["subject"].to_numpy()[index])
        weights = random.multinomial(len(names), np.full(len(names), 1 / len(names)), resamples)
        for (measure, side), x in shift["true"].items():
            x, y = x[index], shift["measured"][measure, side][index]
            used = {"slope": _all(x), "r": _all(x), "mae": _all(x)}
            if side in OTHER:
                used["leak"] = (np.abs(shift["true"][measure, OTHER[side]][index]) > moving) & (np.abs(x) < still)
            for quantity, mask in used.items():
                sums = _sums(x[mask], y[mask], subject[mask], len(names))
                with np.errstate(invalid="ignore", divide="ignore"):
                    value = QUANTITIES[quantity](sums.sum(axis=0))
                    spread = QUANTITIES[quantity]((weights @ sums).T)
                low, high = np.nanquantile(spread, [0.025, 0.975]) if _bounded(sums, spread) else (np.nan, np.nan)
                n_subjects = np.count_nonzero(sums[:, 0])
                rows.append((cohort, measure, side, quantity, value, low, high, int(mask.sum()), n_subjects))
    return pd.DataFrame(rows, columns=COLUMNS)


def excursions(
    landmarks: Iterable[Mapping[str, Any]], points: Mapping[str, int], baseline_frames: int = 5
) -> pd.DataFrame:
    """Excursions of a face, as :func:`validate` measures them, where no truth is known.

    Parameters
    ----------
    landmarks
        Rows with the keys, ``time_s``, ``found`` and ``landmarks`` of :data:`faceneuro.tables.LANDMARKS`.
    points, baseline_frames
        As for :func:`validate`.

    Returns
    -------
    Columns cohort, subject, clip, frame, time_s, measure, side (left, right, midline) and value (percent of the iris
    distance, from the rest at the start of the clip): measure by measure, frame by frame. Empty if no face was found.
    """
    seen, times = {}, {}
    indices = np.array(list(points.values()))
    for row in landmarks:
        if row["found"]:
            key = tuple(row[name] for name in FRAME)
            seen[key], times[key] = _complex(row["landmarks"], 3)[indices], row["time_s"]
    if not seen:
        return pd.DataFrame(columns=[*FRAME, "time_s", "measure", "side", "value"])
    table = pd.DataFrame(sorted(seen), columns=FRAME)
    stack = np.stack([seen[key] for key in sorted(seen)])
    measured = _in_head({name: stack[:, place] for place, name in enumerate(points)})
    moved = _rested(_excursions(measured), table, baseline_frames)
    table = table.assign(time_s=[times[key] for key in sorted(seen)])
    parts = [table.assign(measure=measure, side=side, value=value) for (measure, side), value in moved.items()]
    return pd.concat(parts, ignore_index=True)


def _matched(
    landmarks: Iterable[Mapping[str, Any]], truth: Iterable[Mapping[str, Any]], points: Mapping[str, int]
) -> tuple[pd.DataFrame, Points, Points]:
    """Frames that were measured and whose truth is known: their keys, in order, and the points of both."""
    indices = np.array(list(points.values()))
    # Only the points of interest are kept of each row, so memory stays a hundredth of the landmark table.
    seen = {
        tuple(row[key] for key in FRAME): _complex(row["landmarks"], 3)[indices] for row in landmarks if row["found"]
    }
    real = {key: _complex(row["points"], 2) for row in truth if (key := tuple(row[key] for key in FRAME)) in seen}
    if not real:
        raise ValueError("no frame with a face is in both the landmarks and the truth")
    common = sorted(real)
    table = pd.DataFrame(common, columns=FRAME)
    stacks = (np.stack([side[key] for key in common]) for side in (seen, real))
    measured, true = ({name: stack[:, place] for place, name in enumerate(points)} for stack in stacks)
    return table, _in_head(measured), _in_head(true)


def _complex(flat: npt.ArrayLike, size: int) -> npt.NDArray[np.complex128]:
    """Points in the plane as complex numbers: turning and scaling are then one division."""
    array = np.asarray(flat, np.float64).reshape(-1, size)
    return array[:, 0] + 1j * array[:, 1]


def _in_head(points: Points) -> Points:
    left, right = points["iris_left"], points["iris_right"]
    return {name: 100 * (point - (left + right) / 2) / (left - right) for name, point in points.items()}


def _excursions(points: Points) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    sided = {(name, side): of(points, side) for name, of in SIDED.items() for side in OTHER}
    return sided | {(name, "midline"): of(points) for name, of in MIDLINE.items()}


def _rested(
    values: Mapping[tuple[str, str], npt.NDArray[np.float64]], table: pd.DataFrame, baseline_frames: int
) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """Differences from each clip's rest."""
    frame = pd.DataFrame({str(number): value for number, value in enumerate(values.values())})
    clip = table.groupby(CLIP, sort=False).ngroup()
    early = table.groupby(CLIP, sort=False).cumcount() < baseline_frames
    rest = frame[early].groupby(clip[early]).median()
    moved = frame.to_numpy() - rest.loc[clip].to_numpy()
    return dict(zip(values, moved.T, strict=True))


def _all(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.ones(len(values), bool)


def _sums(x: np.ndarray, y: np.ndarray, subject: np.ndarray, subjects: int) -> npt.NDArray[np.float64]:
    """Per subject, all that the quantities need: a resample of subjects is then a weighted sum of these rows."""
    terms = [np.ones_like(x), x, y, x * x, x * y, y * y, np.abs(y - x)]
    return np.stack([np.bincount(subject, term, subjects) for term in terms], axis=1)


def _slope(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, xy, *_ = sums
    return (n * xy - x * y) / (n * xx - x * x)


def _r(sums: np.ndarray) -> np.ndarray:
    n, x, y, xx, xy, yy, *_ = sums
    return (n * xy - x * y) / np.sqrt((n * xx - x * x) * (n * yy - y * y))


def _mean_error(sums: np.ndarray) -> np.ndarray:
    return sums[6] / sums[0]


QUANTITIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "slope": _slope,
    "r": _r,
    "mae": _mean_error,
    "leak": _mean_error,
}


def _bounded(sums: np.ndarray, spread: np.ndarray) -> bool:
    """Whether subjects can be resampled: an interval over one subject would claim to know the others."""
    return np.count_nonzero(sums[:, 0]) > 1 and not np.isnan(spread).all()
