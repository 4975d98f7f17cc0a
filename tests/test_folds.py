import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceneuro.errors import InputError
from faceneuro.tables import FOLDS, KEYS, read_table, write_table
from faceneuro.training.folds import SUBJECT, permute_labels, roles_of, split

PUBLISHED = {"test_fraction": 0.2, "validation_fraction": 0.1, "seed": 1}
GROUPED = {"folds": 3, "validation_fraction": 0.2, "seed": 1}
PATIENTS = GROUPED | {"folds": "leave_one_patient_out", "positive": "ALS"}


def cohort(healthy: list[int], als: list[int]) -> pd.DataFrame:
    """Samples of subjects with so many frames each, two clips a subject."""
    return pd.DataFrame(
        [
            {
                "cohort": "c",
                "subject": f"{label[0]}{i:03}",
                "clip": f"{label[0]}{i}_{frame % 2}",
                "frame": frame,
                "label": label,
            }
            for label, sizes in (("Healthy", healthy), ("ALS", als))
            for i, size in enumerate(sizes)
            for frame in range(size)
        ]
    ).astype({"frame": "int32"})


def sizes_that_sum_to(total: int, subjects: int) -> list[int]:
    return [total // subjects + (i < total % subjects) for i in range(subjects)]


several = st.lists(st.integers(3, 12), min_size=3, max_size=9)


def test_published_gives_the_supports_of_the_paper():
    samples = cohort(sizes_that_sum_to(935, 11), sizes_that_sum_to(844, 11))
    folds = split(samples, "als", "published", **PUBLISHED).merge(samples)
    assert folds.loc[folds["role"] == "test", "label"].value_counts().to_dict() == {"Healthy": 169, "ALS": 169}
    assert folds.loc[folds["role"] != "unused", "label"].value_counts().to_dict() == {"Healthy": 844, "ALS": 844}


@given(several, several, st.integers(0, 20))
@settings(max_examples=30)
def test_published_balances_the_classes_and_uses_each_sample_once(healthy, als, seed):
    samples = cohort(healthy, als)
    folds = split(samples, "als", "published", **PUBLISHED | {"seed": seed})
    assert len(folds) == len(samples)
    used = folds[folds["role"] != "unused"].merge(samples)
    assert used["label"].value_counts().nunique() == 1
    assert set(used["role"]) == {"train", "validation", "test"}
    assert (used["role"] == "test").sum() == np.ceil(0.2 * len(used))


@given(several, several, st.sampled_from([2, 3, "leave_one_subject_out"]), st.integers(0, 20))
@settings(max_examples=30)
def test_grouped_never_divides_a_subject_and_tests_each_sample_once(healthy, als, folds, seed):
    samples = cohort(healthy, als)
    table = split(samples, "als", "grouped", **GROUPED | {"folds": folds, "seed": seed})
    assert (table.groupby(["fold", *SUBJECT])["role"].nunique() == 1).all()
    assert not table[table["role"] == "test"].duplicated(list(KEYS)).any()
    assert (table["role"] == "test").sum() == len(samples)
    assert table["fold"].nunique() == (folds if isinstance(folds, int) else len(healthy) + len(als))
    labelled = table.merge(samples)
    classes = labelled.groupby(["fold", "role"])["label"].nunique()
    assert (classes.xs("train", level="role") == 2).all()
    if folds != "leave_one_subject_out":
        assert (classes.xs("test", level="role") == 2).all()


def who_is_tested(table: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """fold, subject and label of whoever is tested."""
    test = table[table["role"] == "test"].merge(samples)
    return test[["fold", "subject", "label"]].drop_duplicates(ignore_index=True)


@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=12),
    st.lists(st.integers(1, 4), min_size=2, max_size=8),
    st.integers(0, 20),
)
@settings(max_examples=40)
def test_leaving_one_patient_out_tests_everybody_once_and_each_patient_alone_among_patients(healthy, als, seed):
    samples = cohort(healthy, als)
    table = split(samples, "palsy", "grouped", **PATIENTS | {"seed": seed})
    assert (table.groupby(["fold", *SUBJECT])["role"].nunique() == 1).all()
    assert len(table) == len(als) * len(samples)
    test = who_is_tested(table, samples)
    assert sorted(test["subject"]) == sorted(samples["subject"].unique())
    patients = test[test["label"] == "ALS"].sort_values("fold")
    assert list(patients["subject"]) == sorted(patients["subject"])
    assert list(patients["fold"]) == list(range(len(als)))
    shares = test[test["label"] == "Healthy"]["fold"].value_counts().reindex(range(len(als)), fill_value=0)
    assert shares.max() - shares.min() <= 1
    training = table[table["role"] == "train"].merge(samples)
    assert (training.groupby("fold")["label"].nunique() == 2).all()
    assert training["fold"].nunique() == len(als)


def test_the_seed_deals_the_others_and_leaves_the_patients_where_they_are():
    samples = cohort([2] * 9, [2] * 3)
    dealt = [
        who_is_tested(split(samples, "palsy", "grouped", **PATIENTS | {"seed": seed}), samples) for seed in (1, 1, 2)
    ]
    pd.testing.assert_frame_equal(dealt[0], dealt[1])
    assert not dealt[0].equals(dealt[2])
    patients = [test[test["label"] == "ALS"].reset_index(drop=True) for test in dealt]
    pd.testing.assert_frame_equal(patients[0], patients[2])


def test_fewer_healthy_subjects_than_patients_are_spread_as_far_as_they_go_and_that_is_said_once(caplog):
    samples = cohort([3] * 2, [3] * 5)
    with caplog.at_level(logging.INFO, logger="faceneuro"):
        table = split(samples, "palsy", "grouped", **PATIENTS)
    (message,) = caplog.messages
    assert message.startswith("2 subjects without ALS are fewer than 5 patients: the last 3 folds test a patient alone")
    assert list(who_is_tested(table, samples).groupby("fold").size()) == [2, 2, 1, 1, 1]


def test_enough_healthy_subjects_need_no_word(caplog):
    with caplog.at_level(logging.INFO, logger="faceneuro"):
        split(cohort([3] * 5, [3] * 5), "palsy", "grouped", **PATIENTS)
    assert not caplog.messages


def test_folds_planned_for_a_patient_without_samples_test_nobody(caplog):
    samples = cohort([5] * 4, [5] * 3)
    table = split(samples, "palsy", "grouped", expected=5, **PATIENTS)
    pd.testing.assert_frame_equal(table[table["fold"] < 3], split(samples, "palsy", "grouped", **PATIENTS))
    assert set(table.loc[table["fold"] >= 3, "role"]) == {"train"}
    assert table["fold"].nunique() == 5
    assert "2 of 5 planned folds test nobody" in caplog.text


def test_whose_samples_are_the_patients_must_be_known():
    for positive in ("Palsy", None):
        with pytest.raises(ValueError, match="leaving one patient out needs the patients' label"):
            split(cohort([5] * 4, [5] * 3), "palsy", "grouped", **PATIENTS | {"positive": positive})


@pytest.mark.parametrize(("protocol", "options"), [("published", PUBLISHED), ("grouped", GROUPED)])
def test_other_protocols_do_not_care_who_the_patients_are(protocol, options):
    samples = cohort([5] * 4, [5] * 4)
    pd.testing.assert_frame_equal(
        split(samples, "als", protocol, positive="ALS", **options), split(samples, "als", protocol, **options)
    )


@given(
    st.randoms(use_true_random=False),
    st.sampled_from([("published", PUBLISHED), ("grouped", GROUPED), ("grouped", PATIENTS)]),
)
@settings(max_examples=20)
def test_the_order_of_the_rows_does_not_matter(random, protocol):
    samples = cohort([9, 8, 7, 6], [5, 9, 7, 8])
    order = random.sample(range(len(samples)), len(samples))
    name, options = protocol
    expected = split(samples, "als", name, **options)
    pd.testing.assert_frame_equal(split(samples.iloc[order], "als", name, **options), expected)
    assert not split(samples, "als", name, **options | {"seed": 2}).equals(expected)


def test_validation_subjects_come_from_both_classes_of_the_training_part():
    samples = cohort([5] * 6, [5] * 6)
    table = split(samples, "als", "grouped", **GROUPED).merge(samples)
    watched = table[table["role"] == "validation"]
    assert (watched.groupby("fold")["label"].nunique() == 2).all()
    assert (watched.groupby("fold")["subject"].nunique() == 2).all()


def test_without_subjects_to_spare_there_is_no_validation_part():
    table = split(cohort([5] * 2, [5] * 2), "als", "grouped", **GROUPED | {"folds": 2})
    assert set(table["role"]) == {"train", "test"}


def test_folds_that_were_planned_for_lost_subjects_test_nobody():
    samples = cohort([5] * 3, [5] * 3)
    options = GROUPED | {"folds": "leave_one_subject_out"}
    table = split(samples, "als", "grouped", expected=8, **options)
    pd.testing.assert_frame_equal(table[table["fold"] < 6], split(samples, "als", "grouped", **options))
    assert set(table.loc[table["fold"] >= 6, "role"]) == {"train"}
    assert table["fold"].nunique() == 8


def test_same_names_in_two_cohorts_are_different_people():
    one = cohort([5] * 3, [5] * 3)
    both = pd.concat([one, one.assign(cohort="d", label=one["label"].map({"ALS": "Healthy", "Healthy": "ALS"}))])
    table = split(both, "als", "grouped", **GROUPED)
    assert (table.groupby(["fold", *SUBJECT])["role"].nunique() == 1).all()
    assert (table["role"] == "test").sum() == len(both)


def test_roles_follow_the_samples_through_a_table(tmp_path):
    samples = cohort([5] * 3, [5] * 3)
    write_table(split(samples, "als", "grouped", **GROUPED), tmp_path / "folds.parquet", FOLDS)
    folds = read_table(tmp_path / "folds.parquet")
    shuffled = samples.sample(frac=1, random_state=0)
    expected = samples.assign(role=roles_of(folds, 1, samples))
    found = shuffled.assign(role=roles_of(folds, 1, shuffled))
    pd.testing.assert_frame_equal(found.sort_index(), expected)
    with pytest.raises(ValueError, match="not made of these samples"):
        roles_of(folds, 1, samples.iloc[1:])


def test_fewer_subjects_than_folds_is_named_with_its_remedy():
    with pytest.raises(
        InputError, match=r"studies\.als\.protocols\.grouped\.folds: it is 3, but class ALS has 2 subjects.*lower it"
    ):
        split(cohort([5] * 4, [5] * 2), "als", "grouped", **GROUPED)


@pytest.mark.parametrize("folds", ["leave_one_subject_out", "leave_one_patient_out"])
def test_leaving_out_the_only_subject_of_a_class_is_refused(folds):
    with pytest.raises(InputError, match="class ALS has 1 subject with usable samples; at least two are needed"):
        split(cohort([5] * 4, [5]), "als", "grouped", **PATIENTS | {"folds": folds})


@pytest.mark.parametrize(("protocol", "options"), [("published", PUBLISHED), ("grouped", GROUPED)])
def test_one_class_only_is_named(protocol, options):
    with pytest.raises(InputError, match=r"studies\.als\.groups: a classifier needs two classes, the samples have ALS"):
        split(cohort([], [5] * 4), "als", protocol, **options)


def test_too_few_samples_to_split_are_named():
    with pytest.raises(InputError, match=r"studies\.als\.protocols\.published: 4 samples"):
        split(cohort([2], [3]), "als", "published", **PUBLISHED)


@given(st.integers(2, 30), st.integers(2, 30), st.integers(0, 100), st.randoms(use_true_random=False))
def test_permuted_labels_keep_class_sizes_and_are_independent_of_the_old(healthy, als, seed, random):
    labels = pd.Series(["Healthy"] * healthy + ["ALS"] * als, [f"s{i:02}" for i in range(healthy + als)])
    permuted = permute_labels(labels, seed)
    assert permuted.value_counts().to_dict() == labels.value_counts().to_dict()
    swapped = ((permuted != labels) & (labels == "ALS")).sum()
    assert abs(swapped - healthy * als / (healthy + als)) <= 0.5
    order = random.sample(list(labels.index), len(labels))
    pd.testing.assert_series_equal(permute_labels(labels[order], seed), permuted[order])


def test_half_of_each_class_swaps_when_classes_are_equal():
    labels = pd.Series(["Healthy"] * 10 + ["ALS"] * 10)
    permuted = permute_labels(labels, 3)
    assert (permuted != labels).groupby(labels).sum().to_dict() == {"Healthy": 5, "ALS": 5}
