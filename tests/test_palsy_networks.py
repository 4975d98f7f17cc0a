import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from faceneuro.models import BRANCHES, BUILDERS, IMAGES, INPUTS, KINDS, MODELS, PALSY_NETWORKS, PARKINSON_NETWORKS
from faceneuro.models.palsy import ImageNetwork
from faceneuro.training.fit import embed, fit, predict
from faceneuro.training.loop import Part, train

SIZES = {"measures": 29, "blendshapes": 52, "coordinates": 956, "measures_embedding": 59, "image_embedding": 768}
CLIPS = {"temporal_rgb"}
"""What sees clips is tested in a file of its own."""
PLAIN = sorted(set(PALSY_NETWORKS) - set(IMAGES) - CLIPS)
SETTINGS = {
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 0.05,
    "optimiser": "sgd",
    "momentum": 0.9,
    "select": "last",
    "seed": 3,
}
BACKBONE = {
    "size": "small",
    "checkpoint": None,
    "weights": "none",
    "seed": 1,
    "normalisation": "checkpoint",
    "unfreeze": "last_block",
}
KEY = "studies.palsy.training.fnn"


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def dense(*units: int) -> int:
    """Weights and biases of dense layers, one after the other."""
    return sum(before * after + after for before, after in pairwise(units))


def batch(name: str, n: int = 6) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return {key: torch.randn(n, SIZES[key], generator=random) for key in INPUTS[name]}


ATTENTION = 4 * (32 * 32 + 32) + 2 * 32
"""Query, key, value and output of an attention over 32 units, and the norm behind it."""


@pytest.mark.parametrize(
    ("name", "image", "expected", "units"),
    [
        ("handcrafted_fnn", None, dense(29, *[59] * 15, 2) + 15 * 2 * 59, 59),
        ("blendshapes_fnn", None, dense(52, 64, 32, 10, 2) + 2 * 32, 10),
        ("coordinates_fnn", None, dense(956, 512, 256, 128, 64, 32, 2) + 2 * 64, 32),
        ("early_rgb", 768, dense(827, 256, 128, 64, 2) + 2 * (256 + 128 + 64), 64),
        ("early_lines", 512, dense(571, 256, 128, 64, 2) + 2 * (256 + 128 + 64), 64),
        ("gated_rgb", 768, dense(59, 64) + dense(768, 64) + dense(827, 64) + dense(64, 2), 64),
        ("attention_rgb", 768, dense(59, 128) + dense(768, 128) + 2 * ATTENTION + dense(64, 2), 64),
    ],
)
def test_networks_have_the_layers_of_the_paper(name, image, expected, units):
    network = PALSY_NETWORKS[name](SIZES | {"image_embedding": image}, {}).eval()
    assert parameters(network) == expected
    inputs = {key: torch.randn(3, image if key == "image_embedding" else SIZES[key]) for key in INPUTS[name]}
    assert network(inputs).shape == (3, 2)
    assert network.embed(inputs).shape == (3, units)


def test_the_shuffled_control_is_the_same_network():
    assert PALSY_NETWORKS["shuffled_fnn"] is PALSY_NETWORKS["handcrafted_fnn"]
    assert INPUTS["shuffled_fnn"] == INPUTS["handcrafted_fnn"]


@pytest.mark.parametrize(
    ("family", "features", "head", "units"),
    [
        ("mixer", 768, dense(768, 2), 768),
        ("resnet", 2048, dense(2048, 512) + 2 * 512 + dense(512, 2), 512),
        ("fastervit", 512, dense(512, 2), 512),
    ],
)
def test_image_networks_have_the_heads_of_the_paper(family, features, head, units):
    network = ImageNetwork(family, nn.Identity(), features).eval()
    assert parameters(network) == head
    inputs = {"activations": torch.randn(3, features)}
    assert network(inputs).shape == (3, 2)
    assert network.embed(inputs).shape == (3, units)


def test_the_handcrafted_network_is_deep_in_the_order_of_the_paper():
    network = PALSY_NETWORKS["handcrafted_fnn"](SIZES, {})
    assert [type(layer) for layer in network.body] == [nn.Linear, nn.ReLU, nn.BatchNorm1d] * 15


def test_early_fusion_has_leaky_units_behind_each_normalisation():
    network = PALSY_NETWORKS["early_rgb"](SIZES, {})
    assert [type(layer) for layer in network.body] == [nn.Linear, nn.BatchNorm1d, nn.LeakyReLU] * 3
    assert {layer.negative_slope for layer in network.body if isinstance(layer, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("name", PLAIN)
def test_every_weight_gets_a_gradient_and_every_input_counts(name):
    network = PALSY_NETWORKS[name](SIZES, {})
    inputs = batch(name, 64)
    (network(inputs) * torch.tensor([1.0, 2.0])).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    for key in inputs:
        assert not torch.equal(network(inputs | {key: inputs[key] + 1}), network(inputs))


def test_the_gate_lies_between_the_two_inputs():
    network = PALSY_NETWORKS["gated_rgb"](SIZES, {}).eval()
    inputs = batch("gated_rgb")
    ends = [torch.tanh(project(inputs[name])) for name, project in network.project.items()]
    found = network.embed(inputs)
    assert (found >= torch.minimum(*ends) - 1e-6).all()
    assert (found <= torch.maximum(*ends) + 1e-6).all()


def test_the_registry_says_what_each_network_takes_and_how_it_is_trained():
    assert set(INPUTS) == set(KINDS) == set(PALSY_NETWORKS)
    assert set(BUILDERS) == set(MODELS) | set(PALSY_NETWORKS) | set(PARKINSON_NETWORKS)
    assert {name for name, kind in KINDS.items() if kind == "visual"} == set(IMAGES)
    assert {name for name, kind in KINDS.items() if kind == "fusion"} == set(BRANCHES) - {"late_rgb", "late_lines"}
    for *measures, image in BRANCHES.values():
        assert {KINDS[branch] for branch in measures} <= {"fnn"}
        assert KINDS[image] == "visual"


def test_names_of_networks_need_no_torch():
    code = "import sys; from faceneuro.models import INPUTS, missing_package; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def separable(name: str, n: int = 240) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Inputs of very different scales, of which the first tells the class; one is constant."""
    random = np.random.default_rng(0)
    positive = random.random(n) < 0.4
    inputs = {key: random.normal(size=(n, SIZES[key])) * np.geomspace(1e-2, 1e2, SIZES[key]) for key in INPUTS[name]}
    for values in inputs.values():
        values[:, 0] += 0.03 * positive
        values[:, 1] = 90.0
    roles = np.array(["train", "train", "train", "validation", "test"])[np.arange(n) % 5]
    return {key: values.astype(np.float32) for key, values in inputs.items()}, positive, roles


@pytest.mark.parametrize("name", PLAIN)
def test_a_network_learns_and_its_stored_weights_predict_the_same(name):
    inputs, positive, roles = separable(name)
    # The fifteen normalisations of the handcrafted network need some epochs before their averages are of use.
    fitted = fit(name, inputs, positive, roles, SETTINGS | {"epochs": 25}, key=KEY)
    train_part = roles == "train"
    assert ((fitted.probability > 0.5) == positive)[train_part].mean() > 0.75
    np.testing.assert_array_equal(predict(name, fitted.weights, inputs, SETTINGS), fitted.probability)
    embedded = embed(name, fitted.weights, inputs, SETTINGS)
    network = PALSY_NETWORKS[name]({key: values.shape[1] for key, values in inputs.items()}, SETTINGS)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in fitted.weights.items()})
    outputs = embedded @ network.last.weight.detach().numpy().T + network.last.bias.detach().numpy()
    softmax = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    np.testing.assert_allclose(softmax[:, 1], fitted.probability, atol=1e-5)


def test_inputs_are_standardised_by_the_training_part_alone():
    inputs, positive, roles = separable("handcrafted_fnn")
    inputs["measures"][roles == "test"] *= 1000
    fitted = fit("handcrafted_fnn", inputs, positive, roles, SETTINGS, key=KEY)
    mine = inputs["measures"][roles == "train"].astype(float)
    np.testing.assert_allclose(fitted.weights["standardise.measures.mean"], mine.mean(0), rtol=1e-4, atol=1e-4)
    deviation = np.where(np.arange(29) == 1, 1.0, mine.std(0))
    np.testing.assert_allclose(fitted.weights["standardise.measures.deviation"], deviation, rtol=1e-4)


def test_two_outputs_are_trained_on_their_cross_entropy():
    inputs, positive, roles = separable("blendshapes_fnn")
    settings = SETTINGS | {"epochs": 1}
    fitted = fit("blendshapes_fnn", inputs, positive, roles, settings, key=KEY)
    network = PALSY_NETWORKS["blendshapes_fnn"](SIZES, settings).eval()
    network.load_state_dict({key: torch.from_numpy(value) for key, value in fitted.weights.items()})
    mine = roles == "train"
    outputs = network({"blendshapes": torch.from_numpy(inputs["blendshapes"][mine])})
    truth = torch.from_numpy(positive[mine].astype(int))
    counts = truth.bincount()
    weights = len(truth) / (2 * counts)
    expected = (cross_entropy(outputs, truth, reduction="none") * weights[truth]).mean().item()
    assert fitted.history[0]["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("n", [33, 2])
def test_a_last_batch_of_one_does_not_break_batch_normalisation(n):
    random = np.random.default_rng(0)
    labels = (np.arange(n) % 2).astype(np.float32)
    part = Part({"measures": random.normal(size=(n, 29)).astype(np.float32)}, labels)
    settings = {key: SETTINGS[key] for key in ("epochs", "learning_rate", "select", "seed", "optimiser", "momentum")}
    _, history = train(
        lambda: PALSY_NETWORKS["handcrafted_fnn"](SIZES, {}), part, None, batch_size=32, key=KEY, **settings
    )
    assert np.isfinite([row["loss"] for row in history]).all()


def test_sgd_takes_the_steps_of_its_definition():
    part = Part({"x": np.array([[1.0], [2.0]], np.float32)}, np.array([0.0, 1.0], np.float32))
    rate, momentum, decay, epochs = 0.5, 0.9, 0.01, 3

    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.tensor(0.3))

        def forward(self, inputs):
            return self.slope * inputs["x"][:, 0]

    network, _ = train(
        Line,
        part,
        None,
        epochs=epochs,
        batch_size=2,
        learning_rate=rate,
        optimiser="sgd",
        momentum=momentum,
        weight_decay=decay,
        select="last",
        seed=0,
        key=KEY,
    )
    slope, speed = 0.3, 0.0
    for _ in range(epochs):
        probability = 1 / (1 + np.exp(-slope * np.array([1.0, 2.0])))
        gradient = ((probability - [0, 1]) * [1, 2]).mean() + decay * slope
        speed = momentum * speed + gradient
        slope -= rate * speed
    assert network.slope.item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("name", ["rgb_mixer", "rgb_resnet"])
def test_image_networks_start_from_their_backbones_last_block(name):
    family = IMAGES[name][1]
    settings = {"backbones": {family: BACKBONE}}
    first, again = (PALSY_NETWORKS[name]({}, settings) for _ in range(2))
    for (entry, value), other in zip(first.tail.state_dict().items(), again.tail.state_dict().values(), strict=True):
        assert torch.equal(value, other), entry
    assert not torch.equal(first.last.weight, again.last.weight)
