"""The workflow as its users call it, on tiny virtual cohorts and on the default one."""

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import yaml

from faceneuro.cohorts.virtual.patients import recruit
from faceneuro.cohorts.virtual.record import record_clip
from faceneuro.evaluation.audits import held_out
from faceneuro.tables import KEYS, provenance_of, read_table
from faceneuro.training.fit import load_weights
from faceneuro.training.reduction import Reduction
from faceneuro.video.encoding import encode
from running import ASSETS, CONFINED, DEFAULT, NO_COHORT, NO_STUDY, ROOT, run, run_offline

pytestmark = pytest.mark.workflow

TINY = {
    "cohorts": {
        **NO_COHORT,
        "virtual_als": {"groups": {"healthy": 3, "als": 3}, "tasks": ["open"], "seconds": 1.0, "subjects_per_shard": 2},
    },
    "features": {"flow": {"grid": [24, 32]}},
    "studies": {
        **NO_STUDY,
        "als": {
            "protocols": {"grouped": {"folds": 2}},
            "models": ["dual_branch", "logistic_regression"],
            "reduction": {"components": 4},
            "training": {"epochs": 3, "select": "last"},
            "repeats": 2,
            "bootstrap": {"resamples": 100},
        },
    },
    # Tested by itself, in test_meta_workflow.py.
    "meta_analysis": None,
}
KEPT = TINY | {"features": TINY["features"] | {"frames": {"keep": True}}}
FOLD0 = "results/studies/als/grouped/dual_branch/fold0"


def over(base: dict, key: str, value) -> dict:
    """A copy of a configuration with one key, given by its path, changed."""
    name, _, rest = key.partition(".")
    return base | {name: over(base.get(name, {}), rest, value) if rest else value}


def tables(workdir: Path) -> dict[str, pd.DataFrame]:
    """Every table that a run made, by its path."""
    results = workdir / "results"
    paths = [path for path in sorted(results.rglob("*.parquet")) if path.parent.name != "frames"]
    made = {str(path.relative_to(results)): read_table(path) for path in paths}
    return made | {str(p.relative_to(results)): pd.read_csv(p) for p in sorted(results.rglob("*.csv"))}


def assert_equal(some: dict[str, pd.DataFrame], others: dict[str, pd.DataFrame]) -> None:
    assert list(some) == list(others)
    for name, table in some.items():
        pd.testing.assert_frame_equal(table, others[name], obj=name)


def copy(workdir: Path, target: Path) -> Path:
    """A copy of a finished run, with the times by which Snakemake knows that it is finished."""
    shutil.copytree(workdir, target, copy_function=shutil.copy2, symlinks=True)
    return target


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run on the tiny cohort that kept its frames; not to be changed."""
    workdir = tmp_path_factory.mktemp("tiny")
    ran = run(workdir, config=KEPT)
    assert ran.succeeded, ran.messages
    return workdir


@pytest.fixture(scope="module")
def again(tmp_path_factory, landmarker_model, heads) -> Path:
    """A second run from scratch, on one core, by the command, and kept from the internet; assets are in place."""
    workdir = tmp_path_factory.mktemp("again")
    ran = run_offline(workdir, TINY, cores=1)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return workdir


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    """A copy of the finished run to do things to."""
    return copy(finished, tmp_path / "run")


def test_the_default_target_makes_tables_figures_and_a_summary(finished):
    results = finished / "results"
    for name in ("claims", "als", "audits", "quality", "measurement_validation"):
        for suffix in ("csv", "md", "tex"):
            assert (results / "tables" / f"{name}.{suffix}").stat().st_size > 0
    assert list((results / "figures").glob("als_*.png"))
    assert (results / "figures" / "virtual_als_contact_sheet.png").exists()
    assert "results/tables/als.md" in (results / "summary.md").read_text()


def test_every_job_leaves_a_log_and_a_benchmark(finished):
    logs = {path.relative_to(finished / "logs").with_suffix("") for path in (finished / "logs").rglob("*.log")}
    benchmarks = {p.relative_to(finished / "benchmarks").with_suffix("") for p in finished.glob("benchmarks/**/*.tsv")}
    assert logs == benchmarks
    assert len(logs) > 20


def test_results_hold_no_frames_unless_asked_to(finished, again):
    assert not list(again.glob("results/cohorts/*/frames/*"))
    assert len(list(finished.glob("results/cohorts/*/frames/*.parquet"))) == 3


def test_a_table_says_what_made_it(finished):
    origin = provenance_of(finished / f"{FOLD0}/predictions.parquet")
    assert origin["rule"] == "train_als_fold"
    assert origin["wildcards"] == {"protocol": "grouped", "model": "dual_branch", "fold": "0"}
    assert origin["params"]["training"]["epochs"] == 3
    assert len(origin["params"]["code"]) == 12


def test_keys_come_first_in_every_table(finished):
    for path in finished.rglob("results/cohorts/**/*.parquet"):
        columns = list(read_table(path).columns)
        assert tuple(columns[: 4 if "frame" in columns else 3]) == KEYS[: 4 if "frame" in columns else 3], path


def test_every_number_stands_beside_the_published_one_and_names_its_cohort(finished):
    table = pd.read_csv(finished / "results/tables/als.csv")
    accuracy = table[(table["row"] == "accuracy") & (table["metric"] == "accuracy") & (table["model"] == "dual_branch")]
    assert set(accuracy["protocol"]) == {"published", "grouped"}
    assert set(accuracy["published"]) == {0.92}
    results = table[table["kind"] != "claim"]
    assert set(results["cohort"]) == {"virtual_als"}
    assert results["cohort_note"].str.contains("virtual").all()
    assert "virtual" in (finished / "results/tables/als.md").read_text()
    assert "virtual" in (finished / "results/tables/als.tex").read_text()


def test_the_study_is_audited_and_the_table_says_how_often_it_was_looked_at(finished):
    audits = read_table(finished / "results/studies/als/audits.parquet")
    gap = audits.set_index("audit").loc["random frames held out, against subjects held out"]
    metrics = read_table(finished / "results/studies/als/metrics.parquet")
    pooled = metrics.query("model == 'dual_branch' and level == 'frame' and aggregation == 'pooled'")
    accuracy = pooled[pooled["metric"] == "balanced_accuracy"].set_index("protocol")["value"]
    assert gap["value"] == pytest.approx(accuracy["published"] - accuracy["grouped"])
    lead = (finished / "results/tables/audits.md").read_text().split("## ")[0]
    assert f"{len(audits)} looks at the same subjects" in lead
    assert "virtual cohort" in lead


def test_the_report_answers_for_every_claim_and_shows_every_figure(finished):
    page = html.unescape((finished / "results/report/index.html").read_text(encoding="utf-8"))
    claims = pd.read_csv(finished / "results/tables/claims.csv")
    assert {"als"} <= set(claims["study"])
    for claim in claims.itertuples():
        assert claim.claim in page
        # The first sentence decides; what follows is folded.
        assert all(part in page for part in re.split(r"(?<=\.) (?=[A-Z])", claim.why, maxsplit=1))
        assert f">{claim.verdict}</strong>" in page or f">{claim.verdict} with reservations</strong>" in page
    for sentence in pd.read_csv(finished / "results/tables/audits.csv")["sentence"]:
        assert sentence in page
    drawn = [*finished.glob("results/figures/*.svg")]
    sheets = [*finished.glob("results/figures/*_contact_sheet.png")]
    assert len(drawn) >= 5
    assert page.count("<img ") == len(drawn) + len(sheets)
    assert "Every face in this run was rendered" in page


def test_another_seed_is_another_network_on_the_same_fold_and_audited(finished):
    first, second = (finished / FOLD0, finished / FOLD0.replace("grouped", "repeats/2/grouped"))
    assert provenance_of(second / "predictions.parquet")["params"]["training"]["seed"] == 2
    one, other = (read_table(each / "predictions.parquet") for each in (first, second))
    pd.testing.assert_frame_equal(one.drop(columns="probability"), other.drop(columns="probability"))
    assert (one["probability"] != other["probability"]).any()
    assert (first / "model.safetensors").read_bytes() != (second / "model.safetensors").read_bytes()
    audits = read_table(finished / "results/studies/als/audits.parquet").set_index("audit")
    seeds = audits.loc["trainings with other seeds, against each other"]
    # Both trainings were looked at: of one alone it would say so.
    assert (seeds["grade"], seeds["sentence"]) == (
        "not told",
        "6 subjects are too few to judge by, whatever the seed.",
    )


def test_more_repeats_train_no_fold_again_that_is_there(workdir):
    more = Counter(run(workdir, config=over(KEPT, "studies.als.repeats", 4), dryrun=True).rules)
    assert (more["repeat_als_fold"], more["train_als_fold"], more["audit_study"]) == (4, 0, 1)
    fewer = run(workdir, config=over(KEPT, "studies.als.repeats", 1), dryrun=True).rules
    assert "audit_study" in fewer
    assert not {"repeat_als_fold", "train_als_fold", "evaluate_study"} & set(fewer)


def test_a_second_call_does_nothing(workdir):
    ran = run(workdir, config=KEPT)
    assert ran.succeeded
    assert ran.rules == []


@pytest.mark.parametrize("file", ["tables/quality.md", "tables/als.csv", "figures/als_roc.svg", "config.yaml"])
def test_a_deleted_result_is_missed_by_the_next_call(finished, tmp_path, file):
    here = copy(finished, tmp_path / "run")
    (here / "results" / file).unlink()
    planned = run(here, config=KEPT, dryrun=True)
    assert planned.succeeded
    assert "record_run" in planned.rules
    assert not set(planned.rules) & {"train_als_fold", "detect_landmarks"}


def test_one_fold_is_a_target_of_its_own(tmp_path, finished):
    ran = run(tmp_path, f"{FOLD0}/predictions.parquet", config=TINY)
    assert ran.succeeded, ran.messages
    assert ran.rules.count("train_als_fold") == 1
    assert ran.rules.count("fit_reduction") == 1
    pd.testing.assert_frame_equal(
        read_table(tmp_path / f"{FOLD0}/predictions.parquet"), read_table(finished / f"{FOLD0}/predictions.parquet")
    )


def test_a_deleted_fold_is_the_only_one_to_run_again(workdir):
    before = read_table(workdir / f"{FOLD0}/predictions.parquet")
    (workdir / f"{FOLD0}/predictions.parquet").unlink()
    ran = run(workdir, f"{FOLD0}/predictions.parquet", config=KEPT)
    assert ran.rules == ["train_als_fold"]
    pd.testing.assert_frame_equal(read_table(workdir / f"{FOLD0}/predictions.parquet"), before)


def rules_after(workdir: Path, key: str, value) -> set[str]:
    return set(run(workdir, config=over(KEPT, key, value), dryrun=True).rules)


def test_a_changed_learning_rate_trains_again_and_measures_nothing_again(workdir):
    rules = rules_after(workdir, "studies.als.training.learning_rate", 0.01)
    assert "train_als_fold" in rules
    assert rules.isdisjoint({"render_patients", "decode_frames", "detect_landmarks", "compute_flow", "fit_reduction"})


def test_a_changed_flow_parameter_leaves_the_landmarks(workdir):
    rules = rules_after(workdir, "features.flow.farneback.winsize", 21)
    assert {"compute_flow", "multiply_flow", "train_als_fold"} <= rules
    assert rules.isdisjoint({"render_patients", "detect_landmarks"})


def test_a_larger_group_leaves_the_shards_before_it(workdir):
    ran = run(workdir, config=over(KEPT, "cohorts.virtual_als.groups", {"healthy": 4, "als": 4}), dryrun=True)
    assert ran.rules.count("render_patients") == 1
    assert ran.rules.count("detect_landmarks") == 1


def test_changed_code_runs_again_what_uses_it(finished, tmp_path):
    checkout = tmp_path / "checkout"
    for name in ("src", "workflow", "config", "resources/published", "profiles", "envs"):
        shutil.copytree(ROOT / name, checkout / name)
    shutil.copy2(ROOT / "Snakefile", checkout)
    here = copy(finished, tmp_path / "run")

    def planned() -> set[str]:
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            checkout / "Snakefile",
            "--dry-run",
            "--quiet",
            "progress",
        ]
        text = subprocess.run(
            [*command, "--configfile", "config.yaml", "--cores", "1"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return {line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith(("rule ", "localrule "))}

    # The printed numbers belong to the checkout, so in another one their table is made from another file.
    tables = {"tabulate_als", "tabulate_claims", "plot_published"}
    assert planned() == tables | {"summarise", "record_run", "write_report", "all"}
    with (checkout / "src/faceneuro/features/flow.py").open("a") as source:
        source.write("\n# A change.\n")
    rules = planned()
    assert {"compute_flow", "multiply_flow", "train_als_fold", "tabulate_als"} <= rules
    assert rules.isdisjoint({"render_patients", "decode_frames", "detect_landmarks"})


@pytest.mark.skipif(not CONFINED, reason="the filter is for Linux on x86-64")
def test_the_whole_workflow_runs_without_ever_opening_an_internet_socket(again):
    """From recordings to tables, in compiled code too, nobody tries to call out: who does is killed."""
    assert (again / "results" / "summary.md").exists()


def test_the_report_of_snakemake_has_every_table_and_figure_once_with_its_caption(again, tmp_path):
    ran = run_offline(again, TINY, "--report", str(tmp_path / "report.zip"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    with ZipFile(tmp_path / "report.zip") as packed:
        page = packed.read("report/report.html").decode()
        files = {Path(name).name: packed.read(name) for name in packed.namelist() if "/data/" in name}
    results, categories, described = (
        json.loads(re.search(rf'<script id="{part}">\s*var \w+ = (.*);\n', page)[1])
        for part in ("results", "categories", "workflow-desc")
    )
    made = [path for part in ("tables", "figures", "report") for path in (again / "results" / part).iterdir()]
    assert files == {path.name: path.read_bytes() for path in made}
    listed = [path for parts in categories.values() for paths in parts.values() for path in paths]
    assert sorted(listed) == sorted(str(path.relative_to(again)) for path in made)
    assert set(categories) == {"ALS", "Recordings", "Whole run"}
    assert categories["ALS"]["Tables"] == [f"results/tables/als.{suffix}" for suffix in ("csv", "md", "tex")]
    for text in (described, *(result["caption"] for result in results.values())):
        assert "virtual" in text.lower()
        assert "system-message" not in text
    assert results["results/figures/als_roc.svg"]["labels"] == {"study": "ALS", "figure": "ROC curves", "format": "svg"}


def test_two_runs_are_compared_and_what_was_only_set_otherwise_is_told(finished, again, tmp_path):
    here = copy(again, tmp_path / "run")
    ran = run_offline(here, TINY, "compare", "--config", f"against={finished / 'results'}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = pd.read_csv(here / "results/comparison/comparison.csv")
    assert set(rows["found"]) == {"equal"}
    assert set(rows["table"]) == {"als", "audits", "measurement_validation", "quality"}
    assert (rows["verdict_here"].notna() & (rows["kind"] == "claim")).any()
    assert "claims that are judged in both runs have the same verdict." in ran.stdout
    said = (here / "results/comparison/comparison.md").read_text()
    assert "| Setting features.frames.keep | True | False |" in said
    assert "The same recordings in both runs: virtual_als." in said
    # Nothing of the run is made again, and it does not keep with what it was compared.
    again_made = (here / "results/provenance.json").read_bytes()
    assert again_made == (again / "results/provenance.json").read_bytes()


def test_comparing_with_nothing_is_one_sentence(again):
    ran = run_offline(again, TINY, "compare", "--dry-run")
    assert ran.returncode != 0
    assert "config key against: there is no other run to compare with" in ran.stdout + ran.stderr


def test_two_runs_and_any_number_of_cores_give_equal_tables(finished, again):
    assert_equal(tables(again), tables(finished))


def test_a_run_killed_at_several_points_completes_to_equal_results(finished, tmp_path):
    """Each kill comes when the first trace of another step appears; nothing half-written is ever read."""
    here = tmp_path / "killed"
    here.mkdir()
    (here / "config.yaml").write_text(yaml.safe_dump({"assets": {"folder": str(ASSETS)}} | TINY))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml"]
    marks = ("recordings/*/*.mp4", "landmarks/*.part", "samples.parquet*", "fold*/history.parquet", "metrics.parquet*")
    for mark in marks:
        process = subprocess.Popen(
            [*command, "--cores", "2"],
            cwd=here,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while process.poll() is None and not list(here.glob(f"results/**/{mark}")):
            time.sleep(0.02)
        assert process.poll() is None, f"the run ended before {mark} appeared"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ran = run(here, config=TINY)
    assert ran.succeeded, ran.messages
    assert_equal(tables(here), tables(finished))
    assert not list(here.glob("results/**/*.part*"))


def test_a_mistake_in_the_configuration_is_told_before_any_job(tmp_path):
    ran = run(tmp_path, config=over(TINY, "studies.als.training.epoch", 3))
    assert not ran.succeeded
    assert "studies.als.training: unknown key 'epoch'; did you mean 'epochs'?" in ran.messages + ran.error
    assert ran.rules == []


def test_a_wrong_model_file_is_refused_by_name(finished, tmp_path):
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(b"not a model")
    config = over(TINY, "assets", {"folder": str(tmp_path / "assets"), "face_landmarker": str(wrong)})
    ran = run(tmp_path, str(tmp_path / "assets" / "face_landmarker.task"), config=config)
    assert not ran.succeeded
    log = (tmp_path / "logs/fetch_asset/face_landmarker.task.log").read_text()
    assert f"{wrong} is not the expected face_landmarker.task" in log


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, heads) -> Path:
    """A folder with a patient who is in no cohort, an empty room, a video that is none, and a note."""
    folder = tmp_path_factory.mktemp("recordings")
    cohort = DEFAULT["cohorts"]["virtual_als"] | TINY["cohorts"]["virtual_als"]
    record_clip(heads, recruit("S077", "als", 77, cohort["seed"]), "open", cohort, folder / "new.mp4")
    encode(folder / "empty room.mp4", [np.full((480, 640, 3), 120, np.uint8)] * 15, fps=15)
    (folder / "broken.mp4").write_text("not a video")
    (folder / "notes.txt").write_text("of somebody")
    return folder


@pytest.fixture(scope="module")
def scored(finished, tmp_path_factory, recordings) -> Path:
    """The finished run, on which the folder was scored."""
    workdir = copy(finished, tmp_path_factory.mktemp("scored") / "run")
    ran = run(workdir, "score", config=TINY | {"video": str(recordings)})
    assert ran.succeeded, ran.messages
    assert set(ran.rules).isdisjoint({"render_patients", "detect_landmarks", "fit_reduction", "train_als_fold"})
    return workdir


def test_a_folder_is_scored_its_good_recordings_kept_and_the_others_told_why_not(scored):
    table = pd.read_csv(scored / "results/score/table.csv").set_index("file")
    assert table["outcome"].to_dict() == {
        "new.mp4": "scored",
        "empty room.mp4": "refused",
        "broken.mp4": "refused",
        "notes.txt": "left out",
    }
    assert "no face was found in any of 15 frames" in table.loc["empty room.mp4", "reason"]
    assert "not a video, whatever the file is called" in table.loc["broken.mp4", "reason"]
    assert table["probability"].notna().tolist() == [file == "new.mp4" for file in table.index]
    for name, outcome in table.loc[table["outcome"] != "left out", ["recording", "outcome"]].to_numpy():
        page = (scored / f"results/score/{name}/report.html").read_text()
        assert ("Probability of ALS" in page) == ("<svg" in page) == (outcome == "scored")
        assert "no diagnosis" in page
        for table_name in ("als_votes", "excursions"):
            rows = read_table(scored / f"results/score/{name}/{table_name}.parquet")
            assert rows.empty == (outcome == "refused")


def test_nothing_of_a_recording_is_left_but_in_its_own_folder(scored, finished, recordings):
    names = {path.name for path in (scored / "results/score").iterdir() if path.is_dir()}
    assert len(names) == 3
    assert not list(scored.glob("results/score/*/frames.parquet"))
    results = {path for path in (scored / "results").rglob("*") if path.is_file()}
    added = {str(p.relative_to(scored)) for p in results} - {str(p.relative_to(finished)) for p in finished.rglob("*")}
    others = {path for path in added if not path.startswith("results/score/")}
    assert others == {
        "results/studies/als/circumstances.parquet",
        *(f"results/studies/als/grouped/reduction/fold{fold}_axes.safetensors" for fold in range(2)),
    }
    for page in scored.glob("results/score/*/report.html"):
        assert str(recordings) not in page.read_text()


def by_hand(weights: dict[str, np.ndarray], inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The dual-branch network in plain matrix products."""

    def dense(x: np.ndarray, layer: str) -> np.ndarray:
        return x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]

    seen = []
    for name in ("landmarks", "flow"):
        hidden = np.maximum(dense(inputs[name], f"branches.{name}.0"), 0)
        seen.append(np.maximum(dense(hidden, f"branches.{name}.3"), 0))
    joint = np.maximum(dense(np.hstack(seen), "head.0"), 0)
    return 1 / (1 + np.exp(-dense(joint, "head.2")[:, 0]))


def test_the_probability_is_the_mean_of_what_every_folds_model_says_of_the_recording(scored):
    """By another way: inner products with the flow trained on, and the networks in plain matrix products."""
    folder, study = scored / "results/score/new", scored / "results/studies/als"
    cohort = read_table(sorted(scored.glob("results/cohorts/virtual_als/flow/*.parquet")))
    samples = read_table(study / "samples.parquet", [*KEYS])
    known = np.stack(samples.merge(cohort, on=list(KEYS))["magnitude"]).astype(float)
    flow = read_table(folder / "flow.parquet")
    landmarks = read_table(folder / "landmarks.parquet").set_index("frame").loc[flow["frame"]]
    mesh = np.stack(landmarks["landmarks"]).reshape(len(flow), 478, 3)[:, :468, :2] / (640, 480)
    products = np.stack(flow["magnitude"]).astype(float) @ known.T
    said = []
    for fold in range(2):
        reduction = Reduction.load(study / f"grouped/reduction/fold{fold}.safetensors")
        inputs = reduction.inputs(products, mesh.astype(np.float32).reshape(len(flow), -1))
        weights = load_weights(study / f"grouped/dual_branch/fold{fold}/model.safetensors")
        said.append(by_hand(weights, inputs).mean())
    (row,) = read_table(folder / "score.parquet").to_dict("records")
    assert row["probability"] == pytest.approx(np.mean(said), abs=1e-4)
    assert (row["lowest"], row["highest"]) == pytest.approx((min(said), max(said)), abs=1e-4)
    assert (row["folds"], row["model"], row["trained_on"]) == (2, "dual_branch", "virtual_als")
    people = held_out(
        read_table(sorted(study.glob("grouped/dual_branch/*/predictions.parquet"))), "dual_branch", "Healthy"
    )
    # So few that one bin holds them all.
    assert (row["people_alike"], row["ill_alike"]) == (len(people), people["ill"].sum()) == (6, 3)


def test_one_recording_goes_by_the_name_that_one_gives_it(scored, recordings, tmp_path):
    here = copy(scored, tmp_path / "run")
    film = {"video": str(recordings / "new.mp4"), "score": {"task": "open"}}
    ran = run(here, "results/score/visit_2/report.html", config=TINY | film, dryrun=True)
    assert ran.succeeded, ran.error
    assert "list_recording" in ran.rules
    assert "render_patients" not in ran.rules


@pytest.mark.parametrize(
    ("over_config", "target", "words"),
    [
        ({}, "score", "config key video: it does not say which recording to score"),
        ({}, "results/score/a/report.html", "config key video: it does not say which recording to score"),
        ({"video": "missing.mp4"}, "score", "config key video: there is no file or folder missing.mp4"),
        ({"video": "FOLDER"}, "results/score/a/report.html", "is called 'a'; there are"),
        (
            {"video": "FOLDER", "score": {"study": "palsy"}},
            "score",
            "config key score.study: this configuration has no",
        ),
        (
            {"video": "FOLDER", "studies": over(TINY["studies"], "als.models", ["logistic_regression"])},
            "score",
            "config key studies.als.models: dual_branch, which scores recordings, is not among them",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_before_any_job(tmp_path, recordings, over_config, target, words):
    given = {key: str(recordings) if value == "FOLDER" else value for key, value in over_config.items()}
    ran = run(tmp_path, target, config=TINY | given)
    assert not ran.succeeded
    assert words in ran.error + ran.messages
    assert ran.rules == []
