"""The training loop of every network."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from faceneuro.errors import InputError

ROWS_AT_ONCE = 4096
"""Rows that pass through a network together where nothing is learnt."""

Inputs = Mapping[str, npt.NDArray[np.float32]]
Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Part:
    """Samples with labels: inputs of shape (n, features) each, labels 0 or 1 of shape (n,)."""

    inputs: Inputs
    labels: npt.NDArray[np.float32]

    def weights(self) -> tuple[float, float]:
        """What a sample of class 0 and of class 1 counts, so that both classes count alike and the mean is 1."""
        positive = float(self.labels.sum())
        negative = len(self.labels) - positive
        return len(self.labels) / (2 * negative), len(self.labels) / (2 * positive)


def train(
    build: Callable[[], nn.Module],
    training: Part,
    validation: Part | None,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    select: str,
    seed: int,
    key: str,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = iter,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train a network with Adam on binary cross-entropy.

    The same arguments give the same weights to the last bit, on the same kind of device. Classes are weighted to count
    alike, by the training part; where they are balanced the weights are 1.

    Parameters
    ----------
    build
        Makes the network; called under the seed.
    training, validation
        What to learn from, and what to watch it with, if anything.
    epochs
        Passes over the training part.
    batch_size
        Samples per step; the last step of an epoch has the rest.
    learning_rate
        Of Adam.
    select
        ``last`` keeps the last epoch's weights, ``best_validation`` those of the epoch with the least validation loss.
    seed
        Of initial weights, order and dropout.
    key
        Where these settings stand in the configuration, for messages.
    device
        ``cpu`` or ``cuda``.
    threads
        Of the processor. The last bits of the result depend on it.
    progress
        Wraps the epochs, to show how far it is.

    Returns
    -------
    The network, in evaluation mode, and the history: ``epoch`` (from 1), ``part``, ``loss`` and ``accuracy`` of both
    parts after each epoch, both without dropout, so that the two curves can be compared.

    Raises
    ------
    InputError
        If the loss stops being a number, or the epoch is to be chosen on a validation part that is empty.

    References
    ----------
    The ALS paper, section III.D (loss and optimiser); it gives neither batch size, learning rate nor seed.
    """
    if select == "best_validation" and validation is None:
        raise InputError(
            f"config key {key}.select: best_validation needs training subjects to set aside, and one class has a "
            "single one; choose last, or add subjects"
        )
    parts = {"train": training} | ({"validation": validation} if validation else {})
    with _reproducible(seed, device, threads):
        network = build().to(device)
        data = {
            name: (_tensors(part.inputs, device), torch.from_numpy(part.labels).to(device))
            for name, part in parts.items()
        }
        inputs, labels = data["train"]
        class_weights = torch.tensor(training.weights(), device=device)
        optimiser = torch.optim.Adam(network.parameters(), learning_rate, fused=True)
        order = torch.Generator().manual_seed(seed)
        history: list[dict[str, Any]] = []
        best, best_loss = None, float("inf")
        for epoch in progress(range(1, epochs + 1)):
            network.train()
            for batch in torch.randperm(len(labels), generator=order).to(device).split(batch_size):
                optimiser.zero_grad()
                _loss(network(_rows(inputs, batch)), labels[batch], class_weights).backward()
                optimiser.step()
            for name, (some, truth) in data.items():
                logits = _logits(network, some)
                loss = _loss(logits, truth, class_weights).item()
                accuracy = ((logits > 0) == (truth > 0)).float().mean().item()
                history.append({"epoch": epoch, "part": name, "loss": loss, "accuracy": accuracy})
                if not np.isfinite(loss):
                    raise InputError(
                        f"config key {key}.learning_rate: the {name} loss became {loss} in epoch {epoch}; "
                        f"choose less than {learning_rate:g}"
                    )
            if select == "best_validation" and loss < best_loss:
                best, best_loss = copy.deepcopy(network.state_dict()), loss
        if best is not None:
            network.load_state_dict(best)
    return network.eval(), history


def predict(
    build: Callable[[], nn.Module],
    weights: Mapping[str, npt.NDArray],
    inputs: Inputs,
    device: str = "cpu",
    threads: int = 1,
) -> npt.NDArray[np.float64]:
    """Probability of the positive class, shape (n,), of inputs of shape (n, features) each, from stored weights."""
    with _reproducible(0, device, threads):
        network = build()
        network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        return torch.sigmoid(_logits(network.to(device), _tensors(inputs, device)).double()).cpu().numpy()


def _tensors(inputs: Inputs, device: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(values)).to(device) for name, values in inputs.items()}


def _rows(inputs: dict[str, Tensor], rows: Tensor | slice) -> dict[str, Tensor]:
    return {name: values[rows] for name, values in inputs.items()}


@torch.no_grad()
def _logits(network: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    network.eval()
    n = len(next(iter(inputs.values())))
    pieces = (slice(start, start + ROWS_AT_ONCE) for start in range(0, n, ROWS_AT_ONCE))
    return torch.cat([network(_rows(inputs, piece)) for piece in pieces])


def _loss(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    weights = class_weights[labels.long()]
    return (weights * binary_cross_entropy_with_logits(logits, labels, reduction="none")).mean()


@contextmanager
def _reproducible(seed: int, device: str, threads: int) -> Iterator[None]:
    """Seeded, deterministic kernels and a fixed number of threads inside; everything as before afterwards."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "this job was given a GPU, but torch cannot use one here; check the driver (nvidia-smi), or train on "
            "the CPU with an empty CUDA_VISIBLE_DEVICES"
        )
    # cuBLAS is deterministic only with this, and reads it when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    strict, before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[] if device == "cpu" else None):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(before)
