"""Face landmarks and blendshapes, by MediaPipe's FaceLandmarker."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mediapipe as mp
import numpy as np
import numpy.typing as npt
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.vision.core.vision_task_running_mode import VisionTaskRunningMode
from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarker, FaceLandmarkerOptions

from faceneuro.errors import InputError
from faceneuro.tables import image_of

RGB = npt.NDArray[np.uint8]

FACES_COUNTED_EVERY = 30
"""In video mode: frames between two counts of the faces."""


@dataclass(frozen=True, eq=False)
class Detection:
    """What was found in one image: columns of :data:`faceneuro.tables.LANDMARKS`.

    Attributes
    ----------
    found
        Whether there is a face.
    faces
        Number of faces seen, at most 2; the measured one is the largest.
    search
        Where the face was found: "frame" (the whole image), "crop" (around the clip's last face), "square" (the middle
        of the image) or "tile" (one of four overlapping parts); None if nowhere.
    landmarks
        float32, shape (478, 3): x to the right and y downwards in pixels of the image; z, away from the camera and
        relative to the head's centre, on about the scale of x. None if not found.
    blendshapes
        float32, shape (52,), 0 to 1, in the order of :data:`faceneuro.features.points.BLENDSHAPE_NAMES`. None if not
        found.
    """

    found: bool
    faces: int
    search: str | None = None
    landmarks: npt.NDArray[np.float32] | None = None
    blendshapes: npt.NDArray[np.float32] | None = None


NOTHING = Detection(found=False, faces=0)


@dataclass(frozen=True)
class _Window:
    """Part of an image that is searched by itself; edges in pixels."""

    top: int
    left: int
    bottom: int
    right: int


class LandmarkDetector:
    """Finds the landmarks of the largest face in an image; a context manager.

    MediaPipe's detector sees the image shrunk to 128 x 128 and misses faces narrower than about 12 % of it. Where it
    finds none, three closer looks are taken in turn: around the last face of the clip, in the central square, in four
    overlapping tiles. They cost time in missed frames only.

    Make it in the process that uses it: one made before a fork hangs in the child.

    Parameters
    ----------
    model
        Path of face_landmarker.task.
    mode
        "image": every image by itself; about 0.4 pixels of jitter at a 100 pixel iris distance. "video": with
        MediaPipe's temporal filter, a tenth of the jitter but offset by up to a pixel. Do not mix both in a study. In
        video mode the filter follows one face, and others are counted in every :data:`FACES_COUNTED_EVERY`-th frame.
    retry
        Whether to take the closer looks.
    detection_confidence, presence_confidence
        MediaPipe's thresholds, 0 to 1.

    Raises
    ------
    InputError
        If the model file is missing or is none.
    ValueError
        If the mode is unknown.

    References
    ----------
    Bazarevsky et al., "BlazeFace", 2019; Kartynnik et al., "Real-time facial surface geometry from monocular video on
    mobile GPUs", 2019; Grishchenko et al., "Blendshapes GHUM", 2023.
    """

    def __init__(
        self,
        model: str | Path,
        mode: str = "image",
        retry: bool = True,
        detection_confidence: float = 0.5,
        presence_confidence: float = 0.5,
    ):
        if mode not in ("image", "video"):
            raise ValueError(f"mode is {mode!r}, not image or video")
        self._model, self._retry = Path(model), retry
        self._confidence = {
            "min_face_detection_confidence": detection_confidence,
            "min_face_presence_confidence": presence_confidence,
        }
        # Two faces instead of one cost 2 % of the time of a one-face image and leave its landmarks the same.
        self._still = self._landmarker(VisionTaskRunningMode.IMAGE, num_faces=2)
        self._filters = mode == "video"
        self._moving: FaceLandmarker | None = None
        self.start_clip()

    def __enter__(self) -> "LandmarkDetector":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give MediaPipe's memory and threads back."""
        self._still.close()
        if self._moving is not None:
            self._moving.close()

    def start_clip(self) -> None:
        """Forget the clip before: where its face was, and in video mode the state of the filter."""
        self._last: _Window | None = None
        if self._filters:
            if self._moving is not None:
                self._moving.close()
            # Only with a single face does MediaPipe smooth, and spare the detector while it follows the face.
            self._moving = self._landmarker(VisionTaskRunningMode.VIDEO, num_faces=1)
            self._clock_ms, self._seen, self._faces = 0, 0, 0

    def detect(self, image: RGB, time_s: float | None = None) -> Detection:
        """Find the largest face.

        Parameters
        ----------
        image
            RGB, uint8, shape (height, width, 3).
        time_s
            Time within the clip, rising from call to call; used by video mode only, which measures a still, that has
            no time, by itself.
        """
        whole = _Window(0, 0, *image.shape[:2])
        detection = (
            self._follow(image, whole, time_s)
            if self._filters and time_s is not None
            else self._look(image, [whole], "frame")
        )
        if self._retry and not detection.found:
            for search, windows in self._closer(image.shape[0], image.shape[1]):
                detection = self._look(image, windows, search)
                if detection.found:
                    # Found at the edge of what can be found, it is placed better by a look at close range.
                    close = self._look(image, [_around(detection.landmarks, *image.shape[:2])], search)
                    detection = replace(close, faces=detection.faces) if close.found else detection
                    break
        if detection.found:
            self._last = _around(detection.landmarks, *image.shape[:2])
        return detection

    def _follow(self, image: RGB, window: _Window, time_s: float) -> Detection:
        # MediaPipe's clock counts whole milliseconds and must rise.
        self._clock_ms = max(self._clock_ms + 1, round(time_s * 1000))
        result = self._moving.detect_for_video(_picture(image), self._clock_ms)
        if self._seen % FACES_COUNTED_EVERY == 0:
            self._faces = len(self._still.detect(_picture(image)).face_landmarks)
        self._seen += 1
        found = _faces_of(result, window)
        return _detection(found, "frame", max(self._faces, 1)) if found else NOTHING

    def _look(self, image: RGB, windows: Iterable[_Window], search: str) -> Detection:
        """The largest face in any of the windows."""
        found, most = [], 0
        for window in windows:
            part = np.ascontiguousarray(image[window.top : window.bottom, window.left : window.right])
            faces = _faces_of(self._still.detect(_picture(part)), window)
            found, most = found + faces, max(most, len(faces))
        # Windows overlap, so the same face may be found twice: the faces of one window are the ones to count.
        return _detection(found, search, most) if found else NOTHING

    def _closer(self, height: int, width: int) -> Iterator[tuple[str, list[_Window]]]:
        if self._last is not None:
            yield "crop", [self._last]
        side = max(1, 3 * min(height, width) // 4)
        top, left = (height - side) // 2, (width - side) // 2
        yield "square", [_Window(top, left, top + side, left + side)]
        tall, wide = max(1, 3 * height // 5), max(1, 3 * width // 5)
        yield (
            "tile",
            [_Window(top, left, top + tall, left + wide) for top in (0, height - tall) for left in (0, width - wide)],
        )

    def _landmarker(self, mode: VisionTaskRunningMode, num_faces: int) -> FaceLandmarker:
        if not self._model.is_file():
            raise InputError(f"MediaPipe's model {self._model} does not exist; see assets in the configuration")
        options = FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(self._model)),
            running_mode=mode,
            num_faces=num_faces,
            output_face_blendshapes=True,
            **self._confidence,
        )
        blank = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.zeros((128, 128, 3), np.uint8))
        try:
            with _silence():
                landmarker = FaceLandmarker.create_from_options(options)
                # The parts of the graph start up, and talk, in threads of their own: a first image waits for them.
                if mode is VisionTaskRunningMode.IMAGE:
                    landmarker.detect(blank)
                else:
                    landmarker.detect_for_video(blank, 0)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{self._model} is not MediaPipe's face_landmarker.task: {error}") from error
        return landmarker


@contextmanager
def _silence() -> Iterator[None]:
    """Discard what libraries write to the process's standard error, past Python: MediaPipe offers no switch."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _picture(image: RGB) -> mp.Image:
    return mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image))


def _faces_of(result: Any, window: _Window) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Landmarks, in pixels of the whole image, and blendshapes of each face in a window."""
    wide, tall = window.right - window.left, window.bottom - window.top
    scale = np.array([wide, tall, wide], np.float32)
    shift = np.array([window.left, window.top, 0], np.float32)
    return [
        (
            np.array([(point.x, point.y, point.z) for point in points], np.float32) * scale + shift,
            np.array([shape.score for shape in shapes], np.float32),
        )
        for points, shapes in zip(result.face_landmarks, result.face_blendshapes, strict=True)
    ]


def _detection(found: list[tuple[np.ndarray, np.ndarray]], search: str, faces: int) -> Detection:
    landmarks, blendshapes = max(found, key=lambda face: np.prod(np.ptp(face[0][:, :2], axis=0)))
    return Detection(True, faces, search, landmarks, blendshapes)


def _around(landmarks: npt.NDArray[np.float32], height: int, width: int) -> _Window:
    """A square of twice the face's size around it, as far as it lies in the image."""
    low, high = landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)
    (x, y), reach = (low + high) / 2, float((high - low).max())
    left, top = (int(np.clip(centre - reach, 0, limit - 1)) for centre, limit in ((x, width), (y, height)))
    right, bottom = (int(np.clip(centre + reach, 1, limit)) for centre, limit in ((x, width), (y, height)))
    return _Window(top, left, max(bottom, top + 1), max(right, left + 1))


def landmarks_of_clip(detector: LandmarkDetector, frames: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Landmarks of every frame of one clip, one row at a time; a frame without a face is a row too.

    Parameters
    ----------
    detector
        Is told that a clip starts.
    frames
        Rows of a frames table (:data:`faceneuro.tables.FRAMES`) in temporal order.

    Yields
    ------
    Rows of :data:`faceneuro.tables.LANDMARKS`, without the keys of the clip.
    """
    detector.start_clip()
    for row in frames:
        kept = {name: row[name] for name in ("frame", "time_s", "height", "width")}
        yield kept | vars(detector.detect(image_of(row), row["time_s"]))
