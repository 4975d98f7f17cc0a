from dataclasses import replace

import av
import mediapipe
import numpy as np
import pandas as pd
import pytest
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions

from faceneuro.cohorts.virtual.contact_sheet import contact_sheet, stills_of
from faceneuro.cohorts.virtual.heads import EYE_FRONT, LID_MARGINS, UNIT_NAMES
from faceneuro.cohorts.virtual.identity import identity_of
from faceneuro.cohorts.virtual.motion import LEFT, SIDED
from faceneuro.cohorts.virtual.patients import clip_of, enrol
from faceneuro.cohorts.virtual.record import POINTS, record_clip
from faceneuro.cohorts.virtual.signs import Signs

COHORT = {
    "seed": 5,
    "groups": {"healthy": 6, "palsy": 1},
    "tasks": ["open"],
    "seconds": 1.0,
    "confound": 0.0,
    "video": {"width": 320, "height": 240, "fps": 30, "crf": 20},
}
PATIENTS = enrol(COHORT)
LARGE = COHORT | {"seconds": 1.5, "video": {"width": 640, "height": 480, "fps": 20, "crf": 20}}


def frames(path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def truth_points(truth) -> dict[str, np.ndarray]:
    """Complex positions in units of the distance of the irises, per frame."""
    flat = np.stack([row["points"] for row in truth]).astype(np.float64)
    points = dict(zip(POINTS, (flat[:, 0::2] + 1j * flat[:, 1::2]).T, strict=True))
    return in_head(points)


def in_head(points: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    left, right = points["iris_left"], points["iris_right"]
    return {name: (point - (left + right) / 2) / (left - right) for name, point in points.items()}


@pytest.fixture
def landmarks(landmarker_model):
    """Landmarks of images as complex pixel positions, NaN where no face is found."""
    options = FaceLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(landmarker_model)))

    def of(images) -> np.ndarray:
        found = []
        for image in images:
            faces = landmarker.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, image)).face_landmarks
            height, width = image.shape[:2]
            found.append([p.x * width + 1j * p.y * height for p in faces[0]] if faces else np.full(478, np.nan))
        return np.array(found)

    with FaceLandmarker.create_from_options(options) as landmarker:
        yield of


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(heads, tmp_path):
    def recorded(name: str, patient) -> bytes:
        record_clip(heads, patient, "smile_closed", COHORT, tmp_path / name)
        return (tmp_path / name).read_bytes()

    first = recorded("first.mp4", PATIENTS[0])
    recorded("between.mp4", PATIENTS[1])
    assert recorded("again.mp4", PATIENTS[0]) == first
    assert recorded("other.mp4", replace(PATIENTS[0], seed=PATIENTS[0].seed + 1)) != first


def test_truth_has_one_row_per_frame_of_the_file(heads, tmp_path):
    clip, truth = record_clip(heads, PATIENTS[0], "pa", COHORT, tmp_path / "clip.mp4")
    pictures = frames(tmp_path / "clip.mp4")
    assert [row["frame"] for row in truth] == list(range(len(pictures))) == list(range(30))
    assert pictures[0].shape == (240, 320, 3)
    assert {row["units"].shape for row in truth} == {(len(UNIT_NAMES),)}
    assert {row["points"].shape for row in truth} == {(2 * len(POINTS),)}
    assert clip["path"] == str(tmp_path / "clip.mp4")
    assert clip["clip"] == truth[0]["clip"]


@pytest.mark.parametrize("side", ["left", "right"])
def test_weakness_acts_on_the_named_side(heads, tmp_path, side):
    strength = (0.0, 1.0) if side == "left" else (1.0, 0.0)
    weak = replace(PATIENTS[0], signs=Signs(brow=strength, eye=strength, mouth=strength, blinks=0.1), side=side)
    other = {"left": "right", "right": "left"}[side]
    travel = {}
    for task in ("smile_closed", "brow_raise", "eye_closure_gentle"):
        _, truth = record_clip(heads, weak, task, COHORT, tmp_path / "weak.mp4")
        points = truth_points(truth)
        for name in ("mouth_corner", "brow", "upper_lid"):
            for of in (side, other):
                travel[task, name, of] = np.ptp(points[f"{name}_{of}"].imag)
    for task, name in (("smile_closed", "mouth_corner"), ("brow_raise", "brow"), ("eye_closure_gentle", "upper_lid")):
        assert travel[task, name, side] < 0.35 * travel[task, name, other]
        assert travel[task, name, other] > 0.05


def test_units_of_a_side_move_that_side(heads):
    for name, side in SIDED.items():
        moved = np.abs(heads.units[UNIT_NAMES.index(name)]).sum(axis=1)
        left, right = (moved[sign * heads.canonical[:, 0] > 0].sum() for sign in (1, -1))
        assert left > 2 * right if side == LEFT else right > 2 * left, name


def test_a_full_blink_closes_everybody_s_eyes(heads):
    for patient in PATIENTS:
        person = identity_of(heads, patient)
        for side, (upper, lower) in LID_MARGINS.items():
            upper, lower = heads.numbered(upper), heads.numbered(lower)
            shut = person.rest + person.units[UNIT_NAMES.index(f"eyeBlink{side}")]
            assert person.rest[upper, 1] - person.rest[lower, 1] > 0.05
            assert shut[upper, 1] - shut[lower, 1] == pytest.approx(0, abs=0.01)


def test_the_person_does_not_depend_on_the_diagnosis(heads):
    patient = PATIENTS[0]
    other = replace(patient, group="als", severity=1.0, signs=Signs(reach=0.4))
    one, two = identity_of(heads, patient), identity_of(heads, other)
    assert np.array_equal(one.rest, two.rest)
    assert np.array_equal(one.textures[0], two.textures[0])


def test_the_irises_lie_in_the_eyes(heads):
    for side, sign in (("Left", 1), ("Right", -1)):
        assert np.all(sign * heads.canonical[[heads.numbered(n) for n in EYE_FRONT[side]], 0] > 0)


def test_landmarks_follow_the_truth(heads, landmarks, tmp_path):
    _, truth = record_clip(heads, PATIENTS[1], "bigsmile", LARGE, tmp_path / "smile.mp4")
    seen = landmarks(frames(tmp_path / "smile.mp4"))
    assert np.isfinite(seen).all()
    measured = in_head({name: seen[:, landmark] for name, (landmark, _) in POINTS.items()})
    true = truth_points(truth)
    for name in ("mouth_corner_left", "mouth_corner_right"):
        assert np.corrcoef(measured[name].imag, true[name].imag)[0, 1] > 0.9
    for name in POINTS:
        assert np.abs(measured[name] - true[name])[:5].max() < 0.12, name


def test_every_face_is_found(heads, landmarks, tmp_path):
    for patient, task in zip(
        PATIENTS, ("open", "kiss", "surprise", "eye_closure_tight", "anger", "disgust"), strict=False
    ):
        record_clip(heads, patient, task, LARGE | {"seconds": 0.9}, tmp_path / "clip.mp4")
        assert np.isfinite(landmarks(frames(tmp_path / "clip.mp4")[::4])).all(), (patient.subject, task)


def test_a_contact_sheet_shows_every_clip(heads, tmp_path):
    record_clip(heads, PATIENTS[0], "open", COHORT, tmp_path / "clip.mp4")
    manifest = pd.DataFrame([clip_of(PATIENTS[0], "open") | {"path": tmp_path / "clip.mp4"}])
    clips, columns = stills_of(manifest, COHORT, patients=1)
    assert [caption for caption, _, _ in clips] == [f"V001, {PATIENTS[0].group}: rest", "V001: open"]
    sheet = contact_sheet(clips, columns, width=160)
    left, right = np.array_split(sheet, 2, axis=1)
    assert sheet.dtype == np.uint8
    assert sheet.ndim == 3
    assert left.std() > 10
    assert np.abs(left.astype(int) - right[:, : left.shape[1]]).max() > 20
    with pytest.raises(ValueError, match="ends before frame 99"):
        contact_sheet([("too late", tmp_path / "clip.mp4", 99)])
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])
