"""The workflow on somebody's own recordings, most of which have something wrong with them."""

import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd
import pytest

from faceneuro.cohorts.virtual.patients import enrol
from faceneuro.cohorts.virtual.record import record_clip
from faceneuro.tables import read_table
from faceneuro.video.decoding import decode
from faceneuro.video.encoding import encode
from running import NO_COHORT, NO_STUDY, run
from test_decoding import turn_tag

pytestmark = pytest.mark.workflow

COHORT = {
    "kind": "virtual",
    "seed": 5,
    "groups": {"healthy": 2, "als": 2},
    "tasks": ["open"],
    "medium": "video",
    "seconds": 0.8,
    "confound": 0.0,
    "sources": None,
    "video": {"width": 640, "height": 480, "fps": 30, "crf": 20},
    "subjects_per_shard": 1,
}
CONFIG = {
    "cohorts": {
        **NO_COHORT,
        "own": {"kind": "own_videos", "root": "recordings", "clips": "clips.csv", "subjects_per_shard": 1},
    },
    "features": {"flow": {"grid": [24, 32]}},
    "studies": {
        **NO_STUDY,
        "als": {
            "cohort": "own",
            "protocols": {"grouped": {"folds": "leave_one_subject_out"}},
            "models": ["logistic_regression"],
            "reduction": {"components": 4},
            "bootstrap": {"resamples": 100},
        },
    },
    "meta_analysis": None,
}
# Names that have broken software before; each is a person with a good recording.
SUBJECTS = ["007", "NA", 'O\'Brien, "Bo"', "Zoë Ångström"]


def write_video(path: Path, images: list[np.ndarray], times: list[float], gray: bool = False) -> None:
    """A video whose frames are shown at given seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height = images[0].shape[1], images[0].shape[0]
        stream.pix_fmt = "gray" if gray else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def ran(tmp_path_factory, heads):
    """A study on four good recordings among many that are not."""
    workdir = tmp_path_factory.mktemp("own")
    root = workdir / "recordings"
    root.mkdir()
    patients = enrol(COHORT)
    rows = []
    for patient, subject in zip(patients, SUBJECTS, strict=True):
        record_clip(heads, patient, "open", COHORT, root / f"{patient.subject}.mp4")
        rows.append({"path": f"{patient.subject}.mp4", "subject": subject, "group": patient.group})

    good = root / rows[0]["path"]
    images = [frame.image for frame in decode(good, "video")]
    times = [number / 30 for number in range(len(images))]
    (root / "empty.mp4").touch()
    (root / "truncated.mp4").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (root / "notes.txt").write_text("not a video")
    (root / "text.mp4").write_text("not a video either")
    write_sound(root / "sound.mp4")
    encode(root / "one_frame.mp4", images[:1])
    encode(root / "no_face.mp4", [np.full((480, 640, 3), 90, np.uint8)] * 6)
    encode(root / "two_faces.mp4", [np.hstack([image[:, 80:560], image[:, 80:560]]) for image in images])
    encode(root / "rotated.mp4", [np.rot90(image, -1) for image in images])
    turn_tag(root / "rotated.mp4", [0, -(1 << 16), 0, 1 << 16, 0, 0, 0, 0, 1 << 30])
    uneven = [time + 0.015 * (number % 3) for number, time in enumerate(times)]
    write_video(root / "variable.mp4", images, uneven)
    write_video(
        root / "gray.mp4",
        [cv2.cvtColor(cv2.cvtColor(i, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for i in images],
        times,
    )
    encode(root / "large.mp4", [cv2.resize(image, (3840, 2880)) for image in images[:4]])
    shutil.copy(good, root / "copy.mp4")
    (root / "frames").mkdir()
    for number, image in enumerate(images[:6]):
        cv2.imwrite(str(root / "frames" / f"{number}.png"), image[..., ::-1])
    names = ["empty.mp4", "truncated.mp4", "notes.txt", "text.mp4", "sound.mp4", "one_frame.mp4", "no_face.mp4"]
    names += [
        "two_faces.mp4",
        "rotated.mp4",
        "variable.mp4",
        "gray.mp4",
        "large.mp4",
        "frames",
        "missing.mp4",
        "V001.mp4",
    ]
    rows += [{"path": name, "subject": "odd", "group": ""} for name in names]
    pd.DataFrame(rows).to_csv(workdir / "clips.csv", index=False)
    done = run(workdir, config=CONFIG)
    assert done.succeeded, done.messages
    return workdir


@pytest.fixture(scope="module")
def quality(ran) -> pd.DataFrame:
    return read_table(ran / "results/cohorts/own/quality.parquet").set_index("clip")


def test_every_clip_of_the_list_has_a_verdict(quality, ran):
    assert len(quality) == len(pd.read_csv(ran / "clips.csv"))
    assert set(quality["verdict"]) == {"ok", "partial", "unusable"}


@pytest.mark.parametrize(
    ("clip", "verdict", "words"),
    [
        ("empty", "unusable", "empty"),
        ("notes", "unusable", ".txt"),
        ("text", "unusable", "not a video"),
        ("truncated", "partial", "cut off"),
        ("sound", "unusable", "sound but no picture"),
        ("one_frame", "unusable", "1 frame"),
        ("no_face", "unusable", "no face"),
        ("missing", "unusable", "does not exist"),
        ("V001", "unusable", "listed in line 2"),
        ("two_faces", "partial", "face"),
    ],
)
def test_what_is_wrong_is_said_in_words(quality, clip, verdict, words):
    row = quality[quality["subject"] == "odd"].loc[clip]
    assert row["verdict"] == verdict
    assert words in row["reason"]


@pytest.mark.parametrize("clip", ["rotated", "variable", "gray", "large", "frames"])
def test_what_is_unusual_is_measured(quality, clip):
    assert quality.loc[clip, "detection_rate"] == 1.0


def test_a_phone_video_is_measured_upright(ran):
    landmarks = read_table(sorted(ran.glob("results/cohorts/own/landmarks/*.parquet"))).set_index("clip")
    points = np.stack(landmarks.loc["rotated", "landmarks"]).reshape(-1, 478, 3)
    assert (points[:, 152, 1] > points[:, 10, 1] + 50).all(), "the chin is below the forehead"


def test_a_missing_label_is_said_and_the_clip_is_left_out_of_the_study(quality, ran):
    assert "left out of every study" in quality.loc["gray", "reason"]
    assert "odd" not in set(read_table(ran / "results/studies/als/samples.parquet")["subject"])


def test_names_of_subjects_stay_as_they_are(ran):
    predictions = read_table(sorted(ran.glob("results/studies/als/grouped/**/predictions.parquet")))
    assert set(predictions["subject"]) == set(SUBJECTS)


def test_the_summary_counts_the_clips_and_says_why(ran, quality):
    text = (ran / "results/summary.md").read_text()
    assert f"{len(quality)} clips" in text
    assert f"{(quality['verdict'] == 'unusable').sum()} unusable" in text


def test_the_recordings_are_left_as_they_were(ran):
    before = {path: path.stat().st_mtime_ns for path in sorted((ran / "recordings").rglob("*"))}
    assert run(ran, "results/cohorts/own/quality.parquet", config=CONFIG).succeeded
    assert {path: path.stat().st_mtime_ns for path in sorted((ran / "recordings").rglob("*"))} == before


def test_a_new_subject_leaves_what_was_measured_of_the_others(ran, tmp_path):
    here = tmp_path / "run"
    shutil.copytree(ran, here, copy_function=shutil.copy2)
    shutil.copy(here / "recordings/V001.mp4", here / "recordings/new.mp4")
    with (here / "clips.csv").open("a") as table:
        table.write("new.mp4,new,als\n")
    planned = run(here, "results/cohorts/own/quality.parquet", config=CONFIG, dryrun=True)
    assert planned.rules.count("detect_landmarks") == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,subject,grop\nV001.mp4,A,als\n", "did you mean 'group'"),
        ("path,subject\n../V001.mp4,A\n", "leads out of the root"),
        ("path,subject,group\nV001.mp4,A,als\nV002.mp4,B,als\n", "no usable clip of group 'healthy'"),
        ("path,subject,group\nV001.mp4,A,als\nV002.mp4,B,als\nV003.mp4,C,healthy\n", "'healthy' has 1"),
    ],
)
def test_a_list_that_cannot_be_used_is_told_before_any_job(ran, tmp_path, text, words):
    (tmp_path / "recordings").symlink_to(ran / "recordings")
    (tmp_path / "clips.csv").write_text(text)
    done = run(tmp_path, config=CONFIG)
    assert not done.succeeded
    assert words in done.error + done.messages
    assert done.rules == []
