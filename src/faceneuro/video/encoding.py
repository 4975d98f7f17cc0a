"""Writing videos, the same bytes for the same frames."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from faceneuro.files import replacing


def encode(
    path: str | Path,
    images: Iterable[npt.NDArray[np.uint8]],
    fps: float | Fraction = 30,
    crf: float = 18,
    preset: str = "medium",
) -> int:
    """Write images as an h264 mp4, one at a time, under a temporary name until it is complete.

    One thread, no dates and no library versions in the file: on one kind of processor, its bytes depend on the
    arguments alone.

    Parameters
    ----------
    path
        Where the video will be; its folder is made.
    images
        RGB, uint8, shape (height, width, 3), all the same, height and width even. A generator is used up as it goes.
    fps
        Frames per second.
    crf
        Constant rate factor of x264, 0 (lossless but for the colour conversion) to 51.
    preset
        Of x264: faster ones give larger files.

    Returns
    -------
    Number of frames written.

    Raises
    ------
    ValueError
        If there is no image, or one has an odd height or width or differs in size from the first.
    """
    with replacing(path) as part:
        return _write(part, images, Fraction(fps).limit_denominator(1001), crf, preset)


def _write(path: Path, images: Iterable[npt.NDArray[np.uint8]], rate: Fraction, crf: float, preset: str) -> int:
    layout = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", options=layout) as container:
        # x264's macroblock tree, with AVX-512, reads memory that nobody wrote where the picture is narrow: the same
        # frames then give different files.
        options = {"crf": str(crf), "preset": preset, "x264-params": "mbtree=0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        stream.pix_fmt = "yuv420p"
        size, count = None, 0
        for count, image in enumerate(images, start=1):
            if size is None:
                size = image.shape
                stream.height, stream.width = size[:2]
                if any(length % 2 for length in size[:2]):
                    raise ValueError(f"h264 needs an even height and width, not {size[0]} x {size[1]}")
            if image.shape != size:
                raise ValueError(f"image {count} has shape {image.shape}, the first has {size}")
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts, picture.time_base = count - 1, 1 / rate
            container.mux(stream.encode(picture))
        if size is None:
            raise ValueError("there is no image to encode")
        container.mux(stream.encode(None))
    return count
