"""Train a whole backbone to tell expressions apart, so that another network can start from what it has learnt.

The paper's extractor is "a ResNet-18 pretrained for expression recognition"; on which images, and how, is not said. The
weights in common use begin with faces of MS-Celeb-1M, a collection that was withdrawn because those shown had not been
asked. Here the start is what the settings say, and the images are the user's choice.

References
----------
"Facial Expression-based Parkinson's Disease Severity Diagnosis via Feature Fusion and Adaptive Class Balancing",
section II.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from faceneuro.models.backbones import build, split
from faceneuro.training import loop
from faceneuro.training.activations import VALUES_AT_ONCE
from faceneuro.training.losses import objective_of

KEY = "studies.parkinson.pretraining"
"""Where the settings stand in the configuration, for messages."""

SHIFT = 1 / 14
"""How far an image is moved at most while learning, as a share of its side: 8 of 112 pixels."""

OBJECTIVE = {"loss": "cross_entropy"}

Images = npt.NDArray[np.uint8]
Progress = Callable[[Iterable], Iterable]


class Pictures:
    """Images that are read as they are needed, each time a little different while a network learns.

    Can stand wherever the training loop takes an array of inputs. For training, every image is mirrored or not and
    moved by up to :data:`SHIFT` both ways, what comes into view being the image's edge. (What augmentation the paper
    has is not said.)

    Parameters
    ----------
    images
        RGB, uint8, shape (n, 3, height, width), in memory or on disk.
    index
        Which of them, shape (m,); all by default.
    """

    def __init__(self, images: Images, index: npt.NDArray[np.int64] | None = None):
        self._images = images
        self._index = np.arange(len(images)) if index is None else index

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, their one view, channels, height, width."""
        return (len(self), 1, *self._images.shape[1:])

    @property
    def at_once(self) -> int:
        """Images that may be in memory together."""
        return max(1, VALUES_AT_ONCE // int(np.prod(self._images.shape[1:])))

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, chosen: npt.NDArray) -> "Pictures":
        return Pictures(self._images, self._index[chosen])

    def rows(self, index: Tensor | slice, training: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Some images, float32, 0 to 1.

        Parameters
        ----------
        index
            Which.
        training
            Whether to mirror and move them at random.
        generator
            Of that.

        Returns
        -------
        Shape (batch, 3, height, width) for training, otherwise (batch, 1, 3, height, width).
        """
        images = self._images[self._index[index if isinstance(index, slice) else index.cpu().numpy()]]
        if not training:
            return torch.from_numpy(images[:, None].astype(np.float32)).div_(255)
        n, _, height, width = images.shape
        mirrored = torch.randint(2, (n,), generator=generator).numpy().astype(bool)
        down, across = (self._places(n, side, generator) for side in (height, width))
        across[mirrored] = across[mirrored, ::-1]
        moved = np.empty(images.shape, np.uint8)
        for target, image, rows, columns in zip(moved, images, down, across, strict=True):
            np.take(image[:, rows], columns, axis=2, out=target)
        return torch.from_numpy(moved.astype(np.float32)).div_(255)

    @staticmethod
    def _places(n: int, side: int, generator: torch.Generator | None) -> npt.NDArray[np.int64]:
        """Where each row, or column, of n moved images comes from, shape (n, side)."""
        most = round(SHIFT * side)
        shifts = torch.randint(-most, most + 1, (n, 1), generator=generator).numpy()
        return np.clip(np.arange(side) + shifts, 0, side - 1)


class Classifier(nn.Module):
    """A backbone, before it the normalisation of its weights' images, behind it one dense layer.

    Parameters
    ----------
    family, settings
        As for :func:`faceneuro.models.backbones.build`.
    classes
        How many.
    key
        Where the families stand in the configuration, for messages.
    """

    def __init__(self, family: str, settings: Mapping[str, Any], classes: int, key: str):
        super().__init__()
        self.backbone = build(family, settings, key)
        # With nothing frozen, the first part is the normalisation alone.
        self.normalise, _ = split(self.backbone, family, "all", settings["normalisation"])
        self.head = nn.Linear(getattr(self.backbone, "head_hidden_size", self.backbone.num_features), classes)
        # On processors, too, the layout in which convolutions are faster.
        self.to(memory_format=torch.channels_last)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Outputs, shape (batch, classes), of ``images``, shape (batch, 3, height, width), 0 to 1."""
        images = inputs["images"].contiguous(memory_format=torch.channels_last)
        return self.head(self.backbone(self.normalise(images)))


@dataclass(frozen=True)
class Pretrained:
    """A backbone that has learnt to tell classes apart.

    Attributes
    ----------
    weights
        Of the backbone without the classifier, by timm's names: what ``weights`` of a family's settings can be the path
        of, once :func:`faceneuro.training.fit.save_weights` has written them.
    history
        ``epoch``, ``part``, ``loss`` and ``accuracy`` of the images learnt from, as they are, after each epoch.
    probabilities
        Of the classes, for the images held out, shape (tested, classes).
    """

    weights: dict[str, npt.NDArray]
    history: list[dict[str, Any]]
    probabilities: npt.NDArray[np.float64]


def pretrain(
    family: str,
    settings: Mapping[str, Any],
    images: Images,
    labels: npt.NDArray[np.integer],
    tested: npt.NDArray[np.bool_],
    *,
    classes: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    mixed_precision: bool = False,
    key: str = KEY,
    backbones_key: str = "studies.parkinson.backbones",
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = iter,
) -> Pretrained:
    """Train a backbone, all of it, by Adam on cross-entropy, for a fixed number of epochs.

    The images held out are looked at once, at the end: nothing is chosen by them.

    Parameters
    ----------
    family, settings
        As for :func:`faceneuro.models.backbones.build`; ``weights`` is what the training starts from.
    images
        RGB, uint8, shape (n, 3, height, width), in memory or on disk.
    labels
        Classes, 0 to ``classes`` - 1, shape (n,).
    tested
        Which images are held out, shape (n,).
    classes
        How many there are.
    epochs, batch_size, learning_rate, seed, mixed_precision, device, threads, progress
        As for :func:`faceneuro.training.loop.train`.
    key, backbones_key
        Where these settings and the families' stand in the configuration, for messages.

    Raises
    ------
    InputError
        If the weights to start from are not there, or the training diverges.
    ValueError
        If a class has nothing to be learnt from.
    """

    pictures, counts = Pictures(images), np.bincount(labels[~tested], minlength=classes)
    if not counts.all():
        raise ValueError(f"the training part has no sample of class {counts.argmin()}")
    objective = objective_of(OBJECTIVE, counts)
    trained, history = loop.train(
        partial(Classifier, family, settings, classes, backbones_key),
        loop.Part({"images": pictures[~tested]}, labels[~tested]),
        None,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        select="last",
        seed=seed,
        key=key,
        mixed_precision=mixed_precision,
        objective=objective,
        device=device,
        threads=threads,
        progress=progress,
    )
    state = {name: value.cpu().numpy() for name, value in trained.state_dict().items()}
    blank = partial(Classifier, family, {**settings, "weights": "none"}, classes, backbones_key)
    probabilities = loop.predict(blank, state, {"images": pictures[tested]}, device, threads, objective)
    weights = {name.removeprefix("backbone."): v for name, v in state.items() if name.startswith("backbone.")}
    return Pretrained(weights, history, probabilities)
