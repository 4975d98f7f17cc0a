from pathlib import Path

import numpy as np
import pytest

from faceneuro.errors import InputError
from faceneuro.studies.als import CLASSES, TABLE_ROWS, FlowReader, landmark_features, read_samples, samples
from faceneuro.tables import LANDMARKS, MANIFEST, QUALITY, SAMPLES, flow_schema, write_table
from faceneuro.training.folds import SUBJECT

GROUPS = {"negative": "healthy", "positive": "als"}
GRID = (3, 4)

# subject, clip, task, group, verdict, frames, frames without a face
CLIPS = [
    ("01", "a", "open", "healthy", "ok", 4, ()),
    ("01", "b", "kiss", "healthy", "partial", 4, (1, 3)),
    ("Ö 'x'", "c", "open", "als", "ok", 3, ()),
    ("Ö 'x'", "d", "open", "als", "unusable", 3, ()),
    ("NA", "e", "open", "palsy", "ok", 3, ()),
    ("NA2", "f", "open", "als", "ok", 1, ()),
    ("7", "g", "open", "healthy", "ok", 70, ()),
    ("8", "h", "open", "als", "ok", 3, ()),
]
SHARDS = [slice(0, 4), slice(4, 6), slice(6, 8)]


class Cohort:
    """Tables of a small cohort on disk; every number in them says where it belongs."""

    def __init__(self, folder: Path, clips=CLIPS, shards=SHARDS):
        keys = [{"cohort": "c", "subject": clip[0], "clip": clip[1]} for clip in clips]
        self.manifest, self.quality = folder / "manifest.parquet", folder / "quality.parquet"
        write_table(
            [key | {"task": clip[2], "group": clip[3]} for key, clip in zip(keys, clips, strict=True)],
            self.manifest,
            MANIFEST,
        )
        write_table([key | {"verdict": clip[4]} for key, clip in zip(keys, clips, strict=True)], self.quality, QUALITY)
        self.landmarks, self.flow = [], []
        for number, shard in enumerate(shards):
            points, pairs = [], []
            for key, clip in list(zip(keys, clips, strict=True))[shard]:
                for frame in range(clip[5]):
                    found = frame not in clip[6]
                    row = key | {"frame": 2 * frame, "height": 50, "width": 100, "found": found}
                    points.append(row | ({"landmarks": self.points(clip[1], frame)} if found else {}))
                    if frame:
                        field = np.full(12, self.mark(clip[1], frame), np.float16)
                        pairs.append(key | {"previous": 2 * frame - 2, "frame": 2 * frame, "magnitude": field})
            self.landmarks.append(folder / f"landmarks{number}.parquet")
            self.flow.append(folder / f"flow{number}.parquet")
            write_table(points, self.landmarks[-1], LANDMARKS)
            write_table(pairs, self.flow[-1], flow_schema(GRID))
        self.path = folder / "samples.parquet"

    @staticmethod
    def mark(clip: str, frame: int) -> int:
        return 100 * "abcdefgh".index(clip) + frame

    @classmethod
    def points(cls, clip: str, frame: int) -> np.ndarray:
        return np.arange(478 * 3) + cls.mark(clip, frame)

    def samples(self, **options):
        return samples(self.manifest, self.quality, self.landmarks, self.flow, **{"groups": GROUPS} | options)

    def read(self, **options):
        write_table(self.samples(**options), self.path, SAMPLES)
        return read_samples(self.path)


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def test_a_sample_is_a_pair_whose_later_frame_shows_a_face(cohort):
    frame, _ = cohort.read()
    assert frame["clip"].value_counts().to_dict() == {"a": 3, "b": 1, "c": 2, "g": 69, "h": 2}
    assert frame.loc[frame["clip"] == "b", ["previous", "frame"]].to_numpy().tolist() == [[2, 4]]
    assert set(zip(frame["group"], frame["label"], strict=True)) == {("healthy", "Healthy"), ("als", "ALS")}
    assert set(frame["subject"]) == {"01", "Ö 'x'", "7", "8"}


def test_landmarks_are_those_of_the_later_frame_over_image_size(cohort):
    frame, landmarks = cohort.read()
    assert landmarks.shape == (len(frame), 936)
    assert landmarks.dtype == np.float32
    for clip, number, found in zip(frame["clip"], frame["frame"], landmarks, strict=True):
        mesh = cohort.points(clip, number // 2).reshape(478, 3)[:468]
        np.testing.assert_allclose(found[0::2], mesh[:, 0] / 100, rtol=1e-6)
        np.testing.assert_allclose(found[1::2], mesh[:, 1] / 50, rtol=1e-6)


def test_landmark_features_do_not_depend_on_resolution():
    points = np.random.default_rng(0).random(478 * 3) * 100
    np.testing.assert_allclose(landmark_features(points, 100, 100), landmark_features(points * 4, 400, 400), rtol=1e-6)


@pytest.mark.parametrize("block", [1, 5, 77])
def test_flow_comes_in_the_order_of_the_samples(cohort, block):
    frame, _ = cohort.read()
    reader = FlowReader(frame, cohort.flow)
    assert len(reader) == len(frame) == 77
    fields = np.vstack([reader(start, min(start + block, 77)) for start in range(0, 77, block)])
    assert fields.dtype == np.float16
    expected = [cohort.mark(clip, number // 2) for clip, number in zip(frame["clip"], frame["frame"], strict=True)]
    np.testing.assert_array_equal(fields, np.repeat(np.float16(expected)[:, None], 12, axis=1))


def test_flow_of_shuffled_samples_follows_them(cohort):
    frame, _ = cohort.read()
    order = np.random.default_rng(1).permutation(77)
    whole, shuffled = FlowReader(frame, cohort.flow), FlowReader(frame.iloc[order], cohort.flow)
    np.testing.assert_array_equal(shuffled(10, 60), whole(0, 77)[order[10:60]])


def test_flow_of_other_samples_is_refused(cohort):
    frame, _ = cohort.read()
    with pytest.raises(ValueError, match="not the flow that the samples were made from"):
        FlowReader(frame.assign(subject="other"), cohort.flow)(0, 3)
    with pytest.raises(ValueError, match="fewer rows than the samples"):
        FlowReader(frame.assign(flow_row=500), cohort.flow)(0, 3)


def test_landmarks_of_other_clips_are_refused(cohort):
    cohort.landmarks.reverse()
    with pytest.raises(ValueError, match="lacks, or in another order"):
        list(cohort.samples())


def test_tasks_choose_clips(cohort):
    assert set(cohort.read(tasks=["open"])[0]["clip"]) == {"a", "c", "g", "h"}


def test_permuted_labels_are_one_per_subject_and_leave_the_group(cohort):
    frame, _ = cohort.read(permute=1)
    by_subject = frame.groupby(SUBJECT)[["group", "label"]].nunique()
    assert (by_subject == 1).all(axis=None)
    true = frame["group"].map(dict(zip(GROUPS.values(), CLASSES, strict=True)))
    assert (true != frame["label"]).groupby(frame["subject"]).first().sum() == 2


def test_a_group_nobody_belongs_to_is_named(cohort):
    with pytest.raises(
        InputError, match=r"studies\.als\.groups\.positive: no clip belongs to 'ALS'; the manifest has 'als', 'healthy'"
    ):
        list(cohort.samples(groups={"negative": "healthy", "positive": "ALS"}))


def test_a_task_nobody_did_is_named(cohort):
    with pytest.raises(InputError, match=r"studies\.als\.tasks: 'als' did none of 'kiss', but 'open'"):
        list(cohort.samples(tasks=["kiss"]))


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (("s2", "b", "open", "als", "unusable", 5, ()), "groups.positive: none of the 1 clips of 'als' can be used"),
        (("s2", "b", "open", "als", "ok", 1, ()), "groups.positive: no clip of 'als' has two selected frames"),
        (("s2", "b", "open", "als", "ok", 3, (1, 2)), "later shows a face; the study needs videos"),
        (("s1", "b", "open", "als", "ok", 3, ()), "puts subject 's1' into both 'als', 'healthy'"),
    ],
)
def test_a_class_that_cannot_be_had_is_explained(tmp_path, clip, message):
    clips = [("s1", "a", "open", "healthy", "ok", 5, ()), clip]
    with pytest.raises(InputError, match=message):
        list(Cohort(tmp_path, clips, [slice(None)]).samples())


def test_every_cell_of_the_printed_table_has_a_metric():
    rows = [*CLASSES, "macro avg", "weighted avg"]
    expected = {(row, column) for row in rows for column in ("precision", "recall", "f1", "support")}
    assert set(TABLE_ROWS) == expected | {("accuracy", "f1"), ("accuracy", "support")}
