import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from faceneuro.cohorts import listing, shard_name, shards
from running import ROOT

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
subjects = st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True)


@given(subjects)
def test_a_shard_name_is_a_safe_file_name(names):
    assert re.fullmatch(r"[A-Za-z0-9_-]+", shard_name(names))


@given(subjects, subjects)
def test_different_subjects_have_different_shards(some, others):
    assert (shard_name(some) == shard_name(others)) == (some == others)


@pytest.mark.parametrize(("subject", "name"), [("A022", "A022"), ("007", "007"), ("NA", "NA")])
def test_a_plain_subject_names_its_own_shard(subject, name):
    assert shard_name([subject]) == name


def test_a_cohort_is_divided_into_whole_subjects():
    settings = DEFAULT["cohorts"]["virtual_als"]
    made = shards("virtual_als", listing("virtual_als", settings).clips, settings["subjects_per_shard"])
    homes = {
        clip["subject"]: {name for name, clips in made.items() if clip in clips}
        for clips in made.values()
        for clip in clips
    }
    assert all(len(home) == 1 for home in homes.values())
    assert len(homes) == sum(settings["groups"].values())
    assert sum(map(len, made.values())) == len(homes) * len(settings["tasks"])


def test_subjects_added_at_the_end_leave_the_full_shards_as_they_are(tmp_path):
    (tmp_path / "clips.csv").write_text("path,subject\n" + "".join(f"{n}.mp4,S{n}\n" for n in range(4)))
    settings = {"kind": "own_videos", "root": tmp_path, "clips": tmp_path / "clips.csv", "subjects_per_shard": 2}
    before = shards("own", listing("own", settings).clips, 2)
    with (tmp_path / "clips.csv").open("a") as table:
        table.write("4.mp4,S4\n")
    assert before.items() <= shards("own", listing("own", settings).clips, 2).items()
