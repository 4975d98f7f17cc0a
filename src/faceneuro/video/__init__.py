"""Recordings on disk: reading them frame by frame, writing them.

The suffixes stand here, apart from the modules that import a decoder, because a list of clips is read at every start of
the workflow.
"""

VIDEO_SUFFIXES = frozenset(
    [
        *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
        *(".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"),
    ]
)
IMAGE_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"])
