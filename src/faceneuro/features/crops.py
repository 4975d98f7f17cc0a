"""Square images of the face for networks that look at pictures: its crop, its contours as lines, and what is around it.

The face is never looked for a second time: box, lines and masks all come from the landmarks found in the whole frame.
(MediaPipe misses faces that fill the picture, as they do in a crop.) Positions are in pixels of the frame from its
upper left corner, so that the first pixel reaches from 0 to 1.

References
----------
"A Multimodal Fusion Model Leveraging MLP Mixer and Handcrafted Features-based Deep Learning Networks for Facial Palsy
Detection", arXiv 2503.10371, and its public code: the four landmarks of the crop, gray images, ten crops at test.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from faceneuro.features.faces import clips_with_faces, name_of
from faceneuro.features.points import CHIN, FOREHEAD
from faceneuro.tables import LANDMARK_COUNT, Row

RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

log = logging.getLogger(__name__)

SIZE = 256
"""Height and width of a crop. Faces are not of that shape: they are squeezed into it, as the published networks see
them."""

SIDES = (127, 356)
"""Landmarks where the crop ends on the image's left and right."""

MARGIN = 0.04
"""By how much of the face's larger extent a mask is wider than the face on every side: landmarks are that inexact."""

MASKED = 128
"""Gray value, in all channels, of a face that was masked out."""

LINE_WIDTH = 2
"""Of drawn lines, as OpenCV counts: upright and level ones cover three pixels."""

_FINER = 4
"""Bits of a pixel's fraction that OpenCV is given."""

CONTOURS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
    (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (263, 249, 390, 373, 374, 380, 381, 382, 362),
    (263, 466, 388, 387, 386, 385, 384, 398, 362),
    (33, 7, 163, 144, 145, 153, 154, 155, 133),
    (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (276, 283, 282, 295, 285),
    (300, 293, 334, 296, 336),
    (46, 53, 52, 65, 55),
    (70, 63, 105, 66, 107),
    (
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
        *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
    ),
)
"""Outlines of lips, eyes, brows and face: MediaPipe's FACE_LANDMARKS_CONTOURS, walked along. Written out because the
networks are trained where MediaPipe need not be installed; a test compares them."""


NO_CROP = "the face lies outside the picture or on its side, and has no crop: left out; record the whole face, upright"


class Box(NamedTuple):
    """Part of an image; edges in pixels, not whole ones."""

    left: float
    top: float
    right: float
    bottom: float


def face_box(landmarks: npt.ArrayLike, height: int, width: int) -> Box | None:
    """The crop of a face: between landmarks 127 and 356 across, 10 and 152 down, as far as it lies in the image.

    There is no margin. In a head that lies on its side the four landmarks span next to nothing.

    Parameters
    ----------
    landmarks
        Pixels, shape (478, 2 or 3), or those of a table, flat.
    height, width
        Of the image, in pixels.

    Returns
    -------
    The box; None if less than a pixel of it, across or down, is in the image.

    References
    ----------
    arXiv 2503.10371, public code.
    """
    points = _points(landmarks)
    left, right = np.clip(np.sort(points[list(SIDES), 0]), 0, width)
    top, bottom = np.clip(np.sort(points[[FOREHEAD, CHIN], 1]), 0, height)
    if right - left < 1 or bottom - top < 1:
        return None
    return Box(float(left), float(top), float(right), float(bottom))


def relative(landmarks: npt.ArrayLike, box: Box) -> npt.NDArray[np.float32]:
    """Landmarks as shares of a box: (0, 0) is its upper left corner, (1, 1) its lower right one.

    Parameters
    ----------
    landmarks
        Pixels, shape (478, 2 or 3), or those of a table, flat.
    box
        Left, top, right and bottom edge in pixels of the same image.

    Returns
    -------
    float32, shape (478, 2).
    """
    left, top, right, bottom = box
    shares = (_points(landmarks).astype(np.float64) - [left, top]) / [right - left, bottom - top]
    return shares.astype(np.float32)


def crop(image: RGB, box: Box, size: int = SIZE) -> RGB:
    """Resample a box of an image to a square.

    Box edges need not be whole pixels: rounding them would move a small face by several pixels of the square. Where the
    box is larger than the square, pixels are averaged, so that none is passed over.

    Parameters
    ----------
    image
        uint8, shape (height, width, 3).
    box
        Left, top, right and bottom edge in pixels of the image, inside it.
    size
        Height and width of the square.

    Returns
    -------
    uint8, shape (size, size, 3).
    """
    left, top, right, bottom = box
    # Samples at most one pixel apart, a whole number of them per pixel of the square.
    across, down = (max(1, int(np.ceil(length / size))) for length in (right - left, bottom - top))
    step_x, step_y = (right - left) / (across * size), (bottom - top) / (down * size)
    # OpenCV counts from the centre of the first pixel.
    back = np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5]])
    samples = cv2.warpAffine(
        image,
        back,
        (across * size, down * size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(samples, (size, size), interpolation=cv2.INTER_AREA)


def crop_rows(frames: str | os.PathLike, landmarks: str | os.PathLike, at_most: int | None = None) -> Iterator[Row]:
    """Crops of the faces of one shard, as a stream: in memory are the landmarks of one clip and a few frames.

    Of each clip, frames without a face are passed over, and so is, with a warning, a face whose box is not in the
    picture. A clip without any has no rows. One warning per clip says that a crop is smaller than a quarter of
    :data:`SIZE`, and therefore enlarged to more than four times what was recorded.

    Parameters
    ----------
    frames, landmarks
        Tables of the same clips, :data:`faceneuro.tables.FRAMES` and :data:`faceneuro.tables.LANDMARKS`.
    at_most
        Crops per clip, see :func:`faceneuro.features.faces.spread`; none means all.

    Yields
    ------
    Rows of :data:`faceneuro.tables.CROPS`, in the order of the frames.

    Raises
    ------
    ValueError
        If ``at_most`` is less than 1, or the tables do not have the same clips in the same order.
    """
    for clip, faces, pictures in clips_with_faces(frames, landmarks, at_most, _with_box, NO_CROP):
        _warn_of_small(clip, [box for _, box in faces.values()])
        for frame, image in pictures:
            yield clip | {"frame": frame} | _crop_row(image, *faces[frame])


def _with_box(row: Row) -> tuple[npt.NDArray[np.float32], Box] | None:
    """Landmarks and box of a face, if it has a box."""
    box = face_box(row["landmarks"], row["height"], row["width"])
    return None if box is None else (row["landmarks"], box)


def _warn_of_small(clip: Mapping[str, str], boxes: list[Box]) -> None:
    sides = [(box.right - box.left, box.bottom - box.top) for box in boxes]
    width, height = min(sides, key=min, default=(SIZE, SIZE))
    if min(width, height) < SIZE / 4:
        log.warning(
            "%s: crop smaller than %d pixels (%.0f wide, %.0f high), enlarged to %d; record closer to the face or at a "
            "higher resolution",
            name_of(clip),
            SIZE // 4,
            width,
            height,
            SIZE,
        )


def _crop_row(image: RGB, landmarks: npt.NDArray[np.float32], box: Box) -> Row:
    return {
        "image_height": image.shape[0],
        "image_width": image.shape[1],
        **box._asdict(),
        "landmarks": landmarks,
        "png": encode(crop(image, box)),
        "surroundings_png": encode(surroundings(image, landmarks)),
    }


def encode(image: RGB) -> bytes:
    """An RGB image, uint8, shape (height, width, 3), as a PNG file, without loss."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def decode(png: bytes | memoryview) -> RGB:
    """The RGB image of a PNG file, uint8, shape (height, width, 3).

    Raises
    ------
    ValueError
        If the bytes are not an image.
    """
    data = np.frombuffer(png, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise ValueError(f"{data.size} bytes that are not an image")
    return image


def line_drawing(landmarks: npt.ArrayLike, box: Box, size: int = SIZE) -> RGB:
    """The contours of a face (:data:`CONTOURS`) in a box: white on black, without gray edges.

    An assumption: the paper has "images with facial line segments" in black and white, but neither it nor its public
    code says how they are drawn.

    Parameters
    ----------
    landmarks
        Pixels of the frame, shape (478, 2 or 3), or those of a table, flat.
    box
        Left, top, right and bottom edge in pixels of the frame; lines end at it.
    size
        Height and width of the drawing.

    Returns
    -------
    uint8, shape (size, size, 3), 0 or 255.
    """
    drawing = np.zeros((size, size), np.uint8)
    # OpenCV counts from the centre of the first pixel. With whole pixels a mirrored face would not be drawn mirrored.
    places = np.round((relative(landmarks, box) * size - 0.5) * 2**_FINER).astype(int).tolist()
    for contour in CONTOURS:
        for start, end in pairwise(contour):
            cv2.line(drawing, places[start], places[end], 255, LINE_WIDTH, cv2.LINE_8, _FINER)
    return np.repeat(drawing[..., None], 3, axis=2)


def surroundings(image: RGB, landmarks: npt.ArrayLike, size: int = SIZE) -> RGB:
    """A whole frame without its face, as a square.

    The face is masked before the frame is resampled, so nothing of it is left in any pixel. What stays is the outline
    of the mask, hence the face's size, place and turn, and whether the jaw is down; what lies outside the landmarks
    (hair, ears, neck); and the faces of other people.

    Parameters
    ----------
    image
        The frame, uint8, shape (height, width, 3).
    landmarks
        Pixels of the frame, shape (478, 2 or 3), or those of a table, flat.
    size
        Height and width of the square.

    Returns
    -------
    uint8, shape (size, size, 3); the convex hull of the landmarks, with its :data:`MARGIN`, is :data:`MASKED`.
    """
    height, width = image.shape[:2]
    return crop(_masked(image, _points(landmarks)), Box(0, 0, width, height), size)


def _masked(image: RGB, points: npt.NDArray[np.floating]) -> RGB:
    """A copy without the hull of the points, which is widened by the margin."""
    hull = cv2.convexHull(_pixels(points))
    # Whole pixels are coarser than the points by less than one.
    reach = 1 + int(np.ceil(MARGIN * np.ptp(points, axis=0).max()))
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    cv2.polylines(mask, [hull], True, 1, 2 * reach + 1)
    return np.where(mask[..., None], np.uint8(MASKED), image)


def views(image: RGB, count: int, size: int = 224, gray: bool = False) -> npt.NDArray[np.float32]:
    """Parts of an image as inputs of a network, before normalisation with its checkpoint's mean and deviation.

    Mirrored views swap the sides of the face: right for telling palsy from health, wrong for telling left from right.

    Parameters
    ----------
    image
        uint8, shape (height, width, 3), at least ``size`` both ways.
    count
        1: the centre. 2: the centre and the same of the mirrored image. 10: upper left, upper right, lower left and
        lower right corner and centre, then the same of the mirrored image, as torchvision's TenCrop orders them.
    size
        Height and width of a view.
    gray
        Whether to replace colour by luma (ITU-R BT.601, rounded), the same in all three channels, as the authors do.

    Returns
    -------
    float32, shape (count, 3, size, size), 0 to 1.

    Raises
    ------
    ValueError
        If there is no such count, or the image is smaller than a view.

    References
    ----------
    arXiv 2503.10371, public code: gray in three channels, ten crops of 224 out of 256 pixels, averaged at test.
    """
    if count not in (1, 2, 10):
        raise ValueError(f"count is {count}, not 1, 2 or 10")
    if min(image.shape[:2]) < size:
        raise ValueError(f"an image of {image.shape[0]} x {image.shape[1]} pixels has no view of {size} x {size}")
    if gray:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    parts = []
    for each in (image, image[:, ::-1])[: 1 if count == 1 else 2]:
        down, across = each.shape[0] - size, each.shape[1] - size
        corners = [(top, left) for top in (0, down) for left in (0, across)] if count == 10 else []
        for top, left in [*corners, (round(down / 2), round(across / 2))]:
            parts.append(each[top : top + size, left : left + size])
    return np.stack(parts).transpose(0, 3, 1, 2).astype(np.float32, order="C") / np.float32(255)


def _points(landmarks: npt.ArrayLike) -> npt.NDArray:
    """x and y, shape (478, 2)."""
    return np.asarray(landmarks).reshape(LANDMARK_COUNT, -1)[:, :2]


def _pixels(points: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    """Column and row of the pixel in which each point lies; it may lie outside the image."""
    return np.floor(points).astype(np.int32)
