from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from faceneuro.evaluation.sources import (
    AGE_TELLS_CLASS,
    AUDITS,
    BACKGROUND_TELLS_CLASS,
    BACKGROUND_TELLS_SOURCE,
    EQUAL_AGES,
    FEATURES_TELL_SOURCE,
    UNSEEN_SOURCE,
    Probe,
    age_matched,
    match_ages,
    overall_verdict,
    probe,
    probe_audit,
    specificity_by_source,
)

CLASSES = ("Non-PD", "Early", "Mid/late")
STUDIOS = ("studio_a", "studio_b", "studio_c")
HEALTHY, PATIENTS = 33, 20


def backgrounds(confound: float, seed: int) -> tuple[np.ndarray, list[str]]:
    """Sixteen numbers of a picture without a face: the subject's own, drawn towards those of the group's site."""
    random = np.random.default_rng(seed)
    labels = ["Non-PD"] * HEALTHY + ["PD"] * PATIENTS
    own = random.random((len(labels), 16))
    sites = {name: random.random(16) for name in set(labels)}
    return (1 - confound) * own + confound * np.stack([sites[label] for label in labels]), labels


def settled(**changes) -> dict:
    return {"folds": 5, "seed": 1, "resamples": 200, "permutations": 19} | changes


# Probes


@pytest.mark.parametrize("shape", [(53, 4), (53, 200)])
def test_a_probe_is_a_cross_validated_logistic_regression_on_standardised_features(shape):
    random = np.random.default_rng(2)
    labels = np.array(["Non-PD"] * HEALTHY + ["PD"] * PATIENTS)
    features = random.normal(0, [1, 50, *[1] * (shape[1] - 2)], shape) + 0.9 * (labels == "PD")[:, None]
    model = make_pipeline(
        StandardScaler(),
        FunctionTransformer(lambda rows: rows / np.sqrt(shape[1])),
        LogisticRegression(class_weight="balanced", max_iter=1000),
    )
    found = cross_val_predict(model, features, labels, cv=StratifiedKFold(5, shuffle=True, random_state=7))
    mine = probe(features, labels, **settled(seed=7, permutations=1))
    assert mine.value == pytest.approx(balanced_accuracy_score(labels, found))
    assert mine.ci_low <= mine.value <= mine.ci_high


def test_the_verdict_changes_when_the_background_follows_the_group():
    audits = {
        confound: probe_audit(BACKGROUND_TELLS_CLASS, probe(*backgrounds(confound, 3), **settled(permutations=199)))
        for confound in (0.0, 1.0)
    }
    assert audits[0.0]["verdict"].tolist() == ["ok"]
    assert audits[1.0]["verdict"].tolist() == ["the background gives the class away"]
    assert (audits[1.0]["value"].item(), audits[1.0]["p_value"].item()) == (1.0, 1 / 200)
    assert [overall_verdict(audits[confound]) for confound in (0.0, 1.0)] == [
        "ok",
        "the background gives the class away",
    ]


def test_noise_in_more_features_than_subjects_is_not_taken_for_a_signal():
    random = np.random.default_rng(0)
    p_values = []
    for repeat in range(30):
        features = random.normal(size=(24, 60))
        found = probe(features, ["a"] * 12 + ["b"] * 12, folds=3, seed=repeat, resamples=10, permutations=19)
        p_values.append(found.p_value)
    # Of 30 at a true rate of 0.05, more than 5 are found once in 300 times; uniform p-values have a mean of a half.
    assert (np.array(p_values) <= 0.05).sum() <= 5
    assert 0.35 < np.mean(p_values) < 0.65


def test_three_data_sets_are_told_apart_where_they_differ():
    random = np.random.default_rng(1)
    sources = np.repeat(STUDIOS, HEALTHY // 3)
    features = random.normal(size=(HEALTHY, 8)) + 2.5 * np.eye(8)[np.repeat(range(3), HEALTHY // 3)]
    found = probe(features, sources, **settled(permutations=199))
    assert (found.classes, found.chance, found.n_subjects) == (STUDIOS, 1 / 3, HEALTHY)
    assert found.value > 0.8
    assert found.ci_low > found.chance
    row = probe_audit(FEATURES_TELL_SOURCE, found).iloc[0]
    assert (row["grade"], row["verdict"]) == ("warn", "the features tell the data set")
    assert f"{found.value:.2f} [{found.ci_low:.2f}, {found.ci_high:.2f}], by chance 0.33" in row["sentence"]


def test_units_and_origins_of_features_do_not_matter():
    features, labels = backgrounds(0.4, 5)
    scaled = features * np.logspace(-3, 3, 16) + np.linspace(-100, 100, 16)
    assert probe(scaled, labels, **settled()) == probe(features, labels, **settled())


def test_a_feature_that_never_changes_says_nothing():
    features, labels = backgrounds(0.4, 5)
    constant = np.column_stack([features, np.full(len(features), 3.0)])
    found = probe(constant, labels, **settled())
    assert np.isfinite(found.value)


def test_subjects_without_a_label_and_labels_of_too_few_subjects_do_not_count():
    features, labels = backgrounds(1.0, 3)
    more = np.vstack([features, np.full((7, 16), 1e6)])
    found = probe(more, [*labels, None, float("nan"), None, "rare", "rare", "rare", "rare"], **settled())
    expected = probe(features, labels, **settled())
    assert found.left_out == ("rare",)
    assert (found.value, found.p_value, found.n_subjects) == (expected.value, expected.p_value, len(labels))
    assert "left out, with too few subjects: rare" in probe_audit(BACKGROUND_TELLS_CLASS, found)["sentence"].item()


@pytest.mark.parametrize(
    ("labels", "words"), [(["studio_a"] * 9, "there is one, studio_a"), ([None] * 9, "none is known")]
)
def test_one_data_set_alone_cannot_be_told_from_others(labels, words):
    found = probe(np.ones((9, 2)), labels, **settled())
    assert np.isnan(found.value)
    row = probe_audit(BACKGROUND_TELLS_SOURCE, found).iloc[0]
    assert (row["grade"], row["verdict"]) == ("not told", "not told")
    assert words in row["sentence"]


def test_features_that_cannot_be_used_are_refused():
    with pytest.raises(ValueError, match="2 rows of features and 3 labels"):
        probe(np.ones((2, 2)), ["a", "b", "b"], **settled())
    with pytest.raises(ValueError, match="not finite"):
        probe([[1.0], [np.nan]], ["a", "b"], **settled())


# Healthy subjects of a data set that nobody was trained on


def predicted(right: dict[str, list[bool]], protocol: str = "grouped", model: str = "attention_fusion") -> pd.DataFrame:
    """Healthy subjects of each data set, told to be healthy or not, and two patients who must not count."""
    rows = [
        (f"{source}{number}", "Non-PD", [0.6, 0.3, 0.1] if told else [0.2, 0.7, 0.1])
        for source, answers in right.items()
        for number, told in enumerate(answers)
    ]
    rows += [("p1", "Early", [0.8, 0.1, 0.1]), ("p2", "Mid/late", [0.1, 0.1, 0.8])]
    people = pd.DataFrame(rows, columns=["subject", "label", "probabilities"])
    return people.assign(
        study="parkinson", protocol=protocol, model=model, fold=0, cohort="c", clip="expressions", frame=0
    )


def people(right: dict[str, list[bool]]) -> pd.DataFrame:
    rows = [(f"{source}{number}", source) for source, answers in right.items() for number in range(len(answers))]
    return pd.DataFrame([*rows, ("p1", "clinic"), ("p2", "clinic")], columns=["subject", "source"]).assign(
        cohort="c", clip="expressions", frame=0
    )


GOOD = {source: [True] * 10 + [False] for source in STUDIOS}
BLIND = GOOD | {"studio_b": [False] * 11}


def specificity(unseen: dict[str, list[bool]], grouped: dict[str, list[bool]] | None = GOOD) -> pd.DataFrame:
    parts = [predicted(unseen, "sources"), *([predicted(grouped)] if grouped else [])]
    return specificity_by_source(pd.concat(parts), people(unseen), "Non-PD", 200, 0)


def test_specificity_is_told_by_data_set_beside_that_under_grouped():
    found = specificity(BLIND)
    assert list(found.columns) == AUDITS
    row = found[found["source"] == "studio_b"].iloc[0]
    assert (row["value"], row["reference"], row["n_subjects"]) == (0.0, pytest.approx(10 / 11), 11)
    # Wilson's limits of 0 of 11: 0 and z^2 / (n + z^2).
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(0), pytest.approx(3.8415 / 14.8415, abs=1e-4))
    together = found[found["quantity"] == "difference"].iloc[0]
    assert together["value"] == pytest.approx(-10 / 33)
    assert together["p_value"] == pytest.approx(0.5**10)
    assert "tells 61% of 33 healthy subjects" in together["sentence"]


def test_a_data_set_that_is_taken_for_patients_raises_an_alarm_by_its_name():
    found = specificity(BLIND)
    by_source = dict(zip(found["source"], found["verdict"], strict=True))
    alarm = "healthy people of new data sets are taken for patients"
    assert by_source == {"studio_a": "ok", "studio_b": alarm, "studio_c": "ok", "": alarm}
    assert overall_verdict(found) == alarm


@pytest.mark.parametrize(
    "unseen", [GOOD, GOOD | {"studio_a": [True] * 11}, GOOD | {"studio_a": [True] * 8 + [False] * 3}]
)
def test_as_many_or_a_few_mistakes_more_raise_none(unseen):
    found = specificity(unseen)
    assert set(found["verdict"]) == {"ok"}
    assert overall_verdict(found) == "ok"


def test_errors_that_are_no_more_often_made_raise_none():
    # All wrong under either protocol: the networks are bad, but not because of the data set.
    wrong = {source: [False] * 11 for source in STUDIOS}
    assert set(specificity(wrong, wrong)["verdict"]) == {"ok"}


def test_nothing_to_compare_with_is_said():
    found = specificity(GOOD, None)
    assert set(found["verdict"]) == {"not told"}
    assert "was not tested under grouped" in found["sentence"].iloc[-1]
    nobody = specificity_by_source(predicted(GOOD), people(GOOD), "Non-PD", 200, 0)
    assert nobody[["audit", "verdict"]].to_numpy().tolist() == [[UNSEEN_SOURCE, "not told"]]
    assert "had seen nobody of its data set" in nobody["sentence"].item()


def test_the_order_of_predictions_and_of_models_does_not_matter():
    table = pd.concat(
        [
            predicted(BLIND, protocol, model)
            for protocol in ("sources", "grouped")
            for model in ("ordinal", "attention_fusion")
        ]
    )
    samples = people(BLIND)
    found = specificity_by_source(table, samples, "Non-PD", 100, 0)
    assert found["model"].drop_duplicates().tolist() == ["attention_fusion", "ordinal"]
    mixed = table.sample(frac=1, random_state=1), samples.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(specificity_by_source(*mixed, "Non-PD", 100, 0), found)


# Ages


def best_pairs(patients: list[int], others: list[int], calliper: float) -> tuple[int, float]:
    """Most pairs and their least sum of differences, by trying everything."""
    best = (0, 0.0)
    for count in range(1, min(len(patients), len(others)) + 1):
        for some in combinations(patients, count):
            for matched in permutations(others, count):
                gaps = [abs(a - b) for a, b in zip(some, matched, strict=True)]
                if max(gaps) <= calliper and (count, -sum(gaps)) > (best[0], -best[1]):
                    best = (count, float(sum(gaps)))
    return best


@given(
    st.lists(st.integers(40, 60), min_size=1, max_size=4),
    st.lists(st.integers(40, 60), min_size=1, max_size=5),
    st.integers(0, 8),
)
@settings(max_examples=60, deadline=None)
def test_ages_are_matched_in_as_many_pairs_as_can_be_and_as_closely(patients, others, calliper):
    pairs = match_ages(patients, others, calliper)
    gaps = np.abs(np.array(patients)[pairs[:, 0]] - np.array(others)[pairs[:, 1]])
    assert (gaps <= calliper).all()
    assert all(len(set(column)) == len(pairs) for column in pairs.T)
    assert (len(pairs), gaps.sum()) == best_pairs(patients, others, calliper)


def aged(score_of, ages_of, seed: int = 0, count: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and samples of as many patients as others, from the age and the health of each."""
    random = np.random.default_rng(seed)
    ill = np.arange(2 * count) % 2 == 1
    ages = np.array([ages_of(random, each) for each in ill])
    scores = np.array([score_of(random, each, age) for each, age in zip(ill, ages, strict=True)])
    table = pd.DataFrame(
        {
            "study": "parkinson",
            "protocol": "grouped",
            "model": "attention_fusion",
            "fold": np.arange(2 * count) % 5,
            "cohort": "c",
            "subject": [f"s{number:02}" for number in range(2 * count)],
            "clip": "expressions",
            "frame": 0,
            "label": np.where(ill, np.where(np.arange(2 * count) % 4 == 1, "Early", "Mid/late"), "Non-PD"),
            "probabilities": [[1 - score, score / 2, score / 2] for score in scores],
        }
    )
    return table, table[["cohort", "subject", "clip", "frame"]].assign(age=ages, source="x")


def older(random, ill):
    return round(random.normal(62 if ill else 48, 9))


def same(random, ill):
    return round(random.normal(58, 10))


def by_age(random, ill, age):
    return 1 / (1 + np.exp(-(age - 55 + random.normal(0, 2)) / 10))


def by_health(random, ill, age):
    return 1 / (1 + np.exp(-(4 * ill - 2 + random.normal(0, 1))))


def matched(found: tuple[pd.DataFrame, pd.DataFrame], **changes) -> pd.DataFrame:
    rows = age_matched(*found, "Non-PD", **({"calliper": 3, "resamples": 300, "seed": 0} | changes))
    return rows.set_index("audit")


def test_a_model_that_reads_the_age_is_found_out():
    found = matched(aged(by_age, older))
    assert found.loc[AGE_TELLS_CLASS, "verdict"] == "age tells patients from others"
    row = found.loc[EQUAL_AGES]
    assert row["reference"] > 0.75
    assert abs(row["value"] - 0.5) < 0.15
    assert (row["grade"], row["verdict"]) == ("warn", "detection is not shown at equal ages")
    assert overall_verdict(found.reset_index()) == (
        "detection is not shown at equal ages; age tells patients from others"
    )


def test_a_model_that_reads_health_is_confirmed_at_equal_ages():
    found = matched(aged(by_health, older))
    assert found.loc[AGE_TELLS_CLASS, "grade"] == "warn"
    assert found.loc[EQUAL_AGES, "verdict"] == "ok"
    assert found.loc[EQUAL_AGES, "ci_low"] > 0.5


def test_ages_that_are_alike_raise_nothing():
    found = matched(aged(by_health, same))
    assert overall_verdict(found.reset_index()) == "ok"
    nothing = matched(aged(lambda random, ill, age: random.random(), same, seed=2))
    assert nothing.loc[EQUAL_AGES, "verdict"] == "no detection to explain"


def test_areas_are_those_of_scikit_learn():
    table, samples = aged(by_age, older)
    table.loc[:9, "probabilities"] = pd.Series([[0.5, 0.25, 0.25]] * 10)
    found = matched((table, samples))
    ill = table["label"] != "Non-PD"
    assert found.loc[AGE_TELLS_CLASS, "value"] == pytest.approx(roc_auc_score(ill, samples["age"]))
    scores = [1 - each[0] for each in table["probabilities"]]
    assert found.loc[EQUAL_AGES, "reference"] == pytest.approx(roc_auc_score(ill, scores))
    pairs = match_ages(samples["age"][ill], samples["age"][~ill], 3)
    kept = [*np.flatnonzero(ill)[pairs[:, 0]], *np.flatnonzero(~ill)[pairs[:, 1]]]
    assert found.loc[EQUAL_AGES, "value"] == pytest.approx(roc_auc_score(ill.iloc[kept], np.array(scores)[kept]))
    assert found.loc[EQUAL_AGES, "n_subjects"] == 2 * len(pairs)


def test_missing_ages_are_said():
    table, samples = aged(by_health, same)
    samples.loc[:10, "age"] = np.nan
    assert "The ages of 11 of 60 subjects are not known." in matched((table, samples)).loc[EQUAL_AGES, "sentence"]
    samples.loc[1::2, "age"] = np.nan
    none = matched((table, samples))
    assert set(none["verdict"]) == {"not told"}
    assert "No ages of patients are known" in none.loc[EQUAL_AGES, "sentence"]
    samples["age"] = np.nan
    assert "No ages are known" in matched((table, samples)).loc[AGE_TELLS_CLASS, "sentence"]


def test_ages_too_far_apart_make_no_pair():
    found = matched(aged(by_health, lambda random, ill: 80 if ill else 30))
    assert found.loc[EQUAL_AGES, "verdict"] == "not told"
    assert "At most 3 years apart there is no pair" in found.loc[EQUAL_AGES, "sentence"]


def test_the_order_of_people_does_not_matter_for_their_ages():
    table, samples = aged(by_age, older)
    mixed = table.sample(frac=1, random_state=1), samples.sample(frac=1, random_state=2)
    pd.testing.assert_frame_equal(matched(mixed), matched((table, samples)))


def test_ages_are_matched_for_one_model_at_a_time():
    table, samples = aged(by_age, older, count=4)
    with pytest.raises(ValueError, match="one protocol and model"):
        matched((pd.concat([table, table.assign(model="ordinal")]), samples))


# All of them


def test_the_verdict_of_all_audits_names_every_alarm_the_worst_first():
    quiet = probe_audit(BACKGROUND_TELLS_SOURCE, Probe(("a", "b"), (), 0.5, 0.4, 0.6, 0.5, 0.4, 20))
    loud = probe_audit(FEATURES_TELL_SOURCE, Probe(("a", "b"), (), 0.9, 0.8, 1.0, 0.5, 0.005, 20))
    worst = probe_audit(BACKGROUND_TELLS_CLASS, Probe(("a", "b"), (), 0.9, 0.8, 1.0, 0.5, 0.005, 20))
    untold = probe_audit(FEATURES_TELL_SOURCE, probe(np.ones((3, 1)), ["a"] * 3, **settled()))
    assert overall_verdict(pd.concat([quiet, untold])) == "ok"
    assert overall_verdict(untold) == "not told"
    assert overall_verdict(pd.concat([loud, quiet, worst, loud])) == (
        "the background gives the class away; the features tell the data set"
    )


def test_so_few_subjects_that_no_dealing_of_labels_is_rare_cannot_be_judged():
    """Four subjects in two folds: the labels can be dealt in 2 * 2 ways, so no p-value is below a quarter."""
    features = np.array([[0.0], [1.0], [0.1], [1.1]])
    found = probe(features, ["a", "b", "a", "b"], folds=2, seed=1, resamples=10)
    assert np.isnan(found.p_value)
    row = probe_audit(BACKGROUND_TELLS_CLASS, found).iloc[0]
    assert row["verdict"] == "not told"
    assert "4 subjects are too few" in row["sentence"]
