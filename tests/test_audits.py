"""Audits find what is planted, are silent where nothing is, and agree with formulas and simulations of their own."""

from importlib import import_module
from itertools import pairwise, permutations

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, chi2, mannwhitneyu
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from faceneuro.config import PUBLISHED_MODELS, headline_model
from faceneuro.evaluation.audits import (
    LARGE,
    NEAR,
    against_chance,
    all_audits,
    calibration,
    calibration_error,
    duplicates,
    held_out,
    leakage_gap,
    missed_faces,
    power,
    reliability,
    seeds,
    smallest_area,
    subgroups,
)
from faceneuro.evaluation.sources import AUDITS, BACKGROUND_TELLS_CLASS, Probe, probe_audit
from faceneuro.features.hashes import WORDS, nearest, perceptual_hash
from faceneuro.report.audits import write_audits
from faceneuro.tables import AUDITS as SCHEMA
from faceneuro.tables import HASHES, KEYS, read_table, write_table

CLASSES = ("Healthy", "ALS")
GROUPS = {"negative": "healthy", "positive": "als"}
DRAWN = {"resamples": 200, "seed": 1}
COLUMNS = ["study", "protocol", "model", "fold", *KEYS, "label", "probability"]


def predictions(seed: int, n: int = 24, effect: float = 0.8, leak: float = 0.0, frames: int = 5) -> pd.DataFrame:
    """What a model makes of ``n`` people, half of them patients, under both protocols.

    A person is as easy as chance has it, in each protocol anew; ``effect`` separates the classes, ``leak`` adds to that
    under the published protocol alone.
    """
    random, rows = np.random.default_rng(seed), []
    for protocol, apart in (("published", effect + leak), ("grouped", effect)):
        own = random.normal(size=n)
        for person in range(n):
            label, fold = CLASSES[person % 2], person // 2 % 5 if protocol == "grouped" else 0
            logits = own[person] + apart * (1 if person % 2 else -1) + random.normal(0, 0.7, frames)
            keys = ("als", protocol, "dual_branch", fold, "cohort", f"S{person:02d}", "clip")
            rows += [(*keys, frame, label, 1 / (1 + np.exp(-logit))) for frame, logit in enumerate(logits)]
    return pd.DataFrame(rows, columns=COLUMNS)


def people(seed: int, n: int = 24, effect: float = 0.8) -> pd.DataFrame:
    return held_out(predictions(seed, n, effect), "dual_branch", "Healthy")


def rarely(grades: list[str], rate: float) -> bool:
    """Whether alarms are so few that, at this rate of false ones, more are found no less than once in 1,000 times."""
    return sum(grade != "ok" for grade in grades) <= binom.ppf(0.999, len(grades), rate)


# The leakage gap


def test_the_gap_is_the_difference_of_two_balanced_accuracies():
    table = predictions(1, leak=1.0)
    frames = dict(iter(table.groupby("protocol")))
    accuracy = {
        name: balanced_accuracy_score(part["label"] == "ALS", part["probability"] > 0.5)
        for name, part in frames.items()
    }
    row = leakage_gap(table, "dual_branch", CLASSES, **DRAWN).iloc[0]
    assert row["value"] == pytest.approx(accuracy["published"] - accuracy["grouped"])
    assert row["reference"] == pytest.approx(accuracy["grouped"])
    assert row["ci_low"] < row["value"] < row["ci_high"]


def test_a_planted_leak_is_found_with_its_sign_and_none_is_made_up():
    planted = [
        leakage_gap(predictions(seed, effect=0.3, leak=1.5), "dual_branch", CLASSES, **DRAWN).iloc[0]
        for seed in range(20)
    ]
    assert sum(row["grade"] == "warn" for row in planted) >= 18
    assert all(row["value"] > 0 for row in planted)
    # A gap the other way round is no leak.
    turned = leakage_gap(predictions(1, effect=1.5, leak=-1.5), "dual_branch", CLASSES, **DRAWN).iloc[0]
    assert (turned["value"] < 0, turned["grade"]) == (True, "ok")
    # A percentile interval of 24 people is somewhat too narrow: 2.5 % become some 4.
    clean = [leakage_gap(predictions(seed), "dual_branch", CLASSES, **DRAWN)["grade"].item() for seed in range(60)]
    assert rarely(clean, 0.045)


def test_without_one_of_the_protocols_there_is_no_gap_to_tell():
    table = predictions(1)
    row = leakage_gap(table[table["protocol"] == "grouped"], "dual_branch", CLASSES, **DRAWN).iloc[0]
    assert row["grade"] == "not told"
    assert np.isnan(row["value"])


# Permuted labels


def test_the_p_value_is_the_share_of_all_permutations_that_do_as_well():
    table = people(3, n=8, effect=0.9).assign(fold=0)
    ill, score = table["ill"].to_numpy(), table["probability"].to_numpy()
    found = roc_auc_score(ill, score)
    everyone = [roc_auc_score(dealt, score) for dealt in set(permutations(ill.tolist()))]
    row = against_chance(table, "m", **DRAWN).iloc[0]
    assert row["value"] == pytest.approx(found)
    assert row["p_value"] == pytest.approx(np.mean(np.array(everyone) >= found - 1e-9), abs=0.03)


def test_labels_that_mean_nothing_are_not_told_apart_and_an_effect_is():
    null = [against_chance(people(seed, effect=0.0), "m", **DRAWN)["grade"].item() for seed in range(100)]
    assert sum(grade == "ok" for grade in null) <= binom.ppf(0.999, 100, 0.05)
    found = [against_chance(people(seed, n=40, effect=1.0), "m", **DRAWN)["grade"].item() for seed in range(20)]
    assert found.count("ok") >= 19


def test_folds_that_differ_are_not_taken_for_a_difference_of_classes():
    """Networks of different folds disagree on everybody, and folds have different shares of patients."""
    fold = np.repeat([0, 1], 20)
    ill = np.concatenate([np.arange(20) < 15, np.arange(20) < 5])
    random = np.random.default_rng(0)
    score = 0.8 - 0.6 * fold + random.uniform(-0.05, 0.05, 40)
    table = pd.DataFrame({"cohort": "c", "subject": [f"S{i:02d}" for i in range(40)], "fold": fold, "ill": ill})
    row = against_chance(table.assign(probability=score), "m", **DRAWN).iloc[0]
    assert row["value"] > 0.7
    assert row["p_value"] > 0.05
    assert "within folds" in row["sentence"]


def test_with_one_subject_in_a_fold_labels_are_permuted_over_all():
    table = people(2, effect=1.5)
    row = against_chance(table.assign(fold=range(len(table))), "m", **DRAWN).iloc[0]
    assert row["grade"] == "ok"
    assert "over all" in row["sentence"]


def test_a_background_that_tells_the_class_is_bad_and_one_that_does_not_is_fine():
    told, silent = (
        against_chance(
            people(1, n=60, effect=effect), "surroundings_mixer", **DRAWN, audit=BACKGROUND_TELLS_CLASS
        ).iloc[0]
        for effect in (1.5, 0.0)
    )
    assert (told["grade"], told["verdict"]) == ("fail", "the background gives the class away")
    assert silent["grade"] == "ok"


def test_too_few_subjects_are_not_judged_and_very_many_are():
    assert against_chance(people(1, n=4), "m", **DRAWN)["grade"].item() == "not told"
    many = outcomes(1, 1200)
    assert against_chance(many, "m", resamples=20, seed=1)["grade"].item() == "ok"


# Calibration


def outcomes(seed: int, n: int, slope: float = 1.0) -> pd.DataFrame:
    """Probabilities, and outcomes whose true logits are ``slope`` times theirs."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, n)
    ill = random.random(n) < 1 / (1 + np.exp(-slope * logits))
    about = {"cohort": "c", "subject": [f"S{i:03d}" for i in range(n)], "fold": 0, "ill": ill}
    return pd.DataFrame(about | {"probability": 1 / (1 + np.exp(-logits))})


def test_brier_score_and_calibration_error_are_those_of_their_formulas():
    table = outcomes(1, 60)
    brier, error = (row for _, row in calibration(table, "m", **DRAWN).iterrows())
    assert brier["value"] == pytest.approx(brier_score_loss(table["ill"], table["probability"]))
    assert brier["reference"] == pytest.approx(table["ill"].mean() * (1 - table["ill"].mean()))
    by_hand = sum(
        len(part) / 60 * abs(part["probability"].mean() - part["ill"].mean())
        for _, part in table.groupby(table["probability"].rank().sub(1).floordiv(6))
    )
    assert error["value"] == pytest.approx(by_hand)


def test_a_subject_counted_twice_weighs_as_two():
    table = outcomes(2, 30)
    score, ill, bins = table["probability"].to_numpy(), table["ill"].to_numpy(float), np.arange(30) // 10
    twice = np.repeat(np.arange(30), np.arange(30) % 3)
    once = calibration_error(score[twice], ill[twice], np.ones((1, len(twice))), bins[twice])
    assert calibration_error(score, ill, (np.arange(30) % 3)[None].astype(float), bins) == pytest.approx(once)


def test_calibrated_models_are_let_be_and_overconfident_ones_are_not():
    clean = [calibration(outcomes(seed, 40), "m", **DRAWN)["grade"].tolist() for seed in range(50)]
    assert rarely([grade for grades in clean for grade in grades], 0.01)
    sure = [calibration(outcomes(seed, 80, 0.1), "m", **DRAWN)["grade"].tolist()[1] for seed in range(10)]
    assert sure.count("warn") >= 9


def test_probabilities_worse_than_the_share_of_patients_are_named():
    table = outcomes(1, 60)
    turned = calibration(table.assign(probability=1 - table["probability"]), "m", **DRAWN)
    assert turned["grade"].tolist() == ["warn", "warn"]
    # Worse by less than 24 people can tell.
    slightly = calibration(people(4, effect=0.0), "m", **DRAWN).iloc[0]
    assert slightly["ci_low"] < slightly["reference"] < slightly["value"]
    assert slightly["grade"] == "ok"


# Faces that are missed


def quality(seed: int, n: int = 24, missed: float = 0.0) -> pd.DataFrame:
    random, ill = np.random.default_rng(seed), np.arange(n) % 2 == 1
    share = random.beta(1, 15, n) + missed * ill * random.random(n)
    about = {"cohort": "c", "subject": [f"S{i:02d}" for i in range(n)], "clip": "k", "task": "rest", "frames_kept": 30}
    found = random.binomial(30, 1 - np.clip(share, 0, 1))
    return pd.DataFrame(about | {"group": np.where(ill, "als", "healthy"), "faces_found": found})


def test_faces_missed_in_one_group_are_noticed_and_equal_losses_are_not():
    planted = missed_faces(quality(1, missed=0.6), GROUPS, **DRAWN).iloc[0]
    assert (planted["grade"], planted["value"] > 0) == ("warn", True)
    clean = [missed_faces(quality(seed), GROUPS, **DRAWN)["grade"].item() for seed in range(40)]
    assert rarely(clean, 0.01)


def test_a_subject_counts_once_however_many_frames_it_has_and_none_is_no_frame():
    table = quality(2)
    longer = pd.concat([table, table[table["subject"] == "S01"].assign(clip="l")])
    empty = table.head(1).assign(subject="S99", frames_kept=0, faces_found=0)
    first, second = (missed_faces(each, GROUPS, **DRAWN).iloc[0] for each in (table, pd.concat([longer, empty])))
    assert second["value"] == pytest.approx(first["value"])
    assert second["n_subjects"] == first["n_subjects"] == 24
    assert missed_faces(table.head(4), GROUPS, **DRAWN)["grade"].item() == "not told"


# Power


@pytest.mark.parametrize(("patients", "others"), [(11, 11), (20, 34), (60, 8), (8, 60)])
def test_the_smallest_effect_is_shown_as_often_as_promised(patients, others):
    """By the rank test itself, on the exponential scores that the formula is of."""
    area = smallest_area(patients, others)
    random = np.random.default_rng(0)
    ill = random.exponential(area / (1 - area), (4000, patients))
    healthy = random.exponential(1, (4000, others))
    shown = mannwhitneyu(ill, healthy, alternative="greater", axis=1, method="asymptotic").pvalue < 0.05
    # A standard error is 0.006; the formula takes the statistic to be normal.
    assert shown.mean() == pytest.approx(0.8, abs=0.035)


def test_more_subjects_show_smaller_effects_and_too_few_show_none():
    sizes = [smallest_area(n, n) for n in (5, 10, 20, 50, 200, 2000)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.53
    assert smallest_area(10, 40) == pytest.approx(smallest_area(40, 10), abs=0.05)
    # The smallest p-value of three and three is 0.05, which is not below it.
    assert np.isnan(smallest_area(3, 3))
    assert smallest_area(20, 20, power=0.95) > smallest_area(20, 20)


def test_studies_that_miss_a_large_effect_are_warned_of():
    small, large = (power(people(1, n=n)).iloc[0] for n in (12, 200))
    assert (small["grade"], large["grade"]) == ("warn", "ok")
    assert large["value"] < LARGE < small["value"]
    assert power(people(1, n=4)).iloc[0]["grade"] == "warn"


# Parts of the cohort


def parts(seed: int, worse: float, n: int = 80) -> pd.DataFrame:
    """Audits of a model that is right less often about women."""
    random = np.random.default_rng(seed)
    woman, ill = np.arange(n) // 2 % 2 == 1, np.arange(n) % 2 == 1
    right = random.random(n) < np.where(woman, 0.9 - worse, 0.9)
    about = {"cohort": "c", "subject": [f"S{i:03d}" for i in range(n)]}
    table = pd.DataFrame(about | {"fold": 0, "ill": ill, "probability": np.where(right == ill, 0.8, 0.2)})
    described = {"sex": np.where(woman, "female", "male"), "age": random.normal(60, 9, n), "source": None}
    return subgroups(table, pd.DataFrame(about | described), "m", **DRAWN).set_index("quantity")


def test_a_part_of_which_a_model_is_wrong_is_named_and_chance_is_not():
    planted = parts(1, 0.6)
    row = planted.loc["balanced accuracy by sex"]
    assert row["grade"] == "warn"
    assert "worst in female" in row["sentence"]
    assert row["ci_low"] > 0
    assert planted.loc["balanced accuracy by age", "grade"] == "ok"
    clean = [parts(seed, 0.0)["grade"].iloc[:2].tolist() for seed in range(8)]
    assert rarely([grade for grades in clean for grade in grades], 0.01)


def test_a_few_healthy_women_among_many_ill_ones_are_compared_as_the_few_that_they_are():
    """Two of five against 28 of 35: if parts were permuted regardless of class, it would be two halves that differ."""
    cells = {("female", False): (5, 2), ("female", True): (35, 35), ("male", False): (35, 28), ("male", True): (5, 5)}
    rows = [
        {"sex": sex, "ill": ill, "probability": 0.8 if (place < right) == ill else 0.2}
        for (sex, ill), (count, right) in cells.items()
        for place in range(count)
    ]
    table = pd.DataFrame(rows).assign(cohort="c", subject=[f"S{i:02d}" for i in range(80)], fold=0)
    described = table[["cohort", "subject", "sex"]].assign(age=np.nan, source=None)
    row = subgroups(table.drop(columns="sex"), described, "m", **DRAWN).iloc[0]
    assert row["value"] == pytest.approx((0.8 + 1) / 2 - (0.4 + 1) / 2)
    assert row["p_value"] > 0.05
    assert row["grade"] == "ok"


def test_parts_that_are_unknown_or_small_are_not_told():
    assert parts(1, 0.0).loc["balanced accuracy by source", "grade"] == "not told"
    assert set(parts(1, 0.0, n=12)["grade"]) == {"not told"}


# Seeds


def trained(seed: int, count: int, effect: float, noise: float, n: int = 24) -> list[pd.DataFrame]:
    """What trainings with several seeds make of the same people: ``noise`` is each one's own, all else they share."""
    random, own = np.random.default_rng(seed), people(seed, n, effect)
    logits = np.log(own["probability"] / (1 - own["probability"]))
    return [own.assign(probability=1 / (1 + np.exp(-logits - noise * random.normal(size=n)))) for _ in range(count)]


def test_the_deviation_by_seed_is_that_of_the_areas_and_its_interval_is_a_normal_distributions():
    trainings = trained(1, 4, 0.8, 0.7)
    areas = [roc_auc_score(each["ill"], each["probability"]) for each in trainings]
    row = seeds(trainings, "m", **DRAWN).iloc[0]
    assert row["value"] == pytest.approx(np.std(areas, ddof=1))
    # Of many samples of four, their own interval covers the true deviation in 95 %.
    ratio = row[["ci_low", "ci_high"]].to_numpy(float) / row["value"]
    drawn = np.random.default_rng(0).normal(size=(20000, 4)).std(axis=1, ddof=1)
    assert np.mean((drawn * ratio[0] < 1) & (drawn * ratio[1] > 1)) == pytest.approx(0.95, abs=0.006)
    each = [against_chance(one, "m", **DRAWN).iloc[0] for one in trainings]
    half = max(one["ci_high"] - one["ci_low"] for one in each) / 2
    assert row["reference"] == pytest.approx(half)
    assert row["p_value"] == pytest.approx(
        1 - chi2.cdf(3 * row["value"] ** 2 / (0.25 * (half / 1.96) ** 2), 3), rel=1e-3
    )
    assert f"Trained with 4 seeds, m has ROC AUC {', '.join(f'{area:.2f}' for area in areas)}" in row["sentence"]


def test_a_training_that_fails_with_one_seed_is_found():
    found = []
    for seed in range(20):
        trainings = trained(seed, 3, 1.2, 0.1)
        trainings[2] = trainings[2].assign(probability=1 - trainings[2]["probability"])
        found.append(seeds(trainings, "m", **DRAWN).iloc[0])
    assert {row["verdict"] for row in found} == {"depends on the seed of the training"}
    assert all("better than chance with 2 of 3" in row["sentence"] for row in found if row["reference"] < 0.2)
    # Better than chance whatever the seed, but by how much depends on it.
    far = seeds([people(1, 60, effect) for effect in (0.6, 1.0, 3.0, 3.0)], "m", **DRAWN).iloc[0]
    assert "better than chance with each" in far["sentence"]
    assert (far["grade"], far["p_value"] < 0.01) == ("warn", True)


def test_seeds_that_matter_less_than_the_people_are_let_be():
    """Clear results, and none at all, whose trainings hardly differ; near the limit any seed decides."""
    clear = [seeds(trained(seed, 3, 1.5, 0.3), "m", **DRAWN).iloc[0] for seed in range(60)]
    assert rarely([row["grade"] for row in clear], 0.01)
    nothing = [seeds(trained(seed, 3, 0.0, 0.3), "m", **DRAWN).iloc[0] for seed in range(60)]
    assert rarely(["ok" if row["p_value"] >= 0.01 else "warn" for row in nothing], 0.01)
    same = seeds([people(1)] * 3, "m", **DRAWN).iloc[0]
    assert (same["value"], same["grade"]) == (0, "ok")
    perfect = people(1).assign(probability=lambda table: 0.1 + 0.8 * table["ill"])
    # Without a mistake no interval has a width, and one mistake is no dependence on the seed.
    mistaken = perfect.assign(probability=perfect["probability"].where(perfect.index != 1, 0.05))
    for trainings in ([perfect] * 3, [perfect, perfect, mistaken]):
        assert seeds(trainings, "m", **DRAWN)["grade"].item() == "ok"


def test_one_training_and_few_people_tell_nothing_of_seeds_and_other_people_are_refused():
    once = seeds([people(1)], "m", **DRAWN).iloc[0]
    assert once["grade"] == "not told"
    assert "trained once" in once["sentence"]
    assert seeds(trained(1, 3, 0.8, 0.3, n=4), "m", **DRAWN)["grade"].item() == "not told"
    for other in (people(1).assign(fold=0), people(1, 22), people(1).iloc[:0]):
        with pytest.raises(ValueError, match="same subjects"):
            seeds([people(1), other], "m", **DRAWN)


def test_a_model_without_anything_random_is_not_looked_at_for_its_seed():
    names = {count: set(audited(repeats=repeats)["audit"]) for count, repeats in (("none", None), ("once", []))}
    assert names["once"] - names["none"] == {"trainings with other seeds, against each other"}


# Pictures


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Gray pictures of 64 x 64 pixels that have nothing to do with each other, smooth as photographs are."""
    random = np.random.default_rng(seed)
    return [cv2.GaussianBlur(random.random((64, 64)).astype(np.float32), (0, 0), 3) for _ in range(count)]


def test_a_hash_survives_compression_light_and_size_but_not_another_picture():
    faces = [cv2.resize(each, (256, 256), interpolation=cv2.INTER_CUBIC) for each in pictures(6)]
    faces = [((each - each.min()) / np.ptp(each) * 200 + 20).astype(np.uint8) for each in faces]

    def hashed(face: np.ndarray) -> np.ndarray:
        return perceptual_hash(cv2.resize(face, (64, 64), interpolation=cv2.INTER_AREA))

    def apart(first: np.ndarray, second: np.ndarray) -> int:
        return int(np.bitwise_count(hashed(first) ^ hashed(second)).sum())

    for face, other in pairwise(faces):
        jpeg = cv2.imdecode(cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE)
        half = cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA)
        assert max(apart(face, jpeg), apart(face, half), apart(face, face // 2 + 60)) <= NEAR
        assert apart(face, other) > 4 * NEAR
    with pytest.raises(ValueError, match=r"\(32, 64\)"):
        perceptual_hash(np.zeros((32, 64)))


def test_the_pairs_found_are_those_of_comparing_every_bit():
    random = np.random.default_rng(1)
    first, second = (random.integers(0, 2**63, (n, WORDS), dtype=np.uint64) for n in (70, 50))
    bits = [np.unpackbits(each.view(np.uint8), axis=1) for each in (first, second)]
    apart = (bits[0][:, None] != bits[1]).sum(axis=2)
    rows, columns = np.nonzero(apart <= 115)
    assert 10 < len(rows) < 1000
    expected = np.column_stack([rows, columns, apart[rows, columns]])
    np.testing.assert_array_equal(nearest(first, second, 115, block=16), expected)


def hashes(images: list[np.ndarray], subjects: list[str]) -> pd.DataFrame:
    rows = [
        {"cohort": "c", "subject": subject, "clip": "k", "frame": frame, "hash": perceptual_hash(image).tobytes()}
        for frame, (subject, image) in enumerate(zip(subjects, images, strict=True))
    ]
    return pd.DataFrame(rows)


FOLDS = pd.DataFrame({"cohort": "c", "subject": ["S1", "S2", "S3"], "fold": [0, 1, 1]})


def test_a_picture_of_two_people_is_found_across_folds_and_only_there(tmp_path):
    images, subjects = pictures(9), ["S1", "S2", "S3"] * 3
    write_table(hashes(images, subjects), tmp_path / "hashes.parquet", HASHES)
    clean = duplicates(read_table(tmp_path / "hashes.parquet"), FOLDS).iloc[0]
    assert (clean["grade"], clean["value"]) == ("ok", 0)
    noise = np.random.default_rng(0).normal(0, 0.002, (64, 64))
    near = duplicates(hashes([*images, images[0] + noise], [*subjects, "S2"]), FOLDS).iloc[0]
    assert (near["grade"], near["value"]) == ("warn", 2)
    assert "S1 k 0 and S2 k 9" in near["sentence"]
    same = duplicates(hashes([*images, images[0]], [*subjects, "S3"]), FOLDS).iloc[0]
    assert (same["grade"], same["value"]) == ("fail", 2)
    # S2 and S3 are tested by one fold, and nobody is a double of himself.
    fine = duplicates(hashes([*images, images[1], images[0]], [*subjects, "S3", "S1"]), FOLDS).iloc[0]
    assert fine["grade"] == "ok"


# All of them


def test_the_papers_own_model_is_audited_or_else_the_first_that_was_run():
    study = {"models": ["flow_only", "dual_branch"], "protocols": {"grouped": {}}}
    assert headline_model("als", study) == "dual_branch"
    assert headline_model("parkinson", study) == "flow_only"
    assert headline_model("als", study | {"protocols": {"grouped": {"models": ["flow_only"]}}}) == "flow_only"
    own = {name: import_module(f"faceneuro.studies.{name}").PUBLISHED_MODEL for name in PUBLISHED_MODELS}
    assert own == PUBLISHED_MODELS


def test_of_several_classes_any_disease_is_audited():
    table = predictions(1).query("protocol == 'grouped'")
    ill = table["probability"].to_numpy()
    three = table.assign(probabilities=list(np.column_stack([1 - ill, 0.3 * ill, 0.7 * ill]))).drop(
        columns="probability"
    )
    found = held_out(three, "dual_branch", "Healthy")
    pd.testing.assert_frame_equal(found, held_out(table, "dual_branch", "Healthy"))


def audited(repeats=(), **changes) -> pd.DataFrame:
    table = predictions(5, n=40, **changes)
    about = table[["cohort", "subject"]].drop_duplicates().assign(sex="female", age=60.0, source=None)
    return all_audits(
        table,
        about,
        quality(1, n=40),
        None,
        classes=CLASSES,
        groups=GROUPS,
        model="dual_branch",
        backgrounds=[],
        repeats=repeats,
        **DRAWN,
    )


def test_the_table_counts_the_looks_and_puts_the_worst_first(tmp_path):
    found = audited(effect=0.2, leak=2.0).assign(study="als")
    assert SCHEMA.names == ["study", *AUDITS]
    write_table(found, tmp_path / "audits.parquet", SCHEMA)
    own = probe_audit(BACKGROUND_TELLS_CLASS, Probe(("a", "b"), (), 0.9, 0.8, 1.0, 0.5, 0.005, 40))
    studies = {
        "parkinson": {"cohort": "clinic", "virtual": False, "permuted": True},
        "als": {"cohort": "virtual_als", "virtual": True, "permuted": False},
    }
    write_audits([read_table(tmp_path / "audits.parquet"), own.assign(study="parkinson")], studies, tmp_path / "audits")
    text = (tmp_path / "audits.md").read_text()
    lead = text.split("## ")[0]
    assert f"{len(found)} looks at the same subjects" in lead
    first = (
        "parkinson, cohort clinic (recordings of people; negative control, labels permuted over subjects): 1 look at"
    )
    assert first in lead
    assert "the background gives the class away (fail)" in lead
    assert "no patients" in lead
    assert "the published protocol rewards recognising people (warn)" in lead
    table = pd.read_csv(tmp_path / "audits.csv")
    assert table["study"].tolist() == ["parkinson", *["als"] * len(found)]
    grades = table["grade"].tolist()
    assert grades == sorted(grades, key=["fail", "warn", "not told", "ok"].index)
    assert (tmp_path / "audits.tex").read_text().count(r"\textbf") == len(found) + 1


def test_bins_of_the_reliability_curve_hold_everybody_and_trust_what_can_be_trusted():
    everybody = people(3, n=60)
    bins = reliability(everybody, 500, 1)
    assert bins["n"].sum() == 60
    assert bins["probability"].is_monotonic_increasing
    assert (bins["n"] * bins["share"]).sum() == pytest.approx(everybody["ill"].sum())
    assert (bins["n"] * bins["probability"]).sum() == pytest.approx(everybody["probability"].sum())
    random = np.random.default_rng(0)
    score = random.random(4000)
    honest = pd.DataFrame({"ill": random.random(4000) < score, "probability": score})
    overconfident = honest.assign(probability=(score > 0.5) * 0.98 + 0.01)
    inside = {
        name: (found["share"].between(found["expected_low"], found["expected_high"])).mean()
        for name, found in (("honest", reliability(honest, 500, 1)), ("over", reliability(overconfident, 500, 1)))
    }
    assert inside["honest"] >= 0.8
    assert inside["over"] == 0


def test_the_interval_of_a_bin_is_wilsons():
    four = pd.DataFrame({"ill": [True, False, False, False], "probability": [0.3, 0.31, 0.32, 0.33]})
    (row,) = reliability(four, 50, 1).to_dict("records")
    z, n, share = 1.959963985, 4, 0.25
    middle, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(
        tuple((middle + sign * half) / (1 + z * z / n) for sign in (-1, 1)), abs=1e-6
    )
