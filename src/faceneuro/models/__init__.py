"""Networks and the plain models that they are compared with, by name.

A new model is one entry here and one file beside it. An entry imports its file only when the model is built, so a plain
model needs no torch and a list of names costs nothing.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
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


def _blendshapes_fnn(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.palsy import BlendshapeFNN

    return BlendshapeFNN(sizes)


def _coordinates_fnn(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.palsy import CoordinateFNN

    return CoordinateFNN(sizes)


def _handcrafted_fnn(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.palsy import HandcraftedFNN

    return HandcraftedFNN(sizes)


def _image_network(family: str, sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.backbones import trained_part
    from faceneuro.models.palsy import ImageNetwork

    return ImageNetwork(family, *trained_part(family, settings["backbones"][family]))


def _early_fusion(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.palsy import EarlyFusion

    return EarlyFusion(sizes)


def _gated_fusion(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.palsy import GatedFusion

    return GatedFusion(sizes)


def _attention_fusion(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.palsy import CrossAttentionFusion

    return CrossAttentionFusion(sizes)


def _temporal_network(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.temporal import TemporalNetwork

    return TemporalNetwork(sizes)


def _mean_of_features(family: str, sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.parkinson import MeanOfFeatures

    return MeanOfFeatures(*_shared_trunk(family, settings), settings["classes"])


def _concatenation(sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.parkinson import Concatenation

    return Concatenation(*_shared_trunk(EXTRACTOR, settings), settings["classes"], slots=sizes["present"])


def _gated_maps(ordinal: bool, sizes: Sizes, settings: Settings) -> Any:
    from faceneuro.models.parkinson import AttentionFusion

    return AttentionFusion(
        *_shared_trunk(EXTRACTOR, settings),
        # The ordinal head tells each two neighbours apart.
        settings["classes"] - ordinal,
        slots=sizes["present"],
        **settings["attention"],
    )


def _shared_trunk(family: str, settings: Settings) -> tuple[Any, int]:
    from faceneuro.models.backbones import trained_part

    return trained_part(family, settings["backbones"][family], "studies.parkinson.backbones", maps=family == EXTRACTOR)


Build = Callable[[Sizes, Settings], Any]

NETWORKS: dict[str, Build] = {"dual_branch": _dual_branch, "landmarks_only": _landmarks_only, "flow_only": _flow_only}
"""Torch modules that map a dictionary of inputs to one logit per sample."""

ESTIMATORS: dict[str, Build] = {"logistic_regression": _logistic_regression}
"""Estimators with scikit-learn's methods, which get the inputs side by side."""

MODELS = NETWORKS | ESTIMATORS
"""The models of the ALS study."""

FAMILIES = ("mixer", "resnet", "fastervit")
"""Image networks of the palsy study, see :mod:`faceneuro.models.backbones`."""

IMAGES: dict[str, tuple[str, str]] = {
    f"{images}_{family}": (images, family) for images in ("rgb", "lines") for family in FAMILIES
} | {"surroundings_mixer": ("surroundings", "mixer")}
"""Models of the palsy study that see images: which images, and through which family of networks. The surroundings of a
face are a control: nothing about the face is in them."""

BRANCHES: dict[str, tuple[str, ...]] = {
    "early_rgb": ("handcrafted_fnn", "rgb_mixer"),
    "early_lines": ("handcrafted_fnn", "lines_resnet"),
    "late_rgb": ("handcrafted_fnn", "rgb_mixer"),
    "late_lines": ("handcrafted_fnn", "lines_resnet"),
    "gated_rgb": ("handcrafted_fnn", "rgb_mixer"),
    "attention_rgb": ("handcrafted_fnn", "rgb_mixer"),
    "temporal_rgb": ("rgb_mixer",),
}
"""Fusions of the palsy study: the model on measures and the model on images that they join. Late fusion is the mean of
the two probabilities and has no network of its own; the others learn from what the two, trained in the same fold, make
of a sample before their last layers. The network over time joins what a model on images makes of each frame of a clip
with the landmarks themselves."""

PALSY_NETWORKS: dict[str, Build] = {
    "blendshapes_fnn": _blendshapes_fnn,
    "coordinates_fnn": _coordinates_fnn,
    "handcrafted_fnn": _handcrafted_fnn,
    "shuffled_fnn": _handcrafted_fnn,
    **{name: partial(_image_network, family) for name, (_, family) in IMAGES.items()},
    "early_rgb": _early_fusion,
    "early_lines": _early_fusion,
    "gated_rgb": _gated_fusion,
    "attention_rgb": _attention_fusion,
    "temporal_rgb": _temporal_network,
}
"""Torch modules of the palsy study, with two outputs per sample, or per clip where they see clips (``temporal_rgb``).
``shuffled_fnn`` is a control: the handcrafted network on measures that were dealt out anew over the samples."""

INPUTS: dict[str, tuple[str, ...]] = {
    "blendshapes_fnn": ("blendshapes",),
    "coordinates_fnn": ("coordinates",),
    "handcrafted_fnn": ("measures",),
    "shuffled_fnn": ("measures",),
    **dict.fromkeys(IMAGES, ("activations",)),
    **{name: ("measures_embedding", "image_embedding") for name in BRANCHES if name in PALSY_NETWORKS},
    "temporal_rgb": ("coordinates_sequence", "image_sequence", "length"),
}
"""What the networks of the palsy study take."""

KINDS = {name: "visual" if name in IMAGES else "fusion" if name in BRANCHES else "fnn" for name in PALSY_NETWORKS}
"""Which of the palsy study's training blocks a network is trained by."""

EXTRACTOR = "resnet"
"""The family that the Parkinson paper is about. Its networks need maps, the others' pooled features."""

PARKINSON_FAMILIES = {
    "mobilenetv4": "mobilenet",
    "swin": "swin",
    "efficientnetv2": "efficientnet",
    "concatenation": EXTRACTOR,
    "unbalanced": EXTRACTOR,
    "attention_fusion": EXTRACTOR,
    "ordinal": EXTRACTOR,
}
"""Networks of the Parkinson study, and the family of image networks that each sees its six images through."""

OBJECTIVES = {
    **dict.fromkeys(("mobilenetv4", "swin", "efficientnetv2", "unbalanced"), "cross_entropy"),
    **dict.fromkeys(("concatenation", "attention_fusion"), "focal"),
    "ordinal": "corn",
}
"""What each of them is trained on; the losses are those of :mod:`faceneuro.training.losses`. That the baselines and the
network without class balancing see plain cross-entropy is our reading of the paper."""

PARKINSON_NETWORKS: dict[str, Build] = {
    **{
        name: partial(_mean_of_features, PARKINSON_FAMILIES[name]) for name in ("mobilenetv4", "swin", "efficientnetv2")
    },
    "concatenation": _concatenation,
    **{
        name: partial(_gated_maps, OBJECTIVES[name] == "corn") for name in ("unbalanced", "attention_fusion", "ordinal")
    },
}
"""Torch modules of the Parkinson study, with one output per class, or for CORN one less. They take ``activations``, six
per sample, and ``present``, which says which of the six are there."""

BUILDERS = MODELS | PALSY_NETWORKS | PARKINSON_NETWORKS
"""All that can be fitted, whatever the study."""


def missing_package(family: str) -> str | None:
    """A sentence about the package that a family of image networks lacks, or none."""
    if family != "fastervit" or find_spec("fastervit"):
        return None
    return (
        "FasterViT needs a package that is not part of this one, because its licence (NVIDIA Source Code License-NC) "
        "forbids commercial use; pip install fastervit==1.0.0, or leave its models out"
    )
