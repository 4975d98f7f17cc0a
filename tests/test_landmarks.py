import subprocess
import sys

import cv2
import mediapipe as mp
import numpy as np
import pytest
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarker, FaceLandmarkerOptions

from faceneuro.errors import InputError
from faceneuro.features import points
from faceneuro.features.landmarks import LandmarkDetector, landmarks_of_clip
from faceneuro.tables import LANDMARKS, TableWriter, read_rows
from faceneuro.video.decoding import decode

KEYS = {"cohort": "mine", "subject": "P1", "clip": "smile"}


@pytest.fixture(scope="module")
def frames(face_video):
    return list(decode(face_video, "video", at_most=12))


@pytest.fixture(scope="module")
def face(frames):
    """A real face in a 640 x 360 image."""
    return frames[0].image


@pytest.fixture(scope="module")
def detector(landmarker_model):
    with LandmarkDetector(landmarker_model) as detector:
        yield detector


@pytest.fixture(scope="module")
def expected(detector, face):
    return detector.detect(face)


def placed(face, size, width, left, top):
    """The face's part of the image, ``width`` pixels wide, on an empty canvas of ``size`` (height, width)."""
    part = face[:, 100:460]
    canvas = np.full((*size, 3), 90, np.uint8)
    small = cv2.resize(part, (width, width), interpolation=cv2.INTER_AREA)
    canvas[top : top + width, left : left + width] = small
    return canvas


def error(detection, expected, width, left, top):
    """Mean distance to where the landmarks of the whole image come to lie, in pixels of the original."""
    scale = 360 / width
    back = (detection.landmarks[:, :2] - [left, top]) * scale + [100, 0]
    return np.linalg.norm(back - expected.landmarks[:, :2], axis=1).mean()


def rows(images):
    return [
        {"frame": number, "time_s": number / 30, "height": image.shape[0], "width": image.shape[1], "pixels": image}
        for number, image in enumerate(images)
    ]


def test_it_is_mediapipe_in_pixels(landmarker_model, face, expected):
    options = FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(landmarker_model)), output_face_blendshapes=True
    )
    with FaceLandmarker.create_from_options(options) as raw:
        result = raw.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=face))
    reference = np.array([(p.x * 640, p.y * 360, p.z * 640) for p in result.face_landmarks[0]])
    np.testing.assert_allclose(expected.landmarks, reference, atol=1e-3)
    np.testing.assert_allclose(expected.blendshapes, [shape.score for shape in result.face_blendshapes[0]], atol=1e-6)
    assert tuple(shape.category_name for shape in result.face_blendshapes[0]) == points.BLENDSHAPE_NAMES
    assert (expected.found, expected.faces, expected.search) == (True, 1, "frame")
    assert expected.landmarks.shape == (478, 3)
    assert expected.landmarks.dtype == expected.blendshapes.dtype == np.float32


def test_named_points_lie_where_their_names_say(expected):
    x, y = expected.landmarks[:, 0], expected.landmarks[:, 1]
    # The subject's left is on the right of the image.
    for pair in (points.IRIS, points.MOUTH_CORNER, points.UPPER_LID, points.EYE_OUTER, points.EYE_INNER):
        assert x[pair["left"]] > x[pair["right"]]
    for side, sign in (("left", 1), ("right", -1)):
        assert sign * x[points.FACE_SIDE[side]] > sign * x[points.EYE_OUTER[side]] > sign * x[points.IRIS[side]]
        assert sign * x[points.IRIS[side]] > sign * x[points.EYE_INNER[side]]
        assert y[list(points.BROW[side])].max() < y[points.UPPER_LID[side]] < y[points.LOWER_LID[side]]
        assert y[points.UPPER_LID[side]] < y[points.IRIS[side]] < y[points.LOWER_LID[side]]
    assert y[points.FOREHEAD] < y[points.NOSE_TIP] < y[points.UPPER_LIP] < y[points.LOWER_LIP] < y[points.CHIN]
    assert set(points.MEASURED.values()) <= set(range(478))


def test_images_are_independent_of_each_other(landmarker_model, detector, frames):
    forwards = [detector.detect(frame.image).landmarks for frame in frames]
    with LandmarkDetector(landmarker_model) as other:
        backwards = [other.detect(frame.image).landmarks for frame in reversed(frames)]
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize(
    ("search", "width", "left", "top"),
    [("frame", 300, 400, 100), ("square", 160, 560, 280), ("tile", 180, 5, 5), ("tile", 180, 1090, 530)],
)
def test_a_small_face_is_found_at_closer_look(detector, face, expected, search, width, left, top):
    detector.start_clip()
    detection = detector.detect(placed(face, (720, 1280), width, left, top))
    assert (detection.found, detection.faces, detection.search) == (True, 1, search)
    assert error(detection, expected, width, left, top) < 1.5


def test_a_lost_face_is_looked_for_where_it_was(detector, face, expected):
    detector.start_clip()
    assert detector.detect(placed(face, (720, 1280), 340, 200, 100)).search == "frame"
    detection = detector.detect(placed(face, (720, 1280), 130, 300, 200))
    assert detection.search == "crop"
    assert error(detection, expected, 130, 300, 200) < 1.5
    detector.start_clip()
    assert detector.detect(placed(face, (720, 1280), 130, 300, 200)).search != "crop"


def test_without_retry_a_small_face_is_missed(landmarker_model, face):
    with LandmarkDetector(landmarker_model, retry=False) as strict:
        assert not strict.detect(placed(face, (720, 1280), 180, 5, 5)).found


@pytest.mark.parametrize("shape", [(360, 640), (640, 360), (101, 101), (2160, 3840), (1, 1)])
def test_no_face_is_an_answer(detector, shape):
    detector.start_clip()
    detection = detector.detect(np.full((*shape, 3), 120, np.uint8))
    assert (detection.found, detection.faces, detection.search) == (False, 0, None)
    assert detection.landmarks is None
    assert detection.blendshapes is None


def test_of_two_faces_the_larger_is_measured_and_both_are_counted(detector, face, expected):
    canvas = np.full((480, 960, 3), 90, np.uint8)
    canvas[60:420, 560:920] = face[:, 100:460]
    canvas[100:340, 40:280] = cv2.resize(face[:, 100:460], (240, 240), interpolation=cv2.INTER_AREA)
    detection = detector.detect(canvas)
    assert detection.faces == 2
    assert error(detection, expected, 360, 560, 60) < 1.5


def test_a_gray_face_is_found(detector, face, expected):
    gray = np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert np.abs(detector.detect(gray).landmarks - expected.landmarks)[:, :2].mean() < 3


def test_a_mirrored_face_changes_sides(detector, face, expected):
    mirrored = detector.detect(np.ascontiguousarray(face[:, ::-1]))
    for pair in (points.IRIS, points.MOUTH_CORNER):
        x = mirrored.landmarks[pair["left"], 0], 640 - expected.landmarks[pair["right"], 0]
        assert x[0] == pytest.approx(x[1], abs=3)


def test_rows_of_a_clip_fill_the_table(detector, face, tmp_path):
    blank = np.full_like(face, 120)
    with TableWriter(tmp_path / "landmarks.parquet", LANDMARKS) as table:
        for row in landmarks_of_clip(detector, rows([face, blank, face])):
            table.append(KEYS | row)
    read = list(read_rows(tmp_path / "landmarks.parquet"))
    assert [row["found"] for row in read] == [True, False, True]
    assert [row["frame"] for row in read] == [0, 1, 2]
    assert read[1]["landmarks"] is None
    assert read[1]["blendshapes"] is None
    np.testing.assert_array_equal(read[0]["landmarks"], detector.detect(face).landmarks.ravel())


def test_a_clip_does_not_depend_on_the_one_before(detector, face):
    small = placed(face, (720, 1280), 130, 300, 200)
    large = placed(face, (720, 1280), 340, 200, 100)
    alone = [row["search"] for row in landmarks_of_clip(detector, rows([small]))]
    list(landmarks_of_clip(detector, rows([large])))
    assert [row["search"] for row in landmarks_of_clip(detector, rows([small]))] == alone


def test_video_mode_filters_within_a_clip_and_starts_each_anew(landmarker_model, detector, face):
    random = np.random.default_rng(0)
    noisy = [np.clip(face + random.normal(0, 6, face.shape), 0, 255).astype(np.uint8) for _ in range(12)]
    with LandmarkDetector(landmarker_model, mode="video") as video:
        first, second = ([row["landmarks"] for row in landmarks_of_clip(video, rows(noisy))] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    still = [row["landmarks"] for row in landmarks_of_clip(detector, rows(noisy))]
    assert np.std(first[4:], axis=0).mean() < 0.5 * np.std(still[4:], axis=0).mean()
    assert np.abs(np.mean(first, axis=0) - np.mean(still, axis=0))[:, :2].mean() < 1.5


def test_video_mode_counts_faces_and_looks_closer_too(landmarker_model, face):
    two = np.concatenate([face[:, 100:460], face[:, 100:460]], axis=1)
    with LandmarkDetector(landmarker_model, mode="video") as video:
        assert video.detect(two, 0.0).faces == 2
        video.start_clip()
        assert video.detect(placed(face, (720, 1280), 180, 5, 5), 0.0).search == "tile"


def test_video_mode_measures_a_still_by_itself_and_bears_any_clock(landmarker_model, detector, face):
    with LandmarkDetector(landmarker_model, mode="video") as video:
        np.testing.assert_array_equal(video.detect(face).landmarks, detector.detect(face).landmarks)
        # Frames closer than a millisecond, or with a time that stands still, are no reason to fail.
        assert [video.detect(face, time).found for time in (0.0, 0.0, 0.0001)] == [True] * 3


def test_a_wrong_model_or_mode_is_named(tmp_path, landmarker_model):
    with pytest.raises(InputError, match=r"none\.task does not exist"):
        LandmarkDetector(tmp_path / "none.task")
    (tmp_path / "bad.task").write_text("no model")
    with pytest.raises(InputError, match=r"bad.task is not MediaPipe's face_landmarker.task"):
        LandmarkDetector(tmp_path / "bad.task")
    with pytest.raises(ValueError, match="live"):
        LandmarkDetector(landmarker_model, mode="live")


def test_mediapipe_is_silent_and_python_is_not(landmarker_model):
    code = f"""
import sys, numpy as np
from faceneuro.features.landmarks import LandmarkDetector
for mode in ("image", "video"):
    with LandmarkDetector({str(landmarker_model)!r}, mode=mode) as detector:
        detector.detect(np.zeros((50, 50, 3), np.uint8), 0.0)
print("heard", file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr == "heard\n"
