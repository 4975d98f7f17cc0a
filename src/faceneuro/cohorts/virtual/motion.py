"""How a patient carries out a task: facial units and head pose over time. The clinical signs act here."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceneuro.cohorts.virtual.heads import UNIT_NAMES, Array
from faceneuro.cohorts.virtual.patients import Patient, stream
from faceneuro.cohorts.virtual.signs import Signs
from faceneuro.cohorts.virtual.tasks import TASKS, Task

LEFT, RIGHT = 0, 1
BASELINE = 0.25
"""Seconds of rest before the instruction, never fewer than :data:`BASELINE_FRAMES` frames."""

BASELINE_FRAMES = 6
SIDED = {name: LEFT if name.endswith("Left") else RIGHT for name in UNIT_NAMES if name.endswith(("Left", "Right"))}
SIDED = {name: side for name, side in SIDED.items() if name not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight")}
"""Units of one side of the face; the others act on both (a jaw or mouth shift has a direction, not a side)."""

GESTURE_UNITS = [k for k, name in enumerate(UNIT_NAMES) if not name.startswith("eyeLook")]
"""Places of the units that gestures, blinks and signs drive; the others are the gaze."""


@dataclass(frozen=True)
class Motion:
    """A performance, frame by frame.

    Attributes
    ----------
    weights
        Facial units on the left and the right half of the face, shape (n_frames, 52, 2). A unit of one side has its
        weight in both columns.
    pose
        Yaw, pitch, roll in radians and the shift of the head to the left, up and forward in dm, shape (n_frames, 6).
    apex
        The frame in which the face is furthest from rest.
    """

    weights: Array
    pose: Array
    apex: int

    @property
    def units(self) -> Array:
        """Weight of each unit, the mean of both halves of the face, shape (n_frames, 52)."""
        return self.weights.mean(axis=2)


def minimum_jerk(share):
    """Position of a movement of minimum jerk, from 0 at share 0 to 1 at share 1 of its duration.

    References
    ----------
    Flash and Hogan, "The coordination of arm movements", J Neurosci 1985.
    """
    share = np.clip(share, 0, 1)
    return share**3 * (10 - 15 * share + 6 * share**2)


def perform(patient: Patient, task: str, seconds: float, fps: float) -> Motion:
    """Carry out a task.

    Parameters
    ----------
    patient
        Signs shape the movement; chance (timing, blinks, head motion) comes from the patient's seed and the task.
    task
        A key of :data:`~faceneuro.cohorts.virtual.tasks.TASKS`.
    seconds, fps
        Length and frame rate of the clip.
    """
    times = np.arange(round(seconds * fps)) / fps
    signs = patient.signs
    asked = TASKS[task]
    start = max(BASELINE, BASELINE_FRAMES / fps)
    voluntary = np.zeros((len(times), len(UNIT_NAMES), 2))
    for envelope, gesture in _movements(asked, signs, times, start, seconds, stream(patient.seed, task, "timing")):
        for name, weight in gesture.items():
            column = UNIT_NAMES.index(name)
            for side in _sides(name):
                voluntary[:, column, side] += envelope * weight * _scale(name, side, signs)
    weights = voluntary + _resting(signs)
    _add_synkinesis(weights, voluntary, signs)
    _add_deviation(weights, voluntary, signs)
    _add_gaze(weights, times, stream(patient.seed, task, "gaze"))
    _add_blinks(weights, times, start, signs, stream(patient.seed, task, "blinks"))
    for name, side in SIDED.items():
        column = UNIT_NAMES.index(name)
        weights[:, column, 1 - side] = weights[:, column, side]
    effort = np.abs(voluntary).sum(axis=(1, 2))
    apex = int(np.median(np.flatnonzero(effort >= 0.97 * effort.max()))) if effort.any() else len(times) // 2
    pose = _head_pose(times, stream(patient.seed, task, "pose"), stream(patient.seed, "posture"))
    return Motion(np.clip(weights, 0, 1.25).astype(np.float32), pose.astype(np.float32), apex)


def _sides(name: str) -> tuple[int, ...]:
    return (SIDED[name],) if name in SIDED else (LEFT, RIGHT)


def _scale(name: str, side: int, signs: Signs) -> float:
    """What the signs leave of a unit's weight."""
    if name.startswith("jaw"):
        return signs.reach
    if name.startswith("brow"):
        return signs.brow[side] * signs.expressivity
    if name == f"eyeBlink{'Left' if side == LEFT else 'Right'}":
        return min(signs.eye[side], 1.0)
    if name.startswith(("eye", "cheekSquint")):
        return signs.eye[side] * signs.expressivity
    return signs.mouth[side] * signs.reach


def _movements(
    task: Task, signs: Signs, times: np.ndarray, start: float, end: float, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, dict]]:
    """The envelope over time, 0 to 1, and the gesture of each movement in turn."""
    onset = start + signs.delay
    ramp = task.ramp / signs.speed
    if not task.rate:
        release = max(onset + ramp, end - 0.1 - 0.8 * ramp)
        yield minimum_jerk((times - onset) / ramp) * (1 - minimum_jerk((times - release) / ramp)), task.gestures[0]
        return
    reach = 1.0
    for turn in range(int(np.ceil(end * task.rate * 2))):
        period = max(0.4, 1 + signs.irregularity * rng.normal()) / (task.rate * signs.speed)
        up = min(ramp, 0.45 * period)
        if turn and onset + 2 * up > end:
            return
        release = onset + 0.92 * period - up
        size = reach * (1 + 0.04 * rng.normal())
        gesture = task.gestures[turn % len(task.gestures)]
        yield size * minimum_jerk((times - onset) / up) * (1 - minimum_jerk((times - release) / up)), gesture
        # A syllable tires less than a full movement of the mouth.
        reach *= 1 - signs.fatigue * min(1.0, 2.5 / task.rate)
        onset += period * (1 + 0.5 * (1 - reach))


def _resting(signs: Signs) -> np.ndarray:
    """The face without effort: a weak side hangs, shape (52, 2)."""
    weights = np.zeros((len(UNIT_NAMES), 2))
    for side, word in enumerate(("Left", "Right")):
        for name, share in (("mouthFrown", 0.65), ("browDown", 0.4), ("eyeWide", 0.2)):
            weights[UNIT_NAMES.index(f"{name}{word}"), side] = share * signs.droop[side]
    # The healthy side pulls the mouth over.
    pull = signs.droop[RIGHT] - signs.droop[LEFT]
    weights[UNIT_NAMES.index("mouthLeft" if pull > 0 else "mouthRight")] = 0.28 * abs(pull)
    return weights


def _add_synkinesis(weights: np.ndarray, voluntary: np.ndarray, signs: Signs) -> None:
    """Closing the eye moves the mouth, and moving the mouth closes the eye; changes ``weights``."""
    mouth = [k for k, name in enumerate(UNIT_NAMES) if name.startswith("mouth")]
    for side, word in enumerate(("Left", "Right")):
        blink, smile = UNIT_NAMES.index(f"eyeBlink{word}"), UNIT_NAMES.index(f"mouthSmile{word}")
        of_mouth = np.clip(voluntary[:, mouth, side].max(axis=1, initial=0), 0, 1)
        weights[:, blink, side] += signs.synkinesis[side] * of_mouth
        weights[:, smile, side] += 0.7 * signs.synkinesis[side] * voluntary[:, blink, side]


def _add_deviation(weights: np.ndarray, voluntary: np.ndarray, signs: Signs) -> None:
    """While the mouth works, it is drawn to the stronger side; changes ``weights``."""
    mouth = [k for k, name in enumerate(UNIT_NAMES) if name.startswith("mouth")]
    working = np.clip(voluntary[:, mouth].max(axis=(1, 2), initial=0), 0, 1)
    pull = signs.mouth[LEFT] - signs.mouth[RIGHT]
    weights[:, UNIT_NAMES.index("mouthLeft" if pull > 0 else "mouthRight")] += 0.25 * abs(pull) * working[:, None]


def _add_gaze(weights: np.ndarray, times: np.ndarray, rng: np.random.Generator) -> None:
    """Small glances about the camera; changes ``weights``."""
    count = 8 + int(3 * times[-1])
    jumps = np.cumsum(rng.exponential(0.9, count))
    across, up = rng.normal(0, 0.07, (2, count + 1))
    glance = np.searchsorted(jumps, times)
    since = times - np.concatenate([[-1.0], jumps])[glance]
    arrived = minimum_jerk(since / 0.06)
    before = np.maximum(glance - 1, 0)
    across = across[before] + arrived * (across[glance] - across[before])
    up = up[before] + arrived * (up[glance] - up[before])
    for side, word in enumerate(("Left", "Right")):
        outwards = across if side == LEFT else -across
        for name, value in (("Out", outwards), ("In", -outwards), ("Up", up), ("Down", -up)):
            weights[:, UNIT_NAMES.index(f"eyeLook{name}{word}"), side] += np.maximum(value, 0)


def _add_blinks(weights: np.ndarray, times: np.ndarray, start: float, signs: Signs, rng: np.random.Generator) -> None:
    """Spontaneous blinks after the baseline, quick to close and slower to open; changes ``weights``."""
    onsets = start + np.cumsum(rng.exponential(60 / signs.blinks, 8 + int(3 * times[-1])))
    for onset in onsets[onsets < times[-1]]:
        lids = minimum_jerk((times - onset) / 0.09) * (1 - minimum_jerk((times - onset - 0.12) / 0.16))
        for side, word in enumerate(("Left", "Right")):
            blink = weights[:, UNIT_NAMES.index(f"eyeBlink{word}"), side]
            np.maximum(blink, lids * min(signs.eye[side], 1.0), out=blink)


def _head_pose(times: np.ndarray, sway: np.random.Generator, posture: np.random.Generator) -> np.ndarray:
    """A posture kept by the person plus slow sway, shape (n_frames, 6); see :class:`Motion`."""
    spread = np.array([0.055, 0.04, 0.025, 0.04, 0.03, 0.05])
    pose = np.tile(posture.normal(0, spread), (len(times), 1))
    for frequency in (0.13, 0.31, 0.7):
        size = sway.normal(0, 0.35, 6) * spread * (0.13 / frequency) ** 0.6
        phase = sway.uniform(0, 2 * np.pi, 6)
        pose += size * np.sin(2 * np.pi * frequency * sway.uniform(0.8, 1.2, 6) * times[:, None] + phase)
    return pose
