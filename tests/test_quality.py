import pandas as pd
import pytest

from faceneuro.features.quality import assess, assess_cohort, sentence
from faceneuro.tables import DECODING, MANIFEST, QUALITY, read_table, write_table

CLIP = {"cohort": "mine", "subject": "P1", "clip": "smile", "task": "smile", "group": "als", "problem": None}
READ = {"frames_read": 20, "rotation": 0, "variable_frame_rate": False, "error": None}


def judged(found=(True,) * 20, faces=None, clip=None, read=None, **limits):
    faces = [int(hit) for hit in found] if faces is None else faces
    return assess(CLIP | (clip or {}), READ | (read or {}), found, faces, **limits)


def test_a_good_clip_needs_no_words():
    row = judged()
    assert list(row) == QUALITY.names
    assert (row["verdict"], row["reason"], row["detection_rate"]) == ("ok", None, 1.0)
    assert (row["frames_read"], row["frames_kept"], row["faces_found"]) == (20, 20, 20)


@pytest.mark.parametrize(
    ("case", "verdict", "words"),
    [
        ({"found": (), "read": {"frames_read": 0, "error": "the file is empty"}}, "unusable", "the file is empty"),
        ({"found": (), "read": {"frames_read": 0}}, "unusable", "no frame was read; check"),
        ({"found": (), "clip": {"problem": "listed twice"}}, "unusable", "listed twice"),
        ({"found": (False,) * 20}, "unusable", "no face was found in any of 20 frames; check"),
        ({"found": (True,)}, "unusable", "only 1 frame, and a movement needs 2; record longer"),
        ({"read": {"error": "cut off after frame 20; copy it again"}}, "partial", "cut off after frame 20"),
        ({"found": (True,) * 10 + (False,) * 10}, "partial", "only 10 of 20 frames (50%); check light"),
        ({"faces": [2] * 20}, "partial", "more than one face in 20 of 20 frames, the largest was measured"),
        ({"clip": {"group": None}}, "partial", "measured, but left out of every study"),
    ],
)
def test_every_fault_has_a_verdict_and_a_remedy(case, verdict, words):
    row = judged(**case)
    assert row["verdict"] == verdict
    assert words in row["reason"]


def test_a_severity_is_a_label_too():
    assert judged(clip={"group": None, "severity": 2.0})["verdict"] == "ok"


def test_where_nobody_can_know_the_label_none_is_missed():
    unknown = {"group": None, "severity": None}
    assert judged(clip=unknown, label_needed=False)["verdict"] == "ok"


def test_one_still_is_enough_where_no_movement_is_needed():
    assert judged(found=(True,), frames_needed=1)["verdict"] == "ok"


def test_a_passing_second_face_is_no_fault():
    assert judged(faces=[2] + [1] * 19)["verdict"] == "ok"
    assert judged(faces=[2, 2] + [1] * 18)["verdict"] == "partial"


def test_limits_can_be_moved():
    found = (True,) * 15 + (False,) * 5
    assert judged(found=found)["verdict"] == "partial"
    assert judged(found=found, detection_rate=0.7)["verdict"] == "ok"


def test_all_reasons_are_given_the_gravest_first():
    row = judged(found=(True,), clip={"group": None}, read={"error": "cut off"})
    assert row["verdict"] == "unusable"
    first, second, third = row["reason"].split(". Also: ")
    assert "only 1 frame" in first
    assert "cut off" in second
    assert "left out of every study" in third


def test_nothing_is_dropped_in_silence(tmp_path):
    clips = [CLIP | {"clip": name, "kind": kind} for name, kind in [("a", "video"), ("b", "video"), ("c", "image")]]
    write_table([clips[0], clips[1] | {"problem": "listed twice"}, clips[2]], tmp_path / "m", MANIFEST)
    write_table([clips[0] | READ, clips[2] | READ], tmp_path / "d", DECODING)
    frames = [("a", True, 1), ("a", True, 1), ("c", True, 1)]
    landmarks = pd.DataFrame(
        [("mine", "P1", clip, found, faces) for clip, found, faces in frames],
        columns=["cohort", "subject", "clip", "found", "faces"],
    )
    rows = assess_cohort(read_table(tmp_path / "m"), read_table(tmp_path / "d"), landmarks, detection_rate=0.9)
    assert [(row["clip"], row["verdict"]) for row in rows] == [("a", "ok"), ("b", "unusable"), ("c", "ok")]
    assert rows[1]["reason"] == "listed twice"
    longer = assess_cohort(read_table(tmp_path / "m"), read_table(tmp_path / "d"), landmarks, frames_needed=21)
    assert [row["verdict"] for row in longer] == ["unusable", "unusable", "ok"]
    assert "only 2 frames, and a movement needs 21" in longer[0]["reason"]
    write_table(rows, tmp_path / "q", QUALITY)
    assert read_table(tmp_path / "q")["frames_read"].tolist() == [20, 0, 20]


def test_the_sentence_counts_and_names():
    good, bad = judged(), judged(found=(False,) * 3, clip={"subject": "P 2"})
    assert sentence([good, good]) == "2 clips: 2 ok, 0 partial, 0 unusable."
    text = sentence([good, judged(faces=[2] * 20), bad])
    assert text.startswith("3 clips: 1 ok, 1 partial, 1 unusable (P 2/smile: no face was found")
    assert text.index("P 2/smile") < text.index("P1/smile")
    assert sentence([bad] * 12).endswith("and 7 more, see the quality table).")
    assert sentence([]) == "0 clips: 0 ok, 0 partial, 0 unusable."
