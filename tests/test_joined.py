import numpy as np
import pytest
import torch
from torch import nn

from faceneuro.training import loop
from faceneuro.training.activations import Activations, cache
from faceneuro.training.joined import Joined


def activations(path, n: int, first: int = 0, views: int = 2, size: int = 4) -> Activations:
    """Activations that say which sample (tens) and which view (ones) they are of."""
    values = 10.0 * np.arange(first, first + n)[:, None] + np.arange(views)
    images = values.astype(np.float32)[:, :, None, None, None] * np.ones((3, size, 1), np.float32)
    cache(iter(images), n, nn.Flatten(), path)
    return Activations(path)


@pytest.fixture
def parts(tmp_path) -> tuple[Activations, Activations]:
    return activations(tmp_path / "a", 4), activations(tmp_path / "b", 3, first=4)


def test_samples_of_several_caches_stand_one_behind_the_other(parts):
    joined = Joined(*parts)
    assert joined.shape == (7, 2, 12)
    assert len(joined) == 7
    rows = joined.rows(slice(0, 7))
    assert rows.dtype == torch.float32
    np.testing.assert_array_equal(rows[..., 0].numpy(), 10 * np.arange(7)[:, None] + np.arange(2))
    torch.testing.assert_close(joined.rows(torch.tensor([6, 0, 4, 0])), rows[[6, 0, 4, 0]])
    torch.testing.assert_close(joined.rows(slice(3, 5)), rows[3:5])


def test_a_part_of_the_samples_reads_from_the_same_files(parts):
    joined = Joined(*parts)
    for some in (np.array([1, 5, 6]), np.array([False, True, False, False, False, True, True])):
        part = joined[some]
        assert part.shape == (3, 2, 12)
        assert part.rows(slice(0, 3))[:, 0, 0].tolist() == [10, 50, 60]
        assert part[np.array([2])].rows(slice(0, 1))[0, 1, 0] == 61


def test_parts_may_be_parts_themselves_and_may_be_empty(parts):
    first, second = parts
    joined = Joined(first, second[np.array([False, True, True])])
    assert joined.rows(slice(0, 6))[:, 0, 0].tolist() == [0, 10, 20, 30, 50, 60]
    alone = Joined(first, second[np.zeros(3, bool)])
    torch.testing.assert_close(alone.rows(slice(0, 4)), first.rows(slice(0, 4)))


def test_in_training_each_sample_is_seen_in_one_view_that_the_seed_gives(tmp_path):
    joined = Joined(activations(tmp_path / "a", 60), activations(tmp_path / "b", 60, first=60))
    index = torch.arange(119, -1, -1)
    one, same, other = (
        joined.rows(index, training=True, generator=torch.Generator().manual_seed(seed))[:, 0] for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert (one // 10).tolist() == index.tolist()
    assert set((one % 10).tolist()) == {0, 1}


def test_activations_of_different_shapes_are_refused(parts, tmp_path):
    for other in (activations(tmp_path / "c", 2, views=1), activations(tmp_path / "d", 2, size=2)):
        with pytest.raises(ValueError, match="of different shapes cannot be joined"):
            Joined(parts[0], other)


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(12, 2)

    def forward(self, inputs):
        return self.last(inputs["activations"] / 100)


def test_the_training_loop_takes_it_for_an_array(tmp_path):
    # One view each, so that the choice of views makes no difference.
    whole = activations(tmp_path / "c", 40, views=1)
    joined = Joined(activations(tmp_path / "a", 25, views=1), activations(tmp_path / "b", 15, first=25, views=1))
    labels = (np.arange(40) % 3 == 0).astype(np.int64)
    settings = {"epochs": 2, "batch_size": 8, "learning_rate": 0.1, "select": "last", "seed": 1, "key": "k"}
    histories = [
        loop.train(Last, loop.Part({"activations": inputs}, labels), None, **settings)[1] for inputs in (whole, joined)
    ]
    assert histories[0] == histories[1]
