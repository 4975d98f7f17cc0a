"""Recordings of virtual patients: a real video or photograph of each task, and the truth about every frame of it."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceneuro.cohorts.virtual.heads import EYE_FRONT, LID_MARGINS, LIPS, Heads
from faceneuro.cohorts.virtual.identity import identity_of
from faceneuro.cohorts.virtual.motion import perform
from faceneuro.cohorts.virtual.patients import Patient, clip_name, stream
from faceneuro.cohorts.virtual.render import Renderer
from faceneuro.cohorts.virtual.scene import scene_of
from faceneuro.features.points import BROW, CHIN, IRIS, LOWER_LID, LOWER_LIP, MOUTH_CORNER, UPPER_LID, UPPER_LIP
from faceneuro.files import replacing
from faceneuro.video.encoding import encode

POINTS = {
    "mouth_corner_left": (MOUTH_CORNER["left"], (10404,)),
    "mouth_corner_right": (MOUTH_CORNER["right"], (3736,)),
    "upper_lid_left": (UPPER_LID["left"], LID_MARGINS["Left"][:1]),
    "upper_lid_right": (UPPER_LID["right"], LID_MARGINS["Right"][:1]),
    "lower_lid_left": (LOWER_LID["left"], LID_MARGINS["Left"][1:]),
    "lower_lid_right": (LOWER_LID["right"], LID_MARGINS["Right"][1:]),
    "brow_left": (BROW["left"][0], (6981, 6998)),
    "brow_right": (BROW["right"][0], (206, 224)),
    "brow_medial_left": (BROW["left"][1], (6980,)),
    "brow_medial_right": (BROW["right"][1], (205,)),
    "brow_upper_left": (BROW["left"][2], (7004,)),
    "brow_upper_right": (BROW["right"][2], (231,)),
    "chin": (CHIN, (5296,)),
    "upper_lip": (UPPER_LIP, LIPS[:1]),
    "lower_lip": (LOWER_LIP, LIPS[1:]),
    "iris_left": (IRIS["left"], EYE_FRONT["Left"]),
    "iris_right": (IRIS["right"], EYE_FRONT["Right"]),
}
"""Followed points: the landmark of MediaPipe that stands for each, and the vertices of the published base mesh whose
mean it is. Left is the subject's left."""


def record_clip(heads: Heads, patient: Patient, task: str, cohort: Mapping, path: str | Path) -> list[dict]:
    """Film a patient carrying out a task, or photograph them at the apex of the movement.

    A photograph is the video's frame of the apex, untouched by its compression; no other frame is drawn.

    Parameters
    ----------
    heads
        The head model.
    patient, task
        Who does what.
    cohort
        Its block of the configuration; ``seed``, ``medium``, ``seconds``, ``confound`` and ``video`` (width, height,
        fps and, of a video, crf) are read.
    path
        Where the mp4 or the png will be; equal arguments give equal bytes.

    Returns
    -------
    The truth, one row per frame of the file: subject, clip, frame, time_s (None for a photograph), ``units`` (float32,
    shape (52,), order of :data:`~faceneuro.cohorts.virtual.heads.UNIT_NAMES`) and ``points`` (float32, x and y in
    pixels of each of :data:`POINTS` in turn, pixel centres at halves, shape (2 * n_points,)).

    Raises
    ------
    KeyError
        If there is no such task.
    """
    video = cohort["video"]
    motion = perform(patient, task, cohort["seconds"], video["fps"])
    units = motion.units
    renderer = _renderer(heads, patient, cohort["seed"], cohort["confound"], (video["height"], video["width"]))
    grain = stream(patient.seed, task, "grain").integers(0, 64, (len(motion.weights), 2)).tolist()
    vertices = [np.array([heads.numbered(number) for number in numbers]) for _, numbers in POINTS.values()]
    key = {"subject": patient.subject, "clip": clip_name(patient, task)}
    truth = []

    def draw(moment: int, number: int, time_s: float | None) -> npt.NDArray[np.uint8]:
        picture, projected = renderer.draw(motion.weights[moment], motion.pose[moment], tuple(grain[moment]))
        points = np.concatenate([projected[index].mean(axis=0) for index in vertices]).astype(np.float32)
        truth.append(key | {"frame": number, "time_s": time_s, "units": units[moment], "points": points})
        return picture

    if cohort["medium"] == "photographs":
        _write_png(path, draw(motion.apex, 0, None))
    else:
        pictures = (draw(number, number, number / video["fps"]) for number in range(len(motion.weights)))
        encode(path, pictures, fps=video["fps"], crf=video["crf"], preset="veryfast")
    return truth


def _write_png(path: str | Path, picture: npt.NDArray[np.uint8]) -> None:
    with replacing(path) as part:
        part.write_bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])


@lru_cache(maxsize=2)
def _renderer(heads: Heads, patient: Patient, seed: int, confound: float, size: tuple[int, int]) -> Renderer:
    """Kept for the next task: a patient's clips are recorded one after the other, and the person takes longest."""
    cohort = {"seed": seed, "confound": confound, "video": {"height": size[0], "width": size[1]}}
    return Renderer(heads.masks, identity_of(heads, patient), scene_of(patient, cohort), size)
