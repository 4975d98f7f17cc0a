import numpy as np
import pytest
import torch
from torch import nn

from faceneuro.training import loop
from faceneuro.training.activations import Activations, cache
from faceneuro.training.losses import objective_of
from faceneuro.training.slots import MISSING, Slots

INDEX = np.array([[0, 1, 2], [5, MISSING, 3], [MISSING, MISSING, 4], [2, 2, 2]])


def activations(path, views: int = 2, n: int = 6) -> Activations:
    """Activations that say which image (tens) and which view (ones) they are of."""
    values = 10.0 * np.arange(1, n + 1)[:, None] + np.arange(views)
    cache(
        iter(values.astype(np.float32)[:, :, None, None, None] * np.ones((3, 2, 2), np.float32)), n, nn.Identity(), path
    )
    return Activations(path)


@pytest.fixture
def stored(tmp_path) -> Activations:
    return activations(tmp_path / "a.safetensors")


def test_images_stand_side_by_side_with_all_their_views(stored):
    slots = Slots(stored, INDEX)
    assert len(slots) == 4
    assert slots.shape == (4, 2, 3, 3, 2, 2)
    rows = slots.rows(slice(0, 4))
    assert rows.shape == slots.shape
    assert rows.dtype == torch.float32
    expected = np.where(INDEX == MISSING, 0, 10 * (INDEX + 1))[:, None] + np.where(
        INDEX == MISSING, 0, [[[0]], [[1]]]
    ).swapaxes(0, 1)
    np.testing.assert_array_equal(rows.numpy(), expected[..., None, None, None] * np.ones((3, 2, 2)))
    torch.testing.assert_close(slots.rows(torch.tensor([3, 1])), rows[[3, 1]])


def test_a_part_of_the_samples_reads_from_the_same_file(stored):
    slots = Slots(stored, INDEX)
    everything = slots.rows(slice(0, 4))
    for chosen in (np.array([False, True, False, True]), np.array([1, 3])):
        part = slots[chosen]
        assert part.shape == (2, *slots.shape[1:])
        torch.testing.assert_close(part.rows(slice(0, 2)), everything[[1, 3]])
        torch.testing.assert_close(part[np.array([1])].rows(slice(0, 1)), everything[[3]])


def test_the_activations_may_be_a_part_themselves(stored):
    some = stored[np.array([4, 5])]
    rows = Slots(some, np.array([[1, 0]])).rows(slice(0, 1))
    assert rows[0, 0, :, 0, 0, 0].tolist() == [60, 50]


def test_in_training_each_image_is_seen_in_a_view_of_its_own(tmp_path):
    slots = Slots(activations(tmp_path / "a", views=3, n=120), np.arange(120).reshape(40, 3))
    first, again = (
        slots.rows(torch.arange(40), training=True, generator=torch.Generator().manual_seed(2)) for _ in range(2)
    )
    torch.testing.assert_close(first, again)
    assert first.shape == (40, 3, 3, 2, 2)
    view = first[..., 0, 0, 0].numpy() - 10 * (np.arange(120).reshape(40, 3) + 1)
    assert set(view.ravel()) == {0, 1, 2}
    # Not one view for all images of a sample.
    assert (np.ptp(view, axis=1) > 0).mean() > 0.5
    other = slots.rows(torch.arange(40), training=True, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(first, other)


def test_a_missing_image_is_zero_in_training_too(stored):
    rows = Slots(stored, INDEX).rows(torch.tensor([2, 0]), training=True, generator=torch.Generator().manual_seed(0))
    assert rows.shape == (2, 3, 3, 2, 2)
    assert (rows[0, :2] == 0).all()
    assert set(rows[0, 2].unique().tolist()) <= {50, 51}
    assert (rows[1] > 0).all()


def test_a_sample_without_any_image_is_nothing_but_zeros(stored):
    slots = Slots(stored, np.full((2, 3), MISSING))
    assert not slots.rows(slice(0, 2)).any()
    assert not slots.rows(torch.tensor([1]), training=True, generator=torch.Generator()).any()


def test_one_view_costs_no_random_number(tmp_path):
    slots = Slots(activations(tmp_path / "a", views=1), INDEX)
    generator = torch.Generator().manual_seed(2)
    state = generator.get_state()
    rows = slots.rows(torch.arange(4), training=True, generator=generator)
    assert torch.equal(generator.get_state(), state)
    torch.testing.assert_close(rows, slots.rows(slice(0, 4))[:, 0])


def test_only_images_that_are_wanted_are_read(stored, monkeypatch):
    asked = []
    original = Activations.rows

    def rows(self, index, *rest):
        asked.append(index.tolist())
        return original(self, index, *rest)

    monkeypatch.setattr(Activations, "rows", rows)
    slots = Slots(stored, INDEX)
    slots.rows(torch.tensor([1]))
    slots.rows(torch.tensor([2]), training=True)
    assert asked == [[5, 3], [4]]


def test_fewer_samples_than_images_fit_into_memory(stored, monkeypatch):
    slots = Slots(stored, INDEX)
    monkeypatch.setattr(
        "faceneuro.training.activations.VALUES_AT_ONCE", 2 * 3 * slots.rows(slice(0, 1))[0, :, 0].numel()
    )
    assert stored.at_once == 6
    assert slots.at_once == 2
    monkeypatch.setattr("faceneuro.training.activations.VALUES_AT_ONCE", 1)
    assert slots.at_once == 1


@pytest.mark.parametrize("wrong", [6, -2])
def test_an_index_beyond_the_images_is_refused(wrong, stored):
    with pytest.raises(ValueError, match="beyond the 6 activations"):
        Slots(stored, np.array([[0, wrong, 1]]))


class MeanOfPresent(nn.Module):
    """One output per class from the mean over the images that are there."""

    def __init__(self, classes: int = 3):
        super().__init__()
        self.last = nn.Linear(12, classes)

    def embed(self, inputs):
        values = inputs["activations"].flatten(2) / 100
        assert values.shape[1:] == (3, 12)
        return (values * inputs["present"][..., None]).sum(1) / inputs["present"].sum(1, keepdim=True)

    def forward(self, inputs):
        return self.last(self.embed(inputs))


def test_a_network_is_trained_on_them_and_predicts_the_mean_over_the_views(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    labels = np.arange(30) % 3
    index = random.permutation(90).reshape(30, 3)
    values = random.normal(0, 20, (90, 2, 3, 2, 2))
    values[index] += 120 * (labels[:, None, None, None, None, None] - 1)
    cache(iter(values.astype(np.float32)), 90, nn.Identity(), tmp_path / "a")
    index[::4, 1] = MISSING
    inputs = {
        "activations": Slots(Activations(tmp_path / "a"), index),
        "present": (index != MISSING).astype(np.float32),
    }
    # A few samples pass at a time.
    monkeypatch.setattr("faceneuro.training.activations.VALUES_AT_ONCE", 4 * 3 * values[0].size)
    objective = objective_of({"loss": "focal", "gamma": 2.0, "weights": "ratio"}, [10, 10, 10])
    settings = {"epochs": 30, "batch_size": 8, "learning_rate": 0.05, "select": "last", "seed": 1, "key": "k"}
    part = loop.Part(inputs, labels)
    network, history = loop.train(MeanOfPresent, part, None, objective=objective, **settings)
    assert history[-1]["accuracy"] == 1
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    probability = loop.predict(MeanOfPresent, weights, inputs, objective=objective)
    with torch.no_grad():
        one_by_one = [
            objective.probabilities(
                network(
                    {
                        "activations": inputs["activations"].rows(slice(0, 30))[:, view],
                        "present": torch.from_numpy(inputs["present"]),
                    }
                )
            ).numpy()
            for view in range(2)
        ]
    np.testing.assert_allclose(probability, np.mean(one_by_one, axis=0), rtol=1e-4, atol=1e-7)
    embedded = loop.embed(MeanOfPresent, weights, inputs)
    expected = np.where((index == MISSING)[..., None], 0, values.mean(1).reshape(90, 12)[index] / 100).sum(1)
    np.testing.assert_allclose(embedded, expected / (index != MISSING).sum(1)[:, None], rtol=1e-4, atol=1e-6)
