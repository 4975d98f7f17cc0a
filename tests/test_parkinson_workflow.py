"""The Parkinson study as rules: three classes, six photographs a subject, data sets of origin, learnt expressions."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from faceneuro.models.backbones import load
from faceneuro.studies.expressions import EMOTIONS
from faceneuro.studies.parkinson import CLASSES, features_of
from faceneuro.tables import read_table
from faceneuro.training.activations import cache
from faceneuro.training.fit import load_weights
from running import NO_COHORT, NO_STUDY, ROOT, run
from test_workflow import copy, over

pytestmark = pytest.mark.workflow

STUDY = "results/studies/parkinson"
VIDEO = {"width": 320, "height": 240}
# Of the first eight patients that this seed draws, four are early; of the first four, two.
COHORT = {
    "seed": 4,
    "groups": {"healthy": 8, "parkinson": 8},
    "sources": {"healthy": ["studio_a", "studio_b"]},
    "video": VIDEO,
    "subjects_per_shard": 8,
}
CONFIG = {
    "cohorts": {**NO_COHORT, "virtual_parkinson": COHORT},
    "studies": {
        **NO_STUDY,
        "parkinson": {
            "protocols": {"grouped": {"folds": 2}},
            "models": ["mobilenetv4", "concatenation", "attention_fusion", "ordinal"],
            "backbones": {
                "resnet": {"weights": "none", "pixels": 64},
                "mobilenet": {"pixels": 64},
            },
            "training": {"epochs": 2, "batch_size": 8},
            "repeats": 1,
            "pretraining": {"cohort": None},
            "bootstrap": {"resamples": 100},
        },
    },
    "meta_analysis": None,
}
MODELS = CONFIG["studies"]["parkinson"]["models"]


def over_all(base: dict, changes: dict) -> dict:
    """A copy of a configuration with several keys changed."""
    for key, value in changes.items():
        base = over(base, key, value)
    return base


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run on a tiny cohort, whose crops were deleted as usual; not to be changed."""
    workdir = tmp_path_factory.mktemp("parkinson")
    ran = run(workdir, "parkinson", config=CONFIG)
    assert ran.succeeded, ran.messages
    return workdir


def predictions_of(workdir: Path, protocol: str, model: str) -> pd.DataFrame:
    return read_table(sorted(workdir.glob(f"{STUDY}/{protocol}/{model}/fold*/predictions.parquet")))


def text_of(workdir: Path, name: str) -> str:
    return (workdir / f"results/tables/{name}.md").read_text()


def lead_of(workdir: Path, name: str) -> str:
    """What a table says before its first heading."""
    return text_of(workdir, name).split("## ")[0]


def log_of(workdir: Path, name: str) -> str:
    return (workdir / f"logs/{name}.log").read_text()


def test_the_table_has_every_row_of_the_paper_and_says_what_was_not_run(finished):
    table = pd.read_csv(finished / "results/tables/parkinson.csv").query("kind == 'row' and aggregation == 'fold_mean'")
    printed = pd.read_csv(ROOT / "resources/published/parkinson_table1.csv", comment="#")
    assert set(table["row"].dropna()) == set(printed["method"])
    f1 = table[table["metric"] == "f1/macro"].set_index("model")
    assert f1.loc["attention_fusion", "published"] == 0.6718
    assert f1.loc["swin", "published"] == 0.2594
    assert f1.loc[MODELS, "reproduced"].between(0, 1).all()
    others = sorted(set(f1.index) - set(MODELS))
    assert others == ["efficientnetv2", "swin", "unbalanced"]
    assert f1.loc[others, "reproduced"].isna().all()
    assert "Not run: Swin-Transformer (swin), EfficientNetV2 (efficientnetv2), Ours w/o ACB (unbalanced)" in text_of(
        finished, "parkinson"
    )


def test_the_table_says_first_whose_faces_and_which_weights_it_is_made_of(finished):
    lead = lead_of(finished, "parkinson")
    assert "virtual cohort" in lead
    assert "16 subjects (8 Non-PD, 4 Early, 4 Mid/late)" in lead
    assert f"untrained, random weights instead of ImageNet's: {', '.join(MODELS)}" in lead


@pytest.mark.parametrize("model", MODELS)
def test_every_subject_is_held_out_once_and_every_fold_has_its_share(finished, model):
    tested = predictions_of(finished, "grouped", model)
    assert tested["subject"].is_unique
    assert set(tested["subject"]) == set(read_table(finished / STUDY / "samples.parquet")["subject"])
    assert tested.groupby(["fold", "label"]).size().to_dict() == {
        (fold, label): size for fold in (0, 1) for label, size in zip(CLASSES, (4, 2, 2), strict=True)
    }
    probabilities = np.stack(tested["probabilities"])
    assert probabilities.shape == (16, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_every_fold_tests_healthy_subjects_of_every_source(finished):
    sources = read_table(finished / STUDY / "samples.parquet").set_index("subject")["source"]
    tested = predictions_of(finished, "grouped", "attention_fusion").query("label == @CLASSES[0]")
    shares = tested.groupby(["fold", tested["subject"].map(sources)]).size()
    assert shares.to_dict() == {(fold, name): 2 for fold in (0, 1) for name in ("studio_a", "studio_b")}


def test_one_fold_needs_its_own_network_only(tmp_path):
    target = f"{STUDY}/grouped/attention_fusion/fold1/predictions.parquet"
    planned = Counter(run(tmp_path, target, config=CONFIG, dryrun=True).rules)
    assert (planned["train_parkinson_fold"], planned["cache_expressions"], planned["split_folds"]) == (1, 1, 1)
    assert planned["shrink_surroundings"] == 0


def test_a_repeat_trains_the_audited_network_alone_with_the_next_seed(finished, tmp_path):
    rules = changed(finished, tmp_path, "studies.parkinson.repeats", 3)
    assert (rules["repeat_parkinson_fold"], rules["train_parkinson_fold"], rules["audit_study"]) == (4, 0, 1)


def test_a_deleted_fold_is_made_again_alone_and_comes_out_equal(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    path = here / STUDY / "grouped/ordinal/fold0/predictions.parquet"
    before = read_table(path)
    path.unlink()
    ran = run(here, str(path.relative_to(here)), config=CONFIG)
    assert ran.succeeded, ran.messages
    assert ran.rules == ["train_parkinson_fold"]
    pd.testing.assert_frame_equal(read_table(path), before)


def test_each_data_set_of_the_healthy_is_held_out_once(finished):
    sources = read_table(finished / STUDY / "samples.parquet").set_index("subject")["source"]
    tested = predictions_of(finished, "sources", "attention_fusion")
    held_out = tested.groupby("fold")["subject"].agg(lambda subjects: sorted(sources[subjects]))
    assert held_out.tolist() == [["studio_a"] * 4, ["studio_b"] * 4]
    assert set(tested["label"]) == {CLASSES[0]}
    assert not (finished / STUDY / "sources/ordinal").exists(), "protocols.sources.models lists one model"
    audits = pd.read_csv(finished / "results/tables/parkinson.csv").query("kind == 'audit'")
    specificity = audits[audits["metric"] == "specificity"].set_index("source")["reproduced"]
    told = np.stack(tested["probabilities"]).argmax(axis=1) == 0
    assert specificity.to_dict() == {
        name: told[tested["subject"].map(sources) == name].mean() for name in ("studio_a", "studio_b")
    }


def test_the_attention_is_shown_beside_what_virtual_patients_have_lost(finished):
    weights = read_table(finished / STUDY / "attention.parquet")
    tasks = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
    assert weights.groupby("subject")["expression"].agg(list).tolist() == [tasks] * 16
    assert weights["weight"].between(0, 1).all()
    table = pd.read_csv(finished / "results/tables/parkinson_attention.csv")
    assert len(table.query("kind == 'weight'")) == 18
    followed = table.query("kind == 'followed'").set_index("label")["value"]
    assert followed.reindex(CLASSES).between(-1, 1).all()
    assert "virtual cohort" in lead_of(finished, "parkinson_attention")
    for name in ("attention", "confusion", "roc"):
        for suffix in ("png", "svg"):
            assert (finished / f"results/figures/parkinson_{name}.{suffix}").stat().st_size > 0


def changed(finished: Path, tmp_path: Path, key: str, value) -> Counter:
    here = copy(finished, tmp_path / "run")
    return Counter(run(here, "parkinson", config=over(CONFIG, key, value), dryrun=True).rules)


def test_another_gamma_trains_again_what_looks_at_it_and_caches_nothing(finished, tmp_path):
    rules = changed(finished, tmp_path, "studies.parkinson.balancing.gamma", 1.0)
    # Concatenation and attention fusion in two folds each, the latter also without each of two sources.
    assert rules["train_parkinson_fold"] == 6
    assert {"evaluate_study", "audit_parkinson", "weigh_expressions", "tabulate_parkinson"} <= set(rules)
    measured = {"decode_frames", "detect_landmarks", "crop_faces", "assemble_parkinson_samples", "split_folds"}
    assert not set(rules) & {*measured, "cache_expressions", "shrink_surroundings"}


def test_another_model_leaves_what_is_there(finished, tmp_path):
    rules = changed(finished, tmp_path, "studies.parkinson.models", [*MODELS, "unbalanced"])
    assert rules["train_parkinson_fold"] == 2
    assert not set(rules) & {"crop_faces", "cache_expressions", "weigh_expressions"}


@pytest.mark.parametrize("unfreeze", ["last_block", "all"])
@pytest.mark.parametrize("family", ["resnet", "mobilenet"])
def test_features_are_audited_as_the_study_found_them_however_much_it_trains(tmp_path, family, unfreeze):
    """What is cached ends earlier, at the pixels even; what the backbone makes of it stays the same."""
    settings = {"size": "small", "checkpoint": None, "weights": "none", "seed": 1, "normalisation": "imagenet"}
    images = np.random.default_rng(0).random((5, 2, 3, 64, 64), np.float32)
    features = []
    for part in ("head", unfreeze):
        block, path = settings | {"unfreeze": part}, tmp_path / f"{part}.safetensors"
        frozen, _, _ = load(family, block, maps=family == "resnet")
        cache(iter(images), len(images), frozen, path)
        features.append(np.stack(list(features_of(path, family, block))))
    assert features[0].ndim == 2
    np.testing.assert_allclose(features[1], features[0], rtol=1e-4, atol=1e-5)
    assert features[0].std(axis=0).max() > 1e-3


@pytest.fixture(scope="module")
def confounded(tmp_path_factory) -> Path:
    """The same people, patients photographed apart from the healthy, who are all of one data set; no attention."""
    workdir = tmp_path_factory.mktemp("confounded")
    changes = {
        "cohorts.virtual_parkinson.confound": 1.0,
        "cohorts.virtual_parkinson.sources": None,
        "studies.parkinson.models": ["mobilenetv4"],
        "studies.parkinson.protocols.sources": {"models": ["mobilenetv4"]},
    }
    ran = run(workdir, "parkinson", config=over_all(CONFIG, changes))
    assert ran.succeeded, ran.messages
    return workdir


def test_a_background_that_gives_the_class_away_changes_the_verdict(finished, confounded):
    alarm = "the background gives the class away"
    assert f"What else than the disease could explain it: {alarm}" in lead_of(confounded, "parkinson")
    # Four healthy people of either data set are too few to say whether these could be told apart.
    assert "What else than the disease could explain it: ok (2 could not be told)." in lead_of(finished, "parkinson")
    assert alarm not in text_of(finished, "parkinson")


def test_of_one_data_set_none_can_be_held_out_and_the_table_says_so(confounded):
    assert not (confounded / STUDY / "sources").exists()
    assert "No healthy subject was tested by a network that had seen nobody of its data set." in text_of(
        confounded, "parkinson"
    )


def test_without_attention_none_is_shown_and_another_extractor_is_audited(confounded):
    assert not list(confounded.glob("results/*/parkinson_attention.*"))
    assert [path.name for path in confounded.glob(f"{STUDY}/activations/*")] == ["mobilenet.safetensors"]
    assert "at equal ages (mobilenetv4)" in text_of(confounded, "parkinson")


TAUGHT = over_all(
    CONFIG,
    {
        "cohorts.virtual_expressions": {"groups": {"healthy": 4}, "video": VIDEO, "subjects_per_shard": 4},
        "studies.parkinson.backbones.resnet": {"weights": "expression", "pixels": 64},
        "studies.parkinson.pretraining": {"epochs": 2, "batch_size": 7, "test_fraction": 0.5},
    },
)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    """A backbone that has learnt expressions from four people; not to be changed."""
    workdir = tmp_path_factory.mktemp("pretrained")
    ran = run(workdir, "results/tables/expression_pretraining.md", config=TAUGHT)
    assert ran.succeeded, ran.messages
    assert "render_patients" in ran.rules
    return workdir


def test_expressions_are_learnt_from_other_people_and_tested_on_people_held_out(pretrained):
    tested = read_table(pretrained / "results/pretraining/expression/resnet_predictions.parquet")
    assert tested.groupby("subject")["label"].agg(sorted).tolist() == [sorted(EMOTIONS)] * 2
    assert np.stack(tested["probabilities"]).shape == (14, 7)
    text = text_of(pretrained, "expression_pretraining")
    assert "Learnt from virtual_expressions: virtual cohort" in text
    assert "Tested on people of whom the backbone has seen no image" in text
    assert "of 14 images (chance: 0.14)" in text
    history = read_table(pretrained / "results/pretraining/expression/resnet_history.parquet")
    assert history["epoch"].tolist() == [1, 2]
    assert "layer4.1.conv2.weight" in load_weights(pretrained / "results/pretraining/expression/resnet.safetensors")


def test_training_more_of_a_backbone_does_not_teach_it_expressions_anew(pretrained, tmp_path):
    here = copy(pretrained, tmp_path / "run")
    config = over(TAUGHT, "studies.parkinson.backbones.resnet.unfreeze", "last_block")
    planned = run(here, "parkinson", config=config, dryrun=True)
    assert planned.succeeded, planned.error
    assert "cache_expressions" in planned.rules
    assert "pretrain_expression" not in planned.rules


OWN_TASKS = {
    "anger": "angry",
    "disgust": "disgusted",
    "fear": "afraid",
    "happiness": "happy",
    "sadness": "sad",
    "surprise": "surprised",
}
"""Expressions as somebody else may call them."""

# Severities on a scale of their own; PX has none, PY one that belongs to no stage.
SEVERITIES = {"PA": "1", "PB": "2", "PC": "3", "PD": "4", "PX": "", "PY": "9"}
HEALTHY = ["HA", "HB", "HC"]

OWN = over_all(
    CONFIG,
    {
        "cohorts": {
            **NO_COHORT,
            "own": {"kind": "own_videos", "root": "photographs", "clips": "clips.csv", "subjects_per_shard": 9},
        },
        "studies.parkinson.cohort": "own",
        "studies.parkinson.stages": {"early": [1, 2], "mid_late": [3, 4]},
        "studies.parkinson.tasks": list(OWN_TASKS.values()),
        "studies.parkinson.models": ["attention_fusion"],
        # Of two patients of a stage, one is tested and one trained on: nobody is left to choose an epoch by.
        "studies.parkinson.training.select": "last",
        "studies.parkinson.backbones.resnet": {"weights": "expression", "pixels": 64},
        "studies.parkinson.pretraining": {"cohort": None, "folder": "faces", "epochs": 1, "batch_size": 7},
    },
)


def photographs_of(workdir: Path) -> dict[str, dict[str, Path]]:
    """The virtual photographs of a run, by subject and task."""
    found = {}
    for path in sorted(workdir.glob("results/cohorts/*/recordings/*/*.png")):
        subject, _, task = path.stem.partition("_")
        found.setdefault(subject, {})[task] = path
    return found


@pytest.fixture(scope="module")
def own(finished, pretrained, tmp_path_factory) -> Path:
    """Somebody's own photographs and own folder of faces, in both of which something is wrong."""
    workdir = tmp_path_factory.mktemp("own")
    root, rows = workdir / "photographs", []
    root.mkdir()
    people = list(photographs_of(finished).values())
    for subject, photographs in zip([*HEALTHY, *SEVERITIES], people, strict=False):
        for task, name in OWN_TASKS.items():
            path = f"{subject}_{name}.png"
            shutil.copy(photographs[task], root / path)
            group = "parkinson" if subject in SEVERITIES else "healthy"
            severity = SEVERITIES.get(subject, "")
            rows.append({"path": path, "subject": subject, "task": name, "group": group, "severity": severity})
    (root / "HA_angry.png").write_bytes((root / "HA_angry.png").read_bytes()[:400])
    rows = [row for row in rows if row["path"] != "PD_afraid.png"]
    shutil.copy(people[-1]["surprise"], root / "HB_surprised_again.png")
    again = {"path": "HB_surprised_again.png", "subject": "HB", "task": "surprised", "group": "healthy"}
    pd.DataFrame([*rows, again]).to_csv(workdir / "clips.csv", index=False)

    faces = workdir / "faces"
    for number, photographs in enumerate(photographs_of(pretrained).values()):
        for task, path in photographs.items():
            folder = faces / OWN_TASKS.get(task, task).title()
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / f"{number}.png")
    (faces / "Happy" / "Thumbs.db").write_text("what a file manager leaves")
    (faces / "Happy" / "torn.png").write_text("no picture")
    (faces / "Holiday").mkdir()
    ran = run(workdir, "parkinson", "results/tables/quality.md", config=OWN)
    assert ran.succeeded, ran.messages
    return workdir


def test_bad_photographs_are_said_in_words_and_the_others_make_the_table(own):
    quality = read_table(own / "results/cohorts/own/quality.parquet").set_index("clip")
    assert quality.loc["HA_angry", "verdict"] == "unusable"
    assert "HA_angry" in text_of(own, "quality")
    assert (quality["verdict"] == "unusable").sum() == 1
    said = log_of(own, "assemble_parkinson_samples")
    for words in (
        "HA (no angry), PD (no afraid)",
        "an earlier one, by name, of the same expression: HB surprised (HB_surprised_again)",
        "1 patients left out, their severity is unknown: PX",
        "their severity is in none of studies.parkinson.stages: PY (9)",
    ):
        assert words in said
    lead = lead_of(own, "parkinson")
    assert "7 subjects (3 Non-PD, 2 Early, 2 Mid/late)" in lead
    assert "virtual" not in lead


def test_a_missing_photograph_has_no_weight_in_the_attention(own):
    weights = read_table(own / STUDY / "attention.parquet").set_index(["subject", "expression"])["weight"]
    assert weights[weights.isna()].index.tolist() == [("HA", "angry"), ("PD", "afraid")]
    assert "is known of virtual patients only" in lead_of(own, "parkinson_attention")


def test_what_is_not_known_of_people_is_said_in_the_audits(own):
    text = text_of(own, "parkinson")
    assert "No ages are known: whether age explains the result cannot be told." in text
    assert "No healthy subject was tested by a network that had seen nobody of its data set." in text


def test_expressions_can_be_learnt_from_a_folder_of_images(own):
    said = log_of(own, "pretrain_expression/resnet")
    assert "Holiday" in said
    assert "torn.png" in said
    assert "Thumbs.db" not in said
    text = text_of(own, "expression_pretraining")
    assert "Learnt from the configured folder of images" in text
    assert "Tested on images, among which may be people that it has seen" in text
    assert "trained on expressions before" in text_of(own, "parkinson")
    assert "untrained" not in lead_of(own, "parkinson")


def test_a_class_with_fewer_usable_subjects_than_folds_is_said(own, tmp_path):
    here = copy(own, tmp_path / "run")
    config = over(OWN, "studies.parkinson.least_expressions", 6)
    ran = run(here, f"{STUDY}/grouped/folds.parquet", config=config)
    assert not ran.succeeded
    assert "PD (no afraid)" in log_of(here, "assemble_parkinson_samples")
    said = log_of(here, "split_folds/parkinson/grouped")
    assert "studies.parkinson.protocols.grouped.folds" in said
    assert "class Mid/late has 1 subject with usable samples" in said


LEARNING = over(CONFIG, "studies.parkinson.backbones.resnet.weights", "expression")


@pytest.mark.parametrize(
    ("base", "key", "value", "words"),
    [
        (CONFIG, "stages.early", [0, 1], ["studies.parkinson.stages", "severity 1 is in both stages"]),
        (CONFIG, "stages.mid_late", [7], ["studies.parkinson.stages.mid_late", "no patient has a severity of 7"]),
        (CONFIG, "tasks", ["anger", "fear", "disgust", "sadness", "surprise"], ["studies.parkinson.tasks"]),
        (CONFIG, "protocols.grouped.folds", 5, ["protocols.grouped.folds", "'early' has 4"]),
        (CONFIG, "protocols.sources.models", ["swin"], ["protocols.sources.models", "'swin' is not in"]),
        (LEARNING, "pretraining.cohort", "virtual_parkinson", ["pretraining.cohort", "are to be tested"]),
        (LEARNING, "pretraining.cohort", "virtual_faces", ["pretraining.cohort", "there is no cohort 'virtual_faces'"]),
        (LEARNING, "pretraining.cohort", None, ["backbones.resnet.weights", "neither a cohort nor a folder"]),
        (LEARNING, "pretraining.folder", "no/such", ["pretraining.folder", "there is no folder no/such"]),
    ],
)
def test_a_mistake_in_the_configuration_is_one_sentence_before_any_job(tmp_path, base, key, value, words):
    ran = run(tmp_path, "parkinson", config=over(base, f"studies.parkinson.{key}", value), dryrun=True)
    assert not ran.succeeded
    assert ran.rules == []
    assert "\n" not in ran.error.strip()
    for word in words:
        assert word in ran.error


def test_nobody_need_be_there_to_learn_expressions_from_if_no_model_does(tmp_path):
    config = over_all(
        CONFIG,
        {
            "studies.parkinson.pretraining.cohort": "removed",
            "studies.parkinson.backbones.swin": {"weights": "expression"},
        },
    )
    planned = run(tmp_path, "parkinson", config=config, dryrun=True)
    assert planned.succeeded, planned.error
    assert not {"pretrain_expression", "tabulate_expression_pretraining"} & set(planned.rules)


@pytest.mark.slow
def test_the_papers_network_trains_one_fold_on_the_processor(finished, tmp_path):
    """All of ResNet-18, at 224 pixels."""
    here = copy(finished, tmp_path / "run")
    preset = yaml.safe_load((ROOT / "config/presets/parkinson_paper.yaml").read_text())["studies"]["parkinson"]
    resnet = preset["backbones"]["resnet"] | {"weights": "none"}
    config = over_all(
        CONFIG,
        {
            "studies.parkinson.backbones.resnet": resnet,
            "studies.parkinson.images": preset["images"],
            "studies.parkinson.cache": preset["cache"],
            "studies.parkinson.training": preset["training"] | {"epochs": 1},
        },
    )
    fold = f"{STUDY}/grouped/attention_fusion/fold0"
    ran = run(here, f"{fold}/predictions.parquet", config=config)
    assert ran.succeeded, ran.messages
    weights = load_weights(here / fold / "model.safetensors")
    shapes = {weight.shape for weight in weights.values()}
    # The first convolution is trained too; six times 512 channels are gated by way of 192 units.
    assert {(64, 3, 7, 7), (192, 3072), (3072, 192), (512, 3072), (3, 512)} <= shapes
    assert np.stack(read_table(here / fold / "predictions.parquet")["probabilities"]).shape == (8, 3)
