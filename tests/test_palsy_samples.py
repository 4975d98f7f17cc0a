"""Samples of the palsy study, the pictures that belong to them, and what each model sees."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.errors import InputError
from faceneuro.features.asymmetry import asymmetry
from faceneuro.features.crops import encode, face_box, line_drawing, relative, views
from faceneuro.models import BRANCHES, BUILDERS, IMAGES, INPUTS
from faceneuro.studies.palsy import (
    CLASSES,
    LINES,
    PUBLISHED_MODEL,
    average,
    model_inputs,
    note_of,
    read_samples,
    samples,
)
from faceneuro.studies.pictures import images_of
from faceneuro.tables import CROPS, KEYS, LANDMARKS, MANIFEST, PALSY_SAMPLES, QUALITY, write_table

GROUPS = {"negative": "healthy", "positive": "palsy"}
HEIGHT, WIDTH = 300, 400

# subject, clip, task, group, severity, side, verdict, frames
CLIPS = [
    ("01", "a", "smile", "healthy", None, "none", "ok", 4),
    ("01", "b", "brow", "healthy", None, "none", "ok", 3),
    ("P 'x'", "c", "smile", "palsy", 3.0, "left", "partial", 4),
    ("P 'x'", "d", "brow", "palsy", 3.0, "left", "unusable", 2),
    ("NA", "e", "smile", "palsy", 1.0, "right", "ok", 2),
    ("S", "f", "smile", "stroke", None, "none", "ok", 2),
]
SHARDS = [slice(0, 4), slice(4, 6)]


def face(number: int) -> np.ndarray:
    """478 points of a face-like cloud in pixels; no two numbers give the same."""
    random = np.random.default_rng(number)
    points = random.uniform([120, 60, -5], [280, 240, 5], (478, 3)).astype(np.float32)
    # The corners of the crop are where they belong.
    points[[127, 356, 10, 152], :2] = [[120, 150], [280, 150], [200, 60], [200, 240]]
    return points


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(1000 + number).integers(0, 256, (256, 256, 3), np.uint8)


class Cohort:
    """Tables of a small cohort on disk; every number in them says where it belongs."""

    def __init__(self, folder: Path):
        self.folder = folder
        keys = [{"cohort": "c", "subject": clip[0], "clip": clip[1]} for clip in CLIPS]
        names = ("task", "group", "severity", "side")
        manifest = [key | dict(zip(names, clip[2:6], strict=True)) for key, clip in zip(keys, CLIPS, strict=True)]
        write_table(manifest, folder / "manifest.parquet", MANIFEST)
        quality = [key | {"verdict": clip[6]} for key, clip in zip(keys, CLIPS, strict=True)]
        write_table(quality, folder / "quality.parquet", QUALITY)
        self.landmarks, self.crops = [], []
        for number, shard in enumerate(SHARDS):
            points, images = [], []
            for key, clip in list(zip(keys, CLIPS, strict=True))[shard]:
                for frame in range(clip[7]):
                    mark = self.mark(clip[1], frame)
                    cloud = face(mark)
                    row = key | {"frame": frame}
                    size = {"height": HEIGHT, "width": WIDTH, "found": True}
                    points.append(row | size | {"landmarks": cloud.ravel(), "blendshapes": np.full(52, mark)})
                    if frame % 2 == 0:
                        box = face_box(cloud, HEIGHT, WIDTH)._asdict()
                        png = {"png": encode(picture(mark)), "surroundings_png": encode(picture(mark + 500))}
                        size = {"image_height": HEIGHT, "image_width": WIDTH, "landmarks": cloud.ravel()}
                        images.append(row | size | box | png)
            self.landmarks.append(folder / f"landmarks{number}.parquet")
            self.crops.append(folder / f"crops{number}.parquet")
            write_table(points, self.landmarks[-1], LANDMARKS)
            write_table(images, self.crops[-1], CROPS)

    @staticmethod
    def mark(clip: str, frame: int) -> int:
        return 10 * "abcdef".index(clip) + frame

    def samples(self, **options):
        tables = (self.folder / "manifest.parquet", self.folder / "quality.parquet", self.landmarks, self.crops)
        return samples(*tables, **{"groups": GROUPS} | options)

    def read(self, **options):
        write_table(self.samples(**options), self.folder / "samples.parquet", PALSY_SAMPLES)
        return read_samples(self.folder / "samples.parquet")


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def test_a_sample_is_a_crop_of_a_usable_clip_of_the_two_groups(cohort):
    frame, inputs = cohort.read()
    assert frame["clip"].tolist() == ["a", "a", "b", "b", "c", "c", "e"]
    assert frame["frame"].tolist() == [0, 2, 0, 2, 0, 2, 0]
    assert frame["label"].tolist() == [CLASSES[0]] * 4 + [CLASSES[1]] * 3
    assert frame.loc[frame["clip"] == "c", "side"].tolist() == ["left", "left"]
    assert frame.loc[frame["clip"] == "e", "severity"].tolist() == [1.0]
    assert {name: values.shape for name, values in inputs.items()} == {
        "coordinates": (7, 956),
        "blendshapes": (7, 52),
        "measures": (7, 29),
    }


def test_every_input_is_that_of_the_sample(cohort):
    frame, inputs = cohort.read()
    for i, row in enumerate(frame.itertuples()):
        mark = cohort.mark(row.clip, row.frame)
        cloud = face(mark)
        np.testing.assert_allclose(inputs["blendshapes"][i], mark)
        np.testing.assert_allclose(inputs["measures"][i], asymmetry(cloud), rtol=1e-5)
        expected = relative(cloud, face_box(cloud, HEIGHT, WIDTH)).ravel()
        np.testing.assert_allclose(inputs["coordinates"][i], expected, rtol=1e-5)
    _, released = cohort.read(form="released")
    assert not np.allclose(released["measures"], inputs["measures"])


@pytest.mark.parametrize("kind", ["rgb", "surroundings", "lines"])
def test_every_picture_is_that_of_the_sample(cohort, kind):
    frame, _ = cohort.read()
    found = list(images_of(frame, cohort.crops, kind, 2, gray=False))
    assert len(found) == len(frame)
    for row, seen in zip(frame.itertuples(), found, strict=True):
        mark = cohort.mark(row.clip, row.frame)
        cloud = face(mark)
        source = {
            "rgb": lambda m=mark: picture(m),
            "surroundings": lambda m=mark: picture(m + 500),
            "lines": lambda c=cloud: line_drawing(c, face_box(c, HEIGHT, WIDTH)),
        }[kind]()
        np.testing.assert_array_equal(seen, views(source, 2))


def test_pictures_of_other_samples_are_refused(cohort):
    frame, _ = cohort.read()
    with pytest.raises(ValueError, match="not what the samples were made from"):
        list(images_of(frame, cohort.crops[::-1], "rgb", 1, gray=False))
    with pytest.raises(ValueError, match="fewer rows"):
        list(images_of(frame.assign(crop_row=99), cohort.crops, "rgb", 1, gray=False))


def test_a_class_without_clips_is_named(cohort):
    with pytest.raises(InputError, match=r"studies\.palsy\.groups\.positive.*'bell'"):
        list(cohort.samples(groups={"negative": "healthy", "positive": "bell"}))
    with pytest.raises(InputError, match=r"studies\.palsy\.tasks"):
        list(cohort.samples(tasks=["pucker"]))


def test_permuted_labels_stay_with_their_subjects(cohort):
    frame, _ = cohort.read(permute=1)
    assert (frame.groupby("subject")["label"].nunique() == 1).all()
    assert set(frame["label"]) == set(CLASSES)


def test_every_line_of_the_table_is_a_model_and_every_branch_has_its_line():
    names = [name for *_, name in LINES]
    late = {"late_rgb", "late_lines"}
    assert set(names) - late <= set(BUILDERS)
    assert {branch for branches in BRANCHES.values() for branch in branches} <= set(names)
    assert [row for row, *_ in LINES[:13]] == list(range(1, 14))
    assert PUBLISHED_MODEL in names


def test_each_model_sees_its_own_inputs(cohort):
    frame, inputs = cohort.read()
    for model in ("blendshapes_fnn", "coordinates_fnn", "handcrafted_fnn"):
        assert set(model_inputs(model, inputs, [])) == set(INPUTS[model])
    shuffled = model_inputs("shuffled_fnn", inputs, [])["measures"]
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, inputs["measures"]))
    assert not np.array_equal(shuffled, inputs["measures"])
    np.testing.assert_array_equal(shuffled, model_inputs("shuffled_fnn", inputs, [])["measures"])
    assert len(frame) == len(shuffled)


def test_late_fusion_is_the_mean_and_needs_the_same_samples():
    keys = {"study": "palsy", "protocol": "grouped", "fold": 0, "label": "Palsy"}
    one = pd.DataFrame([dict.fromkeys(KEYS[:3], "x") | {"frame": i, "probability": 0.2 * i} | keys for i in range(3)])
    two = one.assign(probability=1.0)
    fused = average([one.assign(model="handcrafted_fnn"), two.assign(model="rgb_mixer")], "late_rgb")
    np.testing.assert_allclose(fused["probability"], [0.5, 0.6, 0.7])
    assert set(fused["model"]) == {"late_rgb"}
    with pytest.raises(ValueError, match="different samples"):
        average([one, two.assign(frame=[0, 1, 7])], "late_rgb")


def test_notes_say_where_weights_come_from():
    settings = {"size": "small", "weights": "none", "unfreeze": "last_block"}
    backbones = {"mixer": settings, "resnet": settings | {"weights": "/data/my.pth"}, "fastervit": settings}
    assert "untrained" in note_of("rgb_mixer", backbones)
    assert "untrained" in note_of("early_rgb", backbones)
    assert "weights my.pth" in note_of("lines_resnet", backbones)
    assert note_of("handcrafted_fnn", backbones) == ""
    assert set(IMAGES["surroundings_mixer"]) == {"surroundings", "mixer"}
