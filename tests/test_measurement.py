import numpy as np
import pandas as pd
import pytest
from scipy import stats

from faceneuro.evaluation.measurement import COLUMNS, validate
from faceneuro.features.points import MEASURED

# A face at rest, in units of the iris distance; the subject's left is at positive x, y grows downwards.
REST = {
    **{"mouth_corner": (0.42, 1.0), "upper_lid": (0.5, -0.09), "lower_lid": (0.5, 0.08), "brow": (0.55, -0.4)},
    **{"iris": (0.5, 0.0), "chin": (0.0, 1.75), "upper_lip": (0.0, 0.97), "lower_lip": (0.0, 1.0)},
}
DOWN_AND_OUT = {"rise": (0, -1), "spread": (1, 0)}


def shape(movements: dict[str, tuple[float, float]]) -> np.ndarray:
    """Points in the order of MEASURED, shape (13, 2), each moved (outwards, down) in units of the iris distance."""
    rows = []
    for name in MEASURED:
        kind, _, side = name.rpartition("_") if name.endswith(("left", "right")) else (name, "", "")
        out, down = movements.get(name, (0, 0))
        x, y = REST[kind]
        rows.append(((x + out) * (-1 if side == "right" else 1), y + down))
    return np.array(rows)


def filmed(face: np.ndarray, iris_px=100.0, roll=0.0, shift=(320.0, 200.0)) -> np.ndarray:
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return iris_px * face @ turn.T + shift


def tables(subjects, movements_of, measured_of=None, camera=lambda number: {}, frames=40, noise=0.0):
    """Truth and landmark rows: ``movements_of(subject, phase)`` truly happens, ``measured_of`` is seen."""
    random = np.random.default_rng(0)
    truth, landmarks = [], []
    for subject in range(subjects):
        for frame in range(frames):
            phase = max(0.0, np.sin((frame - 5) / (frames - 5) * np.pi))
            keys = {"cohort": "virtual", "subject": f"S{subject}", "clip": "smile", "frame": frame}
            true = shape(movements_of(subject, phase))
            seen = shape((measured_of or movements_of)(subject, phase)) + random.normal(0, noise, true.shape)
            full = np.zeros((478, 3), np.float32)
            full[list(MEASURED.values()), :2] = filmed(seen, **camera(frame))
            truth.append(keys | {"points": filmed(true, **camera(frame)).ravel().astype(np.float32)})
            landmarks.append(keys | {"found": True, "landmarks": full.ravel()})
    return landmarks, truth


def smile(subject, phase, gain=1.0, right=1.0):
    reach = (0.10 + 0.02 * subject) * phase * gain
    return {"mouth_corner_left": (0.5 * reach, -reach), "mouth_corner_right": (0.5 * reach * right, -reach * right)}


def everything(subject, phase):
    return smile(subject, phase) | {
        **{"upper_lid_left": (0, 0.1 * phase), "upper_lid_right": (0, 0.05 * phase)},
        **{"brow_left": (0, -0.2 * phase), "brow_right": (0, -0.1 * phase)},
        **{"chin": (0, 0.3 * phase), "lower_lip": (0, 0.25 * phase)},
    }


def look_up(result, measure, side, quantity):
    row = result.query("measure == @measure and side == @side and quantity == @quantity")
    assert len(row) == 1
    return row.iloc[0]


def test_a_perfect_measurement_is_perfect_in_every_measure():
    landmarks, truth = tables(4, everything)
    result = validate(landmarks, truth, MEASURED, resamples=200)
    assert list(result.columns) == COLUMNS
    assert len(result) == 4 * 2 * 4 + 2 * 3
    wide = result.pivot(index=["measure", "side"], columns="quantity", values="value")
    np.testing.assert_allclose(wide["slope"], 1, atol=1e-3)
    np.testing.assert_allclose(wide["r"], 1, atol=1e-5)
    np.testing.assert_allclose(wide["mae"], 0, atol=1e-3)


@pytest.mark.parametrize(
    ("movement", "measure", "side", "sign"),
    [
        ({"mouth_corner_left": (0, -0.1)}, "mouth corner rise", "left", 1),
        ({"mouth_corner_right": (0.1, 0)}, "mouth corner spread", "right", 1),
        ({"mouth_corner_right": (-0.1, 0)}, "mouth corner spread", "right", -1),
        ({"upper_lid_left": (0, 0.1)}, "lid opening", "left", -1),
        ({"brow_right": (0, -0.1)}, "brow height", "right", 1),
        ({"chin": (0, 0.1)}, "jaw opening", "midline", 1),
        ({"lower_lip": (0, 0.1)}, "lip opening", "midline", 1),
    ],
)
def test_each_movement_moves_its_own_measure_by_its_size(movement, measure, side, sign):
    # The measurement sees a still face, so the mean absolute error is the true excursion, and the rest of them is zero.
    landmarks, truth = tables(2, lambda subject, phase: movement if phase else {}, lambda subject, phase: {})
    result = (
        validate(landmarks, truth, MEASURED, resamples=10).query("quantity == 'mae'").set_index(["measure", "side"])
    )
    moving = 40 - sum(max(0.0, np.sin((frame - 5) / 35 * np.pi)) == 0 for frame in range(40))
    assert result.loc[(measure, side), "value"] == pytest.approx(10 * moving / 40, rel=1e-3)
    assert result["value"].sum() == pytest.approx(result.loc[(measure, side), "value"], abs=1e-2)
    seen, _ = tables(2, lambda subject, phase: movement if phase else {})
    slope = look_up(validate(seen, truth, MEASURED, resamples=10), measure, side, "slope")["value"]
    assert sign * slope == pytest.approx(sign)


def test_place_roll_and_distance_of_the_head_do_not_matter():
    def camera(frame):
        return {"iris_px": 80 + frame, "roll": 0.01 * frame, "shift": (300 + 3 * frame, 200 - 2 * frame)}

    still = validate(*tables(3, everything, noise=0.004), MEASURED, resamples=50)
    moving = validate(*tables(3, everything, noise=0.004, camera=camera), MEASURED, resamples=50)
    pd.testing.assert_frame_equal(still, moving, rtol=1e-3, atol=1e-3)


def test_compression_is_the_slope():
    landmarks, truth = tables(4, smile, lambda subject, phase: smile(subject, phase, gain=0.6))
    row = look_up(validate(landmarks, truth, MEASURED, resamples=200), "mouth corner rise", "left", "slope")
    assert row["value"] == pytest.approx(0.6, abs=1e-3)
    assert row["ci_low"] == pytest.approx(0.6, abs=1e-3)
    assert row["ci_high"] == pytest.approx(0.6, abs=1e-3)
    assert (row["n_frames"], row["n_subjects"]) == (160, 4)


def test_leak_to_the_still_side_is_found():
    landmarks, truth = tables(
        3,
        lambda subject, phase: smile(0, phase, right=0.0),
        lambda subject, phase: smile(0, phase, right=0.2),
    )
    result = validate(landmarks, truth, MEASURED, resamples=50)
    phases = [np.sin((frame - 5) / 35 * np.pi) for frame in range(5, 40)]
    expected = np.mean([2 * phase for phase in phases if 10 * phase > 5])
    assert look_up(result, "mouth corner rise", "right", "leak")["value"] == pytest.approx(expected, rel=1e-3)
    left = look_up(result, "mouth corner rise", "left", "leak")
    assert np.isnan(left["value"])
    assert (left["n_frames"], left["n_subjects"]) == (0, 0)


def test_numbers_agree_with_scipy_and_intervals_hold_them():
    def seen(subject, phase):
        return smile(subject, phase, gain=0.7 + 0.1 * subject)

    landmarks, truth = tables(6, smile, seen, noise=0.01)
    result = validate(landmarks, truth, MEASURED, resamples=500)
    corner = MEASURED["mouth_corner_left"]
    x = np.array([-row["points"].reshape(-1, 2)[0, 1] for row in truth]).reshape(6, 40)
    y = []
    for row in landmarks:
        place = row["landmarks"].reshape(478, 3)[:, :2].astype(float)
        left, right = (place[MEASURED[f"iris_{side}"]] for side in ("left", "right"))
        axis = (left - right) / np.linalg.norm(left - right)
        offset = place[corner] - (left + right) / 2
        y.append((axis[1] * offset[0] - axis[0] * offset[1]) / np.linalg.norm(left - right) * 100)
    y = np.array(y).reshape(6, 40)
    x, y = ((values - np.median(values[:, :5], axis=1, keepdims=True)).ravel() for values in (x, y))
    fit = stats.linregress(x, y)
    for quantity, reference in (("slope", fit.slope), ("r", fit.rvalue), ("mae", np.abs(x - y).mean())):
        row = look_up(result, "mouth corner rise", "left", quantity)
        assert row["value"] == pytest.approx(reference, rel=1e-3)
        assert row["ci_low"] < row["value"] < row["ci_high"]


def test_frames_without_a_face_or_a_truth_are_left_out():
    landmarks, truth = tables(2, smile)
    landmarks[3] = landmarks[3] | {"found": False, "landmarks": None}
    result = validate(landmarks[::-1], truth[:-10], MEASURED, resamples=10)
    assert set(result.query("quantity == 'mae'")["n_frames"]) == {80 - 11}


def test_one_subject_has_no_interval():
    result = validate(*tables(1, smile), MEASURED, resamples=10)
    assert result[["ci_low", "ci_high"]].isna().all().all()


def test_the_same_seed_gives_the_same_intervals():
    rows = tables(4, everything, noise=0.01)
    first, second = (validate(*rows, MEASURED, resamples=100, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert not first.equals(validate(*rows, MEASURED, resamples=100, seed=4))


def test_nothing_in_common_is_said():
    landmarks, truth = tables(1, smile)
    with pytest.raises(ValueError, match="both the landmarks and the truth"):
        validate([row | {"subject": "other"} for row in landmarks], truth, MEASURED)
