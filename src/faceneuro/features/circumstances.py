"""How a clip was recorded: frame rate, size of the picture, how large the face is in it and where.

What a model has never met in training it cannot be trusted with. Whether a recording is like those of a cohort is told
by these numbers.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from faceneuro.features.points import CHIN, FACE_SIDE, FOREHEAD

CLIP = ("cohort", "subject", "clip")


def circumstances(
    manifest: pd.DataFrame, decoding: pd.DataFrame, landmarks: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Describe every clip of a manifest.

    Parameters
    ----------
    manifest, decoding
        Tables of these names.
    landmarks
        Rows with the keys, ``height``, ``width``, ``found`` and ``landmarks`` of :data:`faceneuro.tables.LANDMARKS`.

    Yields
    ------
    Rows of :data:`faceneuro.tables.CIRCUMSTANCES`, in the order of the manifest.
    """
    faces: dict[tuple, list] = {}
    for row in landmarks:
        if row["found"]:
            faces.setdefault(tuple(row[name] for name in CLIP), []).append(_face(row))
    met = decoding.set_index(list(CLIP))
    for clip in manifest.to_dict("records"):
        key = tuple(clip[name] for name in CLIP)
        width, x, y = np.median(faces[key], axis=0).tolist() if key in faces else (None, None, None)
        yield {
            **{name: clip[name] for name in (*CLIP, "task")},
            **{name: met.loc[key, name] for name in ("fps", "width", "height")},
            **{"face_width": width, "face_x": x, "face_y": y},
        }


def _face(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Width of a face, and its middle, as shares of the picture."""
    points = np.asarray(row["landmarks"]).reshape(-1, 3)[:, :2] / (row["width"], row["height"])
    left, right, top, bottom = points[[FACE_SIDE["left"], FACE_SIDE["right"], FOREHEAD, CHIN]]
    return left[0] - right[0], (left[0] + right[0]) / 2, (top[1] + bottom[1]) / 2
