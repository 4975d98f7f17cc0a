"""Do the measures follow the grade, do differences of the sides name the weak one, can grades be predicted."""

import logging
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from faceneuro.evaluation.monotony import (
    ALL_TASKS,
    EVERYONE,
    FALLS,
    LEAST,
    MISNAMED,
    NAMED,
    NOT_SHOWN,
    OWN_TASKS,
    PATIENTS,
    RISES,
    TOO_FEW,
    WEAK,
    WEAK_LEFT,
    WEAK_RIGHT,
    distances,
    monotony,
    own_task,
    spearman,
    weak_sides,
)
from faceneuro.evaluation.severity import BEATS, predict_grades, score_grades
from faceneuro.features.asymmetry import MEASURES, REGIONS, side_differences
from faceneuro.features.crops import relative
from faceneuro.features.points import BROW, EYE_INNER, EYE_OUTER, LOWER_LID, MOUTH_CORNER, UPPER_LID
from faceneuro.report.palsy_measures import measures_table, people_of, write_measures
from faceneuro.tables import FOLDS, PALSY_SAMPLES, write_table
from faceneuro.training.folds import split

ROOT = Path(__file__).parents[1]
TASKS = ("brow_raise", "eye_closure_tight", "smile_open")
TASK_OF = {"brow_height": "brow_raise", "eye_opening": "eye_closure_tight", "mouth_corner_height": "smile_open"}
NAMES = [measure.name for measure in MEASURES]
NEUTRAL = np.array([0 if measure.neutral is None else measure.neutral for measure in MEASURES], float)
ANGLES = [k for k, measure in enumerate(MEASURES) if measure.mirrors != "same"]
BOOTSTRAP = {"resamples": 200, "seed": 1}
COHORT = {"cohort": "virtual_palsy", "virtual": True, "permuted": False}
CROPS = 2


def people(healthy: int, ill: int) -> pd.DataFrame:
    """Subjects with grades 2, 3, 4, 5, 6, 2, ... and weak sides in turn; the healthy ones have grade 0."""
    ids = [f"H{k:02}" for k in range(healthy)] + [f"P{k:02}" for k in range(ill)]
    group = ["healthy"] * healthy + ["palsy"] * ill
    grade = [0.0] * healthy + [2.0 + k % 5 for k in range(ill)]
    side = ["none"] * healthy + [("left", "right")[k % 2] for k in range(ill)]
    return pd.DataFrame({"subject": ids, "group": group, "severity": grade, "side": side})


def samples_of(subjects: pd.DataFrame, tasks=TASKS) -> pd.DataFrame:
    rows = [
        row | {"cohort": "c", "clip": f"{row['subject']}_{task}", "task": task, "frame": 5 * frame}
        for row in subjects.to_dict("records")
        for task in tasks
        for frame in range(CROPS)
    ]
    table = pd.DataFrame(rows)
    return table.assign(label=table["group"].map({"healthy": "Healthy", "palsy": "Palsy"}))


def measures_of(samples: pd.DataFrame, slope: float = 0.3, noise: float = 0.1, seed: int = 0) -> np.ndarray:
    """Every measure lies so many times the grade beyond its neutral value; angles by the side."""
    random = np.random.default_rng(seed)
    known = samples["severity"].fillna(0).to_numpy()[:, None]
    away = slope * known + noise * random.random((len(samples), len(MEASURES)))
    sign = np.ones(away.shape)
    sign[:, ANGLES] = np.where(samples["side"] == "left", -1, 1)[:, None]
    return (NEUTRAL + sign * away).astype(np.float32)


def face(left_minus_right: dict[str, float], random: np.random.Generator) -> np.ndarray:
    """478 landmarks in pixels of an upright face with these differences, in distances of the outer corners (200)."""
    points = random.uniform([100, 50], [500, 550], (478, 2))
    for side, way, half in (("left", 1, 0.5), ("right", -1, -0.5)):
        shift = {name: half * 200 * left_minus_right.get(name, 0.0) for name in REGIONS}
        points[EYE_OUTER[side]] = 300 + way * 100, 250
        points[EYE_INNER[side]] = 300 + way * 40, 252
        points[UPPER_LID[side]] = 300 + way * 70, 245 - shift["eye_opening"] / 2
        points[LOWER_LID[side]] = 300 + way * 70, 258 + shift["eye_opening"] / 2
        points[MOUTH_CORNER[side]] = 300 + way * (60 + shift["mouth_corner_reach"]), 400 - shift["mouth_corner_height"]
        for place, landmark in enumerate(BROW[side]):
            points[landmark] = 300 + way * (50 + 20 * place), 215 - shift["brow_height"]
    return points


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - 300) @ turn.T + 300


BOX = (120.0, 60.0, 470.0, 560.0)


def coordinates_of(samples: pd.DataFrame, size: float = 0.04, seed: int = 0) -> np.ndarray:
    """Landmarks over a crop of faces whose weak side lags in the task's own region, tilted by up to 20 degrees."""
    random = np.random.default_rng(seed)
    region = {task: name for name, task in TASK_OF.items()}
    rows = []
    for row in samples.itertuples():
        lag = {"left": -size, "right": size}.get(row.side, 0.0)
        name = region[row.task]
        # The weak side raises less, but closes less.
        points = face({name: -lag if name == "eye_opening" else lag}, random)
        rows.append(relative(turned(points, random.uniform(-20, 20)), BOX).ravel())
    return np.array(rows)


def found(samples: pd.DataFrame, measures: np.ndarray, measure: str = NAMES[0], among: str = EVERYONE) -> pd.Series:
    table = monotony(samples, measures, "palsy", **BOOTSTRAP)
    return table[(table["measure"] == measure) & table["own"] & (table["among"] == among)].iloc[0]


# Against the grade.


def test_rank_correlation_is_scipys_also_with_ties():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 5, (50, 9)).astype(float), random.integers(0, 4, (50, 9)).astype(float)
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(spearman(x, y), expected, atol=1e-12)
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))


def test_a_measure_that_is_the_grade_has_a_correlation_of_one_and_rises():
    samples = samples_of(people(4, 8))
    table = monotony(samples, measures_of(samples, noise=0.0), "palsy", **BOOTSTRAP)
    assert (table["verdict"] == RISES).all()
    np.testing.assert_allclose(table[["value", "ci_low", "ci_high"]], 1)
    assert table.groupby("among")["n_subjects"].unique().to_dict() == {EVERYONE: [12], PATIENTS: [8]}
    assert table["task"].unique().tolist() == [*TASKS, ALL_TASKS]
    own = table[table["own"] & (table["among"] == EVERYONE)].set_index("measure")
    assert set(own.index) == set(NAMES)
    assert own["task"].to_dict() == {measure.name: OWN_TASKS[measure.region][0] for measure in MEASURES}


def test_a_proportion_that_shrinks_with_the_grade_falls_and_a_distance_from_neutral_does_not():
    samples = samples_of(people(4, 8))
    measures = measures_of(samples, slope=-0.3, noise=0.0)
    assert found(samples, measures, "chin_height")["verdict"] == FALLS
    assert found(samples, measures, "midline_angle")["verdict"] == RISES


def test_shuffled_grades_are_not_shown():
    """All 29 follow the true grade, and so none the grade of somebody else."""
    subjects = people(8, 16)
    shuffled = subjects.assign(severity=np.random.default_rng(0).permutation(subjects["severity"]))
    table = monotony(samples_of(shuffled), measures_of(samples_of(subjects)), "palsy", **BOOTSTRAP)
    assert (table.loc[table["own"] & (table["among"] == EVERYONE), "verdict"] == NOT_SHOWN).all()


def test_as_many_measures_without_a_relation_get_a_verdict_as_the_level_says():
    random = np.random.default_rng(5)
    samples = samples_of(people(8, 16), ["smile_open"])
    tables = [monotony(samples, NEUTRAL + random.random((len(samples), 29)), "palsy", **BOOTSTRAP) for _ in range(8)]
    rows = pd.concat(tables)
    rows = rows[(rows["task"] == "smile_open") & (rows["among"] == EVERYONE)]
    assert len(rows) == 8 * 29
    assert (rows["verdict"] != NOT_SHOWN).mean() == pytest.approx(0.05, abs=0.04)


def test_a_crop_without_a_grade_does_not_count_nor_does_the_order_of_the_rows():
    samples = samples_of(people(3, 6))
    measures = measures_of(samples)
    whole = monotony(samples, measures, "palsy", **BOOTSTRAP)
    order = np.random.default_rng(0).permutation(len(samples))
    mixed = monotony(samples.iloc[order].reset_index(drop=True), measures[order], "palsy", **BOOTSTRAP)
    pd.testing.assert_frame_equal(whole, mixed)
    more = pd.concat([samples, samples.assign(severity=np.nan, frame=99)], ignore_index=True)
    wild = np.concatenate([measures, 100 + measures])
    pd.testing.assert_frame_equal(whole, monotony(more, wild, "palsy", **BOOTSTRAP))


def test_few_subjects_or_one_grade_get_no_verdict():
    samples = samples_of(people(2, LEAST - 3))
    row = found(samples, measures_of(samples))
    assert np.isnan(row["ci_low"])
    assert row["value"] > 0.5
    assert row["verdict"] == TOO_FEW
    alike = samples_of(people(4, 8)).assign(severity=3.0)
    row = found(alike, measures_of(alike))
    assert np.isnan(row["value"])
    assert row["verdict"] == TOO_FEW


def test_without_a_grade_there_is_nothing_and_without_the_own_task_all_of_them():
    samples = samples_of(people(4, 8))
    assert monotony(samples.assign(severity=np.nan), measures_of(samples), "palsy", **BOOTSTRAP).empty
    assert own_task("eye", ["eye_closure_gentle", "smile_open"]) == "eye_closure_gentle"
    for task in ("speech", None):
        row = found(samples.assign(task=task), measures_of(samples))
        assert (row["task"], row["verdict"]) == (ALL_TASKS, RISES)


def test_patients_alone_show_what_telling_them_apart_hides():
    """A measure of palsy, but not of its grade, rises over all subjects."""
    samples = samples_of(people(12, 15))
    ill = np.where(samples["group"] == "palsy", 3.0, 0.0)
    measures = measures_of(samples.assign(severity=ill), noise=0.2)
    assert found(samples, measures)["verdict"] == RISES
    assert found(samples, measures, among=PATIENTS)["verdict"] == NOT_SHOWN


# Weak sides.


def sides(samples: pd.DataFrame, coordinates: np.ndarray, among: str = EVERYONE) -> pd.DataFrame:
    table = weak_sides(samples, coordinates)
    return table[table["own"] & (table["among"] == among)].set_index("measure")


def test_the_weak_side_is_named_in_every_region():
    samples = samples_of(people(3, 10))
    table = sides(samples, coordinates_of(samples))
    assert table["task"].to_dict() == TASK_OF
    assert (table["value"] == 1).all()
    assert (table["verdict"] == NAMED).all()
    assert (table["n_subjects"] == 10).all()
    assert table["ci_low"].iloc[0] == pytest.approx(stats.beta.ppf(0.025, 10, 1))
    for among in (WEAK_LEFT, WEAK_RIGHT):
        assert (sides(samples, coordinates_of(samples), among)["right"] == 5).all()


def test_if_the_strong_side_lags_the_healthy_one_is_named():
    samples = samples_of(people(3, 10))
    table = sides(samples, coordinates_of(samples, size=-0.04))
    assert (table["value"] == 0).all()
    assert (table["verdict"] == MISNAMED).all()


def test_closing_the_eyes_speaks_the_other_way_round():
    """The same sign, left minus right positive, means a weak right brow and mouth, but a weak left eye."""
    subjects = people(0, 8).assign(side=["left"] * 4 + ["right"] * 4)
    samples = samples_of(subjects)
    random = np.random.default_rng(0)
    left_larger = np.array([relative(face(dict.fromkeys(WEAK, 0.05), random), BOX).ravel() for _ in samples.index])
    for region, among in {
        "brow_height": WEAK_RIGHT,
        "mouth_corner_height": WEAK_RIGHT,
        "eye_opening": WEAK_LEFT,
    }.items():
        assert sides(samples, left_larger, among).loc[region, "value"] == 1
        assert sides(samples, left_larger).loc[region, ["value", "verdict"]].tolist() == [0.5, NOT_SHOWN]


def test_sides_that_do_not_differ_by_the_weak_one_are_not_shown():
    samples = samples_of(people(0, 20))
    coordinates = coordinates_of(samples)
    wrong = samples.assign(side=samples["subject"].map(lambda name: ("left", "right")[int(name[1:]) // 2 % 2]))
    assert (sides(wrong, coordinates)["verdict"] == NOT_SHOWN).all()


def test_few_patients_get_no_verdict_however_right():
    samples = samples_of(people(3, LEAST - 1))
    table = sides(samples, coordinates_of(samples))
    assert (table["value"] == 1).all()
    assert (table["ci_low"] < 0.5).all()
    assert (table["verdict"] == TOO_FEW).all()


def test_only_a_known_weak_side_counts():
    samples = samples_of(people(3, 8))
    coordinates = coordinates_of(samples)
    assert weak_sides(samples.assign(side=None), coordinates).empty
    torn = samples.assign(
        side=samples["side"].where(samples["subject"] != "P00", ["left", "right"] * (len(samples) // 2))
    )
    assert (sides(torn, coordinates)["n_subjects"] == 7).all()


@given(st.integers(0, 2**32 - 1), st.floats(-40, 40), st.floats(0.4, 2.5))
def test_signs_of_heights_survive_squeezing_a_tilted_face(seed, tilt, shape):
    random = np.random.default_rng(seed)
    differences = dict(zip(REGIONS, random.uniform(-0.2, 0.2, 4), strict=True))
    points = turned(face(differences, random), tilt)
    pixels = side_differences(points)
    squeezed = side_differences(relative(points, (50.0, 20.0, 450.0, 20.0 + 400 * shape)).astype(np.float64))
    clear = np.abs(pixels) > 1e-4
    for region in WEAK:
        k = REGIONS.index(region)
        assert not clear[k] or np.sign(pixels[k]) == np.sign(squeezed[k])


def test_the_sign_of_the_reach_does_not_survive():
    points = turned(face({"mouth_corner_reach": 0.02, "mouth_corner_height": 0.2}, np.random.default_rng(0)), 20)
    k = REGIONS.index("mouth_corner_reach")
    squeezed = side_differences(relative(points, (50.0, 20.0, 450.0, 620.0)).astype(np.float64))
    assert side_differences(points)[k] * squeezed[k] < 0


# Grades predicted.


def folds_of(samples: pd.DataFrame, folds: int | str = 3) -> pd.DataFrame:
    settings = {"folds": folds, "validation_fraction": 0.2, "seed": 1, "positive": "Palsy"}
    return split(samples, "palsy", "grouped", **settings)


def test_grades_of_subjects_held_out_are_predicted():
    samples = samples_of(people(6, 10))
    predicted = predict_grades(samples, measures_of(samples), folds_of(samples, "leave_one_patient_out"))
    assert sorted(predicted["subject"]) == sorted(samples["subject"].unique())
    np.testing.assert_allclose(predicted["predicted"], predicted["severity"], atol=0.4)
    scores = score_grades(predicted, "palsy", **BOOTSTRAP).set_index(["among", "quantity"])
    assert scores.loc[(EVERYONE, "gain"), "verdict"] == BEATS
    assert scores.loc[(PATIENTS, "gain"), "verdict"] == BEATS
    assert scores.loc[(EVERYONE, "spearman"), "value"] > 0.9
    assert scores.loc[(PATIENTS, "mae"), "n_subjects"] == 10


def test_grades_that_the_measures_do_not_follow_are_not_predicted():
    samples = samples_of(people(8, 12))
    measures = measures_of(samples, slope=0.0, noise=1.0)
    scores = score_grades(predict_grades(samples, measures, folds_of(samples)), "palsy", **BOOTSTRAP)
    assert BEATS not in scores["verdict"].tolist()


def test_whom_a_fold_holds_out_never_enters_its_fit():
    samples = samples_of(people(4, 8))
    measures, folds = measures_of(samples, noise=1.0), folds_of(samples)
    before = predict_grades(samples, measures, folds).set_index(["fold", "subject"])
    held_out = before.loc[0].index
    changed, kept = held_out[0], held_out[1:]
    mine = (samples["subject"] == changed).to_numpy()
    wild = measures.copy()
    wild[mine] = np.random.default_rng(1).normal(50, 20, (mine.sum(), 29))
    grades = samples["severity"].mask(mine, 40.0)
    after = predict_grades(samples.assign(severity=grades), wild, folds).set_index(["fold", "subject"])
    same = ["predicted", "mean"]
    pd.testing.assert_frame_equal(before.loc[0].loc[kept, same], after.loc[0].loc[kept, same])
    assert before.loc[(0, changed), "mean"] == after.loc[(0, changed), "mean"]
    # And the others' folds, in which that subject trains, do change.
    assert not np.isclose(before.loc[1, "predicted"], after.loc[1, "predicted"]).any()


def test_a_mirrored_face_has_the_same_grade():
    samples = samples_of(people(4, 8))
    measures, folds = measures_of(samples), folds_of(samples)
    some = samples["subject"].isin(["H01", "P00", "P03", "P04"]).to_numpy()[:, None]
    mirrored = np.where(some & np.isin(np.arange(29), ANGLES), 2 * NEUTRAL - measures, measures)
    np.testing.assert_allclose(distances(mirrored), distances(measures), atol=1e-5)
    first, second = (predict_grades(samples, each, folds)["predicted"] for each in (measures, mirrored))
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_the_mean_is_that_of_the_subjects_trained_on():
    samples = samples_of(people(4, 8))
    folds = folds_of(samples)
    predicted = predict_grades(samples, measures_of(samples), folds)
    grade = samples.groupby("subject")["severity"].first()
    for fold in range(3):
        rows = predicted[predicted["fold"] == fold]
        np.testing.assert_allclose(rows["mean"], grade.drop(rows["subject"]).mean())
        tested = folds[(folds["fold"] == fold) & (folds["role"] == "test")]
        assert set(rows["subject"]) == set(tested["subject"])


def test_scores_are_those_computed_by_hand():
    predicted = pd.DataFrame(
        {"group": ["healthy", "palsy"] * 4, "severity": [0.0, 2, 0, 4, 0, 6, 0, 2], "predicted": 1.0, "mean": 2.0}
    ).assign(predicted=[0.0, 3, 1, 4, 0, 4, 0, 2])
    scores = score_grades(predicted, "palsy", **BOOTSTRAP).set_index(["among", "quantity"])
    assert scores.loc[(EVERYONE, "mae"), "value"] == 0.5
    assert scores.loc[(EVERYONE, "mae_of_mean"), "value"] == 14 / 8
    assert scores.loc[(EVERYONE, "gain"), "value"] == 14 / 8 - 0.5
    low, high = scores.loc[(EVERYONE, "gain"), ["ci_low", "ci_high"]]
    assert 0 < low < 14 / 8 - 0.5 < high
    assert scores.loc[(PATIENTS, "mae"), "value"] == 0.75
    assert scores.loc[(PATIENTS, "gain"), "verdict"] == TOO_FEW


def test_folds_without_two_grades_predict_nothing(caplog):
    logging.getLogger("faceneuro").setLevel(logging.NOTSET)
    samples = samples_of(people(4, 8))
    nobody = samples.assign(severity=np.nan)
    assert predict_grades(nobody, measures_of(samples), folds_of(samples)).empty
    alike = samples.assign(severity=3.0)
    with caplog.at_level(logging.WARNING):
        empty = predict_grades(alike, measures_of(samples), folds_of(samples))
    assert "no two subjects to train on have different grades" in caplog.text
    assert score_grades(empty, "palsy", **BOOTSTRAP).empty


# The table.


def text_of(folder: Path, samples: pd.DataFrame, measures: np.ndarray, **cohort) -> str:
    cohort = COHORT | cohort
    table = measures_table(
        monotony(samples, measures, "palsy", **BOOTSTRAP),
        weak_sides(samples, coordinates_of(samples)),
        score_grades(predict_grades(samples, measures, folds_of(samples)), "palsy", **BOOTSTRAP),
        **cohort,
    )
    write_measures(table, people_of(samples, "palsy"), folder / "palsy_measures", **cohort)
    return (folder / "palsy_measures.md").read_text()


def test_a_cohort_that_its_measures_follow(tmp_path):
    samples = samples_of(people(4, 8))
    text = text_of(tmp_path, samples, measures_of(samples))
    assert "virtual cohort, rendered faces, no patients; 12 subjects, 8 of them with palsy" in text
    assert "recorded grades of patients 2 to 6 and of others 0" in text
    assert "29 rise with the grade (brow_angle_outer, " in text
    assert f"brow_height 8 of 8 ({NAMED})" in text
    assert "the regression beats the mean." in text
    assert "| f3 brow_height_ratio | brow | brow_raise | **rises with the grade** |" in text
    table = pd.read_csv(tmp_path / "palsy_measures.csv")
    assert table["kind"].value_counts().to_dict() == {"monotony": 29 * 4 * 2, "side": 3 * 4 * 3, "grade": 8}
    assert table.loc[table["kind"] == "side", "value"].between(0, 100).all()
    assert (tmp_path / "palsy_measures.tex").read_text().count(r"\begin{table}") == 3


def test_a_cohort_that_its_measures_do_not_follow(tmp_path):
    samples = samples_of(people(6, 10))
    text = text_of(tmp_path, samples, measures_of(samples, slope=0.0, noise=1.0), virtual=False, permuted=True)
    assert "recordings of people; negative control" in text
    assert "it is not shown that the regression beats the mean." in text
    assert text.count(f"**{NOT_SHOWN}**") > 20
    assert "the permutation of the labels does not touch them" in text


def test_without_grades_the_sides_are_still_named(tmp_path):
    samples = samples_of(people(4, 8)).assign(severity=np.nan)
    text = text_of(tmp_path, samples, measures_of(samples))
    assert text.count("No subject's grade is recorded") == 1
    assert f"brow_height 8 of 8 ({NAMED})" in text
    assert "## Weak side" in text
    assert "## Measures against the grade" not in text
    assert "## Grade" not in text


def test_grades_of_patients_alone_are_enough(tmp_path):
    samples = samples_of(people(4, 8))
    samples["severity"] = samples["severity"].where(samples["group"] == "palsy")
    text = text_of(tmp_path, samples, measures_of(samples))
    assert "No grade is recorded of subjects without palsy" in text
    assert "29 rise with the grade" in text
    assert "the regression beats the mean." in text


def test_without_sides_and_grades_two_sentences_are_left(tmp_path):
    samples = samples_of(people(4, 8)).assign(severity=np.nan, side=None)
    cohort = COHORT | {"virtual": False}
    measures = measures_of(samples)
    parts = (
        monotony(samples, measures, "palsy", **BOOTSTRAP),
        weak_sides(samples, coordinates_of(samples)),
        score_grades(predict_grades(samples, measures, folds_of(samples)), "palsy", **BOOTSTRAP),
    )
    table = measures_table(*parts, **cohort)
    assert table.empty
    write_measures(table, people_of(samples, "palsy"), tmp_path / "palsy_measures", **cohort)
    for suffix in ("md", "tex"):
        text = (tmp_path / f"palsy_measures.{suffix}").read_text()
        assert "No subject's grade is recorded" in text
        assert "No patient's weak side is recorded" in text


class Named(dict):
    """What Snakemake's own named lists can do: by attribute and by key."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("graded", [True, False])
def test_the_script_makes_the_table(tmp_path, graded):
    samples = samples_of(people(4, 8))
    inputs = {"coordinates": coordinates_of(samples), "measures": measures_of(samples)}
    if not graded:
        samples["severity"] = np.nan
    rows = samples.to_dict("records")
    empty = {"blendshapes": np.zeros(52, np.float32), "crop_table": 0, "crop_row": 0}
    for place, row in enumerate(rows):
        row.update(empty, **{name: values[place] for name, values in inputs.items()})
    write_table(rows, tmp_path / "samples.parquet", PALSY_SAMPLES)
    folds = folds_of(samples, "leave_one_patient_out")
    write_table(folds[[*FOLDS.names]], tmp_path / "folds.parquet", FOLDS)
    step = SimpleNamespace(
        rule="tabulate_palsy_measures",
        wildcards=Named(),
        input=SimpleNamespace(samples=tmp_path / "samples.parquet", folds=tmp_path / "folds.parquet"),
        output=SimpleNamespace(csv=str(tmp_path / "palsy_measures.csv")),
        params=Named(**COHORT, groups={"negative": "healthy", "positive": "palsy"}, bootstrap=BOOTSTRAP, code="abc"),
        log=[str(tmp_path / "job.log")],
    )
    runpy.run_path(str(ROOT / "workflow" / "scripts" / "tabulate_palsy_measures.py"), {"snakemake": step})
    logging.getLogger("faceneuro").setLevel(logging.NOTSET)
    text = (tmp_path / "palsy_measures.md").read_text()
    assert ("the regression beats the mean." in text) == graded
    assert ("No subject's grade is recorded" in text) != graded
    assert f"brow_height 8 of 8 ({NAMED})" in text
