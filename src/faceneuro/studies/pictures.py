"""The pictures that image networks see, made from face crops: the face, its contours, or everything but the face."""

import os
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.features.crops import SIZE, decode, line_drawing, views
from faceneuro.studies.clips import CLIP
from faceneuro.tables import KEYS, LANDMARK_COUNT, Row, read_clips, read_table

VIEW = 224
"""Height and width in pixels of a view of a crop that was not made smaller before."""

GAZE = slice(11, 19)
"""Blendshapes of where the eyes look, which is no part of an expression."""

Path = str | os.PathLike
Images = npt.NDArray[np.float32]


def images_of(
    samples: pd.DataFrame, crops: Sequence[Path], kind: str, count: int, gray: bool, pixels: int = VIEW
) -> Iterator[Images]:
    """The pictures that an image network sees of each sample, in the order of the samples.

    Parameters
    ----------
    samples
        Keys of every sample, and where its crop is: ``crop_table`` and ``crop_row``; the rows of a table in its order.
    crops
        The shards that the samples were made from, in the same order.
    kind
        ``rgb``, the crop; ``lines``, the line drawing; ``surroundings``, everything but the face (a control).
    count
        How many views, see :func:`faceneuro.features.crops.views`.
    gray
        Whether colours are replaced by their luma.
    pixels
        Height and width. Below 224 the crop is made smaller first, so that every size shows as much of the face.

    Yields
    ------
    float32, shape (count, 3, pixels, pixels), 0 to 1.

    Raises
    ------
    ValueError
        If the shards are not those that the samples were made from.
    """
    box = ["left", "top", "right", "bottom"]
    columns = {"rgb": ["png"], "surroundings": ["surroundings_png"], "lines": [*box, "landmarks"]}
    for table, wanted in samples.groupby("crop_table", sort=False):
        rows = iter(wanted.itertuples())
        sample = next(rows)
        position = 0
        for clip, images in read_clips(crops[table], [*KEYS, *columns[kind]]):
            for image in images:
                if sample is not None and position == sample.crop_row:
                    if tuple(image[name] for name in KEYS) != tuple(getattr(sample, name) for name in KEYS):
                        raise ValueError(f"{crops[table]} is not what the samples were made from: {clip} differs")
                    yield views(_scaled(_picture(image, kind), pixels), count, pixels, gray)
                    sample = next(rows, None)
                position += 1
        if sample is not None:
            raise ValueError(f"{crops[table]} has fewer rows than the samples were made from")


def strongest_images(clips: pd.DataFrame, landmarks: Sequence[Path], crops: Sequence[Path]) -> list[Row]:
    """The crop with the strongest expression of every clip, see :func:`apex`.

    Parameters
    ----------
    clips
        Keys and ``task`` of the clips that are asked for.
    landmarks, crops
        Shards, in the same order: the n-th of both hold the same subjects, clips in the same order.

    Returns
    -------
    Rows of :data:`faceneuro.tables.EXPRESSION_IMAGES`, in the order of the crops.
    """
    task_of = {tuple(row[:3]): row[3] for row in clips[[*CLIP, "task"]].itertuples(index=False)}
    images = []
    for table, (points, pictures) in enumerate(zip(landmarks, crops, strict=True)):
        scores = read_table(points, [*KEYS, "found", "blendshapes"])
        scores = scores[scores["found"]].set_index(list(KEYS))["blendshapes"]
        position = 0
        for clip, rows in read_clips(pictures, list(KEYS)):
            key = tuple(clip[name] for name in CLIP)
            found = [(position + place, row) for place, row in enumerate(rows)]
            position += len(found)
            if key in task_of:
                frames = [row["frame"] for _, row in found]
                best = apex(np.stack([scores[(*key, frame)] for frame in frames]))
                place, row = found[best]
                where = {"task": task_of[key], "crop_table": table, "crop_row": place}
                images.append({name: row[name] for name in KEYS} | where)
    return images


def apex(blendshapes: npt.NDArray[np.floating]) -> int:
    """Which of several frames of a clip has the strongest expression: the largest sum of scores, gaze left out.

    Parameters
    ----------
    blendshapes
        Shape (frames, 52), in MediaPipe's order, of which the first is the neutral face.
    """
    moved = np.delete(np.asarray(blendshapes, float), [0, *range(GAZE.start, GAZE.stop)], axis=1)
    return int(moved.sum(axis=1).argmax())


def box_of(row: Row) -> tuple[float, float, float, float]:
    """Edges of a crop in pixels of its frame: left, top, right, bottom."""
    return tuple(row[name] for name in ("left", "top", "right", "bottom"))


def _picture(image: Row, kind: str) -> npt.NDArray[np.uint8]:
    if kind == "lines":
        points = np.asarray(image["landmarks"]).reshape(LANDMARK_COUNT, 3)
        return line_drawing(points, box_of(image))
    return decode(image["png" if kind == "rgb" else "surroundings_png"])


def _scaled(picture: npt.NDArray[np.uint8], pixels: int) -> npt.NDArray[np.uint8]:
    side = round(SIZE * pixels / VIEW)
    return picture if side == SIZE else cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
