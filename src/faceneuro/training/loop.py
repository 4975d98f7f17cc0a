"""The training loop of every network."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from faceneuro.errors import InputError
from faceneuro.training.optimisers import SGD, Adam

ROWS_AT_ONCE = 4096
"""Rows that pass through a network together where nothing is learnt."""


class Stored(Protocol):
    """An input that is too large for memory, such as :class:`faceneuro.training.activations.Activations`.

    Attributes
    ----------
    at_once
        Samples that may be in memory together.
    """

    at_once: int

    def __len__(self) -> int: ...

    def rows(self, index: Tensor | slice, training: bool, generator: torch.Generator | None = None) -> Tensor:
        """One view of each sample picked at random, (batch, ...), for training; else all, (batch, views, ...)."""


Inputs = Mapping[str, npt.NDArray[np.float32] | Stored]
Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Part:
    """Samples with labels: inputs of n samples each, labels 0 or 1 of shape (n,)."""

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
    optimiser: str = "adam",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = iter,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train a network on binary cross-entropy.

    The same arguments give the same weights to the last bit, on the same kind of device. Classes are weighted to count
    alike, by the training part; where they are balanced the weights are 1.

    A network has one output, the logit of the positive class, or two, whose difference is that logit: the softmax over
    two outputs is the sigmoid of their difference, and cross-entropy over two classes the binary one. Where samples
    have several views, each step sees one of each, picked at random, and everything else the mean probability of all.

    Parameters
    ----------
    build
        Makes the network; called under the seed. If it has a method ``prepare``, that is called with the inputs of the
        training part before the first step.
    training, validation
        What to learn from, and what to watch it with, if anything.
    epochs
        Passes over the training part.
    batch_size
        Samples per step; the last step of an epoch has the rest.
    learning_rate
        Of the optimiser.
    select
        ``last`` keeps the last epoch's weights, ``best_validation`` those of the epoch with the least validation loss.
    seed
        Of initial weights, order, views and dropout.
    key
        Where these settings stand in the configuration, for messages.
    optimiser
        ``adam`` or ``sgd``.
    momentum
        Of SGD.
    weight_decay
        Of either.
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
    with reproducible(seed, device, threads):
        network = build()
        if hasattr(network, "prepare"):
            network.prepare(training.inputs)
        network.to(device)
        data = {
            name: (_resident(part.inputs, device), torch.from_numpy(part.labels).to(device))
            for name, part in parts.items()
        }
        inputs, labels = data["train"]
        class_weights = torch.tensor(training.weights(), device=device)
        steps = _optimiser(optimiser, network, learning_rate, momentum, weight_decay)
        order, views = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
        history: list[dict[str, Any]] = []
        best, best_loss = None, float("inf")
        for epoch in progress(range(1, epochs + 1)):
            network.train()
            for batch in _batches(network, torch.randperm(len(labels), generator=order).to(device), batch_size):
                steps.zero_grad()
                logits = _logit(network(_rows(inputs, batch, device, training=True, generator=views)))
                _loss(logits, labels[batch], class_weights).backward()
                steps.step()
            for name, (some, truth) in data.items():
                logits = _logits(network, some, device)
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
    """Probability of the positive class, shape (n,), of the inputs of n samples, from stored weights."""
    with reproducible(0, device, threads):
        network = _loaded(build, weights, device)
        return torch.sigmoid(_logits(network, _resident(inputs, device), device).double()).cpu().numpy()


def embed(
    build: Callable[[], nn.Module],
    weights: Mapping[str, npt.NDArray],
    inputs: Inputs,
    device: str = "cpu",
    threads: int = 1,
) -> npt.NDArray[np.float32]:
    """What a network's ``embed`` makes of the inputs of n samples, shape (n, units), the mean over their views."""
    with reproducible(0, device, threads):
        network = _loaded(build, weights, device)
        return _over_views(network, network.embed, _resident(inputs, device), device).mean(1).cpu().numpy()


def _loaded(build: Callable[[], nn.Module], weights: Mapping[str, npt.NDArray], device: str) -> nn.Module:
    network = build()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return network.to(device)


def _resident(inputs: Inputs, device: str) -> dict[str, Tensor | Stored]:
    """Arrays as tensors on the device; what is stored stays where it is."""
    return {
        name: torch.from_numpy(np.ascontiguousarray(values)).to(device) if isinstance(values, np.ndarray) else values
        for name, values in inputs.items()
    }


def _rows(
    inputs: Mapping[str, Tensor | Stored],
    rows: Tensor | slice,
    device: str,
    training: bool = False,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    return {
        name: values[rows] if isinstance(values, Tensor) else values.rows(rows, training, generator).to(device)
        for name, values in inputs.items()
    }


def _batches(network: nn.Module, order: Tensor, size: int) -> list[Tensor]:
    batches = list(order.split(size))
    normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    if normalised and len(batches) > 1 and len(batches[-1]) == 1:
        # The statistics of a batch of one are undefined: it goes with the batch before.
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _optimiser(name: str, network: nn.Module, learning_rate: float, momentum: float, weight_decay: float) -> SGD | Adam:
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if name == "sgd":
        return SGD(trained, learning_rate, momentum, weight_decay)
    return Adam(trained, learning_rate, weight_decay)


def _logit(outputs: Tensor) -> Tensor:
    """The logit of the positive class, of one output, (batch,), or of one per class, (batch, 2)."""
    return outputs if outputs.ndim == 1 else outputs[:, 1] - outputs[:, 0]


def _logits(network: nn.Module, inputs: Mapping[str, Tensor | Stored], device: str) -> Tensor:
    """Logits of the mean probability over the views of each sample, shape (n,)."""
    logits = _over_views(network, lambda rows: _logit(network(rows)), inputs, device)
    if logits.shape[1] == 1:
        return logits[:, 0]
    # In logarithms, because a probability next to 1 has no digits left for its distance from it.
    positive, negative = (logsigmoid(sign * logits.double()).logsumexp(1) for sign in (1, -1))
    return (positive - negative).to(logits.dtype)


@torch.no_grad()
def _over_views(
    network: nn.Module,
    compute: Callable[[dict[str, Tensor]], Tensor],
    inputs: Mapping[str, Tensor | Stored],
    device: str,
) -> Tensor:
    """What a network in evaluation mode computes for every view of every sample, shape (n, views, ...)."""
    network.eval()
    n = len(next(iter(inputs.values())))
    at_once = min([ROWS_AT_ONCE, *(values.at_once for values in inputs.values() if not isinstance(values, Tensor))])
    pieces = []
    for start in range(0, n, at_once):
        rows = _rows(inputs, slice(start, start + at_once), device)
        views = max([1, *(rows[name].shape[1] for name, values in inputs.items() if not isinstance(values, Tensor))])
        for name, values in inputs.items():
            if not isinstance(values, Tensor):
                rows[name] = rows[name].flatten(0, 1)
            elif views > 1:
                rows[name] = rows[name].repeat_interleave(views, 0)
        pieces.append(compute(rows).unflatten(0, (-1, views)))
    return torch.cat(pieces)


def _loss(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    weights = class_weights[labels.long()]
    return (weights * binary_cross_entropy_with_logits(logits, labels, reduction="none")).mean()


@contextmanager
def reproducible(seed: int, device: str, threads: int) -> Iterator[None]:
    """Seeded, deterministic kernels and a fixed number of threads inside; everything as before afterwards."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "this job was given a GPU, but torch cannot use one here; check the driver (nvidia-smi), or train on "
            "the CPU with an empty CUDA_VISIBLE_DEVICES"
        )
    # cuBLAS is deterministic only with this, and reads it when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    strict, before = torch.get_deterministic_debug_mode(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[] if device == "cpu" else None):
        torch.manual_seed(seed)
        # The same as use_deterministic_algorithms, which also imports the compiler, to tell it.
        torch.set_deterministic_debug_mode("error")
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(strict)
            torch.set_num_threads(before)
