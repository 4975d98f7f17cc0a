import logging
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from faceneuro.evaluation.explanations import (
    GRADIENTS,
    MEASURED,
    OCCLUSION,
    PLACES,
    SIDES,
    TASK_REGIONS,
    Occlusion,
    by_region,
    explain_images,
    explain_measures,
    integrated_gradients,
    occlusion_map,
    score_map,
    score_measures,
    to_explain,
)
from faceneuro.features.asymmetry import MEASURES
from faceneuro.features.crops import CONTOURS, SIZE, encode
from faceneuro.models import IMAGES
from faceneuro.models.backbones import load
from faceneuro.models.palsy import HandcraftedFNN, ImageNetwork
from faceneuro.report.explanations import (
    CHANCE,
    HEALTHY,
    NOT_SCORED,
    POINTS,
    TOO_FEW,
    WEAK,
    explanations_table,
    write_explanations,
)
from faceneuro.studies.palsy import LINES
from faceneuro.tables import CROPS, EXPLANATIONS, FOLDS, KEYS, PALSY_SAMPLES, read_table, write_table
from faceneuro.training.fit import save_weights

ROOT = Path(__file__).parents[1]
VIEW = 224
BACKBONE = {
    "size": "small",
    "checkpoint": None,
    "weights": "none",
    "seed": 1,
    "normalisation": "checkpoint",
    "unfreeze": "last_block",
}
TASKS = ("brow_raise", "eye_closure_tight", "smile_open")
COHORT = {"cohort": "virtual_palsy", "virtual": True, "permuted": False}


class Named(dict):
    __getattr__ = dict.__getitem__


# Integrated gradients


def two_outputs(network):
    def logit(values):
        outputs = network({"measures": values})
        return outputs[:, 1] - outputs[:, 0]

    return logit


def bending_network() -> HandcraftedFNN:
    """Fifteen rectified layers with statistics of some data: a line through them bends hundreds of times."""
    torch.manual_seed(2)
    network = HandcraftedFNN({"measures": 29})
    with torch.no_grad():
        for _ in range(30):
            network({"measures": torch.randn(64, 29)})
    return network.double().eval()


def test_attributions_add_up_to_the_difference_of_the_logits():
    logit = two_outputs(bending_network())
    random = np.random.default_rng(1)
    inputs, baseline = 2 * random.normal(size=(4, 29)), random.normal(size=29)
    attributions = integrated_gradients(logit, inputs, baseline, steps=64)
    with torch.no_grad():
        difference = (logit(torch.tensor(inputs)) - logit(torch.tensor(baseline)[None])).numpy()
    np.testing.assert_allclose(attributions.sum(1), difference, rtol=1e-3)
    finer = integrated_gradients(logit, inputs, baseline, steps=4096)
    np.testing.assert_allclose(attributions, finer, atol=0.02 * np.abs(finer).max())


def test_the_mean_of_64_gradients_alone_would_not():
    # Why there are more steps then.
    logit = two_outputs(bending_network())
    random = np.random.default_rng(1)
    rows, baseline = torch.tensor(2 * random.normal(size=(8, 29))), torch.tensor(random.normal(size=29))
    missed = []
    for row in rows:
        line = (baseline + ((torch.arange(64) + 0.5) / 64)[:, None] * (row - baseline)).requires_grad_()
        (gradients,) = torch.autograd.grad(logit(line).sum(), line)
        with torch.no_grad():
            difference = logit(row[None]) - logit(baseline[None])
        missed.append(((gradients.mean(0) @ (row - baseline)) / difference - 1).abs().item())
    assert max(missed) > 1e-3


def test_of_a_linear_model_they_are_weight_times_difference():
    random = np.random.default_rng(0)
    weights, inputs, baseline = random.normal(size=29), random.normal(size=(5, 29)), random.normal(size=29)
    found = integrated_gradients(lambda values: values @ torch.tensor(weights) + 3, inputs, baseline, steps=1)
    np.testing.assert_allclose(found, weights * (inputs - baseline), atol=1e-12)


def test_a_feature_at_its_baseline_and_one_without_effect_get_nothing():
    inputs, baseline = np.array([[2.0, 1.0, 5.0]]), np.array([0.0, 1.0, 0.0])
    found = integrated_gradients(lambda values: values[:, 0] ** 2 * (1 + values[:, 1]), inputs, baseline)
    np.testing.assert_allclose(found, [[8, 0, 0]], rtol=1e-3)


def test_equal_logits_and_no_samples_come_to_an_end():
    around = integrated_gradients(lambda values: (values[:, 0] - 1).abs(), [[2.0]], [0.0])
    np.testing.assert_allclose(around, [[0]], atol=1e-6)
    assert integrated_gradients(lambda values: values[:, 0], np.zeros((0, 3)), np.zeros(3)).shape == (0, 3)
    np.testing.assert_array_equal(integrated_gradients(lambda values: values.sum(1), [[1.0]], [1.0]), [[0]])


# Scores of measures


def test_regions_add_up_to_all_measures():
    attributions = np.random.default_rng(0).normal(size=29)
    sums = by_region(attributions)
    assert sums.keys() == {measure.region for measure in MEASURES}
    assert sum(sums.values()) == pytest.approx(attributions.sum())


@pytest.mark.parametrize(
    ("task", "names", "hit"),
    [
        ("brow_raise", ["brow_angle_outer"], True),
        ("eye_closure_gentle", ["eye_opening_ratio"], True),
        ("smile_closed", ["mouth_angle"], True),
        ("smile_closed", ["nose_angle"], True),
        ("lip_pucker", ["nose_angle"], False),
        ("nose_wrinkle", ["nose_angle"], True),
        ("brow_raise", ["brow_lip_inner"], False),
        ("eye_closure_tight", ["brow_angle_inner"], False),
    ],
)
def test_the_region_that_counts_is_compared_with_the_task(task, names, hit):
    attributions = np.where(np.isin([measure.name for measure in MEASURES], names), -1.0, 0.01)
    assert score_measures(attributions, task)["region_hit"] is hit


def test_chance_is_the_share_of_the_measures():
    for task, regions in TASK_REGIONS.items():
        expected = sum(measure.region in regions for measure in MEASURES) / 29
        assert score_measures(np.ones(29), task)["region_chance"] == pytest.approx(expected)


def test_measures_that_count_at_random_are_right_as_often_as_chance_says():
    random = np.random.default_rng(0)
    for task in TASKS:
        scores = [score_measures(random.normal(size=29), task) for _ in range(3000)]
        assert np.mean([score["region_hit"] for score in scores]) == pytest.approx(scores[0]["region_chance"], abs=0.03)


def test_rest_has_no_region_and_measures_have_no_side():
    score = score_measures(np.ones(29), "rest")
    assert score["region_hit"] is None
    assert score["region_chance"] is None
    assert score["pointed"] == "mouth"
    assert score["side_share"] is None
    assert score_measures(np.zeros(29), "brow_raise") | {"region_chance": None} == {
        "pointed": "",
        "region_hit": False,
        "region_chance": None,
        "side_share": None,
    }


# Maps of pictures


def face() -> np.ndarray:
    """Landmarks of a symmetric face as shares of its crop, shape (478, 2)."""
    points = np.full((478, 2), 0.5)
    places = {"brow": (0.27, 0.22), "eye": (0.27, 0.36), "nose": (0.0, 0.5), "mouth": (0.0, 0.75)}
    half = {"brow": (0.1, 0.02), "eye": (0.08, 0.02), "nose": (0.09, 0.12), "mouth": (0.18, 0.05)}
    for region, parts in PLACES.items():
        for indices, outwards in zip(parts, (1, -1), strict=False):
            angles = 2 * np.pi * np.arange(len(indices)) / len(indices)
            circle = np.stack([outwards * np.cos(angles), np.sin(angles)], 1)
            centre = np.array([0.5 + outwards * places[region][0], places[region][1]])
            points[list(indices)] = centre + circle * half[region]
    points[10], points[152] = (0.5, 0.0), (0.5, 1.0)
    return points.astype(np.float32)


def mirrored(points: np.ndarray) -> np.ndarray:
    """The picture of the face mirrored: the landmarks that a detector finds there are those of the other side."""
    return np.stack([1 - points[:, 0], points[:, 1]], 1)


def seen(x: float, y: float) -> tuple[float, float]:
    """A place in the crop, in pixels of the view."""
    return x * SIZE - 16, y * SIZE - 16


def bright(centre: tuple[float, float], reach: float):
    """A model that sees how bright the picture is around one place, and a picture for it."""
    down, across = np.mgrid[:VIEW, :VIEW] + 0.5
    weight = torch.from_numpy((np.hypot(across - centre[0], down - centre[1]) < reach) / reach**2).float()
    return lambda images: (images.mean(1) * weight).sum((1, 2)), np.ones((3, VIEW, VIEW), np.float32)


def test_a_model_that_looks_at_one_half_has_its_map_there():
    # On the picture's left is the subject's right.
    found = occlusion_map(lambda images: images[..., :90].mean((1, 2, 3)), np.ones((3, VIEW, VIEW), np.float32))
    assert found.map[:, :90].sum() > 0.8 * found.map.sum()
    assert found.map[:, 128:].sum() == 0
    assert score_map(found, face(), "rest", "right")["side_share"] > 0.99
    assert score_map(found, face(), "rest", "left")["side_share"] < 0.01


def test_drops_are_what_the_patches_take_away():
    picture = np.random.default_rng(0).random((3, VIEW, VIEW)).astype(np.float32)
    found = occlusion_map(lambda images: images.sum((1, 2, 3)), picture, fill=0.25)
    assert found.drops.shape == (13, 13)
    np.testing.assert_array_equal(found.centres, np.arange(16, 209, 16))
    assert found.logit == pytest.approx(picture.sum(), rel=1e-5)
    part = picture[:, 32:64, 48:80] - 0.25
    assert found.drops[2, 3] == pytest.approx(part.sum(), abs=0.2)
    assert found.map.shape == (VIEW, VIEW)
    np.testing.assert_allclose(found.map[0, 0], found.drops[0, 0])
    np.testing.assert_allclose(found.map[47:49, 63:65].mean(), found.drops[2, 3], rtol=0.1)
    assert found.map.max() <= found.drops.max() + 1e-9


def test_the_picture_itself_stays_as_it_was():
    picture = np.ones((3, VIEW, VIEW), np.float32)
    occlusion_map(lambda images: images.sum((1, 2, 3)), picture, stride=32)
    assert (picture == 1).all()


def test_a_patch_that_would_leave_an_edge_uncovered_is_refused():
    with pytest.raises(ValueError, match="patch of 32 pixels in steps of 50 does not cover a picture of 224 x 224"):
        occlusion_map(lambda images: images.sum((1, 2, 3)), np.ones((3, VIEW, VIEW), np.float32), stride=50)


@pytest.mark.parametrize(
    ("place", "pointed", "hits"),
    [
        ((0.23, 0.22), "brow", {"brow_raise"}),
        ((0.77, 0.36), "eye", {"eye_closure_tight", "eye_closure_gentle"}),
        ((0.5, 0.75), "mouth", {"smile_open", "smile_closed", "lip_pucker"}),
        ((0.5, 0.47), "nose", {"nose_wrinkle", "smile_open", "smile_closed"}),
        ((0.12, 0.9), "", set()),
    ],
)
def test_the_map_points_at_the_region_that_the_model_looks_at(place, pointed, hits):
    found = occlusion_map(*bright(seen(*place), 12))
    for task in TASK_REGIONS:
        score = score_map(found, face(), task, "left")
        assert pointed in score["pointed"].split(",")
        assert score["region_hit"] is (task in hits)
        assert 0 < score["region_chance"] < 0.4


def test_the_mirrored_face_with_the_other_side_has_the_same_score():
    random = np.random.default_rng(3)
    points = face() + random.normal(0, 0.01, (478, 2)).astype(np.float32)
    picture = random.random((3, VIEW, VIEW)).astype(np.float32)
    look = torch.from_numpy(random.normal(size=(VIEW, VIEW)).astype(np.float32))
    found = occlusion_map(lambda images: (images.mean(1) * look).sum((1, 2)), picture)
    other = occlusion_map(
        lambda images: (images.mean(1) * look.flip(1)).sum((1, 2)), np.ascontiguousarray(picture[..., ::-1])
    )
    for task in (*TASKS, "rest"):
        one, two = score_map(found, points, task, "left"), score_map(other, mirrored(points), task, "right")
        assert one["side_share"] == pytest.approx(two["side_share"], abs=1e-4)
        assert {**one, "side_share": 0} == {**two, "side_share": 0}
    sides = [score_map(found, points, "rest", side)["side_share"] for side in SIDES]
    assert sum(sides) == pytest.approx(1)


def test_chance_of_a_map_is_that_of_a_patch_anywhere():
    found = occlusion_map(*bright(seen(0.5, 0.5), 30))
    hits = []
    for place in range(169):
        drops = np.zeros(169)
        drops[place] = 1
        moved = Occlusion(0.0, drops.reshape(13, 13), found.centres, found.map)
        hits.append([score_map(moved, face(), task, "left")["region_hit"] for task in TASKS])
    expected = [score_map(found, face(), task, "left")["region_chance"] for task in TASKS]
    np.testing.assert_allclose(np.mean(hits, axis=0), expected)


def test_a_model_that_sees_nothing_points_nowhere():
    found = occlusion_map(lambda images: torch.zeros(len(images)), np.ones((3, VIEW, VIEW), np.float32))
    score = score_map(found, face(), "smile_open", "left")
    assert score["pointed"] == ""
    assert score["region_hit"] is False
    assert score["side_share"] is None


def test_the_middle_of_a_turned_face_is_not_that_of_the_picture():
    points = face()
    points[[10, 152], 0] = 0.3, 0.4
    found = occlusion_map(lambda images: images[..., 70:].mean((1, 2, 3)), np.ones((3, VIEW, VIEW), np.float32))
    assert score_map(found, face(), "rest", "right")["side_share"] > 0.1
    assert score_map(found, points, "rest", "right")["side_share"] < 0.1


def test_regions_lie_on_both_sides_of_the_face_and_on_its_outlines():
    drawn = {index for contour in CONTOURS for index in contour}
    for region in ("brow", "eye", "mouth"):
        assert {index for part in PLACES[region] for index in part} <= drawn
    assert set(MEASURED) - {"face"} == set(PLACES)
    assert {region for regions in TASK_REGIONS.values() for region in regions} <= set(PLACES)


# Which samples, which models


def table_of_samples(n_per_task: int = 4) -> pd.DataFrame:
    rows = []
    for subject, label, side in (("P1", "Palsy", "left"), ("P2", "Palsy", "none"), ("H1", "Healthy", "none")):
        for task in TASKS:
            for frame in range(n_per_task):
                rows.append(
                    {
                        "cohort": "virtual_palsy",
                        "subject": subject,
                        "clip": f"{subject}_{task}",
                        "frame": frame,
                        "group": label.lower(),
                        "label": label,
                        "task": task,
                        "severity": 4.0 if label == "Palsy" else 0.0,
                        "side": side,
                        "crop_table": 0,
                        "crop_row": len(rows),
                    }
                )
    return pd.DataFrame(rows)


def test_only_tested_patients_with_a_known_side_and_grade_are_explained():
    samples = table_of_samples()
    tested = np.full(len(samples), "test")
    assert list(to_explain(samples, tested, "Palsy")) == list(range(12))
    assert not len(to_explain(samples, np.full(len(samples), "train"), "Palsy"))
    assert not len(to_explain(samples.assign(side=None), tested, "Palsy", 6))
    assert not len(to_explain(samples.assign(severity=np.nan), tested, "Palsy", 6))
    assert not len(to_explain(samples, tested, "Palsy", 0))


def test_a_few_are_spread_over_the_tasks():
    samples = table_of_samples()
    places = to_explain(samples, np.full(len(samples), "test"), "Palsy", 6)
    assert samples["task"].iloc[places].value_counts().to_dict() == dict.fromkeys(TASKS, 2)
    assert len(to_explain(samples, np.full(len(samples), "test"), "Palsy", 50)) == 12


def test_reading_the_table_needs_no_torch():
    code = "import sys, faceneuro.report.explanations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Networks


def test_a_network_that_goes_by_the_eyes_points_at_the_eyes():
    network = HandcraftedFNN({"measures": 29})
    network.body = torch.nn.Sequential(torch.nn.Linear(29, 59), torch.nn.ReLU())
    with torch.no_grad():
        network.body[0].weight.copy_(torch.tensor([region == "eye" for region in MEASURED]).float().expand(59, 29))
        network.body[0].bias.zero_()
        network.last.weight.copy_(torch.stack([-torch.ones(59), torch.ones(59)]))
    linear = two_outputs(network.double().eval())
    samples = table_of_samples().iloc[:12]
    attributions = integrated_gradients(linear, np.ones((12, 29)), np.zeros(29))
    hits = [score_measures(row, task)["region_hit"] for row, task in zip(attributions, samples["task"], strict=True)]
    assert hits == list(samples["task"] == "eye_closure_tight")


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def test_rows_of_a_trained_network_fit_the_table(tmp_path):
    torch.manual_seed(0)
    samples = table_of_samples(1).iloc[:3]
    measures = np.random.default_rng(0).normal(size=(3, 29)).astype(np.float32)
    weights = weights_of(HandcraftedFNN({"measures": 29}))
    rows = explain_measures("handcrafted_fnn", weights, samples, measures, np.zeros(29))
    key = {"study": "palsy", "protocol": "grouped", "model": "handcrafted_fnn", "fold": 0}
    write_table([key | row for row in rows], tmp_path / "table.parquet", EXPLANATIONS)
    read = read_table(tmp_path / "table.parquet")
    assert set(read["method"]) == {GRADIENTS}
    assert read["region_hit"].notna().all()
    pd.testing.assert_frame_equal(read[list(KEYS)].astype(object), samples[list(KEYS)].astype(object))


@pytest.fixture(scope="module")
def mixer() -> dict[str, np.ndarray]:
    """Weights of an untrained network on pictures; only its last layer is not what the settings give."""
    torch.manual_seed(0)
    _, tail, features = load("mixer", BACKBONE)
    return weights_of(ImageNetwork("mixer", tail, features))


def test_both_parts_of_an_image_network_see_the_patch(mixer):
    samples = table_of_samples().iloc[[0]]
    picture = np.random.default_rng(0).random((1, 3, VIEW, VIEW)).astype(np.float32)
    coordinates = face().reshape(1, -1)
    (row,) = explain_images("rgb_mixer", mixer, samples, coordinates, [picture], BACKBONE, patch=112, stride=112)
    frozen, tail, features = load("mixer", BACKBONE)
    network = ImageNetwork("mixer", tail, features)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in mixer.items()})
    with torch.inference_mode():
        outputs = network.eval()({"activations": frozen(torch.from_numpy(picture))})[0]
    assert row["logit"] == pytest.approx((outputs[1] - outputs[0]).item(), abs=1e-5)
    assert row["method"] == OCCLUSION
    assert row["side"] == "left"
    assert 0 <= row["side_share"] <= 1


def test_no_sample_costs_no_network():
    empty = table_of_samples().iloc[:0]
    assert list(explain_images("rgb_mixer", {}, empty, np.zeros((0, 956)), [], {})) == []


# The table


def explained(model: str, points_at, share=None, patients: int = 8, per_task: int = 2, sides=SIDES) -> pd.DataFrame:
    """Rows of one model; ``points_at`` and ``share`` are functions of random stream, task and weak side."""
    random = np.random.default_rng(5)
    rows = []
    for number in range(patients):
        side = sides[number % len(sides)]
        for task in TASKS:
            for frame in range(per_task):
                pointed = points_at(random, task)
                rows.append(
                    {
                        "study": "palsy",
                        "protocol": "grouped",
                        "model": model,
                        "fold": number,
                        "cohort": "virtual_palsy",
                        "subject": f"P{number}",
                        "clip": f"P{number}_{task}",
                        "frame": frame,
                        "task": task,
                        "side": side,
                        "method": OCCLUSION if model in IMAGES else GRADIENTS,
                        "pointed": pointed,
                        "region_hit": pointed in TASK_REGIONS[task],
                        "region_chance": 0.2,
                        "side_share": None if share is None else share(random, side),
                        "logit": 1.0 if frame else -1.0,
                    }
                )
    return pd.DataFrame(rows)


def truly(random, task):
    return TASK_REGIONS[task][0] if random.random() < 0.9 else "face"


def anywhere(random, task):
    return random.choice(["brow", "eye", "mouth", "face", ""])


def judged(*parts: pd.DataFrame, **notes: str) -> pd.DataFrame:
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=EXPLANATIONS.names)
    return explanations_table(rows, LINES, **COHORT, notes=notes, resamples=200, seed=1)


def test_the_verdict_tells_right_from_chance():
    frame = judged(
        explained("shuffled_fnn", anywhere),
        explained("rgb_mixer", anywhere, lambda random, side: random.normal(0.7, 0.05)),
        explained("handcrafted_fnn", truly),
        explained("lines_mixer", truly, lambda random, side: random.choice([0.2, 0.8])),
    ).set_index("model")
    assert list(frame.index) == ["handcrafted_fnn", "rgb_mixer", "lines_mixer", "shuffled_fnn"]
    assert list(frame["region_verdict"]) == [POINTS, CHANCE, POINTS, CHANCE]
    assert list(frame["side_verdict"]) == [NOT_SCORED, WEAK, CHANCE, NOT_SCORED]
    assert frame.loc["handcrafted_fnn", "region_hit"] > 80
    assert (frame["region_ci_low"] <= frame["region_hit"]).all()
    assert (frame["region_hit"] <= frame["region_ci_high"]).all()
    assert (frame["called_palsy"] == 50).all()
    assert (frame["n"] == 48).all()


def test_who_always_points_at_the_same_place_is_no_better_than_chance():
    # One task in three moves the mouth, in every patient alike: above the share of the measures, without any spread.
    frame = judged(explained("handcrafted_fnn", lambda random, task: "mouth")).iloc[0]
    assert frame["region_hit"] == pytest.approx(100 / 3)
    assert frame["region_ci_low"] == pytest.approx(100 / 3)
    assert frame["region_hit"] > frame["region_chance"]
    assert frame["region_any_task"] == pytest.approx(100 / 3)
    assert frame["region_verdict"] == CHANCE


@pytest.mark.parametrize("patients", [8, 5])
def test_a_map_that_is_always_on_one_side_has_half(patients):
    always_left = explained("rgb_mixer", anywhere, lambda random, side: float(side == "left"), patients=patients)
    frame = judged(always_left).iloc[0]
    assert frame["side_share"] == pytest.approx(50)
    assert frame["side_verdict"] == CHANCE


def test_a_map_on_the_strong_side_is_called_so():
    frame = judged(explained("rgb_mixer", anywhere, lambda random, side: random.normal(0.3, 0.05)))
    assert frame["side_verdict"].tolist() == [HEALTHY]


def test_too_few_patients_get_no_interval():
    one = judged(explained("rgb_mixer", truly, lambda random, side: 0.9, patients=1)).iloc[0]
    assert one["region_verdict"] == one["side_verdict"] == TOO_FEW
    assert np.isnan(one[["region_ci_low", "side_ci_low"]].astype(float)).all()
    one_sided = judged(explained("rgb_mixer", truly, lambda random, side: 0.9, sides=("left",))).iloc[0]
    assert one_sided["region_verdict"] == POINTS
    assert one_sided["side_verdict"] == TOO_FEW
    assert np.isnan(one_sided["side_share"])


def text_of(frame: pd.DataFrame, folder: Path, **cohort) -> str:
    write_explanations(frame, folder / "palsy_explanations", **{**COHORT, **cohort})
    assert (folder / "palsy_explanations.csv").exists()
    assert "\\begin{tabular}" in (folder / "palsy_explanations.tex").read_text()
    return (folder / "palsy_explanations.md").read_text()


def test_the_table_says_whose_faces_and_whose_weights(tmp_path):
    note = "untrained backbone, small size, trained: last block"
    mixer_rows = explained("rgb_mixer", anywhere, lambda random, side: random.normal(0.7, 0.05))
    text = text_of(judged(explained("handcrafted_fnn", truly), mixer_rows, rgb_mixer=note), tmp_path)
    lead = text.split("##")[0]
    assert "virtual cohort, rendered faces, no patients" in lead
    assert "up to 48 pictures of 8 patients" in lead
    assert "backbones of these models are untrained" in lead
    assert (
        "Of the explanations, those of 1 of 2 models point at the region that moves (handcrafted_fnn) and "
        "those of 1 of 1 models point at the weak side (rgb_mixer)." in lead
    )
    assert "measures have no side" in text
    assert f"Of rgb_mixer: {note}." in text
    assert "| Handcrafted features | FNN (handcrafted_fnn) | **points at the region that moves** |" in text


def test_without_a_note_nothing_is_called_untrained(tmp_path):
    text = text_of(judged(explained("handcrafted_fnn", truly)), tmp_path)
    assert "untrained" not in text
    assert "Occlusion" not in text
    assert "a patch covers" not in text


@pytest.mark.parametrize(
    ("virtual", "reason"),
    [
        (True, "no tested picture of a patient has a known weak side and grade"),
        (False, "known of virtual patients only"),
    ],
)
def test_nothing_to_judge_is_one_sentence_and_an_empty_table(tmp_path, virtual, reason):
    frame = judged()
    assert frame.empty
    text = text_of(frame, tmp_path, virtual=virtual)
    assert text.count("No explanation was judged") == 1
    assert reason in text
    assert len((tmp_path / "palsy_explanations.csv").read_text().splitlines()) == 1
    assert not [line for line in text.splitlines() if line.startswith("|")][2:]


# The steps


def study_files(folder: Path, model: str, weights: dict[str, np.ndarray]) -> SimpleNamespace:
    """Samples, folds, crops and weights of a study in which fold 0 tests P1 and H1."""
    random = np.random.default_rng(0)
    samples = table_of_samples(2)
    inputs = {"coordinates": face().ravel(), "blendshapes": np.zeros(52, np.float32)}
    rows = [row | inputs | {"measures": random.normal(size=29)} for row in samples.to_dict("records")]
    # A second healthy subject to train on.
    rows += [row | {"subject": "H2", "crop_row": row["crop_row"] + 6} for row in rows[-6:]]
    write_table(rows, folder / "samples.parquet", PALSY_SAMPLES)
    key = {"study": "palsy", "protocol": "grouped", "fold": 0}
    folds = [key | row | {"role": "train" if row["subject"] in ("P2", "H2") else "test"} for row in rows]
    write_table([{name: row[name] for name in FOLDS.names} for row in folds], folder / "folds.parquet", FOLDS)
    landmarks = np.concatenate([face() * SIZE, np.zeros((478, 1))], 1).ravel()
    box = {"left": 0.0, "top": 0.0, "right": float(SIZE), "bottom": float(SIZE)}
    png = encode(random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
    crops = [{n: row[n] for n in KEYS} | box | {"landmarks": landmarks, "png": png} for row in rows]
    write_table(crops, folder / "crops.parquet", CROPS)
    save_weights(folder / "model.safetensors", weights, {})
    return SimpleNamespace(
        rule="explain_palsy_fold",
        wildcards=Named(protocol="grouped", model=model, fold="0"),
        input=SimpleNamespace(
            samples=folder / "samples.parquet",
            folds=folder / "folds.parquet",
            crops=[folder / "crops.parquet"],
            model=folder / "model.safetensors",
        ),
        output=SimpleNamespace(explanations=str(folder / f"{model}.parquet")),
        params=Named(
            backbones={"mixer": BACKBONE},
            images={"views": 1, "gray": False},
            explanations={"at_most": 3, "patch": 112, "stride": 56},
            virtual=True,
            code="abc",
        ),
        resources=SimpleNamespace(gpu=0),
        threads=1,
        log=[str(folder / "explain.log")],
    )


def explain(step: SimpleNamespace) -> pd.DataFrame:
    runpy.run_path(str(ROOT / "workflow" / "scripts" / "explain_palsy_fold.py"), {"snakemake": step})
    return read_table(step.output.explanations)


def tabulate(folder: Path, *tables: str) -> str:
    step = SimpleNamespace(
        rule="tabulate_palsy_explanations",
        wildcards=Named(),
        input=SimpleNamespace(explanations=list(tables)),
        output=SimpleNamespace(csv=str(folder / "palsy_explanations.csv")),
        params=Named(**COHORT, backbones={"mixer": BACKBONE}, bootstrap={"resamples": 50, "seed": 1}, code="abc"),
        log=[str(folder / "tabulate.log")],
    )
    runpy.run_path(str(ROOT / "workflow" / "scripts" / "tabulate_palsy_explanations.py"), {"snakemake": step})
    return (folder / "palsy_explanations.md").read_text()


@pytest.mark.parametrize("model", ["handcrafted_fnn", "shuffled_fnn", "rgb_mixer", "lines_mixer"])
def test_the_script_explains_one_fold_and_the_other_one_tabulates(tmp_path, model, mixer):
    torch.manual_seed(0)
    weights = mixer if model in IMAGES else weights_of(HandcraftedFNN({"measures": 29}))
    rows = explain(study_files(tmp_path, model, weights))
    assert set(rows["subject"]) == {"P1"}
    assert sorted(rows["task"]) == sorted(TASKS)
    assert rows["side_share"].notna().all() == (model in IMAGES)
    text = tabulate(tmp_path, str(tmp_path / f"{model}.parquet"))
    assert f"**{TOO_FEW}**" in text
    assert ("untrained" in text) == (model in IMAGES)
    if model in IMAGES:
        assert f"3 maps of {model}" in (tmp_path / "explain.log").read_text()


def test_a_cohort_without_truth_gives_an_empty_table(tmp_path, mixer):
    step = study_files(tmp_path, "rgb_mixer", mixer)
    step.params["virtual"] = False
    assert explain(step).empty
    assert "nothing is explained" in (tmp_path / "explain.log").read_text()
    assert "No explanation was judged" in tabulate(tmp_path, str(tmp_path / "rgb_mixer.parquet"))
    logging.getLogger("faceneuro").setLevel(logging.NOTSET)
