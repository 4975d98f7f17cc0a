"""A sheet of stills from recordings: patients in rows, rest (if filmed) and apex of their tasks side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.cohorts.virtual.motion import perform
from faceneuro.cohorts.virtual.patients import enrol

RGB = npt.NDArray[np.uint8]

GAP, BAR = 6, 26
PAPER, INK = (255, 255, 255), (52, 56, 60)


def contact_sheet(clips: Sequence[tuple[str, str | Path, int]], columns: int | None = None, width: int = 320) -> RGB:
    """Stills from videos, and photographs, with their captions.

    Parameters
    ----------
    clips
        Caption, path of the video or photograph, and the number of the frame.
    columns
        Stills per row; by default as near to a square as the number of clips allows.
    width
        Of each still in pixels; the height follows from the recording.

    Returns
    -------
    RGB, uint8, shape (height, width, 3), on white.

    Raises
    ------
    ValueError
        If there are no clips, or one ends before the wanted frame.
    """
    if not clips:
        raise ValueError("a contact sheet needs at least one clip")
    columns = columns or int(np.ceil(np.sqrt(len(clips))))
    stills = [_captioned(_still(path, frame), caption, width) for caption, path, frame in clips]
    height = max(still.shape[0] for still in stills)
    rows = -(-len(stills) // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8)
    for place, still in enumerate(stills):
        top, left = (GAP + (place // columns) * (height + GAP), GAP + (place % columns) * (width + GAP))
        sheet[top : top + still.shape[0], left : left + width] = still
    return sheet


def stills_of(
    manifest: pd.DataFrame, cohort: Mapping[str, Any], patients: int = 6
) -> tuple[list[tuple[str, str, int]], int]:
    """Choose what a cohort's sheet shows: a row per patient, at the apex of every task and, if filmed, first at rest.

    Parameters
    ----------
    manifest
        Rows of :data:`faceneuro.tables.MANIFEST`.
    cohort
        Its block of the configuration.
    patients
        How many, from the first.

    Returns
    -------
    Clips and columns for :func:`contact_sheet`.
    """
    filmed = cohort["medium"] == "video"
    clips = []
    for patient in enrol(cohort)[:patients]:
        rows = manifest[manifest["subject"] == patient.subject]
        name = f"{patient.subject}, {patient.group}"
        if filmed:
            clips.append((f"{name}: rest", rows["path"].iloc[0], 0))
            name = patient.subject
        for task, path in zip(rows["task"], rows["path"], strict=True):
            apex = perform(patient, task, cohort["seconds"], cohort["video"]["fps"]).apex if filmed else 0
            clips.append((f"{name}: {task}", path, apex))
    return clips, filmed + manifest["task"].nunique()


def _still(path: str | Path, number: int) -> RGB:
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == number:
                return frame.to_ndarray(format="rgb24")
    raise ValueError(f"{path} ends before frame {number}")


def _captioned(still: RGB, caption: str, width: int) -> RGB:
    height = round(still.shape[0] * width / still.shape[1])
    picture = cv2.resize(still, (width, height), interpolation=cv2.INTER_AREA)
    bar = np.full((BAR, width, 3), PAPER, np.uint8)
    cv2.putText(bar, caption, (2, BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return np.vstack([picture, bar])
