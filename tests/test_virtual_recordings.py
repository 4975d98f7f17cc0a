from dataclasses import replace

import av
import mediapipe
import numpy as np
import pandas as pd
import pytest
import yaml
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions

from faceneuro.cohorts import listing, shards
from faceneuro.cohorts.virtual import record
from faceneuro.cohorts.virtual.contact_sheet import GAP, contact_sheet, stills_of
from faceneuro.cohorts.virtual.heads import EYE_FRONT, LID_MARGINS, UNIT_NAMES
from faceneuro.cohorts.virtual.identity import identity_of
from faceneuro.cohorts.virtual.motion import LEFT, SIDED, perform
from faceneuro.cohorts.virtual.patients import clip_of, enrol
from faceneuro.cohorts.virtual.record import POINTS, record_clip
from faceneuro.cohorts.virtual.signs import Signs
from faceneuro.evaluation import measurement
from faceneuro.report.measurement import write_validation
from faceneuro.tables import read_table
from faceneuro.video.decoding import decode
from running import ROOT, run

COHORT = {
    "seed": 5,
    "groups": {"healthy": 6, "palsy": 1},
    "tasks": ["open"],
    "medium": "video",
    "seconds": 1.0,
    "confound": 0.0,
    "sources": None,
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


@pytest.mark.parametrize("medium", ["video", "photographs"])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(heads, tmp_path, medium):
    def recorded(name: str, patient) -> bytes:
        record_clip(heads, patient, "smile_closed", cohort, tmp_path / name)
        return (tmp_path / name).read_bytes()

    cohort = COHORT | {"medium": medium, "seconds": 0.5}
    first = recorded("first", PATIENTS[0])
    # Two others in between: nothing that is kept for the next clip of the same patient is still there.
    for number in (1, 2):
        recorded("between", PATIENTS[number])
    assert recorded("again", PATIENTS[0]) == first
    assert recorded("other", replace(PATIENTS[0], seed=PATIENTS[0].seed + 1)) != first


def test_truth_has_one_row_per_frame_of_the_file(heads, tmp_path):
    truth = record_clip(heads, PATIENTS[0], "pa", COHORT, tmp_path / "clip.mp4")
    pictures = frames(tmp_path / "clip.mp4")
    assert [row["frame"] for row in truth] == list(range(len(pictures))) == list(range(30))
    assert pictures[0].shape == (240, 320, 3)
    assert {row["units"].shape for row in truth} == {(len(UNIT_NAMES),)}
    assert {row["points"].shape for row in truth} == {(2 * len(POINTS),)}
    assert {row["clip"] for row in truth} == {clip_of(PATIENTS[0], "pa", COHORT)["clip"]}


def test_a_photograph_is_the_apex_of_the_video_as_it_was_before_compression(heads, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(record, "encode", lambda path, pictures, **settings: shown.extend(pictures))
    video = record_clip(heads, PATIENTS[0], "surprise", COHORT, tmp_path / "clip.mp4")
    photograph = record_clip(heads, PATIENTS[0], "surprise", COHORT | {"medium": "photographs"}, tmp_path / "clip.png")
    apex = perform(PATIENTS[0], "surprise", COHORT["seconds"], COHORT["video"]["fps"]).apex
    (still,) = decode(tmp_path / "clip.png", "image")
    assert [np.array_equal(still.image, picture) for picture in shown] == [number == apex for number in range(30)]
    assert [(row["frame"], row["time_s"]) for row in photograph] == [(0, None)]
    for name in ("units", "points"):
        assert np.array_equal(photograph[0][name], video[apex][name])
        assert not np.array_equal(photograph[0][name], video[0][name])


def test_one_person_is_made_for_all_their_clips(heads, tmp_path, monkeypatch):
    made = []

    def counted(heads, patient):
        made.append(patient.subject)
        return identity_of(heads, patient)

    monkeypatch.setattr(record, "identity_of", counted)
    record._renderer.cache_clear()
    for patient in PATIENTS[:3]:
        for task in ("anger", "fear"):
            record_clip(heads, patient, task, COHORT | {"medium": "photographs"}, tmp_path / "clip.png")
    assert made == [patient.subject for patient in PATIENTS[:3]]


def test_another_set_up_is_not_taken_for_the_last_one(heads, tmp_path):
    """What is kept of a patient must not outlive a change of the configuration."""
    pictures = set()
    for changes in ({}, {"seed": 6}, {"confound": 1.0}, {"confound": 1.0, "seed": 6}, {}):
        record_clip(heads, PATIENTS[0], "fear", COHORT | {"medium": "photographs"} | changes, tmp_path / "clip.png")
        pictures.add((tmp_path / "clip.png").read_bytes())
    # Without a confound the seed of the cohort says who the patients are, not how one of them is recorded.
    assert len(pictures) == 3


@pytest.mark.parametrize("side", ["left", "right"])
def test_weakness_acts_on_the_named_side(heads, tmp_path, side):
    strength = (0.0, 1.0) if side == "left" else (1.0, 0.0)
    weak = replace(PATIENTS[0], signs=Signs(brow=strength, eye=strength, mouth=strength, blinks=0.1), side=side)
    other = {"left": "right", "right": "left"}[side]
    travel = {}
    for task in ("smile_closed", "brow_raise", "eye_closure_gentle"):
        truth = record_clip(heads, weak, task, COHORT, tmp_path / "weak.mp4")
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
    truth = record_clip(heads, PATIENTS[1], "bigsmile", LARGE, tmp_path / "smile.mp4")
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
    manifest = pd.DataFrame([clip_of(PATIENTS[0], "open", COHORT) | {"path": tmp_path / "clip.mp4"}])
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


def test_a_contact_sheet_of_photographs_has_no_rest(heads, tmp_path):
    cohort = COHORT | {"medium": "photographs", "tasks": ["anger", "fear"]}
    rows = [clip_of(PATIENTS[0], task, cohort) for task in cohort["tasks"]]
    for row in rows:
        row["path"] = tmp_path / row["path"]
        record_clip(heads, PATIENTS[0], row["task"], cohort, row["path"])
    clips, columns = stills_of(pd.DataFrame(rows), cohort, patients=1)
    group = PATIENTS[0].group
    assert [caption for caption, _, _ in clips] == [f"V001, {group}: anger", f"V001, {group}: fear"]
    assert columns == 2
    sheet = contact_sheet(clips, columns, width=320)
    (still,) = decode(rows[0]["path"], "image")
    assert np.array_equal(sheet[GAP : GAP + 240, GAP : GAP + 320], still.image)


@pytest.mark.workflow
def test_photographs_go_through_the_workflow(tmp_path):
    """Decoded, measured, cropped, judged and shown; but no movement is validated where nobody moves."""
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    cohort = {"kind": "virtual"} | COHORT | {"tasks": ["anger", "surprise"], "medium": "photographs"}
    cohort |= {"groups": {"healthy": 2, "parkinson": 1}, "sources": {"healthy": ["studio", "booth"]}}
    cohort |= {"subjects_per_shard": 3, "video": {"width": 480, "height": 360, "fps": 30, "crf": 20}}
    config = {
        "cohorts": dict.fromkeys(default["cohorts"]) | {"faces": cohort},
        "studies": dict.fromkeys(default["studies"]),
        "meta_analysis": None,
    }
    (shard,) = shards("faces", listing("faces", cohort).clips, cohort["subjects_per_shard"])
    crops = f"results/cohorts/faces/crops/{shard}.parquet"
    ran = run(tmp_path, "all", crops, config=config)
    assert ran.succeeded, ran.messages
    assert not {"validate_measurements", "compute_flow"} & set(ran.rules)
    quality = read_table(tmp_path / "results/cohorts/faces/quality.parquet")
    assert len(quality) == 6
    assert set(quality["verdict"]) == {"ok"}
    manifest = read_table(tmp_path / f"results/cohorts/faces/manifest/{shard}.parquet")
    assert set(zip(manifest["group"], manifest["source"], strict=True)) == {
        ("healthy", "studio"), ("healthy", "booth"), ("parkinson", "virtual"),
    }  # fmt: skip
    assert all((tmp_path / path).suffix == ".png" for path in manifest["path"])
    truth = read_table(tmp_path / f"results/cohorts/faces/truth/{shard}.parquet")
    assert list(read_table(tmp_path / crops)["clip"]) == list(truth["clip"]) == list(manifest["clip"])
    assert set(truth["frame"]) == {0}
    assert truth["time_s"].isna().all()
    assert (tmp_path / "results/figures/faces_contact_sheet.png").exists()


def test_the_validation_names_the_cohorts_that_it_leaves_out(tmp_path):
    found = pd.DataFrame(
        [("filmed", "brow height", "left", "slope", 0.9, 0.8, 1.0, 40, 4)],
        columns=measurement.COLUMNS,
    )
    for name, left_out in (("all", []), ("some", ["faces", "expressions"])):
        write_validation(found, tmp_path / name, left_out)
        told = "Not in the table: faces, expressions." in (tmp_path / f"{name}.md").read_text()
        assert told == bool(left_out)
