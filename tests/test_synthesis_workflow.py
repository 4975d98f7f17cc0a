"""The synthesis study as rules: rows by themselves, what they share, what a kill costs, what is said when it fails."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import load_file

from faceneuro.synthesis import TRIVIAL
from faceneuro.tables import read_table
from running import ASSETS, NO_COHORT, NO_STUDY, ROOT, run
from test_workflow import copy, over

pytestmark = pytest.mark.workflow

STUDY = "results/studies/synthesis"
PHOTOGRAPHS = {"width": 240, "height": 180, "fps": 30, "crf": 20}
CONFIG = {
    "cohorts": {
        **NO_COHORT,
        "virtual_faces": {
            "groups": {"healthy": 3, "palsy": 4},
            "tasks": ["rest", "smile_open"],
            "seconds": 1.0,
            "video": PHOTOGRAPHS,
            "subjects_per_shard": 7,
        },
    },
    "studies": {
        **NO_STUDY,
        "synthesis": {
            "size": "smoke",
            "models": ["dcface_3x3", "ccfexp"],
            "extractor_training": {"steps": 4},
            "training": {"steps": 4, "checkpoint_every": 2},
            "sampling": {"steps": 2},
            "dataset": {"images": 9},
            "bootstrap": {"resamples": 100},
        },
    },
    "meta_analysis": None,
}
WITH_PALSY = CONFIG | {
    "cohorts": {
        **CONFIG["cohorts"],
        "virtual_palsy": {
            "groups": {"healthy": 2, "palsy": 2},
            "tasks": ["smile_open"],
            "medium": "photographs",
            "seconds": 1.0,
            "video": PHOTOGRAPHS,
            "subjects_per_shard": 4,
        },
    },
    "studies": {
        **CONFIG["studies"],
        "palsy": {
            "models": ["rgb_mixer"],
            "protocols": {"grouped": {"folds": 2, "validation_fraction": 0.5}},
            "training": {"visual": {"epochs": 1, "select": "last"}},
            "bootstrap": {"resamples": 100},
        },
        "synthesis": CONFIG["studies"]["synthesis"] | {"augmentation": {"per_identity": [1]}},
    },
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run on a tiny cohort; not to be changed."""
    workdir = tmp_path_factory.mktemp("synthesis")
    ran = run(workdir, "synthesis", config=CONFIG)
    assert ran.succeeded, ran.messages
    return workdir


def said(workdir: Path, log: str) -> str:
    return (workdir / "logs" / log).read_text()


def test_the_table_has_the_papers_rows_and_the_trivial_ones(finished):
    table = pd.read_csv(finished / "results/tables/synthesis.csv").query("kind == 'row'")
    assert sorted(table["row"].dropna().unique()) == list(range(1, 7))
    psnr = table[(table["metric"] == "psnr") & (table["reference"] == "identity")].set_index("model")
    assert psnr.loc["ccfexp", "published"] == 17.44
    assert psnr["reproduced"].notna().to_dict() == {
        **dict.fromkeys(("dcface_5x5", "ccfexp_no_landmarks", "ccfexp_no_fusion", "ccfexp_no_cycle"), False),
        **dict.fromkeys(("dcface_3x3", "ccfexp", *TRIVIAL), True),
    }
    # Who returns the identity is perfect against it, and not against the true target.
    assert psnr.loc["copy_identity", "reproduced"] == 100
    target = table[(table["metric"] == "psnr") & (table["reference"] == "target")].set_index("model")["reproduced"]
    assert target["copy_identity"] < 60
    assert target["ccfexp"] < target["copy_identity"]
    for measure in ("landmark_error", "excursion_error", "asymmetry_error", "identity_cosine"):
        assert table.loc[table["metric"] == measure, "reproduced"].notna().any(), measure
    lead = (finished / "results/tables/synthesis.md").read_text().split("## ")[0]
    assert "virtual cohort" in lead
    assert "size smoke" in lead
    assert "own features (identity network)" in lead
    networks = pd.read_csv(finished / "results/tables/synthesis_extractors.csv")
    assert set(networks["network"]) == {"identity", "expression", "landmarks"}
    for figure in ("grid", "losses"):
        assert (finished / f"results/figures/synthesis_{figure}.png").stat().st_size > 0


def test_every_pair_of_a_row_has_its_picture_and_its_scores(finished):
    pairs = read_table(finished / STUDY / "pairs.parquet")
    for way in ("there", "back"):
        index = read_table(finished / STUDY / "ccfexp" / f"{way}.parquet")
        assert index["pair"].tolist() == pairs["pair"].tolist()
        assert all((finished / STUDY / "ccfexp" / way / file).is_file() for file in index["file"])
        assert (index["back"] == (way == "back")).all()
    scores = read_table(finished / STUDY / "ccfexp" / "scores.parquet")
    found = scores[(scores["metric"] == "psnr") & (scores["against"] == "target")]
    assert sorted(found["pair"]) == pairs["pair"].tolist()


def test_the_target_of_a_copied_style_is_told_for_its_own_pair(finished):
    """Targets are kept person by person: their scores must be those of the pairs that they are of."""
    from faceneuro.features.crops import decode
    from faceneuro.studies.synthesis import Faces, resampled

    faces = Faces.load(finished / STUDY / "faces.npy", finished / STUDY / "faces.parquet")
    pairs = read_table(finished / STUDY / "pairs.parquet")
    scores = read_table(finished / STUDY / "copy_style" / "scores.parquet")
    scores = scores[(scores["metric"] == "psnr") & (scores["against"] == "target")].set_index("pair")["value"]
    for row in read_table(finished / STUDY / "targets.parquet", ["pair", "png"]).itertuples():
        style = faces.images[pairs.at[row.pair, "style"]].astype(float)
        target = resampled(decode(row.png), faces.images.shape[1]).astype(float)
        assert scores[row.pair] == pytest.approx(10 * np.log10(255**2 / ((style - target) ** 2).mean()), abs=1e-3)


def test_a_row_by_itself_trains_itself_only(tmp_path):
    planned = run(tmp_path, f"{STUDY}/ccfexp_no_cycle/scores.parquet", config=CONFIG, dryrun=True)
    counts = Counter(planned.rules)
    assert (counts["train_generator"], counts["sample_faces"], counts["score_synthesis"]) == (1, 2, 1)
    assert counts["train_extractor"] == 3


def changed(finished: Path, tmp_path: Path, key: str, value) -> Counter:
    here = copy(finished, tmp_path / "run")
    return Counter(run(here, "synthesis", config=over(CONFIG, f"studies.synthesis.{key}", value), dryrun=True).rules)


def test_another_row_leaves_the_others_alone(finished, tmp_path):
    counts = changed(finished, tmp_path, "models", ["dcface_3x3", "ccfexp_no_landmarks", "ccfexp"])
    assert (counts["train_generator"], counts["sample_faces"], counts["score_synthesis"]) == (1, 2, 1)
    assert not counts["train_extractor"] + counts["gather_faces"] + counts["look_at_faces"]
    assert counts["tabulate_synthesis"] == counts["plot_synthesis"] == 1


def test_other_sampling_trains_nothing(finished, tmp_path):
    counts = changed(finished, tmp_path, "sampling.eta", 0.0)
    assert counts["sample_faces"] == 4
    assert not counts["train_generator"] + counts["train_extractor"]


def test_a_row_may_start_from_another(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    config = over(CONFIG, "studies.synthesis.start_from", "dcface_3x3")
    ran = run(here, f"{STUDY}/ccfexp/model.safetensors", config=config)
    assert ran.succeeded, ran.messages
    assert ran.rules == ["train_generator"]
    ours, alone = (load_file(folder / STUDY / "ccfexp/model.safetensors") for folder in (here, finished))
    assert any(not np.array_equal(ours[name], alone[name]) for name in ours if name.startswith("unet."))


def test_training_killed_goes_on_from_its_checkpoint_to_equal_weights(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    folder = here / STUDY / "ccfexp"
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    many = over(CONFIG, "studies.synthesis.training.steps", 2000)
    (here / "config.yaml").write_text(yaml.safe_dump({"assets": {"folder": str(ASSETS)}} | many))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml"]
    target = f"{STUDY}/ccfexp/model.safetensors"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    process = subprocess.Popen([*command, "--cores", "1", target], cwd=here, **quiet)
    while process.poll() is None and not (folder / "checkpoint.safetensors").exists():
        time.sleep(0.02)
    assert process.poll() is None, said(here, "train_generator/ccfexp.log")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "model.safetensors").exists()
    taken = len(load_file(folder / "checkpoint.safetensors")["history"])
    assert 2 <= taken < 2000
    steps = taken + 3
    ran = run(here, target, config=over(CONFIG, "studies.synthesis.training.steps", steps))
    assert ran.succeeded, ran.messages
    assert f"going on after step {taken}" in said(here, "train_generator/ccfexp.log")
    assert len(pd.read_csv(folder / "history.csv")) == steps
    whole = copy(finished, tmp_path / "whole")
    (whole / STUDY / "ccfexp" / "checkpoint.safetensors").unlink()
    ran = run(whole, target, config=over(CONFIG, "studies.synthesis.training.steps", steps))
    assert ran.succeeded, ran.messages
    resumed, uninterrupted = (load_file(place / target) for place in (here, whole))
    assert resumed.keys() == uninterrupted.keys()
    for name, value in resumed.items():
        np.testing.assert_array_equal(value, uninterrupted[name], name)


def test_pairs_of_a_users_own_are_made_and_no_others(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    known = read_table(here / STUDY / "pairs.parquet").iloc[[1, 0]]
    columns = [f"{part}_{name}" for part in ("identity", "style") for name in ("subject", "clip")]
    known[columns].to_csv(here / "mine.csv", index=False)
    config = over(CONFIG, "studies.synthesis.pairs.table", "mine.csv")
    ran = run(here, f"{STUDY}/ccfexp/there.parquet", config=config)
    assert ran.succeeded, ran.messages
    assert sorted(ran.rules) == ["pair_faces", "sample_faces"]
    made = read_table(here / STUDY / "ccfexp/there.parquet")
    pd.testing.assert_frame_equal(made[columns], known[columns].reset_index(drop=True))
    known[columns].assign(style_subject="nobody").to_csv(here / "mine.csv", index=False)
    ran = run(here, f"{STUDY}/pairs.parquet", config=config)
    assert not ran.succeeded
    assert "mine.csv, line 2: style_subject 'nobody' is no face of the study" in said(here, "pair_faces.log")


def test_a_data_set_is_written_with_what_its_users_must_know(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    ran = run(here, "synthesis_dataset", config=CONFIG)
    assert ran.succeeded, ran.messages
    assert "train_generator" not in ran.rules
    folder = here / "results/datasets/synthetic_palsy"
    table = pd.read_csv(folder / "metadata.csv")
    assert len(table) == len(list((folder / "images").glob("*.png"))) == 9
    assert all((folder / file).is_file() for file in table["file"])
    assert (table["identity_subject"] != table["style_subject"]).all()
    assert not table.duplicated(["identity_clip", "identity_frame", "style_clip", "style_frame"]).any()
    assert len(read_table(folder / "metadata.parquet")) == 9
    sheet = (folder / "datasheet.md").read_text()
    assert "virtual person" in sheet
    assert "DO NOT PUBLISH" not in sheet
    assert (folder / "examples.png").stat().st_size > 0
    ran = run(here, "synthesis_dataset", config=over(CONFIG, "studies.synthesis.dataset.images", 100_000))
    assert not ran.succeeded
    assert "config key studies.synthesis.dataset.images: 100000" in said(here, "pair_dataset.log")


def test_synthetic_pictures_enter_the_training_of_the_palsy_study(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    ran = run(here, "augmentation", config=WITH_PALSY)
    assert ran.succeeded, ran.messages
    counts = Counter(ran.rules)
    assert not counts["train_generator"] + counts["train_extractor"] + counts["train_palsy_fold"]
    assert counts["train_augmented_fold"] == 6
    conditions = read_table(here / STUDY / "augmentation/conditions.parquet")
    learnt = read_table(here / STUDY / "faces.parquet").query("role == 'train'")["subject"]
    assert set(conditions["style_subject"]) <= set(learnt)
    assert (conditions["identity_cohort"] == "virtual_palsy").all()
    assert sorted(conditions["identity_subject"]) == sorted(conditions["identity_subject"].unique())
    folds = {arm: here / STUDY / f"augmentation/{arm}" for arm in ("none", "generated_1", "warp_1")}
    tested = [read_table(sorted(path.glob("*.parquet")))["subject"].tolist() for path in folds.values()]
    assert tested[0] == tested[1] == tested[2]
    table = pd.read_csv(here / "results/tables/augmentation.csv")
    rows = table[(table["kind"] == "row") & (table["metric"] == "f1")].drop_duplicates("model").set_index("model")
    assert set(rows.index) == set(folds)
    people = read_table(here / "results/studies/palsy/grouped/folds.parquet").query("role == 'train'")
    people = people.groupby("fold")["subject"].nunique()
    assert rows.loc["generated_1", ["added_least", "added_most"]].tolist() == [people.min(), people.max()]
    text = (here / "results/tables/augmentation.md").read_text()
    assert "Generated by ccfexp, size smoke, 4 steps of training" in text


def test_people_whom_the_generator_learnt_from_are_not_tested(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    seed = yaml.safe_load((ROOT / "config/config.yaml").read_text())["cohorts"]["virtual_faces"]["seed"]
    ran = run(here, "augmentation", config=over(WITH_PALSY, "cohorts.virtual_palsy.seed", seed))
    assert not ran.succeeded
    assert "cohorts with the same seed have the same people" in said(here, "plan_augmentation.log")
    assert "train_augmented_fold" not in ran.rules


def test_augmentation_without_a_palsy_study_is_refused(tmp_path):
    ran = run(tmp_path, "augmentation", config=CONFIG, dryrun=True)
    assert not ran.succeeded
    assert "config key studies.palsy: there is no palsy study" in ran.error + ran.messages


def test_too_few_people_are_told(tmp_path):
    config = over(CONFIG, "cohorts.virtual_faces.groups", {"healthy": 1, "palsy": 1})
    ran = run(tmp_path, f"{STUDY}/faces.npy", config=config)
    assert not ran.succeeded
    assert "config key studies.synthesis.groups.positive: 1 people" in said(tmp_path, "gather_faces.log")


def test_a_training_that_diverges_says_so_and_keeps_its_checkpoint(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    folder = here / STUDY / "dcface_3x3"
    kept = (folder / "checkpoint.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    config = over(CONFIG, "studies.synthesis.training.learning_rate", 1.0e30)
    ran = run(here, f"{STUDY}/dcface_3x3/model.safetensors", config=config)
    assert not ran.succeeded
    told = said(here, "train_generator/dcface_3x3.log")
    assert "config key studies.synthesis.training.learning_rate" in told
    assert "with images of" in told
    assert (folder / "checkpoint.safetensors").read_bytes() == kept


def test_a_file_of_the_wrong_network_is_refused_by_its_key(finished, tmp_path):
    here = copy(finished, tmp_path / "run")
    wrong = here / STUDY / "extractors/landmarks.safetensors"
    config = over(CONFIG, "studies.synthesis.extractors.identity", str(wrong))
    ran = run(here, f"{STUDY}/seen.safetensors", config=config)
    assert not ran.succeeded
    assert "config key studies.synthesis.extractors.identity" in said(here, "look_at_faces.log")
