"""How much time the cache of activations saves: training from it against images through the whole network every step.

Both train the same network on the same samples, folds and epochs, on one thread, one after the other, and predict every
sample once per fold. The frozen part runs without gradients in both. The naive loop gets its images ready-made from
memory; the cached one pays for filling the cache, once, and for reading it.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from faceneuro.models import backbones
from faceneuro.models.palsy import ImageNetwork
from faceneuro.training import loop
from faceneuro.training.activations import Activations, cache

SAMPLES, EPOCHS, FOLDS = 64, 5, 4
FAMILY = "mixer"
BACKBONE = {"size": "small", "checkpoint": None, "weights": "none", "seed": 1, "normalisation": "checkpoint"}
TRAINING = {
    "epochs": EPOCHS,
    "batch_size": 16,
    "learning_rate": 0.01,
    "optimiser": "sgd",
    "select": "last",
    "seed": 1,
    "key": "benchmark",
}


class Whole(nn.Module):
    """Frozen part and the rest in one."""

    def __init__(self, frozen: nn.Module, tail: nn.Module):
        super().__init__()
        self.frozen, self.tail = frozen, tail

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.tail(self.frozen(images))


def measure() -> dict[str, dict[str, float]]:
    """Seconds of both ways, and their ratio, for a last block and for a head that is trained.

    Returns
    -------
    By what is trained, ``head`` and ``last_block``: ``naive_s``, ``cached_s`` with ``cache_s`` for filling the cache
    among it, ``ratio`` of naive to cached, ``passes`` of a sample through the frozen part in the naive loop (the cached
    one makes a single one, so with a tail that costs nothing the ratio would come to this), ``ratio_filled`` if the
    cache is there already, ``mib`` of the cache, and the largest ``difference`` of a probability.
    """
    images = np.random.default_rng(0).random((SAMPLES, 1, 3, 224, 224), np.float32)
    labels = (np.arange(SAMPLES) % 2).astype(np.float32)
    loop.predict(_naive("head"), _weights(_naive("head")), {"activations": images[:8, 0]})
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for unfreeze in ("head", "last_block"):
            path = Path(folder, f"{unfreeze}.safetensors")
            naive, expected = _timed(lambda some=unfreeze: _folds(_naive(some), images[:, 0], labels))
            filling, _ = _timed(lambda some=unfreeze, to=path: cache(iter(images), SAMPLES, _load(some)[0], to))
            training, found = _timed(lambda some=unfreeze, of=path: _folds(_cached(some), Activations(of), labels))
            results[unfreeze] = {
                "naive_s": naive,
                "cache_s": filling,
                "cached_s": filling + training,
                "ratio": naive / (filling + training),
                "ratio_filled": naive / training,
                "passes": _passes(),
                "mib": path.stat().st_size / 2**20,
                "difference": float(np.abs(found - expected).max()),
            }
    return results


def _load(unfreeze: str) -> tuple[nn.Module, nn.Module, int]:
    return backbones.load(FAMILY, BACKBONE | {"unfreeze": unfreeze})


def _naive(unfreeze: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        frozen, tail, features = _load(unfreeze)
        return ImageNetwork(FAMILY, Whole(frozen, tail), features)

    return build


def _cached(unfreeze: str) -> Callable[[], nn.Module]:
    return lambda: ImageNetwork(FAMILY, *backbones.trained_part(FAMILY, BACKBONE | {"unfreeze": unfreeze}))


def _weights(build: Callable[[], nn.Module]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in build().state_dict().items()}


def _held_out(fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Test and validation part of a fold: a quarter and an eighth of the samples, either class alike."""
    group = np.arange(SAMPLES) // 2 % (2 * FOLDS)
    return group // 2 == fold, group == (2 * fold + 2) % (2 * FOLDS)


def _folds(build: Callable[[], nn.Module], inputs: np.ndarray | Activations, labels: np.ndarray) -> np.ndarray:
    """Probabilities of every sample in every fold, trained and predicted as the workflow does it."""
    found = []
    for fold in range(FOLDS):
        test, validation = _held_out(fold)
        parts = [loop.Part({"activations": inputs[mine]}, labels[mine]) for mine in (~test & ~validation, validation)]
        network, _ = loop.train(build, *parts, **TRAINING)
        weights = {name: value.numpy() for name, value in network.state_dict().items()}
        found.append(loop.predict(build, weights, {"activations": inputs}))
    return np.array(found)


def _passes() -> float:
    """Each epoch trains on the training part, and looks at it and at the validation part; then all are predicted."""
    looked_at = sum(
        2 * (~test & ~validation).sum() + validation.sum() for test, validation in map(_held_out, range(FOLDS))
    )
    return float(EPOCHS * looked_at / SAMPLES + FOLDS)


def _timed(action: Callable) -> tuple[float, object]:
    start = time.monotonic()
    answer = action()
    return time.monotonic() - start, answer


if __name__ == "__main__":
    torch.set_num_threads(1)
    for trained, numbers in measure().items():
        print(trained, {name: round(value, 4) for name, value in numbers.items()})
