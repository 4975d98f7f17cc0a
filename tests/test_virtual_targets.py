"""Photographs of one virtual patient with the signs of another."""

import logging
import runpy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from faceneuro.cohorts.virtual.heads import UNIT_NAMES
from faceneuro.cohorts.virtual.patients import enrol
from faceneuro.cohorts.virtual.record import POINTS, record_clip
from faceneuro.cohorts.virtual.signs import Signs
from faceneuro.cohorts.virtual.targets import render_target, target_rows, with_signs_of
from faceneuro.features.alignment import SIZE, align
from faceneuro.features.crops import decode
from faceneuro.features.landmarks import NOTHING, LandmarkDetector
from faceneuro.tables import FACES, KEYS, PAIRS, read_rows, targets_schema, write_table
from running import ASSETS, ROOT

COHORT = {
    "seed": 5,
    "medium": "photographs",
    "sources": None,
    "groups": {"healthy": 2, "palsy": 2},
    "tasks": ["smile_open", "eye_closure_tight"],
    "seconds": 2.0,
    "confound": 0.0,
    "video": {"width": 320, "height": 240, "fps": 30, "crf": 20},
}
PATIENTS = enrol(COHORT)
HEALTHY = next(patient for patient in PATIENTS if patient.group == "healthy")
PALSY = next(patient for patient in PATIENTS if patient.group == "palsy")
"""Somebody with a palsy; the tests make it total and of one side."""

NEVER = {"blinks": 0.1}


def weak(side: str):
    strength = (0.0, 1.0) if side == "left" else (1.0, 0.0)
    droop = (1.0, 0.0) if side == "left" else (0.0, 1.0)
    signs = Signs(brow=strength, eye=strength, mouth=strength, droop=droop, **NEVER)
    return replace(PALSY, signs=signs, severity=6.0, side=side)


def points_of(truth) -> dict[str, complex]:
    """In the frame of the eyes: real to the subject's left, imaginary downwards, the irises one apart."""
    x, y = truth["points"].astype(float).reshape(-1, 2).T
    points = dict(zip(POINTS, x + 1j * y, strict=True))
    left, right = points["iris_left"], points["iris_right"]
    return {name: (point - (left + right) / 2) / (left - right) for name, point in points.items()}


def test_with_their_own_signs_it_is_their_own_photograph(heads, tmp_path):
    truth = render_target(heads, PALSY, PALSY, "smile_open", COHORT, tmp_path / "target.png")
    (own,) = record_clip(heads, PALSY, "smile_open", COHORT, tmp_path / "own.png")
    assert (tmp_path / "target.png").read_bytes() == (tmp_path / "own.png").read_bytes()
    np.testing.assert_array_equal(truth["points"], own["points"])
    np.testing.assert_array_equal(truth["units"], own["units"])


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_weak_side_is_that_of_the_style(heads, tmp_path, side):
    other = {"left": "right", "right": "left"}[side]
    own, given = (
        points_of(render_target(heads, HEALTHY, style, "smile_open", COHORT, tmp_path / "target.png"))
        for style in (HEALTHY, weak(side))
    )
    # The healthy person's smile is even; with the signs, the weak corner of the mouth stays far below the other.
    assert abs(own["mouth_corner_left"].imag - own["mouth_corner_right"].imag) < 0.06
    assert given[f"mouth_corner_{side}"].imag - given[f"mouth_corner_{other}"].imag > 0.15
    shut = points_of(render_target(heads, HEALTHY, weak(side), "eye_closure_tight", COHORT, tmp_path / "target.png"))
    opening = {each: (shut[f"lower_lid_{each}"] - shut[f"upper_lid_{each}"]).imag for each in (side, other)}
    assert opening[side] > 0.1 > 0.02 > opening[other]


def test_the_truth_is_what_the_style_s_face_does_and_says_whose_signs_they_are(heads, tmp_path):
    style = weak("left")
    truth = render_target(heads, HEALTHY, style, "smile_open", COHORT, tmp_path / "target.png")
    (own,) = record_clip(heads, style, "smile_open", COHORT, tmp_path / "own.png")
    gaze = np.array([name.startswith("eyeLook") for name in UNIT_NAMES])
    # The gaze is chance, and the person's own.
    np.testing.assert_allclose(truth["units"][~gaze], own["units"][~gaze], atol=0.02)
    assert (truth["severity"], truth["side"]) == (6.0, "left")


def test_the_person_and_the_set_up_stay(heads, tmp_path):
    images, frames = {}, {}
    for name, style in (("own", HEALTHY), ("given", weak("left"))):
        truth = render_target(heads, HEALTHY, style, "smile_open", COHORT, tmp_path / f"{name}.png")
        images[name] = decode((tmp_path / f"{name}.png").read_bytes()).astype(float)
        frames[name] = truth["points"].reshape(-1, 2)[
            [list(POINTS).index(f"iris_{side}") for side in ("left", "right")]
        ]
    # The wall beside the head, without its grain, and the place of the eyes.
    assert np.abs(images["own"][:60, :40].mean((0, 1)) - images["given"][:60, :40].mean((0, 1))).max() < 0.5
    assert np.abs(frames["own"] - frames["given"]).max() < 1.5
    assert np.abs(images["own"] - images["given"]).max() > 50


def test_a_recording_site_is_that_of_the_person(heads, tmp_path):
    sites = COHORT | {"confound": 1.0}
    backgrounds = []
    for number, (identity, style) in enumerate([(HEALTHY, HEALTHY), (HEALTHY, PALSY), (PALSY, PALSY)]):
        render_target(heads, identity, style, "smile_open", sites, tmp_path / f"{number}.png")
        backgrounds.append(decode((tmp_path / f"{number}.png").read_bytes())[:60, :40].mean((0, 1)))
    assert np.abs(backgrounds[0] - backgrounds[1]).max() < 0.5
    assert np.abs(backgrounds[0] - backgrounds[2]).max() > 3


def test_only_the_signs_change():
    given = with_signs_of(HEALTHY, PALSY)
    assert given.signs == PALSY.signs
    assert (given.severity, given.side) == (PALSY.severity, PALSY.side)
    assert replace(given, signs=HEALTHY.signs, severity=HEALTHY.severity, side=HEALTHY.side) == HEALTHY


def test_a_filmed_cohort_has_no_targets(heads, tmp_path):
    with pytest.raises(ValueError, match="medium is video"):
        render_target(heads, HEALTHY, PALSY, "smile_open", COHORT | {"medium": "video"}, tmp_path / "target.png")
    assert not list(tmp_path.iterdir())


# Targets of pairs

PHOTOGRAPHS = [(patient.subject, task) for patient in PATIENTS for task in COHORT["tasks"]]
"""Subject and task of every face of the study."""

DONE = [task for _, task in PHOTOGRAPHS]


def pair(number: int, identity, style, task: str, shown: str = "smile_open") -> dict:
    rows = {"identity": PHOTOGRAPHS.index((identity.subject, shown)), "style": PHOTOGRAPHS.index((style.subject, task))}
    return {"pair": number, "identity_subject": identity.subject, "style_subject": style.subject} | rows


class Finder:
    """Finds the same face in every picture, or none, and counts."""

    def __init__(self, landmarks=None):
        self.landmarks, self.seen, self.clips = landmarks, [], 0

    def start_clip(self):
        self.clips += 1

    def detect(self, image):
        self.seen.append(image)
        return NOTHING if self.landmarks is None else SimpleNamespace(found=True, landmarks=self.landmarks)


class Named(dict):
    __getattr__ = dict.__getitem__


def test_the_script_measures_and_aligns_targets_as_recordings(heads, landmarker_model, tmp_path):
    large = COHORT | {"video": COHORT["video"] | {"width": 640, "height": 480}}
    keys = dict.fromkeys(KEYS[:3], "c") | {"frame": 0}
    faces = [keys | {"subject": subject, "task": task} for subject, task in PHOTOGRAPHS]
    write_table(faces, tmp_path / "faces.parquet", FACES)
    asked = pair(3, HEALTHY, PALSY, "smile_open")
    write_table(
        [{f"{part}_{name}": keys[name] for part in ("identity", "style") for name in KEYS} | asked],
        tmp_path / "pairs.parquet",
        PAIRS,
    )
    inputs = {"model": landmarker_model, "heads": ASSETS / "heads.npz"}
    step = SimpleNamespace(
        rule="render_targets",
        wildcards=Named(),
        input=Named(inputs | {name: tmp_path / f"{name}.parquet" for name in ("faces", "pairs")}),
        output=Named(targets=str(tmp_path / "targets.parquet")),
        params=Named(settings=large, options={"mode": "image", "retry": True}, code="abc"),
        log=[str(tmp_path / "render_targets.log")],
    )
    runpy.run_path(str(ROOT / "workflow" / "scripts" / "render_targets.py"), {"snakemake": step})
    (read,) = read_rows(tmp_path / "targets.parquet")
    assert list(read) == targets_schema(len(UNIT_NAMES), len(POINTS)).names
    assert (read["pair"], read["severity"], read["side"]) == (3, PALSY.severity, PALSY.side)

    truth = render_target(heads, HEALTHY, PALSY, "smile_open", large, tmp_path / "target.png")
    image = decode((tmp_path / "target.png").read_bytes())
    with LandmarkDetector(landmarker_model) as detector:
        expected = align(image, detector.detect(image).landmarks)
    np.testing.assert_array_equal(decode(read["png"]), expected.image)
    np.testing.assert_array_equal(read["points"].reshape(68, 2), expected.points)
    np.testing.assert_array_equal(read["units"], truth["units"])
    # The truth is in the same frame as the points that were found: the corners of the mouth agree to a few pixels.
    true = dict(zip(POINTS, read["truth"].reshape(-1, 2), strict=True))
    for name, place in (("mouth_corner_right", 48), ("mouth_corner_left", 54), ("chin", 8)):
        assert np.abs(true[name] - expected.points[place]).max() * SIZE < 4, name


def test_one_photograph_serves_all_images_of_the_identity(heads):
    wanted = [
        pair(0, HEALTHY, PALSY, "smile_open", shown="smile_open"),
        pair(1, HEALTHY, PALSY, "eye_closure_tight"),
        pair(2, PALSY, PALSY, "smile_open"),
        pair(3, HEALTHY, PALSY, "smile_open", shown="eye_closure_tight"),
    ]
    finder = Finder(np.random.default_rng(0).uniform(50, 200, (478, 3)))
    rows = {row["pair"]: row for row in target_rows(heads, wanted, DONE, COHORT, finder)}
    assert set(rows) == {0, 1, 2, 3}
    assert len(finder.seen) == finder.clips == 3
    assert rows[0]["png"] == rows[3]["png"] != rows[1]["png"] != rows[2]["png"]
    np.testing.assert_array_equal(rows[0]["units"], rows[3]["units"])
    assert not np.array_equal(rows[0]["units"], rows[1]["units"])


def test_a_target_without_a_face_is_left_out_and_said(heads, caplog):
    with caplog.at_level(logging.WARNING, "faceneuro"):
        assert list(target_rows(heads, [pair(0, HEALTHY, PALSY, "smile_open")], DONE, COHORT, Finder())) == []
    (said,) = caplog.messages
    assert HEALTHY.subject in said
    assert PALSY.subject in said
