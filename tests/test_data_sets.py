"""The adapters of data sets, each on a tiny copy laid out as the real one."""

import os
import random
import shutil
import stat
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_set_trees import MAKERS, Blank, Made
from faceneuro import cohorts
from faceneuro.cohorts.intake.clips import Listing
from faceneuro.errors import InputError

POOL = Blank()
KINDS = sorted(MAKERS)


def list_(made: Made, **more) -> Listing:
    return cohorts.listing("copy", made.cohort | more)


def make(kind: str, tmp_path: Path, **options) -> Made:
    return MAKERS[kind](tmp_path / kind, POOL, **options)


def files_below(root: Path) -> set[str]:
    """Every file and every link; what a link leads to is not below the root."""
    found = set()
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found |= {(Path(folder) / name).relative_to(root).as_posix() for name in [*names, *links]}
    return found


def by_clip(listing: Listing) -> dict[str, dict]:
    rows = {row["clip"]: row for row in listing.clips}
    assert len(rows) == len(listing.clips)
    return rows


def numbers(listing: Listing) -> dict[str, tuple[int, int | None]]:
    return {count.what: (count.found, count.expected) for count in listing.counts}


def refusal(kind: str, root: Path, **more) -> str:
    with pytest.raises(InputError) as caught:
        cohorts.listing("copy", {"kind": kind, "root": str(root)} | more)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_each_file_has_one_place(listing: Listing, root: Path) -> None:
    placed, left = set(listing.in_clips), set(listing.left_out)
    assert not placed & left
    assert placed | left == files_below(root)
    assert all(listing.left_out.values())
    of_rows = []
    for row in listing.clips:
        below = Path(row["path"]).relative_to(root)
        of_rows += [(below / name).as_posix() for name in row["files"] or [""]]
    assert sorted(of_rows) == sorted(placed), "each file is in one clip, once"


def test_every_data_set_has_a_tree():
    assert [kind for kind in cohorts.kinds() if cohorts.data_set(kind) is not None] == KINDS


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_in_one_clip_or_has_a_reason(kind, odd, tmp_path):
    made = make(kind, tmp_path, odd=odd)
    listing = list_(made)
    assert_each_file_has_one_place(listing, made.root)
    assert set(listing.in_clips) == set(made.files)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_out_is_so_for_the_right_reason(kind, tmp_path):
    made = make(kind, tmp_path)
    reasons = list_(made).left_out
    assert set(reasons) == set(made.odd)
    assert {path: reasons[path] for path, words in made.odd.items() if words not in reasons[path]} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_recording_is_listed_as_it_is_not_opened(kind, tmp_path):
    made = make(kind, tmp_path)
    assert made.damaged
    assert set(made.damaged) <= set(list_(made).in_clips)


@pytest.mark.parametrize("kind", KINDS)
def test_the_subjects_are_those_that_were_written(kind, tmp_path):
    made = make(kind, tmp_path)
    listing = list_(made)
    assert {row["subject"] for row in listing.clips} == set(made.subjects)
    roster = cohorts.data_set(kind).roster
    assert set(listing.missing) == set(roster) - set(made.subjects)
    assert len(listing.missing) == max(len(roster) - len(made.subjects), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_groups_are_those_of_the_people(kind, tmp_path):
    made = make(kind, tmp_path)
    groups = {row["subject"]: row["group"] for row in list_(made).clips if row["group"] != "no_sign"}
    asked = {subject: group for subject, (group, _) in made.subjects.items()}
    if kind == "neuroface":
        asked |= {subject: "stroke" for subject in asked if subject.startswith(("S", "OP"))}
    assert groups == asked


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_copy_of_a_folder_adds_nothing(kind, tmp_path):
    made = make(kind, tmp_path, odd=False)
    before = list_(made)
    recordings = {path.split("/")[0] for path in made.files}
    for name in recordings:
        copy = shutil.copytree if (made.root / name).is_dir() else shutil.copy2
        (made.root / "~ backup").mkdir(exist_ok=True)
        copy(made.root / name, made.root / "~ backup" / name)
    after = list_(made)
    assert after.clips == before.clips
    assert numbers(after) == numbers(before)
    assert_each_file_has_one_place(after, made.root)


# What there is in the trees by default, and in a whole copy as the authors of the set, or its papers, count it.
COUNTS = {
    "aflfp": {"subjects": (2, 88), "expressions of a person": (6, 1408), "pictures": (24, 5632)},
    "ck_plus": {"subjects": (3, 123), "sequences": (9, 593), "sequences with an emotion": (6, 327)},
    "jaffe": {"subjects": (3, 10), "pictures": (21, 213)},
    "meei": {
        "subjects": (5, 60),
        "photographs": (40, 480),
        "subjects, healthy": (2, None),
        "subjects, palsy": (3, None),
    },
    "neuroface": {
        "subjects": (6, 36),
        "videos with frames": (12, 261),
        "frames": (48, 3306),
        "subjects, als": (2, 11),
        "frames, als": (16, 920),
        "successive pairs, als": (12, 844),
        "subjects, healthy": (2, 11),
        "frames, healthy": (16, 1015),
        "successive pairs, healthy": (12, 935),
        "subjects, stroke": (2, 14),
        "frames, stroke": (16, 1371),
        "successive pairs, stroke": (12, 1266),
    },
    "oulu_casia": {"subjects": (2, 80), "sequences": (4, 480)},
    "palsynet": {"subjects, palsy": (3, 27), "subjects, healthy": (3, 22)},
    "pdfe": {"subjects": (3, 145), "expressions of a person": (18, 870)},
    "pfed5": {"subjects": (3, 41), "gestures of a person": (15, None)},
    "rafd": {"subjects": (3, 67), "pictures of the 1 chosen view": (24, 536)},
    "tfed": {"subjects": (3, 110), "pictures without contentment": (21, 770)},
    "yfp": {"subjects": (3, 21), "videos": (3, 32)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_there_is_stands_beside_what_there_should_be(kind, tmp_path):
    assert numbers(list_(make(kind, tmp_path))) == COUNTS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_counts_are_of_the_copy_whoever_is_chosen_of_it(kind, tmp_path):
    made = make(kind, tmp_path)
    whole, part = list_(made), list_(made, subjects=1)
    assert numbers(part) == numbers(whole)
    assert part.missing == whole.missing
    assert part.notes == whole.notes


@pytest.mark.parametrize("kind", KINDS)
def test_a_number_of_subjects_takes_so_many(kind, tmp_path):
    made = make(kind, tmp_path)
    for count in (1, 2, 1000):
        listing = list_(made, subjects=count)
        assert len({row["subject"] for row in listing.clips}) == min(count, len(made.subjects))
        assert_each_file_has_one_place(listing, made.root)


@pytest.mark.parametrize("kind", KINDS)
def test_named_subjects_are_taken_and_the_others_have_a_reason(kind, tmp_path):
    made = make(kind, tmp_path)
    name = list(made.subjects)[1]
    whole, listing = list_(made), list_(made, subjects=[name])
    assert listing.clips == [row for row in whole.clips if row["subject"] == name]
    left = {path for path, (subject, _) in whole.in_clips.items() if subject != name}
    assert {listing.left_out[path] for path in left} == {
        "the subject is not one of those that cohorts.copy.subjects takes"
    }


def test_subjects_are_taken_from_the_whole_of_the_set(tmp_path):
    made = make("jaffe", tmp_path, people=10, odd=False)
    names = sorted(made.subjects)
    taken = [names.index(row["subject"]) for row in list_(made, subjects=3).clips]
    assert sorted(set(taken)) == [1, 5, 8]


def test_a_subject_that_is_not_there_is_refused(tmp_path):
    made = make("jaffe", tmp_path)
    message = refusal("jaffe", made.root, subjects=["KA", "na"])
    assert "cohorts.copy.subjects" in message
    assert "'na'" in message
    assert "KA, NA, YM" in message


@pytest.mark.parametrize("kind", KINDS)
def test_listing_leaves_the_copy_as_it_was(kind, tmp_path):
    made = make(kind, tmp_path)
    paths = sorted(path for path in made.root.rglob("*") if not path.is_symlink())
    for path in [made.root, *paths]:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths}
    try:
        list_(made)
        assert sorted(path for path in made.root.rglob("*") if not path.is_symlink()) == paths
        after = {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths}
        assert after == before
    finally:
        for path in [made.root, *paths]:
            path.chmod(stat.S_IRWXU)


@pytest.mark.parametrize("kind", KINDS)
def test_no_recording_is_opened(kind, tmp_path, monkeypatch):
    made = make(kind, tmp_path)
    opened = []
    real = open
    watched = ("builtins.open", "io.open")
    for name in watched:
        monkeypatch.setattr(name, lambda file, *rest, **more: (opened.append(str(file)), real(file, *rest, **more))[1])
    list_(made)
    assert not {str(made.root / path) for path in made.files} & set(opened)
    assert any("Emotion" in path for path in opened) == (kind == "ck_plus"), "opening is seen"


def test_a_file_that_belongs_to_another_folder_takes_no_place_from_one_that_fits(tmp_path):
    for path in ("S005_001_00000001.png", "S005_001_00000001x/S005_001_00000002.png", "S005_001_00000002.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    listing = cohorts.listing("copy", {"kind": "ck_plus", "root": str(tmp_path)})
    assert set(listing.in_clips) == {"S005_001_00000001.png", "S005_001_00000002.png"}
    assert "is in the root folder already" in listing.left_out["S005_001_00000001x/S005_001_00000002.png"]


# --- One data set at a time -------------------------------------------------------------------------------------------


def test_ck_plus_has_an_emotion_where_a_file_says_so_and_none_elsewhere(tmp_path):
    rows = by_clip(list_(make("ck_plus", tmp_path)))
    assert {clip: row["task"] for clip, row in rows.items() if clip.startswith("S010")} == {
        "S010_001": "disgust",
        "S010_001_neutral": "neutral",
        "S010_002": "happiness",
        "S010_002_neutral": "neutral",
        "S010_003": None,
        "S010_003_neutral": "neutral",
    }


@pytest.mark.parametrize("text", ["8", "-1", "2.5", "inf", "nan", "happy", "", "\udcff"])
def test_ck_plus_takes_no_emotion_from_a_file_without_one(tmp_path, text):
    made = make("ck_plus", tmp_path)
    path = made.root / "Emotion/S010/002/S010_002_00000006_emotion.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    listing = list_(made)
    assert by_clip(listing)["S010_002"]["task"] is None
    assert any("S010_002_00000006_emotion.txt" in note for note in listing.notes)
    assert numbers(listing)["sequences with an emotion"] == (5, 327)


def test_ck_plus_counts_a_sequence_whose_emotion_is_none_at_all(tmp_path):
    made = make("ck_plus", tmp_path)
    (made.root / "Emotion/S010/002/S010_002_00000006_emotion.txt").write_text("0.0")
    assert numbers(list_(made)) == COUNTS["ck_plus"]


SEQUENCES = {
    "ck_plus": ("S010_001", "cohn-kanade-images/S010/001", [f"S010_001_{order:08d}.png" for order in range(1, 7)]),
    "oulu_casia": ("P013_anger", "OriginalImg/VL/Strong/P013/Anger", [f"{order:03d}.jpeg" for order in range(6)]),
}


@pytest.mark.parametrize(
    ("options", "apex"),
    [
        ({}, slice(3, None)),
        ({"frames": "ends", "apex": 1}, slice(5, None)),
        ({"frames": "ends", "apex": 9}, slice(1, None)),
        ({"frames": "all"}, slice(1, None)),
    ],
)
@pytest.mark.parametrize("kind", SEQUENCES)
def test_a_sequence_begins_neutral_and_ends_at_the_apex(tmp_path, kind, options, apex):
    clip, folder, names = SEQUENCES[kind]
    made = make(kind, tmp_path)
    listing = list_(made, **options)
    rows = by_clip(listing)
    neutral, expression = rows[f"{clip}_neutral"], rows[clip]
    assert (neutral["kind"], neutral["task"]) == ("image", "neutral")
    assert neutral["path"] == str(made.root / folder / names[0])
    if len(names[apex]) == 1:
        assert (expression["kind"], expression["path"]) == ("image", str(made.root / folder / names[-1]))
    else:
        assert (expression["kind"], expression["path"]) == ("images", str(made.root / folder))
        assert expression["files"] == names[apex]
    assert {f"{folder}/{name}" in listing.left_out for name in names[1:][: -len(names[apex])]} <= {True}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_a_score_of_a_sequence_is_not_one_of_its_neutral_face(tmp_path, kind):
    clip, _, _ = SEQUENCES[kind]
    made = make(kind, tmp_path)
    table = made.table("scores", ["clip", "updrs_expression", "severity"], [[clip, 3, 2]])
    rows = by_clip(list_(made, labels=[table]))
    assert (rows[clip]["scores"], rows[clip]["severity"]) == ({"updrs_expression": 3.0}, 2.0)
    assert (rows[f"{clip}_neutral"]["scores"], rows[f"{clip}_neutral"]["severity"]) == (None, None)


def test_meei_takes_side_age_and_sex_from_the_workbook(tmp_path):
    made = make("meei", tmp_path)
    rows = list_(made).clips
    for subject, (group, person) in made.subjects.items():
        whom = POOL.patient(group, person)
        said = {(row["side"], row["age"], row["sex"]) for row in rows if row["subject"] == subject}
        assert said == {(whom.side, float(whom.age), whom.sex)}, subject


def test_meei_takes_severity_from_the_folder(tmp_path):
    made = make("meei", tmp_path, flaccid=6)
    said = {row["subject"]: row["severity"] for row in list_(made).clips}
    truth = {subject: POOL.patient(*whom).severity for subject, whom in made.subjects.items()}
    # Virtual grades begin with 1, and healthy people have 0.
    assert said == {subject: max(grade - 1, 0.0) for subject, grade in truth.items()}
    assert len(set(said.values())) > 3


def test_meei_takes_eight_photographs_for_the_eight_movements(tmp_path):
    made = make("meei", tmp_path, odd=False)
    (made.root / "Normal/Normal2/8.jpg").unlink()
    tasks = {}
    for row in list_(made).clips:
        tasks.setdefault(row["subject"], []).append((Path(row["path"]).stem, row["task"]))
    assert tasks["Normal1"][0] == ("1", "rest")
    assert tasks["Normal1"][7] == ("8", "lower_lip_depression")
    assert {task for _, task in tasks["Normal2"]} == {None}


@pytest.mark.parametrize(
    ("recordings", "kinds", "count"),
    [("photographs", {"image"}, 40), ("videos", {"video"}, 5), ("both", {"image", "video"}, 45)],
)
def test_meei_has_photographs_and_videos(tmp_path, recordings, kinds, count):
    made = make("meei", tmp_path)
    listing = list_(made, recordings=recordings)
    assert {row["kind"] for row in listing.clips} == kinds
    assert len(listing.clips) == count
    assert numbers(listing)["subjects"] == (5, 60)
    assert_each_file_has_one_place(listing, made.root)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pat_info.xls", b"\xd0\xcf", "save it as .xlsx"),
        ("pat_info.xlsx", b"", "no readable workbook"),
        ("pat_info.xlsx", b"PK\3\4", "no readable workbook"),
    ],
)
def test_meei_goes_on_without_a_workbook_that_can_be_read(tmp_path, name, content, words):
    made = make("meei", tmp_path)
    (made.root / "pat_info.xlsx").unlink()
    (made.root / name).write_bytes(content)
    listing = list_(made)
    assert {row["age"] for row in listing.clips} == {None}
    assert len(listing.clips) == 40
    assert any(words in note for note in listing.notes)


@pytest.mark.parametrize(
    "folders",
    [
        {"als": "ALS", "healthy": "HC", "stroke": "PS"},
        {"als": "als", "healthy": "hc", "stroke": "post-stroke"},
        {"als": "ALS patients", "healthy": "HEALTHY CONTROLS", "stroke": "Stroke"},
    ],
)
def test_neuroface_knows_the_groups_by_whatever_their_folders_are_called(tmp_path, folders):
    listing = list_(make("neuroface", tmp_path, folders=folders))
    assert numbers(listing) == COUNTS["neuroface"]
    assert {row["subject"]: row["group"] for row in listing.clips} == {
        "A002": "als",
        "A006": "als",
        "N001": "healthy",
        "N002": "healthy",
        "OP01": "stroke",
        "OP02": "stroke",
    }


def test_neuroface_orders_frames_as_numbers(tmp_path):
    made = make("neuroface", tmp_path, odd=False)
    row = by_clip(list_(made))["A002_02_NSM_KISS"]
    assert row["files"] == [f"A002_02_NSM_KISS_color.avi_{number}.jpg" for number in (8, 55, 102, 149)]
    assert (row["task"], row["kind"]) == ("kiss", "images")
    assert row["path"] == str(made.root / "ALS/Frames")


def test_neuroface_knows_all_its_tasks(tmp_path):
    words = ["NSM_SPREAD", "NSM_KISS", "NSM_OPEN", "NSM_BLOW", "NSM_BIGSMILE", "NSM_BROW"]
    made = make("neuroface", tmp_path, odd=False, tasks=[*words, "DDK_PA", "DDK_PATAKA", "BBP_NORMAL"])
    tasks = [row["task"] for row in list_(made).clips if row["subject"] == "A002"]
    assert sorted(tasks) == sorted(["spread", "kiss", "open", "blow", "bigsmile", "brow", "pa", "pataka", "sentence"])


@pytest.mark.parametrize("above", ["", "Toronto NeuroFace/"])
@pytest.mark.parametrize("folder", ["Videos/", ""])
def test_neuroface_uses_videos_in_place_of_frames(tmp_path, folder, above):
    made = make("neuroface", tmp_path, odd=False)
    for path in list(made.root.glob("*/Videos/*.avi")):
        target = made.root / above / path.parent.parent.name / folder / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    listing = list_(made, recordings="videos")
    assert {row["kind"] for row in listing.clips} == {"video"}
    assert numbers(listing) == {
        "subjects": (6, 36),
        "videos": (12, 261),
        "subjects, als": (2, 11),
        "subjects, healthy": (2, 11),
        "subjects, stroke": (2, 14),
    }
    assert set(by_clip(listing)) == set(by_clip(list_(made)))
    assert_each_file_has_one_place(listing, made.root)


def test_neuroface_divides_frames_into_repetitions(tmp_path):
    made = make("neuroface", tmp_path)
    windows = [["A002_02_NSM_KISS", 0, 60], ["A002_02_NSM_KISS", 60, 120], ["A002_02_NSM_KISS", 500, 600]]
    table = made.table("repetitions", ["clip", "start", "end"], windows)
    listing = list_(made, repetitions=table)
    rows = by_clip(listing)
    parts = {
        clip: [name.split("_")[-1].lower() for name in row["files"] or [row["path"]]] for clip, row in rows.items()
    }
    assert parts["A002_02_NSM_KISS_1"] == ["8.jpg", "55.jpg"]
    assert parts["A002_02_NSM_KISS_2"] == ["102.jpg"]
    assert {"A002_02_NSM_KISS", "A002_02_NSM_KISS_3"}.isdisjoint(parts)
    assert "no repetition" in listing.left_out["ALS/Frames/A002_02_NSM_KISS_color.avi_149.jpg"]
    assert parts["A002_02_BBP_NORMAL"] == ["8.jpg", "55.jpg", "102.jpg", "149.jpg"]
    assert numbers(listing)["videos with frames"] == (12, 261)
    assert_each_file_has_one_place(listing, made.root)


def test_a_label_of_one_repetition_is_none_of_the_next(tmp_path):
    made = make("neuroface", tmp_path)
    windows = [["A002_02_NSM_KISS", 0, 60], ["A002_02_NSM_KISS", 61, 200]]
    table = made.table("repetitions", ["clip", "start", "end"], windows)
    labels = made.table("labels", ["clip", "severity"], [["A002_02_NSM_KISS_1", 2], ["A002_02_NSM_KISS_2", 4]])
    rows = by_clip(list_(made, repetitions=table, labels=[labels]))
    assert [rows[f"A002_02_NSM_KISS_{number}"]["severity"] for number in (1, 2)] == [2.0, 4.0]


@pytest.mark.parametrize("row", [["A", "", 5], ["A", 5, 4], ["A", "x", 4]])
def test_a_repetition_without_a_beginning_and_an_end_is_refused(tmp_path, row):
    made = make("neuroface", tmp_path)
    table = made.table("repetitions", ["clip", "start", "end"], [row])
    assert f"{table}, line 2" in refusal("neuroface", made.root, repetitions=table)


def test_yfp_tells_frames_with_a_box_from_those_without(tmp_path):
    made = make("yfp", tmp_path)
    rows = by_clip(list_(made))
    for subject, whom in made.subjects.items():
        shown, signless = rows[f"{subject}_video1"], rows[f"{subject}_video1_no_sign"]
        intensity = 1.0 if POOL.patient(*whom).severity > 3 else 0.5
        assert (shown["group"], shown["severity"]) == ("palsy", intensity)
        assert (signless["group"], signless["severity"]) == ("no_sign", None)
        assert [name.lower() for name in signless["files"]] == [f"frame_{number}.jpg" for number in (1, 2, 3)]
        assert shown["files"] == [f"frame_{number}.jpg" for number in (4, 5, 6)]


def test_yfp_without_boxes_has_a_clip_a_video(tmp_path):
    made = make("yfp", tmp_path, boxes=False)
    listing = list_(made)
    assert set(by_clip(listing)) == {f"{subject}_video1" for subject in made.subjects}
    assert {row["group"] for row in listing.clips} == {"palsy"}
    assert numbers(listing) == COUNTS["yfp"]


def test_yfp_says_of_which_video_nothing_is_known(tmp_path):
    made = make("yfp", tmp_path, odd=False)
    header = ["clip", "frame", "region", "intensity"]
    made.settings["boxes"] = made.table("boxes", header, [["patient01_video1", 2, "eyes", "high"]])
    listing = list_(made)
    assert len(by_clip(listing)) == 4
    assert sum("has no row of clip patient0" in note for note in listing.notes) == 2


@pytest.mark.parametrize(
    ("cells", "words"), [(["c", 1, "eyes", "strong"], "'strong'"), (["c", "", "eyes", 1], "frame")]
)
def test_yfp_refuses_a_box_that_says_nothing(tmp_path, cells, words):
    made = make("yfp", tmp_path)
    table = made.table("boxes", ["clip", "frame", "region", "intensity"], [cells])
    message = refusal("yfp", made.root, boxes=table)
    assert f"{table}, line 2" in message
    assert words in message


def test_rafd_uses_the_views_that_are_asked_for(tmp_path):
    made = make("rafd", tmp_path)
    listing = list_(made, angles=[45, 90], gaze=["frontal", "left"])
    clips = [row["clip"] for row in listing.clips if row["subject"] == "01"]
    assert len(clips) == 8 * 4
    assert "01_anger_045_left" in clips
    assert numbers(listing)["pictures of the 4 chosen views"] == (48, 67 * 8 * 4)
    assert_each_file_has_one_place(listing, made.root)


def test_rafd_reads_the_sex_of_everybody_and_children_too(tmp_path):
    made = make("rafd", tmp_path)
    said = {row["subject"]: row["sex"] for row in list_(made).clips}
    assert said == {subject: POOL.patient(*whom).sex for subject, whom in made.subjects.items()}


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"modality": "NI"}, "OriginalImg/NI/Strong/P012"),
        ({"light": "Dark"}, "OriginalImg/VL/Dark/P012"),
        ({"version": "cropped"}, "PreProcess_Img/VL_Acropped/Strong/P012"),
    ],
)
def test_oulu_casia_uses_the_light_that_is_asked_for(tmp_path, options, folder):
    made = make("oulu_casia", tmp_path)
    listing = list_(made, **options)
    assert {Path(path).parent.parent.as_posix() for path in listing.in_clips} == {folder}
    assert_each_file_has_one_place(listing, made.root)


def test_aflfp_orders_the_states_of_an_expression(tmp_path):
    row = by_clip(list_(make("aflfp", tmp_path, odd=False)))["001_smile"]
    assert row["files"] == ["neutral.png", "onset.png", "mid.png", "peak.png"]
    assert row["task"] == "smile"


@pytest.mark.parametrize("names", ["{}/{}/{}", "{}/{}_{}", "{}_{}_{}", "all/{}_{}_{}", "{0}/{0}_{1}_{2}"])
@pytest.mark.parametrize("task", ["smile", "close_eyes"])
def test_aflfp_is_read_however_much_of_a_name_is_in_folders(tmp_path, names, task):
    for state in ("neutral", "peak"):
        path = tmp_path / (names.format("P1", task, state) + ".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    row = by_clip(cohorts.listing("copy", {"kind": "aflfp", "root": str(tmp_path)}))[f"P1_{task}"]
    assert row["subject"] == "P1"
    assert [Path(name).stem.split("_")[-1] for name in row["files"]] == ["neutral", "peak"]


@pytest.mark.parametrize("kind", ["tfed", "pdfe"])
@pytest.mark.parametrize("names", ["{}/{}", "{}_{}", "all pictures/{}_{}"])
def test_an_expression_is_read_however_much_of_a_name_is_in_folders(tmp_path, kind, names):
    for person in ("P1", "P2"):
        path = tmp_path / (names.format(person, "Happiness") + ".jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = cohorts.listing("copy", {"kind": kind, "root": str(tmp_path)}).clips
    assert [(row["subject"], row["task"]) for row in rows] == [("P1", "happiness"), ("P2", "happiness")]


def test_pdfe_reads_a_picture_or_a_folder_of_pictures(tmp_path):
    made = make("pdfe", tmp_path)
    rows = by_clip(list_(made))
    assert (rows["PD001_anger"]["kind"], rows["PD001_anger"]["files"]) == ("image", None)
    assert (rows["PD003_anger"]["kind"], rows["PD003_anger"]["files"]) == ("images", ["1.jpg", "2.jpg"])
    severity = {row["subject"]: row["severity"] for row in rows.values()}
    assert severity == {subject: POOL.patient(*whom).severity for subject, whom in made.subjects.items()}


def test_pfed5_takes_the_score_of_a_clip_for_its_severity(tmp_path):
    made = make("pfed5", tmp_path)
    listing = list_(made, severity="updrs_expression")
    truth = {subject: 2 * POOL.patient(*whom).severity for subject, whom in made.subjects.items()}
    assert {row["subject"]: row["severity"] for row in listing.clips} == truth
    assert {row["task"] for row in listing.clips} == {"rest", "smile", "frown", "squeeze_eyes", "clench_teeth"}


def test_the_jaffe_subject_na_is_a_name_like_others(tmp_path):
    listing = list_(make("jaffe", tmp_path))
    assert {row["task"] for row in listing.clips if row["subject"] == "NA"} == {
        *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    }
    assert "NA" not in listing.missing
    assert "KR" in listing.missing


# --- Settings ---------------------------------------------------------------------------------------------------------


def test_a_word_that_is_not_known_can_be_given_a_meaning(tmp_path):
    made = make("tfed", tmp_path, odd=False)
    (made.root / "Y01/Anger.jpg").rename(made.root / "Y01/Wut.jpg")
    assert "rename.task" in list_(made).left_out["Y01/Wut.jpg"]
    renamed = list_(made, rename={"task": {"WUT": "anger"}})
    assert by_clip(renamed)["Y01_anger"]["path"].endswith("Wut.jpg")


def test_the_meaning_of_a_known_word_can_be_changed(tmp_path):
    made = make("tfed", tmp_path, odd=False)
    tasks = {row["task"] for row in list_(made, rename={"task": {"happiness": "smile"}}).clips}
    assert "smile" in tasks
    assert "happiness" not in tasks


def test_one_subject_renamed_leaves_the_others_as_they_are(tmp_path):
    made = make("pdfe", tmp_path, odd=False)
    listing = list_(made, rename={"subject": {"pd002": "Bo"}})
    assert {row["subject"] for row in listing.clips} == {"PD001", "Bo", "PD003"}


def test_a_field_that_there_is_not_cannot_be_renamed(tmp_path):
    made = make("tfed", tmp_path)
    message = refusal("tfed", made.root, rename={"emotion": {"wut": "anger"}})
    assert "cohorts.copy.rename" in message
    assert "'emotion'" in message
    assert "task" in message


def test_a_layout_of_ones_own_replaces_that_of_the_set(tmp_path):
    for name in ("anger-of-Ann", "Anger-of-Bo", "joy-of-Bo"):
        (tmp_path / f"{name}.png").touch()
    settings_ = {"kind": "tfed", "root": str(tmp_path), "layout": ["{task}-of-{subject}"]}
    listing = cohorts.listing("copy", settings_)
    assert [(row["subject"], row["task"]) for row in listing.clips] == [
        ("Ann", "anger"),
        ("Bo", "anger"),
        ("Bo", "happiness"),
    ]
    assert not listing.notes, "nothing was guessed"


def test_neuroface_files_of_another_name_are_read_by_a_layout_of_ones_own(tmp_path):
    for number in (2, 10):
        path = tmp_path / f"als/A002_NSM_KISS_{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    settings_ = {"kind": "neuroface", "root": str(tmp_path), "layout": [r"{group}/{subject}_{task}_{order:\d+}"]}
    row = by_clip(cohorts.listing("copy", settings_))["A002_NSM_KISS"]
    assert row["files"] == ["A002_NSM_KISS_2.jpg", "A002_NSM_KISS_10.jpg"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_the_set_does_not_know_is_refused(kind, tmp_path):
    made = make(kind, tmp_path)
    message = refusal(kind, made.root, layout=["{weather}"])
    assert "cohorts.copy.layout" in message
    assert "'weather'" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_the_set_cannot_do_without_is_asked_for(kind, tmp_path):
    made = make(kind, tmp_path)
    message = refusal(kind, made.root, layout=["*"])
    assert "cohorts.copy.layout" in message
    assert "has no field" in message


@pytest.mark.parametrize(
    "template", ["{Subject}/{task}", "{subject}/{task", "{subject}/{subject}", "{subject:[}/{task}"]
)
def test_a_template_that_cannot_be_read_is_refused(template, tmp_path):
    made = make("tfed", tmp_path)
    message = refusal("tfed", made.root, layout=["{subject}_{task}", template])
    assert "cohorts.copy.layout" in message
    assert template in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_is_not_there_is_refused(kind, tmp_path):
    assert "cohorts.copy.root" in refusal(kind, tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert "cohorts.copy.root" in refusal(kind, tmp_path / "file")


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_folder_is_refused(kind, tmp_path):
    (tmp_path / "in it" / "another").mkdir(parents=True)
    message = refusal(kind, tmp_path)
    assert "cohorts.copy.root" in message
    assert "empty" in message


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_something_else_is_refused_with_what_was_expected(kind, tmp_path):
    for name in ("IMG_2041 (beach).JPG", "taxes.pdf", "holiday/sunset!.mp4", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    message = refusal(kind, tmp_path, layout=None)
    assert "cohorts.copy.root" in message
    assert "4 files" in message
    data_set = cohorts.data_set(kind)
    assert data_set.title in message
    assert data_set.layout[0] in message


# --- Labels -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def palsies(tmp_path) -> Made:
    return make("palsynet", tmp_path)


def test_labels_join_by_subject(palsies):
    header = ["subject", "severity", "side", "age", "sex", "task", "source", "updrs_expression", "note_score"]
    rows = [
        ["affected_1", 2.5, "Left", 61, "female", "reading", "tube", 3, -7],
        ["affected_2", "", "", "", "", "", "", "", ""],
    ]
    clips = by_clip(list_(palsies, labels=[palsies.table("labels", header, rows)]))
    named = clips["affected_1"]
    assert {name: named[name] for name in header[1:7]} == {
        "severity": 2.5,
        "side": "left",
        "age": 61.0,
        "sex": "female",
        "task": "reading",
        "source": "tube",
    }
    assert named["scores"] == {"updrs_expression": 3.0, "note_score": -7.0}
    empty = clips["affected_2"]
    assert (empty["task"], empty["source"], empty["severity"], empty["scores"]) == ("speech", "palsynet", None, None)


def test_labels_join_by_clip_and_by_both(tmp_path):
    made = make("pdfe", tmp_path, odd=False)
    one = made.table("one", ["clip", "severity"], [["PD001_anger", 9]])
    both = made.table("both", ["clip", "age", "subject"], [["PD001_fear", 33, "PD001"], ["PD001_sadness", 34, "PD002"]])
    clips = by_clip(list_(made, labels=[*made.labels, one, both]))
    truth = POOL.patient("parkinson", 0)
    assert clips["PD001_anger"]["severity"] == 9.0, "the last table has the last word"
    assert clips["PD001_fear"]["severity"] == truth.severity
    assert (clips["PD001_fear"]["age"], clips["PD001_sadness"]["age"]) == (33.0, float(truth.age))


def test_rows_and_subjects_without_a_partner_are_listed(palsies):
    table = palsies.table("labels", ["subject", "age"], [["affected_1", 40], ["nobody", 50], ["affected_01", 60]])
    notes = list_(palsies, labels=[table]).notes
    assert f"{table}: 2 of 3 rows match no subject of this copy: affected_01 (line 4), nobody (line 3)." in notes
    names = "affected_2, affected_3, unaffected_1, unaffected_2, unaffected_3"
    assert f"{table}: 5 of 6 subjects have no row: {names}." in notes


def test_a_long_list_of_rows_without_a_partner_is_cut_short(palsies):
    table = palsies.table("labels", ["subject", "age"], [[f"nobody {number}", 40] for number in range(30)])
    notes = list_(palsies, labels=[table]).notes
    assert any("30 of 30 rows" in note and note.endswith("and 22 more.") for note in notes)


def test_rows_of_subjects_that_are_not_taken_match_the_copy_all_the_same(palsies):
    rows = [[subject, 40] for subject in palsies.subjects]
    table = palsies.table("labels", ["subject", "age"], rows)
    assert list_(palsies, labels=[table], subjects=1).notes == []


def test_house_brackmann_grades_may_be_roman_numerals(palsies):
    rows = [["affected_1", " iV "], ["affected_2", "VI"], ["affected_3", "3"]]
    table = palsies.table("labels", ["subject", "house_brackmann"], rows)
    clips = by_clip(list_(palsies, labels=[table], severity="house_brackmann"))
    assert [clips[f"affected_{number}"]["severity"] for number in (1, 2, 3)] == [4.0, 6.0, 3.0]
    assert clips["unaffected_1"]["severity"] is None


@pytest.mark.parametrize(
    ("score", "band"),
    [(100, 0), (96, 0), (95.9, 1), (91, 1), (90.5, 2), (80, 2), (79, 3), (70, 3), (60, 4), (59.9, 5), (0, 5)],
)
def test_an_eface_score_becomes_the_band_of_its_severity(palsies, score, band):
    table = palsies.table("labels", ["subject", "eface"], [["affected_1", score]])
    row = by_clip(list_(palsies, labels=[table], severity="eface"))["affected_1"]
    assert (row["severity"], row["scores"]) == (band, {"eface": score})


def test_more_of_the_sunnybrook_score_is_less_severe(palsies):
    table = palsies.table("labels", ["subject", "sunnybrook"], [["affected_1", 30]])
    assert by_clip(list_(palsies, labels=[table], severity="sunnybrook"))["affected_1"]["severity"] == 70.0


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("house_brackmann", "7"),
        ("house_brackmann", "VII"),
        ("house_brackmann", "0"),
        ("eface", "101"),
        ("eface", "-1"),
        ("sunnybrook", "100.5"),
        ("updrs_expression", "5"),
        ("updrs_expression", "mild"),
        ("severity", "II"),
        ("age", "old"),
        ("age", "nan"),
        ("side", "both"),
        ("my_score", "x"),
    ],
)
def test_a_value_that_cannot_be_is_refused_where_it_stands(palsies, column, cell):
    table = palsies.table("labels", ["subject", column], [["affected_2", ""], ["affected_1", cell]])
    message = refusal("palsynet", palsies.root, labels=[table])
    assert f"{table}, line 3" in message
    assert f"column {column!r}" in message
    assert cell in message


def test_a_total_of_the_updrs_has_no_upper_end(palsies):
    table = palsies.table("labels", ["subject", "updrs_total"], [["affected_1", 58]])
    assert by_clip(list_(palsies, labels=[table]))["affected_1"]["scores"] == {"updrs_total": 58.0}


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        (["subject", "age"], [["affected_1", 1], ["affected_1", 1]], ["line 3", "line 2", "'affected_1'", "already"]),
        (["subject", "age"], [["", 1]], ["line 2", "'subject'", "empty"]),
        (["subject", "age"], [["  ", 1]], ["line 2", "'subject'", "empty"]),
        (["subject", "clip", "age"], [["affected_1", " ", 1]], ["line 2", "'clip'", "empty"]),
        (["age", "subject"], [[1]], ["line 2", "'subject'", "empty"]),
        (["person", "age"], [["affected_1", 1]], ["line 1", "'subject' or 'clip'"]),
        (["subject", "age", "age"], [], ["line 1", "'age'", "twice"]),
        (["subject", "age"], [["affected_1", 1, 2]], ["line 2", "3 cells"]),
    ],
)
def test_a_table_of_labels_that_is_not_clear_is_refused(palsies, header, rows, words):
    table = palsies.table("labels", header, rows)
    message = refusal("palsynet", palsies.root, labels=[table])
    assert table in message
    assert [word for word in words if word not in message] == []


def test_a_table_of_labels_that_is_not_there_is_refused_by_its_key(palsies):
    assert "cohorts.copy.labels" in refusal("palsynet", palsies.root, labels=["nowhere.csv"])


def test_a_severity_that_no_table_has_is_refused_by_its_key(palsies):
    message = refusal("palsynet", palsies.root, severity="eface")
    assert "cohorts.copy.severity" in message
    assert "labels" in message
    table = palsies.table("labels", ["subject", "sunnybrook"], [["affected_1", 30]])
    assert "there is sunnybrook" in refusal("palsynet", palsies.root, labels=[table], severity="eface")


# --- Cohorts beside each other ----------------------------------------------------------------------------------------


def test_people_of_one_name_in_two_data_sets_stay_apart(tmp_path):
    here, there = make("pfed5", tmp_path, odd=False), make("tfed", tmp_path, odd=False)
    # Now both have a person Y01 whose clip is called Y01_...
    (here.root / "P01").rename(here.root / "Y01")
    rows = [
        row
        for name, made in (("clinic", here), ("studio", there))
        for shard in cohorts.shards(name, cohorts.listing(name, made.cohort | {"labels": []}).clips, 2).values()
        for row in shard
    ]
    keys = [(row["cohort"], row["subject"], row["clip"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert {row["cohort"] for row in rows if row["subject"] == "Y01"} == {"clinic", "studio"}
    assert {row["group"] for row in rows if (row["cohort"], row["subject"]) == ("studio", "Y01")} == {"healthy"}


# --- Laws -------------------------------------------------------------------------------------------------------------

VOCABULARY = {
    "aflfp": ["001", "smile", "peak", "neutral", "001_smile_mid", "smile_onset", "0"],
    "ck_plus": [
        "S005",
        "001",
        "S005_001_00000001",
        "S005_001_00000002",
        "S005_001_00000003_emotion",
        "s005_001_00000004",
    ],
    "jaffe": ["KA.AN1.39", "NA.HA2.40", "ka.an1.39", "KA.XX1.1", "JAFFE"],
    "meei": ["Normal", "Normal1", "Flaccid", "MildFlaccid", "MildFlaccid1", "OddFlaccid1", "1", "2", "pat_info"],
    "neuroface": [
        *("ALS", "HC", "Frames", "Videos", "A002_02_NSM_KISS_color.avi_8", "A002_02_NSM_KISS_color.avi_08"),
        *("A002_02_NSM_KISS_color", "A002_02_NSM_KISS_color_gt", "S001_02_DDK_PA_COLOR.avi_1", "Landmarks_gt"),
    ],
    "oulu_casia": [
        "OriginalImg",
        "B_OriginalImg",
        "VL",
        "NI",
        "Strong",
        "P001",
        "P002",
        "Anger",
        "000",
        "001",
        "002",
        "003",
    ],
    "palsynet": ["data", "affected", "unaffected", "1", "01", "2"],
    "pdfe": ["P1", "P2", "anger", "neutral", "P1_anger", "1", "2"],
    "pfed5": ["P1", "P2", "smile", "sit at rest", "P1_frown", "1", "2"],
    "rafd": [
        "Rafd090_28_Caucasian_male_angry_frontal",
        "Rafd45_28_Caucasian_male_angry_left",
        "Rafd090_1_x_y_sad_frontal",
    ],
    "tfed": ["Y01", "O01", "Anger", "Content", "Y01_Anger", "Y01-Fear", "Y01_3_Sadness"],
    "yfp": ["p1", "v1", "frame_1", "frame_02", "3", "p1_v1_4"],
}
NOISE = [
    "Thumbs.db",
    ".DS_Store",
    "__MACOSX",
    "._1",
    "~ backup",
    "Zoë",
    "no tes",
    "x" * 60,
    "a.b",
    "{subject}",
    "%d",
    "-",
]
SUFFIXES = [".jpg", ".JPG", ".jpeg", ".png", ".tiff", ".mp4", ".AVI", ".mov", ".txt", ".csv", ".xlsx", ".db", ""]


@cache
def real_paths(kind: str) -> list[str]:
    """The paths of the tree of a data set, without what is planted in it."""
    with tempfile.TemporaryDirectory() as folder:
        return sorted(files_below(make(kind, Path(folder), odd=False).root))


@st.composite
def bent(draw, kind: str) -> str:
    """A path of the data set, with a folder more or less, other capitals or another ending."""
    path = draw(st.sampled_from(real_paths(kind)))
    parts = path.split("/")
    place = draw(st.integers(0, len(parts) - 1))
    change = draw(st.sampled_from(["none", "none", "none", "more", "less", "other", "capitals", "ending", "name"]))
    word = draw(st.sampled_from([*VOCABULARY[kind], *NOISE]))
    if change == "more":
        parts.insert(place, word)
    elif change == "less" and len(parts) > 1:
        del parts[place]
    elif change == "other" and place < len(parts) - 1:
        parts[place] = word
    elif change == "capitals":
        parts[place] = parts[place].swapcase()
    elif change == "ending":
        parts[-1] = parts[-1].rpartition(".")[0] + draw(st.sampled_from(SUFFIXES))
    elif change == "name":
        parts[-1] = f"{word}_{parts[-1]}"
    return "/".join(parts)


def trees(kind: str) -> st.SearchStrategy[list[str]]:
    part = st.sampled_from([*VOCABULARY[kind], *VOCABULARY[kind], *NOISE])
    wild = st.builds(
        lambda parts, suffix: "/".join(parts) + suffix,
        st.lists(part, min_size=1, max_size=6),
        st.sampled_from([".jpg", ".mp4", *SUFFIXES]),
    )
    folders: dict[str, list[str]] = {}
    for path in real_paths(kind):
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    whole = st.sampled_from(sorted(folders.values()))
    some = st.lists(st.one_of(bent(kind), bent(kind), wild), min_size=1, max_size=15)
    return st.lists(st.one_of(some, whole), min_size=1, max_size=4).map(
        lambda groups: list(dict.fromkeys(path for group in groups for path in group))
    )


SETTINGS = {
    "ck_plus": st.fixed_dictionaries({"frames": st.sampled_from(["ends", "all"]), "apex": st.integers(1, 3)}),
    "oulu_casia": st.fixed_dictionaries({"frames": st.sampled_from(["ends", "all"]), "apex": st.integers(1, 3)}),
    "meei": st.fixed_dictionaries({"recordings": st.sampled_from(["photographs", "videos", "both"])}),
    "neuroface": st.fixed_dictionaries(
        {"recordings": st.sampled_from(["frames", "videos"]), "repetitions": st.sampled_from([None, "windows.csv"])}
    ),
    "rafd": st.fixed_dictionaries({"angles": st.sampled_from([[90], [45, 90]])}),
    "yfp": st.fixed_dictionaries({"boxes": st.sampled_from([None, "boxes.csv"])}),
}
TABLES = {
    "windows.csv": "clip,start,end\nA002_02_NSM_KISS,0,60\nA002_02_NSM_KISS,50,110\nelse,1,2\n",
    "boxes.csv": "clip,frame,region,intensity\npatient01_video1,1,mouth,high\np1_v1,2,eyes,low\n",
}


def plant(root: Path, paths: list[str]) -> None:
    """Make files; a path is passed over where a file or a folder of that name is in the way."""
    for path in paths:
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        except OSError:
            continue
        # Times tell nothing of the order in which the files were made.
        if (root / path).is_file():
            os.utime(root / path, ns=(10**18, 10**18))


def listing_or_refusal(root: Path, settings_: dict) -> Listing | str:
    try:
        return cohorts.listing("copy", settings_ | {"root": str(root)})
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_of_any_tree_every_file_is_in_one_place_in_whatever_order_they_were_made(kind, tmp_path, data):
    paths = data.draw(trees(kind))
    chosen = data.draw(st.sampled_from([None, None, 1, 2]))
    options = {"kind": kind, "subjects": chosen} | data.draw(SETTINGS.get(kind, st.just({})))
    for name, text in TABLES.items():
        (tmp_path / name).write_text(text)
        options = {key: str(tmp_path / name) if value == name else value for key, value in options.items()}
    for name in ("tree", "again"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / name).mkdir()
    plant(tmp_path / "tree", paths)
    found = listing_or_refusal(tmp_path / "tree", options)
    made = sorted(files_below(tmp_path / "tree"))
    if isinstance(found, Listing):
        assert_each_file_has_one_place(found, tmp_path / "tree")
        keys = [(row["subject"], row["clip"]) for row in found.clips]
        assert len(set(keys)) == len(keys)
    else:
        assert f"of {len(made)} files" in found

    random.Random(len(paths)).shuffle(made)
    plant(tmp_path / "again", made)
    shutil.rmtree(tmp_path / "tree")
    (tmp_path / "again").rename(tmp_path / "tree")
    assert listing_or_refusal(tmp_path / "tree", options) == found


def digests(listing: Listing) -> dict[tuple[str, str], str]:
    return {(row["subject"], row["clip"]): row["digest"] for row in listing.clips}


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_another_one_after_every_change_of_a_file_and_no_other(kind, tmp_path):
    made = make(kind, tmp_path, odd=False)
    seen = {list_(made).digest}
    assert list_(made).digest in seen

    def changed() -> bool:
        digest = list_(made).digest
        new = digest not in seen
        seen.add(digest)
        return new

    for path in [made.files[0], made.files[-1], *(path for path in made.odd if "." in path)][:6]:
        file = made.root / path
        content, times = file.read_bytes(), file.stat()
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns // 10**9 * 10**9))
        assert not changed(), f"{path} has the same time, in whole seconds"
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 10**9))
        assert changed(), f"{path} has another time"
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert not changed(), f"{path} is as it was"
        file.chmod(0o600)
        file.read_bytes()
        assert not changed(), f"{path} was read"
        file.write_bytes(content + b"\0")
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert changed(), f"{path} is longer"
        file.unlink()
        assert changed(), f"{path} is removed"
        file.write_bytes(content)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert not changed(), f"{path} is there again"
        renamed = file.with_name(f"{file.stem}_renamed{file.suffix}")
        file.rename(renamed)
        assert changed(), f"{path} is renamed"
        renamed.rename(file)
    (made.root / "new.txt").touch()
    assert changed(), "a file is added"


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_of_one_clip_leaves_the_digests_of_the_others(kind, tmp_path):
    made = make(kind, tmp_path)
    before = list_(made)
    path = made.files[len(made.files) // 2]
    with (made.root / path).open("ab") as file:
        file.write(b"\0")
    after = list_(made)
    assert {key for key, digest in digests(after).items() if digests(before)[key] != digest} == {before.in_clips[path]}
