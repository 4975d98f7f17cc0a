"""What the frozen part of a backbone makes of images, computed once and trained from many times.

The same images pass the same layers in every epoch and every fold. So the last thing that does not change, an
activation per view of a sample, is kept in one file: all networks, folds and epochs start from it. A sample may have
several views (mirrored, cropped otherwise), a fixed number; training picks one of them at random each time, and a
prediction is the mean over all.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from faceneuro.errors import InputError
from faceneuro.files import replacing
from faceneuro.training.loop import reproducible

KEY = "studies.palsy.cache"
"""Where the settings of the cache stand in the configuration."""

NAME = "activations"
DTYPES = {"float32": ("F32", np.dtype("<f4")), "float16": ("F16", np.dtype("<f2"))}
"""How safetensors and numpy call what a cache may be made of."""

VALUES_AT_ONCE = 2**22
"""Values of a cache that are in memory together where nothing is learnt; a network needs several times as much."""

Images = npt.NDArray[np.float32]
Progress = Callable[[Iterable], Iterable]


def cache(
    images: Iterator[Images],
    n: int,
    frozen: nn.Module,
    path: str | os.PathLike,
    *,
    dtype: str = "float32",
    at_most_mib: int | None = None,
    metadata: Mapping[str, str] | None = None,
    key: str = KEY,
    device: str = "cpu",
    threads: int = 1,
    batch: int = 32,
    progress: Progress = iter,
) -> None:
    """Pass images through the frozen part of a backbone and write the activations, batch by batch.

    Memory does not grow with the number of samples. The file is a safetensors file with the one tensor
    ``activations``, shape (n, views, ...). It appears under its name when it is whole.

    Parameters
    ----------
    images
        One array per sample, shape (views, 3, height, width), values in 0..1.
    n
        How many there are.
    frozen
        From :func:`faceneuro.models.backbones.split`.
    path
        Where to write.
    dtype
        ``float32``, or ``float16`` for half the size and three digits.
    at_most_mib
        How large the file may be, in MiB; none means any size.
    metadata
        Words about where the activations come from, kept in the file.
    key
        Where the settings of the cache stand in the configuration, for messages.
    device
        ``cpu`` or ``cuda``.
    threads
        Of the processor.
    batch
        Views that pass the network together, rounded to whole samples.
    progress
        Wraps the batches, to show how far it is.

    Raises
    ------
    InputError
        If the file would be too large, or a value is beyond the range of float16.
    ValueError
        If there are fewer or more images than announced, or an activation is not a number.
    """
    images = iter(images)
    first = next(images, None)
    if first is None:
        raise ValueError(f"there is no image, where {n} were announced")
    code, kind = DTYPES[dtype]
    views, *image = first.shape
    shape = (n, views, *_activation_shape(frozen, tuple(image)))
    size = math.prod(shape) * kind.itemsize
    if at_most_mib is not None and size > at_most_mib * 2**20:
        raise InputError(
            f"config key {key}.at_most_mib: the activations of {n} samples with {views} "
            f"{'views' if views > 1 else 'view'} take {math.ceil(size / 2**20)} MiB as {dtype}, and {at_most_mib} are "
            "allowed; raise it, choose float16 or fewer views, or train less of the backbone"
        )
    header = {"__metadata__": dict(metadata or {}), NAME: {"dtype": code, "shape": shape, "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    done = 0
    with replacing(path) as part, part.open("wb") as file, reproducible(0, device, threads):
        frozen = frozen.to(device)
        file.write(len(text).to_bytes(8, "little") + text)
        for some in progress(_batches(chain([first], images), max(1, batch // views))):
            with torch.inference_mode():
                found = frozen(torch.from_numpy(some).flatten(0, 1).to(device)).cpu().numpy()
            with np.errstate(over="ignore"):
                kept = found.astype(kind)
            if not np.isfinite(found).all():
                raise ValueError(f"the activations of samples {done} to {done + len(some) - 1} are not finite")
            if not np.isfinite(kept).all():
                raise InputError(f"config key {key}.dtype: an activation is too large for float16; choose float32")
            file.write(kept.tobytes())
            done += len(some)
        if done != n:
            raise ValueError(f"there are {done} images, where {n} were announced")


class Activations:
    """Activations of samples, read from a cache as they are needed.

    Can stand wherever the training loop takes an array of inputs. Indexing it with an array of samples, or a mask over
    them, gives the activations of those, still unread.

    Parameters
    ----------
    path
        What :func:`cache` wrote.

    Attributes
    ----------
    shape
        Samples, views, and the shape of one activation.
    metadata
        Words that were kept with it.

    Raises
    ------
    InputError
        If the file is cut short or is no cache of activations.
    """

    def __init__(self, path: str | os.PathLike):
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            start, size = 8 + length, os.fstat(file.fileno()).st_size
            header = _header(file.read(length)) if start < size else {}
        entry = header.get(NAME)
        if entry is None or start + entry["data_offsets"][1] != size:
            raise InputError(f"{path} is not a whole cache of activations; delete it, and the next run makes it anew")
        kind = next(kind for code, kind in DTYPES.values() if code == entry["dtype"])
        self.metadata: dict[str, str] = header.get("__metadata__", {})
        self._values = np.memmap(path, kind, "r", start, tuple(entry["shape"]))
        self._samples = np.arange(len(self._values))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self._values.shape[1:])

    @property
    def at_once(self) -> int:
        """Samples that may be in memory together, with all their views."""
        return max(1, VALUES_AT_ONCE // math.prod(self.shape[1:]))

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, samples: npt.NDArray) -> "Activations":
        part = object.__new__(Activations)
        part.metadata, part._values, part._samples = self.metadata, self._values, self._samples[samples]
        return part

    def rows(self, index: Tensor | slice, training: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Activations of some samples, float32.

        Parameters
        ----------
        index
            Which samples.
        training
            Whether to pick one view of each at random.
        generator
            Of that choice.

        Returns
        -------
        Shape (batch, ...) for training, otherwise (batch, views, ...).
        """
        samples = self._samples[index if isinstance(index, slice) else index.cpu().numpy()]
        if not training:
            return torch.from_numpy(self._values[samples].astype(np.float32))
        views = self.shape[1]
        chosen = torch.randint(views, (len(samples),), generator=generator).numpy() if views > 1 else 0
        return torch.from_numpy(self._values[samples, chosen].astype(np.float32))


def _header(text: bytes) -> dict:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _activation_shape(frozen: nn.Module, image: tuple[int, ...]) -> tuple[int, ...]:
    where = next(chain(frozen.parameters(), frozen.buffers()), torch.empty(0)).device
    with torch.inference_mode():
        return tuple(frozen(torch.zeros(1, *image, device=where)).shape[1:])


def _batches(images: Iterator[Images], size: int) -> Iterator[Images]:
    while some := list(islice(images, size)):
        yield np.stack(some)
