"""Names for what MediaPipe's face landmarker gives: 478 points and 52 blendshapes.

Left and right are the subject's. Nothing heavy is imported here, so any module may.

References
----------
MediaPipe, canonical_face_model_uv_visualization.png; Apple, ARKit, ARFaceAnchor.BlendShapeLocation.
"""

MESH_COUNT = 468
"""Points of the face mesh; the ten that follow are the irises."""

IRIS = {"left": 473, "right": 468}
"""Centres of the irises; their distance is the unit of length for everything measured in a face."""

MOUTH_CORNER = {"left": 291, "right": 61}
UPPER_LID = {"left": 386, "right": 159}
LOWER_LID = {"left": 374, "right": 145}
BROW = {"left": (282, 295, 334), "right": (52, 65, 105)}
"""Three points along the middle of each eyebrow; the first is the one that stands for it alone."""

EYE_OUTER = {"left": 263, "right": 33}
EYE_INNER = {"left": 362, "right": 133}
FACE_SIDE = {"left": 454, "right": 234}
"""Where the outline of the face is widest, in front of the ears."""

UPPER_LIP, LOWER_LIP = 13, 14
"""Inner edges of the lips, on the midline."""

CHIN, FOREHEAD, NOSE_TIP = 152, 10, 1

MEASURED = {
    "mouth_corner_left": MOUTH_CORNER["left"],
    "mouth_corner_right": MOUTH_CORNER["right"],
    "upper_lid_left": UPPER_LID["left"],
    "upper_lid_right": UPPER_LID["right"],
    "lower_lid_left": LOWER_LID["left"],
    "lower_lid_right": LOWER_LID["right"],
    "brow_left": BROW["left"][0],
    "brow_right": BROW["right"][0],
    "chin": CHIN,
    "upper_lip": UPPER_LIP,
    "lower_lip": LOWER_LIP,
    "iris_left": IRIS["left"],
    "iris_right": IRIS["right"],
}
"""The points that are validated against virtual patients, by name, with the landmark that stands for each."""

# fmt: off
BLENDSHAPE_NAMES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)
# fmt: on
"""In the order of the ``blendshapes`` column."""
