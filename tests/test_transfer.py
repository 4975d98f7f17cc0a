import math
import warnings

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceneuro.cohorts.virtual.identity import identity_of
from faceneuro.cohorts.virtual.motion import perform
from faceneuro.cohorts.virtual.patients import enrol
from faceneuro.cohorts.virtual.render import Renderer
from faceneuro.cohorts.virtual.scene import scene_of
from faceneuro.features.alignment import align
from faceneuro.features.landmarks import LandmarkDetector
from faceneuro.synthesis import trivial
from faceneuro.synthesis.transfer import (
    LEAST,
    MEASURES,
    SCORES,
    SUMMARY,
    TRIVIAL,
    Grader,
    Pairs,
    People,
    asymmetry,
    carried,
    cosine,
    from_face_frame,
    heights,
    in_face_frame,
    landmark_error,
    neutrals,
    summarise,
    transfer_scores,
)
from faceneuro.synthesis.trivial import (
    BETTER,
    CONTESTS,
    FIXED,
    NOT_SHOWN,
    ON_LEFT,
    ON_RIGHT,
    TOO_FEW,
    WORSE,
    contests,
    landmark_warp,
    picture,
    verdicts,
    weak_side,
    with_asymmetry,
)

MIDLINE = [point for point in range(68) if point not in (*ON_LEFT, *ON_RIGHT)]

# Right half of a face, in distances between the outer corners of the eyes, x outwards and y downwards.
HALF = {
    **{k: (1.0 - 0.012 * k * k, -0.05 + 0.2 * k) for k in range(8)},
    **{17: (0.72, -0.22), 18: (0.6, -0.3), 19: (0.46, -0.32), 20: (0.32, -0.3), 21: (0.18, -0.25)},
    **{31: (0.16, 0.52), 32: (0.08, 0.55)},
    **{36: (0.5, 0.0), 37: (0.4, -0.06), 38: (0.28, -0.06), 39: (0.18, 0.02), 40: (0.28, 0.06), 41: (0.4, 0.06)},
    **{48: (0.32, 0.9), 49: (0.2, 0.84), 50: (0.08, 0.82), 58: (0.08, 1.0), 59: (0.2, 0.97)},
    **{60: (0.26, 0.9), 61: (0.1, 0.88), 67: (0.1, 0.92)},
}
MIDDLE = {8: 1.5, 27: 0.0, 28: 0.15, 29: 0.3, 30: 0.45, 33: 0.56, 51: 0.84, 57: 1.01, 62: 0.89, 66: 0.92}


def face(brow=0.0, corner=0.0, width=0.0, lids=0.0) -> np.ndarray:
    """A symmetric face in its own frame; brow height, height and reach of the mouth, opening of the eyes added to."""
    points = np.zeros((68, 2))
    for right, left in zip(ON_RIGHT, ON_LEFT, strict=True):
        x, y = HALF[right]
        points[right], points[left] = (-x, y), (x, y)
    for middle, y in MIDDLE.items():
        points[middle] = 0, y
    return points + moved(brow, corner, width, lids)


def moved(brow=0.0, corner=0.0, width=0.0, lids=0.0, right=1.0, left=1.0) -> np.ndarray:
    """Movements of both sides, each with its strength."""
    change = np.zeros((68, 2))
    for points, outwards, strength in ((ON_RIGHT, -1, right), (ON_LEFT, 1, left)):
        for point, place in zip(points, ON_RIGHT, strict=True):
            if 17 <= place <= 21:
                change[point] = 0, -brow * strength
            elif place in (37, 38, 40, 41):
                change[point] = 0, (-1 if place < 39 else 1) * lids / 2 * strength
            elif place in (48, 60):
                change[point] = outwards * width * strength, -corner * strength
            elif place in (49, 59):
                change[point] = outwards * width * strength / 2, -corner * strength / 2
    return change


def shown(framed: np.ndarray, angle=0.1, scale=0.4, shift=(0.5, 0.4)) -> np.ndarray:
    """Points of a face frame somewhere in an image."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return scale * framed @ turn.T + shift


def mirrored(points: np.ndarray, width: float = 1.0) -> np.ndarray:
    result = points.copy()
    result[..., ON_LEFT, :], result[..., ON_RIGHT, :] = points[..., ON_RIGHT, :], points[..., ON_LEFT, :]
    result[..., 0] = width - result[..., 0]
    return result


SMILE = {"corner": 0.12, "width": 0.06, "lids": -0.04}
IDENTITY, PATIENT = face(brow=0.03, width=0.05), face(corner=-0.06, lids=0.03)
STYLE = PATIENT + moved(**SMILE, right=0.1)
TARGET = IDENTITY + moved(**SMILE, right=0.1)
"""A smile that is weak on the right: of the patient, and of the identity."""


def one_pair(**changes) -> Pairs:
    known = {
        "identity": shown(IDENTITY)[None],
        "style": shown(STYLE, -0.2, 0.35, (0.4, 0.5))[None],
        "identity_neutral": shown(IDENTITY, 0, 100)[None],
        "style_neutral": shown(PATIENT, 0.3)[None],
        "side": np.array(["right"]),
        "identity_embedding": np.array([[1.0, 2, 2]]),
    }
    return Pairs(**known | changes)


def scored(pairs: Pairs, points: np.ndarray, embeddings=((1.0, 2, 2),), **more) -> dict[tuple[str, str], float]:
    scores = transfer_scores("row", pairs, points, embeddings, found_by="a detector", recognised_by="a network", **more)
    assert list(scores.columns) == SCORES
    return {(one.metric, one.against): one.value for one in scores.itertuples()}


@given(
    seed=st.integers(0, 2**32 - 1),
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.01, 1000),
    shift=st.tuples(st.floats(-100, 100), st.floats(-100, 100)),
)
def test_the_frame_of_a_face_does_not_know_where_it_is(seed, angle, scale, shift):
    points = IDENTITY + np.random.default_rng(seed).normal(0, 0.05, (68, 2))
    framed = in_face_frame(points)
    image = shown(points, angle, scale, shift)
    assert np.allclose(in_face_frame(image), framed, atol=1e-6)
    assert np.allclose(in_face_frame(framed), framed, atol=1e-12)
    assert np.allclose(from_face_frame(framed, image), image, atol=1e-9 * (scale + np.abs(shift).max()))
    assert np.allclose(framed[[36, 45]], [[-0.5, 0], [0.5, 0]])


def test_a_face_without_eyes_has_no_frame():
    points = np.stack([IDENTITY, IDENTITY, IDENTITY])
    points[0, 45] = points[0, 36]
    points[1, 50, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        framed = in_face_frame(points)
    assert np.isnan(framed[0]).all()
    assert np.isnan(framed[1]).any(axis=-1).tolist() == [k == 50 for k in range(68)]
    assert np.isfinite(framed[2]).all()
    with pytest.raises(ValueError, match=r"shape \(67, 2\)"):
        in_face_frame(points[0, :67])


def test_heights_are_those_of_brow_lids_and_corner_of_the_mouth():
    brow = 0.01 + (0.3 + 0.32 + 0.3) / 3
    assert np.allclose(heights(shown(face())), [[brow] * 2, [0.12] * 2, [-0.9] * 2])
    raised = face() + moved(brow=0.1, lids=0.04, corner=0.2, left=1, right=0)
    assert np.allclose(heights(shown(raised)) - heights(face()), [[0, 0.1], [0, 0.04], [0, 0.2]])
    assert np.allclose(asymmetry(shown(raised)), [0.1, 0.04, 0.2])


def test_a_mirrored_face_swaps_its_sides():
    points = STYLE + np.random.default_rng(1).normal(0, 0.03, (68, 2))
    assert np.allclose(heights(mirrored(points)), heights(points)[:, ::-1])
    assert np.allclose(asymmetry(mirrored(points)), -asymmetry(points))


def test_every_point_has_a_side_or_is_on_the_midline():
    assert sorted([*ON_LEFT, *ON_RIGHT, *MIDLINE]) == list(range(68))
    assert np.allclose(mirrored(IDENTITY, width=0), IDENTITY)


def test_the_exact_target_has_no_error():
    target = shown(TARGET, 0.4, 0.2)[None]
    scores = scored(one_pair(target=target), shown(TARGET)[None])
    unknown = scores.pop(("asymmetry_error", "style"))
    # All but the identity's own asymmetry, which it has none of here.
    assert unknown == pytest.approx(0, abs=1e-9)
    assert scores.pop(("identity_cosine", "identity")) == pytest.approx(1)
    assert scores.pop(("face_found", "nothing")) == 1
    assert set(scores) == {
        ("landmark_error", "carried"),
        ("landmark_error", "target"),
        ("excursion_error", "carried"),
        ("excursion_error_weak", "carried"),
        ("excursion_error_healthy", "carried"),
        ("asymmetry_error", "target"),
    }
    assert max(scores.values()) < 1e-9


def test_copying_the_identity_earns_nothing():
    scores = scored(one_pair(target=shown(TARGET)[None]), shown(IDENTITY)[None])
    movement = np.linalg.norm(moved(**SMILE, right=0.1), axis=1)[17:].mean()
    assert scores["landmark_error", "carried"] == pytest.approx(movement)
    assert scores["landmark_error", "target"] == pytest.approx(movement)
    # Nothing has moved: lids by 0.04 and the corner by 0.12 on the left, a tenth of that on the right, no brow.
    assert scores["excursion_error_healthy", "carried"] == pytest.approx(0.16 / 3)
    assert scores["excursion_error_weak", "carried"] == pytest.approx(0.016 / 3)
    assert scores["excursion_error", "carried"] == pytest.approx(0.176 / 6)
    assert scores["asymmetry_error", "style"] == pytest.approx(0.9 * 0.16 / 3)
    assert scores["asymmetry_error", "style"] == pytest.approx(np.abs(asymmetry(STYLE)).mean())


def test_copying_the_style_is_another_person():
    pairs = one_pair(target=shown(TARGET)[None])
    scores = scored(pairs, pairs.style, [(2.0, 1, -2)])
    shape = np.linalg.norm(IDENTITY - PATIENT, axis=1)[17:].mean()
    assert scores["landmark_error", "carried"] == pytest.approx(shape)
    assert scores["landmark_error", "target"] == pytest.approx(shape)
    assert scores["excursion_error", "carried"] == pytest.approx((0.03 + 0.03 + 0.06) / 3)
    assert scores["identity_cosine", "identity"] == pytest.approx(0)


def test_what_a_trivial_row_is_not_compared_in_it_wins_by_construction():
    """Otherwise a verdict would leave out a comparison that a model could lose."""
    pairs = one_pair(task=np.array(["smile"]), grade=np.array([4.0]))
    grader = Grader(np.stack([face(), STYLE]), ["smile"] * 2, [1, 4])
    warped = with_asymmetry(pairs.identity[0], pairs.style[0], "right")[None]
    points = {"copy_identity": pairs.identity, "copy_style": pairs.style, "landmark_warp": warped}
    exempt = [(measure, row) for measure in MEASURES for row in TRIVIAL if row not in measure.losers]
    assert len(exempt) == 6
    for measure, row in exempt:
        score = scored(pairs, points[row], pairs.identity_embedding, grader=grader)[measure.metric, measure.against]
        assert score == pytest.approx(1 if measure.metric == "identity_cosine" else 0, abs=1e-9), (measure, row)


def test_what_is_not_known_has_no_score():
    pairs = one_pair(identity_neutral=None, side=np.array(["none"]))
    assert set(scored(pairs, pairs.style)) == {
        ("asymmetry_error", "style"),
        ("identity_cosine", "identity"),
        ("face_found", "nothing"),
    }
    unknown = one_pair(style_neutral=np.full((1, 68, 2), np.nan), target=np.full((1, 68, 2), np.nan))
    assert set(scored(unknown, pairs.style)) == set(scored(pairs, pairs.style))
    sideless = scored(one_pair(side=np.array(["none"])), pairs.style)
    assert ("excursion_error", "carried") in sideless
    assert ("excursion_error_weak", "carried") not in sideless


def test_scores_say_what_computed_them():
    scores = transfer_scores(
        "row", one_pair(), shown(TARGET)[None], [(1, 2, 2)], found_by="eyes", recognised_by="memory"
    )
    by = scores.set_index("metric")["features"]
    assert by["identity_cosine"] == "memory"
    assert set(by.drop("identity_cosine")) == {"eyes"}
    assert set(scores["row"]) == {"row"}


def test_points_and_embeddings_must_be_of_all_pairs():
    with pytest.raises(ValueError, match="2 faces and 1 embeddings of 1 pairs"):
        scored(one_pair(), np.stack([STYLE, STYLE]))


def test_a_picture_without_a_face_fares_as_the_worse_copy():
    pairs = one_pair(target=shown(TARGET)[None])
    copies = [scored(pairs, copy) for copy in (pairs.identity, pairs.style)]
    lost = scored(pairs, np.full((1, 68, 2), np.nan))
    assert lost.pop(("face_found", "nothing")) == 0
    lost.pop(("identity_cosine", "identity"))
    assert lost.keys() == copies[0].keys() - {("face_found", "nothing"), ("identity_cosine", "identity")}
    for name, error in lost.items():
        assert error == pytest.approx(max(copy[name] for copy in copies)), name


def test_movement_is_carried_from_neutral_to_neutral():
    expected = IDENTITY + STYLE - PATIENT
    assert np.allclose(carried(shown(IDENTITY), shown(PATIENT, 1), shown(STYLE, -1, 3)), expected)
    assert landmark_error(shown(expected), carried(IDENTITY, PATIENT, STYLE)) == pytest.approx(0, abs=1e-9)


def test_the_outline_of_the_face_does_not_count():
    changed = TARGET.copy()
    changed[:17] += 0.3
    assert landmark_error(changed, TARGET) == 0
    changed[17] += 0.51 / math.sqrt(2)
    assert landmark_error(changed, TARGET) == pytest.approx(0.01)


def test_the_neutral_face_is_the_mean_of_a_persons_own():
    faces = pd.DataFrame(
        {
            "cohort": ["a", "a", "a", "b", "a", "a", "c"],
            "subject": ["1", "1", "1", "1", "1", "2", "1"],
            "task": ["rest", "rest", "smile", "rest", None, "smile", "rest"],
        }
    )
    points = np.stack([shown(face(corner=k / 10), angle=k, scale=1 + k) for k in range(7)])
    points[6, 3] = np.nan
    found = neutrals(faces, points, ["rest", "neutral"])
    assert np.allclose(found[[0, 1, 2, 4]], face(corner=0.05))
    assert np.allclose(found[3], face(corner=0.3))
    assert np.isnan(found[[5, 6]]).all()


def test_a_cosine_takes_no_notice_of_length():
    assert np.allclose(cosine([[3, 0], [1, 1], [-2, 0]], [[1, 0], [0, 5], [1, 0]]), [1, math.sqrt(0.5), -1])
    assert np.isnan(cosine([0, 0], [1, 0]))


def uneven(sizes: np.ndarray) -> np.ndarray:
    """Faces whose sides differ by these amounts in brow, eye and mouth."""
    return np.stack([face() + moved(brow=b, lids=e, corner=m, right=0) for b, e, m in sizes])


def test_a_grader_finds_how_unevenness_grows_with_the_grade():
    random = np.random.default_rng(1)
    sizes, tasks = random.uniform(-0.2, 0.2, (80, 3)), np.array(["smile", "rest"] * 40)
    weights = np.where((tasks == "smile")[:, None], [1, 2, 3, 20], [1.5, 0, 30, 1])
    grades = weights[:, 0] + (weights[:, 1:] * np.abs(sizes)).sum(axis=1)
    fitted = Grader(uneven(sizes[:60]), tasks[:60], grades[:60])
    within = (grades[60:] > grades[:60].min()) & (grades[60:] < grades[:60].max())
    assert within.sum() > 15
    assert np.allclose(fitted.read(uneven(sizes[60:]), tasks[60:])[within], grades[60:][within])


def test_a_grader_stays_within_its_scale_and_reads_every_task():
    sizes = np.array([[0, 0, 0], [0.1, 0, 0.1], [0.2, 0.1, 0.2], [0.3, 0.1, 0.3]])
    fitted = Grader(uneven(sizes), ["smile", "smile", "rest", "rest"], [1, 3, 4, 6])
    assert fitted.read(uneven(np.array([[3, 3, 3]])), ["smile"]) == [6]
    mixed = fitted.read(uneven(sizes), ["smile", "wink", "wink", "rest"])
    assert (np.diff(mixed) > 0).all()
    assert np.isnan(fitted.read(np.full((1, 68, 2), np.nan), ["smile"])).all()


def test_unevenness_never_speaks_for_health():
    # Here the brow happens to be more uneven in the milder cases.
    sizes = np.array([[0.3, 0, 0], [0.2, 0, 0], [0.1, 0, 0], [0.05, 0, 0]])
    fitted = Grader(uneven(sizes), ["smile"] * 4, [1, 2, 3, 4])
    assert fitted.read(uneven(sizes), ["smile"] * 4) == pytest.approx([2.5] * 4)


def test_a_grader_needs_two_grades():
    points = np.stack([STYLE, STYLE, np.full((68, 2), np.nan)])
    with pytest.raises(ValueError, match="two grades"):
        Grader(points, ["smile"] * 3, [2, np.nan, 3])


def test_grade_errors_are_in_grades():
    grader = Grader(uneven(np.array([[0, 0, 0], [0, 0, 0.5]])), ["smile"] * 2, [1, 6])
    pairs = one_pair(task=np.array(["smile"]), grade=np.array([5.0]))
    assert scored(pairs, shown(face())[None], grader=grader)["grade_error", "grade"] == pytest.approx(4)
    weak = face() + moved(corner=0.4, left=0)
    assert scored(pairs, shown(weak)[None], grader=grader)["grade_error", "grade"] == pytest.approx(0)
    assert ("grade_error", "grade") not in scored(one_pair(), shown(weak)[None], grader=grader)


def crossed(number: int) -> pd.DataFrame:
    """Every one of so many people with every other."""
    names = [f"p{k}" for k in range(number)]
    return pd.DataFrame([(a, b) for a in names for b in names if a != b], columns=["style", "identity"])


def test_pairs_count_as_often_as_both_people_are_drawn():
    people = pd.concat([crossed(4), pd.DataFrame({"style": ["p1"], "identity": ["p1"]})], ignore_index=True)
    drawn = People(people, 50, 3)
    values = np.random.default_rng(2).normal(size=len(people))
    pair = np.arange(len(people))
    names = list(drawn.names)
    means = drawn.means(pair, values)
    assert means[0] == pytest.approx(values.mean())
    counts = drawn._counts
    assert counts.shape == (51, 4)
    assert (counts.sum(axis=1) == 4).all()
    for count, mean in zip(counts, means, strict=True):
        weight = np.array(
            [
                count[names.index(s)] * (1 if s == i else count[names.index(i)])
                for s, i in people[["style", "identity"]].to_numpy()
            ]
        )
        if weight.sum():
            assert mean == pytest.approx((weight * values).sum() / weight.sum())
        else:
            assert np.isnan(mean)


def test_people_of_different_roles_are_drawn_apart():
    people = pd.DataFrame({"style": ["a", "b", "c"] * 2, "identity": ["x", "y", "x", "y", "x", "y"]})
    drawn = People(people, 40, 1)
    styles = [k for k, name in enumerate(drawn.names) if name in "abc"]
    assert (drawn._counts[:, styles].sum(axis=1) == 3).all()
    assert not np.isnan(drawn.means(np.arange(6), np.arange(6.0))).any()


def test_too_few_people_have_no_interval():
    for number in (LEAST - 1, LEAST):
        people = crossed(number)
        values = np.random.default_rng(number).normal(size=len(people))
        scores = pd.DataFrame(
            {"row": "r", "pair": people.index, "metric": "m", "against": "a", "value": values, "features": "f"}
        )
        summary = summarise(scores, people, 200, 1).iloc[0]
        assert summary["value"] == pytest.approx(values.mean())
        assert summary["n_people"] == number
        assert summary["n"] == number * (number - 1)
        assert np.isnan(summary["ci_low"]) == np.isnan(summary["ci_high"]) == (number < LEAST)
    assert summary["ci_low"] < summary["value"] < summary["ci_high"]


def test_intervals_know_that_pairs_share_people():
    """A person's own level is in all of that person's pairs: more pairs of the same people are no more evidence."""
    people = crossed(8)
    level = dict(zip([f"p{k}" for k in range(8)], np.linspace(-1, 1, 8), strict=True))
    shared = people["style"].map(level).to_numpy()
    drawn = People(pd.concat([people] * 5, ignore_index=True), 500, 1)
    _, low, high = drawn.interval(np.arange(5 * len(people)), np.tile(shared, 5))
    once = People(people, 500, 1).interval(np.arange(len(people)), shared)
    assert (low, high) == pytest.approx(once[1:])
    independent = 2 * 1.96 * shared.std() / math.sqrt(5 * len(people))
    assert high - low > 3 * independent


def test_a_summary_has_a_line_for_each_row_and_metric():
    people = crossed(6)
    parts = [
        pd.DataFrame({"pair": people.index, "value": float(k), "metric": metric, "against": "style", "row": row})
        for k, (row, metric) in enumerate([("b", "psnr"), ("b", "ssim"), ("a", "psnr")])
    ]
    scores = pd.concat(parts).assign(features="pixels")
    scores.iloc[0, scores.columns.get_loc("value")] = np.nan
    summary = summarise(scores, people, 20, 1)
    assert list(summary.columns) == SUMMARY
    assert summary[["row", "metric", "value", "n"]].to_numpy().tolist() == [
        ["b", "psnr", 0.0, 29],
        ["b", "ssim", 1.0, 30],
        ["a", "psnr", 2.0, 30],
    ]


def compared(better_by: dict[tuple[str, str, str], float], number=8, noise=0.01):
    """Scores of a model and of trivial rows that it is better than by so much, by measure and row, and the people."""
    random = np.random.default_rng(5)
    people = crossed(number)
    parts = []
    for measure in MEASURES:
        key = measure.metric, measure.against
        asked = {row: by for (*of, row), by in better_by.items() if tuple(of) == key}
        if not asked:
            continue
        sign = 1 if measure.metric in ("psnr", "ssim", "identity_cosine") else -1
        for row in ("model", *asked):
            value = 1 - sign * asked.get(row, 0) + random.normal(0, noise, len(people))
            parts.append(
                pd.DataFrame({"pair": people.index, "value": value}).assign(
                    row=row, metric=measure.metric, against=measure.against, features="f"
                )
            )
    return pd.concat(parts, ignore_index=True), people


def everywhere(by: float) -> dict[tuple[str, str, str], float]:
    return {(m.metric, m.against, row): by for m in MEASURES for row in TRIVIAL}


def test_a_model_that_is_better_everywhere_beats_the_trivial_rows():
    table = contests(*compared(everywhere(0.2)), 200, 1)
    assert list(table.columns) == CONTESTS
    assert (table["outcome"] == BETTER).all()
    assert len(table) == sum(len(measure.losers) for measure in MEASURES)
    assert np.allclose(table["difference"], 0.2, atol=0.02)
    assert (table["ci_low"] < table["difference"]).all()
    (sentence,) = verdicts(table).values()
    assert sentence.startswith("Beats the trivial rows in all measures: landmark error (0.")
    assert "95 % interval 0." in sentence
    assert "not in" not in sentence
    assert "Not compared" not in sentence


def test_one_lost_measure_is_named_with_its_interval():
    table = contests(*compared(everywhere(0.2) | {("landmark_error", "carried", "landmark_warp"): -0.1}), 200, 1)
    lost = table[table["outcome"] == WORSE]
    assert lost[["metric", "against", "trivial"]].to_numpy().tolist() == [
        ["landmark_error", "carried", "landmark_warp"]
    ]
    sentence = verdicts(table)["model"]
    assert "in 8 of 9 measures" in sentence
    assert "; not in landmark error (0." in sentence
    assert "worse than the landmark warp, 95 % interval -0." in sentence


def test_what_is_alike_is_not_shown():
    table = contests(*compared({("landmark_error", "carried", "copy_style"): 0.0}, noise=0.1), 300, 1)
    assert table["outcome"].tolist() == [NOT_SHOWN]
    sentence = verdicts(table)["model"]
    assert sentence.startswith("Beats the trivial rows in no measure: landmark error (0.0")
    assert "than the copied style, 95 % interval -0.0" in sentence
    assert ", not shown)" in sentence


def test_few_people_tell_nothing():
    table = contests(*compared(everywhere(0.2), number=3), 100, 1)
    assert (table["outcome"] == TOO_FEW).all()
    assert verdicts(table) == {
        "model": "Cannot be told: its pairs are of 3 people, and fewer than 6 are too few for an interval."
    }


def test_a_verdict_says_what_was_not_compared():
    measured = {("asymmetry_error", "style", "copy_identity"): 0.2, ("identity_cosine", "identity", "copy_style"): 0.2}
    sentence = verdicts(contests(*compared(measured), 200, 1))["model"]
    assert sentence.startswith("Beats the trivial rows in all measures")
    assert "Not compared with the landmark warp" in sentence


def test_a_measure_is_won_only_if_it_is_won_against_every_row():
    people = crossed(8)
    spread = np.random.default_rng(3).normal(0, 3, len(people))
    value = {"model": 0.0, "copy_identity": 0.2 + spread, "copy_style": 0.1, "landmark_warp": 0.3}
    parts = [pd.DataFrame({"pair": people.index, "value": v}).assign(row=row) for row, v in value.items()]
    scores = pd.concat(parts).assign(metric="landmark_error", against="carried", features="f")
    table = contests(scores, people, 200, 1).set_index("trivial")
    assert table["outcome"].to_dict() == {"copy_identity": NOT_SHOWN, "copy_style": BETTER, "landmark_warp": BETTER}
    # The interval that holds zero reaches far above the others, too.
    assert table["ci_high"].idxmax() == "copy_identity"
    sentence = verdicts(table.reset_index())["model"]
    assert sentence.startswith("Beats the trivial rows in no measure")
    assert "than the copied identity" in sentence


def test_rows_are_compared_on_the_pairs_of_both():
    scores, people = compared({("landmark_error", "carried", "copy_style"): 0.2}, noise=0)
    of_model = scores.index[scores["row"] == "model"]
    scores.loc[of_model[:10], "value"] = np.nan
    scores = scores.drop(scores.index[(scores["row"] == "copy_style")][-5:])
    table = contests(scores, people, 50, 1)
    assert table["n"].tolist() == [len(people) - 15]
    assert table["difference"].tolist() == pytest.approx([0.2])


# --- the landmark warp ---


def test_a_face_takes_on_the_asymmetry_of_another_on_its_weak_side():
    own, other = shown(IDENTITY + moved(**SMILE)), shown(STYLE, -0.3, 2)
    new = with_asymmetry(own, other, "right")
    assert np.allclose(asymmetry(new), asymmetry(STYLE))
    changed = np.linalg.norm(new - own, axis=1) > 1e-9
    assert not changed[list(ON_LEFT)].any()
    assert not changed[list(FIXED)].any()
    assert changed[[48, 60, 37, 40]].all()
    # As the identity would smile with a right side that hardly moves.
    assert np.allclose(in_face_frame(new), TARGET)


def test_a_turned_head_is_not_taken_for_a_palsy():
    turned = STYLE.copy()
    turned[[*range(17), *range(27, 31)], 0] += 0.1
    assert np.allclose(with_asymmetry(IDENTITY, turned, "right"), with_asymmetry(IDENTITY, STYLE, "right"))


def test_the_weak_side_is_the_one_that_moves_less():
    assert weak_side(shown(STYLE)) == "right"
    assert weak_side(mirrored(STYLE)) == "left"
    open_eye = face() + moved(lids=-0.1, left=1, right=0)
    assert weak_side(open_eye) == "right"
    raised = face() + moved(brow=0.1, left=0)
    assert weak_side(raised) == "left"
    assert np.allclose(with_asymmetry(IDENTITY, STYLE), with_asymmetry(IDENTITY, STYLE, "right"))
    assert np.allclose(with_asymmetry(IDENTITY, STYLE, "none"), with_asymmetry(IDENTITY, STYLE, "right"))
    assert not np.allclose(with_asymmetry(IDENTITY, STYLE, "left"), with_asymmetry(IDENTITY, STYLE, "right"))


def noise(side: int = 112) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (side, side, 3), np.uint8)


@pytest.mark.parametrize("side", [32, 112])
def test_without_a_change_the_warp_returns_the_image(side):
    image, points = noise(side), shown(STYLE)
    assert np.array_equal(landmark_warp(image, points, points), image)
    assert np.array_equal(landmark_warp(image, points, shown(STYLE, 2, 30), "left"), image)


def test_the_warp_moves_what_is_at_a_point_to_where_the_point_goes():
    own, other = shown(IDENTITY + moved(**SMILE), 0.05), shown(STYLE)
    new = with_asymmetry(own, other, "right")
    # A pixel's colour says in which column and row it was.
    y, x = np.mgrid[:240, :240]
    warped = landmark_warp(np.stack([x, y, x], axis=-1).astype(np.uint8), own, other, "right")
    came_from = cv2.remap(warped, np.float32(240 * new - 0.5)[:, None], None, cv2.INTER_LINEAR)[:, 0, :2]
    inside = (new > 0.02).all(axis=1) & (new < 0.98).all(axis=1)
    assert inside.sum() > 60
    apart = np.linalg.norm(came_from - (240 * own - 0.5), axis=1)[inside]
    assert (np.linalg.norm(240 * (new - own), axis=1)[[48, 60]] > 8).all()
    # The map has an edge at each point, which lies between pixels.
    assert apart.max() < 1.5
    assert np.median(apart) < 0.5


def test_the_warp_leaves_the_border_and_the_healthy_side():
    image = noise()
    own, other = shown(IDENTITY + moved(**SMILE), 0), shown(STYLE)
    warped = landmark_warp(image, own, other, "right")
    edges = np.ones((112, 112), bool)
    edges[1:-1, 1:-1] = False
    # The last rows may take a little of their neighbours: the border is at the outer edge of the pixels.
    assert np.abs(warped.astype(int) - image)[edges].mean() < 3
    around_left_eye = (slice(40, 50), slice(72, 84))
    assert np.array_equal(warped[around_left_eye], image[around_left_eye])
    assert np.abs(warped.astype(int) - image)[80:90, 35:50].mean() > 10
    assert np.array_equal(warped, landmark_warp(image, own, other, "right"))


def test_a_mirrored_pair_warps_to_the_mirror_image():
    smooth = (127 + 120 * np.sin(np.mgrid[:112, :112] / 9)).transpose(1, 2, 0)
    image = np.concatenate([smooth, smooth[..., :1]], axis=-1).astype(np.uint8)
    own, other = shown(IDENTITY + moved(**SMILE)), shown(STYLE)
    warped = landmark_warp(image, own, other, "right")
    again = landmark_warp(np.ascontiguousarray(image[:, ::-1]), mirrored(own), mirrored(other), "left")[:, ::-1]
    # Four points on a circle are divided into triangles in one of two ways.
    assert np.abs(warped.astype(int) - again).mean() < 0.5


@pytest.mark.parametrize("lids", [-0.12, -0.16, -0.3])
def test_closed_and_crossed_lids_and_faces_out_of_the_image_are_warped(lids):
    image = noise(64)
    closed = shown(face(lids=lids) + moved(brow=0.05, right=0))
    assert landmark_warp(image, closed, shown(STYLE)).shape == image.shape
    assert not np.array_equal(landmark_warp(image, shown(STYLE), closed), image)
    outside = shown(face(), 0.2, 1.5)
    assert landmark_warp(image, outside, shown(STYLE)).shape == image.shape


def test_points_outside_the_image_move_nothing_in_it():
    smooth = np.repeat((127 + 120 * np.sin(np.mgrid[:112, :112].sum(axis=0) / 9))[..., None], 3, axis=2)
    # The corners of the mouth are a pixel below the image.
    own, other = shown(IDENTITY, 0, 0.6, (0.5, 0.47)), shown(PATIENT + moved(corner=0.15, right=0))
    assert own[[48, 54], 1] == pytest.approx(1.01)
    assert (with_asymmetry(own, other, "right") - own)[48, 1] > 0.05
    assert np.array_equal(landmark_warp(smooth.astype(np.uint8), own, other, "right"), smooth.astype(np.uint8))


def test_points_in_one_place_do_no_harm():
    points = shown(IDENTITY)
    points[60:68] = points[62]
    points[31:36] = points[33]
    warped = landmark_warp(noise(), points, shown(STYLE), "right")
    assert np.abs(warped.astype(int) - noise()).mean() > 0.5


def test_a_face_without_points_cannot_be_warped():
    for own, other in (
        (np.full((68, 2), np.nan), STYLE),
        (IDENTITY, np.full((68, 2), np.nan)),
        (np.ones((68, 2)), STYLE),
    ):
        with pytest.raises(ValueError, match="without all of its points"):
            landmark_warp(noise(), own, other, "left")


def test_trivial_rows_by_name():
    identity, style = noise(), 255 - noise()
    points = shown(IDENTITY), shown(STYLE)
    assert np.array_equal(picture("copy_identity", identity, style, *points), identity)
    assert np.array_equal(picture("copy_style", identity, style, *points), style)
    warped = picture("landmark_warp", identity, style, *points, side="left")
    assert np.array_equal(warped, landmark_warp(identity, *points, "left"))
    assert set(trivial.WORDS) == set(TRIVIAL)
    with pytest.raises(ValueError, match="'copy' is none of"):
        picture("copy", identity, style, *points)


def test_on_virtual_patients_the_exact_target_beats_copies_and_warp(heads, landmarker_model):
    """What the measures call good is good: a smile, from the identity at rest, as a detector sees it."""
    cohort = {"seed": 3, "confound": 0.0, "video": {"width": 320, "height": 240, "fps": 30}, "tasks": []}
    everybody = enrol(cohort | {"groups": {"palsy": 12, "healthy": 3}})
    severe = [person for person in everybody if person.severity >= 5][:3]
    healthy = [person for person in everybody if person.group == "healthy"]
    found = {name: [] for name in ("identity", "style", "identity_neutral", "style_neutral", "target")}
    with LandmarkDetector(landmarker_model) as detector:

        def seen(renderer, person, task):
            motion = perform(person, task, 2.0, 30)
            picture, _ = renderer.draw(motion.weights[motion.apex], np.zeros(6), (0, 0))
            return align(picture, detector.detect(picture).landmarks).points

        for identity, patient in zip(healthy, severe, strict=True):
            of_identity, of_patient = (
                Renderer(heads.masks, identity_of(heads, person), scene_of(person, cohort), (240, 320))
                for person in (identity, patient)
            )
            found["identity"].append(seen(of_identity, identity, "rest"))
            found["style"].append(seen(of_patient, patient, "smile_open"))
            found["style_neutral"].append(seen(of_patient, patient, "rest"))
            found["target"].append(seen(of_identity, patient, "smile_open"))
    found = {name: np.array(points) for name, points in found.items()} | {
        "identity_neutral": np.array(found["identity"])
    }
    pairs = Pairs(**found, side=np.array([p.side for p in severe]), identity_embedding=np.ones((3, 2)))
    warped = np.stack([with_asymmetry(*three) for three in zip(pairs.identity, pairs.style, pairs.side, strict=True)])
    rows = {"copy_identity": pairs.identity, "copy_style": pairs.style, "landmark_warp": warped, "exact": pairs.target}
    scores = pd.concat(
        transfer_scores(row, pairs, points, np.ones((3, 2)), found_by="", recognised_by="")
        for row, points in rows.items()
    )
    means = scores.groupby(["metric", "against", "row"])["value"].mean()
    for metric in ("landmark_error", "excursion_error"):
        errors = means[metric, "carried"]
        assert errors["exact"] < 0.7 * errors[list(TRIVIAL)].min(), errors
    assert means["asymmetry_error", "style", "exact"] < 0.5 * means["asymmetry_error", "style", "copy_identity"]
