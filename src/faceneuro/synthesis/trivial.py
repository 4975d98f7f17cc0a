"""What a generator must be better than: the identity returned, the style returned, the identity's picture warped.

None of them takes any training. The warp moves points of the face and everything between them, and so has exact control
of where things are; it can neither open a mouth nor wrinkle a skin.

References
----------
Goshtasby, "Piecewise linear mapping functions for image registration", Pattern Recognition 1986.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import Delaunay

from faceneuro.synthesis.transfer import (
    EYE_OUTER,
    LEAST,
    MEASURES,
    POINTS,
    TRIVIAL,
    Array,
    People,
    advantages,
    asymmetry,
    from_face_frame,
    in_face_frame,
)

RGB = npt.NDArray[np.uint8]

BORDER = 4
"""Fixed points along each edge of a warped picture, and its corners."""

FIXED = (*range(17), *range(27, 31), *EYE_OUTER)
"""Points that palsy does not move: the outline of the face, which is as uneven as the head is turned, the bridge of the
nose, and the corners of the eyes that the frame of the face is fixed to."""

ON_RIGHT = (*range(8), *range(17, 22), 31, 32, *range(36, 42), 48, 49, 50, 58, 59, 60, 61, 67)
ON_LEFT = (*range(16, 8, -1), *range(26, 21, -1), 35, 34, 45, 44, 43, 42, 47, 46, 54, 53, 52, 56, 55, 64, 63, 65)
"""Points on the subject's right, and their counterparts on the left in that order; the others are on the midline."""

WORDS = {
    "copy_identity": "the copied identity",
    "copy_style": "the copied style",
    "landmark_warp": "the landmark warp",
}

BETTER, WORSE, NOT_SHOWN, TOO_FEW = "better", "worse", "not shown", "too few people to tell"
"""Outcomes of a comparison: the interval of the difference is above zero, below it, holds it, or is not known."""

CONTESTS = ["row", "trivial", "metric", "against", "difference", "ci_low", "ci_high", "n", "n_people", "outcome"]
"""Columns of :func:`contests`."""


def picture(
    row: str,
    identity: RGB,
    style: RGB,
    identity_points: npt.ArrayLike,
    style_points: npt.ArrayLike,
    side: str | None = None,
) -> RGB:
    """What a trivial row makes of a pair.

    Parameters
    ----------
    row
        A name of :data:`~faceneuro.synthesis.transfer.TRIVIAL`.
    identity, style
        The two images, uint8, shape (height, width, 3).
    identity_points, style_points, side
        As for :func:`landmark_warp`.
    """
    if row not in TRIVIAL:
        raise ValueError(f"{row!r} is none of {', '.join(TRIVIAL)}")
    if row == "landmark_warp":
        return landmark_warp(identity, identity_points, style_points, side)
    return (identity if row == "copy_identity" else style).copy()


def weak_side(points: npt.ArrayLike) -> str:
    """The side of a face that looks weak: where brow and corner of the mouth are lower and the eye is wider.

    Of virtual patients it names the weak side of 98 % by a smile, of 88 % by raised brows, of 60 % by tightly closed
    eyes, where it is the weak side's brow that is higher; from grade 4 on, of at least 96 % by each.

    Parameters
    ----------
    points
        Of one face, shape (68, 2).

    Returns
    -------
    "left" or "right", the subject's.
    """
    brow, eye, mouth = asymmetry(points)
    return "right" if brow - eye + mouth > 0 else "left"


def with_asymmetry(points: npt.ArrayLike, style_points: npt.ArrayLike, side: str | None = None) -> Array:
    """Points of a face, moved so that it is as asymmetric as another one is.

    The difference of a face and its mirror image is its asymmetry, and is the part of its shape that owes least to who
    it is. Only the weak side moves, by all of the difference to the other face's asymmetry, and the midline by half of
    it: the healthy side shows what both would do. :data:`FIXED` points stay.

    Parameters
    ----------
    points
        Of the face, shape (68, 2).
    style_points
        Of the other face, shape (68, 2), in any image.
    side
        Which side is weak in the other face, "left" or "right"; anything else takes the one that looks weak.

    Returns
    -------
    Shape (68, 2), in the units of ``points``.

    References
    ----------
    Klingenberg, Barluenga, Meyer, "Shape analysis of symmetric structures: quantifying variation among individuals and
    asymmetry", Evolution 2002.
    """
    points = np.asarray(points, np.float64)
    side = side if side in ("left", "right") else weak_side(style_points)
    own, others = in_face_frame(points), in_face_frame(style_points)
    share = np.ones((POINTS, 1))
    share[list(ON_LEFT)], share[list(ON_RIGHT)] = (2, 0) if side == "left" else (0, 2)
    share[list(FIXED)] = 0
    change = share * (_asymmetric(others) - _asymmetric(own))
    # The change is added, so that a point that does not move stays where it is to the last bit.
    return points + (from_face_frame(own + change, points) - from_face_frame(own, points))


def _asymmetric(framed: Array) -> Array:
    """Half the difference of a face and its mirror image."""
    mirrored = framed.copy()
    mirrored[list(ON_LEFT)], mirrored[list(ON_RIGHT)] = framed[list(ON_RIGHT)], framed[list(ON_LEFT)]
    return (framed - mirrored * [-1, 1]) / 2


def landmark_warp(image: RGB, points: npt.ArrayLike, style_points: npt.ArrayLike, side: str | None = None) -> RGB:
    """The image of a face, warped to the asymmetry of another one: a piecewise affine map of :func:`with_asymmetry`.

    The border of the image stays in place. Without a change of asymmetry the image is returned as it is.

    Parameters
    ----------
    image
        uint8, shape (height, width, 3).
    points
        Of the face in it, as shares of its width and height, shape (68, 2).
    style_points, side
        As for :func:`with_asymmetry`.

    Returns
    -------
    uint8, shape (height, width, 3).

    Raises
    ------
    ValueError
        If a point of either face is not known, or the outer corners of the eyes are in one place.
    """
    height, width = image.shape[:2]
    # OpenCV counts from the centre of the first pixel.
    shape = np.array([width, height])
    pixels = np.asarray(points, np.float64) * shape
    moved = with_asymmetry(pixels, style_points, side) - 0.5
    pixels = pixels - 0.5
    if not (np.isfinite(pixels).all() and np.isfinite(moved).all()):
        raise ValueError("a face cannot be warped without all of its points, and those of the style")
    inside = ((np.minimum(pixels, moved) > -0.5) & (np.maximum(pixels, moved) < shape - 0.5)).all(axis=1)
    border = _border(width, height)
    target = np.concatenate([moved[inside], border])
    back = np.concatenate([(pixels - moved)[inside], np.zeros_like(border)])
    x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(height, dtype=float))
    # Inside each triangle of the moved points, where a pixel comes from is linear in where it is. A pixel that qhull
    # puts into no triangle, if points coincide, stays.
    shift = LinearNDInterpolator(Delaunay(target), back, fill_value=0.0)(x, y)
    maps = ((axis + shift[..., k]).astype(np.float32) for k, axis in enumerate((x, y)))
    return cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _border(width: int, height: int) -> Array:
    """Points on the edges of an image, in OpenCV's coordinates."""
    along = np.linspace(0, 1, BORDER + 2)
    edges = [np.stack([along, np.full_like(along, end)], axis=1) for end in (0, 1)]
    return np.unique(np.concatenate([*edges, *(edge[:, ::-1] for edge in edges)]), axis=0) * [width, height] - 0.5


def contests(scores: pd.DataFrame, people: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Every row beside the trivial ones, measure by measure, on the pairs that both were scored on.

    Parameters
    ----------
    scores
        Rows of :data:`~faceneuro.synthesis.transfer.SCORES`, those of the trivial rows among them.
    people
        Of the pairs, see :class:`~faceneuro.synthesis.transfer.People`.
    resamples, seed
        Of the bootstrap over people.

    Returns
    -------
    Rows of :data:`CONTESTS`: for each row that is not trivial, each measure that it has a score in, and each trivial
    row that can lose it. ``difference`` is how much better the row is, in the measure's unit, with its limits (95 %).
    """
    drawn = People(people, resamples, seed)
    rows = []
    for row in dict.fromkeys(scores["row"]):
        if row in TRIVIAL:
            continue
        for measure in MEASURES:
            for trivial in measure.losers:
                pair, better_by = advantages(scores, row, trivial, measure)
                if not len(pair):
                    continue
                difference, low, high = drawn.interval(pair, better_by)
                outcome = TOO_FEW if np.isnan(low) else BETTER if low > 0 else WORSE if high < 0 else NOT_SHOWN
                sizes = len(pair), drawn.number(pair)
                rows.append((row, trivial, measure.metric, measure.against, difference, low, high, *sizes, outcome))
    return pd.DataFrame(rows, columns=CONTESTS)


def verdicts(compared: pd.DataFrame) -> dict[str, str]:
    """For each row a sentence or two: whether it beats the trivial rows, and by how much.

    Of each measure the comparison is told in which the row is least ahead.

    Parameters
    ----------
    compared
        From :func:`contests`.
    """
    return {row: _verdict(part) for row, part in compared.groupby("row", sort=False)}


def _verdict(part: pd.DataFrame) -> str:
    if (part["outcome"] == TOO_FEW).all():
        return (
            f"Cannot be told: its pairs are of {part['n_people'].max()} people, and fewer than {LEAST} are too few for "
            "an interval."
        )
    words = {(measure.metric, measure.against): measure.words for measure in MEASURES}
    won, lost = [], []
    for key, of_measure in part.groupby(["metric", "against"], sort=False):
        closest = of_measure.sort_values(["ci_low", "difference"], na_position="first", kind="stable").iloc[0]
        (won if closest["outcome"] == BETTER else lost).append(f"{words[key]} ({_told(closest)})")
    if not lost:
        sentence = f"Beats the trivial rows in all measures: {_listed(won)}."
    elif not won:
        sentence = f"Beats the trivial rows in no measure: {_listed(lost)}."
    else:
        sentence = (
            f"Beats the trivial rows in {len(won)} of {len(won) + len(lost)} measures: {_listed(won)}; "
            f"not in {_listed(lost)}."
        )
    missing = [WORDS[trivial] for trivial in TRIVIAL if trivial not in set(part["trivial"])]
    if missing:
        sentence += f" Not compared with {_listed(missing)}, which takes the people's neutral faces or exact targets."
    return sentence


def _told(contest: Mapping) -> str:
    """A comparison in brackets."""
    beside = WORDS[contest["trivial"]]
    if contest["outcome"] == TOO_FEW:
        return f"{TOO_FEW}, beside {beside}"
    limits = f"95 % interval {contest['ci_low']:.3f} to {contest['ci_high']:.3f}"
    how = "better" if contest["difference"] >= 0 else "worse"
    shown = "" if contest["outcome"] != NOT_SHOWN else ", not shown"
    return f"{abs(contest['difference']):.3f} {how} than {beside}, {limits}{shown}"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
