import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    classification_report,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.evaluation.metrics import LEVELS, evaluate, units
from faceneuro.tables import METRICS, read_table, write_table

CLASSES = ("Healthy", "ALS")


def predictions(seed: int, per_class: int = 4, folds: int = 2, frames: int = 6, skill: float = 1.0) -> pd.DataFrame:
    """Predictions for subjects of two classes, in eighths: some are equal, and their sums are exact."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(2 * per_class):
        positive = number % 2
        lean = random.normal(skill * (positive - 0.5), 0.7)
        rows += [
            {
                "study": "als",
                "protocol": "grouped",
                "model": "m",
                "fold": (number // 2) % folds,
                "cohort": "c",
                "subject": f"s{number}",
                "clip": f"s{number}_{frame % 2}",
                "frame": frame,
                "label": CLASSES[positive],
                "probability": round(8 / (1 + np.exp(-random.normal(lean, 0.6)))) / 8,
            }
            for frame in range(random.integers(2, frames + 1))
        ]
    return pd.DataFrame(rows)


def values_of(table: pd.DataFrame, level: str, aggregation: str = "pooled", column: str = "value") -> dict[str, float]:
    rows = table[(table["level"] == level) & (table["aggregation"] == aggregation)]
    return dict(zip(rows["metric"], rows[column], strict=True))


def reference(tested: pd.DataFrame) -> dict[str, float]:
    """The same metrics by scikit-learn."""
    truth, found = tested["label"], np.where(tested["probability"] > 0.5, "ALS", "Healthy")
    report = classification_report(truth, found, output_dict=True, zero_division=0, labels=CLASSES)
    result = {"accuracy": (truth == found).mean(), "balanced_accuracy": balanced_accuracy_score(truth, found)}
    result["roc_auc"] = roc_auc_score(truth == "ALS", tested["probability"])
    result["brier"] = brier_score_loss(truth == "ALS", tested["probability"])
    names = {"Healthy": "Healthy", "ALS": "ALS", "macro avg": "macro", "weighted avg": "weighted"}
    for row, name in names.items():
        for key, metric in {"precision": "precision", "recall": "recall", "f1-score": "f1"}.items():
            result[f"{metric}/{name}"] = report[row][key]
    for name in CLASSES:
        result[f"support/{name}"] = report[name]["support"]
    return result | {"support": len(tested)}


@given(st.integers(0, 200), st.integers(2, 6))
@settings(max_examples=20)
def test_pooled_metrics_are_those_of_scikit_learn_at_every_level(seed, per_class):
    table = predictions(seed, per_class)
    found = evaluate(table, CLASSES, 20, 0)
    for level, keys in LEVELS.items():
        expected = reference(table.groupby([*keys, "label"])["probability"].mean().reset_index())
        assert values_of(found, level) == pytest.approx(expected)


@given(st.integers(0, 100))
@settings(max_examples=20)
def test_fold_means_are_means_of_scikit_learn_over_folds(seed):
    table = predictions(seed, 6, folds=3)
    found = evaluate(table, CLASSES, 20, 0)
    for level in LEVELS:
        folds = [reference(fold) for _, fold in units(table, level).groupby("fold")]
        expected = {name: np.mean([fold[name] for fold in folds]) for name in folds[0] if "support" not in name}
        assert values_of(found, level, "fold_mean") == pytest.approx(expected)


def test_fold_means_where_each_fold_tests_one_subject():
    table = predictions(3).assign(fold=lambda rows: rows["subject"].str[1:].astype(int))
    found = values_of(evaluate(table, CLASSES, 20, 0), "frame", "fold_mean")
    for name in ("roc_auc", "balanced_accuracy", "f1/macro"):
        assert np.isnan(found[name])
    als = table[table["label"] == "ALS"]
    assert found["recall/ALS"] == pytest.approx((als["probability"] > 0.5).groupby(als["fold"]).mean().mean())
    right = (table["probability"] > 0.5) == (table["label"] == "ALS")
    assert found["accuracy"] == pytest.approx(right.groupby(table["fold"]).mean().mean())


def test_a_class_that_is_never_predicted_has_precision_zero():
    found = values_of(evaluate(predictions(0).assign(probability=0.2), CLASSES, 20, 0), "frame")
    assert found["precision/ALS"] == found["recall/ALS"] == found["f1/ALS"] == 0
    assert found["roc_auc"] == 0.5


def test_intervals_equal_those_of_copied_subjects():
    table = predictions(5)
    found = evaluate(table, CLASSES, 60, 9)
    subjects = np.unique(table["subject"])
    classes = table.groupby("subject")["label"].first()[subjects] == "ALS"
    copies = [
        reference(pd.concat([table[table["subject"] == name] for name in np.repeat(subjects, counts.astype(int))]))
        for counts in subject_resamples(classes.to_numpy(), 60, 9)
    ]
    low, high = (values_of(found, "frame", column=column) for column in ("ci_low", "ci_high"))
    for name in ("accuracy", "roc_auc", "brier", "f1/ALS", "precision/weighted", "recall/macro"):
        expected = np.quantile([copy[name] for copy in copies], [0.025, 0.975])
        assert [low[name], high[name]] == pytest.approx(list(expected)), name


def test_means_over_folds_with_one_patient_each_are_resampled_by_fold():
    table = predictions(5, per_class=6, folds=6, skill=0.3)
    # The last fold tests a patient alone: what it is stays apart from what folds with both classes are.
    table = table[~table["subject"].eq("s10")]
    found = evaluate(table, CLASSES, 200, 9)
    counts = subject_resamples(np.array([1, 1, 1, 1, 1, 0]), 200, 9)
    scores = {"precision/ALS": precision_score, "recall/ALS": recall_score, "f1/ALS": f1_score}
    for name, score in scores.items():
        values = [
            score(fold["label"] == "ALS", fold["probability"] > 0.5, zero_division=0)
            for _, fold in table.groupby("fold")
        ]
        low, high = (values_of(found, "frame", "fold_mean", column)[name] for column in ("ci_low", "ci_high"))
        assert values_of(found, "frame", "fold_mean")[name] == pytest.approx(np.mean(values))
        assert [low, high] == pytest.approx(list(np.quantile(counts @ values / 6, [0.025, 0.975])))


def test_intervals_of_precision_hold_it_where_models_only_guess():
    for seed in range(5):
        table = predictions(seed, per_class=10, folds=10, skill=0.0)
        found = evaluate(table, CLASSES, 200, 0).set_index(["metric", "level", "aggregation"])
        row = found.loc[("precision/ALS", "frame", "fold_mean")]
        assert row["ci_low"] < row["value"] < row["ci_high"]


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 50))
@settings(max_examples=20)
def test_resamples_keep_the_size_of_each_class(healthy, als, seed):
    classes = np.array([False] * healthy + [True] * als)
    counts = subject_resamples(classes, 30, seed)
    assert (counts[:, classes].sum(axis=1) == als).all()
    assert (counts[:, ~classes].sum(axis=1) == healthy).all()
    np.testing.assert_array_equal(counts, subject_resamples(classes, 30, seed))


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(0)
    classes = np.arange(60) < 30
    covered = 0
    for repeat in range(300):
        hits = random.random(60) < 0.7
        low, high = percentile_interval(subject_resamples(classes, 400, repeat) @ hits / 60)
        covered += low <= 0.7 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_more_frames_of_the_same_people_do_not_narrow_the_interval():
    table = predictions(1, per_class=10)
    often = pd.concat([table.assign(frame=table["frame"] + 100 * i) for i in range(20)])
    once, many = (evaluate(rows, CLASSES, 200, 0) for rows in (table, often))
    for column in ("value", "ci_low", "ci_high"):
        assert values_of(many, "frame", column=column)["roc_auc"] == pytest.approx(
            values_of(once, "frame", column=column)["roc_auc"]
        )


def test_a_class_with_one_subject_has_no_interval():
    table = predictions(0, per_class=1, folds=1)
    found = evaluate(table, CLASSES, 20, 0)
    assert found["ci_low"].isna().all()
    assert found["value"].notna().all()


def test_the_order_of_the_rows_does_not_matter_and_the_table_is_written(tmp_path):
    table = pd.concat(
        [predictions(0), predictions(1).assign(model="other"), predictions(2).assign(protocol="published")]
    )
    found = evaluate(table, CLASSES, 50, 0)
    pd.testing.assert_frame_equal(evaluate(table.sample(frac=1, random_state=1), CLASSES, 50, 0), found)
    write_table(found, tmp_path / "metrics.parquet", METRICS)
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "metrics.parquet")[found.columns], found, check_dtype=False, check_exact=True
    )


def test_an_unknown_label_is_refused():
    with pytest.raises(ValueError, match="a label is neither Healthy nor ALS"):
        evaluate(predictions(0).replace("ALS", "stroke"), CLASSES, 20, 0)
