"""Reading recordings: videos, folders of stills and single stills, one frame at a time.

A recording of a patient is rarely made twice, so what can be read is read: damage ends the frames, not the run, and
the :class:`Report` says in words what was wrong and what to do about it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from faceneuro.video import IMAGE_SUFFIXES, natural

RGB = npt.NDArray[np.uint8]

# A playlist may name other files and web addresses; a patient's video must not make this machine call anywhere.
LOCAL_FILES_ONLY = {"protocol_whitelist": "file"}
COPY_AGAIN = "copy it again from its source"


@dataclass(frozen=True, eq=False)
class Frame:
    """One selected frame.

    Attributes
    ----------
    number
        Position among all frames of the recording, from 0, whichever were selected.
    time_s
        Presentation time as the file states it, in seconds; None for stills, which have no clock.
    image
        RGB, uint8, shape (height, width, 3), upright, contiguous.
    """

    number: int
    time_s: float | None
    image: RGB


@dataclass
class Report:
    """What decoding met: the columns of :data:`faceneuro.tables.DECODING`. Complete once the frames are used up.

    Attributes
    ----------
    frames_read, frames_kept
        Frames decoded (of stills: the selected ones that could be read), and those among them that the selection kept.
    rotation
        Degrees, counter-clockwise, by which the frames were turned to stand upright: 0, 90, 180 or 270. None for stills
        (the orientation that a camera noted in them is applied, but not stated).
    height, width
        Of the first kept frame, upright, in pixels; None if there is none. A later change of size is no error.
    fps
        Frames per second between the first and the last frame read; None for stills and single frames.
    variable_frame_rate
        Whether the intervals between frames differ by more than the file's clock makes them.
    gray
        Whether all kept frames are without colour.
    error
        None if the recording was read to its end; otherwise a sentence for the person who made it.
    """

    frames_read: int = 0
    frames_kept: int = 0
    rotation: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    variable_frame_rate: bool | None = None
    gray: bool | None = None
    error: str | None = None


class Decoding:
    """The frames of one recording, decoded while they are iterated over, once; see :func:`decode`.

    Attributes
    ----------
    report
        Filled while iterating.
    """

    def __init__(self, path: Path, kind: str, every: int, at_most: int | None, files: Sequence[str] | None):
        self.report = Report()
        self._read = _READERS[kind] if files is None else partial(_listed, files=files)
        self._path, self._every, self._at_most = path, every, at_most

    def __iter__(self) -> Iterator[Frame]:
        report = self.report
        try:
            for frame in self._read(self._path, report, self._every, self._at_most):
                colourless = report.gray is not False and _colourless(frame.image)
                report.frames_kept += 1
                report.gray = colourless
                if report.height is None:
                    report.height, report.width = frame.image.shape[:2]
                yield frame
        except _UnreadableError as error:
            report.error = str(error)


def decode(
    path: str | Path,
    kind: str,
    every: int = 1,
    at_most: int | None = None,
    files: Sequence[str] | None = None,
) -> Decoding:
    """Read a recording frame by frame; nothing is opened before the first frame is asked for.

    Every ``every``-th frame is selected; if these are more than ``at_most``, so many of them are, spread evenly from
    the first to the last, so that a short selection still spans the whole movement. (The frames of a video are then
    counted in its index beforehand; where a damaged video holds fewer, fewer are selected.) Only selected frames are
    converted to RGB.

    Parameters
    ----------
    path
        A file, or a folder for ``kind`` "images".
    kind
        "video" (any container and codec that FFmpeg reads), "images" (a folder of stills, in natural order: 2 before
        10) or "image" (one still).
    every, at_most
        Selection of frames.
    files
        Of a folder of stills, the names of those that belong to the recording, in order of time; None means all.

    Returns
    -------
    An iterable of :class:`Frame`, with a ``report``. A recording that cannot be read has no frames and an ``error`` in
    its report, it does not raise.

    Raises
    ------
    ValueError
        If ``kind`` is none of the three, ``every`` or ``at_most`` is less than 1, or a video or still has ``files``.
    """
    if kind not in _READERS:
        raise ValueError(f"kind is {kind!r}, not one of {', '.join(_READERS)}")
    if every < 1 or (at_most is not None and at_most < 1):
        raise ValueError(f"every ({every}) and at_most ({at_most}) start at 1")
    if files is not None and kind != "images":
        raise ValueError(f"a recording of kind {kind!r} is one file, it has no list of them")
    return Decoding(Path(path), kind, every, at_most, files)


def decode_clip(
    clip: Mapping[str, Any], keep: Callable[[dict[str, Any]], None], every: int = 1, at_most: int | None = None
) -> dict[str, Any]:
    """Decode one clip of a manifest, handing over each selected frame as it comes.

    A clip whose row states a ``problem`` is not opened; the problem becomes the error.

    Parameters
    ----------
    clip
        A row of :data:`faceneuro.tables.MANIFEST`.
    keep
        Is called with rows of :data:`faceneuro.tables.FRAMES`.
    every, at_most
        See :func:`decode`.

    Returns
    -------
    A row of :data:`faceneuro.tables.DECODING`.
    """
    keys = {name: clip[name] for name in ("cohort", "subject", "clip")}
    if clip["problem"]:
        return keys | vars(Report(error=clip["problem"]))
    decoding = decode(clip["path"], clip["kind"], every, at_most, clip.get("files"))
    for frame in decoding:
        height, width, _ = frame.image.shape
        place = {"frame": frame.number, "time_s": frame.time_s, "height": height, "width": width}
        keep(keys | place | {"pixels": frame.image.tobytes()})
    return keys | vars(decoding.report)


class _UnreadableError(Exception):
    """The rest of a recording cannot be read; the text is for the report."""


def _selector(every: int, at_most: int | None, count: Callable[[], int]) -> Callable[[int], bool]:
    """Which frame numbers to keep; ``count`` is called only if a limit makes the length matter."""
    if at_most is None:
        return lambda number: number % every == 0
    candidates = np.arange(0, max(count(), 1), every)
    spread = np.linspace(0, len(candidates) - 1, min(at_most, len(candidates)))
    return set(candidates[spread.round().astype(int)].tolist()).__contains__


def _colourless(image: RGB) -> bool:
    # A few rows first: almost every colour image is told apart by them alone.
    return all(
        np.array_equal(part[..., 0], part[..., 1]) and np.array_equal(part[..., 0], part[..., 2])
        for part in (image[::64], image)
    )


def _video(path: Path, report: Report, every: int, at_most: int | None) -> Iterator[Frame]:
    _check_file(path, "video")
    with _open(path) as container:
        keep = _selector(every, at_most, lambda: _packets(path))
        stream = _pictures(container)
        stream.codec_context.thread_count = 1
        clock = _Clock(report, stream)
        for picture in _decoded(container, stream, report):
            number, time_s = report.frames_read, clock.tick(picture)
            report.frames_read += 1
            if report.rotation is None:
                report.rotation = round(picture.rotation / 90) % 4 * 90
            if keep(number):
                image = np.rot90(picture.to_ndarray(format="rgb24"), report.rotation // 90)
                yield Frame(number, time_s, np.ascontiguousarray(image))
        if report.frames_read == 0:
            raise _UnreadableError(f"the video holds no frame; record it again or {COPY_AGAIN}")
        _check_length(container, stream, clock)


def _open(path: Path) -> av.container.InputContainer:
    try:
        # The prefix keeps a file name from being taken for an address or another protocol.
        return av.open(f"file:{path}", options=LOCAL_FILES_ONLY)
    except PermissionError:
        raise _UnreadableError(_FORBIDDEN) from None
    except av.error.FFmpegError:
        with path.open("rb") as file:
            quicktime = file.read(12)[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip")
        if quicktime:
            raise _UnreadableError(
                f"the video is cut off: its index, which is written last, is missing, as after an interrupted "
                f"recording or copy; {COPY_AGAIN}, or repair it with a tool such as untrunc"
            ) from None
        raise _UnreadableError(
            "the content is not a video, whatever the file is called; check that the right file was listed, or convert "
            "it to mp4"
        ) from None


def _pictures(container: av.container.InputContainer) -> av.VideoStream:
    # The cover of a sound file is a picture, but no recording.
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        raise _UnreadableError(
            "the file holds sound but no picture; list the video that belongs to it, or leave it out"
        )
    return streams[0]


def _packets(path: Path) -> int:
    """Number of frames that the file's index promises, found without decoding any."""
    with _open(path) as container:
        total = 0
        # Decoding will meet the same damage and report it.
        with suppress(av.error.FFmpegError):
            for packet in container.demux(_pictures(container)):
                total += packet.size > 0
        return total


def _decoded(container: av.container.InputContainer, stream: av.VideoStream, report: Report) -> Iterator[av.VideoFrame]:
    """Sound frames up to the end or the first damage: what follows damage is predicted from it, and looks credible."""
    try:
        for packet in container.demux(stream):
            for picture in packet.decode():
                if picture.is_corrupt:
                    raise _UnreadableError(_damaged(report))
                yield picture
    except av.error.FFmpegError:
        # What the decoder still holds back waits for frames that will not come: it would leave gaps in the count.
        raise _UnreadableError(_damaged(report)) from None


def _damaged(report: Report) -> str:
    if report.frames_read == 0:
        return f"the video is damaged from its first frame on; {COPY_AGAIN}"
    return f"the video is damaged or cut off after frame {report.frames_read}, what precedes was used; {COPY_AGAIN}"


class _Clock:
    """Exact times of frames, and what they say about the frame rate."""

    def __init__(self, report: Report, stream: av.VideoStream):
        self._report, self._grain, self._nominal = report, stream.time_base, stream.average_rate
        self.first: Fraction | None = None
        self.last: Fraction | None = None
        self._shortest: Fraction | None = None
        self._longest: Fraction | None = None

    def tick(self, picture: av.VideoFrame) -> float | None:
        """Time of the next frame in seconds; None if the file states neither times nor a rate."""
        number = self._report.frames_read
        if picture.pts is not None:
            now = picture.pts * self._grain
        elif self._nominal:
            now = number / self._nominal
        else:
            return None
        if self.last is None:
            self.first, self._report.variable_frame_rate = now, False
        else:
            step = now - self.last
            self._shortest = step if self._shortest is None else min(step, self._shortest)
            self._longest = step if self._longest is None else max(step, self._longest)
            # A container whose clock ticks in milliseconds writes 30 fps as 33, 33, 34: that is not variable.
            self._report.variable_frame_rate = self._longest - self._shortest > max(self._grain, self._longest / 100)
            if now > self.first:
                self._report.fps = float(number / (now - self.first))
        self.last = now
        return float(now)


def _check_length(container: av.container.InputContainer, stream: av.VideoStream, clock: _Clock) -> None:
    """Some containers, cut off, just end; then only the length that their header states gives them away."""
    if stream.duration is not None:
        stated = stream.duration * stream.time_base
    elif container.duration is not None and len(container.streams) == 1:
        stated = Fraction(container.duration, av.time_base)
    else:
        return
    if clock.last is None:
        return
    seen = clock.last - clock.first
    if stated - seen > max(Fraction(1, 2), stated / 20):
        raise _UnreadableError(
            f"the video states a length of {float(stated):.1f} s, but its frames end after {float(seen):.1f} s: it was "
            f"probably cut off; what there is was used; {COPY_AGAIN}"
        )


def _images(path: Path, report: Report, every: int, at_most: int | None) -> Iterator[Frame]:
    if not path.exists():
        raise _UnreadableError(_MISSING.format("folder"))
    try:
        files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."]
    except PermissionError:
        raise _UnreadableError(_FORBIDDEN.replace("file", "folder")) from None
    except NotADirectoryError:
        raise _UnreadableError(
            "this is a file, but a folder of images was expected; correct the list of clips"
        ) from None
    if not files:
        raise _UnreadableError(f"the folder holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); check its path")
    names = sorted((file.name for file in files), key=natural)
    yield from _listed(path, report, every, at_most, names)


def _listed(path: Path, report: Report, every: int, at_most: int | None, files: Sequence[str]) -> Iterator[Frame]:
    """The stills of a folder that are named."""
    keep = _selector(every, at_most, lambda: len(files))
    bad = []
    for number, file in enumerate(files):
        if keep(number):
            try:
                image = _still(path / file)
            except _UnreadableError as error:
                bad.append(f"{file}: {error}")
                continue
            report.frames_read += 1
            yield Frame(number, None, image)
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise _UnreadableError(f"{len(bad)} of the selected images cannot be read: {bad[0]}{more}")


def _image(path: Path, report: Report, every: int, at_most: int | None) -> Iterator[Frame]:
    image = _still(path)
    report.frames_read = 1
    yield Frame(0, None, image)


def _still(path: Path) -> RGB:
    """One still, upright (the orientation noted by the camera is applied), deeper than 8 bits scaled to 8."""
    _check_file(path, "image")
    try:
        data = np.fromfile(path, np.uint8)
    except PermissionError:
        raise _UnreadableError(_FORBIDDEN) from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise _UnreadableError(
            "the content is not a whole image, whatever the file is called; if it is a video, give it a video's ending "
            f"such as .mp4, otherwise {COPY_AGAIN}"
        )
    return image


_MISSING = "the {} does not exist; check its path, capitals included"
_FORBIDDEN = "the file may not be read by this user; ask its owner for permission (chmod u+r, or the group's rights)"


def _check_file(path: Path, kind: str) -> None:
    """Raise for what can be told without opening a file."""
    try:
        if not path.exists():
            raise _UnreadableError(_MISSING.format("file"))
        if not path.is_file():
            raise _UnreadableError(f"this is a folder or a device, but {kind} was expected; correct the list of clips")
        if path.stat().st_size == 0:
            raise _UnreadableError(f"the file is empty (0 bytes); {COPY_AGAIN}")
    except PermissionError:
        raise _UnreadableError(_FORBIDDEN) from None


_READERS = {"video": _video, "images": _images, "image": _image}
