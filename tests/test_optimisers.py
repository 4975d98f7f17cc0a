"""The functional optimisers against torch's own classes, to the last bit."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from faceneuro.training.optimisers import SGD, Adam
from running import ROOT

PAIRS = {
    "adam": (lambda p: Adam(p, 0.01), lambda p: torch.optim.Adam(p, 0.01, fused=True)),
    "adam with decay": (
        lambda p: Adam(p, 0.003, 0.1),
        lambda p: torch.optim.Adam(p, 0.003, weight_decay=0.1, fused=True),
    ),
    "sgd": (lambda p: SGD(p, 0.2045), lambda p: torch.optim.SGD(p, 0.2045, fused=True)),
    "sgd with momentum and decay": (
        lambda p: SGD(p, 0.01, 0.9, 0.01),
        lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.01, fused=True),
    ),
}


def trained(make, steps: int = 12) -> list[torch.Tensor]:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2))
    idle = nn.Parameter(torch.ones(3))
    optimiser = make([*network.parameters(), idle])
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(torch.randn(16, 7)), torch.randint(2, (16,))).backward()
        optimiser.step()
    return [*network.parameters(), idle]


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_steps_as_torchs_own_classes(name):
    ours, theirs = (trained(make) for make in PAIRS[name])
    for mine, its in zip(ours, theirs, strict=True):
        assert torch.equal(mine, its)
    assert not torch.equal(ours[0], trained(PAIRS[name][0], steps=1)[0])


def test_the_compiler_stays_out_of_a_training():
    code = (
        "import numpy as np, sys; from faceneuro.training.loop import Part, train; from faceneuro.models.palsy import "
        "HandcraftedFNN; part = Part({'measures': np.random.rand(32, 29).astype('f')}, np.arange(32, dtype='f') % 2); "
        "train(lambda: HandcraftedFNN({'measures': 29}), part, None, epochs=1, batch_size=8, learning_rate=.1, "
        "select='last', seed=1, key='k', optimiser='sgd'); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT / "src")})
