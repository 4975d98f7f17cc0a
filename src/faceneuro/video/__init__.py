"""Recordings on disk: reading them frame by frame, writing them.

The suffixes stand here, apart from the modules that import a decoder, because a list of clips is read at every start of
the workflow.
"""

import re

VIDEO_SUFFIXES = frozenset(
    [
        *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
        *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"),
    ]
)
IMAGE_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"])


def natural(name: str) -> list[tuple[int, str | int]]:
    """Sort key by which numbers in names count as numbers: frame_2 before frame_10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), part) if part.isdecimal() else (-1, part) for part in parts]
