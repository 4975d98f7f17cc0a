"""Hair: a hairline, a scalp raised by short hair, and a curtain of long hair round the head."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from faceneuro.cohorts.virtual.heads import Array
from faceneuro.cohorts.virtual.paint import AXIS, EYE_HEIGHT, SIZE, blend, linear, pick, ramp, smooth_noise
from faceneuro.cohorts.virtual.patients import Patient

COLOURS = {
    "african": [(26, 21, 19), (36, 27, 22)],
    "asian": [(26, 22, 21), (42, 32, 27)],
    "caucasian": [(46, 33, 24), (78, 54, 37), (112, 82, 54), (146, 114, 78), (62, 40, 27)],
}
GREY = (158, 154, 150)
CURTAIN_SIZE = 512
"""Side of the texture of long hair."""

ACROSS, DOWN = 61, 29
"""Vertices of long hair round the head and along its fall."""

BLANK = np.zeros((2, 2, 4), np.float32)
"""The texture of no long hair."""

KNOTS = np.float32([0, 24, 44, 58, 66, 74, 82, 112, 128]) * np.pi / 180
"""Angles from the middle of the forehead at which the hairline is given."""


@dataclass(frozen=True, eq=False)
class Hair:
    """One head of hair.

    Attributes
    ----------
    line
        Height of the hairline above the eyes in dm at :data:`KNOTS`, shape (9,).
    thickness
        Of the hair on the scalp in dm.
    parting
        Distance of the parting from the middle, to the left, in dm; NaN without one.
    length
        How far below the eyes long hair hangs in dm; 0 for short or tied hair.
    colour, brows
        Linear colours, shape (3,).
    stubble
        Density of the beard shadow, 0 to 1.
    """

    line: Array
    thickness: float
    parting: float
    length: float
    colour: Array
    brows: Array
    stubble: float

    def above_line(self, angle: Array, height: Array) -> Array:
        """Signed distance above the hairline in dm, at angles round the head and heights."""
        return (height - EYE_HEIGHT - np.interp(np.abs(angle), KNOTS, self.line)).astype(np.float32)

    def raised(self, angle: Array, height: Array) -> Array:
        """How far the hair stands off the scalp in dm; it rises slowly from the hairline."""
        share = np.clip(self.above_line(angle, height) / 0.5, 0, 1)
        return self.thickness * np.sin(share * np.pi / 2)


def grow_hair(patient: Patient, ancestry: Mapping[str, float], rng: np.random.Generator) -> Hair:
    """Hair of a natural colour that greys with age; hairlines of men recede."""
    grey = float(np.clip((patient.age - 52) / 34 + rng.normal(0, 0.25), 0, 0.95))
    natural = linear(pick(COLOURS, ancestry, rng))
    colour = natural * (1 - grey) + linear(GREY) * rng.uniform(0.75, 1.1) * grey
    male = patient.sex == "male"
    receding = float(np.clip(rng.normal(0.4, 0.4) * (patient.age - 20) / 50, 0, 1.2)) if male else 0.0
    front = (0.68 if male else 0.62) + rng.normal(0, 0.03)
    line = [front, front + 0.02, front - 0.06, 0.42, 0.27, 0.02 if male else 0.12, 0.2, 0.14, -0.5]
    line = np.float32(line) + receding * np.float32([0.14, 0.3, 0.3, 0.16, 0.06, 0, 0, 0, 0])
    tied, hanging, aside = rng.random(), rng.choice([0.75, 0.95, 1.25, 1.55]), rng.normal(0, 0.15)
    thickness = float(np.clip(rng.normal(0.085, 0.025), 0.03, 0.14)) * (1 - 0.4 * min(receding, 1))
    return Hair(
        line=line,
        thickness=thickness if male else max(thickness, 0.09),
        parting=float("nan") if male or tied < 0.2 else aside,
        length=0.0 if male or tied < 0.2 else float(hanging),
        colour=colour.astype(np.float32),
        brows=(natural * 0.6 * (1 - 0.6 * grey) + linear(GREY) * 0.36 * grey).astype(np.float32),
        stubble=float(np.clip(rng.normal(0.3, 0.3), 0, 1)) if male else 0.0,
    )


def paint_scalp(
    skin: Array, gloss: Array, hair: Hair, angle: Array, position: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Skin and gloss, shapes (SIZE, SIZE, 3) and (SIZE, SIZE), with the scalp hair painted over them."""
    strands = _strands(rng, SIZE)
    edge = 0.02 * smooth_noise(rng, 1.5) + 0.015 * strands + 0.012 * smooth_noise(rng, 14)
    above = hair.above_line(angle, position[..., 1])
    # Long hair is combed back from its line, short hair stands up from it.
    growth = ramp(above + edge, 0.06 if hair.length else 0.10)
    growth[over_ears(position)] = 0
    # Where the hair begins, and through short hair everywhere, skin shows between it.
    dense = np.clip(above / (0.05 if hair.length else 0.15), 0, 1) * np.clip(hair.thickness / 0.07, 0, 1)
    growth *= 1 - (1 - 0.8 * dense) * np.clip(0.1 - 0.14 * smooth_noise(rng, 1.5), 0, 0.35)
    parted = np.nan_to_num(np.exp(-(((position[..., 0] - hair.parting) / 0.010) ** 2)))
    growth *= 1 - 0.45 * parted * np.clip(above / 0.1, 0, 1) * (np.abs(angle) < np.pi / 2)
    locks = hair.colour * np.clip(1 + 0.26 * strands, 0.35, 1.9)[..., None]
    return blend(skin, locks, growth), gloss * (1 - growth) + growth * np.clip(0.22 + 0.12 * strands, 0, 1)


def over_ears(position: Array) -> Array:
    """Which points, shape (..., 3), belong to the ears."""
    return (np.abs(position[..., 0]) > 0.70) & (position[..., 1] < 7.46)


def curtain(hair: Hair, rng: np.random.Generator) -> tuple[Array, Array, Array, Array]:
    """Long hair, which hangs round the head from one temple over the back to the other.

    Returns
    -------
    vertices, uv, triangles, texture
        Shapes (n, 3) in dm, (n, 2) in texels, (m, 3) and (h, w, 4); n and m are 0 for short hair.
    """
    if not hair.length:
        return np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32), np.zeros((0, 3), np.int32), BLANK
    turn, fall = np.meshgrid(np.linspace(-1, 1, ACROSS), np.linspace(0, 1, DOWN))
    # The front edge follows the temple, frames the cheek and swings back in.
    front = np.radians(_curve(fall, [0, 0.25, 0.6, 1], [34, 50, 56, 50])) + 0.03 * rng.normal()
    angle = np.pi + turn * (np.pi - front)
    ragged = 0.05 * np.cumsum(rng.normal(0, 0.4, ACROSS))
    height = EYE_HEIGHT + 0.62 - fall * (0.62 + hair.length + ragged - ragged.mean())

    # Near its front edge the hair lies close to the face and shows its side; farther back it covers the ears.
    close = _curve(fall, [0, 0.2, 0.5, 1], [0.92, 0.94, 0.97, 0.95])
    beside = _curve(fall, [0, 0.2, 0.4, 0.75, 1], [0.92, 1.12, 1.24, 1.23, 1.12 + 0.08 * rng.normal()])
    open_out = np.sin(np.clip((1 - np.abs(turn)) * (np.pi - front) / 0.75, 0, 1) * np.pi / 2)
    waves = sum(size * np.sin(count * turn + rng.uniform(0, 6)) for count, size in ((5, 0.02), (11, 0.012)))
    skull = 1 / np.hypot(np.sin(angle) / 0.78, np.cos(angle) / np.where(np.cos(angle) > 0, 0.92, 1.08))
    outside = skull * (close + open_out * (beside - close)) * (1 + waves * fall)
    inside = outside - 0.012 - 0.09 * open_out

    sheets = [
        np.stack([reach * np.sin(angle), height, AXIS + reach * np.cos(angle)], axis=-1) for reach in (outside, inside)
    ]
    uv = np.tile(np.stack([(turn + 1) / 2, fall], axis=-1).reshape(-1, 2) * CURTAIN_SIZE, (2, 1))
    strands = _strands(rng, CURTAIN_SIZE)
    colour = hair.colour * np.clip(1 + 0.28 * strands, 0.3, 1.9)[..., None]
    texture = np.dstack([colour, np.clip(0.25 + 0.15 * strands, 0, 1)])
    return (
        np.stack(sheets).reshape(-1, 3).astype(np.float32),
        uv.astype(np.float32),
        _two_sheets().astype(np.int32),
        texture.astype(np.float32),
    )


def _two_sheets() -> np.ndarray:
    """Triangles of an outer and an inner sheet of DOWN by ACROSS vertices, joined along their two front edges."""
    number = np.arange(2 * DOWN * ACROSS).reshape(2, DOWN, ACROSS)
    outer = _strip(number[0, 1:, :].T, number[0, :-1, :].T)
    inner = _strip(number[1, :-1, :].T, number[1, 1:, :].T)
    edges = [_strip(number[0, ::-1, 0], number[1, ::-1, 0]), _strip(number[0, :, -1], number[1, :, -1])]
    return np.concatenate([outer, inner, *edges])


def _curve(at: Array, knots: list[float], values: list[float]) -> Array:
    """A smooth curve through points, without overshoot."""
    return PchipInterpolator(knots, values)(at)


def _strip(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Triangles between rows of vertices; the first axis runs along the rows."""
    corners = one[:-1], one[1:], other[:-1], other[1:]
    a, b, c, d = (corner.ravel() for corner in corners)
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)])


def _strands(rng: np.random.Generator, size: int) -> Array:
    """Noise drawn out along the hair, which falls from the crown, shape (size, size)."""
    parts = []
    for width, share in ((1.5, 0.6), (4, 0.45), (16, 0.4)):
        narrow = smooth_noise(rng, width, (max(size // 48, 4), size))
        parts.append(share * cv2.resize(narrow, (size, size), interpolation=cv2.INTER_CUBIC))
    return sum(parts)
