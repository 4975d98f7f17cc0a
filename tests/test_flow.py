import logging

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceneuro.features.flow import flow_of_clip, magnitude
from faceneuro.tables import TableWriter, flow_schema, read_rows

FARNEBACK = {
    **{"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3},
    **{"poly_n": 5, "poly_sigma": 1.2, "flags": 0},
}


def textured(seed: int, shape=(120, 160)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(128, 60, shape)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 2) * 3 - 256, 0, 255).astype(np.uint8)


def shifted(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    return cv2.warpAffine(image, np.float32([[1, 0, dx], [0, 1, dy]]), image.shape[::-1], borderMode=cv2.BORDER_REFLECT)


def clip(*images: np.ndarray, first: int = 0) -> list[dict]:
    """Rows of a frames table."""
    colour = [np.repeat(image[..., None], 3, axis=2) for image in images]
    return [
        {"frame": number, "height": image.shape[0], "width": image.shape[1], "pixels": image.tobytes()}
        for number, image in enumerate(colour, start=first)
    ]


def middle(row: dict, grid: tuple[int, int]) -> float:
    height, width = grid
    inner = row["magnitude"].reshape(grid)[height // 6 : -height // 6, width // 6 : -width // 6]
    return float(np.median(inner))


@settings(max_examples=30)
@given(dx=st.floats(-4, 4), dy=st.floats(-4, 4), seed=st.integers(0, 50))
def test_magnitude_is_the_length_of_a_known_shift(dx, dy, seed):
    image = textured(seed)
    measured = np.median(magnitude(image, shifted(image, dx, dy), **FARNEBACK)[20:-20, 20:-20])
    assert measured == pytest.approx(np.hypot(dx, dy), abs=0.15)


def test_images_scaled_to_one_have_no_flow_worth_the_name():
    # Why 8-bit images are used, although the ALS paper speaks of pixel values between 0 and 1.
    image = textured(3)
    pair = image, shifted(image, 3, 0)
    assert np.median(magnitude(*pair, **FARNEBACK)) == pytest.approx(3, abs=0.15)
    assert magnitude(*(np.float32(part) / 255 for part in pair), **FARNEBACK).max() < 1e-4


@pytest.mark.parametrize(("dx", "dy"), [(6, 0), (0, 6), (3, -5)])
@pytest.mark.parametrize("size", [(640, 480), (960, 480), (360, 640)])
def test_a_coarse_grid_keeps_the_unit_of_the_recording(size, dx, dy):
    # Also where the grid squeezes the picture: down and across are then scaled differently.
    image = cv2.resize(textured(1), size)
    (row,) = flow_of_clip(clip(image, shifted(image, dx, dy)), (120, 160), **FARNEBACK)
    assert middle(row, (120, 160)) == pytest.approx(np.hypot(dx, dy), abs=0.6)


def test_a_grid_finer_than_the_recording_keeps_the_unit_too():
    image = textured(2)
    (row,) = flow_of_clip(clip(image, shifted(image, 2, 0)), (240, 320), **FARNEBACK)
    assert middle(row, (240, 320)) == pytest.approx(2, abs=0.3)


def test_at_full_size_it_is_opencv_on_gray_images():
    first, second = textured(4), shifted(textured(4), 2, 1)
    (row,) = flow_of_clip(clip(first, second), first.shape, **FARNEBACK)
    field = cv2.calcOpticalFlowFarneback(first, second, None, **FARNEBACK)
    reference, _ = cv2.cartToPolar(field[..., 0], field[..., 1])
    np.testing.assert_allclose(row["magnitude"], reference.ravel(), rtol=1e-3, atol=1e-3)


def test_rows_name_both_frames_and_fit_the_table(tmp_path):
    grid = (12, 16)
    keys = {"cohort": "mine", "subject": "1", "clip": "smile"}
    rows = list(flow_of_clip(clip(*(textured(seed) for seed in range(3)), first=7), grid, **FARNEBACK))
    assert [(row["previous"], row["frame"]) for row in rows] == [(7, 8), (8, 9)]
    with TableWriter(tmp_path / "flow.parquet", flow_schema(grid)) as table:
        for row in rows:
            table.append(keys | row)
    for row, again in zip(rows, read_rows(tmp_path / "flow.parquet"), strict=True):
        assert row["magnitude"].dtype == again["magnitude"].dtype == np.float16
        np.testing.assert_array_equal(row["magnitude"], again["magnitude"])


def test_a_single_frame_has_no_flow():
    assert list(flow_of_clip(clip(textured(0)), (12, 16), **FARNEBACK)) == []


def test_a_change_of_resolution_is_named():
    with pytest.raises(ValueError, match="differ in size"):
        magnitude(textured(0), textured(0, (60, 80)), **FARNEBACK)


def test_after_a_change_of_resolution_the_flow_starts_afresh(caplog):
    images = [textured(0), textured(1), textured(2, (60, 80)), textured(3, (60, 80))]
    with caplog.at_level(logging.INFO, "faceneuro"):
        rows = list(flow_of_clip(clip(*images), (12, 16), **FARNEBACK))
    assert [(row["previous"], row["frame"]) for row in rows] == [(0, 1), (2, 3)]
    assert "no flow between" in caplog.text
