"""How well a generated face carries a patient's palsy onto another person, and how sure that is.

Scores of single images against the identity or the style image cannot rank transfer: returning one of the two unchanged
is perfect against that one. What is measured here is lost by copying: where the points of the face should be if the
style's movement were the identity's, how far each side moved, how crooked the face is, who it shows, and, for virtual
patients, the exact target. :data:`MEASURES` says of each measure which trivial rows can lose it; the others win it by
what they are, as the style image has the style's asymmetry.

Faces are compared in a frame of their own, fixed to the outer corners of the eyes as in
:mod:`faceneuro.features.asymmetry`: its origin midway between them, its first axis from the subject's right to the left
one, its second axis downwards, its unit their distance. Left and right are the subject's. All points of a study must
come from one detector, real and generated images alike, or its habits are taken for errors. The frame is a plane: a
head that is turned differs from one that is not.

On twelve pairs of virtual patients, frontal, measured by MediaPipe, the exact target of a transfer has these errors,
and beside it the copied identity at rest, the copied style and the landmark warp, means over a smile, a brow raise and
tight closure of the eyes: landmark error 0.022, 0.032, 0.063, 0.039; excursion error 0.020, 0.041, 0.051, 0.053;
asymmetry error 0.009, 0.027, 0, 0. So 0.02 is about the best that can be had. (An error relative to the identity image,
where no neutral one is known, would be of no use: the exact target has more of it than the copied identity.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.synthesis import TRIVIAL

Array = npt.NDArray[np.float64]

POINTS = 68
"""Of the iBUG scheme: outline 0 to 16, brows to 26, nose to 35, eyes to 47, lips."""

INNER = slice(17, None)
"""All but the outline, which does not tell an expression, and which a turn of the head moves most. The challenge that
the scheme comes from gives errors over these 51 points, too."""

EYE_OUTER = (36, 45)
"""Outer corner of the subject's right and left eye."""

REGIONS = ("brow", "eye", "mouth")
"""What :func:`heights` measures, by the region of the face."""

RIGHT, LEFT = 0, 1
_BROW = ((18, 19, 20), (23, 24, 25))
_CANTHI = ((36, 39), (42, 45))
_UPPER_LID = ((37, 38), (43, 44))
_LOWER_LID = ((41, 40), (47, 46))
_CORNER = ((48,), (54,))

LEAST = 6
"""People that an interval needs. Where people differ as much as two pictures of one person, an interval of nominally
95 % over six people in all holds the truth in 77 % to 85 % of all cases, whoever is style or identity or both; over ten
people who are both in 89 %, over three in 52 %, over two never."""

HIGHER_IS_BETTER = ("psnr", "ssim", "identity_cosine", "face_found")
"""Metrics of which more is better; of all others less is."""

SCORES = ["row", "pair", "metric", "against", "value", "features"]
"""Columns of scores, one per row, pair and metric. ``pair`` is the position in the table of pairs; ``features`` says
what computed the score."""

SUMMARY = ["row", "metric", "against", "value", "ci_low", "ci_high", "n", "n_people", "features"]
"""Columns of :func:`summarise`."""


@dataclass(frozen=True)
class Measure:
    """One way in which a row can be better than doing next to nothing.

    Attributes
    ----------
    metric, against
        As in the scores.
    words
        For a sentence.
    losers
        The trivial rows that can lose it; a model is compared with these. Each of the others wins it by construction.
    """

    metric: str
    against: str
    words: str
    losers: tuple[str, ...]


MEASURES = (
    Measure("landmark_error", "carried", "landmark error", TRIVIAL),
    Measure("excursion_error", "carried", "excursion error", TRIVIAL),
    # The style image and its warp have the style's asymmetry, and so the grade that is read from it.
    Measure("asymmetry_error", "style", "asymmetry error", ("copy_identity",)),
    Measure("grade_error", "grade", "error of the grade", ("copy_identity",)),
    # The identity image, warped or not, shows the identity.
    Measure("identity_cosine", "identity", "likeness to the identity", ("copy_style",)),
    Measure("landmark_error", "target", "landmark error against the true target", TRIVIAL),
    Measure("asymmetry_error", "target", "asymmetry error against the true target", TRIVIAL),
    Measure("psnr", "target", "PSNR against the true target", TRIVIAL),
    Measure("ssim", "target", "SSIM against the true target", TRIVIAL),
)
"""What the verdict on a row looks at."""


def in_face_frame(points: npt.ArrayLike) -> Array:
    """Points in the frame of their own face; doing it twice changes nothing.

    Parameters
    ----------
    points
        x and y in pixels, or as shares of a square image, shape (..., 68, 2).

    Returns
    -------
    In distances between the outer corners of the eyes, shape (..., 68, 2). NaN where the points are, and where these
    corners coincide.

    Raises
    ------
    ValueError
        If the points are of another shape.
    """
    plane = _plane(points)
    right, left = (plane[..., [corner]] for corner in EYE_OUTER)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = (plane - (right + left) / 2) / (left - right)
    return np.where(np.isfinite(seen)[..., None], np.stack([seen.real, seen.imag], axis=-1), np.nan)


def from_face_frame(framed: npt.ArrayLike, points: npt.ArrayLike) -> Array:
    """Points of the frame of a face back in the image of that face, shape (..., 68, 2), in the units of ``points``."""
    plane, framed = _plane(points), _plane(framed)
    right, left = (plane[..., [corner]] for corner in EYE_OUTER)
    seen = framed * (left - right) + (right + left) / 2
    return np.stack([seen.real, seen.imag], axis=-1)


def heights(points: npt.ArrayLike) -> Array:
    """How high brow and corner of the mouth are, and how far the eye is open, on each side.

    The brow is its three middle points above the middle of the eye's corners, the opening that of the two middle pairs
    of points on the lids, the corner of the mouth its height over the line between the eyes (so it is negative).

    Parameters
    ----------
    points
        Shape (..., 68, 2).

    Returns
    -------
    Shape (..., 3, 2): regions of :data:`REGIONS`, right and left; in distances between the outer corners of the eyes.
    """
    down = in_face_frame(points)[..., 1]

    def level(pair: Sequence[Sequence[int]]) -> Array:
        return np.stack([down[..., list(side)].mean(axis=-1) for side in pair], axis=-1)

    values = [level(_CANTHI) - level(_BROW), level(_LOWER_LID) - level(_UPPER_LID), -level(_CORNER)]
    return np.stack(values, axis=-2)


def asymmetry(points: npt.ArrayLike) -> Array:
    """Left minus right side of :func:`heights`, shape (..., 3)."""
    sides = heights(points)
    return sides[..., LEFT] - sides[..., RIGHT]


def carried(identity_neutral: npt.ArrayLike, style_neutral: npt.ArrayLike, style: npt.ArrayLike) -> Array:
    """Where the identity's points were if they moved as the style's did: from neutral, in the frame of the face.

    Parameters
    ----------
    identity_neutral, style_neutral
        Both people's faces at rest, shape (..., 68, 2); NaN where unknown.
    style
        The style image's points, shape (..., 68, 2).

    Returns
    -------
    In the frame of the face, shape (..., 68, 2).
    """
    return in_face_frame(identity_neutral) + in_face_frame(style) - in_face_frame(style_neutral)


def neutrals(faces: pd.DataFrame, points: npt.ArrayLike, tasks: Sequence[str]) -> Array:
    """The neutral face of the person of each face, for :class:`Pairs`.

    Parameters
    ----------
    faces
        n rows with ``cohort``, ``subject`` and ``task``.
    points
        Of each, shape (n, 68, 2).
    tasks
        Those that show a neutral face.

    Returns
    -------
    Mean over the person's neutral faces, in the frame of the face, shape (n, 68, 2); NaN for people without any.
    """
    framed = in_face_frame(points)
    neutral = faces["task"].isin(list(tasks)).to_numpy() & np.isfinite(framed).all(axis=(1, 2))
    person = faces.groupby(["cohort", "subject"], sort=False).ngroup().to_numpy()
    people = int(person.max(initial=-1)) + 1
    sums, counts = np.zeros((people, POINTS, 2)), np.bincount(person[neutral], minlength=people)
    np.add.at(sums, person[neutral], framed[neutral])
    return np.where(counts > 0, sums.T / np.maximum(counts, 1), np.nan).T[person]


@dataclass(frozen=True)
class Pairs:
    """What is known of n pairs of an identity and a style image, in the order of their table.

    Attributes
    ----------
    identity, style
        Points of the two images, shape (n, 68, 2).
    identity_neutral, style_neutral
        Points of the same people's neutral faces, shape (n, 68, 2), NaN where unknown; none if all are.
    side
        The style's weak side, "left" or "right"; anything else if it has none or it is unknown. Shape (n,).
    identity_embedding
        What a recogniser makes of the identity images, shape (n, d).
    task, grade
        The style's task and true grade (NaN where unknown), shape (n,); none if all are unknown.
    target
        Points of the exact target, shape (n, 68, 2), NaN where unknown; none if there is none.
    """

    identity: Array
    style: Array
    side: npt.NDArray
    identity_embedding: npt.NDArray
    identity_neutral: Array | None = None
    style_neutral: Array | None = None
    task: npt.NDArray | None = None
    grade: Array | None = None
    target: Array | None = None


class Grader:
    """Reads a grade from a face, as a clinician does who sees one picture: from how unlike its sides are.

    The grade is a constant plus non-negative multiples of the sizes of the three :func:`asymmetry` values, fitted by
    least squares task by task, and over all tasks for those that it has not seen. Readings stay within the grades that
    it was fitted on. On people it has not seen it is off by 0.5 grades of House and Brackmann's scale for a smile, 0.6
    for a brow raise, 0.7 for tight closure of the eyes and 0.8 for a face at rest (virtual patients, 63 for fitting,
    MediaPipe's points); guessing the mean is off by 1.4. So much of the error of a generated image is the reader's, and
    the copied style's error shows how much.

    Parameters
    ----------
    points
        Shape (n, 68, 2), of real faces of people that are not scored.
    tasks, grades
        Of each, shape (n,); of healthy people 1, as that scale has it. Faces without points or grade are left out.

    Raises
    ------
    ValueError
        If fewer than two grades are left.
    """

    def __init__(self, points: npt.ArrayLike, tasks: npt.ArrayLike, grades: npt.ArrayLike):
        sizes, tasks, grades = np.abs(asymmetry(points)), np.asarray(tasks), np.asarray(grades, np.float64)
        known = np.isfinite(sizes).all(axis=1) & np.isfinite(grades)
        if len(np.unique(grades[known])) < 2:
            raise ValueError("a grader needs faces of two grades or more")
        sizes, tasks, grades = sizes[known], tasks[known], grades[known]
        self._limits = grades.min(), grades.max()
        self._all = _least_squares(sizes, grades)
        self._of_task = {task: _least_squares(sizes[tasks == task], grades[tasks == task]) for task in set(tasks)}

    def read(self, points: npt.ArrayLike, tasks: npt.ArrayLike) -> Array:
        """Grades of faces, shape (n,), NaN where the points are.

        Parameters
        ----------
        points
            Shape (n, 68, 2).
        tasks
            What each was asked to do, shape (n,).
        """
        weights = np.array([self._of_task.get(task, self._all) for task in np.asarray(tasks)]).reshape(-1, 4)
        return np.clip(weights[:, 0] + (weights[:, 1:] * np.abs(asymmetry(points))).sum(axis=1), *self._limits)


def _least_squares(sizes: Array, grades: Array) -> Array:
    # Imported here: it takes a second, and this module is also asked for its names.
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression(positive=True).fit(sizes, grades)
    return np.array([fitted.intercept_, *fitted.coef_])


def transfer_scores(
    row: str,
    pairs: Pairs,
    points: npt.ArrayLike,
    embeddings: npt.ArrayLike,
    *,
    found_by: str,
    recognised_by: str,
    grader: Grader | None = None,
) -> pd.DataFrame:
    """Scores of the transfer, pair by pair.

    An image in which no face was found has failed. Leaving it out would reward a row for it, so its errors are those of
    the worse of the two copies, and the share of faces that were found is a metric of its own.

    Parameters
    ----------
    row
        Whose images they are.
    pairs
        What they were generated from.
    points
        Of the generated images, shape (n, 68, 2), NaN where no face was found.
    embeddings
        What the recogniser makes of the generated images, shape (n, d).
    found_by, recognised_by
        What found the points and made the embeddings.
    grader
        Reads grades; none leaves the grade out.

    Returns
    -------
    Rows of :data:`SCORES`, without those that are not defined. By metric and what it is ``against``:

    - ``landmark_error``: mean distance of the 51 inner points from where they should be, in distances between the outer
      corners of the eyes. ``carried``: from where the style's movement takes the identity (:func:`carried`; needs both
      people's neutral faces). ``target``: from those of the exact target.
    - ``excursion_error``, ``carried``: mean difference of how far brow, lids and corner of the mouth have moved from
      neutral (:func:`heights`), over both sides; also ``_weak`` and ``_healthy``, over one side each, where the weak
      side is known. The same unit.
    - ``asymmetry_error``, ``style`` and ``target``: mean difference of left minus right (:func:`asymmetry`). The same
      unit.
    - ``grade_error``, ``grade``: of the grade that is read from the generated image from the true one, in grades.
    - ``identity_cosine``, ``identity``: cosine of the embeddings of generated and identity image.
    - ``face_found``, ``nothing``: 1 or 0.

    Raises
    ------
    ValueError
        If the points or embeddings are not of as many pairs.
    """
    points, embeddings = np.asarray(points, np.float64), np.asarray(embeddings, np.float64)
    count = len(pairs.identity)
    if len(points) != count or len(embeddings) != count:
        raise ValueError(f"{len(points)} faces and {len(embeddings)} embeddings of {count} pairs")
    found = np.isfinite(in_face_frame(points)).all(axis=(1, 2))
    errors = _errors(pairs, points, grader)
    if not found.all():
        copies = [_errors(pairs, copy, grader) for copy in (pairs.identity, pairs.style)]
        errors = {
            name: np.where(found, error, np.maximum(*(copy[name] for copy in copies))) for name, error in errors.items()
        }
    values = {name: (error, found_by) for name, error in errors.items()}
    values["identity_cosine", "identity"] = cosine(embeddings, pairs.identity_embedding), recognised_by
    values["face_found", "nothing"] = found.astype(np.float64), found_by
    parts = [
        pd.DataFrame({"pair": np.arange(count), "value": value}).assign(metric=metric, against=against, features=by)
        for (metric, against), (value, by) in values.items()
    ]
    return pd.concat(parts).assign(row=row).dropna(subset="value").reset_index(drop=True)[SCORES]


def _errors(pairs: Pairs, points: Array, grader: Grader | None) -> dict[tuple[str, str], Array]:
    """Every error of :func:`transfer_scores` that is known of these pairs, shape (n,) each."""
    errors = {("asymmetry_error", "style"): _apart(asymmetry(points), asymmetry(pairs.style))}
    if pairs.identity_neutral is not None and pairs.style_neutral is not None:
        target = carried(pairs.identity_neutral, pairs.style_neutral, pairs.style)
        moved, should = (
            heights(face) - heights(neutral)
            for face, neutral in ((points, pairs.identity_neutral), (pairs.style, pairs.style_neutral))
        )
        errors["landmark_error", "carried"] = landmark_error(points, target)
        errors["excursion_error", "carried"] = _apart(moved, should)
        sides = np.abs(moved - should).mean(axis=1)
        weak = np.select([pairs.side == "right", pairs.side == "left"], [RIGHT, LEFT], -1)[:, None]
        for name, side in (("weak", weak), ("healthy", 1 - weak)):
            error = np.take_along_axis(sides, np.clip(side, 0, 1), axis=1)
            errors[f"excursion_error_{name}", "carried"] = np.where(weak < 0, np.nan, error)[:, 0]
    if pairs.target is not None:
        errors["landmark_error", "target"] = landmark_error(points, pairs.target)
        errors["asymmetry_error", "target"] = _apart(asymmetry(points), asymmetry(pairs.target))
    if grader is not None and pairs.task is not None and pairs.grade is not None:
        errors["grade_error", "grade"] = np.abs(grader.read(points, pairs.task) - pairs.grade)
    return errors


def landmark_error(points: npt.ArrayLike, target: npt.ArrayLike) -> Array:
    """Mean distance of the inner points of faces from their targets, each in the frame of its face, shape (...)."""
    apart = in_face_frame(points)[..., INNER, :] - in_face_frame(target)[..., INNER, :]
    return np.linalg.norm(apart, axis=-1).mean(axis=-1)


def cosine(one: npt.ArrayLike, other: npt.ArrayLike) -> Array:
    """Cosine of the angle between vectors along the last axis; NaN for a vector of no length."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (one * other).sum(-1) / (np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1))


def _apart(one: Array, other: Array) -> Array:
    return np.abs(one - other).reshape(len(one), -1).mean(axis=1)


def _plane(points: npt.ArrayLike) -> npt.NDArray[np.complex128]:
    array = np.asarray(points, np.float64)
    if array.shape[-2:] != (POINTS, 2):
        raise ValueError(f"points have shape {array.shape}, not (..., {POINTS}, 2)")
    return array[..., 0] + 1j * array[..., 1]


class People:
    """Resamples of the people behind pairs.

    A pair has two people, and pairs share them: so people are drawn, not pairs, and a pair counts as often as its
    style's person was drawn times as often as its identity's. Drawing the style's people alone, as if the identities
    were all there are, would give intervals that are too narrow. Who is only a style, only an identity, and both, are
    drawn apart.

    Parameters
    ----------
    people
        n rows, in the order of the pairs, with a name of the person in each of the columns ``style`` and ``identity``.
    resamples, seed
        Of the bootstrap.

    References
    ----------
    Snijders, Borgatti, "Non-parametric standard errors and tests for network statistics", Connections 1999. Owen, "The
    pigeonhole bootstrap", Ann Appl Stat 2007.
    """

    def __init__(self, people: pd.DataFrame, resamples: int, seed: int):
        style, identity = people["style"].to_numpy(), people["identity"].to_numpy()
        self.names = np.unique(np.concatenate([style, identity]).astype(object))
        self._style, self._identity = (np.searchsorted(self.names, column) for column in (style, identity))
        self._resamples, self._seed = resamples, seed

    @cached_property
    def _counts(self) -> Array:
        """How often each person is drawn, shape (1 + resamples, people); first, everybody once."""
        places = np.arange(len(self.names))
        roles = np.isin(places, self._style) + 2 * np.isin(places, self._identity)
        return np.vstack([np.ones(len(places)), subject_resamples(roles, self._resamples, self._seed)])

    def means(self, pair: npt.NDArray[np.int64], values: Array) -> Array:
        """Means of the values of some pairs, then of resamples; shape (1 + resamples,), NaN where no pair was drawn."""
        sums, pairs = (np.zeros((len(self.names), len(self.names))) for _ in range(2))
        place = self._style[pair], self._identity[pair]
        np.add.at(sums, place, values)
        np.add.at(pairs, place, 1)
        weighted, counted = self._weighted(sums), self._weighted(pairs)
        return np.where(counted > 0, weighted / np.where(counted > 0, counted, 1), np.nan)

    def number(self, pair: npt.NDArray[np.int64]) -> int:
        """How many people are in some pairs."""
        return len(np.union1d(self._style[pair], self._identity[pair]))

    def interval(self, pair: npt.NDArray[np.int64], values: Array) -> tuple[float, float, float]:
        """Mean and its limits (95 %), which are NaN if there are fewer people than :data:`LEAST`."""
        means = self.means(pair, values)
        limits = percentile_interval(means[1:]) if self.number(pair) >= LEAST else (np.nan, np.nan)
        return float(means[0]), *limits

    def _weighted(self, table: Array) -> Array:
        # Somebody's pairs with themselves count as often as they were drawn, not as often as that squared.
        alone = table.diagonal()
        both = ((self._counts @ (table - np.diag(alone))) * self._counts).sum(axis=1)
        return both + self._counts @ alone


def summarise(scores: pd.DataFrame, people: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Means over pairs with intervals over people.

    Parameters
    ----------
    scores
        Rows of :data:`SCORES`, of any number of rows and metrics.
    people
        Of the pairs, see :class:`People`.
    resamples, seed
        Of the bootstrap.

    Returns
    -------
    Rows of :data:`SUMMARY`, one per row and metric, in the order of the scores. Limits (95 %) are null where there are
    fewer people than :data:`LEAST`.
    """
    drawn = People(people, resamples, seed)
    rows = []
    for key, part in scores.dropna(subset="value").groupby(["row", "metric", "against", "features"], sort=False):
        pair = part["pair"].to_numpy()
        value, low, high = drawn.interval(pair, part["value"].to_numpy())
        rows.append((*key[:3], value, low, high, len(pair), drawn.number(pair), key[3]))
    return pd.DataFrame(rows, columns=SUMMARY)


def advantages(
    scores: pd.DataFrame, row: str, other: str, measure: Measure
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """By how much a row is better than another in a measure, in the measure's unit, pair by pair.

    Returns
    -------
    Pairs of which both have a score, and the advantages, positive where the first row is better; shape (m,) each.
    """
    of_measure = scores[(scores["metric"] == measure.metric) & (scores["against"] == measure.against)]
    values: Mapping[str, pd.Series] = {
        name: of_measure[of_measure["row"] == name].set_index("pair")["value"].dropna() for name in (row, other)
    }
    first, second = values[row].align(values[other], join="inner")
    sign = 1 if measure.metric in HIGHER_IS_BETTER else -1
    return first.index.to_numpy(np.int64), sign * (first - second).to_numpy(np.float64)
