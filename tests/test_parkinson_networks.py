from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from faceneuro.models import BUILDERS, EXTRACTOR, OBJECTIVES, PARKINSON_FAMILIES, PARKINSON_NETWORKS
from faceneuro.models.backbones import load
from faceneuro.models.parkinson import AttentionFusion, Concatenation, MeanOfFeatures
from faceneuro.training.fit import embed, fit, predict

FEATURES = {"mobilenet": 1280, "swin": 768, "efficientnet": 1280}
SIZES = {"present": 6}
PIXELS = 64
BACKBONE = {
    "size": "small",
    "checkpoint": None,
    "weights": "none",
    "seed": 1,
    "normalisation": "checkpoint",
    "unfreeze": "head",
    "pixels": PIXELS,
}
SETTINGS = {
    "backbones": dict.fromkeys([*FEATURES, EXTRACTOR], BACKBONE),
    "attention": {"reduction": 16, "shared": True},
    "classes": 3,
}
SMALL = {"channels": 4, "outputs": 3, "hidden": 5}
"""Of networks whose numbers are followed by hand."""


def dense(*units: int) -> int:
    """Weights and biases of dense layers, one after the other."""
    return sum(before * after + after for before, after in pairwise(units))


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def unfrozen(unfreeze: str) -> dict:
    blocks = {family: BACKBONE | {"unfreeze": unfreeze} for family in SETTINGS["backbones"]}
    return SETTINGS | {"backbones": blocks}


def maps(batch: int, *shape: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Activations of six images each, and which of them are there: in the first sample all, in the second two not."""
    random = torch.Generator().manual_seed(seed)
    present = torch.ones(batch, 6)
    if batch > 1:
        present[1, [1, 4]] = 0
    activations = torch.rand(batch, 6, *shape, generator=random) * present.view(batch, 6, *[1] * len(shape))
    return {"activations": activations, "present": present}


def activations_of(name: str) -> tuple[int, ...]:
    return (512, 2, 2) if PARKINSON_FAMILIES[name] == EXTRACTOR else (FEATURES[PARKINSON_FAMILIES[name]],)


@pytest.mark.parametrize(
    ("name", "expected", "units"),
    [
        ("mobilenetv4", dense(1280, 3), 1280),
        ("swin", dense(768, 3), 768),
        ("efficientnetv2", dense(1280, 3), 1280),
        ("concatenation", dense(3072, 512, 3), 3072),
        ("unbalanced", dense(3072, 512, 3) + dense(3072, 192, 3072), 3072),
        ("attention_fusion", dense(3072, 512, 3) + dense(3072, 192, 3072), 3072),
        ("ordinal", dense(3072, 512, 2) + dense(3072, 192, 3072), 3072),
    ],
)
def test_heads_on_a_frozen_trunk_have_the_layers_of_the_paper(name, expected, units):
    network = PARKINSON_NETWORKS[name](SIZES, SETTINGS).eval()
    assert parameters(network) == expected
    inputs = maps(3, *activations_of(name))
    assert network(inputs).shape == (3, 2 if name == "ordinal" else 3)
    assert network.embed(inputs).shape == (3, units)


def test_the_attention_can_have_layers_of_its_own_for_mean_and_maximum():
    separate = SETTINGS | {"attention": {"reduction": 8, "shared": False}}
    network = PARKINSON_NETWORKS["attention_fusion"](SIZES, separate)
    assert parameters(network) == dense(3072, 512, 3) + 2 * dense(3072, 384, 3072)


def test_a_reduction_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="a reduction of 25 leaves no unit of 24 channels"):
        AttentionFusion(nn.Identity(), **SMALL, reduction=25)


@pytest.mark.parametrize("shared", [True, False])
def test_the_weights_are_those_of_the_equation(shared):
    torch.manual_seed(3)
    network = AttentionFusion(nn.Identity(), **SMALL, reduction=6, shared=shared).eval().double()
    inputs = {name: values.double() for name, values in maps(1, 4, 3, 5).items()}
    features = inputs["activations"].reshape(24, 3, 5).numpy()

    def through(layers: nn.Sequential, values: np.ndarray) -> np.ndarray:
        (first, second), (a, b) = (
            [layer.weight.detach().numpy(), layer.bias.detach().numpy()] for layer in layers[::2]
        )
        return a @ np.maximum(first @ values + second, 0) + b

    of_mean, of_maximum = network.attention[0], network.attention[0 if shared else 1]
    summed = through(of_mean, features.mean((1, 2))) + through(of_maximum, features.max((1, 2)))
    weights = 1 / (1 + np.exp(-summed))
    gated = weights[:, None, None] * features
    np.testing.assert_allclose(network.embed(inputs)[0].detach(), gated.mean((1, 2)), rtol=1e-12)
    np.testing.assert_allclose(network.gate(inputs)[0].detach(), weights.reshape(6, 4).mean(1), rtol=1e-12)
    np.testing.assert_allclose(network(inputs)[0].detach(), through(network.head, gated.mean((1, 2))), rtol=1e-10)


@pytest.mark.parametrize("kind", [Concatenation, AttentionFusion])
def test_without_its_weights_the_attention_is_the_concatenation(kind):
    inputs = maps(2, 4, 3, 3)
    network = kind(nn.Identity(), **SMALL)
    mean = inputs["activations"].mean((3, 4)).flatten(1)
    mean[1] *= 6 / 4
    if kind is AttentionFusion:
        for layers in network.attention:
            nn.init.zeros_(layers[2].weight)
            nn.init.zeros_(layers[2].bias)
        mean = mean / 2
    torch.testing.assert_close(network.embed(inputs), mean)


class Watched(nn.Module):
    """A trunk that remembers what it saw; a missing image would leave its zeros there."""

    def forward(self, images):
        self.seen = images
        # What a trunk makes of zeros is no zero.
        return images + 1


@pytest.mark.parametrize("kind", [MeanOfFeatures, Concatenation, AttentionFusion])
def test_a_missing_image_never_passes_the_trunk_and_changes_nothing(kind):
    trunk = Watched()
    network = kind(trunk, 4, 3).eval()
    shape = (4,) if kind is MeanOfFeatures else (4, 3, 3)
    inputs = maps(3, *shape)
    found = network(inputs)
    assert len(trunk.seen) == 6 + 4 + 6
    assert (trunk.seen.flatten(1) > 0).any(1).all()
    other = inputs | {"activations": inputs["activations"] + 99 * (1 - inputs["present"].view(3, 6, *[1] * len(shape)))}
    torch.testing.assert_close(network(other), found, rtol=0, atol=0)


def test_baselines_take_the_mean_of_the_images_that_are_there():
    network = MeanOfFeatures(nn.Identity(), 4, 3).eval()
    inputs = maps(2, 4)
    expected = [inputs["activations"][0].mean(0), inputs["activations"][1, [0, 2, 3, 5]].mean(0)]
    torch.testing.assert_close(network.embed(inputs), torch.stack(expected))


def test_the_gate_of_a_missing_expression_is_zero_and_of_the_others_between_0_and_1():
    network = PARKINSON_NETWORKS["attention_fusion"](SIZES, SETTINGS).eval()
    inputs = maps(2, 512, 2, 2)
    gate = network.gate(inputs)
    assert gate.shape == (2, 6)
    assert (gate[1, [1, 4]] == 0).all()
    there = gate[inputs["present"] > 0]
    assert ((there > 0) & (there < 1)).all()


def test_features_of_samples_with_missing_images_are_as_large_as_of_whole_ones():
    network = Concatenation(nn.Identity(), 4, 3)
    whole = {"activations": torch.ones(6, 6, 4, 2, 2), "present": torch.ones(6, 6)}
    partly = whole | {"present": torch.tril(torch.ones(6, 6))}
    torch.testing.assert_close(network.embed(partly).sum(1), network.embed(whole).sum(1))


@pytest.mark.parametrize("name", sorted(PARKINSON_NETWORKS))
def test_every_weight_of_a_head_gets_a_gradient_and_a_batch_of_one_is_enough(name):
    network = PARKINSON_NETWORKS[name](SIZES, SETTINGS).train()
    network(maps(1, *activations_of(name))).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


@pytest.mark.parametrize("name", ["mobilenetv4", "efficientnetv2", "swin", "attention_fusion"])
def test_the_last_block_can_be_trained_for_all_six_images_at_once(name):
    family = PARKINSON_FAMILIES[name]
    settings = unfrozen("last_block")
    network = PARKINSON_NETWORKS[name](SIZES, settings)
    frozen, _, _ = load(family, settings["backbones"][family], maps=family == EXTRACTOR)
    images = torch.rand(12, 3, PIXELS, PIXELS)
    inputs = {"activations": frozen(images).unflatten(0, (2, 6)), "present": torch.ones(2, 6)}
    network.train()(inputs).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    network.eval()
    single = {"activations": inputs["activations"][:1], "present": torch.ones(1, 6)}
    torch.testing.assert_close(network(single)[0], network(inputs)[0], rtol=1e-4, atol=1e-5)


def test_the_trunk_is_shared_and_starts_from_its_backbone():
    settings = unfrozen("last_block")
    network = PARKINSON_NETWORKS["attention_fusion"](SIZES, settings)
    _, tail, _ = load(EXTRACTOR, settings["backbones"][EXTRACTOR], maps=True)
    for (entry, value), other in zip(network.tail.state_dict().items(), tail.state_dict().values(), strict=True):
        assert torch.equal(value, other), entry
    images = torch.rand(1, 1, 256, 4, 4).expand(1, 6, -1, -1, -1)
    with torch.no_grad():
        found = network.eval().maps({"activations": images, "present": torch.ones(1, 6)}).unflatten(1, (6, 512))
    torch.testing.assert_close(found, found[:, :1].expand_as(found))


def test_the_registry_says_how_each_network_sees_and_what_it_is_trained_on():
    assert set(PARKINSON_FAMILIES) == set(OBJECTIVES) == set(PARKINSON_NETWORKS)
    assert set(PARKINSON_NETWORKS) <= set(BUILDERS)
    assert PARKINSON_NETWORKS["unbalanced"].func is PARKINSON_NETWORKS["attention_fusion"].func


@pytest.mark.parametrize("name", ["swin", "concatenation", "attention_fusion", "ordinal"])
def test_a_network_learns_three_classes_with_images_missing_and_its_weights_predict_the_same(name):
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    roles = np.array(["train", "train", "train", "validation", "test"])[np.arange(60) // 3 % 5]
    activations = random.random((60, 6, *activations_of(name)), np.float32)
    # The class shows in some channels of each image.
    activations[:, :, :64] *= (1 + 2 * labels)[(slice(None), *[None] * (activations.ndim - 1))]
    present = (random.random((60, 6)) < 0.8).astype(np.float32)
    present[:, 0] = 1
    activations[present == 0] = 0
    settings = SETTINGS | {
        "epochs": 15,
        "batch_size": 16,
        "learning_rate": 0.002,
        "select": "last",
        "seed": 1,
        "objective": {"loss": OBJECTIVES[name], "gamma": 2.0, "weights": "ratio"},
    }
    inputs = {"activations": activations, "present": present}
    fitted = fit(name, inputs, labels, roles, settings, key="studies.parkinson.training")
    assert (fitted.probability.argmax(1) == labels)[roles == "test"].mean() > 0.8
    np.testing.assert_array_equal(predict(name, fitted.weights, inputs, settings), fitted.probability)
    features = embed(name, fitted.weights, inputs, settings)
    assert features.shape == (60, 768 if name == "swin" else 3072)
    if name == "attention_fusion":
        gate = embed(name, fitted.weights, inputs, settings, method="gate")
        np.testing.assert_array_equal(gate > 0, present > 0)
