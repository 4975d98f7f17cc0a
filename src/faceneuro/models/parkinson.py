"""The networks of the Parkinson study: six images of one person, one for each expression, to three grades of severity.

All images go through the same trunk, of which a part may be frozen and cached. What a network takes is ``activations``,
shape (batch, 6, ...), what the frozen part made of each image, and ``present``, shape (batch, 6), 1 where there is an
image and 0 where an expression is missing; each sample has one image at least. A missing expression is no black image:
nothing passes the trunk for it, so it enters no batch statistics either.

The outputs are plain numbers, one per class; the losses take the softmax. With an ordinal head there is one less.

References
----------
"Facial Expression-based Parkinson's Disease Severity Diagnosis via Feature Fusion and Adaptive Class Balancing",
section II. Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, for the attention over channels that
equation (1) there has the form of.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Inputs = Mapping[str, Tensor]

SLOTS = 6
"""Images of a sample, one for each of the six basic emotions."""

HIDDEN = 512
"""Units between the two last layers, whose number the paper does not give."""


class SixImages(nn.Module):
    """A trunk that every image of a sample passes, and what is common to all that comes behind.

    Parameters
    ----------
    tail
        The trained part of the trunk, from :func:`faceneuro.models.backbones.split`: activations of single images,
        shape (images, ...), to pooled features, shape (images, channels), or to maps, (images, channels, h, w). Empty
        where the trunk is frozen.
    channels
        That the tail gives.
    """

    def __init__(self, tail: nn.Module, channels: int):
        super().__init__()
        self.tail, self.channels = tail, channels

    def images(self, inputs: Inputs) -> Tensor:
        """What the trunk makes of each image, shape (batch, 6, channels, ...), zeros for those that are missing."""
        present = inputs["present"] > 0
        seen = self.tail(inputs["activations"][present])
        found = seen.new_zeros(*present.shape, *seen.shape[1:])
        found[present] = seen
        return found

    def embed(self, inputs: Inputs) -> Tensor:
        """What stands before the dense layers, shape (batch, units)."""
        raise NotImplementedError


class MeanOfFeatures(SixImages):
    """The baselines: the mean of the pooled features over the images that are there, and one dense layer.

    How the paper's baselines take six images is not said; the mean treats them alike and adds no weights.

    Parameters
    ----------
    tail, channels
        See :class:`SixImages`.
    outputs
        How many.
    """

    def __init__(self, tail: nn.Module, channels: int, outputs: int):
        super().__init__(tail, channels)
        self.last = nn.Linear(channels, outputs)

    def embed(self, inputs: Inputs) -> Tensor:
        """Mean features, shape (batch, channels)."""
        present = inputs["present"].sum(1, keepdim=True)
        return self.images(inputs).sum(1) / present

    def forward(self, inputs: Inputs) -> Tensor:
        """Shape (batch, outputs)."""
        return self.last(self.embed(inputs))


class Concatenation(SixImages):
    """The maps of the six images side by side, averaged over the picture, and two dense layers: no attention.

    The channels of a missing expression are zero, and those of the others are scaled by 6 over the number of
    expressions present, as dropout scales what it leaves: the dense layers see sums of the same size.

    Parameters
    ----------
    tail, channels
        See :class:`SixImages`; the tail gives maps.
    outputs
        How many.
    slots
        Images of a sample.
    hidden
        Units between the two layers.
    """

    def __init__(self, tail: nn.Module, channels: int, outputs: int, *, slots: int = SLOTS, hidden: int = HIDDEN):
        super().__init__(tail, channels)
        self.head = nn.Sequential(nn.Linear(slots * channels, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def maps(self, inputs: Inputs) -> Tensor:
        """The maps of the six images one behind the other, shape (batch, 6 * channels, h, w)."""
        present = inputs["present"]
        scale = present.shape[1] / present.sum(1)
        return (self.images(inputs) * scale.view(-1, 1, 1, 1, 1)).flatten(1, 2)

    def embed(self, inputs: Inputs) -> Tensor:
        """Their mean over the picture, shape (batch, 6 * channels)."""
        return self.maps(inputs).mean((2, 3))

    def forward(self, inputs: Inputs) -> Tensor:
        """Shape (batch, outputs)."""
        return self.head(self.embed(inputs))


class AttentionFusion(Concatenation):
    """The paper's network: each of the 6 x 512 channels is weighted by a number that depends on all of them.

    The mean and the maximum of every channel over the picture go through two dense layers (3072-192-3072), and the
    sigmoid of their sum is the weight. Weighting a map and then averaging it is weighting its average, which is what is
    done here. The channels of a missing expression are zero (see :class:`Concatenation`), so they say nothing about the
    weights of the others.

    Parameters
    ----------
    tail, channels, outputs, slots, hidden
        See :class:`Concatenation`.
    reduction
        How many times fewer units there are between the two layers of the attention. The paper does not give it; 16 is
        CBAM's.
    shared
        Whether mean and maximum pass the same two layers, as in CBAM. Equation (1) writes FC twice and does not say;
        false gives each its own.

    Raises
    ------
    ValueError
        If the reduction leaves no unit.
    """

    def __init__(
        self,
        tail: nn.Module,
        channels: int,
        outputs: int,
        *,
        slots: int = SLOTS,
        hidden: int = HIDDEN,
        reduction: int = 16,
        shared: bool = True,
    ):
        super().__init__(tail, channels, outputs, slots=slots, hidden=hidden)
        width = slots * channels
        if reduction > width:
            raise ValueError(f"a reduction of {reduction} leaves no unit of {width} channels")

        def dense() -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, width // reduction), nn.ReLU(), nn.Linear(width // reduction, width))

        self.attention = nn.ModuleList([dense()] if shared else [dense(), dense()])

    def weigh(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Weight, 0 to 1, and mean over the picture of every channel, both of shape (batch, 6 * channels)."""
        # Not torch's pooling layers: on a GPU the gradients of those depend on the order of its threads.
        mean, maximum = maps.mean((2, 3)), maps.amax((2, 3))
        return torch.sigmoid(self.attention[0](mean) + self.attention[-1](maximum)), mean

    def embed(self, inputs: Inputs) -> Tensor:
        """The weighted maps' mean over the picture, shape (batch, 6 * channels)."""
        weights, mean = self.weigh(self.maps(inputs))
        return weights * mean

    def gate(self, inputs: Inputs) -> Tensor:
        """The mean weight of the channels of each expression, shape (batch, 6), 0 where it is missing."""
        weights, _ = self.weigh(self.maps(inputs))
        return weights.unflatten(1, (-1, self.channels)).mean(2) * inputs["present"]
