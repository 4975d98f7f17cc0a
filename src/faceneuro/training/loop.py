"""The training loop of every network."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from faceneuro.errors import InputError
from faceneuro.training.losses import BinaryCrossEntropy, Objective, objective_of
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
    """Samples with labels: inputs of n samples each, labels 0 to classes - 1 of shape (n,)."""

    inputs: Inputs
    labels: npt.NDArray[np.number]


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
    mixed_precision: bool = False,
    objective: Objective | None = None,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = iter,
) -> tuple[nn.Module, list[dict[str, Any]]]:
    """Train a network.

    The same arguments give the same weights to the last bit, on the same kind of device. Where samples have several
    views, each step sees one of each, picked at random, and everything else the mean probability of all.

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
    mixed_precision
        Whether a GPU computes outputs in bfloat16, which keeps the range of float32 and so needs no scaling of the
        loss. Weights stay float32, and so do the predictions of :func:`predict`. The processor takes no notice.
    objective
        What is learnt. Default: binary cross-entropy in which both classes of the training part count alike.
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
    The ALS paper, section III.D (loss and optimiser); it gives neither batch size, learning rate nor seed. The
    Parkinson's paper, appendix A: Adam, learning rate and epochs, and no batch size.
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
        if device == "cuda":
            # The layout in which its fast convolutions read images; on matrices it changes nothing.
            network.to(memory_format=torch.channels_last)
        objective = objective or objective_of(None, np.bincount(training.labels.astype(int), minlength=2))
        objective.to(device)
        precision = partial(torch.autocast, device, torch.bfloat16, enabled=mixed_precision and device == "cuda")
        data = {
            name: (_resident(part.inputs, device), torch.from_numpy(part.labels).to(device))
            for name, part in parts.items()
        }
        inputs, labels = data["train"]
        steps = _optimiser(optimiser, network, learning_rate, momentum, weight_decay)
        order, views = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
        history: list[dict[str, Any]] = []
        best, best_loss = None, float("inf")
        for epoch in progress(range(1, epochs + 1)):
            network.train()
            for batch in _batches(network, torch.randperm(len(labels), generator=order).to(device), batch_size):
                steps.zero_grad()
                rows = _rows(inputs, batch, device, training=True, generator=views)
                with precision():
                    loss = objective(network(rows).float(), labels[batch])
                loss.backward()
                steps.step()
            for name, (some, truth) in data.items():
                with precision():
                    outputs = _outputs(network, objective, some, device)
                    loss = objective(outputs, truth).item()
                accuracy = (objective.predicted(outputs) == truth).float().mean().item()
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
    objective: Objective | None = None,
) -> npt.NDArray[np.float64]:
    """Probabilities of the inputs of n samples, from stored weights, the mean over their views.

    Shape (n, classes), or (n,), those of the positive class, where the objective is binary cross-entropy (the default).
    """
    objective = objective or BinaryCrossEntropy(np.ones(2))
    with reproducible(0, device, threads):
        network = _loaded(build, weights, device)
        return objective.probabilities(_outputs(network, objective, _resident(inputs, device), device)).cpu().numpy()


def embed(
    build: Callable[[], nn.Module],
    weights: Mapping[str, npt.NDArray],
    inputs: Inputs,
    device: str = "cpu",
    threads: int = 1,
    method: str = "embed",
) -> npt.NDArray[np.float32]:
    """What a method of a network makes of the inputs of n samples, shape (n, units), the mean over their views."""
    with reproducible(0, device, threads):
        network = _loaded(build, weights, device)
        compute = getattr(network, method)
        return _over_views(network, compute, _resident(inputs, device), device).mean(1).cpu().numpy()


def _loaded(build: Callable[[], nn.Module], weights: Mapping[str, npt.NDArray], device: str) -> nn.Module:
    network = build()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return network.to(device)


def _resident(inputs: Inputs, device: str) -> dict[str, Tensor | Stored]:
    """Arrays as tensors on the device; what is stored stays where it is."""
    return {
        # A table's columns may be read-only, which torch warns of.
        name: torch.from_numpy(np.require(values, requirements="CW")).to(device)
        if isinstance(values, np.ndarray)
        else values
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


def _outputs(network: nn.Module, objective: Objective, inputs: Mapping[str, Tensor | Stored], device: str) -> Tensor:
    """Outputs that mean the mean probability over the views of each sample, shape (n, ...)."""
    return objective.average(_over_views(network, network, inputs, device).float())


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
