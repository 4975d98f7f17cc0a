"""Recordings of virtual patients: a real video of each task, and the truth about every frame of it."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceneuro.cohorts.virtual.heads import EYE_FRONT, LID_MARGINS, LIPS, Heads
from faceneuro.cohorts.virtual.identity import Identity, identity_of
from faceneuro.cohorts.virtual.motion import perform
from faceneuro.cohorts.virtual.patients import Patient, clip_of, stream
from faceneuro.cohorts.virtual.render import Renderer
from faceneuro.cohorts.virtual.scene import scene_of
from faceneuro.features.points import BROW, CHIN, IRIS, LOWER_LID, LOWER_LIP, MOUTH_CORNER, UPPER_LID, UPPER_LIP
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


def record_clip(
    heads: Heads, patient: Patient, task: str, cohort: Mapping, path: str | Path
) -> tuple[dict, list[dict]]:
    """Film a patient carrying out a task.

    Parameters
    ----------
    heads
        The head model.
    patient, task
        Who does what.
    cohort
        Its block of the configuration; ``seed``, ``seconds``, ``confound`` and ``video`` (width, height, fps and crf)
        are read.
    path
        Where the mp4 will be; equal arguments give equal bytes.

    Returns
    -------
    clip
        Fields of the manifest: subject, clip, task, group, severity, side, age, sex, source, kind, path, and fps.
    truth
        One row per frame: subject, clip, frame, time_s, ``units`` (float32, shape (52,), order of
        :data:`~faceneuro.cohorts.virtual.heads.UNIT_NAMES`) and ``points`` (float32, x and y in pixels of each of
        :data:`POINTS` in turn, pixel centres at halves, shape (2 * n_points,)).

    Raises
    ------
    KeyError
        If there is no such task.
    """
    clip = clip_of(patient, task)
    fps = cohort["video"]["fps"]
    motion = perform(patient, task, cohort["seconds"], fps)
    renderer = _renderer(heads, patient, cohort)
    vertices = [np.array([heads.numbered(number) for number in numbers]) for _, numbers in POINTS.values()]
    truth = []

    def pictures() -> Iterator[npt.NDArray[np.uint8]]:
        grain = stream(patient.seed, task, "grain")
        for number, (weights, pose, units) in enumerate(zip(motion.weights, motion.pose, motion.units, strict=True)):
            picture, projected = renderer.draw(weights, pose, tuple(grain.integers(0, 64, 2).tolist()))
            points = np.concatenate([projected[index].mean(axis=0) for index in vertices])
            key = {"subject": patient.subject, "clip": clip["clip"], "frame": number, "time_s": number / fps}
            truth.append(key | {"units": units, "points": points.astype(np.float32)})
            yield picture

    encode(path, pictures(), fps=fps, crf=cohort["video"]["crf"], preset="veryfast")
    return clip | {"kind": "video", "path": str(path), "fps": float(fps)}, truth


def _renderer(heads: Heads, patient: Patient, cohort: Mapping) -> Renderer:
    size = cohort["video"]["height"], cohort["video"]["width"]
    return Renderer(heads.masks, _person(heads, patient), scene_of(patient, cohort), size)


@lru_cache(maxsize=2)
def _person(heads: Heads, patient: Patient) -> Identity:
    """Kept for the next task: a patient's clips are recorded one after the other."""
    return identity_of(heads, patient)
