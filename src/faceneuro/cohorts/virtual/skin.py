"""Skin, brows, shirt, eyes and teeth as textures."""

from collections.abc import Mapping

import cv2
import numpy as np

from faceneuro.cohorts.virtual.hair import Hair, paint_scalp
from faceneuro.cohorts.virtual.heads import Array
from faceneuro.cohorts.virtual.paint import EYE_HEIGHT, SIZE, Canvas, blend, linear, pick, ramp, smooth_noise
from faceneuro.cohorts.virtual.patients import Patient

EYE_SIZE, TEETH_SIZE = 192, 256
"""Sides of the textures of eyeball and teeth."""

IRIS = 0.45
"""Radius of the iris as a share of that of the eyeball: about 12 mm across in an eyeball of 24 mm."""

TONES = {"african": (122, 80, 58), "asian": (219, 176, 144), "caucasian": (229, 184, 162)}
EYES = {
    "african": [(58, 36, 22)],
    "asian": [(62, 40, 24), (76, 50, 30)],
    "caucasian": [(88, 62, 36), (84, 88, 62), (88, 108, 122), (104, 112, 116)],
}
CLOTHES = [(46, 58, 84), (92, 96, 102), (120, 44, 48), (58, 84, 72), (190, 186, 178), (40, 40, 44), (126, 112, 94)]


def skin_tone(ancestry: Mapping[str, float], rng: np.random.Generator) -> Array:
    """Linear colour of a person's skin, shape (3,)."""
    mixed = sum(share * linear(TONES[name]) for name, share in ancestry.items())
    return (mixed * np.exp(rng.normal(0, 0.10))).astype(np.float32)


def fairness(tone: Array) -> float:
    """0.1 dark to 1 fair."""
    return float(np.clip(tone.mean() / 0.5, 0.1, 1))


def paint_skin(
    canvas: Canvas, patient: Patient, tone: Array, hair: Hair, collar: float, rng: np.random.Generator
) -> Array:
    """Skin, brows, scalp and shirt: linear colour and gloss, shape (SIZE, SIZE, 4).

    Parameters
    ----------
    canvas
        The unrolled average head.
    patient
        For age and sex.
    tone, hair
        The person's.
    collar
        Height of the shirt's collar in dm.
    """
    x, y = canvas.position[..., 0], canvas.position[..., 1]
    age, fair = float(np.clip((patient.age - 30) / 50, 0, 1.2)), fairness(tone)
    mottle = 0.035 * smooth_noise(rng, 2) + 0.025 * smooth_noise(rng, 6) + 0.02 * smooth_noise(rng, 40)
    skin = tone * (1 + mottle * (0.8 + 0.4 * age))[..., None]

    # Blood shows where the skin is thin or full of vessels: cheeks, nose, chin, ears; its colour spares the red.
    flush = 0.8 * canvas.patch(0.42, 6.92, 0.2, 0.17) + 0.8 * canvas.patch(0, 6.95, 0.14, 0.12)
    flush += 0.35 * canvas.patch(0, 6.4, 0.22, 0.12) + 0.5 * canvas.patch(0.85, 7.1, 0.16, 0.3)
    flush = np.clip(flush * (1 + 0.35 * smooth_noise(rng, 25)), 0, 1.5) * rng.uniform(0.4, 1.2) * fair
    skin *= 1 - flush[..., None] * np.float32([0.02, 0.20, 0.19])
    shadows = rng.uniform(0.3, 1.0) * canvas.patch(0.28, 7.13, 0.14, 0.055)
    shadows += 0.45 * canvas.patch(0.29, 7.36, 0.16, 0.05)
    skin *= 1 - np.clip(shadows, 0, 1)[..., None] * np.float32([0.14, 0.20, 0.17])

    _add_spots(skin, canvas, rng, fair)
    skin *= 1 + 0.42 * _wrinkles(canvas, age, rng)[..., None]
    if hair.stubble:
        beard = ramp(6.86 - y - 0.5 * np.clip(np.abs(x) - 0.3, 0, 1), 0.14) * ramp(y - 6.13, 0.12)
        beard *= 1 - 0.9 * canvas.patch(0, 6.6, 0.16, 0.05)
        beard *= np.clip(0.55 + 0.45 * smooth_noise(rng, 1.6), 0, 1)
        skin = blend(skin, 0.5 * hair.brows + 0.25 * tone, 0.5 * hair.stubble * beard)

    gloss = 0.30 + 0.35 * canvas.patch(0, 7.6, 0.3, 0.2) + 0.45 * canvas.patch(0, 6.98, 0.07, 0.25)
    gloss += 0.2 * canvas.patch(0.4, 7.0, 0.15, 0.12) + 0.06 * smooth_noise(rng, 3)
    skin = blend(skin, hair.brows, 0.88 * _brows(canvas, patient, rng))
    skin, gloss = paint_scalp(skin, gloss, hair, canvas.angle, canvas.position, rng)

    below = collar - 0.16 * np.exp(-((canvas.angle / 0.6) ** 2)) - y
    cloth = linear(CLOTHES[rng.integers(len(CLOTHES))])
    weave = 1 + 0.05 * smooth_noise(rng, 1.5) - 0.35 * np.exp(-(((below - 0.07) / 0.012) ** 2))
    worn = ramp(below, 0.012)
    skin = blend(skin, cloth * weave[..., None], worn)
    return np.dstack([np.clip(skin, 0.004, 1), np.clip(gloss * (1 - worn), 0, 1)]).astype(np.float32)


def lip_colour(tone: Array, rng: np.random.Generator) -> Array:
    """Linear colour and gloss, shape (4,); more contrast on fair skin."""
    fair = fairness(tone)
    blush = np.float32([0.80, 0.62 - 0.12 * fair, 0.64 - 0.13 * fair])
    return np.append(tone * blush * np.exp(rng.normal(0, 0.08)), rng.uniform(0.45, 0.8)).astype(np.float32)


def _add_spots(skin: Array, canvas: Canvas, rng: np.random.Generator, fair: float) -> None:
    """Moles anywhere and, on fair skin, freckles over nose and cheeks; changes ``skin``."""
    freckled = fair > 0.5 and rng.random() < 0.35
    moles = [(rng.normal(0, 0.45), rng.normal(6.95, 0.35), rng.uniform(1.2, 2.4), 0.45) for _ in range(rng.integers(9))]
    freckles = [
        (rng.normal(0, 0.3), rng.normal(6.98, 0.12), rng.uniform(0.8, 1.5), 0.16) for _ in range(140 * freckled)
    ]
    for x, y, radius, depth in moles + freckles:
        column, row = (int(value) for value in canvas.texel(x, y))
        window = (slice(max(row - 6, 0), row + 7), slice(max(column - 6, 0), column + 7))
        rows, columns = np.mgrid[window]
        spot = depth * np.exp(-(((rows - row) ** 2 + (columns - column) ** 2) / radius**2))
        skin[window] *= 1 - spot[..., None] * np.float32([0.8, 1, 1])


def _wrinkles(canvas: Canvas, age: float, rng: np.random.Generator) -> Array:
    """Relative brightness of forehead lines, crow's feet and nasolabial folds: a dark groove with a light lip."""
    across = np.linspace(-1, 1, 17)
    curves = []
    for height in (7.60, 7.70, 7.81):
        sway = rng.normal(0, 0.012, 17).cumsum() * 0.5
        furrow = height + 0.03 * (1 - across**2) + sway - sway.mean()
        curves.append((0.34 * across, furrow, age * rng.uniform(0.2, 0.6)))
    down = np.linspace(0, 1, 9)
    for side in (-1, 1):
        for slope in (-0.35, 0.05, 0.4):
            curves.append((side * (0.46 + 0.09 * down), 7.27 + slope * 0.09 * down, age * rng.uniform(0.2, 0.6)))
        curves.append((side * (0.17 + 0.14 * down**0.8), 6.93 - 0.30 * down, 0.25 + age * rng.uniform(0.3, 0.6)))
        curves.append((side * (0.17 + 0.20 * down), 7.17 - 0.05 * np.sin(down * np.pi), age * rng.uniform(0.2, 0.6)))
    groove = canvas.lines(curves, 1.4)
    return 0.5 * np.roll(groove, 2, axis=0) - groove


def _brows(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> Array:
    """Brows of single hairs, which lie on the brow ridge of the mesh so that they move with it; 0 to 1."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    thick = rng.uniform(0.030, 0.048) * (1.15 if patient.sex == "male" else 0.85)
    arch, lift = rng.uniform(0.03, 0.06), rng.normal(0.152, 0.008)
    for side in (-1, 1):
        for _ in range(int(rng.uniform(330, 480))):
            along = rng.random()
            x = 0.10 + 0.37 * along
            middle = EYE_HEIGHT + lift + arch * np.sin(np.pi * 0.8 * along) - 0.025 * (1 - along) ** 2
            y = middle + thick * (1.1 - 0.75 * along**1.5) * np.clip(rng.normal(0, 0.5), -1, 1)
            lean = np.interp(along, [0, 0.2, 1], [1.2, 0.5, -0.25]) + rng.normal(0, 0.15)
            length = rng.uniform(0.03, 0.055)
            start = canvas.texel(side * x, y)
            end = canvas.texel(side * (x + length * np.cos(lean)), y + length * np.sin(lean))
            points = (np.array([start, end]) * 16).astype(int).tolist()
            cv2.line(mask, points[0], points[1], int(rng.uniform(90, 210)), 1, cv2.LINE_AA, 4)
    strokes = mask.astype(np.float32) / 255
    return np.clip(0.75 * strokes + 0.75 * cv2.GaussianBlur(strokes, (0, 0), 2.2), 0, 1)


def eye_texture(ancestry: Mapping[str, float], rng: np.random.Generator) -> Array:
    """Eyeball from the front: white, iris with radial fibres, dark limbus and pupil."""
    row, column = (np.mgrid[:EYE_SIZE, :EYE_SIZE] + 0.5) / EYE_SIZE * 2 - 1
    radius, turn = np.hypot(column, row), np.arctan2(row, column)
    white = linear((226, 218, 212)) * (1 - 0.22 * np.clip(radius - 0.35, 0, 1))[..., None]
    white = white * (1 - np.float32([0.02, 0.16, 0.16]) * np.clip(radius - 0.55, 0, 1)[..., None] * 2)
    fibres = sum(rng.normal() * np.cos(k * turn + rng.uniform(0, 6.3)) for k in range(9, 40)) / 8
    colour = linear(pick(EYES, ancestry, rng))
    lightness = (0.75 + 0.9 * np.clip(radius / IRIS, 0, 1) + 0.22 * fibres)[..., None]
    iris = colour * np.clip(lightness, 0.3, 2.0)
    iris = iris * (1 - 0.75 * ramp(radius - IRIS * 0.9, 0.08))[..., None]
    inside = ramp(IRIS - radius, 0.06)[..., None]
    pupil = ramp(rng.uniform(0.15, 0.19) - radius, 0.04)[..., None]
    eye = (white * (1 - inside) + iris * inside) * (1 - pupil) + 0.004 * pupil
    return np.dstack([eye, np.ones_like(radius)]).astype(np.float32)


def mouth_textures(rng: np.random.Generator, age: float) -> tuple[Array, Array]:
    """Teeth (along the dental arch, from the biting edge to the gum) and tongue."""
    row, column = (np.mgrid[:TEETH_SIZE, :TEETH_SIZE] + 0.5) / TEETH_SIZE
    enamel = linear((224, 214, 196)) * (1 - 0.25 * np.clip((age - 30) / 60, 0, 1) * np.float32([0.4, 0.6, 1.0]))
    gap = np.exp(-((((column - 0.5) * 17 + 0.5) % 1 - 0.5) ** 2) / 0.006)
    gum = ramp(row - 0.62 - 0.06 * gap, 0.08)[..., None]
    teeth = enamel * (1 - 0.45 * gap)[..., None] * rng.uniform(0.85, 1.0) * (1 - gum) + linear((176, 96, 92)) * gum
    tongue = np.tile(np.append(linear((140, 72, 70)), 0.35), (4, 4, 1))
    return np.dstack([teeth, 0.6 * np.ones_like(row)]).astype(np.float32), tongue.astype(np.float32)
