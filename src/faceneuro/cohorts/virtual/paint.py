"""What painting a head needs: the cylinder that skin is painted on, colours, noise and soft shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from faceneuro.cohorts.virtual.heads import BODY, Array, Heads
from faceneuro.cohorts.virtual.rasterise import visibility

SIZE = 768
"""Side of the skin texture; one texel is about two thirds of a pixel of the picture."""

HALF_TURN, BOTTOM, TOP, AXIS = 2.0, 5.2, 8.6, 0.35
"""The cylinder stands on the vertical axis z = AXIS: angle -HALF_TURN to HALF_TURN, height BOTTOM to TOP in dm."""

EYE_HEIGHT = 7.29
"""Height of the eyes of the average head in dm."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """Where on the average head each texel of the skin lies.

    Attributes
    ----------
    position
        In dm, shape (SIZE, SIZE, 3).
    angle
        Round the axis, 0 in front, positive to the subject's left, shape (SIZE, SIZE).
    """

    position: Array
    angle: Array

    def texel(self, x: float, y: float) -> tuple[float, float]:
        """Texel (column, row) of a point on the front of the face, in dm."""
        row = (TOP - y) / (TOP - BOTTOM) * SIZE
        front = slice(SIZE // 8, SIZE - SIZE // 8)
        column = np.interp(x, self.position[int(np.clip(row, 0, SIZE - 1)), front, 0], np.arange(SIZE)[front])
        return float(column), row

    def patch(self, x: float, y: float, width: float, height: float) -> Array:
        """A soft patch of peak 1, on both sides of the face, shape (SIZE, SIZE); lengths in dm."""
        across = (np.abs(self.position[..., 0]) - x) / width
        return np.exp(-(across**2) - ((self.position[..., 1] - y) / height) ** 2)

    def lines(self, curves: list[tuple[Array, Array, float]], blur: float) -> Array:
        """Curves (xs and ys in dm, strength 0 to 1) as a soft mask of peak about 1, shape (SIZE, SIZE)."""
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for xs, ys, strength in curves:
            points = np.array([self.texel(x, y) for x, y in zip(xs, ys, strict=True)])
            layer = np.zeros_like(mask)
            cv2.polylines(layer, [np.int32(points * 16)], False, int(255 * min(strength, 1)), 1, cv2.LINE_AA, 4)
            np.maximum(mask, layer, out=mask)
        return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), blur) * 2


def on_cylinder(points: Array) -> tuple[Array, Array, Array]:
    """Angle, column and row on the cylinder of points in dm; shape (n,) each."""
    angle = np.arctan2(points[:, 0], points[:, 2] - AXIS)
    return angle, (angle / HALF_TURN + 1) / 2 * SIZE, (TOP - points[:, 1]) / (TOP - BOTTOM) * SIZE


@lru_cache(maxsize=2)
def canvas(heads: Heads) -> Canvas:
    """The average head unrolled."""
    head = heads.canonical
    column, row = (part.astype(np.float32) for part in on_cylinder(head)[1:])
    radius = np.hypot(head[:, 0], head[:, 2] - AXIS).astype(np.float32)
    # Triangles across the seam at the back of the head would be smeared over the whole face.
    body = heads.triangles[heads.material == BODY]
    body = np.ascontiguousarray(body[np.ptp(column[body], axis=1) < SIZE / 4])
    depth, index = np.empty((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.int32)
    visibility(column, row, radius + np.float32(0.01), body, True, depth, index)
    across = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    angle, height = np.meshgrid((2 * across - 1) * HALF_TURN, TOP - across * (TOP - BOTTOM))
    reach = np.where(index >= 0, depth - 0.01, 0.75)
    position = np.stack([reach * np.sin(angle), height, AXIS + reach * np.cos(angle)], axis=-1)
    return Canvas(position.astype(np.float32), angle.astype(np.float32))


def linear(colour) -> Array:
    """Linear light of an sRGB colour given in 8-bit values."""
    value = np.asarray(colour, np.float32) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def pick(choices: Mapping[str, list], shares: Mapping[str, float], rng: np.random.Generator) -> tuple:
    """One of the choices of a key that is drawn in proportion to its share."""
    options = choices[list(shares)[rng.choice(len(shares), p=list(shares.values()))]]
    return options[rng.integers(len(options))]


def smooth_noise(rng: np.random.Generator, scale: float, shape: tuple[int, int] = (SIZE, SIZE)) -> Array:
    """Random field of unit variance that varies over about ``scale`` texels."""
    coarse = rng.standard_normal((max(2, int(shape[0] / scale) + 2), max(2, int(shape[1] / scale) + 2)), np.float32)
    field = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return field / field.std()


def ramp(value: Array, width: float) -> Array:
    """0 below zero to 1 above, smooth over ``width``."""
    return 1 / (1 + np.exp(np.clip(-4 * value / width, -30, 30)))


def blend(below: Array, above: Array, share: Array) -> Array:
    """``above`` laid over ``below`` (shape (..., 3)) with a share between 0 and 1 (shape (...))."""
    return below + share[..., None] * (above - below)
