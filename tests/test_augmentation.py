"""Synthetic palsy among the images that the palsy study learns from: who may have a part in it, and where it is put."""

import logging
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from faceneuro.errors import InputError
from faceneuro.evaluation.metrics import evaluate
from faceneuro.evaluation.paired import paired_differences
from faceneuro.features.alignment import POINTS, TEMPLATE, align, aligned_row, carry
from faceneuro.features.crops import Box, crop, decode, encode, face_box, views
from faceneuro.features.points import EYE_INNER, EYE_OUTER, MOUTH_CORNER, NOSE_TIP
from faceneuro.report.augmentation import (
    TITLE,
    augmentation_table,
    comparisons,
    judge_augmentation,
    write_augmentation,
)
from faceneuro.report.palsy import METRICS
from faceneuro.studies.augmentation import (
    CONDITIONS,
    GENERATED,
    MODEL,
    NONE,
    SOFT,
    WARP,
    Arm,
    added,
    arm_of,
    arms,
    check_apart,
    chosen,
    enlarged,
    gather_conditions,
    generated,
    pictures_of,
    plan,
    put_back,
    same_people,
    warped,
)
from faceneuro.studies.palsy import CLASSES
from faceneuro.studies.synthesis import Faces, resampled
from faceneuro.synthesis.extractors import KINDS, Extractors, build_extractor
from faceneuro.synthesis.generator import Generator
from faceneuro.synthesis.sampling import sample
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.trivial import landmark_warp
from faceneuro.tables import ALIGNED, CROPS, FACES, KEYS, PAIRS, provenance_of, read_rows, read_table, write_table
from faceneuro.training.activations import Activations, cache
from faceneuro.training.fit import fit
from faceneuro.training.folds import roles_of, split
from test_backbones import RANDOM

TASKS = ("brow", "smile")
PATIENTS, HEALTHY = 4, 4
PER_IDENTITY = 3
HEIGHT, WIDTH = 300, 400


def frame_of(mark: int) -> np.ndarray:
    """A smooth frame; no two marks give the same."""
    small = np.random.default_rng(mark).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def landmarks_of(mark: int) -> np.ndarray:
    """478 points in pixels of the frame, of which those that a face is aligned and cropped by are where a face's are.

    What they are aligned to is turned, enlarged and shifted a little.
    """
    random = np.random.default_rng(mark)
    scale, turn, shift = random.uniform(1.1, 1.4), random.uniform(-0.1, 0.1), random.uniform([110, 60], [150, 90])
    back = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = random.uniform([20, 10], [90, 110], (478, 2))
    for side, place in (("right", 0), ("left", 1)):
        points[EYE_OUTER[side]] = TEMPLATE[place] - [(8, 0), (-8, 0)][place]
        points[EYE_INNER[side]] = TEMPLATE[place] + [(8, 0), (-8, 0)][place]
        points[MOUTH_CORNER[side]] = TEMPLATE[3 + place]
    points[NOSE_TIP] = TEMPLATE[2]
    points[[127, 356, 10, 152]] = [[14, 55], [98, 55], [56, 12], [56, 104]]
    return np.column_stack([points @ back.T + shift, np.zeros(478)]).astype(np.float32)


class Cohort:
    """Crops and aligned faces of a palsy study of a few people, and samples as its table has them.

    Subject h0 has a single aligned face; of the others every sample has one.
    """

    def __init__(self, folder: Path):
        folder.mkdir()
        rows, aligned, crops, self.marks = [], [[], []], [[], []], {}
        for number in range(PATIENTS + HEALTHY):
            patient = number % 2 == 0
            subject = f"{'p' if patient else 'h'}{number // 2}"
            shard = int(number >= (PATIENTS + HEALTHY) // 2)
            for task in TASKS:
                for frame in range(2):
                    key = {"cohort": "clinic", "subject": subject, "clip": f"{subject}_{task}", "frame": frame}
                    mark = self.marks[tuple(key.values())] = len(self.marks)
                    image, points = frame_of(mark), landmarks_of(mark)
                    box = face_box(points, HEIGHT, WIDTH)
                    rows.append(
                        key
                        | {"label": CLASSES[patient], "group": ("healthy", "palsy")[patient], "task": task}
                        | {"severity": 4.0 if patient else np.nan, "side": "left" if patient else "none"}
                        | {"crop_table": shard, "crop_row": len(crops[shard])}
                    )
                    kept = {"image_height": HEIGHT, "image_width": WIDTH, **box._asdict(), "landmarks": points.ravel()}
                    png = encode(crop(image, box))
                    crops[shard].append(key | kept | {"png": png, "surroundings_png": png})
                    if subject != "h0" or (task, frame) == ("smile", 1):
                        aligned[shard].append(key | aligned_row(align(image, points)))
        self.samples = pd.DataFrame(rows)
        self.aligned = [folder / f"aligned{number}.parquet" for number in range(2)]
        self.crops = [folder / f"crops{number}.parquet" for number in range(2)]
        for number in range(2):
            write_table(aligned[number], self.aligned[number], ALIGNED)
            write_table(crops[number], self.crops[number], CROPS)
        self.keys = read_table(self.aligned, KEYS)

    def folds(self) -> pd.DataFrame:
        settings = {"folds": "leave_one_patient_out", "validation_fraction": 0.2, "seed": 1}
        return split(self.samples[[*KEYS, "label"]], "palsy", "grouped", positive=CLASSES[1], **settings)


def faces_of(people=(("g0", "palsy", "train"), ("g1", "palsy", "train"), ("g2", "healthy", "train"))) -> Faces:
    """The generator's study: its people with two images of each task and another one."""
    rows = [
        {"cohort": "others", "subject": subject, "clip": f"{subject}_{task}", "frame": frame, "group": group}
        | {"task": task, "severity": 5.0, "side": "right", "role": role}
        for subject, group, role in (*people, ("g9", "palsy", "test"))
        for task in (*TASKS, "rest")
        for frame in range(2)
    ]
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (len(rows), 32, 32, 3), np.uint8)
    points = random.random((len(rows), 68, 2)).astype(np.float32)
    return Faces(images, points, pd.DataFrame(rows))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Cohort:
    return Cohort(tmp_path_factory.mktemp("augmentation") / "cohort")


def planned(cohort: Cohort, faces: Faces | None = None, **options) -> pd.DataFrame:
    settings = {"positive": "palsy", "per_identity": PER_IDENTITY, "seed": 1} | options
    return plan(cohort.samples, cohort.keys, faces or faces_of(), **settings)


class Conditions:
    """What was written for a generator."""

    def __init__(self, cohort: Cohort, folder: Path, **options):
        self.faces_of_generator = faces_of()
        self.plan = planned(cohort, self.faces_of_generator, **options)
        self.files = folder / "faces.npy", folder / "faces.parquet", folder / "pairs.parquet"
        arguments = self.plan, cohort.samples, cohort.aligned, self.faces_of_generator
        gather_conditions(*arguments, *self.files, {"rule": "plan"})
        self.faces = Faces.load(*self.files[:2])
        self.table = read_table(self.files[2])


@pytest.fixture(scope="module")
def conditions(cohort, tmp_path_factory) -> Conditions:
    return Conditions(cohort, tmp_path_factory.mktemp("conditions"))


def of(table: pd.DataFrame, part: str) -> list[tuple[str, str]]:
    return list(table[[f"{part}_cohort", f"{part}_subject"]].itertuples(index=False, name=None))


# Who may have a part


def test_nobody_who_is_tested_has_a_part_in_what_is_learnt_from(cohort, conditions):
    folds = cohort.folds()
    learnt = set(faces_of().keys.query("role == 'train'")["subject"])
    everybody = set()
    for fold in folds["fold"].unique():
        roles = roles_of(folds, fold, cohort.samples)
        of_role = {role: set(cohort.samples.loc[roles == role, "subject"]) for role in ("train", "validation", "test")}
        for count in (1, 2, PER_IDENTITY):
            some = conditions.table[chosen(conditions.table, cohort.samples, roles, count)]
            takers, givers = set(some["identity_subject"]), set(some["style_subject"])
            # Everybody in the training part is shown, count times, and nobody else.
            assert takers == of_role["train"]
            assert (some.groupby("identity_subject").size() == count).all()
            assert givers <= learnt
            assert not (takers | givers | learnt) & of_role["test"]
            assert not (takers | givers) & of_role["validation"]
        everybody |= of_role["test"]
    assert everybody == set(cohort.samples["subject"])


def test_less_is_the_beginning_of_more(cohort, conditions):
    folds = cohort.folds()
    roles = roles_of(folds, 0, cohort.samples)
    masks = [chosen(conditions.table, cohort.samples, roles, count) for count in range(PER_IDENTITY + 2)]
    assert not masks[0].any()
    for fewer, more in pairwise(masks):
        assert (more | ~fewer).all()
    np.testing.assert_array_equal(masks[-1], masks[-2])


def test_a_generator_that_has_learnt_from_somebody_in_the_study_is_refused(cohort):
    faces = faces_of()
    known = faces.keys.assign(cohort="clinic", subject=faces.keys["subject"].replace("g1", "p2"))
    with pytest.raises(
        InputError, match=r"studies\.synthesis\.cohort: the generator learns from 'p2' of 'clinic', whom"
    ):
        check_apart(cohort.samples, known)
    with pytest.raises(InputError, match="let it learn from a cohort of other people"):
        planned(cohort, Faces(faces.images, faces.points, known))
    # The same name in another cohort is another person; and of those that were only tested nothing was learnt.
    check_apart(cohort.samples, known.assign(cohort="elsewhere"))
    check_apart(cohort.samples, known.assign(role="test"))


def test_virtual_people_are_known_by_their_seed_whatever_they_are_called():
    block = {"kind": "virtual", "tasks": ["smile_open"], "seed": 5}
    small = block | {"groups": {"palsy": 2}}
    cohorts = {"a": small, "b": block | {"groups": {"palsy": 3, "healthy": 3}}, "c": small | {"seed": 6}}
    people = same_people(cohorts | {"own": {"kind": "own"}})
    of_cohort = {name: {who for (cohort, _), who in people.items() if cohort == name} for name in cohorts}
    assert of_cohort["a"] < of_cohort["b"]
    assert not of_cohort["a"] & of_cohort["c"]
    tables = {
        name: pd.DataFrame([subject for cohort, subject in people if cohort == name], columns=["subject"]).assign(
            cohort=name, role="train"
        )
        for name in cohorts
    }
    with pytest.raises(InputError, match=r"cohorts with the same seed have the same people.*another seed"):
        check_apart(tables["b"], tables["a"], people)
    check_apart(tables["b"], tables["c"], people)
    # Those of one seed have other names where there are other groups, so names alone do not tell.
    check_apart(tables["b"], tables["a"])


def test_a_palsy_of_somebody_who_is_tested_is_refused(cohort, conditions):
    folds = cohort.folds()
    fold = folds.loc[(folds["subject"] == "p1") & (folds["role"] == "test"), "fold"].iloc[0]
    roles = roles_of(folds, fold, cohort.samples)
    theirs = conditions.table.assign(style_cohort="clinic", style_subject="p1")
    with pytest.raises(InputError, match=r"'p1' of 'clinic' is tested, and would have a part"):
        chosen(theirs, cohort.samples, roles, 1)
    # The same person by another name.
    twin = {("others", subject): 7 for subject in conditions.table["style_subject"]} | {("clinic", "p1"): 7}
    with pytest.raises(InputError, match=r"of 'others' is tested"):
        chosen(conditions.table, cohort.samples, roles, 1, twin)


def test_a_protocol_that_tests_people_whom_it_trains_on_is_refused(cohort, conditions):
    settings = {"test_fraction": 0.3, "validation_fraction": 0.2, "seed": 1}
    leaking = split(cohort.samples[[*KEYS, "label"]], "palsy", "published", **settings)
    roles = roles_of(leaking, 0, cohort.samples)
    with pytest.raises(InputError, match=r"augmentation\.protocol: it trains on and tests pictures of the same people"):
        chosen(conditions.table, cohort.samples, roles, 1)
    # Whoever is left out by balancing has no role.
    folds = cohort.folds()
    roles = roles_of(folds, 0, cohort.samples)
    some = np.where(np.arange(len(roles)) % 2 == 0, "unused", roles)
    np.testing.assert_array_equal(
        chosen(conditions.table, cohort.samples, some, 1), chosen(conditions.table, cohort.samples, roles, 1)
    )


# The plan and its files


def test_everybody_is_given_as_many_palsies_of_the_same_task(cohort):
    faces, rows = faces_of(), planned(cohort)
    assert (rows.groupby("subject")["turn"].apply(list).map(sorted) == [list(range(PER_IDENTITY))] * 8).all()
    styles = faces.keys.loc[rows["style"]]
    assert (styles["task"].to_numpy() == rows["task"].to_numpy()).all()
    assert set(styles["subject"]) == {"g0", "g1"}
    # With four images each of two tasks, three turns repeat neither an image nor a palsy of a task.
    others = rows[rows["subject"] != "h0"]
    assert not others.duplicated([*KEYS]).any()
    assert not others.duplicated(["subject", "task", "style"]).any()
    assert rows.sort_values(["crop_table", "crop_row", "turn"]).index.equals(rows.index)
    pd.testing.assert_frame_equal(rows, planned(cohort))
    assert not rows.equals(planned(cohort, seed=2))


def test_a_task_that_the_generator_has_not_seen_is_replaced_by_any(cohort):
    faces = faces_of()
    keys = faces.keys.assign(task=faces.keys["task"].replace("brow", "pucker"))
    rows = planned(cohort, Faces(faces.images, faces.points, keys), per_identity=40)
    tasks = keys.loc[rows["style"], "task"]
    assert set(tasks[(rows["task"] == "brow").to_numpy()]) == {"pucker", "smile", "rest"}
    assert set(tasks[(rows["task"] == "smile").to_numpy()]) == {"smile"}


def test_who_cannot_be_shown_is_said(cohort, caplog):
    without = cohort.keys[cohort.keys["subject"] != "p3"]
    settings = {"positive": "palsy", "per_identity": 1, "seed": 1}
    with caplog.at_level(logging.WARNING):
        rows = plan(cohort.samples, without, faces_of(), **settings)
    assert "p3" not in set(rows["subject"])
    assert "no synthetic picture: p3" in caplog.text
    with pytest.raises(InputError, match="no face crop of the palsy study has an aligned face"):
        plan(cohort.samples, without[:0], faces_of(), **settings)
    with pytest.raises(InputError, match=r"groups\.positive: the generator has learnt from nobody of 'stroke'"):
        plan(cohort.samples, without, faces_of(), **settings | {"positive": "stroke"})


def test_the_files_are_those_of_the_synthesis_study(cohort, conditions):
    faces, table = conditions.faces, conditions.table
    assert faces.keys.columns.tolist() == [name for name in FACES.names if name != "points"]
    assert set(PAIRS.names) < set(table.columns)
    assert table.columns.tolist() == CONDITIONS.names
    assert table["pair"].tolist() == list(range(len(table)))
    assert provenance_of(conditions.files[2]) == {"rule": "plan"}
    aligned = {tuple(row[name] for name in KEYS): row for path in cohort.aligned for row in read_rows(path)}
    for row, wanted in zip(table.to_dict("records"), conditions.plan.to_dict("records"), strict=True):
        taker, giver = (tuple(row[f"{part}_{name}"] for name in KEYS) for part in ("identity", "style"))
        assert taker == tuple(wanted[name] for name in KEYS)
        for part, key in (("identity", taker), ("style", giver)):
            assert tuple(faces.keys.loc[row[part], list(KEYS)]) == key
        face = aligned[taker]
        np.testing.assert_array_equal(faces.images[row["identity"]], resampled(decode(face["png"]), 32))
        np.testing.assert_array_equal(faces.points[row["identity"]].ravel(), face["points"])
        np.testing.assert_array_equal(faces.images[row["style"]], conditions.faces_of_generator.images[wanted["style"]])
        np.testing.assert_array_equal(faces.points[row["style"]], conditions.faces_of_generator.points[wanted["style"]])
        assert faces.keys.at[row["style"], "side"] == "right"
        assert (faces.keys.at[row["identity"], "role"], faces.keys.at[row["style"], "role"]) == ("test", "train")
    assert table["own"].isna().all()
    assert not table["held_out"].any()
    assert len(faces) == table["identity"].nunique() + table["style"].nunique()


def test_other_shards_than_the_plan_was_made_of_are_refused(cohort, tmp_path):
    arguments = planned(cohort), cohort.samples, cohort.aligned[::-1], faces_of()
    with pytest.raises(ValueError, match=r"aligned1\.parquet lacks"):
        gather_conditions(*arguments, *(tmp_path / name for name in ("a.npy", "b.parquet", "c.parquet")))
    assert not list(tmp_path.iterdir())


# Pictures


def test_a_face_is_put_back_where_it_was(cohort):
    for mark in range(4):
        image, points = frame_of(mark), landmarks_of(mark)
        box, face = face_box(points, HEIGHT, WIDTH), align(image, points)
        whole = crop(image, box)
        # The frame is smooth, so 112 pixels hold nearly all of it, and half as many most of it.
        for side, most in ((112, 0.5), (56, 1.0)):
            changed = put_back(resampled(face.image, side), face.matrix, whole, box).astype(int)
            error = np.abs(changed - whole).mean()
            assert error < most
            for shift, axis in ((1, 0), (-1, 0), (1, 1), (-1, 1)):
                assert np.abs(changed - np.roll(whole, shift, axis)).mean() > 1.5 * error


def test_what_is_put_back_covers_the_face_and_fades_at_its_border():
    whole, red = np.zeros((256, 256, 3), np.uint8), np.full((32, 32, 3), [255, 0, 0], np.uint8)
    # Frame and aligned face are the same, and the crop reaches beyond.
    matrix, box = np.array([1, 0, 0, 0, 1, 0]), Box(-16, -16, 112, 112)
    shown = put_back(red, matrix, whole, box)
    assert not shown[..., 1:].any()
    inside = (np.arange(256) + 0.5) / 2 - 16
    share = np.clip(np.minimum(inside, 112 - inside) / 112 / SOFT, 0, 1)
    np.testing.assert_allclose(shown[..., 0], 255 * np.minimum(share[:, None], share), atol=1)


def test_pictures_are_made_of_their_own_face_and_put_into_their_own_crop(cohort, conditions):
    told = []

    def make(condition, face):
        told.append((condition["pair"], tuple(face[name] for name in KEYS)))
        return np.full((8, 8, 3), condition["pair"], np.uint8)

    table = conditions.table
    found = list(pictures_of(table, cohort.aligned, cohort.crops, make, count=2, gray=False))
    assert [pair for pair, _ in told] == table["pair"].tolist()
    assert len(found) == len(table)
    aligned = {tuple(row[name] for name in KEYS): row for path in cohort.aligned for row in read_rows(path)}
    for (pair, key), picture in zip(told, found, strict=True):
        row = table.loc[pair]
        assert key == tuple(row[f"identity_{name}"] for name in KEYS)
        image, points = frame_of(cohort.marks[key]), landmarks_of(cohort.marks[key])
        box = face_box(points, HEIGHT, WIDTH)
        flat = np.full((8, 8, 3), pair, np.uint8)
        expected = views(put_back(flat, aligned[key]["matrix"], crop(image, box), box), 2)
        np.testing.assert_allclose(picture, expected, atol=2 / 255)
        assert picture.shape == (2, 3, 224, 224)
    assert len({each.tobytes() for each in found}) == len(found)


def test_some_conditions_have_the_pictures_that_all_have(cohort, conditions):
    make = warped(conditions.faces)
    some = conditions.table[conditions.table["turn"] == 0]
    everything, fewer = (
        list(pictures_of(table, cohort.aligned, cohort.crops, make, count=1, gray=True))
        for table in (conditions.table, some)
    )
    for place, picture in zip(some.index, fewer, strict=True):
        np.testing.assert_array_equal(picture, everything[place])
        np.testing.assert_array_equal(picture[:, 0], picture[:, 1])


def test_a_warp_takes_the_asymmetry_of_the_style(cohort, conditions):
    row = conditions.table.loc[5].to_dict()
    key = tuple(row[f"identity_{name}"] for name in KEYS)
    face = next(each for path in cohort.aligned for each in read_rows(path) if tuple(each[k] for k in KEYS) == key)
    style = conditions.faces.points[row["style"]]
    expected = landmark_warp(decode(face["png"]), face["points"].reshape(68, 2), style, "right")
    np.testing.assert_array_equal(warped(conditions.faces)(row, face), expected)
    assert not np.array_equal(expected, decode(face["png"]))
    points = landmarks_of(cohort.marks[key])[list(POINTS), :2]
    np.testing.assert_allclose(face["points"].reshape(68, 2), carry(face["matrix"], points) / 112, atol=1e-4)


def test_a_generator_makes_pictures_of_the_conditions(cohort, conditions, tmp_path):
    size = SIZES["smoke"]
    torch.manual_seed(1)
    generator = Generator("dcface_3x3", "smoke", Extractors(*(build_extractor(kind, size) for kind in KINDS)))
    some = conditions.table[conditions.table["turn"] == 0]
    settings = {"steps": 2, "eta": 1.0, "seed": 1, "batch_size": 4}
    index = sample(generator, some.to_dict("records"), conditions.faces, **settings, folder=tmp_path)
    make = generated(tmp_path, pd.DataFrame(index))
    found = list(pictures_of(some, cohort.aligned, cohort.crops, make, count=1, gray=False))
    assert len(found) == len(some) == PATIENTS + HEALTHY
    # The face is another one, the corners of the crop are as they were.
    first = some.iloc[0]
    mark = cohort.marks[tuple(first[f"identity_{name}"] for name in KEYS)]
    whole = crop(frame_of(mark), face_box(landmarks_of(mark), HEIGHT, WIDTH))
    before = views(whole, 1)[0]
    assert np.abs(found[0][0] - before)[:, 60:160, 60:160].mean() > 0.05


# Training


class Squeeze(nn.Module):
    """Lets a test put what it likes into a cache."""

    def forward(self, values):
        return values.squeeze(1)


def stored(path: Path, values: np.ndarray) -> Activations:
    cache(iter(values.astype(np.float32)[:, None, None]), len(values), Squeeze(), path)
    return Activations(path)


def test_a_fold_learns_from_what_is_added_and_tests_what_was_there(cohort, conditions, tmp_path):
    random = np.random.default_rng(0)
    positive = (cohort.samples["label"] == CLASSES[1]).to_numpy()
    # Real pictures tell nothing: what palsy looks like, synthetic ones alone say.
    real = stored(tmp_path / "real", random.normal(0, 0.1, (len(positive), 512)) + np.eye(512)[0] * positive[:, None])
    signs = np.eye(512)[0] - np.eye(512)[1]
    made = stored(tmp_path / "made", random.normal(0, 0.1, (len(conditions.table), 512)) + 3 * signs)
    roles = roles_of(cohort.folds(), 0, cohort.samples)
    mask = chosen(conditions.table, cohort.samples, roles, 2)
    joined, labels, parts = enlarged(real, made, positive, roles, mask)
    assert len(joined) == len(labels) == len(parts) == len(positive) + mask.sum()
    np.testing.assert_array_equal(labels[: len(positive)], positive)
    np.testing.assert_array_equal(parts[: len(positive)], roles)
    assert labels[len(positive) :].all()
    assert set(parts[len(positive) :]) == {"train"}
    rows = joined.rows(slice(len(positive), len(labels)))
    torch.testing.assert_close(rows, made[mask].rows(slice(0, int(mask.sum()))))
    settings = {"epochs": 4, "batch_size": 8, "learning_rate": 0.05, "select": "last", "seed": 1}
    settings |= {"optimiser": "sgd", "backbones": {"mixer": RANDOM | {"unfreeze": "head"}}}
    key = "studies.palsy.training.visual"
    fitted = fit(MODEL, {"activations": joined}, labels, parts, settings, key=key)
    alone = fit(MODEL, {"activations": real}, positive, roles, settings, key=key)
    assert len(fitted.probability) == len(labels)
    assert not np.allclose(fitted.probability[: len(positive)], alone.probability)
    assert (fitted.probability[len(positive) :] > 0.5).all()
    # With nothing added, it is the palsy study's own.
    nothing = enlarged(real, made, positive, roles, np.zeros(len(mask), bool))
    same = fit(MODEL, {"activations": nothing[0]}, *nothing[1:], settings, key=key)
    np.testing.assert_array_equal(same.probability, alone.probability)
    assert same.history == alone.history


def test_how_many_pictures_a_fold_is_given(cohort, conditions):
    folds = cohort.folds()
    people = folds[folds["role"] == "train"].groupby("fold")["subject"].nunique()
    found = added(conditions.table, cohort.samples, folds, [1, 3])
    assert found == {count: (count * people.min(), count * people.max()) for count in (1, 3)}


# The table


ARMS = arms([5, 1])
SKILLS = {"none": 1.0, "generated_1": 1.0, "generated_5": 2.5, "warp_1": 0.2, "warp_5": 1.1}


def predictions(skills: dict[str, float], people: int = 12, frames: int = 6) -> pd.DataFrame:
    noise = np.random.default_rng(4).normal(0, 0.7, (2 * people, frames))
    rows = []
    for place, (model, skill) in enumerate(skills.items()):
        own = np.random.default_rng(place).normal(0, 0.3, noise.shape)
        for (number, frame), score in np.ndenumerate(noise + own):
            positive = number % 2
            rows.append(
                {
                    "study": "augmentation",
                    "protocol": "grouped",
                    "model": model,
                    "fold": number // 2,
                    "cohort": "clinic",
                }
                | {"subject": f"s{number:02}", "clip": f"s{number:02}", "frame": frame, "label": CLASSES[positive]}
                | {"probability": 1 / (1 + np.exp(-(score + skill * (2 * positive - 1))))}
            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def results() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Table, differences and claims of arms with these skills."""
    table = predictions(SKILLS)
    differences = paired_differences(table, comparisons(ARMS), tuple(METRICS.values()), CLASSES, 100, 0)
    settings = {"cohort": "clinic", "virtual": True, "permuted": False}
    frame = augmentation_table(evaluate(table, CLASSES, 100, 0), ARMS, {1: (6, 8), 5: (30, 40)}, **settings)
    return frame, differences, judge_augmentation(frame, differences)


def test_arms_have_names_that_tell_them():
    assert [arm.name for arm in ARMS] == ["none", "generated_1", "generated_5", "warp_1", "warp_5"]
    assert [arm_of(arm.name) for arm in ARMS] == ARMS
    assert ARMS[0] == Arm(NONE, 0)
    assert set(comparisons(ARMS)) == {
        *((arm.name, NONE) for arm in ARMS[1:]),
        *((f"{GENERATED}_{count}", f"{WARP}_{count}") for count in (1, 5)),
    }


def test_each_arm_is_judged_by_its_difference(results):
    _, differences, claims = results
    verdict = claims.set_index("claim")["verdict"]
    assert verdict["Generated pictures, 5 per person, raise the F1."] == "holds"
    assert verdict["Generated pictures, 5 per person, raise it more than as many warped ones."] == "holds"
    assert verdict["Warped pictures, 1 per person, raise the F1."] == "does not hold"
    assert len(claims) == 6
    where = {"model_a": "generated_5", "model_b": "none", "level": "frame", "aggregation": "fold_mean"}
    rows = differences[(differences[list(where)] == pd.Series(where)).all(axis=1)].set_index("metric")
    gap = 100 * rows.loc["f1/Palsy", "difference"]
    assert f"difference {gap:+.1f} [" in claims["evidence"].iloc[1]
    assert "ROC AUC, subjects" in claims["evidence"].iloc[1]


def test_a_comparison_that_was_not_made_is_not_judged(results):
    frame, differences, _ = results
    kept = differences[differences["model_b"] != "none"]
    claims = judge_augmentation(frame, kept)
    assert (claims["verdict"] == "not run").sum() == 4
    assert claims["evidence"].iloc[0] == "generated_1 was not compared with none."


def test_the_table_shows_what_was_added_and_what_it_gave(results, tmp_path):
    frame, differences, claims = results
    write_augmentation(frame, differences, claims, tmp_path / "augmentation", generator="ccfexp, size demo")
    text = (tmp_path / "augmentation.md").read_text()
    assert text.startswith(f"# {TITLE}\n\nCohort clinic: virtual cohort, rendered faces, no patients; 24 subjects.")
    assert "Generated by ccfexp, size demo." in text
    (line,) = [line for line in text.splitlines() if line.startswith("| Generated | 5 |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[2] == "30 to 40"
    where = {"model": "generated_5", "metric": "f1", "level": "frame", "aggregation": "fold_mean"}
    (index,) = frame.index[(frame[list(where)] == pd.Series(where)).all(axis=1)]
    assert cells[3].startswith(f"{frame.at[index, 'reproduced']:.1f} [")
    assert cells[4].startswith("+")
    (plain,) = [line for line in text.splitlines() if line.startswith("| Nothing added |")]
    cells = [cell.strip() for cell in plain.strip("|").split("|")]
    assert cells[1:3] == ["0", "0"]
    assert cells[4:6] == ["", ""]
    assert "That generated pictures raise the F1: 1 holds" in text
    table = pd.read_csv(tmp_path / "augmentation.csv")
    assert set(table["kind"]) == {"row", "difference", "claim"}
    assert (tmp_path / "augmentation.tex").read_text().count(r"\begin{tabular}") == 2


def test_what_makes_no_table_is_refused(results):
    metrics = evaluate(predictions({"none": 1.0}), CLASSES, 10, 0)
    settings = {"cohort": "clinic", "virtual": True, "permuted": False}
    with pytest.raises(ValueError, match="no metrics of generated_1"):
        augmentation_table(metrics, ARMS, {}, **settings)
    with pytest.raises(ValueError, match="one protocol, not 2"):
        augmentation_table(pd.concat([metrics, metrics.assign(protocol="x")]), ARMS[:1], {}, **settings)
