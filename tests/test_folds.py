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


SOURCES = {"validation_fraction": 0.2, "seed": 1, "negative": "Non-PD"}


def of_sources(sizes: dict[tuple[str, str], int], frames: int = 1) -> pd.DataFrame:
    """Samples of so many subjects of each label and source."""
    rows = [
        {"label": label, "source": source, "number": number}
        for (label, source), count in sizes.items()
        for number in range(count)
    ]
    # Names in an order that has nothing to do with labels and sources.
    names = np.random.default_rng(0).permutation(len(rows))
    samples = pd.DataFrame(rows).assign(cohort="c", subject=[f"s{name:03}" for name in names], clip="expressions")
    samples = pd.concat([samples.assign(frame=frame) for frame in range(frames)], ignore_index=True)
    return samples.drop(columns="number").astype({"frame": "int32"})


def counts_by_fold(table: pd.DataFrame, samples: pd.DataFrame, by: list[str], folds: int) -> pd.DataFrame:
    """Subjects tested in each fold (columns), for each class or source of a class (rows)."""
    tested = table[table["role"] == "test"].merge(samples).drop_duplicates([*SUBJECT])
    return tested.groupby([*by, "fold"]).size().unstack(fill_value=0).reindex(columns=range(folds), fill_value=0)


source_sizes = st.dictionaries(
    st.tuples(st.sampled_from(["Non-PD", "Early", "Mid/late"]), st.sampled_from(["a", "b", "c", "d"])),
    st.integers(1, 12),
    min_size=2,
)


@given(source_sizes, st.integers(2, 6), st.integers(0, 20), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_folds_have_their_share_of_each_class_and_of_each_source_within_it(sizes, folds, seed, random):
    samples = of_sources(sizes, frames=2)
    of_class = samples.drop_duplicates(SUBJECT)["label"].value_counts()
    options = GROUPED | {"folds": folds, "seed": seed}
    if len(of_class) < 2 or of_class.min() < folds:
        with pytest.raises(InputError):
            split(samples, "parkinson", "grouped", **options)
        return
    table = split(samples, "parkinson", "grouped", **options)
    assert (table.groupby(["fold", *SUBJECT])["role"].nunique() == 1).all()
    assert not table[table["role"] == "test"].duplicated(list(KEYS)).any()
    assert (table["role"] == "test").sum() == len(samples)
    for by in (["label"], *([["label", "source"]] if samples["source"].nunique() > 1 else [])):
        counts = counts_by_fold(table, samples, by, folds)
        assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    trained = table[table["role"] == "train"].merge(samples)
    assert (trained.groupby("fold")["label"].nunique() == len(of_class)).all()
    order = random.sample(range(len(samples)), len(samples))
    pd.testing.assert_frame_equal(split(samples.iloc[order], "parkinson", "grouped", **options), table)


def test_folds_differ_in_size_by_one_at_most_and_the_seed_deals_them():
    samples = of_sources({("Non-PD", "a"): 13, ("Non-PD", "b"): 9, ("Early", "x"): 8, ("Mid/late", "x"): 7})
    first, second = (split(samples, "parkinson", "grouped", **GROUPED | {"folds": 5, "seed": seed}) for seed in (1, 2))
    assert not first.equals(second)
    for table in (first, second):
        sizes = table[table["role"] == "test"].groupby("fold").size()
        assert sizes.max() - sizes.min() <= 1


def test_one_source_only_is_no_source_at_all():
    samples = of_sources({("Non-PD", "a"): 10, ("Early", "a"): 6, ("Mid/late", "a"): 5})
    expected = split(samples.drop(columns="source"), "parkinson", "grouped", **GROUPED)
    pd.testing.assert_frame_equal(split(samples, "parkinson", "grouped", **GROUPED), expected)
    unknown = samples.assign(source=None)
    pd.testing.assert_frame_equal(split(unknown, "parkinson", "grouped", **GROUPED), expected)


def test_a_source_that_nobody_noted_is_one_like_any_other():
    samples = of_sources({("Non-PD", "a"): 9, ("Non-PD", "b"): 6, ("Early", "b"): 6})
    table = split(samples, "parkinson", "grouped", **GROUPED)
    unnamed = samples.assign(source=samples["source"].replace({"a": None}))
    pd.testing.assert_frame_equal(split(unnamed, "parkinson", "grouped", **GROUPED), table)


def test_a_subject_of_two_sources_or_labels_is_refused():
    samples = of_sources({("Non-PD", "a"): 4, ("Early", "b"): 4}, frames=2)
    for name, other in (("source", "z"), ("label", "Mid/late")):
        torn = samples.copy()
        torn.loc[0, name] = other
        with pytest.raises(ValueError, match=f"a subject has two {name}s"):
            split(torn, "parkinson", "grouped", **GROUPED | {"folds": 2})


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 9), min_size=2),
    st.integers(1, 6),
    st.sampled_from(["a", "clinic"]),
    st.integers(0, 20),
)
@settings(max_examples=30)
def test_each_source_of_the_healthy_is_held_out_once_and_nobody_else_is(healthy, patients, clinic, seed):
    sizes = {("Non-PD", source): count for source, count in healthy.items()}
    sizes |= {("Early", clinic): patients, ("Mid/late", clinic): patients}
    samples = of_sources(sizes, frames=2)
    table = split(samples, "parkinson", "sources", **SOURCES | {"seed": seed})
    assert table["fold"].nunique() == len(healthy)
    assert len(table) == len(healthy) * len(samples)
    assert (table.groupby(["fold", *SUBJECT])["role"].nunique() == 1).all()
    labelled = table.merge(samples)
    tested = labelled[labelled["role"] == "test"]
    assert set(tested["label"]) == {"Non-PD"}
    assert tested.groupby("fold")["source"].unique().map(list).tolist() == [[source] for source in sorted(healthy)]
    assert tested.groupby("source")["subject"].nunique().to_dict() == healthy
    trained = labelled[labelled["role"] == "train"]
    assert (trained.groupby("fold")["label"].nunique() == 3).all()


@pytest.mark.parametrize(
    ("source", "words"), [("studio", "all of them come from 'studio'"), (None, "all of them come from one without a")]
)
def test_a_single_source_of_the_healthy_cannot_be_held_out(source, words):
    samples = of_sources({("Non-PD", "x"): 6, ("Early", "clinic"): 3}).replace({"source": {"x": source}})
    with pytest.raises(InputError, match=rf"studies\.parkinson\.protocols\.sources: .* Non-PD .*{words}.*leave"):
        split(samples, "parkinson", "sources", **SOURCES)
    without = samples[samples["label"] == "Non-PD"].drop(columns="source")
    both = pd.concat([without, samples[samples["label"] == "Early"].drop(columns="source")])
    with pytest.raises(InputError, match="one without a name"):
        split(both, "parkinson", "sources", **SOURCES)


def test_whose_sources_are_held_out_must_be_known():
    samples = of_sources({("Non-PD", "a"): 4, ("Non-PD", "b"): 4, ("Early", "b"): 4})
    for negative in ("Healthy", None):
        with pytest.raises(ValueError, match="needs the label of the healthy"):
            split(samples, "parkinson", "sources", **SOURCES | {"negative": negative})


def test_a_source_planned_for_and_lost_makes_a_fold_that_tests_nobody(caplog):
    samples = of_sources({("Non-PD", "a"): 4, ("Non-PD", "b"): 4, ("Early", "clinic"): 4})
    table = split(samples, "parkinson", "sources", expected=3, **SOURCES)
    assert set(table.loc[table["fold"] == 2, "role"]) == {"train"}
    assert "1 of 3 planned folds test nobody, because as many sources have no usable sample" in caplog.text


@pytest.mark.parametrize("few", ["Early", "Mid/late", "Non-PD"])
@pytest.mark.parametrize("known", [True, False])
def test_of_three_classes_the_one_with_too_few_subjects_is_named(few, known):
    samples = of_sources({(label, label[0]): 2 if label == few else 5 for label in ("Non-PD", "Early", "Mid/late")})
    samples = samples if known else samples.drop(columns="source")
    with pytest.raises(
        InputError, match=rf"studies\.parkinson\.protocols\.grouped\.folds: it is 3, but class {few} has 2 subjects"
    ):
        split(samples, "parkinson", "grouped", **GROUPED)


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


@given(st.lists(st.integers(1, 30), min_size=3, max_size=5), st.integers(0, 100), st.randoms(use_true_random=False))
def test_labels_of_several_classes_are_dealt_anew_and_tell_nothing_of_the_old(sizes, seed, random):
    old = np.repeat([f"c{i}" for i in range(len(sizes))], sizes)
    labels = pd.Series(np.random.default_rng(0).permutation(old), [f"s{i:03}" for i in range(len(old))])
    permuted = permute_labels(labels, seed)
    assert permuted.value_counts().to_dict() == labels.value_counts().to_dict()
    found = pd.crosstab(labels, permuted)
    share = found.sum(axis=0).to_numpy() / len(labels)
    independent = np.outer(found.sum(axis=1), share)
    # Up to any place of the layout, a label is within a half of its share of the line, and the line of k labels within
    # k halves of its length; a class is what lies between two places.
    assert (np.abs(found.to_numpy() - independent) <= 1 + len(sizes) * share + 1e-9).all()
    order = random.sample(list(labels.index), len(labels))
    pd.testing.assert_series_equal(permute_labels(labels[order], seed), permuted[order])


def test_the_seed_decides_who_gets_which_of_several_labels():
    labels = pd.Series(["Non-PD"] * 34 + ["Early"] * 12 + ["Mid/late"] * 8)
    assert not permute_labels(labels, 1).equals(permute_labels(labels, 2))
    # Whoever was early may become anything.
    became = {label for seed in range(20) for label in permute_labels(labels, seed)[[40]]}
    assert became == {"Non-PD", "Early", "Mid/late"}
    with pytest.raises(ValueError, match="labels of one class cannot be permuted"):
        permute_labels(labels[:5], 1)


def test_half_of_each_class_swaps_when_classes_are_equal():
    labels = pd.Series(["Healthy"] * 10 + ["ALS"] * 10)
    permuted = permute_labels(labels, 3)
    assert (permuted != labels).groupby(labels).sum().to_dict() == {"Healthy": 5, "ALS": 5}
