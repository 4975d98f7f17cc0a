"""The palsy study as rules: rows and folds by themselves, what they share, what they say when something is missing."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from faceneuro.cohorts.virtual.patients import recruit
from faceneuro.cohorts.virtual.record import record_clip
from faceneuro.tables import KEYS, read_table
from faceneuro.training.fit import load_weights
from running import ASSETS, DEFAULT, NO_COHORT, NO_STUDY, run
from test_workflow import copy, over

pytestmark = pytest.mark.workflow

STUDY = "results/studies/palsy"
CONFIG = {
    "cohorts": {
        **NO_COHORT,
        "virtual_palsy": {
            "groups": {"healthy": 3, "palsy": 3},
            "tasks": ["smile_open", "brow_raise"],
            "seconds": 0.7,
            "subjects_per_shard": 3,
        },
    },
    "features": {"crops": {"at_most": 2}, "frames": {"keep": True}},
    "studies": {
        **NO_STUDY,
        "palsy": {
            "models": ["handcrafted_fnn", "rgb_mixer", "early_rgb", "late_rgb", "surroundings_mixer"],
            "training": {"visual": {"epochs": 2}, "fnn": {"epochs": 3}, "fusion": {"epochs": 3}},
            "backbones": {"mixer": {"unfreeze": "last_block"}},
            "bootstrap": {"resamples": 100},
        },
    },
    "meta_analysis": None,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run on a tiny cohort; not to be changed."""
    workdir = tmp_path_factory.mktemp("palsy")
    ran = run(workdir, "palsy", config=CONFIG)
    assert ran.succeeded, ran.messages
    return workdir


def test_the_study_is_audited_with_its_control_and_its_pictures(finished):
    audits = read_table(finished / f"{STUDY}/audits.parquet").set_index("audit")
    assert set(audits["study"]) == {"palsy"}
    assert audits.loc["patient or not, from the background alone", "model"] == "surroundings_mixer"
    assert audits.loc["subjects held out, against permuted labels", "model"] == "early_rgb"
    hashes = read_table(finished / f"{STUDY}/hashes.parquet")
    samples = read_table(finished / f"{STUDY}/samples.parquet", list(KEYS))
    pd.testing.assert_frame_equal(hashes[list(KEYS)], samples)
    pictures = audits.loc["pictures of two people who are not tested together"]
    assert (pictures["grade"], pictures["value"], pictures["n_subjects"]) == ("ok", 0, 6)


def test_the_table_has_every_row_of_the_paper_and_says_what_was_not_run(finished):
    table = pd.read_csv(finished / "results/tables/palsy.csv").query("kind == 'row'")
    assert sorted(table["row"].dropna().unique()) == list(range(1, 14))
    f1 = table[(table["metric"] == "f1") & (table["level"] == "frame") & (table["aggregation"] == "fold_mean")]
    f1 = f1.set_index("model")
    assert f1.loc["early_rgb", "published"] == 96.0
    assert 0 <= f1.loc["early_rgb", "reproduced"] <= 100
    assert pd.isna(f1.loc["rgb_fastervit", "reproduced"])
    text = (finished / "results/tables/palsy.md").read_text()
    lead = text.split("## ")[0]
    assert "virtual cohort" in lead
    assert "untrained" in lead
    assert "fastervit==1.0.0" in text
    assert "licence" in text


def test_every_patient_is_held_out_once_with_a_share_of_the_healthy(finished):
    for model in CONFIG["studies"]["palsy"]["models"]:
        paths = sorted(finished.glob(f"{STUDY}/grouped/{model}/*/predictions.parquet"))
        tested = read_table(paths).groupby(["fold", "label"])["subject"].unique()
        assert len(paths) == 3
        assert [len(tested[fold, label]) for fold in range(3) for label in ("Healthy", "Palsy")] == [1] * 6
        assert len({tuple(subjects) for subjects in tested}) == 6


def test_late_fusion_is_the_mean_of_the_branches_of_its_fold(finished):
    fold = finished / STUDY / "grouped"
    late, measures, image = (
        read_table(fold / model / "fold1" / "predictions.parquet")["probability"]
        for model in ("late_rgb", "handcrafted_fnn", "rgb_mixer")
    )
    pd.testing.assert_series_equal(late, (measures + image) / 2)


def test_one_fold_of_one_row_needs_its_own_branches_only(tmp_path):
    planned = run(tmp_path, f"{STUDY}/grouped/early_rgb/fold1/predictions.parquet", config=CONFIG, dryrun=True)
    counts = Counter(planned.rules)
    assert (counts["train_palsy_fold"], counts["fuse_palsy_fold"], counts["cache_activations"]) == (2, 1, 1)


def test_a_repeat_of_a_fusion_trains_its_branches_with_the_next_seed_too(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    config = over(CONFIG, "studies.palsy.repeats", 3)
    counts = Counter(run(here, "palsy", config=config, dryrun=True).rules)
    folds = len(list(finished.glob(f"{STUDY}/grouped/early_rgb/fold*")))
    assert (counts["repeat_palsy_fold"], counts["repeat_palsy_fusion"]) == (2 * 2 * folds, 2 * folds)
    assert not {"train_palsy_fold", "fuse_palsy_fold", "cache_activations", "crop_faces"} & set(counts)
    ran = run(here, f"{STUDY}/repeats/2/grouped/early_rgb/fold0/predictions.parquet", config=config)
    assert ran.succeeded, ran.messages
    assert sorted(ran.rules) == ["repeat_palsy_fold", "repeat_palsy_fold", "repeat_palsy_fusion"]
    for model in ("handcrafted_fnn", "rgb_mixer", "early_rgb"):
        first, second = (
            read_table(here / STUDY / folder / model / "fold0/predictions.parquet")
            for folder in ("grouped", "repeats/2/grouped")
        )
        pd.testing.assert_frame_equal(first.drop(columns="probability"), second.drop(columns="probability"))
        assert (first["probability"] != second["probability"]).any()


def test_a_deleted_fold_is_made_again_alone_and_comes_out_equal(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    path = here / STUDY / "grouped/handcrafted_fnn/fold0/predictions.parquet"
    before = read_table(path)
    path.unlink()
    ran = run(here, str(path.relative_to(here)), config=CONFIG)
    assert ran.succeeded, ran.messages
    assert ran.rules == ["train_palsy_fold"]
    pd.testing.assert_frame_equal(read_table(path), before)


def changed(finished: Path, tmp_path: Path, key: str, value) -> set[str]:
    here = copy(finished, tmp_path / "run")
    return set(run(here, "palsy", config=over(CONFIG, key, value), dryrun=True).rules)


def test_a_changed_training_leaves_the_activations(finished, tmp_path):
    rules = changed(finished, tmp_path, "studies.palsy.training.fusion.epochs", 4)
    assert "fuse_palsy_fold" in rules
    branches = {"train_palsy_fold", "average_palsy_fold", "explain_palsy_fold"}
    assert not rules & {*branches, "cache_activations", "crop_faces", "decode_frames", "assemble_palsy_samples"}


def test_other_views_make_the_activations_again_and_no_crops(finished, tmp_path):
    rules = changed(finished, tmp_path, "studies.palsy.images.views", 2)
    assert {"cache_activations", "train_palsy_fold"} <= rules
    assert not rules & {"crop_faces", "decode_frames", "assemble_palsy_samples"}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("backbones.mixer.weights", "no/such.pth", ["studies.palsy.backbones.mixer.weights", "no/such.pth"]),
        ("cache.at_most_mib", 1, ["studies.palsy.cache.at_most_mib", "MiB", "float16"]),
    ],
)
def test_what_stops_a_row_is_said_and_the_other_rows_are_kept(tmp_path, finished, key, value, words):
    here = copy(finished, tmp_path / "run")
    for path in here.glob(f"{STUDY}/grouped/*/fold0/predictions.parquet"):
        path.unlink()
    config = over(over(CONFIG, f"studies.palsy.{key}", value), "studies.palsy.images.views", 10)
    ran = run(here, "palsy", config=config)
    assert not ran.succeeded
    said = (here / "logs/cache_activations/rgb_mixer.log").read_text()
    for word in words:
        assert word in said
    assert (here / STUDY / "grouped/handcrafted_fnn/fold0/predictions.parquet").exists()


def test_published_weights_are_looked_for_in_the_configured_folder(finished, tmp_path):
    from timm.models import get_pretrained_cfg

    here = copy(finished, tmp_path / "run")
    name = get_pretrained_cfg("mixer_b16_224.miil_in21k_ft_in1k").url.rpartition("/")[2]
    file = here / "shared" / "torch" / "hub" / "checkpoints" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no weights")
    config = over(CONFIG, "studies.palsy.backbones.mixer", {"size": "paper", "weights": "auto"})
    config = config | {"assets": {"folder": str(ASSETS), "weights": "shared"}}
    assert not run(here, f"{STUDY}/activations/rgb_mixer.safetensors", config=config).succeeded
    assert f"{file} cannot be read as weights" in (here / "logs/cache_activations/rgb_mixer.log").read_text()


def test_rows_beyond_the_paper_run_on_the_branches_of_their_fold(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    beyond = ["gated_rgb", "attention_rgb", "temporal_rgb"]
    config = over(CONFIG, "studies.palsy.models", [*CONFIG["studies"]["palsy"]["models"], *beyond])
    ran = run(here, *(f"{STUDY}/grouped/{model}/fold0/predictions.parquet" for model in beyond), config=config)
    assert ran.succeeded, ran.messages
    assert sorted(ran.rules) == ["fuse_palsy_fold", "fuse_palsy_fold", "train_palsy_clips"]
    tested = [read_table(here / STUDY / f"grouped/{model}/fold0/predictions.parquet") for model in beyond]
    keys = ["cohort", "subject", "clip", "frame"]
    for one in tested:
        pd.testing.assert_frame_equal(one[keys], tested[0][keys])
    # A network over a whole clip has one opinion of it.
    assert (tested[2].groupby("clip")["probability"].nunique() == 1).all()


def test_an_image_network_is_explained_by_what_it_misses_when_it_is_hidden(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    config = over(CONFIG, "studies.palsy.explanations", {"models": ["rgb_mixer"], "at_most": 1})
    ran = run(here, "results/tables/palsy_explanations.md", config=config)
    assert ran.succeeded, ran.messages
    lead = (here / "results/tables/palsy_explanations.md").read_text().split("## ")[0]
    assert "virtual cohort" in lead
    assert "untrained" in lead


def test_a_fusion_without_its_branch_is_told_before_any_work(tmp_path):
    ran = run(tmp_path, config=over(CONFIG, "studies.palsy.models", ["early_rgb", "rgb_mixer"]), dryrun=True)
    assert not ran.succeeded
    assert "'early_rgb' fuses 'handcrafted_fnn'" in ran.error


def test_a_background_that_gives_the_label_away_changes_the_verdict(tmp_path):
    """The same patients, filmed apart from the healthy: no row about faces can be trusted, and the table says so."""
    config = over(CONFIG, "studies.palsy.models", ["handcrafted_fnn", "surroundings_mixer"])
    config = over(config, "studies.palsy.training.visual.epochs", 8)
    config = over(config, "cohorts.virtual_palsy.groups", {"healthy": 5, "palsy": 5})
    config = over(config, "cohorts.virtual_palsy.confound", 1.0)
    ran = run(tmp_path, "palsy", config=config)
    assert ran.succeeded, ran.messages
    assert "the background predicts the label" in (tmp_path / "results/tables/palsy.md").read_text().split("## ")[0]


@pytest.mark.slow
def test_networks_of_the_papers_size_run_one_fold_on_the_processor(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    config = over(CONFIG, "studies.palsy.models", ["handcrafted_fnn", "rgb_mixer", "rgb_resnet", "early_rgb"])
    for family in ("mixer", "resnet"):
        config = over(config, f"studies.palsy.backbones.{family}.size", "paper")
    config = over(config, "studies.palsy.backbones.resnet.unfreeze", "last_block")
    config = over(config, "studies.palsy.training.visual.epochs", 1)
    folds = [f"{STUDY}/grouped/{model}/fold0" for model in ("early_rgb", "rgb_resnet")]
    ran = run(here, *(f"{fold}/predictions.parquet" for fold in folds), config=config)
    assert ran.succeeded, ran.messages
    mixer = load_weights(here / STUDY / "grouped/rgb_mixer/fold0/model.safetensors")
    resnet = load_weights(here / STUDY / "grouped/rgb_resnet/fold0/model.safetensors")
    # MLP-Mixer B/16: 768 channels, 196 patches; ResNet-50: 2048 features into the published head of 512.
    assert {768, 196} <= {size for weight in mixer.values() for size in weight.shape}
    assert (512, 2048) in {weight.shape for weight in resnet.values()}
    fusion = load_weights(here / STUDY / "grouped/early_rgb/fold0/model.safetensors")
    assert 827 in {size for weight in fusion.values() for size in weight.shape}


def test_a_video_of_somebody_else_is_scored_by_the_fusion_of_every_fold(finished, tmp_path, heads):
    cohort = DEFAULT["cohorts"]["virtual_palsy"] | CONFIG["cohorts"]["virtual_palsy"]
    patient = recruit("S077", "palsy", 77, cohort["seed"])
    record_clip(heads, patient, "smile_open", cohort, tmp_path / "new.mp4")
    here = copy(finished, tmp_path / "run")
    given = {"video": str(tmp_path / "new.mp4"), "score": {"study": "palsy"}}
    ran = run(here, "results/score/visit/report.html", config=CONFIG | given)
    assert ran.succeeded, ran.messages
    assert set(ran.rules).isdisjoint({"train_palsy_fold", "fuse_palsy_fold", "cache_activations"})
    votes = read_table(here / "results/score/visit/palsy_votes.parquet")
    assert votes.groupby("fold").size().tolist() == [2, 2, 2]
    assert votes["probability"].between(0, 1).all()
    (row,) = read_table(here / "results/score/visit/score.parquet").to_dict("records")
    assert row["probability"] == pytest.approx(votes.groupby("fold")["probability"].mean().mean())
    assert "Probability of Palsy" in (here / "results/score/visit/report.html").read_text()
    assert not list((here / "results/score/visit").glob("*cache*"))
