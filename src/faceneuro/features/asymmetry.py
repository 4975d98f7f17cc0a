"""The 29 measures of facial asymmetry that facial palsy is detected by, and the differences between a face's sides.

Left and right are the subject's; in an image that is not mirrored, the subject's right is on the image's left. The
table in docs/asymmetry.md says in plain words what each measure compares and how the two forms differ.

References
----------
Parra-Dominguez, Sanchez-Yanez and Garcia-Capulin, "Facial Paralysis Detection on Images Using Key Point Analysis", Appl
Sci 2021, 11(5):2435: the measures, on 51 key points. "A Multimodal Fusion Model Leveraging MLP Mixer and Handcrafted
Features-based Deep Learning Networks for Facial Palsy Detection", arXiv 2503.10371: the landmarks of MediaPipe that
stand for the key points, and the last measure taken from the tip of the nose.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceneuro.features.points import BROW, EYE_INNER, EYE_OUTER, LOWER_LID, MOUTH_CORNER, UPPER_LID
from faceneuro.tables import LANDMARK_COUNT

Array = npt.NDArray[np.float64]
# Points in the plane are complex numbers, x + iy in image axes: turning and scaling are then one division.
Points = Mapping[str, npt.NDArray[np.complex128]]

RIGHT, LEFT = 0, 1
FORMS = ("corrected", "released")

LEAST = 0.01
"""Share of the face's width that a length counts for at least where it divides. Between the lids of a closed eye
MediaPipe leaves 0.2 % to 1.2 %, and an open eye has 7 %: so two closed eyes are about alike, whatever is left."""

SIDED = {
    "brow_1": (70, 300),
    "brow_2": (63, 293),
    "brow_3": (105, 334),
    "brow_4": (66, 296),
    "brow_5": (55, 285),
    "eye_outer": (130, 359),
    "eye_inner": (173, 398),
    "upper_lid_lateral": (160, 387),
    "upper_lid_medial": (158, 385),
    "lower_lid_lateral": (144, 373),
    "lower_lid_medial": (153, 380),
    "ala": (98, 327),
    "mouth_corner": (61, 291),
    "upper_lip_lateral": (39, 269),
    "upper_lip_medial": (37, 267),
    "lower_lip_lateral": (181, 405),
    "lower_lip_medial": (84, 314),
    "face_side": (127, 356),
}
"""Landmarks on the subject's right and left that stand for the published key points; brows from their outer end."""

MIDLINE = {"forehead": 10, "nose_tip": 1, "upper_lip": 0, "lower_lip": 17, "chin": 152}
"""Landmarks on the midline; the lips' are on their outer edges. The forehead is the upper edge of the authors' crop."""

BROW_POINTS = tuple(f"brow_{number}" for number in range(1, 6))
HALF_MOUTH = (
    "mouth_corner",
    "upper_lip_lateral",
    "upper_lip_medial",
    "upper_lip",
    "lower_lip",
    "lower_lip_medial",
    "lower_lip_lateral",
)
"""The outline of one half of the mouth, in the order of a walk round it."""


@dataclass(frozen=True)
class Measure:
    """One of the 29.

    Attributes
    ----------
    name
        For columns of a table.
    definition
        Of the corrected form.
    unit
        "degrees" or "1".
    neutral
        Value for a symmetric face; None for a proportion, whose value depends on the face.
    region
        The part of the face it was published under: "brow", "eye", "mouth", "nose", or "face" for several of them.
    mirrors
        What becomes of its value x in the mirrored face: "same", "negated" or "supplement" (180 - x).
    """

    name: str
    definition: str
    unit: str
    neutral: float | None
    region: str
    mirrors: str = "same"


def _angle(name: str, line: str, region: str) -> Measure:
    return Measure(name, f"angle of {line}", "degrees", 0, region, "negated")


def _slope(name: str, line: str, region: str) -> Measure:
    return Measure(name, f"slope of {line}, without its sign", "1", 0, region)


def _ratio(name: str, sides: str, region: str) -> Measure:
    return Measure(name, f"ratio of {sides}", "1", 1, region)


def _share(name: str, length: str, whole: str, region: str) -> Measure:
    return Measure(name, f"{length}, over the {whole}'s width", "1", None, region)


MEASURES = (
    _angle("brow_angle_outer", "70 to 300", "brow"),
    _angle("brow_angle_middle", "105 to 334", "brow"),
    _angle("brow_angle_inner", "55 to 285", "brow"),
    _ratio(
        "brow_height_ratio",
        "the mean heights of 70, 63, 105, 66, 55 above the middle of 130 and 173, "
        "and of 300, 293, 334, 296, 285 above the middle of 359 and 398",
        "brow",
    ),
    _slope("brow_slope_outer", "70 to 300", "brow"),
    _slope("brow_slope_middle", "105 to 334", "brow"),
    _slope("brow_slope_inner", "55 to 285", "brow"),
    _angle("eye_angle", "130 to 359", "eye"),
    _ratio("eye_width_ratio", "the horizontal distances 130 to 173 and 359 to 398", "eye"),
    _ratio("eye_face_side_ratio", "the horizontal distances 130 to 127 and 359 to 356", "eye"),
    _ratio("eye_nose_ratio", "the distances 130 to 98 and 359 to 327", "eye"),
    _ratio("eye_opening_ratio", "the means of the two distances of f12 and f13", "eye"),
    _ratio("eye_opening_ratio_lateral", "the distances 160 to 144 and 387 to 373", "eye"),
    _ratio("eye_opening_ratio_medial", "the distances 158 to 153 and 385 to 380", "eye"),
    _angle("mouth_angle", "61 to 291", "mouth"),
    _ratio("eye_lip_ratio", "the distances 130 to 17 and 359 to 17", "mouth"),
    _ratio("lip_height_ratio_lateral", "the distances 39 to 181 and 269 to 405", "mouth"),
    _ratio("lip_height_ratio_medial", "the distances 37 to 84 and 267 to 314", "mouth"),
    _share("mouth_corner_lip", "larger distance of 61 to 17 and 291 to 17", "face", "mouth"),
    _share("lip_height_lateral", "larger distance of f16", "mouth", "mouth"),
    _share("lip_height_medial", "larger distance of f17", "mouth", "mouth"),
    _share(
        "half_mouth_perimeter",
        "larger perimeter of 61, 39, 37, 0, 17, 84, 181 and of 291, 269, 267, 0, 17, 314, 405, both closed",
        "mouth",
        "mouth",
    ),
    _angle("nose_angle", "98 to 327", "nose"),
    Measure("midline_angle", "angle of 1 to 17", "degrees", 90, "face", "supplement"),
    _ratio("nose_lip_ratio", "the distances 98 to 17 and 327 to 17", "face"),
    _share("brow_lip_middle", "larger distance of 105 to 17 and 334 to 17", "face", "face"),
    _share("brow_lip_inner", "larger distance of 66 to 17 and 296 to 17", "face", "face"),
    _share("chin_height", "distance 17 to 152", "face", "face"),
    _share("nose_upper_lip", "distance 1 to 0", "face", "face"),
)
"""The measures f0 to f28, in the published order; of two sides, the subject's right comes first.

The line between the sides of the face, 127 and 356, is the horizontal that angles, slopes, heights and horizontal
distances refer to, and its length is the face's width. The mouth's is the horizontal distance between its corners. A
positive angle means that the subject's left is lower. A ratio is the larger over the smaller.
"""

REGIONS = ("brow_height", "eye_opening", "mouth_corner_height", "mouth_corner_reach")
"""What :func:`side_differences` compares."""


def asymmetry(landmarks: npt.ArrayLike, form: str = "corrected", image_size: npt.ArrayLike | None = None) -> Array:
    """The 29 measures of :data:`MEASURES`.

    The corrected form does not change when the face is shifted, turned or scaled in the image, and in a mirrored face
    every measure changes as its ``mirrors`` says. It sees a plane: of a head that is turned away, the farther side is
    smaller.

    Parameters
    ----------
    landmarks
        Pixels, shape (..., 478, 2 or 3); x to the right, y downwards, z is not looked at.
    form
        "corrected": see :data:`MEASURES`. "released": what the authors' public code computes of the same landmarks. It
        takes positions as shares of the image's width and height, in which a turn is no longer rigid; turns the face
        upside down and measures the height of the brows from the top of the image (f3); leaves the last point out of
        the perimeter of the right half of the mouth (f21); and divides by zero, so a closed eye gives infinity (f11 to
        f13).
    image_size
        Height and width in pixels, shape (2,) or one pair per frame, of the image whose landmarks these are; the
        released form depends on it. By default that of the authors' crop: from 127 to 356 in x, from 10 to 152 in y.
        The corrected form has no use for it.

    Returns
    -------
    Shape (..., 29). NaN where the landmarks are, and for a face without width.

    Raises
    ------
    ValueError
        If the form does not exist, or the landmarks or the size are of another shape, or a size is not positive.

    References
    ----------
    Parra-Dominguez et al., Appl Sci 2021, 11(5):2435 (the measures); arXiv 2503.10371 and its public code (landmarks,
    released form).
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, not corrected or released")
    points = _points(landmarks, SIDED | {name: (index,) for name, index in MIDLINE.items()})
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _released(points, image_size) if form == "released" else _corrected(points)


def side_differences(landmarks: npt.ArrayLike) -> Array:
    """Left minus right side of the face, per region of :data:`REGIONS`.

    Positive means that the subject's left has the larger value, which in a movement that raises it (brow, smile) points
    to a weaker right side. In closing the eyes it is the other way round: the weak side stays open. A face is not quite
    symmetric at rest, so for a movement compare with the same face at rest.

    The frame is fixed to the outer corners of the eyes, which bone holds in place: its origin midway between them, its
    first axis along them, its unit their distance. The points are those whose measurement is validated on virtual
    patients, not the published key points.

    - ``brow_height``: of the brow's three points above the middle of the eye's corners.
    - ``eye_opening``: from the lower to the upper lid, in the middle of the eye; negative where they cross.
    - ``mouth_corner_height``: of the corner of the mouth.
    - ``mouth_corner_reach``: of the corner of the mouth, outwards from the perpendicular midway between the eyes.

    Parameters
    ----------
    landmarks
        Pixels, shape (..., 478, 2 or 3); x to the right, y downwards, z is not looked at.

    Returns
    -------
    Shape (..., 4), in distances between the outer corners of the eyes. NaN where the landmarks are, and where these
    corners coincide.

    Raises
    ------
    ValueError
        If the landmarks are of another shape.
    """
    sided = {"outer": EYE_OUTER, "inner": EYE_INNER, "upper": UPPER_LID, "lower": LOWER_LID, "corner": MOUTH_CORNER}
    sided |= {f"brow_{place}": {side: three[place] for side, three in BROW.items()} for place in range(3)}
    points = _points(landmarks, {name: (of["right"], of["left"]) for name, of in sided.items()})
    right, left = points["outer"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        face = _seen_from((right + left) / 2, left - right, points)
        eye = (face["outer"] + face["inner"]) / 2
        brow = (face["brow_0"] + face["brow_1"] + face["brow_2"]) / 3
        outwards = np.stack([-face["corner"].real[RIGHT], face["corner"].real[LEFT]])
        values = [(eye - brow).imag, (face["lower"] - face["upper"]).imag, -face["corner"].imag, outwards]
        return _finite(np.stack([value[LEFT] - value[RIGHT] for value in values], axis=-1))


def _points(landmarks: npt.ArrayLike, wanted: Mapping[str, tuple[int, ...]]) -> Points:
    """Points by name: shape (2, ...), right and left, or (...) on the midline."""
    array = np.asarray(landmarks)
    if array.ndim < 2 or array.shape[-2] != LANDMARK_COUNT or array.shape[-1] not in (2, 3):
        raise ValueError(f"landmarks have shape {array.shape}, not (..., {LANDMARK_COUNT}, 2 or 3)")
    points = {}
    for name, indices in wanted.items():
        xy = np.moveaxis(array[..., list(indices), :2], -2, 0).astype(np.float64)
        xy[~np.isfinite(xy)] = np.nan
        point = xy[..., 0] + 1j * xy[..., 1]
        points[name] = point if len(indices) == 2 else point[0]
    return points


def _seen_from(origin: np.ndarray, unit: np.ndarray, points: Points) -> Points:
    """Points in a frame with this origin and first axis, the length of ``unit`` being 1."""
    unit = np.where(unit == 0, np.nan, unit)
    return {name: (point - origin) / unit for name, point in points.items()}


def _corrected(points: Points) -> Array:
    right, left = points["face_side"]
    # The width of the face is the unit of length, so LEAST is a length.
    face = _seen_from(right, left - right, points)
    eye = (face["eye_outer"] + face["eye_inner"]) / 2
    return _finite(_measures(face, (eye - _brow(face)).imag, _perimeter(face, HALF_MOUTH), LEAST))


def _released(points: Points, image_size: npt.ArrayLike | None) -> Array:
    corner, height, width = _crop(points) if image_size is None else (0, *_size(image_size))
    shares = {name: _normalised(point - corner, height, width) for name, point in points.items()}
    right, left = shares["face_side"]
    # The authors turn the face by the direction from left to right, so upside down. Only the height of the brows sees
    # that: distances do not change, and their angles run the other way along each line, which undoes it.
    upright = _seen_from(right, (left - right) / np.abs(left - right), shares)
    brow_from_top = right.imag - _brow(upright).imag
    perimeter = _perimeter(upright, HALF_MOUTH)
    perimeter[RIGHT] = _perimeter(upright, HALF_MOUTH[:-1])[RIGHT]
    return _measures(upright, brow_from_top, perimeter, least=-np.inf)


def _crop(points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper left corner, height and width of the box that the authors cut out of the image."""
    right, left = points["face_side"]
    top, bottom = points["forehead"].imag, points["chin"].imag
    return right.real + 1j * top, bottom - top, left.real - right.real


def _size(image_size: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    size = np.asarray(image_size, np.float64)
    if size.shape[-1:] != (2,) or not (size > 0).all():
        raise ValueError(f"image_size is {image_size}, not a positive height and width")
    return size[..., 0], size[..., 1]


def _normalised(point: np.ndarray, height: np.ndarray, width: np.ndarray) -> np.ndarray:
    return point.real / np.where(width > 0, width, np.nan) + 1j * point.imag / np.where(height > 0, height, np.nan)


def _brow(face: Points) -> np.ndarray:
    return np.mean([face[name] for name in BROW_POINTS], axis=0)


def _perimeter(face: Points, outline: tuple[str, ...]) -> Array:
    """Of the closed outline on each side, shape (2, ...)."""
    corners = np.stack(np.broadcast_arrays(*(face[name] for name in outline)))
    return np.abs(corners - np.roll(corners, 1, axis=0)).sum(axis=0)


def _measures(face: Points, brow_height: Array, half_mouth: Array, least: float) -> Array:
    """All 29 of an upright face; what divides is at least ``least``."""

    def angle(start: np.ndarray, end: np.ndarray) -> Array:
        return np.degrees(np.angle(end - start))

    def tilt(name: str) -> Array:
        return angle(*face[name])

    def slope(name: str) -> Array:
        right, left = face[name]
        return np.abs((left - right).imag) / np.maximum(np.abs((left - right).real), least)

    def ratio(sides: Array) -> Array:
        right, left = np.maximum(sides, least)
        return np.maximum(right / left, left / right)

    def distance(one: str, other: str) -> Array:
        return np.abs(face[one] - face[other])

    def across(one: str, other: str) -> Array:
        return np.abs((face[one] - face[other]).real)

    width, mouth_width = (np.abs(np.diff(face[name].real, axis=0)[0]) for name in ("face_side", "mouth_corner"))
    mouth_width = np.maximum(mouth_width, least)
    opening_lateral = distance("upper_lid_lateral", "lower_lid_lateral")
    opening_medial = distance("upper_lid_medial", "lower_lid_medial")
    lips_lateral = distance("upper_lip_lateral", "lower_lip_lateral")
    lips_medial = distance("upper_lip_medial", "lower_lip_medial")
    values = [
        tilt("brow_1"),
        tilt("brow_3"),
        tilt("brow_5"),
        ratio(brow_height),
        slope("brow_1"),
        slope("brow_3"),
        slope("brow_5"),
        tilt("eye_outer"),
        ratio(across("eye_outer", "eye_inner")),
        ratio(across("eye_outer", "face_side")),
        ratio(distance("eye_outer", "ala")),
        ratio((opening_lateral + opening_medial) / 2),
        ratio(opening_lateral),
        ratio(opening_medial),
        tilt("mouth_corner"),
        ratio(distance("eye_outer", "lower_lip")),
        ratio(lips_lateral),
        ratio(lips_medial),
        distance("mouth_corner", "lower_lip").max(axis=0) / width,
        lips_lateral.max(axis=0) / mouth_width,
        lips_medial.max(axis=0) / mouth_width,
        half_mouth.max(axis=0) / mouth_width,
        tilt("ala"),
        angle(face["nose_tip"], face["lower_lip"]),
        ratio(distance("ala", "lower_lip")),
        distance("brow_3", "lower_lip").max(axis=0) / width,
        distance("brow_4", "lower_lip").max(axis=0) / width,
        distance("lower_lip", "chin") / width,
        distance("upper_lip", "nose_tip") / width,
    ]
    return np.stack(values, axis=-1)


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)
