"""Pictures of one person with the palsy of another: the diffusion model CCFExp, what it is compared with, its scores.

Given a picture of a person (the identity) and one of a patient (the style), a generator draws the person with the
patient's palsy and expression. The names here cost nothing to import; torch and diffusers come with the modules.

References
----------
"CCFExp: Facial Image Synthesis with Cycle Cross-Fusion Diffusion Model for Facial Paralysis Individuals", arXiv
2409.07271. Kim et al., "DCFace: Synthetic Face Generation with Dual Condition Diffusion Model", CVPR 2023.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What a generator is told of the style, and how it is trained: one row of the paper's table.

    Attributes
    ----------
    grid
        Cells along each side of DCFace's style grid; none for CCFExp, which has no grid.
    landmarks
        Whether landmarks are a condition and a loss. Without them CCFExp is told of the expression only.
    fusion
        Whether the conditions look at each other before the U-Net sees them; otherwise they stand side by side.
    cycle
        Whether what was generated is noised and restored once more in training.
    """

    grid: int | None = None
    landmarks: bool = True
    fusion: bool = True
    cycle: bool = True


ROWS = {
    "dcface_3x3": Row(grid=3, landmarks=False, fusion=False, cycle=False),
    "dcface_5x5": Row(grid=5, landmarks=False, fusion=False, cycle=False),
    "ccfexp_no_landmarks": Row(landmarks=False),
    "ccfexp_no_fusion": Row(fusion=False),
    "ccfexp_no_cycle": Row(cycle=False),
    "ccfexp": Row(),
}
"""By model, in the order of the paper's table."""

TRIVIAL = ("copy_identity", "copy_style", "landmark_warp")
"""Rows that take no training, see :mod:`faceneuro.synthesis.trivial`."""
