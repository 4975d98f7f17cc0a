import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from faceneuro.models import MODELS

SIZES = {"landmarks": 936, "flow": 32}
SETTINGS = {"joint_units": 64}
NETWORKS = {"dual_branch": SIZES, "landmarks_only": {"landmarks": 936}, "flow_only": {"flow": 32}}


def batch(n: int = 5) -> dict[str, torch.Tensor]:
    return {name: torch.randn(n, size, generator=torch.Generator().manual_seed(size)) for name, size in SIZES.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_one_logit_per_sample_from_its_own_inputs(name):
    network = MODELS[name](SIZES, SETTINGS).eval()
    inputs = batch()
    logits = network(inputs)
    assert logits.shape == (5,)
    for other in set(SIZES) - set(NETWORKS[name]):
        torch.testing.assert_close(network(inputs | {other: inputs[other] + 1}), logits)
    for used in NETWORKS[name]:
        assert not torch.equal(network(inputs | {used: inputs[used] + 1}), logits)


@pytest.mark.parametrize("name", NETWORKS)
def test_branches_are_those_of_the_paper(name):
    network = MODELS[name](SIZES, SETTINGS)
    branches = {key: [str(layer) for layer in branch] for key, branch in network.branches.items()}
    assert branches == {
        key: [
            f"Linear(in_features={size}, out_features=128, bias=True)",
            "ReLU()",
            "Dropout(p=0.5, inplace=False)",
            "Linear(in_features=128, out_features=64, bias=True)",
            "ReLU()",
        ]
        for key, size in NETWORKS[name].items()
    }
    weights = sum(size * 128 + 128 + 128 * 64 + 64 for size in NETWORKS[name].values())
    weights += 64 * len(branches) * 64 + 64 + 64 + 1
    assert sum(parameter.numel() for parameter in network.parameters()) == weights


def test_every_weight_of_the_network_gets_a_gradient():
    network = MODELS["dual_branch"](SIZES, {"joint_units": 7})
    network(batch(64)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_floor_is_plain_logistic_regression():
    floor = MODELS["logistic_regression"](SIZES, SETTINGS)
    assert isinstance(floor, LogisticRegression)
    x = np.random.default_rng(0).normal(size=(40, 3))
    assert floor.fit(x, x[:, 0] > 0).score(x, x[:, 0] > 0) > 0.9


def test_the_registry_and_the_floor_need_no_torch():
    code = (
        "import sys; from faceneuro.models import MODELS; from faceneuro.studies import als; "
        "from faceneuro.training import devices, fit, folds, reduction; MODELS['logistic_regression']({}, {}); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
