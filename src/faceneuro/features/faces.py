"""The faces of a shard, clip by clip, for whatever is cut out of frames by their landmarks."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from faceneuro.tables import KEYS, Row, image_of, read_clips

Face = TypeVar("Face")
Pictures = Iterator[tuple[int, npt.NDArray[np.uint8]]]

log = logging.getLogger(__name__)


def clips_with_faces(
    frames: str | os.PathLike,
    landmarks: str | os.PathLike,
    at_most: int | None,
    face_of: Callable[[Row], Face | None],
    flaw: str,
) -> Iterator[tuple[Row, dict[int, Face], Pictures]]:
    """Faces of one shard, as a stream: in memory are the landmarks of one clip and a frame.

    Parameters
    ----------
    frames, landmarks
        Tables of the same clips, :data:`faceneuro.tables.FRAMES` and :data:`faceneuro.tables.LANDMARKS`.
    at_most
        Faces per clip, see :func:`spread`; none means all.
    face_of
        What is wanted of a frame with a face, from its row (height, width, landmarks); None if it cannot be used.
    flaw
        What is wrong with one that cannot, and what to do about it, for a warning.

    Yields
    ------
    Keys of a clip, the chosen faces by frame, and the pictures of these frames in their order, which must be used up
    before the next clip. A clip without any has none.

    Raises
    ------
    ValueError
        If ``at_most`` is less than 1, or the tables do not have the same clips in the same order.
    """
    if at_most is not None and at_most < 1:
        raise ValueError(f"at_most ({at_most}) starts at 1")
    found = read_clips(landmarks, [*KEYS, "height", "width", "found", "landmarks"])
    for clip, rows in read_clips(frames, [*KEYS, "height", "width", "pixels"]):
        faces = next((_usable(clip, measured, face_of, flaw) for key, measured in found if key == clip), None)
        if faces is None:
            raise ValueError(f"{frames} has a clip {clip['clip']!r} that {landmarks} lacks, or in another order")
        chosen = {frame: faces[frame] for frame in spread(list(faces), at_most)}
        yield clip, chosen, _pictures(rows, chosen)


def spread(frames: list[int], at_most: int | None) -> list[int]:
    """Some frames, all if there are no more: divided into so many equal parts, the middle of each.

    A movement begins and ends at rest, which is what looks alike in everybody.
    """
    count = len(frames) if at_most is None else min(at_most, len(frames))
    return [frames[(2 * part + 1) * len(frames) // (2 * count)] for part in range(count)]


def name_of(clip: Mapping[str, str]) -> str:
    """A clip, as a warning names it."""
    return f"clip {clip['clip']!r} of subject {clip['subject']!r} ({clip['cohort']})"


def _usable(clip: Row, rows: Iterable[Row], face_of: Callable[[Row], Face | None], flaw: str) -> dict[int, Face]:
    faces, without = {}, 0
    for row in rows:
        if row["found"]:
            face = face_of(row)
            if face is None:
                without += 1
            else:
                faces[row["frame"]] = face
    if without:
        count = without + len(faces)
        log.warning("%s: in %d of %d frames with a face, %s", name_of(clip), without, count, flaw)
    return faces


def _pictures(rows: Iterable[Row], chosen: Mapping[int, Face]) -> Pictures:
    for row in rows:
        if row["frame"] in chosen:
            yield row["frame"], image_of(row)
