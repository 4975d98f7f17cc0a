import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.special import expit
from torch import nn

from faceneuro.errors import InputError
from faceneuro.models.backbones import UNFREEZE, split
from faceneuro.models.palsy import ImageNetwork
from faceneuro.training import loop
from faceneuro.training.activations import Activations, cache
from faceneuro.training.fit import embed, fit, predict
from test_backbones import RANDOM, tiny

SETTINGS = {
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 0.05,
    "optimiser": "sgd",
    "momentum": 0.9,
    "select": "last",
    "seed": 3,
}
KEY = "studies.palsy.training.visual"


def images(n: int, views: int = 1, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, views, 3, size, size), np.float32)


def cached(path, values: np.ndarray, frozen: nn.Module, **settings) -> Activations:
    cache(iter(values), len(values), frozen, path, **settings)
    return Activations(path)


def test_what_is_read_is_what_the_frozen_part_gives(tmp_path):
    frozen, _ = split(tiny("resnet"), "resnet", "last_block")
    values = images(7, views=3)
    found = cached(tmp_path / "a.safetensors", values, frozen, batch=5, metadata={"weights": "untrained"})
    expected = frozen(torch.from_numpy(values).flatten(0, 1)).unflatten(0, (7, 3))
    assert found.shape == tuple(expected.shape)
    assert found.metadata == {"weights": "untrained"}
    torch.testing.assert_close(found.rows(slice(0, 7)), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.rows(torch.tensor([5, 2])), expected[[5, 2]], rtol=1e-5, atol=1e-6)
    # Any reader of safetensors can open it.
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["activations"], found.rows(slice(0, 7)).numpy())


def test_a_part_of_the_samples_is_a_view_of_the_same_file(tmp_path):
    frozen, _ = split(tiny("mixer"), "mixer", "head")
    found = cached(tmp_path / "a.safetensors", images(9), frozen)
    mask = np.arange(9) % 2 == 1
    part = found[mask]
    assert len(part) == 4
    assert part.shape == (4, 1, 16)
    torch.testing.assert_close(part.rows(slice(0, 9)), found.rows(slice(0, 9))[mask])
    torch.testing.assert_close(part[np.array([2])].rows(slice(0, 1)), found.rows(slice(5, 6)))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_size_is_known_beforehand_and_bounded(dtype, tmp_path):
    frozen, _ = split(tiny("mixer"), "mixer", "last_block")
    path = tmp_path / "a.safetensors"
    size = 5 * 2 * 16 * 16 * (4 if dtype == "float32" else 2)
    cached(path, images(5, views=2), frozen, dtype=dtype)
    assert 0 <= path.stat().st_size - size < 300
    path.unlink()
    with pytest.raises(
        InputError,
        match=r"studies\.palsy\.cache\.at_most_mib: the activations of 5 samples with 2 views take 1 MiB as "
        rf"{dtype}, and 0 are allowed",
    ):
        cached(path, images(5, views=2), frozen, dtype=dtype, at_most_mib=0)
    assert not path.exists()


@pytest.mark.parametrize("found", [0, 3, 5])
def test_a_wrong_number_of_images_leaves_no_file(found, tmp_path):
    frozen, _ = split(tiny("mixer"), "mixer", "head")
    with pytest.raises(ValueError, match="4 were announced"):
        cache(iter(images(found)), 4, frozen, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_activations_that_are_not_numbers_are_refused(tmp_path):
    values = images(3)
    values[1] = np.nan
    with pytest.raises(ValueError, match="samples 0 to 2 are not finite"):
        cached(tmp_path / "a.safetensors", values, split(tiny("mixer"), "mixer", "head")[0])
    with pytest.raises(InputError, match=r"studies\.palsy\.cache\.dtype: .* choose float32"):
        cached(tmp_path / "a.safetensors", images(3) + 1e5, nn.Identity(), dtype="float16")
    assert list(tmp_path.iterdir()) == []


def test_a_file_cut_short_is_never_read_as_whole(tmp_path):
    path = tmp_path / "a.safetensors"
    cached(path, images(4), split(tiny("mixer"), "mixer", "head")[0])
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 40, 3, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.safetensors is not a whole cache of activations; delete it"):
            Activations(path)


def test_a_kill_leaves_nothing_under_the_name(tmp_path):
    code = (
        "import os, signal, sys, numpy as np\n"
        "from torch import nn\n"
        "from faceneuro.training.activations import cache\n"
        "def images():\n"
        "    for number in range(8):\n"
        "        if number == 5:\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield np.zeros((1, 3, 8, 8), np.float32)\n"
        "cache(images(), 8, nn.Identity(), sys.argv[1], batch=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.safetensors")])
    assert done.returncode == -9
    assert not (tmp_path / "a.safetensors").exists()
    cached(tmp_path / "a.safetensors", images(2), nn.Identity())
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path):
    code = (
        "import resource, sys, numpy as np\n"
        "from torch import nn\n"
        "from faceneuro.training.activations import cache\n"
        "def images(n):\n"
        "    return (np.full((1, 3, 224, 224), number, np.float32) for number in range(n))\n"
        "def peak():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "cache(images(20), 20, nn.Identity(), sys.argv[1], batch=4)\n"
        "before = peak()\n"
        "cache(images(150), 150, nn.Identity(), sys.argv[1], batch=4)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.safetensors")], capture_output=True, text=True, check=True
    )
    # The file has 86 MiB.
    assert float(done.stdout) < 20


def test_training_sees_one_view_at_random_and_the_same_ones_again(tmp_path):
    values = np.arange(40 * 3, dtype=np.float32).reshape(40, 3, 1, 1, 1) * np.ones((1, 1, 3, 2, 2), np.float32)
    found = cached(tmp_path / "a.safetensors", values, nn.Identity())
    first, again = (
        found.rows(torch.arange(40), training=True, generator=torch.Generator().manual_seed(2)) for _ in range(2)
    )
    torch.testing.assert_close(first, again)
    assert first.shape == (40, 3, 2, 2)
    chosen = first[:, 0, 0, 0].numpy() - np.arange(40) * 3
    assert set(chosen) == {0, 1, 2}


def test_one_view_costs_no_random_number(tmp_path):
    found = cached(tmp_path / "a.safetensors", images(4), nn.Identity())
    generator = torch.Generator().manual_seed(2)
    state = generator.get_state()
    found.rows(torch.arange(4), training=True, generator=generator)
    assert torch.equal(generator.get_state(), state)


class Brightness(nn.Module):
    """A logit that is a multiple of the mean value, and an embedding that is the mean."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0))

    def embed(self, inputs):
        return inputs["activations"].flatten(1).mean(1, keepdim=True)

    def forward(self, inputs):
        return self.scale * self.embed(inputs)[:, 0]


@pytest.mark.parametrize("large", [1, 1000])
def test_a_prediction_is_the_mean_probability_over_the_views(large, tmp_path, monkeypatch):
    values = (images(6, views=4) - 0.5) * large
    found = cached(tmp_path / "a.safetensors", values, nn.Identity())
    # Two samples pass at a time.
    monkeypatch.setattr("faceneuro.training.activations.VALUES_AT_ONCE", 2 * values[0].size)
    weights = {"scale": np.array(4.0, np.float32)}
    logits = 4 * values.reshape(6, 4, -1).astype(float).mean(2)
    probability = loop.predict(Brightness, weights, {"activations": found})
    np.testing.assert_allclose(probability, expit(logits).mean(1), rtol=1e-4)
    embedded = loop.embed(Brightness, weights, {"activations": found})
    np.testing.assert_allclose(embedded[:, 0], logits.mean(1) / 4, rtol=1e-4, atol=1e-6)
    assert embedded.dtype == np.float32


def test_inputs_beside_an_input_with_views_are_repeated(tmp_path):
    class Sum(Brightness):
        def forward(self, inputs):
            return super().forward(inputs) + inputs["offset"][:, 0]

    values = images(3, views=2)
    offset = np.array([[-1.0], [0.0], [2.0]], np.float32)
    found = cached(tmp_path / "a.safetensors", values, nn.Identity())
    probability = loop.predict(Sum, {"scale": np.array(4.0, np.float32)}, {"activations": found, "offset": offset})
    logits = 4 * values.reshape(3, 2, -1).mean(2) + offset
    np.testing.assert_allclose(probability, expit(logits).mean(1), rtol=1e-5)


class Whole(nn.Module):
    """A network that passes images through all of itself at every step."""

    def __init__(self, frozen: nn.Module, tail: nn.Module):
        super().__init__()
        self.frozen, self.tail = frozen, tail

    def forward(self, images):
        return self.tail(self.frozen(images))


LABELS = (np.arange(10) % 3 == 0).astype(np.float32)


def trained(build, inputs) -> tuple[dict, list]:
    part, rest = np.arange(10) < 7, np.arange(10) >= 7
    network, history = loop.train(
        build,
        loop.Part({"activations": inputs[part]}, LABELS[part]),
        loop.Part({"activations": inputs[rest]}, LABELS[rest]),
        key=KEY,
        **SETTINGS,
    )
    return network.state_dict(), history


@pytest.mark.parametrize("unfreeze", UNFREEZE)
@pytest.mark.parametrize("family", ["mixer", "resnet"])
def test_training_from_the_cache_is_training_through_the_whole_network(family, unfreeze, tmp_path):
    values = images(10)
    features = 16 if family == "mixer" else tiny(family).num_features
    found = cached(tmp_path / "a.safetensors", values, split(tiny(family), family, unfreeze)[0])

    def short() -> nn.Module:
        _, tail = split(tiny(family), family, unfreeze)
        torch.manual_seed(4)
        return ImageNetwork(family, tail, features)

    def whole() -> nn.Module:
        frozen, tail = split(tiny(family), family, unfreeze)
        torch.manual_seed(4)
        return ImageNetwork(family, Whole(frozen, tail), features)

    naive, naive_history = trained(whole, values[:, 0])
    quick, quick_history = trained(short, found)
    assert set(quick) == {name.replace("tail.tail", "tail") for name in naive if "frozen" not in name}
    for name, value in quick.items():
        there = naive[name.replace("tail.", "tail.tail.", 1)]
        torch.testing.assert_close(value, there, rtol=0, atol=1e-5)
    for one, other in zip(naive_history, quick_history, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    # Something was learnt, so that the agreement means something.
    start = short().state_dict()
    assert max((value - start[name]).abs().max().item() for name, value in quick.items()) > 1e-3


def test_half_precision_changes_probabilities_by_less_than_a_hundredth(tmp_path):
    values = images(10)
    frozen, tail = split(tiny("mixer"), "mixer", "last_block")
    probabilities = []
    for dtype in ("float32", "float16"):
        found = cached(tmp_path / f"{dtype}.safetensors", values, frozen, dtype=dtype)
        state, _ = trained(lambda: ImageNetwork("mixer", split(tiny("mixer"), "mixer", "last_block")[1], 16), found)
        weights = {name: value.numpy() for name, value in state.items()}
        probabilities.append(loop.predict(lambda: ImageNetwork("mixer", tail, 16), weights, {"activations": found}))
    assert np.abs(probabilities[0] - probabilities[1]).max() < 0.01


class Squeeze(nn.Module):
    """Lets a test put what it likes into a cache."""

    def forward(self, values):
        return values.squeeze(1)


@pytest.mark.parametrize("unfreeze", ["head", "last_block"])
def test_a_model_of_the_registry_is_fitted_on_a_cache(unfreeze, tmp_path):
    random = np.random.default_rng(0)
    positive = np.arange(30) % 2 == 0
    shape = (30, 2, 512) if unfreeze == "head" else (30, 2, 49, 512)
    # What a cache of the small Mixer holds, without passing an image.
    values = random.normal(size=shape).astype(np.float32)
    values[positive, ..., :100] += 1
    cache(iter(values[:, :, None]), 30, Squeeze(), tmp_path / "a.safetensors")
    inputs = {"activations": Activations(tmp_path / "a.safetensors")}
    assert inputs["activations"].shape == shape
    roles = np.array(["train", "train", "validation", "test", "train"])[np.arange(30) % 5]
    settings = SETTINGS | {"epochs": 6, "learning_rate": 0.01, "backbones": {"mixer": RANDOM | {"unfreeze": unfreeze}}}
    fitted = fit("rgb_mixer", inputs, positive, roles, settings, key=KEY)
    assert ((fitted.probability > 0.5) == positive)[roles == "test"].mean() > 0.8
    assert [row["part"] for row in fitted.history] == ["train", "validation"] * 6
    # Stored weights are all that is needed: no file of a backbone's weights is looked for.
    elsewhere = settings | {"backbones": {"mixer": RANDOM | {"unfreeze": unfreeze, "weights": "gone.pth"}}}
    np.testing.assert_array_equal(predict("rgb_mixer", fitted.weights, inputs, elsewhere), fitted.probability)
    assert embed("rgb_mixer", fitted.weights, inputs, elsewhere).shape == (30, 512)
