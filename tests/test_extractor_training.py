"""Extractors that learn from the faces of the study."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from drawn_faces import drawn_faces, other, template
from faceneuro.errors import InputError
from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis import extractor_training
from faceneuro.synthesis.extractor_training import (
    MARGIN,
    MIRRORED,
    SCALE,
    SCHEDULES,
    Settings,
    Trained,
    arcface_loss,
    save_extractor,
    train_extractor,
    varied,
)
from faceneuro.synthesis.extractors import KINDS, load_extractor
from faceneuro.synthesis.sizes import SIZES

SHORT = Settings(steps=4, batch_size=8, learning_rate=3e-3)
LONG = Settings(steps=100, batch_size=18, learning_rate=3e-3)


@pytest.fixture(scope="module")
def people() -> Faces:
    return drawn_faces(people=30, tested=6)


@pytest.fixture(scope="module")
def trained(people) -> dict[str, Trained]:
    found = {"identity": train_extractor("identity", people, "smoke", LONG)}
    found["expression"] = train_extractor("expression", people, "smoke", LONG, found["identity"].network)
    return found | {"landmarks": train_extractor("landmarks", people, "smoke", LONG)}


def quality(trained: Trained) -> dict[str, tuple[float, float]]:
    return {row["metric"]: (row["value"], row["chance"]) for row in trained.quality}


def state(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.network.state_dict()


def same(one: Trained, another: Trained) -> bool:
    return all(torch.equal(value, state(another)[name]) for name, value in state(one).items())


# What is learnt


def test_the_identity_network_recognises_people_it_never_saw(trained):
    value, chance = quality(trained["identity"])["verification_auc"]
    assert value > 0.95
    assert chance == 0.5


def test_the_difference_of_the_pair_tells_task_and_side_of_people_it_never_saw(trained):
    found = quality(trained["expression"])
    assert found["task_accuracy"][0] > 0.8
    assert found["task_accuracy"][1] == pytest.approx(1 / 3)
    # At rest nothing tells the side; a third of the pictures is guessed at best.
    assert found["accuracy"][0] > 0.4
    assert found["accuracy"][1] == pytest.approx(1 / 9)


def test_the_landmark_network_finds_points_better_than_their_mean_place(trained):
    value, chance = quality(trained["landmarks"])["landmark_error"]
    assert value < 0.75 * chance


def test_quality_says_on_whom_it_was_found(trained, people):
    for kind in KINDS:
        for row in trained[kind].quality:
            assert (row["network"], row["images"], row["people"]) == (kind, 18, 6)


def test_the_history_has_every_step_and_falls(trained):
    for kind in KINDS:
        losses = [row["loss"] for row in trained[kind].history]
        assert [row["step"] for row in trained[kind].history] == list(range(1, LONG.steps + 1))
        assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_networks_come_back_from_their_files(trained, people, tmp_path):
    images = torch.from_numpy(people.scaled([0, 1]))
    for kind in KINDS:
        save_extractor(trained[kind], tmp_path / f"{kind}.safetensors")
        again = load_extractor(kind, SIZES["smoke"], tmp_path / f"{kind}.safetensors")
        assert not trained[kind].network.training
        assert torch.equal(again(images)[0], trained[kind].network(images)[0])


def test_the_identity_network_stays_as_it_is_while_the_expression_is_learnt(trained, people):
    before = {name: value.clone() for name, value in state(trained["identity"]).items()}
    train_extractor("expression", people, "smoke", SHORT, trained["identity"].network)
    assert all(torch.equal(value, before[name]) for name, value in state(trained["identity"]).items())


@pytest.mark.parametrize("kind", KINDS)
def test_people_of_the_test_part_change_nothing(kind, trained, people):
    strange = people.images.copy()
    strange[people.role("test")] = 255 - strange[people.role("test")]
    points = people.points.copy()
    points[people.role("test")] = 1 - points[people.role("test")]
    keys = people.keys.copy()
    keys.loc[people.role("test"), ["task", "side"]] = ["odd", "left"]
    identity = trained["identity"].network
    one, another = (
        train_extractor(kind, faces, "smoke", SHORT, identity) for faces in (people, Faces(strange, points, keys))
    )
    assert same(one, another)
    assert one.history == another.history


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_settings_give_the_same_weights_and_another_seed_others(kind, trained, people):
    identity = trained["identity"].network
    one, again, another = (
        train_extractor(kind, people, "smoke", replace(SHORT, seed=seed), identity) for seed in (1, 1, 2)
    )
    assert same(one, again)
    assert not same(one, another)


def test_what_nobody_held_out_can_tell_is_not_stated(people):
    keys = people.keys.assign(role=["test"] * 3 + ["train"] * (len(people) - 3))
    alone = train_extractor("identity", replace(people, keys=keys), "smoke", SHORT)
    assert quality(alone)["verification_auc"] == (None, 0.5)


# How it is learnt


def test_points_go_with_their_pictures():
    # A spot at one point of each face, and at its counterpart on the other side a different colour.
    place, pixels = 45, 64
    twin = MIRRORED[place]
    points = np.stack([template()] * 40).astype(np.float32)
    images = np.zeros((40, pixels, pixels, 3), np.uint8)
    y, x = np.mgrid[:pixels, :pixels] + 0.5
    for channel, point in ((0, place), (1, twin)):
        away = (x - points[0, point, 0] * pixels) ** 2 + (y - points[0, point, 1] * pixels) ** 2
        images[..., channel] = np.rint(250 * np.exp(-away / 18))
    faces = Faces(images, points, pd.DataFrame({"subject": ["a"] * 40}))
    seen = varied(faces, np.arange(40), np.random.default_rng(1))
    assert 0 < seen.mirrored.sum() < 40
    spots = (seen.images.numpy() + 1) / 2
    for channel, point in ((0, place), (1, twin)):
        weight = spots[:, channel]
        found = np.stack([(weight * axis).sum((1, 2)) / weight.sum((1, 2)) / pixels for axis in (x, y)], 1)
        # In a mirrored face the left eye is where the right one was.
        told = np.where(seen.mirrored[:, None], seen.points.numpy()[:, MIRRORED[point]], seen.points.numpy()[:, point])
        np.testing.assert_allclose(found, told, atol=0.15 / pixels)
    moved = seen.points.numpy()[~seen.mirrored] - points[0]
    assert 0.01 < np.abs(moved).max() < 0.08


def test_points_change_sides_with_a_mirrored_face():
    assert np.array_equal(MIRRORED[MIRRORED], np.arange(68))
    np.testing.assert_allclose(other(template())[MIRRORED], template(), atol=1e-9)


def test_arcface_asks_for_a_margin():
    cosines = torch.tensor([[0.3, -0.2, 0.1]])
    harder = torch.cos(torch.acos(cosines[0, 0]) + MARGIN)
    expected = cross_entropy(SCALE * torch.tensor([[harder, -0.2, 0.1]]), torch.tensor([0]))
    torch.testing.assert_close(arcface_loss(cosines, torch.tensor([0])), expected)


def test_arcface_never_rewards_a_face_for_being_further_away():
    angles = torch.linspace(0.0, torch.pi, 50)
    losses = [arcface_loss(torch.stack([angle.cos(), torch.tensor(0.0)])[None], torch.tensor([0])) for angle in angles]
    assert (torch.stack(losses).diff() >= 0).all()
    cosines = torch.ones(1, 2, requires_grad=True)
    arcface_loss(cosines, torch.tensor([0])).backward()
    assert cosines.grad.isfinite().all()


def test_settings_are_those_of_the_size_unless_stated():
    assert Settings.of("demo", {"steps": None, "batch_size": 9}) == Settings(**SCHEDULES["demo"] | {"batch_size": 9})
    assert Settings.of("paper", {"seed": 4}).seed == 4
    assert set(SCHEDULES) == set(SIZES)


# What cannot be learnt from


def test_one_person_is_nobody_to_tell_apart(people):
    with pytest.raises(InputError, match=r"studies\.synthesis\.groups: there is one person"):
        train_extractor("identity", drawn_faces(people=3, tested=2), "smoke", SHORT)


def test_one_task_without_a_side_is_no_expression(trained, people):
    alike = replace(people, keys=people.keys.assign(task="rest", side=None))
    with pytest.raises(InputError, match=r"studies\.synthesis\.tasks: all faces .* show one task"):
        train_extractor("expression", alike, "smoke", SHORT, trained["identity"].network)


def test_one_task_with_sides_is_enough(trained, people):
    alike = replace(people, keys=people.keys.assign(task=None))
    found = train_extractor("expression", alike, "smoke", SHORT, trained["identity"].network)
    assert quality(found)["task_accuracy"] == (1.0, 1.0)


def test_a_rate_that_is_too_high_is_named(people):
    with pytest.raises(InputError, match=r"config key a\.b\.learning_rate: the loss .* became nan at step \d"):
        train_extractor("landmarks", people, "smoke", replace(SHORT, learning_rate=1e30), key="a.b")


def test_too_little_memory_names_the_key(people, monkeypatch):
    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(extractor_training, "varied", exhausted)
    with pytest.raises(InputError, match=r"config key a\.b\.batch_size: there is not enough memory for 8"):
        train_extractor("identity", people, "smoke", SHORT, key="a.b")


def test_what_is_no_network_and_what_has_no_start_is_refused(people):
    with pytest.raises(ValueError, match="'nose' is none of identity, expression, landmarks"):
        train_extractor("nose", people, "smoke", SHORT)
    with pytest.raises(ValueError, match="starts from the identity network"):
        train_extractor("expression", people, "smoke", SHORT)
