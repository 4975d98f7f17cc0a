"""A sheet of stills from recordings: patients in rows, rest and apex of their tasks side by side."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

RGB = npt.NDArray[np.uint8]

GAP, BAR = 6, 26
PAPER, INK = (255, 255, 255), (52, 56, 60)


def contact_sheet(
    clips: Sequence[tuple[str, str | Path, int | None]], columns: int | None = None, width: int = 320
) -> RGB:
    """Stills from video files with their captions.

    Parameters
    ----------
    clips
        Caption, path of the video, and the number of the frame, or None for the frame of the strongest movement.
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
        If there are no clips, or a video ends before the wanted frame.
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


def stills_of(manifest: pd.DataFrame, patients: int = 6) -> tuple[list[tuple[str, str, int | None]], int]:
    """Choose what a cohort's sheet shows: a row per patient, at rest and at the apex of every task.

    Parameters
    ----------
    manifest
        Rows of :data:`faceneuro.tables.MANIFEST`.
    patients
        How many, from the first.

    Returns
    -------
    Clips and columns for :func:`contact_sheet`.
    """
    shown = manifest[manifest["subject"].isin(manifest["subject"].unique()[:patients])]
    clips = []
    for subject, rows in shown.groupby("subject", sort=False):
        clips.append((f"{subject}, {rows['group'].iloc[0]}: rest", rows["path"].iloc[0], 0))
        clips += [(f"{subject}: {task}", path, None) for task, path in zip(rows["task"], rows["path"], strict=True)]
    return clips, 1 + manifest["task"].nunique()


def _still(path: str | Path, number: int | None) -> RGB:
    with av.open(str(path)) as container:
        frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        if number is None:
            return _apex(list(frames))
        for index, frame in enumerate(frames):
            if index == number:
                return frame
    raise ValueError(f"{path} ends before frame {number}")


def _apex(frames: list[RGB]) -> RGB:
    """The frame in which the face is furthest from the first ones, where it is at rest.

    Each frame is laid over the rest first, or the sway of the head would count for more than a closed eye. A running
    median leaves out blinks, which are shorter than any movement that is asked for.
    """
    small = [cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), None, fx=0.25, fy=0.25) for frame in frames]
    small = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1) for image in small]
    rest = np.mean(small[:5], axis=0)
    moved = np.array([_change(rest, image) for image in small])
    around = np.lib.stride_tricks.sliding_window_view(np.pad(moved, 4, mode="edge"), 9)
    return frames[int(np.argmax(np.median(around, axis=1)))]


def _change(rest: npt.NDArray[np.float32], image: npt.NDArray[np.float32]) -> float:
    """Mean difference in the hundredth of the picture that differs most, after removal of shift and rotation."""
    warp, stop = np.eye(2, 3, dtype=np.float32), (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 1e-3)
    # A picture that cannot be laid over the rest is compared as it is.
    with suppress(cv2.error):
        _, warp = cv2.findTransformECC(rest, image, warp, cv2.MOTION_EUCLIDEAN, stop)
    laid_over = cv2.warpAffine(image, warp, rest.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    # The border of the picture has nothing to be compared with.
    margin = rest.shape[0] // 16
    difference = np.sort(np.abs(laid_over - rest)[margin:-margin, margin:-margin], axis=None)
    return float(difference[-difference.size // 100 :].mean())


def _captioned(still: RGB, caption: str, width: int) -> RGB:
    height = round(still.shape[0] * width / still.shape[1])
    picture = cv2.resize(still, (width, height), interpolation=cv2.INTER_AREA)
    bar = np.full((BAR, width, 3), PAPER, np.uint8)
    cv2.putText(bar, caption, (2, BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return np.vstack([picture, bar])
