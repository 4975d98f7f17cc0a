"""Several images of one sample, gathered from a cache that has one row per image."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceneuro.training.activations import Activations

MISSING = -1


class Slots:
    """Activations of the images of each sample, side by side in a fixed order, read as they are needed.

    Can stand wherever the training loop takes an array of inputs. A network must be told beside it which images there
    are: in the place of one that is missing are zeros, which are no image and not to be looked at.

    Parameters
    ----------
    activations
        Of all images.
    index
        Where in them the images of a sample are, shape (n, slots); :data:`MISSING` where there is none.

    Raises
    ------
    ValueError
        If the index points beyond the activations.
    """

    def __init__(self, activations: Activations, index: npt.NDArray[np.integer]):
        index = np.asarray(index, np.int64)
        if index.size and not MISSING <= index.min() <= index.max() < len(activations):
            raise ValueError(f"the index of images goes beyond the {len(activations)} activations that there are")
        self._activations, self._index = activations, index

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, views, slots, and the shape of one activation."""
        _, views, *activation = self._activations.shape
        return (len(self), views, self._index.shape[1], *activation)

    @property
    def at_once(self) -> int:
        """Samples that may be in memory together, with all their images and views."""
        return max(1, self._activations.at_once // self._index.shape[1])

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, samples: npt.NDArray) -> "Slots":
        return Slots(self._activations, self._index[samples])

    def rows(self, index: Tensor | slice, training: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Activations of some samples, float32; zeros where an image is missing.

        Parameters
        ----------
        index
            Which samples.
        training
            Whether to pick one view of each image at random: mirrored images stand beside images that are not.
        generator
            Of that choice.

        Returns
        -------
        Shape (batch, slots, ...) for training, otherwise (batch, views, slots, ...).
        """
        images = torch.from_numpy(self._index[index if isinstance(index, slice) else index.cpu().numpy()])
        present = images != MISSING
        found = self._activations.rows(images[present], training, generator)
        if present.all():
            # As it mostly is, and then nothing need be copied.
            rows = found.unflatten(0, images.shape)
        else:
            rows = found.new_zeros(*images.shape, *found.shape[1:])
            rows[present] = found
        return rows if training else rows.transpose(1, 2)
