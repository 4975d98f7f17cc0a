"""Fit any model of the registry on one fold, keep its weights, predict."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from faceneuro.files import replacing
from faceneuro.models import BUILDERS, ESTIMATORS
from faceneuro.tables import HISTORY, PREDICTIONS, class_predictions_schema, write_table

if TYPE_CHECKING:
    from faceneuro.training.activations import Activations
    from faceneuro.training.losses import Objective
    from faceneuro.training.slots import Slots

Inputs = Mapping[str, Union[npt.NDArray[np.float32], "Activations", "Slots"]]
Weights = dict[str, npt.NDArray]
Progress = Callable[[Iterable], Iterable]

OPTIONAL = ("optimiser", "momentum", "weight_decay", "mixed_precision")
"""Settings of a training that not every study has."""


@dataclass(frozen=True)
class Fitted:
    """A model after training.

    Attributes
    ----------
    weights
        Arrays by name, enough to predict with (:func:`predict`).
    history
        ``epoch``, ``part``, ``loss`` and ``accuracy``; a model without epochs has a single one.
    probability
        For every sample whatever its role: of the positive class, shape (n,), or of each of several, (n, classes).
    """

    weights: Weights
    history: list[dict[str, Any]]
    probability: npt.NDArray[np.float64]


def fit(
    model: str,
    inputs: Inputs,
    labels: npt.NDArray[np.bool_] | npt.NDArray[np.integer],
    roles: npt.NDArray[np.str_],
    settings: Mapping[str, Any],
    *,
    key: str,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = iter,
) -> Fitted:
    """Fit a model on the training part of a fold.

    Parameters
    ----------
    model
        A name in :data:`faceneuro.models.BUILDERS`.
    inputs
        All samples, shape (n, features) each, or cached activations.
    labels
        Whether a sample belongs to the positive class, or the number of its class, from 0; shape (n,).
    roles
        Train, validation, test or unused, shape (n,).
    settings
        The training block of the configuration: epochs, batch_size, learning_rate, select, seed; optimiser, momentum
        and weight_decay where they are not Adam's own; mixed_precision, where a GPU may use it; and what the model is
        built with (joint_units, backbones). Where there are more than two classes, ``classes`` says how many, and
        ``objective`` what is learnt: see :func:`faceneuro.training.losses.objective_of`.
    key
        Where that block stands in the configuration, for messages.
    device
        ``cpu`` or ``cuda``; plain models always use the processor.
    threads
        Of the processor.
    progress
        Wraps the epochs, to show how far it is.

    Raises
    ------
    InputError
        If the settings make the training diverge.
    ValueError
        If the training part lacks a class, or an input is not finite.
    """
    for name, values in inputs.items():
        # What a cache holds was looked at when it was written.
        if isinstance(values, np.ndarray) and not np.isfinite(values).all():
            raise ValueError(f"the {name} input has values that are not finite")
    classes = _classes(settings)
    if labels.max() >= classes:
        raise ValueError(f"a label is {labels.max()}, where there are {classes} classes, counted from 0")
    counts = np.bincount(labels[roles == "train"].astype(int), minlength=classes)
    if not counts.all():
        raise ValueError(f"the training part has no sample of class {counts.argmin()}")
    build = _builder(model, inputs, settings)
    if model in ESTIMATORS:
        learner = build()
        with threadpool_limits(threads):
            learner.fit(_side_by_side(inputs)[roles == "train"], labels[roles == "train"])
        weights = {name: np.asarray(value) for name, value in vars(learner).items() if name.endswith("_")}
        probability = predict(model, weights, inputs, settings)
        history = [
            {"epoch": 1, "part": part} | _loss_and_accuracy(probability[roles == part], labels[roles == part])
            for part in ("train", "validation")
            if (roles == part).any()
        ]
        return Fitted(weights, history, probability)
    from faceneuro.training.loop import Part, train

    parts = {
        part: Part(
            {name: values[roles == part] for name, values in inputs.items()}, labels[roles == part].astype(np.int64)
        )
        for part in ("train", "validation")
    }
    network, history = train(
        build,
        parts["train"],
        parts["validation"] if len(parts["validation"].labels) else None,
        **{name: settings[name] for name in ("epochs", "batch_size", "learning_rate", "select", "seed")},
        **{name: settings[name] for name in OPTIONAL if name in settings},
        objective=_objective(settings, counts),
        key=key,
        device=device,
        threads=threads,
        progress=progress,
    )
    weights = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
    return Fitted(weights, history, predict(model, weights, inputs, settings, device, threads))


def predict(
    model: str, weights: Weights, inputs: Inputs, settings: Mapping[str, Any], device: str = "cpu", threads: int = 1
) -> npt.NDArray[np.float64]:
    """Probabilities from stored weights: of the positive class, shape (n,), or of each of several, (n, classes).

    Parameters
    ----------
    model, settings, device, threads
        As for :func:`fit`.
    weights
        From :class:`Fitted` or :func:`load_weights`.
    inputs
        Shape (n, features) each, or cached activations.
    """
    build = _builder(model, inputs, _with_no_weights(settings))
    if model in ESTIMATORS:
        learner = build()
        vars(learner).update(weights)
        with threadpool_limits(threads):
            probability = learner.predict_proba(_side_by_side(inputs))
        return probability[:, 1] if _classes(settings) == 2 else probability
    from faceneuro.training import loop

    return loop.predict(build, weights, inputs, device, threads, _objective(settings, np.ones(_classes(settings))))


def embed(
    model: str,
    weights: Weights,
    inputs: Inputs,
    settings: Mapping[str, Any],
    device: str = "cpu",
    threads: int = 1,
    method: str = "embed",
) -> npt.NDArray[np.float32]:
    """What a network makes of samples on the way to its outputs, from stored weights.

    Parameters
    ----------
    model
        A name in :data:`faceneuro.models.BUILDERS`.
    weights, inputs, settings, device, threads
        As for :func:`predict`.
    method
        Of the network: ``embed`` is what stands before its last layer, for another one to learn from; fusions by
        attention have ``gate``, the weight of each image.

    Returns
    -------
    Shape (n, units), the mean over the views of each sample.
    """
    from faceneuro.training import loop

    return loop.embed(_builder(model, inputs, _with_no_weights(settings)), weights, inputs, device, threads, method)


def save_weights(path: str | os.PathLike, weights: Weights, metadata: Mapping[str, str]) -> None:
    """Write weights as safetensors, with a few words about where they come from."""
    from safetensors.numpy import save_file

    with replacing(path) as part:
        save_file({name: np.asarray(value, order="C") for name, value in weights.items()}, part, dict(metadata))


def write_fold(
    fitted: Fitted,
    samples: pd.DataFrame,
    roles: npt.NDArray[np.str_],
    key: Mapping[str, Any],
    output: Any,
    provenance: Mapping[str, Any],
) -> None:
    """Write what a fold's training gave: weights, history, and predictions for the samples held out.

    Parameters
    ----------
    fitted
        From :func:`fit`, with a probability for each of the samples.
    samples, roles
        Data frame of a samples table, and the role of each sample in the fold.
    key
        study, protocol, model and fold.
    output
        Has the paths ``model``, ``history`` and ``predictions``.
    provenance
        Of the job.
    """
    if fitted.probability.ndim == 1:
        schema, column = PREDICTIONS, {"probability": fitted.probability}
    else:
        schema, column = (
            class_predictions_schema(fitted.probability.shape[1]),
            {"probabilities": list(fitted.probability)},
        )
    held_out = samples.assign(**column, **key)[roles == "test"]
    save_weights(output.model, fitted.weights, {"rule": provenance["rule"]})
    write_table([{**key, **row} for row in fitted.history], output.history, HISTORY, provenance)
    write_table(held_out[schema.names], output.predictions, schema, provenance)


def load_weights(path: str | os.PathLike) -> Weights:
    """Read what :func:`save_weights` wrote."""
    from safetensors.numpy import load_file

    return load_file(path)


def _builder(model: str, inputs: Inputs, settings: Mapping[str, Any]) -> Callable[[], Any]:
    sizes = {name: values.shape[1] for name, values in inputs.items() if isinstance(values, np.ndarray)}
    return partial(BUILDERS[model], sizes, settings)


def _classes(settings: Mapping[str, Any]) -> int:
    return settings.get("classes", 2)


def _objective(settings: Mapping[str, Any], counts: npt.ArrayLike) -> "Objective":
    from faceneuro.training.losses import objective_of

    return objective_of(settings.get("objective"), counts)


def _with_no_weights(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings of backbones that start at random: they are about to get stored weights, and need no others."""
    if "backbones" not in settings:
        return settings
    backbones = {family: {**block, "weights": "none"} for family, block in settings["backbones"].items()}
    return {**settings, "backbones": backbones}


def _side_by_side(inputs: Inputs) -> npt.NDArray[np.float32]:
    return np.hstack([inputs[name] for name in sorted(inputs)])


def _loss_and_accuracy(
    probability: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_] | npt.NDArray[np.integer]
) -> dict[str, float]:
    if probability.ndim == 1:
        probability = np.stack([1 - probability, probability], 1)
    of_truth = np.take_along_axis(probability, labels.astype(int)[:, None], 1)
    return {
        "loss": float(-np.log(np.maximum(of_truth, np.finfo(float).tiny)).mean()),
        "accuracy": float((probability.argmax(1) == labels).mean()),
    }
