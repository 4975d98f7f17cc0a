"""Copies of data sets, as virtual patients fill them, through the presets: intake, plan, and the papers' studies."""

import pandas as pd
import pytest

from data_set_trees import MAKERS, Blank
from faceneuro.tables import read_table
from running import PRESETS, run

pytestmark = pytest.mark.workflow

FOLDERS = {"yfp": "YFP", "ck_plus": "CK+", "pdfe": "PDFE", "rafd": "RaFD", "oulu_casia": "Oulu-CASIA", "tfed": "TFED",
           "aflfp": "AFLFP", "meei": "MEEI"}  # fmt: skip
"""What the presets of papers with several data sets call their folders."""

PAPERS = {
    "als_neuroface": ("als", ["neuroface"]),
    "palsy_yfp_ckplus": ("palsy", ["yfp", "ck_plus"]),
    "parkinson_pdfe": ("parkinson", ["pdfe", "rafd", "oulu_casia", "tfed"]),
    "synthesis_aflfp_meei": ("synthesis", ["aflfp", "meei"]),
}
QUICK = {"features": {"flow": {"grid": [24, 32]}}}
BOOTSTRAP = {"bootstrap": {"resamples": 100}}
# With so few people nobody can be set aside to choose an epoch by.
FEW = {"fnn": {"epochs": 2, "select": "last"}}
PARKINSON = {
    "protocols": {"grouped": {"folds": 2, "validation_fraction": 0.5}, "sources": None},
    "models": ["attention_fusion"],
    "stages": {"early": [0, 1], "mid_late": [2]},
    "backbones": {"resnet": {"weights": "none", "pixels": 32}},
    "training": {"epochs": 1, "select": "last"},
    "repeats": 1,
    **BOOTSTRAP,
}


def made(kind, root, pool, **options):
    """A tree of a data set, its folder, and its block of the configuration."""
    tree = MAKERS[kind](root, pool, **options)
    return tree, {"root": str(tree.root.resolve())}


def test_every_data_set_and_every_paper_has_a_preset():
    assert {f"{name}.yaml" for name in (*MAKERS, *PAPERS)} <= {path.name for path in PRESETS.glob("*.yaml")}


@pytest.mark.parametrize("kind", MAKERS)
def test_the_preset_of_a_data_set_is_planned_on_a_small_copy(kind, tmp_path):
    tree, place = made(kind, tmp_path / "data", Blank())
    planned = run(tmp_path, config=place, presets=[kind], dryrun=True)
    assert planned.succeeded, planned.error
    assert 1 <= planned.rules.count("detect_landmarks") <= len(tree.subjects)
    assert "tabulate_intake" in planned.rules


@pytest.mark.parametrize("kind", MAKERS)
def test_without_a_copy_a_preset_says_where_to_name_it(kind, tmp_path):
    planned = run(tmp_path, "intake", config={"root": "nowhere"}, presets=[kind], dryrun=True)
    assert not planned.succeeded
    assert "--config root=" in planned.error + planned.messages


@pytest.mark.parametrize("preset", PAPERS)
def test_the_preset_of_a_paper_is_planned_on_small_copies(preset, tmp_path):
    study, kinds = PAPERS[preset]
    config = plan(preset, kinds, tmp_path, Blank(), OPTIONS[preset])
    planned = run(tmp_path, study, config=config, presets=[preset], dryrun=True)
    assert planned.succeeded, planned.error
    assert f"tabulate_{study}" in planned.rules


def plan(preset, kinds, folder, pool, options=None):
    """The configuration that a user lays over the preset of a paper, for small trees in the folders that it names."""
    data = folder / "data"
    blocks = {}
    trees = {}
    for place, kind in enumerate(kinds):
        root = data / FOLDERS.get(kind, "")
        root.mkdir(parents=True, exist_ok=True)
        # Nobody sits for two data sets.
        tree = MAKERS[kind](root, pool, **({"first": 10 * place} | (options or {}).get(kind, {})))
        trees[kind] = tree
        blocks[kind] = {name: value for name, value in tree.cohort.items() if name in ("labels", "boxes")}
        blocks[kind]["root"] = str(tree.root.relative_to(data))
    config = {"root": str(data), "cohorts": blocks}
    if preset == "als_neuroface":
        config |= QUICK
        config["studies"] = {"als": {"models": ["logistic_regression"], "reduction": {"components": 4}, **BOOTSTRAP}}
    elif preset == "palsy_yfp_ckplus":
        config["studies"] = {"palsy": {"models": ["handcrafted_fnn"], "training": FEW, **BOOTSTRAP}}
    elif preset == "parkinson_pdfe":
        config["cohorts"]["virtual_expressions"] = None
        config["studies"] = {"parkinson": PARKINSON}
    else:
        # Three steps of the smallest networks; whether they draw faces is no question of this test.
        few = {"steps": 3, "batch_size": 4}
        config["studies"] = {
            "synthesis": {
                "size": "smoke",
                "models": ["ccfexp"],
                "test_fraction": 0.4,
                "extractor_training": few,
                "training": few,
                "sampling": {"steps": 2},
                **BOOTSTRAP,
            }
        }
    return config


@pytest.fixture(scope="module")
def all_sets(tmp_path_factory):
    """Every data set at once, looked through by one call."""
    workdir = tmp_path_factory.mktemp("all")
    trees = {kind: MAKERS[kind](workdir / "data" / kind, Blank()) for kind in MAKERS}
    config = {
        "cohorts": dict.fromkeys(
            ["virtual_als", "virtual_palsy", "virtual_parkinson", "virtual_expressions", "virtual_faces"]
        )
        | {kind: tree.cohort for kind, tree in trees.items()},
        "studies": dict.fromkeys(["als", "palsy", "parkinson", "synthesis"]),
        "meta_analysis": None,
    }
    done = run(workdir, "intake", config=config)
    assert done.succeeded, done.messages
    return workdir, trees, config, done


def test_intake_measures_nothing(all_sets):
    assert set(all_sets[3].rules) == {"examine_copy", "tabulate_intake", "intake"}


@pytest.mark.parametrize("kind", MAKERS)
def test_intake_accounts_for_every_file_and_says_it_in_a_sentence(kind, all_sets):
    workdir, trees, _, _ = all_sets
    files = read_table(workdir / f"results/cohorts/{kind}/files.parquet")
    on_disk = {str(path.relative_to(trees[kind].root)) for path in trees[kind].root.rglob("*") if not path.is_dir()}
    on_disk |= {str(path.relative_to(trees[kind].root)) for path in trees[kind].root.rglob("*") if path.is_symlink()}
    assert set(files["path"]) == on_disk
    assert files["path"].is_unique
    assert (files["clip"].isna() == files["reason"].notna()).all()
    text = (workdir / "results/tables/intake.md").read_text()
    assert f"\n\n{kind} (" in text


def test_intake_names_damaged_files_and_missing_people(all_sets):
    workdir, trees, _, _ = all_sets
    findings = read_table([workdir / f"results/cohorts/{kind}/intake.parquet" for kind in MAKERS])
    notes = findings[findings["section"] == "note"].groupby("cohort")["what"].agg(" ".join)
    for kind, tree in trees.items():
        # Whether a video or a TIFF is whole is only seen by decoding it.
        unseen = (".mp4", ".mov", ".avi", ".tiff")
        pictures = [path for path in tree.damaged if not str(path).lower().endswith(unseen)]
        for path in pictures:
            assert str(path).rpartition("/")[2] in notes[kind], (kind, path)
    missing = findings[(findings["section"] == "missing") & (findings["cohort"] == "neuroface")]["what"]
    assert "A017" in set(missing)
    assert "A002" not in set(missing) or "A002" not in trees["neuroface"].subjects


def test_a_second_intake_does_nothing_and_a_new_file_is_seen(all_sets):
    workdir, trees, config, _ = all_sets
    assert run(workdir, "intake", config=config).rules == []
    (trees["jaffe"].root / "extra.txt").write_text("new")
    again = run(workdir, "intake", config=config, dryrun=True)
    assert again.rules.count("examine_copy") == 1


OPTIONS = {
    "als_neuroface": {"neuroface": {"people": 3, "tasks": ("NSM_OPEN",), "frames": 9, "videos": False, "odd": False}},
    "palsy_yfp_ckplus": {"yfp": {"people": 3}, "ck_plus": {"people": 3}},
    "parkinson_pdfe": {
        "pdfe": {"people": 6},
        "rafd": {"people": 3},
        "oulu_casia": {"people": 2},
        "tfed": {"people": 2},
    },
    "synthesis_aflfp_meei": {"aflfp": {"people": 3}, "meei": {"normal": 1, "flaccid": 3, "synkinetic": 1}},
}


@pytest.mark.parametrize("preset", PAPERS)
def test_the_study_of_a_paper_runs_on_copies_of_its_data_sets(preset, tmp_path, filmed):
    study, kinds = PAPERS[preset]
    config = plan(preset, kinds, tmp_path, filmed, OPTIONS[preset])
    before = states(tmp_path / "data")
    done = run(tmp_path, study, config=config, presets=[preset])
    assert done.succeeded, done.messages[-6000:] + done.error
    table = pd.read_csv(tmp_path / f"results/tables/{study}.csv")
    assert len(table)
    text = (tmp_path / f"results/tables/{study}.md").read_text()
    assert " + ".join(kinds) in text
    assert "virtual" not in text.partition("## ")[0].lower(), "a copy of a data set is not called virtual"
    assert states(tmp_path / "data") == before, "recordings are only read"
    if study != "synthesis":
        predictions = read_table(sorted(tmp_path.glob(f"results/studies/{study}/grouped/**/predictions.parquet")))
        assert set(predictions["cohort"]) <= set(kinds)
        assert predictions.groupby("cohort")["subject"].nunique().min() >= 1


def states(folder):
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_palsynet_serves_the_palsy_study_with_both_classes_of_one_source(tmp_path, filmed):
    _, place = made("palsynet", tmp_path / "data", filmed, odd=False)
    study = {"cohort": "palsynet", "models": ["handcrafted_fnn"], "training": FEW, **BOOTSTRAP}
    done = run(tmp_path, "palsy", config=place | {"studies": {"palsy": whole("palsy", study)}}, presets=["palsynet"])
    assert done.succeeded, done.messages[-6000:] + done.error
    assert "palsynet" in (tmp_path / "results/tables/palsy.md").read_text()


def test_gestures_can_play_the_part_of_expressions(tmp_path, filmed):
    """PFED5 has five gestures and no healthy person; JAFFE has expressions and nobody ill."""
    pfed5 = MAKERS["pfed5"](tmp_path / "data" / "pfed5", filmed, people=6)
    jaffe = MAKERS["jaffe"](tmp_path / "data" / "jaffe", filmed, people=3, first=10)
    cohorts = {
        "pfed5": pfed5.cohort
        | {"rename": {"task": {"smile": "happiness", "frown": "anger", "clench teeth": "disgust"}}},
        "jaffe": jaffe.cohort,
    }
    severities = "subject,severity\n" + "".join(
        f"{name},{1 + place % 2}\n" for place, name in enumerate(pfed5.subjects)
    )
    (tmp_path / "severity.csv").write_text(severities)
    cohorts["pfed5"]["labels"] = [str(tmp_path / "severity.csv")]
    study = whole("parkinson", PARKINSON | {"cohort": ["pfed5", "jaffe"]})
    config = {"cohorts": cohorts, "studies": {"parkinson": study}}
    refused = run(tmp_path, "parkinson", config=config, presets=["pfed5"], dryrun=True)
    assert not refused.succeeded
    assert "studies.parkinson.tasks: not every group did fear, sadness, surprise" in refused.error + refused.messages
    assert "lower studies.parkinson.least_expressions to 3" in refused.error + refused.messages
    study["least_expressions"] = 3
    done = run(tmp_path, "parkinson", config=config, presets=["pfed5"])
    assert done.succeeded, done.messages[-6000:] + done.error
    samples = read_table(tmp_path / "results/studies/parkinson/samples.parquet")
    places = [list(images) for images in samples["images"]]
    assert all(sum(row >= 0 for row in images) == 3 for images in places), "what one group did not do is empty for all"


def whole(study, changes):
    """A study of the default configuration, changed: a preset of a data set has removed it."""
    from running import DEFAULT
    from test_config import merged

    return merged(DEFAULT["studies"][study], changes)


def test_one_folder_in_two_cohorts_of_a_study_is_refused(tmp_path):
    _, place = made("palsynet", tmp_path / "data", Blank())
    other = {"kind": "palsynet", "root": "."}
    study = whole("palsy", {"cohort": ["palsynet", "again"]})
    config = place | {"cohorts": {"again": other}, "studies": {"palsy": study}}
    planned = run(tmp_path, "palsy", config=config, presets=["palsynet"], dryrun=True)
    assert not planned.succeeded
    assert "a person would be in the study twice" in planned.error + planned.messages
