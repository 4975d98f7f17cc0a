"""What a generator is told of two pictures: who the one shows, and how the face of the other is moved.

Each condition is a sequence of tokens, shape (batch, tokens, dim); in the paper's size 49 tokens of 512 features. The
identity also gives a vector, (batch, dim), for the embedding of the time step.

By default everything is as the paper says. Its public code does otherwise in places that change results;
``as_released`` does as the code does:

=====================================  ==============================  =============================================
what                                   paper, default                  public code, ``as_released``
=====================================  ==============================  =============================================
queries of the cross-fusion            projected (Eq. 6)               the features themselves
fusion, convolution of the expression  trained                         keep their random start
keys and values of the tokens          trained, one projection per     keep their random start, one projection shared
                                       attention layer                 by all layers
landmark tokens                        one per place of the map        rows of the map's memory, which mix channels
                                                                       and places
images for the landmark network        as its weights were trained     RGB in -1..1 whatever they were trained on
"variance" of a style grid (DCFace)    variance                        mean minus mean of squares
=====================================  ==============================  =============================================

The third row does not concern DCFace, whose public code trains that projection; the fifth is for whoever loads the
weights (:func:`faceneuro.synthesis.extractors.load_extractor`).

References
----------
arXiv 2409.07271, sections 3.2 and 3.3, and its public code. Kim et al., "DCFace: Synthetic Face Generation with Dual
Condition Diffusion Model", CVPR 2023, and its public code. Vaswani et al., "Attention Is All You Need", NeurIPS 2017.
"""

from collections.abc import Mapping

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from faceneuro.synthesis.extractors import IR50
from faceneuro.synthesis.sizes import Size

HEADS = 4
"""Of each attention of the cross-fusion."""

VECTOR_SHARE = 0.001
"""Of the identity's vector in the embedding of the time step, before it is learnt."""

Exchanges = tuple[tuple[str, str], ...]
"""Condition that keys and values come from, and condition that asks."""

TWO_WAY: Exchanges = (("identity", "expression"), ("expression", "identity"))
THREE_WAY: Exchanges = (("identity", "landmarks"), ("expression", "identity"), ("landmarks", "expression"))
"""Identity asks expression, expression asks landmarks, landmarks ask identity."""


class IdentityEncoder(nn.Module):
    """An IR-50 that is trained with the generator, from random weights, and learned positions of what it gives."""

    def __init__(self, size: Size):
        super().__init__()
        self.recogniser = IR50(size)
        self.position = _position(size.tokens + 1, size.dim)
        self.share = nn.Parameter(torch.tensor(VECTOR_SHARE))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Vector, shape (batch, dim), scaled for the embedding of the time step, and tokens, (batch, tokens, dim)."""
        embedding, features = self.recogniser(images)
        return (embedding + self.position[0]) * self.share, places(features) + self.position[1:]


class ExpressionDifference(nn.Module):
    """Tokens of an expression: its one vector, scaled and shifted as a whole for each token.

    A 1x1 convolution from one channel to as many as there are tokens; so the tokens of an image span one direction and
    the constant one, no more.
    """

    def __init__(self, size: Size):
        super().__init__()
        self.convolution = nn.Conv1d(1, size.tokens, 1)

    def forward(self, difference: Tensor) -> Tensor:
        """From what the pair of networks disagrees in, shape (batch, dim), to tokens, (batch, tokens, dim)."""
        return self.convolution(difference.unsqueeze(1))


class CrossFusion(nn.Module):
    """Conditions that ask one another: each exchange is an attention of one condition's queries to another's keys.

    What they find stands side by side; nothing of the conditions themselves is added to it.

    Parameters
    ----------
    size
        Its ``dim``.
    exchanges
        :data:`THREE_WAY` or :data:`TWO_WAY`.
    as_released
        Take the features themselves as queries.
    """

    def __init__(self, size: Size, exchanges: Exchanges, as_released: bool = False):
        super().__init__()
        self.exchanges = exchanges
        self.attend = nn.ModuleList(nn.MultiheadAttention(size.dim, HEADS, batch_first=True) for _ in exchanges)
        if as_released:
            for attention in self.attend:
                # The queries' projection is the identity and, as everything here is then, never trained.
                nn.init.eye_(attention.in_proj_weight.data[: size.dim])

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """From tokens by condition, each of shape (batch, tokens, dim), to (batch, exchanges * tokens, dim)."""
        found = [
            attention(tokens[queries], tokens[keys], tokens[keys], need_weights=False)[0]
            for attention, (keys, queries) in zip(self.attend, self.exchanges, strict=True)
        ]
        return torch.cat(found, 1)


class StyleGrid(nn.Module):
    """DCFace's style: mean and variance of early features in each cell of a grid and in the whole image.

    Parameters
    ----------
    size
        Of the identity network whose early features these are.
    cells
        Along each side of the grid; 3 gives 10 tokens, 5 gives 26.
    as_released
        Take the mean minus the mean of squares for the variance.
    """

    def __init__(self, size: Size, cells: int, as_released: bool = False):
        super().__init__()
        self.cells, self.as_released = cells, as_released
        self.project = nn.Sequential(
            nn.Dropout(0.3), nn.PReLU(), nn.Conv2d(size.recogniser_widths[0], size.dim, 1), nn.BatchNorm2d(size.dim)
        )
        # Of mean and variance, feature by feature.
        self.weights = nn.Parameter(torch.full((2, size.dim), 0.5))
        self.position = _position(cells**2 + 1, size.dim)
        self.norm = nn.LayerNorm(size.dim)

    def forward(self, features: Tensor) -> Tensor:
        """From :meth:`~faceneuro.synthesis.extractors.IR50.early`, (batch, first width, side, side), to tokens,
        (batch, cells^2 + 1, dim), that of the whole image first."""
        cell = features.shape[-1] // self.cells
        side = cell * self.cells
        if side != features.shape[-1]:
            features = interpolate(features, (side, side), mode="bilinear")
        features = self.project(features)
        parts = [self._statistics(features, kernel) for kernel in (side, cell)]
        return self.norm(torch.cat(parts, 1) + self.position)

    def _statistics(self, features: Tensor, kernel: int) -> Tensor:
        """Weighted mean and variance of cells of so many pixels, shape (batch, cells, dim)."""
        mean, squares = places(avg_pool2d(features, kernel)), places(avg_pool2d(features**2, kernel))
        variance = mean - squares if self.as_released else squares - mean**2
        return self.weights[0] * mean + self.weights[1] * variance


def places(features: Tensor) -> Tensor:
    """The places of a map as tokens: (batch, dim, side, side) to (batch, side^2, dim), row by row."""
    return features.flatten(2).transpose(1, 2)


def landmark_tokens(features: Tensor, as_released: bool = False) -> Tensor:
    """Tokens of the landmark network's map, shape (batch, dim, side, side): (batch, side^2, dim).

    As released, the map's numbers are dealt out in the order in which they lie in memory, so that with as many
    features as the paper has, a token holds all places of some channels.
    """
    tokens = places(features)
    return features.reshape(tokens.shape) if as_released else tokens


def _position(count: int, dim: int) -> nn.Parameter:
    """Learned, from sines and cosines of all wavelengths minus one half."""
    return nn.Parameter(get_timestep_embedding(torch.arange(count), dim, downscale_freq_shift=0) - 0.5)
