import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    classification_report,
    cohen_kappa_score,
    f1_score,
    mean_absolute_error,
    precision_score,
    recall_score,
    roc_auc_score,
)

from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.evaluation.metrics import LEVELS, class_probabilities, evaluate, units
from faceneuro.tables import METRICS, class_predictions_schema, read_table, write_table

CLASSES = ("Healthy", "ALS")
STAGES = ("Non-PD", "Early", "Mid/late", "Late")


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


def stages(seed: int, per_class=(5, 4, 4), folds: int = 2, frames: int = 3, skill: float = 1.0) -> pd.DataFrame:
    """Predictions for subjects of several classes, in eighths: some are equal, and their sums are exact."""
    random = np.random.default_rng(seed)
    rows = []
    for stage, count in enumerate(per_class):
        for number in range(count):
            lean = random.dirichlet(1 + skill * np.eye(len(per_class))[stage])
            rows += [
                {
                    "study": "parkinson",
                    "protocol": "grouped",
                    "model": "m",
                    "fold": number % folds,
                    "cohort": "c",
                    "subject": f"s{stage}_{number}",
                    "clip": f"s{stage}_{number}_{frame % 2}",
                    "frame": frame,
                    "label": STAGES[stage],
                    "probabilities": random.multinomial(8, lean) / 8,
                }
                for frame in range(random.integers(1, frames + 1))
            ]
    return pd.DataFrame(rows)


def reference_of_stages(tested: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, float]:
    """The same metrics by scikit-learn and imbalanced-learn; every class must be there."""
    truth = np.array([classes.index(label) for label in tested["label"]])
    scores = np.stack(tested["probabilities"].to_list())
    found, everyone = scores.argmax(axis=1), range(len(classes))
    report = classification_report(
        truth, found, output_dict=True, zero_division=0, labels=everyone, target_names=classes
    )
    areas = [roc_auc_score(truth == place, scores[:, place]) for place in everyone]
    result = {
        "accuracy": (truth == found).mean(),
        "balanced_accuracy": balanced_accuracy_score(truth, found),
        "roc_auc": roc_auc_score(truth, scores, multi_class="ovr", average="macro"),
        "roc_auc/ovo": roc_auc_score(truth, scores, multi_class="ovo", average="macro"),
        "brier": brier_score_loss(truth, scores, labels=everyone, scale_by_half=False),
        "g_mean": geometric_mean_score(truth, found),
        "g_mean/corrected": geometric_mean_score(truth, found, correction=0.001),
        "kappa/quadratic": cohen_kappa_score(truth, found, weights="quadratic"),
        "mae": mean_absolute_error(truth, found),
        "detection_accuracy": ((truth > 0) == (found > 0)).mean(),
        "detection_roc_auc": roc_auc_score(truth > 0, 1 - scores[:, 0]),
    }
    result |= {f"roc_auc/{name}": area for name, area in zip(classes, areas, strict=True)}
    names = {name: name for name in classes} | {"macro avg": "macro", "weighted avg": "weighted"}
    for row, name in names.items():
        for key, metric in {"precision": "precision", "recall": "recall", "f1-score": "f1"}.items():
            result[f"{metric}/{name}"] = report[row][key]
    result |= {f"support/{name}": report[name]["support"] for name in classes}
    return result | {"support": len(tested)}


@given(st.integers(0, 500), st.integers(3, 4), st.data())
@settings(max_examples=25, deadline=None)
def test_pooled_metrics_of_many_classes_are_those_of_scikit_learn(seed, count, data):
    per_class = data.draw(st.lists(st.integers(2, 7), min_size=count, max_size=count))
    table, classes = stages(seed, per_class), STAGES[:count]
    found = evaluate(table, classes, 5, 0)
    for level in LEVELS:
        tested = units(table, level)
        assert values_of(found, level) == pytest.approx(reference_of_stages(tested, classes))
        assert (found.loc[found["level"] == level, "n"] == len(tested)).all()


@given(st.integers(0, 500))
@settings(max_examples=10, deadline=None)
def test_fold_means_of_many_classes_are_means_of_scikit_learn(seed):
    table, classes = stages(seed, (6, 3, 4), folds=3), STAGES[:3]
    found = evaluate(table, classes, 5, 0)
    for level in LEVELS:
        folds = [reference_of_stages(fold, classes) for _, fold in units(table, level).groupby("fold")]
        expected = {name: np.mean([fold[name] for fold in folds]) for name in folds[0] if "support" not in name}
        assert values_of(found, level, "fold_mean") == pytest.approx(expected)


def test_a_unit_has_the_mean_of_the_probabilities_of_its_frames():
    table = stages(1)
    for level, keys in LEVELS.items():
        tested = units(table.sample(frac=1, random_state=0), level)
        assert tested.columns.tolist() == ["fold", *keys, "label", "probabilities"]
        assert tested[["fold", *keys]].equals(tested[["fold", *keys]].sort_values(["fold", *keys]))
        for row in tested.to_dict("records"):
            mine = (table[keys] == [row[key] for key in keys]).all(axis=1)
            np.testing.assert_allclose(
                row["probabilities"], np.mean(table.loc[mine, "probabilities"].to_list(), axis=0)
            )


@given(st.integers(0, 100), st.integers(2, 5))
@settings(max_examples=10, deadline=None)
def test_two_classes_are_the_same_as_a_list(seed, per_class):
    table = predictions(seed, per_class)
    both = list(class_probabilities(table))
    assert [tuple(pair) for pair in both] == [(1 - p, p) for p in table["probability"]]
    listed = table.drop(columns="probability").assign(probabilities=both)
    pd.testing.assert_frame_equal(evaluate(listed, CLASSES, 30, 1), evaluate(table, CLASSES, 30, 1), check_exact=True)


def test_of_equally_probable_classes_the_first_is_predicted():
    halves = stages(0, (2, 2, 2)).assign(probabilities=[np.array([0.0, 0.5, 0.5])] * len(stages(0, (2, 2, 2))))
    found = values_of(evaluate(halves, STAGES[:3], 5, 0), "frame")
    assert [found[f"recall/{name}"] for name in STAGES[:3]] == [0, 1, 0]
    assert found["roc_auc"] == found["roc_auc/ovo"] == found["detection_roc_auc"] == 0.5


def test_a_majority_predictor_is_what_the_papers_swin_transformer_shows():
    table = stages(0, (107, 31, 30), frames=1)
    table["probabilities"] = [np.array([0.6, 0.2, 0.2])] * len(table)
    found = values_of(evaluate(table, STAGES[:3], 5, 0), "subject")
    share = 107 / 168
    assert found["accuracy"] == pytest.approx(share)
    assert found["f1/macro"] == pytest.approx(2 * share / (1 + share) / 3)
    assert round(found["accuracy"], 4) == 0.6369
    assert round(found["f1/macro"], 4) == 0.2594
    assert found["g_mean"] == 0
    assert found["g_mean/corrected"] == pytest.approx(0.001 ** (2 / 3))
    assert found["kappa/quadratic"] == 0
    assert found["balanced_accuracy"] == pytest.approx(1 / 3)


def test_a_fold_without_a_class_counts_where_it_can():
    table, classes = stages(4, (6, 6, 6), folds=3), STAGES[:3]
    lost = (table["fold"] == 1) & (table["label"] == "Mid/late")
    table = table[~lost]
    found = values_of(evaluate(table, classes, 5, 0), "subject", "fold_mean")
    tested = units(table, "subject")
    folds = dict(iter(tested.groupby("fold")))
    whole = [reference_of_stages(folds[fold], classes) for fold in (0, 2)]
    needs_all = {"roc_auc", "roc_auc/ovo", "balanced_accuracy", "g_mean", "g_mean/corrected", "kappa/quadratic"}
    needs_all |= {f"{metric}/{name}" for metric in ("precision", "recall", "f1") for name in ("macro", "weighted")}
    needs_all |= {f"{metric}/Mid/late" for metric in ("roc_auc", "precision", "recall", "f1")}
    for name in needs_all:
        assert found[name] == pytest.approx(np.mean([fold[name] for fold in whole])), name
    truth = folds[1]["label"].map(classes.index).to_numpy()
    scores = class_probabilities(folds[1])
    guess = scores.argmax(axis=1)
    first = roc_auc_score(truth == 0, scores[:, 0])
    partial = {
        "accuracy": (truth == guess).mean(),
        "mae": np.abs(truth - guess).mean(),
        "brier": ((scores - np.eye(3)[truth]) ** 2).sum(axis=1).mean(),
        "detection_accuracy": ((truth > 0) == (guess > 0)).mean(),
        "detection_roc_auc": first,
        "roc_auc/Non-PD": first,
        "recall/Early": (guess[truth == 1] == 1).mean(),
        "precision/Early": precision_score(truth == 1, guess == 1, zero_division=0),
    }
    for name, value in partial.items():
        assert found[name] == pytest.approx(np.mean([*(fold[name] for fold in whole), value])), name


def test_a_fold_of_one_class_alone_has_a_specificity_and_nothing_that_compares():
    table = stages(2, (6, 4, 4), folds=1)
    healthy = table[table["label"] == "Non-PD"]
    found = evaluate(healthy, STAGES[:3], 20, 0)
    guess = class_probabilities(units(healthy, "subject")).argmax(axis=1)
    for aggregation in ("pooled", "fold_mean"):
        values = values_of(found, "subject", aggregation)
        for name in ("recall/Non-PD", "accuracy", "detection_accuracy"):
            assert values[name] == pytest.approx((guess == 0).mean())
        for name in ("roc_auc", "detection_roc_auc", "g_mean", "kappa/quadratic", "recall/Early", "f1/macro"):
            assert np.isnan(values[name])
    assert found["ci_low"].isna().all()


def test_intervals_of_many_classes_equal_those_of_copied_subjects():
    table, classes = stages(5, (6, 4, 5)), STAGES[:3]
    found = evaluate(table, classes, 60, 9)
    subjects = np.unique(table["subject"])
    stage = table.groupby("subject")["label"].first()[subjects].map(classes.index)
    copies = [
        reference_of_stages(
            pd.concat([table[table["subject"] == name] for name in np.repeat(subjects, counts.astype(int))]), classes
        )
        for counts in subject_resamples(stage.to_numpy(), 60, 9)
    ]
    low, high = (values_of(found, "frame", column=column) for column in ("ci_low", "ci_high"))
    for name in copies[0]:
        if "support" not in name:
            expected = np.quantile([copy[name] for copy in copies], [0.025, 0.975])
            assert [low[name], high[name]] == pytest.approx(list(expected)), name


def test_folds_with_one_patient_of_each_stage_are_resampled_whole():
    table, classes = stages(6, (10, 5, 5), folds=5, skill=0.5), STAGES[:3]
    # The last two folds test other classes: they are not drawn in place of the first three.
    table = table[~table["subject"].isin(["s2_3", "s2_4"])]
    found = evaluate(table, classes, 200, 9)
    counts = subject_resamples(np.array([1, 1, 1, 0, 0]), 200, 9)
    accuracies = [
        (class_probabilities(fold).argmax(axis=1) == fold["label"].map(classes.index)).mean()
        for _, fold in table.groupby("fold")
    ]
    low, high = (values_of(found, "frame", "fold_mean", column)["accuracy"] for column in ("ci_low", "ci_high"))
    assert [low, high] == pytest.approx(list(np.quantile(counts @ accuracies / 5, [0.025, 0.975])))


def test_folds_with_two_patients_of_a_stage_are_resampled_by_subject():
    table, classes = stages(6, (10, 5, 6), folds=5, skill=0.5), STAGES[:3]
    found = evaluate(table, classes, 60, 9)
    subjects = np.unique(table["subject"])
    stage = table.groupby("subject")["label"].first()[subjects].map(classes.index)
    right = class_probabilities(table).argmax(axis=1) == table["label"].map(classes.index)
    by_subject = right.groupby([table["fold"], table["subject"]]).agg(["sum", "count"])
    means = []
    for counts in subject_resamples(stage.to_numpy(), 60, 9):
        drawn = by_subject.mul(pd.Series(counts, subjects), axis=0, level="subject").groupby("fold").sum()
        means.append((drawn["sum"] / drawn["count"]).mean())
    low, high = (values_of(found, "frame", "fold_mean", column)["accuracy"] for column in ("ci_low", "ci_high"))
    assert [low, high] == pytest.approx(list(np.quantile(means, [0.025, 0.975])))


@pytest.mark.parametrize("lonely", [0, 1, 2])
def test_one_subject_of_any_class_leaves_no_interval(lonely):
    per_class = [4, 4, 4]
    per_class[lonely] = 1
    found = evaluate(stages(0, per_class, folds=1), STAGES[:3], 20, 0)
    assert found["ci_low"].isna().all()
    assert found["value"].notna().all()
    per_class[lonely] = 2
    found = evaluate(stages(0, per_class, folds=1), STAGES[:3], 20, 0)
    assert found.loc[~found["metric"].str.startswith("support"), "ci_low"].notna().all()


def test_predictions_of_many_classes_are_read_back_as_they_were(tmp_path):
    table, classes = stages(3), STAGES[:3]
    found = evaluate(table, classes, 20, 0)
    write_table(table.sample(frac=1, random_state=2), tmp_path / "predictions.parquet", class_predictions_schema(3))
    again = read_table(tmp_path / "predictions.parquet")
    assert again.columns.tolist() == class_predictions_schema(3).names
    pd.testing.assert_frame_equal(evaluate(again, classes, 20, 0), found, check_exact=True)
    with pytest.raises(ValueError, match="a list of 3 values, where the table's have 4"):
        write_table(table, tmp_path / "wrong.parquet", class_predictions_schema(4))


def test_an_unknown_stage_or_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="a label is neither Non-PD nor early nor Mid/late"):
        evaluate(stages(0), ("Non-PD", "early", "Mid/late"), 5, 0)
    with pytest.raises(ValueError, match="predictions are of 3 classes, where there are 4"):
        evaluate(stages(0), STAGES, 5, 0)
    with pytest.raises(ValueError, match="predictions are of 2 classes, where there are 3"):
        evaluate(predictions(0), (*CLASSES, "stroke"), 5, 0)
