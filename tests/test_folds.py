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


@given(st.randoms(use_true_random=False), st.sampled_from([("published", PUBLISHED), ("grouped", GROUPED)]))
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


def test_leaving_out_the_only_subject_of_a_class_is_refused():
    with pytest.raises(InputError, match="class ALS has 1 subject with usable samples; at least two are needed"):
        split(cohort([5] * 4, [5]), "als", "grouped", **GROUPED | {"folds": "leave_one_subject_out"})


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
