"""What the main process hands on to the jobs of a cluster."""

import json

import pytest

from data_set_trees import MAKERS, Blank
from faceneuro import cohorts
from faceneuro.handover import hand_on, handed_on

CONFIG = {"cohorts": {"a": {"seed": 1}}}
FOUND = [{"a": {"S1": [{"subject": "S1", "age": None, "severity": 0.5}]}}, {"a": "state"}, ["a sentence"]]


def test_what_is_handed_on_arrives_for_the_same_configuration_only(tmp_path):
    folder = tmp_path / "made" / "here"
    assert handed_on(folder, CONFIG) is None
    hand_on(folder, CONFIG, FOUND)
    assert handed_on(folder, json.loads(json.dumps(CONFIG))) == FOUND
    assert handed_on(folder, {"cohorts": {"a": {"seed": 2}}}) is None


def test_only_the_last_configuration_is_kept(tmp_path):
    for seed in range(3):
        hand_on(tmp_path, {"seed": seed}, FOUND)
    assert len(list(tmp_path.iterdir())) == 1
    assert handed_on(tmp_path, {"seed": 2}) == FOUND


def test_a_file_that_is_cut_off_is_as_none(tmp_path):
    hand_on(tmp_path, CONFIG, FOUND)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text()[:-5])
    assert handed_on(tmp_path, CONFIG) is None


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_listed_of_a_data_set_comes_through_as_it_is(kind, tmp_path):
    """Text, numbers and None only: a job sees the very rows that were planned with."""
    tree = MAKERS[kind](tmp_path / "data", Blank())
    found = cohorts.shards(kind, cohorts.listing(kind, tree.cohort | {"labels": []}).clips, 2)
    hand_on(tmp_path / "handed", CONFIG, found)
    assert handed_on(tmp_path / "handed", CONFIG) == found
