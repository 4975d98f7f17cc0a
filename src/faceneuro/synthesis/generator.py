"""A generator: the U-Net of :mod:`faceneuro.synthesis.unet` and what it is told by
:mod:`faceneuro.synthesis.conditions`, for each row of the paper's table."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from faceneuro.errors import InputError
from faceneuro.files import replacing
from faceneuro.synthesis import ROWS
from faceneuro.synthesis.conditions import (
    THREE_WAY,
    TWO_WAY,
    CrossFusion,
    ExpressionDifference,
    IdentityEncoder,
    StyleGrid,
    landmark_tokens,
)
from faceneuro.synthesis.extractors import Extractors
from faceneuro.synthesis.sizes import SIZES
from faceneuro.synthesis.unet import adapters, build_unet, schedule


class Condition(NamedTuple):
    """What the U-Net is told.

    Attributes
    ----------
    vector
        Of the identity, shape (batch, dim), added to the embedding of the time step.
    tokens
        Of identity and style, shape (batch, tokens, dim), which every attention layer sees.
    """

    vector: Tensor
    tokens: Tensor


class Look(NamedTuple):
    """What the extractors see in images, for whoever asks more than once: conditions and losses go by the same.

    Attributes
    ----------
    person
        Embeddings, not normalised, shape (batch, dim).
    landmarks
        Points and map, see :class:`faceneuro.synthesis.extractors.LandmarkNet`; None in a row without landmarks.
    """

    person: Tensor
    landmarks: tuple[Tensor, Tensor] | None


class Generator(nn.Module):
    """Tells the noise in an image, given a picture of a person and one of a patient.

    Images have shape (batch, 3, pixels, pixels), RGB, values in -1..1.

    Parameters
    ----------
    row
        A name in :data:`faceneuro.synthesis.ROWS`.
    size
        A name in :data:`faceneuro.synthesis.sizes.SIZES`.
    extractors
        Trained ones of that size. They are used, not copied, never trained, and not part of what is saved.
    as_released
        Do as the paper's public code does where it departs from the paper, see
        :mod:`faceneuro.synthesis.conditions`.

    Raises
    ------
    ValueError
        If the row needs an extractor that is not there.
    """

    def __init__(self, row: str, size: str, extractors: Extractors, as_released: bool = False):
        super().__init__()
        self.name, self.row, self.size_name, self.size = row, ROWS[row], size, SIZES[size]
        self.as_released, self.extractors = as_released, extractors
        self.unet = build_unet(self.size)
        self.identity = IdentityEncoder(self.size)
        if self.row.grid:
            self.grid = StyleGrid(self.size, self.row.grid, as_released)
        else:
            needed = ("expression", "landmarks") if self.row.landmarks else ("expression",)
            if missing := [kind for kind in needed if getattr(extractors, kind) is None]:
                raise ValueError(f"{row} needs the extractors {', '.join(missing)}")
            self.expression = ExpressionDifference(self.size)
            if self.row.fusion:
                self.fusion = CrossFusion(self.size, THREE_WAY if self.row.landmarks else TWO_WAY, as_released)
            if as_released:
                self._leave_untrained()
        self.register_buffer("kept", schedule(self.size).alphas_cumprod, persistent=False)

    def _leave_untrained(self) -> None:
        """What the public code does not give to its optimiser."""
        keys, values = adapters(self.unet)[::2], adapters(self.unet)[1::2]
        for projections in (keys, values):
            for projection in projections:
                projection.load_state_dict(projections[0].state_dict())
                projection.requires_grad_(False)
        self.expression.requires_grad_(False)
        if self.row.fusion:
            self.fusion.requires_grad_(False)

    def condition(self, identity_images: Tensor, style_images: Tensor) -> Condition:
        """What the U-Net is told of a picture of a person and one of a patient; gradients pass to both."""
        return self.styled(self.identity(identity_images), style_images)

    def look(self, images: Tensor) -> Look:
        """What the extractors see; gradients pass to the images."""
        landmarks = self.extractors.landmarks(images) if self.row.landmarks else None
        return Look(self.extractors.identity(images)[0], landmarks)

    def styled(self, identity: tuple[Tensor, Tensor], style_images: Tensor, seen: Look | None = None) -> Condition:
        """:meth:`condition` from what ``self.identity`` has made of the identity's images already.

        In a cycle step the style changes and the identity does not. ``seen`` is :meth:`look` at the style's images, if
        they were looked at before.
        """
        vector, tokens = identity
        if self.row.grid:
            return Condition(vector, torch.cat([tokens, self.grid(self.extractors.identity.early(style_images))], 1))
        seen = seen or self.look(style_images)
        difference = self.extractors.difference(style_images, seen.person)
        conditions = {"identity": tokens, "expression": self.expression(difference)}
        if seen.landmarks is not None:
            _, features = seen.landmarks
            conditions["landmarks"] = landmark_tokens(features, self.as_released)
        fused = self.fusion(conditions) if self.row.fusion else torch.cat(list(conditions.values()), 1)
        return Condition(vector, fused)

    def forward(self, noisy: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """The noise in images at time steps, shape (batch,): estimated, shaped as the images."""
        return self.unet(
            noisy, times, encoder_hidden_states=condition.tokens, class_labels=condition.vector, return_dict=False
        )[0]

    def x0(self, noisy: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """The image that is left when noise is taken out of a noisy image at its time step, clipped to -1..1.

        The paper's Eq. 7. Gradients pass where nothing was clipped.
        """
        kept = self.kept[times].view(-1, 1, 1, 1)
        return ((noisy - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1)

    def trainable_parameters(self) -> Iterator[nn.Parameter]:
        """What an optimiser is to be given: never the extractors, and less as released."""
        return (parameter for parameter in self.parameters() if parameter.requires_grad)

    def weights(self) -> dict[str, Tensor]:
        """The state without the extractors', by name."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("extractors.")}


def save_generator(generator: Generator, path: str | os.PathLike) -> None:
    """Write a generator without its extractors as a .safetensors file, which appears when it is whole."""
    metadata = {"row": generator.name, "size": generator.size_name, "as_released": str(generator.as_released)}
    weights = {name: value.contiguous() for name, value in generator.weights().items()}
    with replacing(path) as part:
        save_file(weights, part, metadata)


def load_generator(path: str | os.PathLike, extractors: Extractors) -> Generator:
    """A generator from :func:`save_generator`, in evaluation mode.

    Parameters
    ----------
    path
        Of the file.
    extractors
        The ones that it was trained with.

    Raises
    ------
    InputError
        If the file does not hold a generator.
    """
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata()
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        generator = Generator(told["row"], told["size"], extractors, told["as_released"] == "True")
        if odd := set(weights) ^ set(generator.weights()):
            raise KeyError(min(odd))
        generator.load_state_dict(weights, strict=False)
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} does not hold a generator of this version; delete it to have it trained anew"
        ) from error
    return generator.eval()
