"""Networks and the plain models that they are compared with, by name.

A new model is one entry here and one file beside it. An entry imports its file only when the model is built, so a plain
model needs no torch and a list of names costs nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

Sizes = Mapping[str, int]
"""Name of an input to its number of features."""

Settings = Mapping[str, Any]
"""The training block of a study's configuration."""


def _dual_branch(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.dual_branch import DualBranch

    return DualBranch(sizes, settings["joint_units"])


def _landmarks_only(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.dual_branch import LandmarksOnly

    return LandmarksOnly(sizes, settings["joint_units"])


def _flow_only(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.dual_branch import FlowOnly

    return FlowOnly(sizes, settings["joint_units"])


def _logistic_regression(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.logistic_regression import logistic_regression

    return logistic_regression()


Build = Callable[[Sizes, Settings], Any]

NETWORKS: dict[str, Build] = {"dual_branch": _dual_branch, "landmarks_only": _landmarks_only, "flow_only": _flow_only}
"""Torch modules that map a dictionary of inputs to one logit per sample."""

ESTIMATORS: dict[str, Build] = {"logistic_regression": _logistic_regression}
"""Estimators with scikit-learn's methods, which get the inputs side by side."""

MODELS = NETWORKS | ESTIMATORS
