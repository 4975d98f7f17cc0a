"""Faces of the synthesis study, who is learnt from, and who is paired with whom."""

import logging
import runpy
import tracemalloc
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceneuro.errors import InputError
from faceneuro.features.crops import encode
from faceneuro.studies.synthesis import (
    LEAST_TESTED,
    LINES,
    PUBLISHED_MODEL,
    Faces,
    TrainingPairs,
    gather,
    pairs,
    pictures,
    read_pairs,
    resampled,
    split_people,
)
from faceneuro.tables import ALIGNED, FACES, KEYS, MANIFEST, PAIRS, QUALITY, provenance_of, read_rows, write_table
from running import ROOT

GROUPS = {"positive": "palsy", "negative": "healthy"}
TASKS = ("rest", "smile", "brow")
SETTINGS = {"groups": GROUPS, "tasks": None, "pixels": 16, "test_fraction": 0.12, "seed": 1}

# subject, group, severity, side, verdict, images per clip
PEOPLE = [
    ("01", "healthy", None, "none", "ok", 1),
    ("02", "healthy", None, "none", "ok", 1),
    ("NA", "palsy", 3.0, "left", "ok", 2),
    ("P 'x'", "palsy", 6.0, "right", "partial", 1),
    ("Q", "palsy", 2.0, "left", "ok", 1),
    ("R", "palsy", 5.0, "right", "ok", 1),
    ("S", "palsy", 4.0, "left", "unusable", 1),
    ("T", "stroke", None, "none", "ok", 1),
]


def picture(mark: int) -> np.ndarray:
    """A smooth image of 112 x 112; no two marks give the same."""
    small = np.random.default_rng(mark).integers(0, 256, (7, 7, 3), np.uint8)
    return cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC)


def points_of(mark: int) -> np.ndarray:
    return np.random.default_rng(5000 + mark).random((68, 2)).astype(np.float32)


class Cohort:
    """Tables of a small cohort on disk; every number in them says where it belongs."""

    def __init__(self, folder: Path, people=PEOPLE, tasks=TASKS):
        self.folder, self.marks = folder, {}
        folder.mkdir(exist_ok=True)
        manifest, quality, shards = [], [], [[], []]
        for number, (subject, group, severity, side, verdict, images) in enumerate(people):
            for task in tasks:
                key = {"cohort": "c", "subject": subject, "clip": f"{subject}_{task}"}
                manifest.append(key | {"task": task, "group": group, "severity": severity, "side": side})
                quality.append(key | {"verdict": verdict})
                for frame in range(images):
                    mark = self.marks[key["subject"], key["clip"], frame] = len(self.marks)
                    row = key | {"frame": frame, "png": encode(picture(mark)), "matrix": np.zeros(6)}
                    shards[number >= len(people) // 2].append(row | {"points": points_of(mark)})
        write_table(manifest, folder / "manifest.parquet", MANIFEST)
        write_table(quality, folder / "quality.parquet", QUALITY)
        self.aligned = [folder / "aligned0.parquet", folder / "aligned1.parquet"]
        for path, rows in zip(self.aligned, shards, strict=True):
            write_table(rows, path, ALIGNED)
        self.files = folder / "faces.npy", folder / "faces.parquet"

    def gather(self, **options) -> Faces:
        tables = self.folder / "manifest.parquet", self.folder / "quality.parquet"
        gather(self.aligned, *tables, *self.files, **SETTINGS | options)
        return Faces.load(*self.files)


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path / "cohort")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return Cohort(tmp_path_factory.mktemp("faces") / "cohort").gather()


def faces_of(images: dict[tuple[str, str], int], tested=()) -> Faces:
    """Faces by (subject, group): how many images; those named are tested."""
    rows = [
        {"cohort": "c", "subject": subject, "clip": f"{subject}_{n}", "frame": 0, "group": group, "task": f"t{n}"}
        | {"role": "test" if subject in tested else "train"}
        for (subject, group), count in images.items()
        for n in range(count)
    ]
    return Faces(np.zeros((len(rows), 4, 4, 3), np.uint8), np.zeros((len(rows), 68, 2), np.float32), pd.DataFrame(rows))


# Gathering


def test_the_faces_are_those_of_usable_clips_of_the_two_groups(cohort):
    faces = cohort.gather()
    assert set(faces.keys["subject"]) == {"01", "02", "NA", "P 'x'", "Q", "R"}
    assert len(faces) == 3 * (2 + 2 + 3)
    assert faces.images.shape == (21, 16, 16, 3)
    assert faces.points.shape == (21, 68, 2)
    assert set(cohort.gather(tasks=["smile", "rest"]).keys["task"]) == {"smile", "rest"}


def test_every_image_and_every_column_belongs_to_its_key(cohort):
    faces = cohort.gather()
    of = {subject: rest for subject, *rest in PEOPLE}
    for row in faces.keys.itertuples():
        mark = cohort.marks[row.subject, row.clip, row.frame]
        np.testing.assert_array_equal(faces.images[row.Index], resampled(picture(mark), 16))
        np.testing.assert_array_equal(faces.points[row.Index], points_of(mark))
        group, severity, side, *_ = of[row.subject]
        assert (row.group, row.side, row.clip) == (group, side, f"{row.subject}_{row.task}")
        assert row.severity == severity if severity else np.isnan(row.severity)
    assert faces.keys.columns.tolist() == [name for name in FACES.names if name != "points"]


def test_a_person_has_one_role(cohort):
    keys = cohort.gather().keys
    assert (keys.groupby("subject")["role"].nunique() == 1).all()
    assert set(keys["role"]) == {"train", "test"}


def test_without_healthy_people_the_patients_are_enough(cohort):
    faces = cohort.gather(groups={"positive": "palsy", "negative": None})
    assert set(faces.keys["group"]) == {"palsy"}
    assert set(faces.keys["role"]) == {"train", "test"}


def test_pixels_are_averaged(cohort):
    image = picture(3)
    np.testing.assert_array_equal(cohort.gather(pixels=112).images[3], image)
    blocks = image.reshape(28, 4, 28, 4, 3).mean(axis=(1, 3))
    assert np.abs(resampled(image, 28) - blocks).max() <= 1
    with pytest.raises(ValueError, match="has no 113"):
        resampled(image, 113)


def test_a_user_s_mistakes_are_named(cohort):
    with pytest.raises(InputError, match=r"studies\.synthesis\.groups\.positive.*'bell'"):
        cohort.gather(groups=GROUPS | {"positive": "bell"})
    with pytest.raises(InputError, match=r"studies\.synthesis\.tasks"):
        cohort.gather(tasks=["pucker"])
    for path in cohort.aligned:
        rows = [row for row in read_rows(path) if row["subject"] not in ("01", "02")]
        write_table([{**row, "png": bytes(row["png"])} for row in rows], path, ALIGNED)
    with pytest.raises(InputError, match=r"groups\.negative: no frame of 'healthy' shows a face"):
        cohort.gather()


def test_a_person_in_both_groups_is_refused(tmp_path):
    people = [*PEOPLE[:6], ("01", "palsy", 2.0, "left", "ok", 1)]
    with pytest.raises(InputError, match="puts subject '01' into both"):
        Cohort(tmp_path, people).gather()


def test_nothing_is_left_where_gathering_fails(cohort):
    broken = [{**row, "png": b"none"} for row in read_rows(cohort.aligned[1])]
    write_table(broken, cohort.aligned[1], ALIGNED)
    with pytest.raises(ValueError, match="not an image"):
        cohort.gather()
    assert not any(path.exists() for path in cohort.files)
    assert not list(cohort.folder.glob("*.part*")) + list(cohort.folder.glob(".*"))


def test_images_stay_in_the_file(cohort):
    assert isinstance(cohort.gather().images, np.memmap)


def test_gathering_needs_no_more_memory_for_more_images(tmp_path):
    peaks = []
    for count in (2, 20):
        people = [(f"P{n}", "palsy", 1.0, "left", "ok", count) for n in range(5)]
        cohort = Cohort(tmp_path / str(count), people, tasks=("rest", "smile"))
        tracemalloc.start()
        cohort.gather(groups={"positive": "palsy", "negative": None}, pixels=112)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The 180 images more are 6.8 MB.
    assert peaks[1] < peaks[0] + 1.5e6


# Who is learnt from


@settings(max_examples=40)
@given(
    healthy=st.integers(0, 40),
    patients=st.integers(3, 60),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_the_share_is_taken_of_each_group_and_both_parts_have_patients(healthy, patients, fraction, seed):
    people = [("c", f"H{n}", "healthy") for n in range(healthy)] + [("c", f"P{n}", "palsy") for n in range(patients)]
    table = pd.DataFrame(2 * people, columns=["cohort", "subject", "group"])
    roles = split_people(table, "palsy", fraction, seed)
    assert set(roles) == {person[:2] for person in people}
    for letter, size, least in (("H", healthy, 1), ("P", patients, LEAST_TESTED)):
        tested = sum(role == "test" for (_, subject), role in roles.items() if subject[0] == letter)
        assert tested == min(max(int(fraction * size), least), max(size - 1, 0))
    # It depends on the names, not on the order of the rows.
    assert split_people(table.sample(frac=1, random_state=seed), "palsy", fraction, seed) == roles


def test_the_papers_share_is_the_papers_37_people():
    table = pd.DataFrame([("c", f"P{n}", "palsy") for n in range(313)] * 2, columns=["cohort", "subject", "group"])
    roles = split_people(table, "palsy", 0.12, 1)
    assert Counter(roles.values()) == {"train": 276, "test": 37}
    assert split_people(table, "palsy", 0.12, 2) != roles


@pytest.mark.parametrize("patients", [1, 2])
def test_too_few_patients_are_refused(tmp_path, patients):
    people = [*PEOPLE[:2], *[(f"P{n}", "palsy", 1.0, "left", "ok", 1) for n in range(patients)]]
    with pytest.raises(InputError, match=rf"groups\.positive: {patients} people of 'palsy' have two images"):
        Cohort(tmp_path, people).gather()


def test_people_with_one_image_are_tested_but_nobody_s_identity(caplog):
    table = pd.DataFrame(
        [("c", f"P{n}", "palsy") for n in range(4)] * 2 + [("c", "one", "palsy"), ("c", "h1", "healthy")],
        columns=["cohort", "subject", "group"],
    )
    with caplog.at_level(logging.WARNING, "faceneuro"):
        roles = split_people(table, "palsy", 0.12, 1)
    (said,) = caplog.messages
    assert said.startswith("2 people have a single image")
    assert said.endswith("h1, one")
    assert roles["c", "one"] == roles["c", "h1"] == "test"
    assert sum(role == "test" for (_, name), role in roles.items() if name[0] == "P") == LEAST_TESTED
    assert "train" in roles.values()


# Reading


def test_networks_see_numbers_from_minus_one_to_one(faces):
    seen = faces.scaled([4, 0, 4])
    assert seen.dtype == np.float32
    assert seen.shape == (3, 3, 16, 16)
    assert seen.flags.c_contiguous
    np.testing.assert_allclose(seen[1, 2, 3, 5], faces.images[0, 3, 5, 2] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(pictures(seen), faces.images[[4, 0, 4]])
    assert pictures(np.array([-3.0, 3.0]).reshape(2, 1, 1, 1)).ravel().tolist() == [0, 255]


def test_people_are_told_apart(faces):
    names = faces.keys["subject"].to_numpy()
    assert ((faces.person[:, None] == faces.person) == (names[:, None] == names)).all()
    assert faces.several.all()


# Pairs to learn from


@given(
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    seed=st.integers(0, 99),
    size=st.integers(1, 7),
)
def test_every_image_is_made_once_an_epoch_from_another_of_its_person(counts, seed, size):
    images = {(f"P{n}", "palsy"): count for n, count in enumerate(counts)} | {("Q", "palsy"): 2, ("T", "palsy"): 3}
    faces = faces_of(images, tested=["T"])
    drawn = TrainingPairs(faces, seed)
    usable = set(np.flatnonzero(faces.several & faces.role("train")))
    assert len(drawn) == len(usable)
    identity, style = (np.concatenate(part) for part in zip(*(drawn.batch(k, size) for k in range(60)), strict=True))
    for epoch in range(len(style) // len(usable)):
        assert set(style[epoch * len(usable) : (epoch + 1) * len(usable)]) == usable
    assert (identity != style).all()
    assert (faces.person[identity] == faces.person[style]).all()


def test_every_other_image_serves_as_identity_and_the_order_changes():
    faces = faces_of({("P", "palsy"): 4, ("Q", "palsy"): 2})
    drawn = TrainingPairs(faces, 1)
    batches = [drawn.batch(step, len(drawn)) for step in range(60)]
    others = {(int(a), int(b)) for identity, style in batches for a, b in zip(identity, style, strict=True)}
    assert others == {(a, b) for a in range(4) for b in range(4) if a != b} | {(4, 5), (5, 4)}
    assert len({tuple(style) for _, style in batches}) > 30


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(faces):
    whole = TrainingPairs(faces, 7)
    expected = [whole.batch(step, 5) for step in range(9)]
    for step in (8, 3, 0, 5):
        np.testing.assert_array_equal(TrainingPairs(faces, 7).batch(step, 5), expected[step])
        np.testing.assert_array_equal(whole.batch(step, 5), expected[step])
    assert not np.array_equal(TrainingPairs(faces, 8).batch(0, 5), expected[0])


def test_as_released_the_identity_is_the_first_image():
    faces = faces_of({("P", "palsy"): 4, ("Q", "palsy"): 3})
    identity, style = TrainingPairs(faces, 1, fixed_identity=True).batch(0, 7)
    assert sorted(style) == list(range(7))
    np.testing.assert_array_equal(identity, np.where(style < 4, 0, 4))


# Pairs to test


def test_each_tested_image_of_a_patient_goes_to_other_tested_people(faces):
    rows = pairs(faces, positive="palsy", per_image=2, seed=1)
    tested = faces.keys[faces.keys["role"] == "test"]
    styles = set(tested.index[tested["group"] == "palsy"])
    assert Counter(row["style"] for row in rows) == dict.fromkeys(styles, 2)
    assert [row["pair"] for row in rows] == list(range(len(rows)))
    given_to = {}
    for row in rows:
        people = [faces.person[row[part]] for part in ("identity", "style", "own")]
        assert people[0] != people[1] == people[2]
        assert row["own"] != row["style"]
        assert row["held_out"]
        assert faces.keys.at[row["identity"], "role"] == "test"
        given_to.setdefault(row["style"], []).append(people[0])
        for part in ("identity", "style"):
            key = tuple(row[f"{part}_{name}"] for name in KEYS)
            assert key == tuple(faces.keys.loc[row[part], list(KEYS)])
    assert all(len(set(people)) == 2 for people in given_to.values())
    assert pairs(faces, positive="palsy", per_image=2, seed=1) == rows
    assert pairs(faces, positive="palsy", per_image=2, seed=2) != rows


def test_more_others_than_there_are_is_said_once(faces, caplog):
    with caplog.at_level(logging.WARNING, "faceneuro"):
        rows = pairs(faces, positive="palsy", per_image=9, seed=1)
    (said,) = caplog.messages
    assert "per_image is 9" in said
    assert set(Counter(row["style"] for row in rows).values()) == {2}


def test_a_single_image_is_a_style_without_a_way_back_and_no_identity():
    faces = faces_of({("P", "palsy"): 2, ("Q", "palsy"): 3, ("one", "palsy"): 1, ("R", "palsy"): 2}, ["P", "Q", "one"])
    rows = pairs(faces, positive="palsy", per_image=2, seed=1)
    single = [row for row in rows if row["style_subject"] == "one"]
    assert len(single) == 2
    assert {row["own"] for row in single} == {None}
    assert "one" not in {row["identity_subject"] for row in rows}
    assert all(row["own"] is not None for row in rows if row["style_subject"] != "one")


# Pairs of the user


def asked(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


HEADER = "identity_subject,identity_clip,style_subject,style_clip"


def test_any_pair_may_be_asked_for(faces, tmp_path):
    lines = "01,01_rest,NA,NA_smile", "", "P 'x',P 'x'_brow,P 'x',P 'x'_brow"
    rows = read_pairs(asked(tmp_path, HEADER, *lines), faces, 1)
    write_table(rows, tmp_path / "pairs.parquet", PAIRS)
    assert [(row["identity_clip"], row["style_clip"]) for row in rows] == [
        ("01_rest", "NA_smile"),
        ("P 'x'_brow", "P 'x'_brow"),
    ]
    # Of two images the one behind the middle.
    assert rows[0]["style_frame"] == 1
    for row in rows:
        assert faces.person[row["own"]] == faces.person[row["style"]]


def test_a_pair_is_held_out_if_neither_person_was_learnt_from(tmp_path):
    faces = faces_of({("P", "palsy"): 2, ("Q", "palsy"): 2}, tested=["P"])
    couples = [("P", "P"), ("P", "Q"), ("Q", "P"), ("Q", "Q")]
    path = asked(tmp_path, HEADER, *(f"{one},{one}_0,{other},{other}_1" for one, other in couples))
    assert [row["held_out"] for row in read_pairs(path, faces, 1)] == [True, False, False, False]


def test_frames_cohorts_and_semicolons_are_understood(faces, tmp_path):
    header = "style_frame;style_clip;style_subject;style_cohort;identity_subject;identity_clip;identity_frame"
    path = asked(tmp_path, "\ufeff" + header, "0;NA_smile;NA;c;02;02_rest;", "1;NA_smile;NA;;02;02_rest;0")
    assert [row["style_frame"] for row in read_pairs(path, faces, 1)] == [0, 1]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["identity_subject,identity_clip,style_subject"], "line 1: the column 'style_clip' is missing"),
        ([HEADER + ",mood", "01,01_rest,NA,NA_smile,x"], "line 1: the column 'mood' is unknown"),
        ([HEADER + ",style_clip", "01,01_rest,NA,NA_smile,x"], "'style_clip' is there twice"),
        ([HEADER], "lists no pairs"),
        ([HEADER, "", "01,01_rest,Z,Z_smile"], r"line 3: style_subject 'Z' is no face.*'NA'"),
        ([HEADER, "01,NA_rest,NA,NA_smile"], r"line 2: identity_clip 'NA_rest' is no face.*'01_rest'"),
        ([HEADER, "01,,NA,NA_smile"], "line 2: the identity is not one clip"),
        ([HEADER, "01,01_rest,NA,NA_smile,7"], "line 2 has 5 cells, the header 4"),
        ([HEADER + ",style_frame", "01,01_rest,NA,NA_smile,7"], "style_frame '7' is no face.*'0', '1'"),
    ],
)
def test_what_is_wrong_in_a_table_of_pairs_is_named(faces, tmp_path, lines, message):
    path = asked(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as raised:
        read_pairs(path, faces, 1)
    assert str(path) in str(raised.value)


def test_a_table_of_pairs_that_cannot_be_read_is_named(faces, tmp_path):
    with pytest.raises(InputError, match=r"studies\.synthesis\.pairs\.table: .*none\.csv"):
        read_pairs(tmp_path / "none.csv", faces, 1)
    (tmp_path / "bytes.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe,\xe4\n")
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        read_pairs(tmp_path / "bytes.csv", faces, 1)


# The table of results


def test_every_row_of_the_paper_has_a_model_and_the_trivial_ones_are_beside_them():
    published = pd.read_csv(ROOT / "resources/published/synthesis_table1.csv", comment="#")
    assert [row for row, *_ in LINES if row] == published["row"].tolist() == list(range(1, 7))
    for (_, shown, model), printed in zip(LINES, published.itertuples(), strict=False):
        assert printed.model in shown
        assert model.startswith(printed.model.lower())
        if isinstance(printed.grid, str):
            assert model.endswith(printed.grid)
    assert {model for row, _, model in LINES if row is None} == {"copy_identity", "copy_style", "landmark_warp"}
    assert PUBLISHED_MODEL in [model for _, _, model in LINES]


# The steps


class Named(dict):
    __getattr__ = dict.__getitem__


def run(name: str, folder: Path, inputs: dict, outputs: dict, params: dict) -> None:
    step = SimpleNamespace(
        rule=name,
        wildcards=Named(),
        input=Named(inputs),
        output=Named({key: str(path) for key, path in outputs.items()}),
        params=Named(params | {"code": "abc"}),
        log=[str(folder / f"{name}.log")],
    )
    runpy.run_path(str(ROOT / "workflow" / "scripts" / f"{name}.py"), {"snakemake": step})


def test_the_scripts_write_the_tables(cohort, tmp_path):
    tables = {name: cohort.folder / f"{name}.parquet" for name in ("manifest", "quality")}
    files = {"images": tmp_path / "faces.npy", "faces": tmp_path / "faces.parquet"}
    run("gather_faces", tmp_path, {"aligned": cohort.aligned, **tables}, files, SETTINGS)
    faces = Faces.load(**files)
    assert pq.read_schema(files["faces"]).equals(FACES)
    assert provenance_of(files["faces"])["params"]["pixels"] == 16
    output = {"pairs": tmp_path / "pairs.parquet"}
    run("pair_faces", tmp_path, files, output, {"positive": "palsy", "per_image": 2, "seed": 1})
    assert list(read_rows(output["pairs"])) == pairs(faces, positive="palsy", per_image=2, seed=1)
    table = asked(tmp_path, HEADER, "01,01_rest,NA,NA_smile")
    run("pair_faces", tmp_path, files | {"table": table}, output, {"positive": "palsy", "per_image": 2, "seed": 1})
    assert [row["style_clip"] for row in read_rows(output["pairs"])] == ["NA_smile"]
