import logging
import runpy
import subprocess
import sys
import tracemalloc
from io import BytesIO
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarksConnections
from PIL import Image
from scipy.spatial import ConvexHull
from torchvision.transforms import Grayscale, TenCrop
from torchvision.transforms.functional import to_tensor

from faceneuro.features import crops
from faceneuro.features.crops import (
    MARGIN,
    MASKED,
    SIZE,
    Box,
    crop,
    crop_rows,
    decode,
    encode,
    face_box,
    line_drawing,
    relative,
    surroundings,
    views,
)
from faceneuro.features.faces import spread
from faceneuro.features.landmarks import LandmarkDetector, landmarks_of_clip
from faceneuro.features.points import EYE_OUTER, LOWER_LIP, MOUTH_CORNER, UPPER_LID
from faceneuro.tables import CROPS, FRAMES, LANDMARKS, TableWriter, image_of, read_rows
from faceneuro.video.decoding import decode as decode_video
from running import ROOT

KEYS = {"cohort": "mine", "subject": "P1", "clip": "smile"}
WHOLE = st.integers(0, 10_000)
CONNECTIONS = [(each.start, each.end) for each in FaceLandmarksConnections.FACE_LANDMARKS_CONTOURS]


def noise(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def texture(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    smooth = cv2.GaussianBlur(noise(seed, height, width).astype(np.float32), (0, 0), 3)
    return np.clip((smooth - 128) * 5 + 128, 0, 255).astype(np.uint8)


def face_at(left: float, top: float, width: float, height: float, seed: int = 0) -> np.ndarray:
    """Landmarks scattered over an ellipse, those of the box at its ends."""
    draw = np.random.default_rng(seed)
    turn, radius = draw.uniform(0, 2 * np.pi, 478), np.sqrt(draw.uniform(0, 1, 478))
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn], axis=1)
    points[[127, 356, 10, 152], :2] = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    corner = np.array([left, top, 0])
    return ((points + 1) * [width / 2, height / 2, 1] + corner).astype(np.float32)


def clip_of(*faces: np.ndarray | None, clip: str = "smile", image: np.ndarray | None = None) -> tuple[list, list]:
    """Rows of a frames and of a landmarks table; None is a frame without a face. Frames are numbered 0, 10, 20..."""
    image = noise(0) if image is None else image
    height, width = image.shape[:2]
    frames, landmarks = [], []
    for number, face in enumerate(faces):
        key = KEYS | {"clip": clip, "frame": 10 * number, "time_s": number / 30, "height": height, "width": width}
        frames.append(key | {"pixels": image.tobytes()})
        landmarks.append(key | {"found": face is not None, "faces": int(face is not None), "landmarks": face})
    return frames, landmarks


def tables(folder, *clips) -> tuple[str, str]:
    paths = []
    for name, schema, part in (("frames", FRAMES, 0), ("landmarks", LANDMARKS, 1)):
        paths.append(str(folder / f"{name}.parquet"))
        with TableWriter(paths[-1], schema) as table:
            for clip in clips:
                for row in clip[part]:
                    table.append(row)
    return tuple(paths)


def hull_distance(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """How far outside the convex hull the centre of each pixel lies; 0 inside."""
    hull = points[ConvexHull(points).vertices]
    y, x = np.mgrid[:height, :width] + 0.5
    inside = Outline(hull).contains_points(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(height, width)
    nearest = np.full((height, width), np.inf)
    for start, end in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        along = end - start
        share = ((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along)
        share = np.clip(share, 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - start[0] - share * along[0], y - start[1] - share * along[1]))
    return np.where(inside, 0, nearest)


@pytest.fixture(scope="module")
def real(landmarker_model, face_video):
    """Rows of the frames and landmarks tables of a real face's video, and what finds it."""
    frames = [
        KEYS
        | {"frame": frame.number, "time_s": frame.time_s, "height": 360, "width": 640, "pixels": frame.image.tobytes()}
        for frame in decode_video(face_video, "video", at_most=4)
    ]
    with LandmarkDetector(landmarker_model) as detector:
        yield frames, [KEYS | row for row in landmarks_of_clip(detector, frames)], detector


# The box


@given(ends=st.lists(st.floats(1, 199, width=32), min_size=4, max_size=4), seed=WHOLE)
def test_the_box_is_exactly_the_four_landmarks(ends, seed):
    points = np.random.default_rng(seed).uniform(0, 200, (478, 3)).astype(np.float32)
    points[127, 0], points[10, 1], points[356, 0], points[152, 1] = ends
    # The order does not matter: in a mirrored face 127 is on the right.
    x, y = sorted(ends[::2]), sorted(ends[1::2])
    box = face_box(points, 200, 200)
    assert box == face_box(points.ravel(), 200, 200)
    assert box == ((x[0], y[0], x[1], y[1]) if min(x[1] - x[0], y[1] - y[0]) >= 1 else None)


@pytest.mark.parametrize(
    ("place", "box"),
    [
        ((-30, -20, 100, 120), (0, 0, 70, 100)),
        ((250, 180, 100, 120), (250, 180, 320, 240)),
        ((-50, -50, 500, 500), (0, 0, 320, 240)),
        ((0, 0, 320, 240), (0, 0, 320, 240)),
        ((-100, 20, 100, 120), None),
        ((319.5, 20, 100, 120), None),
        ((100, 300, 100, 120), None),
        ((100, 100, 0.5, 80), None),
    ],
)
def test_a_box_ends_with_the_picture(place, box):
    assert face_box(face_at(*place), 240, 320) == box


def test_relative_positions_are_shares_of_the_box():
    landmarks = face_at(20.25, 40.5, 100, 150)
    shares = relative(landmarks, face_box(landmarks, 240, 320))
    assert shares.shape == (478, 2)
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares[[127, 356], 0], [0, 1], atol=1e-6)
    np.testing.assert_allclose(shares[[10, 152], 1], [0, 1], atol=1e-6)
    np.testing.assert_allclose(shares[7], (landmarks[7, :2] - [20.25, 40.5]) / [100, 150], rtol=1e-5)


# The crop


@settings(max_examples=50)
@given(left=st.floats(1, 100), top=st.floats(1, 100), width=st.floats(20, 700), height=st.floats(20, 700), seed=WHOLE)
def test_a_pixel_of_the_crop_shows_its_place_in_the_frame(left, top, width, height, seed):
    # Red tells the column and green the row, at a slope that is easily read and without a whole-pixel shift.
    y, x = np.mgrid[:820, :820] + 0.5
    image = np.stack([x / 4, y / 4, 0 * x], axis=2).round().astype(np.uint8)
    made = crop(image, Box(left, top, left + width, top + height)).astype(float)
    place = (np.arange(SIZE) + 0.5) / SIZE
    np.testing.assert_allclose(made[..., 0].mean(axis=0) * 4, left + place * width, atol=3)
    np.testing.assert_allclose(made[..., 1].mean(axis=1) * 4, top + place * height, atol=3)


@pytest.mark.parametrize("box", [(10.3, 20.6, 130.9, 200.2), (40, 40, 296, 230), (0, 0, 60.5, 70.5), (1, 1, 9, 9)])
def test_enlarging_is_pillows_bilinear_resampling(box):
    image = noise(1)
    # Pillow does not look beyond the box, so only what is more than a pixel inside is comparable.
    edge = int(np.ceil(SIZE / min(box[2] - box[0], box[3] - box[1])))
    reference = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=box)
    inner = slice(edge, SIZE - edge)
    difference = np.abs(crop(image, Box(*box)).astype(int) - np.asarray(reference))[inner, inner]
    assert difference.max() <= 6
    assert difference.mean() < 1


def test_shrinking_passes_no_pixel_over():
    # Far fewer pixels than before, of pure noise: only averages over all of them are as calm as the reference.
    image = noise(2, 1024, 1280)
    reference = np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BOX)).astype(int)
    made = crop(image, Box(0, 0, 1280, 1024)).astype(int)
    assert np.abs(made - reference).mean() < 2
    assert made.std() == pytest.approx(reference.std(), rel=0.05)


def test_a_box_of_the_size_of_the_crop_is_a_copy():
    image = noise(3, 300, 400)
    np.testing.assert_array_equal(crop(image, Box(30, 20, 286, 276)), image[20:276, 30:286])


def test_the_crop_of_a_real_face_shows_eyes_and_mouth(real):
    frames, measured, detector = real
    image, landmarks = image_of(frames[0]), measured[0]["landmarks"]
    box = face_box(landmarks, 360, 640)
    expected = relative(landmarks, box)
    shown = [index for pair in (EYE_OUTER, UPPER_LID, MOUTH_CORNER) for index in pair.values()] + [LOWER_LIP]
    assert ((expected[shown] > 0.05) & (expected[shown] < 0.95)).all()
    # Seen again in the crop itself, with some room around it, they are where the whole frame said.
    canvas = np.full((2 * SIZE, 2 * SIZE, 3), 128, np.uint8)
    canvas[SIZE // 2 : -SIZE // 2, SIZE // 2 : -SIZE // 2] = crop(image, box)
    again = (detector.detect(canvas).landmarks[shown, :2] - SIZE / 2) / SIZE
    np.testing.assert_allclose(again, expected[shown], atol=0.02)


@given(seed=WHOLE, height=st.integers(1, 40), width=st.integers(1, 40))
def test_png_is_lossless(seed, height, width):
    image = noise(seed, height, width)
    np.testing.assert_array_equal(decode(encode(image)), image)
    np.testing.assert_array_equal(decode(memoryview(encode(image))), image)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(encode(image)))), image)


@pytest.mark.parametrize("data", [b"", b"no picture", encode(noise(0, 8, 8))[:20]])
def test_what_is_no_picture_is_said(data):
    with pytest.raises(ValueError, match=f"{len(data)} bytes that are not an image"):
        decode(data)


# The rows of a shard


def test_rows_fit_the_table_and_hold_what_the_functions_make(real, tmp_path):
    frames, measured, _ = real
    rows = list(crop_rows(*tables(tmp_path, (frames, measured))))
    assert [row["frame"] for row in rows] == [row["frame"] for row in frames]
    with TableWriter(tmp_path / "crops.parquet", CROPS) as table:
        for row in rows:
            table.append(row)
    for row, frame, found in zip(read_rows(tmp_path / "crops.parquet"), frames, measured, strict=True):
        assert list(row) == CROPS.names
        assert {name: row[name] for name in KEYS} == KEYS
        assert (row["image_height"], row["image_width"]) == (360, 640)
        np.testing.assert_array_equal(row["landmarks"], found["landmarks"].ravel())
        box = Box(*(row[edge] for edge in Box._fields))
        assert box == face_box(row["landmarks"], 360, 640)
        np.testing.assert_array_equal(decode(row["png"]), crop(image_of(frame), box))
        np.testing.assert_array_equal(
            decode(row["surroundings_png"]), surroundings(image_of(frame), found["landmarks"])
        )
        assert decode(row["png"]).shape == decode(row["surroundings_png"]).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize(
    ("count", "at_most", "expected"),
    [
        (10, 3, [10, 50, 80]),
        (10, 1, [50]),
        (5, 5, [0, 10, 20, 30, 40]),
        (4, 9, [0, 10, 20, 30]),
        (4, None, [0, 10, 20, 30]),
        (1, 1, [0]),
        (1, 5, [0]),
    ],
)
def test_the_chosen_frames_are_spread_evenly(tmp_path, count, at_most, expected):
    made = crop_rows(*tables(tmp_path, clip_of(*[face_at(100, 50, 90, 120)] * count)), at_most)
    assert [row["frame"] for row in made] == expected


@given(count=st.integers(1, 200), at_most=st.integers(1, 250))
def test_evenly_means_parts_of_equal_length(count, at_most):
    chosen = spread(list(range(count)), at_most)
    assert len(chosen) == len(set(chosen)) == min(count, at_most)
    gaps = np.diff(chosen)
    assert np.ptp(gaps) <= 1 if len(gaps) else True
    # As much is left before the first as after the last.
    assert abs(chosen[0] - (count - 1 - chosen[-1])) <= 1


def test_frames_without_a_face_are_passed_over(tmp_path):
    face = face_at(100, 50, 90, 120)
    clip = clip_of(None, face, None, None, face, face, None)
    assert [row["frame"] for row in crop_rows(*tables(tmp_path, clip))] == [10, 40, 50]
    assert [row["frame"] for row in crop_rows(*tables(tmp_path, clip), 1)] == [40]


def test_a_clip_without_faces_has_no_rows_and_the_next_is_read(tmp_path, caplog):
    clips = clip_of(None, None, clip="a"), clip_of(face_at(100, 50, 90, 120), clip="b"), clip_of(None, clip="c")
    made = crop_rows(*tables(tmp_path, *clips))
    assert [(row["clip"], row["frame"]) for row in made] == [("b", 0)]
    assert list(crop_rows(*tables(tmp_path))) == []
    assert not caplog.records


def test_a_tiny_face_is_cropped_and_said_once_per_clip(tmp_path, caplog):
    small, fine = face_at(100, 50, 30, 41), face_at(100, 50, 90, 120)
    clips = clip_of(fine, small, small, clip="a"), clip_of(fine, clip="b"), clip_of(small, clip="c")
    with caplog.at_level(logging.WARNING, "faceneuro"):
        rows = list(crop_rows(*tables(tmp_path, *clips)))
    assert [decode(row["png"]).shape for row in rows] == [(SIZE, SIZE, 3)] * 5
    assert caplog.messages == [
        f"clip {clip!r} of subject 'P1' (mine): crop smaller than 64 pixels (30 wide, 41 high), enlarged to 256; "
        "record closer to the face or at a higher resolution"
        for clip in "ac"
    ]


@pytest.mark.parametrize(("width", "height", "said"), [(64, 64, 0), (63, 90, 1), (90, 63, 1)])
def test_small_is_less_than_a_quarter_of_the_crop_on_either_side(tmp_path, caplog, width, height, said):
    assert len(list(crop_rows(*tables(tmp_path, clip_of(face_at(100, 50, width, height)))))) == 1
    assert len(caplog.records) == said


def test_only_the_crops_that_are_taken_are_judged(tmp_path, caplog):
    clip = clip_of(face_at(100, 50, 30, 41), face_at(100, 50, 90, 120), face_at(100, 50, 30, 41))
    assert len(list(crop_rows(*tables(tmp_path, clip), 1))) == 1
    assert not caplog.records


def test_a_face_outside_the_picture_is_left_out_and_said_once(tmp_path, caplog):
    far, near = face_at(400, 50, 90, 120), face_at(280, 180, 90, 120)
    rows = list(crop_rows(*tables(tmp_path, clip_of(far, near, far, near, clip="a"), clip_of(far, clip="b"))))
    assert [(row["clip"], row["frame"]) for row in rows] == [("a", 10), ("a", 30)]
    assert [row["right"] for row in rows] == [320, 320]
    said = [message for message in caplog.messages if "left out" in message]
    assert len(said) == 2
    assert "clip 'a' of subject 'P1' (mine): in 2 of 4 frames with a face" in said[0]
    assert "in 1 of 1 frames" in said[1]


def test_a_change_of_resolution_within_a_clip_is_followed(tmp_path):
    face = face_at(100, 50, 90, 120)
    large, small = clip_of(face), clip_of(face, image=noise(1, 120, 160))
    for part in small:
        part[0]["frame"] = 1
    rows = list(crop_rows(*tables(tmp_path, [a + b for a, b in zip(large, small, strict=True)])))
    assert [(row["image_height"], row["image_width"], row["right"], row["bottom"]) for row in rows] == [
        (240, 320, 190, 170),
        (120, 160, 160, 120),
    ]


@pytest.mark.parametrize("at_most", [0, -3])
def test_no_crop_at_all_is_no_choice(at_most):
    with pytest.raises(ValueError, match="starts at 1"):
        next(crop_rows("frames", "landmarks", at_most))


def test_landmarks_of_other_clips_are_not_used(tmp_path):
    frames, _ = clip_of(face_at(100, 50, 90, 120), clip="a")
    _, landmarks = clip_of(face_at(100, 50, 90, 120), clip="b")
    with pytest.raises(ValueError, match="has a clip 'a' that "):
        list(crop_rows(*tables(tmp_path, (frames, landmarks))))


def test_memory_does_not_grow_with_the_number_of_clips(tmp_path):
    image, face = texture(0, 480, 640), face_at(200, 100, 200, 280)
    peaks = []
    for count in (2, 12):
        clips = [clip_of(*[face] * 5, clip=f"{number:02}", image=image) for number in range(count)]
        paths = tables(tmp_path, *clips)
        del clips
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        arrow = [pa.total_allocated_bytes() - before for _ in crop_rows(*paths)]
        peaks.append(tracemalloc.get_traced_memory()[1] + max(arrow))
        tracemalloc.stop()
    # Ten clips more are 46 MB of frames.
    assert peaks[1] < peaks[0] + 20e6


# Lines


def test_the_contours_are_mediapipes():
    mine = [pair for contour in crops.CONTOURS for pair in pairwise(contour)]
    assert sorted(mine) == sorted(CONNECTIONS)


@settings(max_examples=25)
@given(left=st.floats(-40, 200), top=st.floats(-40, 100), width=st.floats(60, 200), seed=WHOLE)
def test_lines_are_opencvs_between_the_named_points(left, top, width, seed):
    landmarks = face_at(left, top, width, 1.3 * width, seed)
    box = face_box(landmarks, 240, 320)
    if box is None:
        return
    expected = np.zeros((SIZE, SIZE, 3), np.uint8)
    scale = np.array([SIZE / (box.right - box.left), SIZE / (box.bottom - box.top)])
    # In sixteenths of a pixel, from the centre of the first.
    ends = np.round(((landmarks[:, :2] - box[:2]) * scale - 0.5) * 16).astype(int).tolist()
    for start, end in CONNECTIONS:
        cv2.line(expected, ends[start], ends[end], (255, 255, 255), 2, shift=4)
    drawn = line_drawing(landmarks, box)
    # An end between two sixteenths may be rounded either way.
    assert (drawn != expected).mean() < 0.002
    assert set(np.unique(drawn)) == {0, 255}
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 1])
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 2])


def test_lines_of_a_real_face_are_thin_and_where_its_features_are(real):
    _, measured, _ = real
    landmarks = measured[0]["landmarks"]
    box = face_box(landmarks, 360, 640)
    drawn = line_drawing(landmarks, box)[..., 0]
    assert 0.03 < (drawn > 0).mean() < 0.15
    for index in (*MOUTH_CORNER.values(), *EYE_OUTER.values(), *UPPER_LID.values(), LOWER_LIP):
        x, y = (relative(landmarks, box)[index] * SIZE).astype(int)
        assert drawn[y, x] == 255
    np.testing.assert_array_equal(drawn, line_drawing(landmarks.ravel(), box)[..., 0])
    assert line_drawing(landmarks, box, 64).shape == (64, 64, 3)


@pytest.mark.parametrize("seed", range(5))
def test_a_mirrored_face_gives_the_mirrored_drawing(real, seed):
    _, measured, _ = real
    shift = np.random.default_rng(seed).uniform(-3, 3, (478, 3))
    landmarks = measured[0]["landmarks"] + shift.astype(np.float32)
    mirrored = landmarks * [-1, 1, 1] + [640, 0, 0]
    one = line_drawing(landmarks, face_box(landmarks, 360, 640))[:, ::-1, 0]
    other = line_drawing(mirrored, face_box(mirrored, 360, 640))[..., 0]
    # To a pixel: OpenCV's lines lean to one side.
    near = np.ones((3, 3), np.uint8)
    assert not (one & ~cv2.dilate(other, near)).any()
    assert not (other & ~cv2.dilate(one, near)).any()


# Masks


@settings(max_examples=25)
@given(left=st.floats(-60, 300), top=st.floats(-60, 220), width=st.floats(2, 200), height=st.floats(2, 200), seed=WHOLE)
def test_surroundings_hide_the_whole_face_and_nothing_else(left, top, width, height, seed):
    landmarks, image = face_at(left, top, width, height, seed), texture(seed % 7)
    masked = surroundings(image, landmarks)
    assert masked.shape == (SIZE, SIZE, 3)
    distance = hull_distance(landmarks[:, :2], 240, 320)
    other = image.copy()
    other[distance == 0] = noise(seed)[distance == 0]
    np.testing.assert_array_equal(surroundings(other, landmarks), masked)
    # In the square, distances are those of the frame, seen from the centres of its pixels.
    x, y = ((np.arange(SIZE) + 0.5) / SIZE * length for length in (320, 240))
    away = distance[np.ix_(y.astype(int), x.astype(int))]
    assert (masked[away == 0] == MASKED).all()
    reach = MARGIN * max(width, height)
    untouched = away > reach + 6
    np.testing.assert_array_equal(masked[untouched], crop(image, Box(0, 0, 320, 240))[untouched])


def test_no_face_is_found_where_it_was_masked(real):
    frames, measured, detector = real
    image, landmarks = image_of(frames[0]), measured[0]["landmarks"]
    detector.start_clip()
    assert detector.detect(image).found
    masked = cv2.resize(surroundings(image, landmarks), (640, 360))
    detector.start_clip()
    assert not detector.detect(masked).found


def test_masking_leaves_the_given_image_alone(real):
    frames, measured, _ = real
    image = image_of(frames[0]).copy()
    before = image.copy()
    surroundings(image, measured[0]["landmarks"])
    np.testing.assert_array_equal(image, before)


# Views


@pytest.mark.parametrize("size", [224, 223, 97, 256])
@pytest.mark.parametrize("shape", [(256, 256), (261, 300)])
def test_ten_views_are_torchvisions_ten_crops(size, shape):
    image = noise(5, *shape)
    made = views(image, 10, size)
    reference = torch.stack(TenCrop(size)(to_tensor(image))).numpy()
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    np.testing.assert_array_equal(made, reference)
    # One and two are among them: the centre, and the centre of the mirrored image.
    np.testing.assert_array_equal(views(image, 1, size), reference[[4]])
    np.testing.assert_array_equal(views(image, 2, size), reference[[4, 9]])


@pytest.mark.parametrize("count", [1, 2, 10])
def test_gray_views_are_luma_in_three_channels(count):
    image = noise(6, SIZE, SIZE)
    made = views(image, count, gray=True)
    assert made.shape == (count, 3, 224, 224)
    np.testing.assert_array_equal(made[:, 0], made[:, 1])
    np.testing.assert_array_equal(made[:, 0], made[:, 2])
    luma = np.asarray(Grayscale(3)(Image.fromarray(image)))
    np.testing.assert_allclose(made, views(luma, count), atol=1.01 / 255)
    exact = image.astype(float) @ [0.299, 0.587, 0.114] / 255
    np.testing.assert_allclose(made[0, 0] if count < 10 else made[4, 0], exact[16:-16, 16:-16], atol=0.51 / 255 + 1e-6)


def test_a_gray_image_stays_as_it_is():
    image = np.repeat(noise(7, SIZE, SIZE)[..., :1], 3, axis=2)
    np.testing.assert_array_equal(views(image, 10, gray=True), views(image, 10))


def test_views_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="not 1, 2 or 10"):
        views(noise(0, SIZE, SIZE), 5)
    with pytest.raises(ValueError, match="an image of 200 x 256 pixels has no view of 224 x 224"):
        views(noise(0, 200, SIZE), 1)


# The step


class Named(dict):
    __getattr__ = dict.__getitem__


def test_the_script_writes_the_table(tmp_path):
    frames, landmarks = tables(tmp_path, clip_of(*[face_at(100, 50, 90, 120)] * 6))
    step = SimpleNamespace(
        rule="crop_faces",
        wildcards=Named(cohort="mine", shard="P1"),
        input=SimpleNamespace(frames=frames, landmarks=landmarks),
        output=SimpleNamespace(crops=str(tmp_path / "crops.parquet")),
        params=Named(at_most=2, code="abc"),
        log=[str(tmp_path / "crop_faces.log")],
    )
    runpy.run_path(str(ROOT / "workflow" / "scripts" / "crop_faces.py"), {"snakemake": step})
    assert [row["frame"] for row in read_rows(tmp_path / "crops.parquet")] == [10, 40]


def test_neither_mediapipe_nor_torch_is_needed():
    # Crops are read where networks are trained, and made where there are none.
    code = "import sys, faceneuro.features.crops; sys.exit(any(name in sys.modules for name in ('mediapipe', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
