"""The meta-analysis as rules: by itself, with effect sizes of the user's, with what cannot be used."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from faceneuro.tables import read_table
from running import NO_STUDY, ROOT, run

pytestmark = pytest.mark.workflow

FIGURES = ("forest", "funnel", "galbraith", "leave_one_out", "baujat")
OWN = """# accuracies of two studies of our own
study,accuracy_pct,ci_low_pct,ci_high_pct,n,subgroup,year
Ours 2024,82.5,74.0,91.0,80,Bell's palsy,2024
Ours 2025,88.0,81.6,94.4,100,Bell's palsy,2025
Theirs 2025,71.0,62.1,79.9,100,Stroke,2025
"""
MINE = {"mine": {"published": False, "studies": [], "tables": ["mine.csv"]}}


def collections(**more) -> dict:
    return {"meta_analysis": {"collections": more}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The target by itself, with a table of the user's; not to be changed."""
    workdir = tmp_path_factory.mktemp("meta")
    (workdir / "mine.csv").write_text(OWN)
    ran = run(workdir, "meta_analysis", config=collections(**MINE))
    assert ran.succeeded, ran.messages
    assert set(ran.rules) == {
        "gather_effects", "pool_effects", "tabulate_effects", "plot_effects", "judge_review", "plot_published",
        "meta_analysis",
    }  # fmt: skip
    return workdir


def test_it_runs_alone_and_touches_no_recording(alone):
    made = {path.parts[0] for path in (p.relative_to(alone / "results") for p in alone.glob("results/*"))}
    assert made == {"meta_analysis", "tables", "figures"}
    assert not (alone / "resources").exists()


def test_neither_torch_nor_mediapipe_is_imported():
    modules = ["meta.analysis", "studies.meta_claims", "report.meta_analysis", "report.meta_figures", "studies.als"]
    code = "; ".join(f"import faceneuro.{module}" for module in modules)
    code += "; import sys; assert not {'torch', 'mediapipe', 'cv2', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT / "src")})


def test_every_table_and_figure_is_there(alone):
    for name in ("meta_analysis", *(f"meta_analysis_{c}{part}" for c in ("review", "mine") for part in ("", "_rows"))):
        for suffix in ("csv", "md", "tex"):
            assert (alone / f"results/tables/{name}.{suffix}").stat().st_size > 200
    assert (alone / "results/figures/meta_analysis_published.svg").stat().st_size > 2000
    for collection in ("review", "mine"):
        for figure in FIGURES:
            for suffix in ("png", "svg"):
                assert (alone / f"results/figures/meta_analysis_{collection}_{figure}.{suffix}").stat().st_size > 2000


def test_effect_sizes_of_the_user_run_through_the_same_rules(alone):
    pooled = read_table(alone / "results/meta_analysis/mine/pooled.parquet")
    assert pooled.iloc[0]["k"] == 3
    # With counts there is a third scale; accuracies near the middle agree on all of them.
    on = pooled.query("analysis == 'scale' and test == 'z'").set_index("scale")["estimate"]
    assert set(on.index) == {"raw", "logit", "freeman_tukey"}
    assert on.max() - on.min() < 3
    text = (alone / "results/tables/meta_analysis_mine.md").read_text()
    assert "3 own table" in text
    assert "Stroke has one effect size (Theirs 2025)" in text


def test_a_second_call_has_nothing_to_do_and_a_new_row_repeats_its_collection_only(alone, tmp_path):
    here = shutil.copytree(alone, tmp_path / "run", copy_function=shutil.copy2, symlinks=True)
    assert not run(here, "meta_analysis", config=collections(**MINE), dryrun=True).rules
    (here / "mine.csv").write_text(OWN + "Another 2026,90.0,84.1,95.9,100,Stroke,2026\n")
    ran = run(here, "meta_analysis", config=collections(**MINE))
    assert ran.succeeded, ran.messages
    assert sorted(ran.rules) == ["gather_effects", "meta_analysis", "plot_effects", "pool_effects", "tabulate_effects"]
    assert read_table(here / "results/meta_analysis/mine/pooled.parquet").iloc[0]["k"] == 4


def test_the_recovery_is_a_target_of_its_own(alone, tmp_path):
    ran = run(tmp_path, "results/tables/meta_analysis_recovery.md")
    assert ran.succeeded, ran.messages
    assert ran.rules == ["recover_rows"]
    rows = pd.read_csv(tmp_path / "results/tables/meta_analysis_recovery.csv").query("kind == 'row'")
    assert len(rows) == 6
    single = rows[rows["determined"].astype(str) == "True"]
    assert (abs(single["accuracy"] - single["used_accuracy"]) < 0.1).all()


def test_a_table_that_cannot_be_used_stops_its_collection_and_nothing_else(tmp_path):
    bad = OWN + "Zero width,90,90,90,50,Stroke,2025\nReversed,70,80,60,50,Stroke,2025\n"
    (tmp_path / "mine.csv").write_text(bad)
    tables = [f"results/tables/meta_analysis{name}.md" for name in ("", "_review", "_mine")]
    ran = run(tmp_path, *tables, config=collections(**MINE))
    assert not ran.succeeded
    said = (tmp_path / "logs/gather_effects/mine.log").read_text()
    for words in ("mine.csv", "Zero width", "Reversed"):
        assert words in said
    assert (tmp_path / "results/tables/meta_analysis.md").exists()
    assert (tmp_path / "results/tables/meta_analysis_review.md").exists()
    assert not (tmp_path / "results/tables/meta_analysis_mine.md").exists()


@pytest.mark.parametrize(
    ("collection", "words"),
    [
        ({"mine": {"published": False, "studies": ["asl"], "tables": []}}, ["mine.studies", "'asl'", "'als'"]),
        ({"mine": {"published": True, "studies": [], "tables": ["no.csv"]}}, ["mine.tables", "no file no.csv"]),
        ({"mine": {"published": False, "studies": [], "tables": []}}, ["mine", "no effect sizes"]),
        ({"review": {"published": True, "studies": "all", "tables": []}}, ["review", "taken"]),
        ({"My own": {"published": True, "studies": "all", "tables": []}}, ["My own"]),
    ],
)
def test_a_mistake_in_a_collection_names_its_key(tmp_path, collection, words):
    ran = run(tmp_path, "meta_analysis", config=collections(**collection), dryrun=True)
    assert not ran.succeeded
    for word in words:
        assert word in ran.error


def test_it_can_be_left_out(tmp_path):
    ran = run(tmp_path, config={"meta_analysis": None}, dryrun=True)
    assert ran.succeeded, ran.messages
    assert "pool_effects" not in ran.rules


def test_the_living_collection_waits_for_the_studies(tmp_path):
    planned = run(tmp_path, "results/tables/meta_analysis_living.md", dryrun=True)
    assert {"gather_effects", "evaluate_study", "render_patients"} <= set(planned.rules)
    none = run(tmp_path, config={"studies": NO_STUDY}, dryrun=True)
    assert none.succeeded, none.messages
    assert "results/meta_analysis/living" not in none.messages
