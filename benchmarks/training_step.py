"""How much of the time of a training step goes into the network itself.

The step of the Parkinson study with everything trained, ResNet-18 on six images a sample: what the training loop does
(gathering images from the cache, forward, loss, backward, optimiser, and after the epoch one pass to watch it) against
the bare passes through the same network on a batch that lies in memory. Both in turn, on one thread.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from faceneuro.models import BUILDERS
from faceneuro.models.backbones import load
from faceneuro.training import loop
from faceneuro.training.activations import Activations, cache
from faceneuro.training.losses import objective_of
from faceneuro.training.slots import Slots

SAMPLES, SLOTS, BATCH, PIXELS, TURNS = 16, 6, 8, 112, 3
BACKBONE = {"size": "small", "checkpoint": None, "weights": "none", "seed": 1, "normalisation": "checkpoint"}
SETTINGS = {
    "backbones": {"resnet": BACKBONE | {"unfreeze": "all", "pixels": PIXELS}},
    "attention": {"reduction": 16, "shared": True},
    "classes": 3,
}
KEY = "studies.parkinson.backbones"


def measure() -> dict[str, float]:
    """Images per second of the loop and of the bare passes, and their ratio, the best of some turns each."""
    random = np.random.default_rng(0)
    labels = np.arange(SAMPLES) % SETTINGS["classes"]
    objective = objective_of({"loss": "focal", "gamma": 2.0, "weights": "ratio"}, np.bincount(labels))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "images.safetensors")
        images = (random.random((1, 3, PIXELS, PIXELS), np.float32) for _ in range(SAMPLES * SLOTS))
        frozen, _, _ = load("resnet", SETTINGS["backbones"]["resnet"], KEY, maps=True)
        cache(images, SAMPLES * SLOTS, frozen, path, dtype="float16")
        places = np.arange(SAMPLES * SLOTS).reshape(SAMPLES, SLOTS)
        inputs = {"activations": Slots(Activations(path), places), "present": np.ones((SAMPLES, SLOTS), np.float32)}
        ours, bare = [], []
        for _ in range(TURNS):
            ours.append(_epoch(inputs, labels, objective))
            bare.append(_passes(inputs, labels, objective))
    per_second = {"loop": SAMPLES * SLOTS / min(ours), "bare": SAMPLES * SLOTS / min(bare)}
    return per_second | {"ratio": min(bare) / min(ours)}


def _build() -> torch.nn.Module:
    return BUILDERS["attention_fusion"]({"present": SLOTS}, SETTINGS)


def _epoch(inputs: dict, labels: np.ndarray, objective: torch.nn.Module) -> float:
    """Seconds of one epoch, without what is made once before the first."""

    def epochs(number: int) -> float:
        return _timed(
            lambda: loop.train(
                _build,
                loop.Part(inputs, labels),
                None,
                epochs=number,
                batch_size=BATCH,
                learning_rate=0.001,
                select="last",
                seed=1,
                key="benchmark",
                objective=objective,
            )
        )

    return epochs(2) - epochs(1)


def _passes(inputs: dict, labels: np.ndarray, objective: torch.nn.Module) -> float:
    """Seconds of the same passes, forward and backward and once forward alone, on a batch in memory."""
    network = _build()
    rows = {
        "activations": inputs["activations"].rows(slice(0, BATCH), True, torch.Generator().manual_seed(0)),
        "present": torch.from_numpy(inputs["present"][:BATCH]),
    }
    truth = torch.from_numpy(labels[:BATCH])

    def once() -> None:
        network.train()
        for _ in range(SAMPLES // BATCH):
            objective(network(rows), truth).backward()
        network.eval()
        with torch.no_grad():
            for _ in range(SAMPLES // BATCH):
                network(rows)

    once()
    return _timed(once)


def _timed(action: Callable) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


if __name__ == "__main__":
    torch.set_num_threads(1)
    print({name: round(value, 3) for name, value in measure().items()})
