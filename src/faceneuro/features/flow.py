"""Dense optical flow between successive frames of a clip."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from faceneuro.tables import image_of

Gray = npt.NDArray[np.uint8]
RGB = npt.NDArray[np.uint8]

log = logging.getLogger(__name__)


def magnitude(
    previous: Gray, current: Gray, scale: tuple[float, float] = (1.0, 1.0), **farneback: float
) -> npt.NDArray[np.float32]:
    """Length of the Farneback displacement at every pixel.

    Parameters
    ----------
    previous, current
        Gray images, shape (height, width), 0 to 255, the same shape. Not 0 to 1: OpenCV's regulariser is absolute, in
        8-bit units, and finds practically no motion there.
    scale
        Factors, down and across, from pixels of these images to the unit that is wanted.
    **farneback
        Parameters of :func:`cv2.calcOpticalFlowFarneback`.

    Returns
    -------
    Shape (height, width), in (scaled) pixels per frame step, never negative.

    Raises
    ------
    ValueError
        If the shapes differ: a clip whose resolution changes has no flow across the change.

    References
    ----------
    Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003.
    """
    if previous.shape != current.shape:
        raise ValueError(f"frames differ in size: {previous.shape} and {current.shape}")
    field = cv2.calcOpticalFlowFarneback(previous, current, None, **farneback)
    down, across = scale
    return cv2.magnitude(across * field[..., 0], down * field[..., 1])


def flow_of_clip(
    frames: Iterable[Mapping[str, Any]], grid: tuple[int, int], **farneback: float
) -> Iterator[dict[str, Any]]:
    """Flow magnitude between successive frames, resampled to a grid, one row at a time.

    The frames are shrunk before the flow and not after: a coarse grid is meant to be cheap, and at the
    coarse scale the motion of a face is well within Farneback's reach. The magnitude is scaled back, so its
    unit stays the pixel of the recording. Two small gray images are held in memory, whatever the clip's length.

    Where the resolution changes within a clip the flow starts afresh: there is no row across the change.

    Parameters
    ----------
    frames
        Rows of one clip of a frames table (:data:`faceneuro.tables.FRAMES`) in temporal order.
    grid
        Height and width of the resampled field.
    **farneback
        Parameters of :func:`cv2.calcOpticalFlowFarneback`.

    Yields
    ------
    Rows of :func:`faceneuro.tables.flow_schema` without the keys of the clip: ``previous`` and ``frame`` (frame
    numbers), ``magnitude`` (float16, shape (grid height * grid width,), in pixels of the recording per frame step).

    References
    ----------
    The ALS paper, section III-C-1: gray images, Farneback's flow, its magnitude flattened.
    """
    before, size, first = None, None, None
    for row in frames:
        number, image = row["frame"], image_of(row)
        second = _shrunk(image, grid)
        if size == image.shape:
            scale = (size[0] / grid[0], size[1] / grid[1])
            field = magnitude(first, second, scale, **farneback)
            yield {"previous": before, "frame": number, "magnitude": field.astype(np.float16).ravel()}
        elif size is not None:
            log.info("frame %d is %s, frame %d was %s: no flow between them", number, image.shape, before, size)
        before, size, first = number, image.shape, second


def _shrunk(image: RGB, grid: tuple[int, int]) -> Gray:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    shrinks = gray.shape[0] >= grid[0] and gray.shape[1] >= grid[1]
    return cv2.resize(gray, grid[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
