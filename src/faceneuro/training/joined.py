"""Caches of activations one behind the other, as if they were one: real images, and those that were made of them."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceneuro.training.activations import Activations


class Joined:
    """The samples of several caches, those of the first one first, read as they are needed.

    Can stand wherever the training loop takes an array of inputs.

    Parameters
    ----------
    *parts
        Caches of one network, with the same number of views.

    Raises
    ------
    ValueError
        If their activations differ in shape.
    """

    def __init__(self, *parts: Activations):
        if len({part.shape[1:] for part in parts}) != 1:
            shapes = ", ".join(str(part.shape[1:]) for part in parts)
            raise ValueError(f"activations of different shapes cannot be joined: {shapes}")
        self._parts = parts
        self._ends = np.cumsum([len(part) for part in parts])
        self._samples = np.arange(self._ends[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, views, and the shape of one activation."""
        return (len(self), *self._parts[0].shape[1:])

    @property
    def at_once(self) -> int:
        """Samples that may be in memory together, with all their views."""
        return self._parts[0].at_once

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, samples: npt.NDArray) -> "Joined":
        some = object.__new__(Joined)
        some._parts, some._ends, some._samples = self._parts, self._ends, self._samples[samples]
        return some

    def rows(self, index: Tensor | slice, training: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Activations of some samples, float32; see :meth:`faceneuro.training.activations.Activations.rows`."""
        samples = self._samples[index if isinstance(index, slice) else index.cpu().numpy()]
        owner = np.searchsorted(self._ends, samples, side="right")
        views = () if training else (self.shape[1],)
        found = torch.empty(len(samples), *views, *self.shape[2:])
        for number, part in enumerate(self._parts):
            mine = np.flatnonzero(owner == number)
            if len(mine):
                places = samples[mine] - (self._ends[number] - len(part))
                found[torch.from_numpy(mine)] = part.rows(torch.from_numpy(places), training, generator)
        return found
