import logging
import runpy
import subprocess
import sys
import tracemalloc
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceneuro.features.alignment import (
    POINTS,
    SIZE,
    TEMPLATE,
    align,
    align_rows,
    anchors,
    carry,
    points68,
    similarity,
)
from faceneuro.features.asymmetry import MIDLINE, SIDED
from faceneuro.features.crops import crop_rows, decode
from faceneuro.features.landmarks import LandmarkDetector
from faceneuro.features.points import EYE_INNER, EYE_OUTER, MOUTH_CORNER, NOSE_TIP
from faceneuro.tables import ALIGNED, FRAMES, LANDMARKS, POINT_COUNT, TableWriter, read_rows
from faceneuro.video.decoding import decode as decode_video
from running import ROOT

KEYS = {"cohort": "mine", "subject": "P1", "clip": "smile"}
SEEDS = st.integers(0, 10_000)

COUNTERPART = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
"""In iBUG's scheme: the same place on the other side of the face."""


def turn(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def texture(seed: int, height: int = 240, width: int = 320, blur: float = 6) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), blur)
    return np.clip((smooth - 128) * 8 + 128, 0, 255).astype(np.uint8)


def face_at(matrix: np.ndarray, seed: int = 0) -> np.ndarray:
    """Landmarks whose five points are those of the template, taken elsewhere; the others are anywhere about them."""
    random = np.random.default_rng(seed)
    points = random.uniform(10, 102, (478, 2))
    for side, row in (("right", 0), ("left", 1)):
        points[EYE_OUTER[side]], points[EYE_INNER[side]] = TEMPLATE[row] + [-8, 1], TEMPLATE[row] + [8, -1]
    points[NOSE_TIP] = TEMPLATE[2]
    points[[MOUTH_CORNER["right"], MOUTH_CORNER["left"]]] = TEMPLATE[3:]
    return np.column_stack([carry(matrix, points), np.zeros(478)]).astype(np.float32)


def near(x: float = 100, y: float = 60, scale: float = 1.0) -> np.ndarray:
    return face_at(turn(0, scale, (x, y)))


def clip_of(*faces: np.ndarray | None, clip: str = "smile", image: np.ndarray | None = None) -> tuple[list, list]:
    """Rows of a frames and of a landmarks table; None is a frame without a face. Frames are numbered 0, 10, 20..."""
    image = texture(0) if image is None else image
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


@pytest.fixture(scope="module")
def real(landmarker_model, face_video):
    """A frame of a real face, its landmarks, and those of the mirrored frame."""
    frame = next(iter(decode_video(face_video, "video", at_most=1)))
    mirrored = np.ascontiguousarray(frame.image[:, ::-1])
    with LandmarkDetector(landmarker_model) as detector:
        return frame.image, detector.detect(frame.image).landmarks, detector.detect(mirrored).landmarks


# The transform


@given(
    degrees=st.floats(-180, 180),
    scale=st.floats(0.01, 50),
    x=st.floats(-1000, 1000),
    y=st.floats(-1000, 1000),
    seed=SEEDS,
)
def test_a_similarity_is_found_again(degrees, scale, x, y, seed):
    points = np.random.default_rng(seed).uniform(-100, 100, (5, 2))
    true = turn(degrees, scale, (x, y))
    np.testing.assert_allclose(similarity(points, carry(true, points)), true, atol=1e-6 * max(scale, 1))


@given(seed=SEEDS)
def test_no_turn_scale_or_shift_is_nearer(seed):
    # Umeyama by singular values, without reflection: another way to the same minimum.
    random = np.random.default_rng(seed)
    source, target = random.uniform(0, 100, (2, 5, 2))
    one, other = source - source.mean(axis=0), target - target.mean(axis=0)
    left, values, right = np.linalg.svd(other.T @ one)
    signs = np.array([1, np.sign(np.linalg.det(left @ right))])
    rotation = left @ np.diag(signs) @ right
    scale = (values * signs).sum() / (one**2).sum()
    expected = np.column_stack([scale * rotation, target.mean(axis=0) - scale * rotation @ source.mean(axis=0)])
    np.testing.assert_allclose(similarity(source, target), expected, atol=1e-6)


def test_a_mirrored_pattern_is_not_mirrored_back():
    found = similarity(TEMPLATE * [-1, 1], TEMPLATE)
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize("source", [np.zeros((5, 2)), np.full((5, 2), 7.5)])
def test_a_single_place_has_no_turn(source):
    with pytest.raises(ValueError, match="no similarity"):
        similarity(source, TEMPLATE)


def test_a_flat_matrix_carries_too():
    matrix = turn(30, 2, (5, -3))
    points = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_allclose(carry(matrix.ravel().astype(np.float32), points), carry(matrix, points), atol=1e-5)
    np.testing.assert_allclose(carry(turn(90, 1, (10, 0)), [[1, 0]]), [[10, 1]], atol=1e-12)


# The image


@settings(max_examples=30)
@given(degrees=st.floats(-60, 60), scale=st.floats(0.3, 1.4), seed=SEEDS)
def test_the_face_is_in_its_place_wherever_it_was(degrees, scale, seed):
    middle = (160 - scale * 56, 120 - scale * 70)
    landmarks = face_at(turn(degrees, scale, middle), seed)
    image, matrix, points = align(texture(seed % 5), landmarks)
    assert image.shape == (SIZE, SIZE, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(carry(matrix, anchors(landmarks)), TEMPLATE, atol=1e-3)
    np.testing.assert_allclose(points * SIZE, carry(matrix, landmarks[list(POINTS), :2]), atol=1e-3)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1), (25, 1), (-40, 1.3), (10, 0.6), (90, 0.8), (180, 1), (5, 3.3)])
def test_every_pixel_is_the_one_that_the_matrix_says(degrees, scale):
    frame = texture(3, 480, 640, blur=3 * max(1, scale))
    landmarks = face_at(turn(degrees, scale, (320, 240) - turn(degrees, scale, (0, 0))[:, :2] @ [56, 72]))
    image, matrix, _ = align(frame, landmarks)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    # The centre of each aligned pixel, in the frame; of its pixels the first has its centre at a half.
    centres = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), axis=-1)
    x, y = np.moveaxis(carry(inverse, centres), -1, 0)
    inside = (x > 1) & (y > 1) & (x < 639) & (y < 479)
    assert inside.mean() > 0.9
    expected = cv2.remap(frame, (x - 0.5).astype(np.float32), (y - 0.5).astype(np.float32), cv2.INTER_LINEAR)
    assert np.abs(image.astype(int) - expected)[inside].mean() < 1.5


def test_no_pixel_of_a_large_face_is_passed_over():
    checks = (np.indices((600, 600)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image, _, _ = align(np.repeat(checks[..., None], 3, axis=2), face_at(turn(0, 4.3, (70, 60))))
    assert np.abs(image.astype(int) - 127).max() < 25


def test_beyond_the_picture_its_edge_goes_on():
    frame = np.full((120, 120, 3), 200, np.uint8)
    image, _, _ = align(frame, face_at(turn(0, 1, (-30, 0))))
    assert (image == 200).all()


# The points


def test_there_are_68_points_and_no_two_are_the_same():
    assert len(POINTS) == len(set(POINTS)) == len(COUNTERPART) == POINT_COUNT


def test_the_points_agree_with_those_of_the_asymmetry_measures():
    # The published key points are the scheme's; the eye corners differ by a neighbour of the same landmark.
    key_points = {index: name for name, pair in SIDED.items() for index in pair}
    shared = {key_points[index] for index in POINTS if index in key_points}
    assert shared >= set(SIDED) - {"eye_outer", "eye_inner"}
    assert {MIDLINE[name] for name in ("nose_tip", "upper_lip", "lower_lip", "chin")} <= set(POINTS)
    for right, left in SIDED.values():
        if right in POINTS:
            assert COUNTERPART[POINTS.index(right)] == POINTS.index(left)


def test_the_points_of_a_real_face_are_where_the_scheme_has_them(real):
    image, landmarks, _ = real
    points = align(image, landmarks).points
    outline, brows, bridge, base = points[:17], points[17:27], points[27:31], points[31:36]
    right_eye, left_eye, outer, inner = points[36:42], points[42:48], points[48:60], points[60:]
    for walk in (
        outline[:9, 1],
        outline[:7:-1, 1],
        outline[2:15, 0],
        brows[:, 0],
        bridge[:, 1],
        base[:, 0],
        outer[:7, 0],
        inner[:5, 0],
    ):
        assert (np.diff(walk) > 0).all()
    # From the corner of the mouth back along its lower edge.
    assert (np.diff(outer[6:, 0]) < 0).all()
    assert (np.diff(inner[4:, 0]) < 0).all()
    for eye, brow in ((right_eye, brows[:5]), (left_eye, brows[5:])):
        assert brow[:, 1].max() < eye[:, 1].min()
        assert eye[[1, 2], 1].max() < eye[[4, 5], 1].min()
        assert eye[:, 0].argmin() == 0
        assert eye[:, 0].argmax() == 3
    assert outer[:, 1].min() < inner[:, 1].min() < inner[:, 1].max() < outer[:, 1].max()
    assert bridge[:, 1].max() < base[:, 1].min() + 0.02 < outer[:, 1].min()


def test_a_mirrored_face_has_mirrored_points(real):
    image, landmarks, mirrored = real
    back = points68(mirrored)[list(COUNTERPART)] * [-1, 1] + [image.shape[1], 0]
    unit = np.ptp(anchors(landmarks)[:2, 0])
    assert np.linalg.norm(back - points68(landmarks), axis=1).max() < 0.12 * unit


def test_a_flat_row_of_a_table_is_the_same_face(real):
    image, landmarks, _ = real
    np.testing.assert_array_equal(points68(landmarks.ravel()), points68(landmarks))
    np.testing.assert_array_equal(align(image, landmarks.ravel()).image, align(image, landmarks).image)


# The table


def test_rows_fit_the_table_and_hold_what_the_functions_make(real, tmp_path):
    image, landmarks, _ = real
    rows = list(align_rows(*tables(tmp_path, clip_of(landmarks, None, landmarks, image=image))))
    with TableWriter(tmp_path / "aligned.parquet", ALIGNED) as table:
        for row in rows:
            table.append(row)
    expected = align(image, landmarks)
    read = list(read_rows(tmp_path / "aligned.parquet"))
    assert [row["frame"] for row in read] == [0, 20]
    for row in read:
        assert list(row) == ALIGNED.names
        assert {name: row[name] for name in KEYS} == KEYS
        np.testing.assert_array_equal(decode(row["png"]), expected.image)
        np.testing.assert_allclose(row["matrix"].reshape(2, 3), expected.matrix, rtol=1e-6)
        np.testing.assert_array_equal(row["points"].reshape(68, 2), expected.points)


@pytest.mark.parametrize("at_most", [1, 3, None])
def test_the_frames_are_those_that_crops_are_made_of(tmp_path, at_most):
    paths = tables(tmp_path, clip_of(*[near()] * 10), clip_of(None, *[near()] * 4, clip="b"))
    chosen = [(row["clip"], row["frame"]) for row in align_rows(*paths, at_most)]
    assert chosen == [(row["clip"], row["frame"]) for row in crop_rows(*paths, at_most)]


def test_a_face_whose_eye_nose_or_mouth_is_cut_off_is_left_out_and_said_once(tmp_path, caplog):
    off = [near(*place) for place in ((-40, 60), (260, 60), (100, -60), (100, 160))]
    clips = clip_of(near(), *off, near(), clip="a"), clip_of(off[0], clip="b"), clip_of(near(), clip="c")
    rows = list(align_rows(*tables(tmp_path, *clips)))
    assert [(row["clip"], row["frame"]) for row in rows] == [("a", 0), ("a", 50), ("c", 0)]
    assert len(caplog.messages) == 2
    assert "clip 'a' of subject 'P1' (mine): in 4 of 6 frames with a face" in caplog.messages[0]
    assert "clip 'b' of subject 'P1' (mine): in 1 of 1 frames" in caplog.messages[1]


@pytest.mark.parametrize(("scale", "said"), [(0.55, 0), (0.45, 1)])
def test_a_face_enlarged_more_than_twice_is_said_once(tmp_path, caplog, scale, said):
    clip = clip_of(*[near(scale=scale)] * 3)
    with caplog.at_level(logging.WARNING, "faceneuro"):
        assert len(list(align_rows(*tables(tmp_path, clip)))) == 3
    assert len(caplog.messages) == said
    assert all("enlarged to 2.2 times its size" in message for message in caplog.messages)


def test_a_clip_without_faces_has_no_rows_and_the_next_is_read(tmp_path, caplog):
    clips = clip_of(None, None, clip="a"), clip_of(near(), clip="b"), clip_of(None, clip="c")
    assert [row["clip"] for row in align_rows(*tables(tmp_path, *clips))] == ["b"]
    assert list(align_rows(*tables(tmp_path))) == []
    assert not caplog.records


def test_what_cannot_be_asked_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match="starts at 1"):
        next(align_rows("frames", "landmarks", 0))
    frames, landmarks = clip_of(near(), clip="a"), clip_of(near(), clip="b")
    with pytest.raises(ValueError, match="has a clip 'a' that "):
        list(align_rows(*tables(tmp_path, (frames[0], landmarks[1]))))


def test_memory_does_not_grow_with_the_number_of_clips(tmp_path):
    image = texture(0, 480, 640)
    peaks = []
    for count in (2, 12):
        clips = [clip_of(*[near(250, 200)] * 5, clip=f"{number:02}", image=image) for number in range(count)]
        paths = tables(tmp_path, *clips)
        del clips
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        arrow = [pa.total_allocated_bytes() - before for _ in align_rows(*paths)]
        peaks.append(tracemalloc.get_traced_memory()[1] + max(arrow))
        tracemalloc.stop()
    # Ten clips more are 46 MB of frames.
    assert peaks[1] < peaks[0] + 20e6


# The step


class Named(dict):
    __getattr__ = dict.__getitem__


def test_the_script_writes_the_table(tmp_path):
    frames, landmarks = tables(tmp_path, clip_of(*[near()] * 6))
    step = SimpleNamespace(
        rule="align_faces",
        wildcards=Named(cohort="mine", shard="P1"),
        input=SimpleNamespace(frames=frames, landmarks=landmarks),
        output=SimpleNamespace(aligned=str(tmp_path / "aligned.parquet")),
        params=Named(at_most=2, code="abc"),
        log=[str(tmp_path / "align_faces.log")],
    )
    runpy.run_path(str(ROOT / "workflow" / "scripts" / "align_faces.py"), {"snakemake": step})
    assert [row["frame"] for row in read_rows(tmp_path / "aligned.parquet")] == [10, 40]


def test_neither_mediapipe_nor_torch_is_needed():
    code = (
        "import sys, faceneuro.features.alignment, faceneuro.studies.synthesis; "
        "sys.exit(any(name in sys.modules for name in ('mediapipe', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
