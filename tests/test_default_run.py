"""What the default configuration shows: the numbers that the README and the tables are read for."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from faceneuro.evaluation.metrics import units
from faceneuro.tables import read_table
from running import ASSETS, ROOT, run
from test_workflow import copy

pytestmark = pytest.mark.workflow


AS_IN_THE_CHECKOUT = {"assets": {"folder": "resources/assets"}}


@pytest.fixture(scope="module")
def default(tmp_path_factory, landmarker_model, heads) -> Path:
    """The default run, as `make demo` does it; not to be changed.

    It starts from a copy of what the checkout has in results/, if `make demo` was run there: Snakemake knows what of it
    is still true, and makes again what is not.
    """
    workdir = tmp_path_factory.mktemp("default")
    for part in ("results", "logs", ".snakemake/metadata"):
        if (ROOT / part).exists():
            shutil.copytree(ROOT / part, workdir / part, copy_function=shutil.copy2)
    (workdir / "resources").mkdir()
    (workdir / "resources" / "assets").symlink_to(ASSETS)
    ran = run(workdir, config=AS_IN_THE_CHECKOUT)
    assert ran.succeeded, ran.messages
    return workdir


@pytest.fixture(scope="module")
def shuffled(default, tmp_path_factory) -> Path:
    """The same recordings with labels permuted over subjects: half of each class has changed sides."""
    workdir = copy(default, tmp_path_factory.mktemp("shuffled") / "run")
    ran = run(workdir, "als", config=AS_IN_THE_CHECKOUT | {"studies": {"als": {"permute_labels": 1, "repeats": 1}}})
    assert ran.succeeded, ran.messages
    assert not set(ran.rules) & {"render_patients", "decode_frames", "detect_landmarks", "compute_flow"}
    return workdir


def headline(workdir: Path, metric: str, protocol: str, level: str) -> pd.DataFrame:
    """Value and interval of a metric, by model."""
    table = pd.read_csv(workdir / "results/tables/als.csv")
    rows = table[(table["protocol"] == protocol) & (table["level"] == level) & (table["aggregation"] == "pooled")]
    return rows[rows["row"] == metric].drop_duplicates("model").set_index("model")


def concordance(workdir: Path, model: str) -> tuple[float, float]:
    """ROC AUC of held-out subjects, and the probability of one as large if the labels meant nothing."""
    paths = sorted(workdir.glob(f"results/studies/als/grouped/{model}/*/predictions.parquet"))
    subjects = units(read_table(paths).assign(fold=0), "subject")
    positive = subjects.loc[subjects["label"] == "ALS", "probability"].to_numpy()
    negative = subjects.loc[subjects["label"] == "Healthy", "probability"].to_numpy()
    everybody, random = np.concatenate([positive, negative]), np.random.default_rng(1)

    def area(some: np.ndarray, others: np.ndarray) -> float:
        return float(np.mean(some[:, None] > others) + np.mean(some[:, None] == others) / 2)

    found = area(positive, negative)
    null = [area(*np.split(random.permutation(everybody), [len(positive)])) for _ in range(2000)]
    return found, float(np.mean(np.array(null) >= found))


@pytest.mark.parametrize("model", ["flow_only", "logistic_regression"])
def test_people_never_seen_are_told_apart_better_than_by_chance(default, model):
    """By their motion. Landmark coordinates tell networks who somebody is, so those that see them do worse."""
    found, p = concordance(default, model)
    assert found > 0.65
    assert p < 0.05


def test_every_virtual_face_is_found(default):
    quality = read_table(sorted(default.glob("results/cohorts/*/quality.parquet")))
    assert (quality["verdict"] == "ok").all()


def test_with_shuffled_labels_random_frames_still_look_convincing_and_held_out_people_do_not(shuffled):
    """Nothing but identity is left to learn: what the published protocol then reports is leakage, made visible."""
    published = headline(shuffled, "accuracy", "published", "frame").loc["dual_branch"]
    assert published["ci_low"] > 0.8
    for model in ("dual_branch", "flow_only", "landmarks_only", "logistic_regression"):
        found, p = concordance(shuffled, model)
        assert found < 0.75
        assert p > 0.05
    assert "labels permuted over subjects" in (shuffled / "results/tables/als.md").read_text()


def test_the_shuffled_cohort_has_the_same_class_sizes_and_half_of_each_class_swapped(default, shuffled):
    columns = ["subject", "group", "label"]
    samples = read_table(shuffled / "results/studies/als/samples.parquet", columns).drop_duplicates()
    assert samples["label"].value_counts().to_dict() == {"Healthy": 11, "ALS": 11}
    swapped = samples[(samples["group"] == "als") != (samples["label"] == "ALS")]
    assert 4 <= (swapped["group"] == "als").sum() <= 7


@pytest.fixture(scope="module")
def validation(default) -> pd.DataFrame:
    table = pd.read_csv(default / "results/tables/measurement_validation.csv")
    return table.set_index(["cohort", "measure", "side", "quantity"])["value"].unstack()


@pytest.mark.parametrize(
    ("cohort", "measure", "least_r"),
    [
        ("virtual_als", "mouth corner rise", 0.9),
        ("virtual_als", "lip opening", 0.9),
        ("virtual_als", "jaw opening", 0.8),
        ("virtual_palsy", "mouth corner rise", 0.85),
        ("virtual_palsy", "lid opening", 0.9),
        ("virtual_palsy", "brow height", 0.8),
    ],
)
def test_measurements_follow_the_face(validation, cohort, measure, least_r):
    rows = validation.loc[(cohort, measure)]
    assert (rows["r"] > least_r).all()
    assert rows["slope"].between(0.4, 1.3).all()
    assert (rows["mae"] < 4).all()


def test_its_accuracy_enters_the_living_meta_analysis_and_says_that_it_is_virtual(default):
    rows = pd.read_csv(default / "results/tables/meta_analysis_living_rows.csv")
    assert len(rows) == 28
    own = rows[rows["study"].str.contains("als, dual_branch")].iloc[0]
    assert own["origin"] == "virtual cohort virtual_als"
    assert rows.iloc[-1]["origin"] == "virtual cohort virtual_parkinson"
    accuracy = headline(default, "accuracy", "grouped", "subject").loc["dual_branch"]
    found = own[["accuracy", "ci_low", "ci_high"]].to_numpy(float)
    np.testing.assert_allclose(found, 100 * accuracy[["reproduced", "ci_low", "ci_high"]].to_numpy(float))
    assert "no patients" in (default / "results/tables/meta_analysis_living.md").read_text().split("##")[0]


def test_the_palsy_study_says_that_it_is_virtual_and_untrained_and_its_controls_are_quiet(default):
    lead = (default / "results/tables/palsy.md").read_text().split("## ")[0]
    assert "virtual cohort" in lead
    assert "untrained" in lead
    controls = pd.read_csv(default / "results/tables/palsy.csv").query("kind == 'claim'")
    controls = controls[controls["claim"].str.startswith("Control")]
    assert sorted(controls["verdict"]) == ["not run", "ok"]


def test_asymmetry_measures_rise_with_the_true_grade(default):
    text = (default / "results/tables/palsy_measures.md").read_text()
    for measure in ("brow_angle_middle", "midline_angle"):
        lines = [line for line in text.splitlines() if measure in line.replace(" ", "_")]
        assert any("rises with the grade" in line for line in lines), measure
