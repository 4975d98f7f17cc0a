import copy
from pathlib import Path

import pytest
import yaml

from faceneuro.config import check, check_subjects
from faceneuro.errors import InputError
from running import ROOT

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def changed(key: str, value) -> dict:
    config = copy.deepcopy(DEFAULT)
    *folders, name = key.split(".")
    block = config
    for folder in folders:
        block = block[folder]
    block[name] = value
    return config


def merged(base: dict, over: dict) -> dict:
    return base | {
        key: merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in over.items()
    }


def test_the_default_is_valid():
    check(DEFAULT, SCHEMA)


@pytest.mark.parametrize("preset", sorted(ROOT.glob("config/presets/*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_valid_over_the_default(preset: Path):
    config = merged(DEFAULT, yaml.safe_load(preset.read_text()))
    for part in ("cohorts", "studies"):
        config[part] = {name: block for name, block in config[part].items() if block is not None}
    check(config, SCHEMA)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("studies.als.training.epoch", 3, ["studies.als.training", "'epoch'", "did you mean 'epochs'"]),
        ("studies.als.training.learning_rate", "1e-3", ["learning_rate", "'1e-3'", "number", "0.001"]),
        ("studies.als.training.epochs", 0, ["studies.als.training.epochs", "0 is less than the minimum of 1"]),
        ("studies.palsie", {}, ["config key studies", "unknown key 'palsie'"]),
        ("studies.als.cohort", "virtual_al", ["studies.als.cohort", "did you mean 'virtual_als'"]),
        ("studies.als.groups.positive", "palsy", ["studies.als.groups.positive", "no subjects in group 'palsy'"]),
        ("studies.als.groups.positive", "healthy", ["studies.als.groups", "a group of its own"]),
        ("studies.als.tasks", ["opne"], ["studies.als.tasks", "does not record 'opne'", "did you mean 'open'"]),
        ("studies.als.models", ["dual"], ["studies.als.models.0", "known are dual_branch"]),
        ("cohorts.virtual_als.kind", "vitual", ["cohorts.virtual_als.kind", "did you mean 'virtual'"]),
        ("cohorts.virtual_als.groups.alz", 3, ["cohorts.virtual_als.groups", "did you mean 'als'"]),
        ("cohorts.mine", {"kind": "own_videos"}, ["cohorts.mine", "'root' is missing"]),
        ("cohorts.My Cohort", {"kind": "own_videos"}, ["config key cohorts", "not a usable name"]),
        ("features.flow.grid", [480], ["features.flow.grid"]),
        ("video", 7, ["config key video", "7"]),
        ("score.study", "parkinson", ["score.study", "photographs of six expressions", "choose als or palsy"]),
        ("score.study", "synthesis", ["score.study", "tells nobody ill from healthy", "choose als or palsy"]),
        ("score.study", "asl", ["score.study", "did you mean 'als'"]),
        ("score.frames", 5, ["score.frames", "5 is less than the minimum of 6"]),
        ("score.least_quality", "unusable", ["score.least_quality", "known are ok, partial"]),
        ("studies.parkinson.tasks", ["anger"], ["studies.parkinson.tasks"]),
        ("studies.parkinson.stages.early", [0, 1], ["studies.parkinson.stages", "severity 1 is in both stages"]),
        ("studies.parkinson.pretraining.cohort", None, ["backbones.resnet.weights", "neither a cohort nor a folder"]),
        ("studies.parkinson.pretraining.cohort", "virtual_parkinson", ["pretraining.cohort", "are to be tested"]),
        ("studies.parkinson.pretraining.cohort", "virtual", ["pretraining.cohort", "there is no cohort 'virtual'"]),
        ("studies.parkinson.pretraining.folder", "x", ["studies.parkinson.pretraining", "set one of them to null"]),
        ("studies.parkinson.models", ["swin"], ["protocols.sources.models", "'attention_fusion' is not in"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(key, value, words):
    with pytest.raises(InputError) as error:
        check(changed(key, value), SCHEMA)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("key", ["features.flow", "studies.als.training.epochs", "assets"])
def test_a_key_that_is_missing_is_named(key):
    config = copy.deepcopy(DEFAULT)
    *folders, name = key.split(".")
    block = config
    for folder in folders:
        block = block[folder]
    del block[name]
    with pytest.raises(InputError, match=f"'{name}' is missing"):
        check(config, SCHEMA)


def clips(**subjects_by_group: int) -> dict:
    subjects_by_group = {"palsy": 5, "parkinson": 15} | subjects_by_group

    def rows(tasks: list[str]) -> list[dict]:
        return [
            {"subject": f"{group}{number}", "group": group, "task": task, "severity": number % 3, "problem": None}
            for group, count in subjects_by_group.items()
            for number in range(count)
            for task in tasks
        ]

    return {cohort: {"shard": rows(block["tasks"])} for cohort, block in DEFAULT["cohorts"].items()}


def test_enough_subjects_pass():
    check_subjects(DEFAULT, clips(healthy=5, als=5))


def test_a_stage_with_too_few_patients_is_told_before_any_work():
    with pytest.raises(InputError, match="each class, but 'early' has 3"):
        check_subjects(changed("studies.parkinson.protocols.grouped.folds", 5), clips(healthy=9, als=9, parkinson=7))
    with pytest.raises(InputError, match=r"parkinson.stages.early: no patient has a severity of 7 or 8.5; .* 2"):
        check_subjects(changed("studies.parkinson.stages.early", [7, 8.5]), clips(healthy=9, als=9))


def test_fewer_subjects_than_folds_are_told_before_any_work():
    with pytest.raises(InputError, match=r"grouped\.folds.*needs? 5 subjects.*'als' has 4"):
        check_subjects(DEFAULT, clips(healthy=9, als=4))


def test_one_class_only_is_told_before_any_work():
    with pytest.raises(InputError, match=r"groups\.positive.*no usable clip of group 'als'.*did you mean 'palsy'"):
        check_subjects(DEFAULT, clips(healthy=9))
