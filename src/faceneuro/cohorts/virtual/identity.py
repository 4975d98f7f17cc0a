"""Who a virtual patient is: head shape, skin, brows, hair, eyes and clothes. Nothing here knows the diagnosis."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faceneuro.cohorts.virtual import skin
from faceneuro.cohorts.virtual.hair import Hair, curtain, grow_hair, over_ears
from faceneuro.cohorts.virtual.heads import (
    ANCESTRIES,
    BODY,
    EYE,
    EYE_FRONT,
    LASH,
    LID_MARGINS,
    LIPS,
    TEETH,
    TONGUE,
    UNIT_NAMES,
    Array,
    Heads,
    macro_weights,
)
from faceneuro.cohorts.virtual.paint import canvas, on_cylinder
from faceneuro.cohorts.virtual.patients import Patient, stream
from faceneuro.cohorts.virtual.rasterise import lit_from, vertex_normals

CENTRE = np.array([0.0, 7.1, 0.4])
"""Middle of the head, round which shadows are computed."""

SURFACES = {BODY: 0, EYE: 1, TEETH: 2, TONGUE: 3}
CURTAIN = 4
"""Number of the texture of each material, and of long hair."""

DETAILS = {
    "head-fat": 0.35,
    "head-scale-horiz": 0.35,
    "head-scale-vert": 0.3,
    "nose-scale-horiz": 0.4,
    "nose-scale-vert": 0.35,
    "nose-hump": 0.4,
    "nose-volume": 0.3,
    "nose-nostrils-width": 0.4,
    "nose-point-width": 0.4,
    "mouth-scale-horiz": 0.35,
    "mouth-upperlip-volume": 0.4,
    "mouth-lowerlip-volume": 0.4,
    "mouth-cupidsbow": 0.5,
    "chin-width": 0.4,
    "chin-height": 0.35,
    "chin-prominent": 0.3,
    "forehead-nubian": 0.3,
    "forehead-temple": 0.4,
}
PAIRED_DETAILS = {"eye-scale": 0.3, "eye-height2": 0.3, "cheek-volume": 0.35, "cheek-bones": 0.35, "ear-scale": 0.4}
"""Spread (standard deviation) of targets that come as ``-decr`` and ``-incr``, for the face and for each side."""

ASYMMETRIES = ("brown-1", "cheek-1", "eye-1", "eye-3", "jaw-1", "mouth-1", "nose-1")


@dataclass(frozen=True, eq=False)
class Identity:
    """A person, ready to be posed and lit. The vertices are those of the head model, followed by those of long hair.

    Attributes
    ----------
    rest
        The face at rest, in decimetres, shape (n_vertices, 3).
    units
        Facial units fitted to this face, shape (52, n_vertices, 3): a full blink closes these lids exactly.
    triangles, surface
        All that is solid, shape (n_triangles, 3), and the texture of each triangle, shape (n_triangles,).
    lashes, lash_opacity
        The translucent triangles, shape (m, 3), and the opacity of each vertex, shape (n_vertices,).
    textures
        Skin, eye, teeth, tongue and long hair: linear colour and gloss, float32, shape (h, w, 4) each.
    uv
        Position of every vertex in the texture of its surface, in texels, shape (n_vertices, 2).
    mask_uv
        Position of every vertex in the mask of the lips, in pixels, shape (n_vertices, 2).
    occlusion
        Share of the sky seen from every vertex, shape (n_vertices,).
    inside, lips
        Vertices of teeth and tongue, which get their light between the lips, and the two that say how open those are.
    turning
        How far every vertex follows the head, 0 (shoulders) to 1, shape (n_vertices,).
    midline
        Share of a vertex in the left half of the face, 0 to 1, shape (n_vertices,).
    lip, lash_colour
        Linear colour and gloss of the lips, shape (4,); linear colour of the lashes, shape (3,).
    """

    rest: Array
    units: Array
    triangles: npt.NDArray[np.int32]
    surface: npt.NDArray[np.int64]
    lashes: npt.NDArray[np.int32]
    lash_opacity: Array
    textures: tuple[Array, ...]
    uv: Array
    mask_uv: Array
    occlusion: Array
    inside: npt.NDArray[np.int32]
    lips: tuple[int, int]
    turning: Array
    midline: Array
    lip: Array
    lash_colour: Array


def identity_of(heads: Heads, patient: Patient) -> Identity:
    """The person behind a patient; depends on the patient's seed, age and sex alone.

    Parameters
    ----------
    heads
        The head model.
    patient
        Whose signs, severity and group are not looked at.
    """

    def chance(purpose: str) -> np.random.Generator:
        return stream(patient.seed, purpose)

    ancestry = dict(zip(ANCESTRIES, chance("ancestry").dirichlet([0.35] * 3), strict=True))
    hair = grow_hair(patient, ancestry, chance("hair"))
    tone = skin.skin_tone(ancestry, chance("tone"))
    collar = 5.98 + chance("collar").normal(0, 0.03)
    face = _with_hair_and_clothes(heads, _shape(heads, patient, ancestry, chance("shape")), hair, collar)
    long_hair, hair_uv, hair_triangles, hair_texture = curtain(hair, chance("curtain"))
    rest = np.concatenate([face, long_hair])
    solid = heads.material != LASH
    triangles = np.concatenate([heads.triangles[solid], hair_triangles + np.int32(len(face))])
    uv, lash_opacity = _surface_coordinates(heads)
    extra = len(long_hair)
    smooth = np.clip((np.concatenate([heads.canonical[:, 1], long_hair[:, 1]]) - 5.75) / 0.6, 0, 1)
    across = np.clip(rest[:, 0] / 0.16 + 0.5, 0, 1)
    return Identity(
        rest=rest,
        units=np.pad(_fitted_units(heads, face), [(0, 0), (0, extra), (0, 0)]),
        triangles=triangles,
        surface=np.array([*map(SURFACES.get, heads.material[solid].tolist()), *[CURTAIN] * len(hair_triangles)]),
        lashes=np.ascontiguousarray(heads.triangles[~solid]),
        lash_opacity=np.pad(lash_opacity, (0, extra)),
        textures=(
            skin.paint_skin(canvas(heads), patient, tone, hair, collar, chance("skin")),
            skin.eye_texture(ancestry, chance("eye")),
            *skin.mouth_textures(chance("teeth"), patient.age),
            hair_texture,
        ),
        uv=np.concatenate([uv, hair_uv]),
        mask_uv=np.pad(heads.mask_uv, [(0, extra), (0, 0)], constant_values=-1),
        occlusion=_ambient_occlusion(rest, triangles),
        inside=np.concatenate([heads.of_material(TEETH), heads.of_material(TONGUE)]),
        lips=tuple(heads.numbered(number) for number in LIPS),
        turning=(smooth**2 * (3 - 2 * smooth)).astype(np.float32),
        midline=(across**2 * (3 - 2 * across)).astype(np.float32),
        lip=skin.lip_colour(tone, chance("lips")),
        lash_colour=hair.brows * np.float32(0.5),
    )


def _shape(heads: Heads, patient: Patient, ancestry: Mapping[str, float], rng: np.random.Generator) -> Array:
    male = np.clip((0.88 if patient.sex == "male" else 0.12) + rng.normal(0, 0.08), 0, 1)
    old = np.clip((patient.age - 25) / 85 + rng.normal(0, 0.05), 0, 0.8)
    weights = macro_weights(ancestry, male, old)

    def add(name: str, spread: float, jitter: float = 0.0) -> None:
        draw = float(np.clip(rng.normal(0, spread), -0.8, 0.8))
        for prefix in ("l-", "r-") if jitter else ("",):
            target = f"{prefix}{name}-{'incr' if draw > 0 else 'decr'}"
            weights[target] = abs(draw) * (1 + jitter * rng.normal())

    for name, spread in DETAILS.items():
        add(name, spread)
    for name, spread in PAIRED_DETAILS.items():
        add(name, spread, jitter=0.08)
    for name in ("head-oval", "head-round", "head-rectangular"):
        weights[name] = abs(rng.normal(0, 0.2))
    # The average mouth of the source looks sullen.
    weights["mouth-angles-up"] = rng.uniform(0.2, 0.7)
    # Nobody's face is symmetric at rest.
    for name in ASYMMETRIES:
        weights[f"asym-{name}-{'lr'[rng.integers(2)]}"] = abs(rng.normal(0, 0.12))
    vertices = _open_eyes(heads, heads.shaped(weights), opening=float(np.clip(rng.normal(0.345, 0.02), 0.30, 0.39)))
    vertices = _closed_lips(heads, vertices)
    # Tall or short, everybody sits with the eyes at the height of the average head's.
    eyes = heads.of_material(EYE)
    return vertices + (heads.canonical[eyes].mean(axis=0) - vertices[eyes].mean(axis=0))


def _fitted_units(heads: Heads, rest: Array) -> Array:
    """Units with the blink of each eye scaled so that weight 1 brings the lids of this face together."""
    units = heads.units.copy()
    for side, (upper, lower) in LID_MARGINS.items():
        blink = UNIT_NAMES.index(f"eyeBlink{side}")
        upper, lower = heads.numbered(upper), heads.numbered(lower)
        travel = units[blink, upper, 1] - units[blink, lower, 1]
        units[blink] *= np.clip(-(rest[upper, 1] - rest[lower, 1]) / travel, 0.4, 2.0)
    return units


def _open_eyes(heads: Heads, rest: Array, opening: float) -> Array:
    """Lids moved until each eye is open by a share of the eyeball's diameter; the base mesh looks sleepy."""
    rest = rest.copy()
    for side, (upper, lower) in LID_MARGINS.items():
        wide = heads.units[UNIT_NAMES.index(f"eyeWide{side}")]
        upper, lower = heads.numbered(upper), heads.numbered(lower)
        ball = rest[heads.eye(0 if side == "Left" else 1)]
        wanted = opening * np.ptp(ball[:, 1])
        rest += wide * (wanted - (rest[upper, 1] - rest[lower, 1])) / (wide[upper, 1] - wide[lower, 1])
    return rest


def _closed_lips(heads: Heads, rest: Array) -> Array:
    """The jaw moved until the lips meet, which mixtures of shapes leave apart, and the mouth behind them set right."""
    jaw = heads.units[UNIT_NAMES.index("jawOpen")]
    upper, lower = (heads.numbered(number) for number in LIPS)
    apart = rest[upper, 1] - rest[lower, 1]
    closed = rest + jaw * np.clip(apart / (jaw[lower, 1] - jaw[upper, 1]), -0.1, 0.1)
    # The source hides the upper teeth and fills the mouth with the tongue, which no speaker does.
    teeth, tongue = heads.of_material(TEETH), heads.of_material(TONGUE)
    above = teeth[jaw[teeth, 1] > 0.5 * jaw[lower, 1]]
    closed[above] += np.float32([0, -0.04, 0])
    closed[tongue] += np.float32([0, -0.13, -0.16])
    return closed


def _ambient_occlusion(rest: Array, triangles: npt.NDArray[np.int32], directions: int = 48) -> Array:
    """Share of an evenly bright sphere that each vertex sees past the face itself, weighted by the cosine."""
    normals = np.empty_like(rest)
    vertex_normals(rest, triangles, normals)
    depth, index = np.empty((192, 192), np.float32), np.empty((192, 192), np.int32)
    seen, total, reached = np.zeros(len(rest)), np.zeros(len(rest)), np.empty(len(rest), np.float32)
    # Points of a spiral cover the sphere evenly.
    height = 1 - (2 * np.arange(directions) + 1) / directions
    turn = np.pi * (1 + 5**0.5) * np.arange(directions)
    radius = np.sqrt(1 - height**2)
    for direction in np.stack([radius * np.cos(turn), height, radius * np.sin(turn)], axis=1):
        lit_from(rest, triangles, direction, CENTRE, 1.9, 0.035, 1, depth, index, reached)
        cosine = np.maximum(normals @ direction, 0)
        seen += cosine * reached
        total += cosine
    return (seen / np.maximum(total, 1e-6)).astype(np.float32)


def _surface_coordinates(heads: Heads) -> tuple[Array, Array]:
    """Texture position of every vertex, shape (n, 2), and how opaque the lashes are there, shape (n,)."""
    head = heads.canonical
    uv = np.stack(on_cylinder(head)[1:], axis=1)
    opacity = np.zeros(len(head), np.float32)
    lashes = heads.of_material(LASH)
    for side, word in enumerate(("Left", "Right")):
        ball = heads.eye(side)
        centre, radius = head[ball].mean(axis=0), np.ptp(head[ball, 1]) / 2
        pupil = head[[heads.numbered(number) for number in EYE_FRONT[word]], :2].mean(axis=0)
        uv[ball] = (0.5 + 0.5 * (head[ball, :2] - pupil) / radius * [1, -1]) * skin.EYE_SIZE
        strip = lashes[(head[lashes, 0] > 0) == (side == 0)]
        away = np.linalg.norm(head[strip] - centre, axis=1) - radius
        above = head[strip, 1] > centre[1] - 0.03
        opacity[strip] = np.clip(1 - away / 0.075, 0, 1) * np.where(above, 0.8, 0.3)
    teeth = heads.of_material(TEETH)
    arch = np.arctan2(head[teeth, 0], head[teeth, 2] - head[teeth, 2].min())
    gum = np.abs(head[teeth, 1] - 6.65) / 0.17
    uv[teeth] = np.stack([arch / 2.4 + 0.5, np.clip(gum, 0, 1)], axis=1) * skin.TEETH_SIZE
    return uv.astype(np.float32), opacity


def _with_hair_and_clothes(heads: Heads, face: Array, hair: Hair, collar: float) -> Array:
    """The head with its scalp raised by the hair and its trunk by the shirt."""
    head = heads.canonical
    angle, _, _ = on_cylinder(head)
    shirt = np.clip((collar - head[:, 1]) / 0.05, 0, 1) * (np.abs(angle) > 0.6)
    raised = np.where(over_ears(head), 0, hair.raised(angle, head[:, 1])) + 0.03 * shirt
    body = np.zeros(len(head), np.float32)
    body[heads.of_material(BODY)] = 1
    normals = np.empty_like(face)
    vertex_normals(face, heads.triangles, normals)
    return face + (body * raised)[:, None].astype(np.float32) * normals
