"""Where a virtual patient is filmed: camera, light, background and sensor noise. Nothing here is a sign."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from faceneuro.cohorts.virtual.heads import Array
from faceneuro.cohorts.virtual.paint import linear
from faceneuro.cohorts.virtual.patients import Patient, stream

SETTINGS = (
    "distance", "view", "across", "up", "azimuth", "elevation", "strength", "warmth", "fill", "exposure", "noise",
    "wall", "shade", "decor",
)  # fmt: skip
"""What varies between recordings; each is drawn as a number between 0 and 1."""

WALLS = [(196, 200, 202), (206, 198, 184), (168, 182, 188), (150, 164, 150), (120, 128, 138), (186, 172, 166)]


@dataclass(frozen=True)
class Scene:
    """A recording set-up.

    Attributes
    ----------
    distance, view
        From the camera to the head, and the height of the picture there, in dm.
    offset
        Of the head from the middle of the picture, to the left and up, in dm.
    key, key_colour, sky, ground
        Unit vector to the main light, its linear colour, and the light from above and from below, shape (3,) each.
    background
        Linear colours, float32, shape (height, width, 3).
    tone
        8-bit value of linear light from 0 to 1, float32, shape (n,).
    noise
        A tile of sensor noise in 8-bit units, float32, 64 rows and columns larger than the picture.
    """

    distance: float
    view: float
    offset: tuple[float, float]
    key: Array
    key_colour: Array
    sky: Array
    ground: Array
    background: Array
    tone: Array
    noise: Array


def settings_of(patient: Patient, cohort: Mapping) -> dict[str, float]:
    """The settings of a patient's recordings, each between 0 and 1.

    With ``confound`` 0 they are the patient's own and tell nothing of the group. Above 0 they are drawn towards those
    of a recording site that belongs to the group; at 1 every group has its own site.
    """
    own = stream(patient.seed, "scene").random(len(SETTINGS))
    site = stream(cohort["seed"], "site", patient.group).random(len(SETTINGS))
    share = cohort["confound"]
    return dict(zip(SETTINGS, ((1 - share) * own + share * site).tolist(), strict=True))


def scene_of(patient: Patient, cohort: Mapping) -> Scene:
    """The set-up in which a patient is filmed, the same for all tasks."""
    height, width = cohort["video"]["height"], cohort["video"]["width"]
    drawn = settings_of(patient, cohort)

    def between(name: str, low: float, high: float) -> float:
        return low + (high - low) * drawn[name]

    azimuth, elevation = between("azimuth", -0.9, 0.9), between("elevation", 0.25, 0.85)
    key = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    warm = np.array([1.0, between("warmth", 1.0, 0.86), between("warmth", 1.02, 0.70)])
    cool = np.array([between("warmth", 0.92, 1.0), 0.98, between("warmth", 1.08, 0.98)])
    fill = between("fill", 0.30, 0.55)
    return Scene(
        distance=between("distance", 7.5, 11.0),
        view=between("view", 2.85, 3.35),
        offset=(between("across", -0.12, 0.12), between("up", -0.22, 0.0)),
        key=key.astype(np.float32),
        key_colour=(warm * between("strength", 0.70, 0.95)).astype(np.float32),
        sky=(cool * fill).astype(np.float32),
        ground=(warm * fill * 0.55).astype(np.float32),
        background=_background(drawn, (height, width), stream(int(drawn["decor"] * 2**31), "decor")),
        tone=_tone_curve(between("exposure", 0.9, 1.15)),
        noise=_noise(between("noise", 1.0, 3.0), (height, width), stream(patient.seed, "noise")),
    )


def _background(drawn: Mapping[str, float], shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """A wall with one or two things out of focus, brighter on the side of the light, darker in the corners."""
    height, width = shape
    wall = linear(WALLS[min(int(drawn["wall"] * len(WALLS)), len(WALLS) - 1)]) * (0.35 + 0.45 * drawn["shade"])
    picture = np.broadcast_to(wall, (height, width, 3)).copy()
    for _ in range(rng.integers(0, 3)):
        x, y = rng.uniform(-0.1, 1.0) * width, rng.uniform(-0.3, 0.6) * height
        corner = (int(x + rng.uniform(0.15, 0.4) * width), int(y + rng.uniform(0.3, 0.9) * height))
        colour = (wall * rng.uniform(0.45, 1.35) * rng.uniform(0.95, 1.05, 3)).tolist()
        cv2.rectangle(picture, (int(x), int(y)), corner, colour, -1)
    if rng.random() < 0.4:
        edge = int(rng.uniform(0.05, 0.95) * width)
        folds = 1 + 0.18 * np.sin(np.arange(width) / width * rng.uniform(60, 110))
        curtain = slice(0, edge) if edge < width / 2 else slice(edge, width)
        picture[:, curtain] = wall * rng.uniform(0.6, 1.1) * rng.uniform(0.94, 1.06, 3) * folds[curtain, None]
    picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), width / 64)
    row, column = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    falling = 1 + 0.25 * (drawn["azimuth"] - 0.5) * -2 * column - 0.12 * row
    vignette = 1 - 0.16 * (row**2 + column**2)
    return (picture * (falling * vignette)[..., None]).astype(np.float32)


def _tone_curve(exposure: float) -> Array:
    """Linear light to 8-bit sRGB with a soft shoulder, so that highlights do not clip."""
    light = exposure * np.linspace(0, 1, 4096)
    soft = np.where(light < 0.6, light, 0.6 + 0.4 * (1 - np.exp(-(light - 0.6) / 0.4)))
    srgb = np.where(soft <= 0.0031308, 12.92 * soft, 1.055 * soft ** (1 / 2.4) - 0.055)
    return (255 * srgb).astype(np.float32)


def _noise(sigma: float, shape: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Noise that is a little smooth, as left by a sensor's demosaicing."""
    tile = cv2.GaussianBlur(rng.standard_normal((shape[0] + 64, shape[1] + 64), np.float32), (0, 0), 0.6)
    return (sigma * tile / tile.std() + 0.5).astype(np.float32)
