import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from faceneuro.evaluation.intervals import subject_resamples
from faceneuro.evaluation.metrics import LEVELS, class_probabilities, evaluate, units
from faceneuro.evaluation.paired import p_value, paired_differences
from test_metrics import CLASSES, STAGES, predictions, stages

METRICS = ("f1/ALS", "recall/ALS", "roc_auc")
KEYS = ["metric", "level", "aggregation"]


def models(*skills: float, seed: int = 0, per_class: int = 5, folds: int = 5) -> pd.DataFrame:
    """Predictions of models of these skills, m0, m1 and so on, for the same subjects and frames."""
    return pd.concat(
        [predictions(seed, per_class, folds, skill=skill).assign(model=f"m{i}") for i, skill in enumerate(skills)]
    )


def compare(table: pd.DataFrame, pairs=(("m0", "m1"),), resamples: int = 200, seed: int = 3) -> pd.DataFrame:
    return paired_differences(table, pairs, METRICS, CLASSES, resamples, seed)


def f1(rows: pd.DataFrame) -> float:
    return f1_score(rows["label"] == "ALS", rows["probability"] > 0.5)


def auc(rows: pd.DataFrame) -> float:
    return roc_auc_score(rows["label"] == "ALS", rows["probability"])


def people(table: pd.DataFrame) -> pd.DataFrame:
    return table.groupby(["fold", "subject", "label"])["probability"].mean().reset_index()


def copied(table: pd.DataFrame, subjects: np.ndarray, counts: np.ndarray) -> pd.DataFrame:
    """Rows of subjects as often as they were drawn."""
    return pd.concat([table[table["subject"] == name] for name in np.repeat(subjects, counts.astype(int))])


def test_differences_are_those_of_a_bootstrap_by_copying_subjects():
    table = models(2.0, 0.3)
    found = compare(table, resamples=60).set_index(KEYS)
    first, second = (table[table["model"] == model] for model in ("m0", "m1"))
    subjects = np.unique(table["subject"])
    positive = first.groupby("subject")["label"].first()[subjects].to_numpy() == "ALS"
    draws = subject_resamples(positive, 60, 3)
    for metric, level, of, score in (
        ("f1/ALS", "frame", lambda rows: rows, f1),
        ("f1/ALS", "subject", people, f1),
        ("roc_auc", "subject", people, auc),
    ):
        parts = of(first), of(second)
        expected = [
            score(copied(parts[0], subjects, counts)) - score(copied(parts[1], subjects, counts)) for counts in draws
        ]
        row = found.loc[(metric, level, "pooled")]
        assert row["difference"] == pytest.approx(score(parts[0]) - score(parts[1]))
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(list(np.quantile(expected, [0.025, 0.975])))
        not_above, not_below = (np.mean(np.array(expected) * sign <= 1e-12) for sign in (1, -1))
        assert row["p_value"] == pytest.approx(np.clip(2 * min(not_above, not_below), 1 / 60, 1))
        assert row["n_subjects"] == 10


def test_fold_means_differ_as_a_bootstrap_of_folds_says():
    table = models(1.5, 0.3)
    found = compare(table).set_index(KEYS).loc[("f1/ALS", "frame", "fold_mean")]
    values = table.groupby(["model", "fold"])[["label", "probability"]].apply(f1)
    gain = (values["m0"] - values["m1"]).to_numpy()
    means = subject_resamples(np.zeros(len(gain)), 200, 3) @ gain / len(gain)
    assert found["difference"] == pytest.approx(gain.mean())
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(list(np.quantile(means, [0.025, 0.975])))


@given(st.integers(0, 200), st.integers(2, 6))
@settings(max_examples=10, deadline=None)
def test_the_other_way_round_is_the_opposite(seed, per_class):
    table = models(1.5, 0.5, seed=seed, per_class=per_class, folds=per_class)
    ahead, back = (compare(table, [pair], 100).set_index(KEYS) for pair in (("m0", "m1"), ("m1", "m0")))
    np.testing.assert_array_equal(ahead["difference"], -back["difference"])
    np.testing.assert_allclose(ahead["ci_low"], -back["ci_high"], atol=1e-12)
    np.testing.assert_allclose(ahead["ci_high"], -back["ci_low"], atol=1e-12)
    np.testing.assert_array_equal(ahead["p_value"], back["p_value"])


def test_a_model_does_not_differ_from_itself():
    found = compare(models(1.0, 1.0), [("m0", "m1"), ("m0", "m0")])
    assert (found[["difference", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert (found["p_value"] == 1).all()
    assert len(found) == 2 * len(METRICS) * len(LEVELS) * 2


def test_the_same_order_of_probabilities_is_the_same_auc():
    table = models(1.0, 1.0)
    table.loc[table["model"] == "m1", "probability"] /= 3
    found = compare(table).set_index(KEYS)
    assert found.loc[("roc_auc", "frame", "pooled"), "p_value"] == 1
    assert found.loc[("recall/ALS", "frame", "pooled"), "difference"] > 0


def test_differences_are_those_of_the_metrics_table():
    table = models(2.0, 0.5)
    values = evaluate(table, CLASSES, 50, 3).set_index(["model", *KEYS])["value"]
    for row in compare(table, resamples=50).itertuples():
        at = (row.metric, row.level, row.aggregation)
        assert row.difference == pytest.approx(values[("m0", *at)] - values[("m1", *at)], abs=1e-12)


def test_a_difference_that_every_resample_shows_is_as_sure_as_there_are_resamples():
    table = models(1.0, 1.0)
    truth = table["label"] == "ALS"
    table["probability"] = np.where(table["model"] == "m0", truth, ~truth).astype(float)
    found = compare(table)
    assert found.loc[found["aggregation"] == "pooled", "p_value"].eq(1 / 200).all()
    # An area within a fold needs both of its subjects; in a few resamples no fold has them.
    assert found["p_value"].between(1 / 200, 1 / 190).all()
    assert found.set_index(KEYS).loc[("f1/ALS", "frame", "pooled"), "ci_low"] == 1


def test_p_values_leave_out_what_is_undefined():
    assert p_value(np.array([1.0, np.nan, 2.0, -1.0, 3.0])) == 0.5
    assert np.isnan(p_value(np.full(3, np.nan)))


def test_equal_models_are_told_apart_about_as_seldom_as_they_should_be():
    random = np.random.default_rng(0)
    classes = np.arange(60) < 30
    found = []
    for repeat in range(300):
        gain = (random.random(60) < 0.7).astype(float) - (random.random(60) < 0.7)
        found.append(p_value(subject_resamples(classes, 400, repeat) @ gain / 60))
    assert 0.02 <= np.mean(np.array(found) < 0.05) <= 0.10


def test_only_what_both_models_were_tested_on_counts():
    table = models(1.5, 0.5)
    lost = (table["model"] == "m1") & (table["subject"] == "s3")
    found = compare(table[~lost])
    assert (found["n_subjects"] == 9).all()
    pd.testing.assert_frame_equal(found, compare(table[table["subject"] != "s3"]))


def test_a_pair_that_was_not_run_or_has_nothing_in_common_has_no_rows():
    table = models(1.5, 0.5)
    assert compare(table, [("m0", "absent"), ("m1", "m0")])["model_a"].unique() == ["m1"]
    apart = table[(table["model"] == "m0") == (table["fold"] > 2)]
    empty = compare(apart)
    assert empty.empty
    assert list(empty.columns) == list(compare(table).columns)


def test_a_class_with_one_subject_has_a_difference_but_no_interval():
    found = compare(models(1.5, 0.5, per_class=1, folds=1))
    assert found["difference"].notna().all()
    assert found[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)


def test_the_order_of_the_rows_does_not_matter():
    table = models(1.5, 0.5)
    pd.testing.assert_frame_equal(compare(table.sample(frac=1, random_state=1)), compare(table))


def test_what_cannot_be_compared_is_refused():
    table = models(1.5, 0.5)
    with pytest.raises(ValueError, match="several studies or protocols"):
        compare(pd.concat([table, table.assign(protocol="published")]))
    with pytest.raises(ValueError, match="there is no metric 'f2'"):
        paired_differences(table, [("m0", "m1")], ["f2"], CLASSES, 10, 0)


STAGE_METRICS = {
    "g_mean": lambda truth, scores: geometric_mean_score(truth, scores.argmax(axis=1)),
    "kappa/quadratic": lambda truth, scores: cohen_kappa_score(truth, scores.argmax(axis=1), weights="quadratic"),
    "mae": lambda truth, scores: np.abs(truth - scores.argmax(axis=1)).mean(),
    "roc_auc": lambda truth, scores: roc_auc_score(truth, scores, multi_class="ovr"),
    "recall/Mid/late": lambda truth, scores: (scores[truth == 2].argmax(axis=1) == 2).mean(),
}
"""Metrics of three classes and what they are by other people's code, from truth (n,) and probabilities (n, 3)."""


def staged(*skills: float, seed: int = 0) -> pd.DataFrame:
    """Predictions of models of these skills, m0, m1 and so on, for the same subjects and frames of three classes."""
    wanted = stages(seed, (6, 4, 5))
    keys = ["subject", "frame"]
    parts = []
    for place, skill in enumerate(skills):
        random = np.random.default_rng((seed, place))
        lean = [1 + skill * (np.array(STAGES[:3]) == label) for label in wanted["label"]]
        found = [random.multinomial(8, random.dirichlet(alpha)) / 8 for alpha in lean]
        parts.append(wanted.assign(model=f"m{place}", probabilities=found).sort_values(keys))
    return pd.concat(parts)


def test_differences_of_three_classes_are_those_of_a_bootstrap_by_copying_subjects():
    table, classes = staged(3.0, 1.0), STAGES[:3]
    found = paired_differences(table, [("m0", "m1")], list(STAGE_METRICS), classes, 60, 3).set_index(KEYS)
    tested = [units(table[table["model"] == model], "subject") for model in ("m0", "m1")]
    subjects = np.unique(table["subject"])
    stage = tested[0].set_index("subject")["label"][subjects].map(classes.index).to_numpy()
    draws = subject_resamples(stage, 60, 3)
    for metric, score in STAGE_METRICS.items():

        def gain(rows: list[pd.DataFrame], score=score) -> float:
            first, second = (
                score(part["label"].map(classes.index).to_numpy(), class_probabilities(part)) for part in rows
            )
            return first - second

        expected = np.array([gain([copied(part, subjects, counts) for part in tested]) for counts in draws])
        row = found.loc[(metric, "subject", "pooled")]
        assert row["difference"] == pytest.approx(gain(tested))
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(list(np.quantile(expected, [0.025, 0.975])))
        rarer = min(np.mean(expected <= 1e-12), np.mean(expected >= -1e-12))
        assert row["p_value"] == pytest.approx(np.clip(2 * rarer, 1 / 60, 1))
        assert row["n_subjects"] == 15


def test_differences_of_three_classes_are_those_of_the_metrics_table():
    table, classes = staged(3.0, 0.5, seed=4), STAGES[:3]
    values = evaluate(table, classes, 20, 3).set_index(["model", *KEYS])["value"]
    names = [name for name in values.index.unique("metric") if not name.startswith("support")]
    found = paired_differences(table, [("m0", "m1")], names, classes, 20, 3)
    assert len(found) == len(names) * len(LEVELS) * 2
    for row in found.itertuples():
        at = (row.metric, row.level, row.aggregation)
        assert row.difference == pytest.approx(values[("m0", *at)] - values[("m1", *at)], abs=1e-12)


def test_only_what_both_models_of_three_classes_were_tested_on_counts():
    table, classes = staged(3.0, 0.5), STAGES[:3]
    lost = (table["model"] == "m1") & (table["subject"] == "s2_1")
    pairs, names = [("m0", "m1"), ("m0", "absent")], list(STAGE_METRICS)
    found = paired_differences(table[~lost], pairs, names, classes, 30, 3)
    assert (found["n_subjects"] == 14).all()
    pd.testing.assert_frame_equal(
        found, paired_differences(table[table["subject"] != "s2_1"], pairs, names, classes, 30, 3)
    )
