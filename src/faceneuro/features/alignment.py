"""Faces turned, scaled and shifted to one place, as networks that know people by their faces expect them.

Nothing is squeezed: only a similarity (turn, scale, shift) is applied, so that whatever is crooked in a face stays so.
But the corners of the mouth are among what a face is aligned by, so a crooked smile turns the head against it: in
virtual patients with a total palsy, level eyes come to slant by 4 to 6 degrees. So measure in a frame of the eyes.
Positions are in pixels from the upper left corner of the image, so that the first pixel reaches from 0 to 1.

References
----------
Umeyama, "Least-squares estimation of transformation parameters between two point patterns", IEEE TPAMI 1991. Deng et
al., "ArcFace: additive angular margin loss for deep face recognition", CVPR 2019: faces of 112 x 112 pixels, aligned by
five points. Sagonas et al., "300 faces in-the-wild challenge", Image Vis Comput 2016: the scheme of 68 points.
"""

import logging
import os
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from faceneuro.features.crops import RGB, encode
from faceneuro.features.faces import clips_with_faces, name_of
from faceneuro.features.points import CHIN, EYE_INNER, EYE_OUTER, MOUTH_CORNER, NOSE_TIP, UPPER_LIP
from faceneuro.tables import LANDMARK_COUNT, Row

Matrix = npt.NDArray[np.float64]

log = logging.getLogger(__name__)

CUT_OFF = "an eye, the nose or a corner of the mouth lies outside the picture: left out; record the whole face"

SIZE = 112
"""Height and width of an aligned face."""

TEMPLATE = 0.5 + np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where the five :func:`anchors` come to lie. The numbers are those in common use, which count from the centre of the
first pixel."""

LARGEST = 2.0
"""A face that is enlarged to more than so many times what was recorded is warned of."""

POINTS = (
    *(127, 234, 93, 132, 58, 136, 150, 176, CHIN, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 55),
    *(285, 296, 334, 293, 300),
    *(168, 197, 5, NOSE_TIP),
    *(98, 97, 2, 326, 327),
    *(EYE_OUTER["right"], 160, 158, EYE_INNER["right"], 153, 144),
    *(EYE_INNER["left"], 385, 387, EYE_OUTER["left"], 373, 380),
    *(MOUTH_CORNER["right"], 39, 37, 0, 267, 269, MOUTH_CORNER["left"], 405, 314, 17, 84, 181),
    *(78, 81, UPPER_LIP, 311, 308, 402, 14, 178),
)
"""The landmark of MediaPipe that stands for each of the 68 points of iBUG's scheme: outline of the face from the
subject's right to the left, right and left brow, bridge of the nose, its base, right and left eye, outer and inner edge
of the lips.

An approximation. Brows, eyes, nose and lips have landmarks at about the same places (the ones that stand for key points
in :mod:`faceneuro.features.asymmetry`, too). The outline has none: its points are those of MediaPipe's oval that divide
it most evenly between the ears and the chin. The oval is fixed on the head, while the scheme's outline is the edge of
the face in the picture, so in a turned head the two differ."""


class Aligned(NamedTuple):
    """A face in its place.

    Attributes
    ----------
    image
        RGB, uint8, shape (:data:`SIZE`, :data:`SIZE`, 3).
    matrix
        From pixels of the frame to pixels of ``image``, shape (2, 3), see :func:`carry`.
    points
        68 points as shares of ``image``, (0, 0) its upper left corner; float32, shape (68, 2). The chin of a long face
        lies below 1, outside the image.
    """

    image: RGB
    matrix: Matrix
    points: npt.NDArray[np.float32]


def anchors(landmarks: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The five points by which a face is aligned, those on the image's left first.

    The centre of an eye is the middle of its corners: they neither follow the gaze nor the lids.

    Parameters
    ----------
    landmarks
        Pixels, shape (478, 2 or 3), or those of a table, flat.

    Returns
    -------
    The subject's right eye, left eye, tip of the nose, right and left corner of the mouth; pixels, shape (5, 2).
    """
    points = _flat(landmarks)
    eyes = [points[[EYE_OUTER[side], EYE_INNER[side]]].mean(axis=0) for side in ("right", "left")]
    return np.stack([*eyes, points[NOSE_TIP], points[MOUTH_CORNER["right"]], points[MOUTH_CORNER["left"]]])


def points68(landmarks: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The 68 points of iBUG's scheme, as near as MediaPipe's landmarks come to them (:data:`POINTS`).

    Parameters
    ----------
    landmarks
        Pixels, shape (478, 2 or 3), or those of a table, flat.

    Returns
    -------
    Pixels, shape (68, 2).
    """
    return _flat(landmarks)[list(POINTS)]


def similarity(source: npt.ArrayLike, target: npt.ArrayLike) -> Matrix:
    """The turn, scale and shift that bring points nearest to others, by the sum of squared distances.

    In the plane, Umeyama's solution without reflection has a closed form: with points as complex numbers, taken from
    their means, scale and turn together are one complex number, the regression of the target on the source.

    Parameters
    ----------
    source, target
        Shape (n, 2) each.

    Returns
    -------
    Shape (2, 3), see :func:`carry`.

    Raises
    ------
    ValueError
        If no turn is better than another, as when the source is a single place.

    References
    ----------
    Umeyama, IEEE TPAMI 1991.
    """
    one, other = (np.asarray(points, np.float64) @ [1, 1j] for points in (source, target))
    middle, end = one.mean(), other.mean()
    one, other = one - middle, other - end
    spread = np.vdot(one, one).real
    turn = np.vdot(one, other) / spread if spread > 0 else 0
    if turn == 0:
        raise ValueError("no similarity brings these points to the others")
    shift = end - turn * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def carry(matrix: npt.ArrayLike, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Points where a matrix takes them.

    Parameters
    ----------
    matrix
        Shape (2, 3), or that of a table, flat: ``x' = m[0, 0] x + m[0, 1] y + m[0, 2]``, likewise y' by the second row.
    points
        Shape (..., 2).
    """
    matrix = np.asarray(matrix, np.float64).reshape(2, 3)
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def align(image: RGB, landmarks: npt.ArrayLike) -> Aligned:
    """Bring a face to its place.

    Where the face is larger than its place, pixels are averaged, so that none is passed over. Beyond the edge of the
    image its last pixels go on: a black corner would tell a network where the face stood in the picture.

    Parameters
    ----------
    image
        RGB, uint8, shape (height, width, 3).
    landmarks
        Pixels of the image, shape (478, 2 or 3), or those of a table, flat.

    Raises
    ------
    ValueError
        If the landmarks are a single place.
    """
    matrix = similarity(anchors(landmarks), TEMPLATE)
    # Samples at most one pixel of the frame apart, a whole number of them per pixel of the result.
    finer = max(1, int(np.ceil(1 / np.hypot(*matrix[:, 0]))))
    # OpenCV counts from the centre of the first pixel.
    way = finer * matrix
    way[:, 2] += way[:, :2].sum(axis=1) / 2 - 0.5
    samples = cv2.warpAffine(
        image, way, (finer * SIZE, finer * SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    resampled = cv2.resize(samples, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return Aligned(resampled, matrix, (carry(matrix, points68(landmarks)) / SIZE).astype(np.float32))


def aligned_row(face: Aligned) -> Row:
    """Columns of :data:`faceneuro.tables.ALIGNED`, without the keys."""
    return {"png": encode(face.image), "matrix": face.matrix.ravel(), "points": face.points.ravel()}


def align_rows(frames: str | os.PathLike, landmarks: str | os.PathLike, at_most: int | None = None) -> Iterator[Row]:
    """Aligned faces of one shard, as a stream: in memory are the landmarks of one clip and a few frames.

    Of each clip, frames without a face are passed over, and so is, with a warning, a face of which an eye, the tip of
    the nose or a corner of the mouth lies outside the picture. A clip without any has no rows. One warning per clip
    says that a face was recorded at less than half the size of its place.

    Parameters
    ----------
    frames, landmarks
        Tables of the same clips, :data:`faceneuro.tables.FRAMES` and :data:`faceneuro.tables.LANDMARKS`.
    at_most
        Faces per clip, see :func:`faceneuro.features.faces.spread`; none means all.

    Yields
    ------
    Rows of :data:`faceneuro.tables.ALIGNED`, in the order of the frames.

    Raises
    ------
    ValueError
        If ``at_most`` is less than 1, or the tables do not have the same clips in the same order.
    """
    for clip, faces, pictures in clips_with_faces(frames, landmarks, at_most, _with_five, CUT_OFF):
        largest = 0.0
        for frame, image in pictures:
            face = align(image, faces[frame])
            largest = max(largest, float(np.hypot(*face.matrix[:, 0])))
            yield clip | {"frame": frame} | aligned_row(face)
        if largest > LARGEST:
            log.warning(
                "%s: face enlarged to %.1f times its size; record closer to the face or at a higher resolution",
                name_of(clip),
                largest,
            )


def _with_five(row: Row) -> npt.NDArray[np.float32] | None:
    """Landmarks of a face whose five points are in the picture."""
    five = anchors(row["landmarks"])
    outside = (five < 0).any() or (five > [row["width"], row["height"]]).any()
    return None if outside else row["landmarks"]


def _flat(landmarks: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """x and y of every landmark, shape (478, 2)."""
    return np.asarray(landmarks, np.float64).reshape(LANDMARK_COUNT, -1)[:, :2]
