"""Samples of the Parkinson study: six images a subject, and what becomes of those who have fewer, more or odd ones."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.errors import InputError
from faceneuro.features.crops import encode
from faceneuro.models import PARKINSON_NETWORKS
from faceneuro.studies.parkinson import (
    CLASSES,
    LINES,
    PUBLISHED_MODEL,
    codes_of,
    mean_of_expressions,
    note_of,
    samples,
)
from faceneuro.studies.pictures import apex
from faceneuro.tables import (
    CROPS,
    EXPRESSION_IMAGES,
    LANDMARKS,
    MANIFEST,
    PARKINSON_SAMPLES,
    QUALITY,
    read_table,
    write_table,
)

GROUPS = {"negative": "healthy", "positive": "parkinson"}
TASKS = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
STAGES = {"early": [1, 2], "mid_late": [3]}
PICTURE = encode(np.zeros((256, 256, 3), np.uint8))


def clips_of(subject: str, group: str, severity: float | None, **options) -> list[dict]:
    """A subject's row for every expression."""
    return [
        {"subject": subject, "clip": f"{subject}_{task}", "task": task, "group": group, "severity": severity} | options
        for task in options.pop("tasks", [*TASKS, "neutral"])
    ]


PEOPLE = [
    *clips_of("H1", "healthy", None, source="a", age=60.0),
    *clips_of("NA", "healthy", 0.0, source="b"),
    *clips_of("P1", "parkinson", 1.0),
    *clips_of("P2", "parkinson", 2.0),
    *clips_of("P3", "parkinson", 3.0, source="c", sex="female"),
]


class Cohort:
    """Tables of a cohort of photographs, in two shards."""

    def __init__(self, folder: Path, clips: list[dict], unusable: tuple[str, ...] = (), frames: int = 1):
        keys = [{"cohort": "c", "subject": clip["subject"], "clip": clip["clip"]} for clip in clips]
        self.manifest, self.quality = folder / "manifest.parquet", folder / "quality.parquet"
        write_table([{"cohort": "c"} | clip for clip in clips], self.manifest, MANIFEST)
        verdicts = ["unusable" if key["clip"] in unusable else "ok" for key in keys]
        found = [key | {"verdict": verdict} for key, verdict in zip(keys, verdicts, strict=True)]
        write_table(found, self.quality, QUALITY)
        self.landmarks, self.crops = [], []
        half = len(clips) // 2
        for number, some in enumerate((keys[:half], keys[half:])):
            points, images = [], []
            for key in some:
                for frame in range(frames):
                    row = key | {"frame": frame}
                    # The strongest expression is in the middle.
                    scores = np.full(52, 0.1 + 0.1 * (frame == frames // 2), np.float32)
                    size = {"height": 9, "width": 9, "landmarks": np.zeros(478 * 3)}
                    points.append(row | size | {"found": True, "blendshapes": scores})
                    if key["clip"] not in unusable:
                        images.append(row | {"png": PICTURE, "surroundings_png": PICTURE})
            self.landmarks.append(folder / f"landmarks{number}.parquet")
            self.crops.append(folder / f"crops{number}.parquet")
            write_table(points, self.landmarks[-1], LANDMARKS)
            write_table(images, self.crops[-1], CROPS)

    def samples(self, **options) -> tuple[pd.DataFrame, pd.DataFrame]:
        usual = {"groups": GROUPS, "tasks": TASKS, "stages": STAGES, "least_expressions": 5}
        rows, images = samples([self.manifest], self.quality, self.landmarks, self.crops, **usual | options)
        folder = self.manifest.parent
        write_table(rows, folder / "samples.parquet", PARKINSON_SAMPLES)
        write_table(images, folder / "images.parquet", EXPRESSION_IMAGES)
        return read_table(folder / "samples.parquet"), read_table(folder / "images.parquet")


def test_a_sample_is_a_subject_with_six_images_in_their_places(tmp_path):
    found, images = Cohort(tmp_path, PEOPLE).samples()
    assert found["subject"].tolist() == ["H1", "NA", "P1", "P2", "P3"]
    assert found["label"].tolist() == [CLASSES[0], CLASSES[0], CLASSES[1], CLASSES[1], CLASSES[2]]
    assert found["source"].tolist()[:2] == ["a", "b"]
    assert found["age"].tolist()[0] == 60
    for row in found.itertuples():
        assert images.loc[row.images, "task"].tolist() == TASKS
        assert (images.loc[row.images, "subject"] == row.subject).all()
    assert len(images) == 30, "the neutral face is no expression"
    assert codes_of(found["label"]).tolist() == [0, 0, 1, 1, 2]


def test_places_follow_the_configured_order(tmp_path):
    found, images = Cohort(tmp_path, PEOPLE).samples(tasks=TASKS[::-1])
    assert images.loc[found["images"][0], "task"].tolist() == TASKS[::-1]


def test_every_image_says_where_its_crop_is(tmp_path):
    cohort = Cohort(tmp_path, PEOPLE, frames=3)
    _, images = cohort.samples()
    for row in images.itertuples():
        crop = read_table(cohort.crops[row.crop_table]).iloc[row.crop_row]
        assert (crop["subject"], crop["clip"], crop["frame"]) == (row.subject, row.clip, row.frame)
        assert row.frame == 1, "of several frames the one with the strongest expression"


def test_where_somebody_looks_is_no_expression():
    quiet, looking, smiling = np.zeros((3, 52))
    looking[11:19], smiling[[44, 45]] = 1, 0.4
    quiet[0] = 1
    assert apex(np.stack([quiet, looking, smiling])) == 2


def test_five_of_six_expressions_are_enough_and_said(tmp_path, caplog):
    found, images = Cohort(tmp_path, PEOPLE, unusable=("P2_fear",)).samples()
    row = found.set_index("subject").loc["P2"]
    assert row["images"].tolist()[TASKS.index("fear")] == -1
    assert sum(place >= 0 for place in row["images"]) == 5
    assert "1 subjects lack an expression" in caplog.text
    assert "P2 (no fear)" in caplog.text
    features = mean_of_expressions(found, [[float(place)] for place in range(len(images))])
    present = [place for place in row["images"] if place >= 0]
    assert features[found.index[found["subject"] == "P2"][0], 0] == pytest.approx(np.mean(present))


def test_four_of_six_are_too_few_unless_allowed(tmp_path, caplog):
    cohort = Cohort(tmp_path, PEOPLE, unusable=("P2_fear", "P2_anger"))
    found, _ = cohort.samples()
    assert "P2" not in found["subject"].tolist()
    assert "P2 (no anger, fear)" in caplog.text
    assert "studies.parkinson.least_expressions" in caplog.text
    found, _ = cohort.samples(least_expressions=4)
    assert "P2" in found["subject"].tolist()


def test_of_two_images_of_one_emotion_the_first_is_used_and_the_other_named(tmp_path, caplog):
    second = {"clip": "H1_anger_b", "task": "anger", "subject": "H1", "group": "healthy"}
    found, images = Cohort(tmp_path, [*PEOPLE, second]).samples()
    assert images.loc[found["images"][0][0], "clip"] == "H1_anger"
    assert len(images) == 30
    assert "H1 anger (H1_anger_b)" in caplog.text


def test_patients_of_unknown_or_other_severity_are_left_out_by_name(tmp_path, caplog):
    odd = clips_of("P4", "parkinson", None) + clips_of("P5", "parkinson", 5.0)
    found, _ = Cohort(tmp_path, PEOPLE + odd).samples()
    assert found["subject"].tolist() == ["H1", "NA", "P1", "P2", "P3"]
    assert "1 patients left out, their severity is unknown: P4" in caplog.text
    assert "none of studies.parkinson.stages: P5 (5)" in caplog.text


def test_many_names_are_cut_short_on_the_screen_but_not_in_the_log(tmp_path, caplog):
    odd = [clip for number in range(12) for clip in clips_of(f"Q{number:02d}", "parkinson", None)]
    with caplog.at_level(logging.INFO):
        Cohort(tmp_path, PEOPLE + odd).samples()
    warning = next(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert warning.endswith("and 2 more, see the log")
    assert "Q11" not in warning
    assert "Q11" in caplog.text


@pytest.mark.parametrize(
    ("unusable", "options", "words"),
    [
        (tuple(f"P3_{task}" for task in TASKS), {}, "class Mid/late has no subject"),
        ((), {"tasks": ["laughing"] * 6}, "studies.parkinson.tasks"),
        ((), {"groups": {"negative": "healthy", "positive": "pd"}}, "studies.parkinson.groups.positive"),
    ],
)
def test_a_class_without_anybody_is_said_with_the_key(tmp_path, unusable, options, words):
    with pytest.raises(InputError, match=words):
        Cohort(tmp_path, PEOPLE, unusable).samples(**options)


def test_two_severities_of_one_subject_are_refused(tmp_path):
    torn = [clip | ({"severity": 1.0} if clip["clip"] == "P3_fear" else {}) for clip in PEOPLE]
    with pytest.raises(InputError, match="subject 'P3' two severities"):
        Cohort(tmp_path, torn).samples()


def test_permuted_labels_keep_the_size_of_every_class(tmp_path):
    more = [clip for number in range(9) for clip in clips_of(f"R{number}", "healthy", None)]
    cohort = Cohort(tmp_path, PEOPLE + more)
    true, permuted = cohort.samples()[0], cohort.samples(permute=1)[0]
    assert sorted(true["label"]) == sorted(permuted["label"])
    assert true["label"].tolist() != permuted["label"].tolist()
    assert true["group"].tolist() == permuted["group"].tolist()


def test_the_table_has_a_line_for_every_network():
    assert {model for *_, model in LINES} == set(PARKINSON_NETWORKS)
    assert PUBLISHED_MODEL in PARKINSON_NETWORKS


def test_a_note_tells_an_untrained_backbone_from_one_that_learnt_expressions():
    block = {"weights": "none", "size": "small", "pixels": 112, "unfreeze": "head"}
    families = {"swin": block, "resnet": block | {"weights": "expression", "unfreeze": "last_block"}}
    assert note_of("swin", families).startswith("untrained backbone")
    assert "trained on expressions" in note_of("attention_fusion", families)
    assert "last block" in note_of("ordinal", families)
