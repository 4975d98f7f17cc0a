"""The networks of the palsy study: on measures, on images, and on both.

All end in two outputs, negative and positive class, as published; the training loop takes their difference for the
logit, and the sigmoid of that is the softmax over the two. The paper's summary speaks of a sigmoid at the end and its
public code has a softmax inside the networks; whether the loss applied another one on top is not known. Here there is
none inside, so the loss sees plain logits.

Each network can also hand out what it makes of a sample before its last layer (``embed``); early fusion learns from
that.

References
----------
"A Multimodal Fusion Model Leveraging MLP Mixer and Handcrafted Features-based Deep Learning Networks for Facial Palsy
Detection", arXiv 2503.10371; layer sizes as in its public code.
"""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Inputs = Mapping[str, Tensor]
Sizes = Mapping[str, int]

HANDCRAFTED_LAYERS, HANDCRAFTED_UNITS = 15, 59
FUSION_UNITS = (256, 128, 64)
JOINT_UNITS = 64
"""Of the fusions that the paper does not have."""

TOKENS, TOKEN_UNITS, ATTENTION_HEADS = 4, 32, 4


class Standardise(nn.Module):
    """Shift and scale features to mean 0 and deviation 1 over the samples that it was fitted on; constant ones to 0.

    The paper says nothing of it, but degrees stand beside ratios among the measures.
    """

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, values: npt.NDArray[np.float32]) -> None:
        """Take mean and deviation from features of shape (n, features)."""
        mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
        # The deviation of a constant is zero only up to the rounding of its mean.
        constant = deviation <= 1e-7 * np.abs(values).max(0)
        self.mean.copy_(torch.from_numpy(mean))
        self.deviation.copy_(torch.from_numpy(np.where(constant, 1.0, deviation)))

    def forward(self, values: Tensor) -> Tensor:
        """Shape (batch, features), as it comes and as it goes."""
        return (values - self.mean) / self.deviation


class TwoOutputs(nn.Module):
    """A network whose last layer has two outputs.

    Parameters
    ----------
    standardised
        Inputs that are standardised, and their numbers of features.
    units
        What ``embed`` gives.
    """

    def __init__(self, standardised: Sizes, units: int):
        super().__init__()
        self.standardise = nn.ModuleDict({name: Standardise(size) for name, size in standardised.items()})
        self.last = nn.Linear(units, 2)

    def prepare(self, inputs: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Fit what is fitted before the training, on the inputs of the training part."""
        for name, scale in self.standardise.items():
            scale.fit(inputs[name])

    def embed(self, inputs: Inputs) -> Tensor:
        """What stands before the last layer, shape (batch, units)."""
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Tensor:
        """Outputs for the negative and the positive class, shape (batch, 2)."""
        return self.last(self.embed(inputs))


class FeatureNetwork(TwoOutputs):
    """Dense layers on one input of plain features."""

    def __init__(self, name: str, size: int, units: int, body: nn.Sequential):
        super().__init__({name: size}, units)
        self.name, self.body = name, body

    def embed(self, inputs: Inputs) -> Tensor:
        return self.body(self.standardise[self.name](inputs[self.name]))


class HandcraftedFNN(FeatureNetwork):
    """Fifteen layers of 59 units, each followed by ReLU and batch normalisation, on the 29 ``measures``."""

    def __init__(self, sizes: Sizes):
        units = [sizes["measures"], *[HANDCRAFTED_UNITS] * HANDCRAFTED_LAYERS]
        layers = [
            layer
            for before, after in pairwise(units)
            for layer in (nn.Linear(before, after), nn.ReLU(), nn.BatchNorm1d(after))
        ]
        super().__init__("measures", units[0], HANDCRAFTED_UNITS, nn.Sequential(*layers))


class BlendshapeFNN(FeatureNetwork):
    """64, 32 and 10 units on the 52 ``blendshapes``."""

    def __init__(self, sizes: Sizes):
        size = sizes["blendshapes"]
        body = nn.Sequential(
            *(nn.Linear(size, 64), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(64, 32), nn.ReLU(), nn.BatchNorm1d(32)),
            *(nn.Linear(32, 10), nn.ReLU()),
        )
        super().__init__("blendshapes", size, 10, body)


class CoordinateFNN(FeatureNetwork):
    """512, 256, 128, 64 and 32 units on the ``coordinates`` of 478 landmarks."""

    def __init__(self, sizes: Sizes):
        size = sizes["coordinates"]
        body = nn.Sequential(
            *(nn.Linear(size, 512), nn.ReLU(), nn.Dropout(0.25)),
            *(nn.Linear(512, 256), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(128, 64), nn.ReLU(), nn.BatchNorm1d(64)),
            *(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.1)),
        )
        super().__init__("coordinates", size, 32, body)


class ImageNetwork(TwoOutputs):
    """What is trained of a backbone, and a head, on cached ``activations``.

    Parameters
    ----------
    family
        Of the backbone. ResNet's head has a layer of 512 units, the others' heads are their last layer alone.
    tail
        Activations to pooled features, from :func:`faceneuro.models.backbones.split`.
    features
        That the tail gives.
    """

    def __init__(self, family: str, tail: nn.Module, features: int):
        super().__init__({}, 512 if family == "resnet" else features)
        self.tail = tail
        self.head = nn.Sequential()
        if family == "resnet":
            self.head.extend([nn.Linear(features, 512), nn.ReLU(), nn.Dropout(0.4), nn.BatchNorm1d(512)])

    def embed(self, inputs: Inputs) -> Tensor:
        return self.head(self.tail(inputs["activations"]))


class EarlyFusion(TwoOutputs):
    """256, 128 and 64 units on ``measures_embedding`` and ``image_embedding`` side by side.

    59 + 768 = 827 features with a Mixer, 59 + 512 = 571 with a ResNet. Batch normalisation and LeakyReLU(0.2) between
    the layers.
    """

    def __init__(self, sizes: Sizes):
        super().__init__(_embeddings(sizes), FUSION_UNITS[-1])
        units = [sum(_embeddings(sizes).values()), *FUSION_UNITS]
        self.body = nn.Sequential(
            *(
                layer
                for before, after in pairwise(units)
                for layer in (nn.Linear(before, after), nn.BatchNorm1d(after), nn.LeakyReLU(0.2))
            )
        )

    def embed(self, inputs: Inputs) -> Tensor:
        return self.body(torch.cat([scale(inputs[name]) for name, scale in self.standardise.items()], 1))


class GatedFusion(TwoOutputs):
    """A gate decides, unit by unit and sample by sample, how much of either embedding counts.

    References
    ----------
    Arevalo et al., "Gated multimodal units for information fusion", ICLR 2017 workshop. Not in the palsy paper, which
    asks for refined fusions.
    """

    def __init__(self, sizes: Sizes):
        super().__init__(_embeddings(sizes), JOINT_UNITS)
        self.project = nn.ModuleDict({name: nn.Linear(size, JOINT_UNITS) for name, size in _embeddings(sizes).items()})
        self.gate = nn.Linear(sum(_embeddings(sizes).values()), JOINT_UNITS)

    def embed(self, inputs: Inputs) -> Tensor:
        scaled = {name: scale(inputs[name]) for name, scale in self.standardise.items()}
        measures, image = (torch.tanh(project(scaled[name])) for name, project in self.project.items())
        return torch.lerp(image, measures, torch.sigmoid(self.gate(torch.cat(list(scaled.values()), 1))))


class CrossAttentionFusion(TwoOutputs):
    """Each embedding becomes four tokens of 32 units, and the tokens of either attend to those of the other.

    What they find is added to them and normalised; the means of both, side by side, go to the last layer. Not in the
    palsy paper, which asks for refined fusions.
    """

    def __init__(self, sizes: Sizes):
        super().__init__(_embeddings(sizes), 2 * TOKEN_UNITS)
        names = _embeddings(sizes)
        self.tokens = nn.ModuleDict({name: nn.Linear(size, TOKENS * TOKEN_UNITS) for name, size in names.items()})
        self.attend = nn.ModuleDict(
            {name: nn.MultiheadAttention(TOKEN_UNITS, ATTENTION_HEADS, batch_first=True) for name in names}
        )
        self.norm = nn.ModuleDict({name: nn.LayerNorm(TOKEN_UNITS) for name in names})

    def embed(self, inputs: Inputs) -> Tensor:
        tokens = {
            name: split(self.standardise[name](inputs[name])).unflatten(1, (TOKENS, TOKEN_UNITS))
            for name, split in self.tokens.items()
        }
        found = []
        for name, other in zip(tokens, reversed(tokens), strict=True):
            answer, _ = self.attend[name](tokens[name], tokens[other], tokens[other], need_weights=False)
            found.append(self.norm[name](tokens[name] + answer).mean(1))
        return torch.cat(found, 1)


def _embeddings(sizes: Sizes) -> dict[str, int]:
    return {name: sizes[name] for name in ("measures_embedding", "image_embedding")}
