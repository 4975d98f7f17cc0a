"""One person in one set-up to pictures."""

import numpy as np
import numpy.typing as npt

from faceneuro.cohorts.virtual.heads import UNIT_NAMES, Array
from faceneuro.cohorts.virtual.identity import CENTRE, Identity
from faceneuro.cohorts.virtual.motion import LEFT, RIGHT, SIDED
from faceneuro.cohorts.virtual.rasterise import (
    ATTRIBUTES,
    MASK_UV,
    NORMAL,
    OCCLUSION,
    SAMPLES,
    UV,
    VISIBLE,
    deform,
    lit_from,
    shade,
    soft_strips,
    vertex_normals,
    visibility,
)
from faceneuro.cohorts.virtual.scene import Scene

NECK = np.array([0.0, 6.2, 0.35])
"""The head turns about this point of the neck."""

MIDLINE = [
    place for place, name in enumerate(UNIT_NAMES) if name not in SIDED and not name.startswith(("jaw", "tongue"))
]
"""Units across the midline, whose halves can be driven apart."""

MOUTH_LIGHT, MOUTH_OPEN = 0.75, 0.05
"""Share of the light that reaches teeth and tongue when the lips are so far apart in dm, and in proportion below."""


class Renderer:
    """Draws a person; all work that does not change from frame to frame is done once.

    Parameters
    ----------
    masks
        Lips and eyelids of the head model, uint8, shape (h, w, 2).
    identity, scene
        The person and the set-up.
    size
        Height and width of the picture.
    """

    def __init__(self, masks: npt.NDArray[np.uint8], identity: Identity, scene: Scene, size: tuple[int, int]):
        self._identity, self._scene, self._size = identity, scene, size
        height, width = size
        self._attributes = np.zeros((len(identity.rest), ATTRIBUTES), np.float32)
        self._attributes[:, OCCLUSION] = identity.occlusion
        self._attributes[:, UV : UV + 2] = identity.uv
        self._attributes[:, MASK_UV : MASK_UV + 2] = identity.mask_uv
        self._masks = masks.astype(np.float32) / 255
        self._units = np.concatenate([identity.units, identity.units[MIDLINE] * identity.midline[:, None]])
        self._depth = np.empty((height * SAMPLES, width * SAMPLES), np.float32)
        self._index = np.empty((height * SAMPLES, width * SAMPLES), np.int32)
        self._coverage = np.empty((height, width), np.float32)
        self._shadow_map = np.empty((256, 256), np.float32), np.empty((256, 256), np.int32)

    def pose(self, weights: Array, pose: Array) -> tuple[Array, Array]:
        """Vertices in dm and in pixels.

        Parameters
        ----------
        weights
            Facial units on the left and the right half of the face, shape (52, 2).
        pose
            Yaw, pitch, roll in radians and shift in dm, shape (6,).

        Returns
        -------
        posed
            Shape (n_vertices, 3), axes as in the head model.
        projected
            x and y in pixels and inverse distance from the camera in 1/dm, shape (n_vertices, 3).
        """
        identity, scene, (height, width) = self._identity, self._scene, self._size
        apart = weights[MIDLINE, LEFT] - weights[MIDLINE, RIGHT]
        face = np.empty_like(identity.rest)
        deform(identity.rest, self._units, np.concatenate([weights[:, RIGHT], apart]).astype(np.float32), face)
        turned = (face - NECK) @ _rotation(*pose[:3]).T + NECK + pose[3:]
        posed = (face + identity.turning[:, None] * (turned - face)).astype(np.float32)

        distance = scene.distance - (posed[:, 2] - 1.0)
        # In an upright picture the width is what the head has to fit into.
        focal = min(height, 0.9 * width) * scene.distance / scene.view
        x = width / 2 + focal * (posed[:, 0] + scene.offset[0]) / distance
        y = height / 2 - focal * (posed[:, 1] - CENTRE[1] + scene.offset[1]) / distance
        return posed, np.stack([x, y, 1 / distance], axis=1).astype(np.float32)

    def draw(self, weights: Array, pose: Array, shift: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], Array]:
        """Picture and projected vertices.

        Parameters
        ----------
        weights, pose
            As for :meth:`pose`.
        shift
            Row and column, 0 to 63, at which the noise of this frame starts in its tile.

        Returns
        -------
        picture
            RGB, uint8, shape (height, width, 3).
        points
            x and y of every vertex in pixels, shape (n_vertices, 2).
        """
        scene, identity, attributes = self._scene, self._identity, self._attributes
        posed, projected = self.pose(weights, pose)
        normals, lit = np.empty_like(posed), np.empty(len(posed), np.float32)
        vertex_normals(posed, identity.triangles, normals)
        key = scene.key.astype(np.float64)
        lit_from(posed, identity.triangles, key, CENTRE, 1.9, 0.05, 3, *self._shadow_map, lit)
        upper, lower = identity.lips
        gape = np.clip(np.linalg.norm(posed[upper] - posed[lower]) / MOUTH_OPEN, 0.1, 1)
        lit[identity.inside] = MOUTH_LIGHT * gape
        attributes[identity.inside, OCCLUSION] = MOUTH_LIGHT * gape
        attributes[:, NORMAL : NORMAL + 3] = normals
        # The few vertices of the trunk would give shadows on the shirt a ragged edge.
        attributes[:, VISIBLE] = 1 - (0.35 + 0.65 * identity.turning) * (1 - lit)

        x, y = (np.ascontiguousarray(projected[:, k] * SAMPLES) for k in (0, 1))
        nearness = np.ascontiguousarray(projected[:, 2])
        visibility(x, y, nearness, identity.triangles, False, self._depth, self._index)
        soft_strips(x, y, nearness, identity.lashes, identity.lash_opacity, self._depth, self._coverage)
        picture = np.empty((*self._size, 3), np.uint8)
        shade(
            x, y, identity.triangles, identity.surface, attributes, self._depth, self._index, self._coverage,
            identity.textures, self._masks, identity.lip, identity.lash_colour, scene.key, scene.key_colour, scene.sky,
            scene.ground, scene.background, scene.tone, scene.noise, shift, picture,
        )  # fmt: skip
        return picture, projected[:, :2]


def _rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation by yaw about y, then pitch about x, then roll about z (applied right to left), shape (3, 3)."""
    (sy, sp, sr), (cy, cp, cr) = np.sin([yaw, pitch, roll]), np.cos([yaw, pitch, roll])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z
