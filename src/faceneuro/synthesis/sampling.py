"""Faces made by a trained generator: by DDIM from noise, each from noise of its own.

References
----------
Song et al., "Denoising Diffusion Implicit Models", ICLR 2021.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from faceneuro.errors import InputError
from faceneuro.features.crops import decode, encode
from faceneuro.files import replacing
from faceneuro.studies.synthesis import Faces, pictures
from faceneuro.synthesis.generator import Generator
from faceneuro.synthesis.unet import schedule
from faceneuro.tables import KEYS, Row
from faceneuro.training.loop import reproducible

KEY = "studies.synthesis.sampling"
"""Where the settings stand in the configuration, for messages."""

PARTS = ("identity", "style")

Images = npt.NDArray[np.uint8]
Progress = Callable[[Iterable], Iterable]


def draw(
    generator: Generator, identity: Tensor, style: Tensor, seeds: Sequence[Sequence[int]], steps: int, eta: float
) -> Tensor:
    """Faces from pairs of pictures.

    Parameters
    ----------
    generator
        In evaluation mode.
    identity, style
        Whose faces are to be made, and like whom they are to look: RGB, values in -1..1, shape (batch, 3, pixels,
        pixels), on the device of the generator.
    seeds
        Of each face's noise, whole numbers from 0. The noise is the same on every device, and whatever the face is made
        together with.
    steps
        Of DDIM, out of those that the generator was trained with.
    eta
        How much noise is added on the way: 0 none, 1 as much as DDPM adds.

    Returns
    -------
    Values in -1..1, shaped as the pictures.
    """
    steppers = DDIMScheduler.from_config(schedule(generator.size).config)
    steppers.set_timesteps(steps)
    sources = [torch.Generator().manual_seed(number_of(*seed)) for seed in seeds]

    def noise() -> Tensor:
        drawn = [torch.randn(identity.shape[1:], generator=source) for source in sources]
        return torch.stack(drawn).to(identity.device)

    with torch.no_grad():
        condition = generator.condition(identity, style)
        images = noise()
        for time in steppers.timesteps.tolist():
            estimate = generator(images, torch.full((len(images),), time, device=images.device), condition).float()
            added = noise() if eta > 0 else None
            images = steppers.step(estimate, time, images, eta=eta, variance_noise=added, return_dict=False)[0]
    return images.clamp(-1, 1)


def number_of(*seed: int) -> int:
    """A seed for torch that is another one for every sequence of whole numbers from 0."""
    (state,) = np.random.SeedSequence(seed).generate_state(1, np.uint64)
    # torch takes what fits a signed number.
    return int(state >> np.uint64(1))


class _Wanted(NamedTuple):
    """A face to be made: its number, its two pictures and the file that is going to hold it."""

    pair: int
    identity: Callable[[], Images]
    style: Callable[[], Images]
    path: Path


def sample(
    generator: Generator,
    pairs: Iterable[Mapping[str, Any]],
    faces: Faces,
    *,
    steps: int,
    eta: float,
    seed: int,
    batch_size: int,
    folder: str | os.PathLike,
    back: str | os.PathLike | None = None,
    mixed_precision: bool = False,
    key: str = KEY,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = iter,
) -> list[Row]:
    """Make the face of every pair, a PNG file each.

    Each file says in its text what made it: generator, settings and the two pictures. So whatever is whole in the
    folder and would come out the same is not made again, and what would not is replaced.

    Parameters
    ----------
    generator
        Trained; moved to the device and left in evaluation mode.
    pairs
        Rows of :data:`faceneuro.tables.PAIRS`.
    faces
        The faces of the study.
    steps, eta
        As for :func:`draw`.
    seed
        Of the noise. With it, a pair's number determines the noise of its face.
    batch_size
        Faces made together; more take more memory.
    folder
        Where the files will be, named by the pairs' numbers.
    back
        A folder that this function filled before with these pairs. Given, what was made is put back: the style is the
        face that was made for the pair, the identity its ``own`` image; pairs that have none are left out.
    mixed_precision
        Whether a GPU estimates noise in bfloat16.
    key
        Where the settings stand in the configuration, for messages.
    device, threads, progress
        As for :func:`faceneuro.training.loop.train`; the progress is that of batches.

    Returns
    -------
    One row per file, in the order of the pairs: ``pair``, ``file`` (its name in the folder), ``row`` (the generator's),
    ``size``, ``back``, ``seed``, ``steps``, ``eta``, ``held_out``, and the keys of identity and style, such as
    ``identity_subject``. On the way back the identity's keys are those of the style's own image.

    Raises
    ------
    InputError
        If there are more steps than the generator was trained with, or not enough memory.
    ValueError
        If a face of the way there is missing on the way back.
    """
    if steps > generator.size.time_steps:
        raise InputError(
            f"config key {key}.steps: {steps}, but a generator of size {generator.size_name} was trained with "
            f"{generator.size.time_steps}; choose at most that"
        )
    folder, back = Path(folder), None if back is None else Path(back)
    pairs = [pair for pair in pairs if back is None or pair["own"] is not None]
    maker = fingerprint(generator.state_dict()), steps, float(eta), seed, mixed_precision
    words = f"Synthetic face by faceneuro, {generator.name}"
    wanted, marks = [_wanted(pair, faces, folder, back) for pair in pairs], {}
    for each in wanted:
        digest = hashlib.sha256(repr((*maker, each.pair, back is not None)).encode())
        digest.update(each.identity())
        digest.update(each.style())
        marks[each.pair] = f"{words}, {digest.hexdigest()}".encode()
    missing = [each for each in wanted if not _made(each.path, marks[each.pair])]
    batches = [missing[start : start + batch_size] for start in range(0, len(missing), batch_size)]
    with reproducible(seed, device, threads), naming_memory(f"{key}.batch_size", batch_size):
        generator.to(device).eval()
        precision = partial(torch.autocast, device, torch.bfloat16, enabled=mixed_precision and device == "cuda")
        for batch in progress(batches):
            identity, style = (_seen(faces, [getattr(each, part)() for each in batch]).to(device) for part in PARTS)
            # The way back has a noise of its own, too.
            seeds = [(seed, each.pair, int(back is not None)) for each in batch]
            with precision():
                made = draw(generator, identity, style, seeds, steps, eta)
            for each, picture in zip(batch, pictures(made.cpu().numpy()), strict=True):
                with replacing(each.path) as part:
                    part.write_bytes(_marked(encode(picture), marks[each.pair]))
    common = {"row": generator.name, "size": generator.size_name, "back": back is not None}
    common |= {"seed": seed, "steps": steps, "eta": eta}
    return [
        {"pair": pair["pair"], "file": each.path.name, **common, **_keys(pair, faces, back)}
        for pair, each in zip(pairs, wanted, strict=True)
    ]


def _wanted(pair: Mapping[str, Any], faces: Faces, folder: Path, back: Path | None) -> _Wanted:
    file = f"{pair['pair']:06d}.png"
    if back is None:
        pictured = [partial(faces.images.__getitem__, pair[part]) for part in PARTS]
    else:
        pictured = [partial(faces.images.__getitem__, pair["own"]), partial(_read, back / file)]
    return _Wanted(pair["pair"], *pictured, folder / file)


def _read(path: Path) -> Images:
    if not path.is_file():
        raise ValueError(f"{path} is missing: the way there comes before the way back")
    return decode(path.read_bytes())


def _seen(faces: Faces, images: Sequence[Images]) -> Tensor:
    """Images as networks see them, whether they are faces of the study or were made of them."""
    return torch.from_numpy(replace(faces, images=np.stack(images)).scaled(np.arange(len(images))))


def _keys(pair: Mapping[str, Any], faces: Faces, back: Path | None) -> Row:
    keys = {name: pair[name] for name in ("held_out", *(f"{part}_{name}" for part in PARTS for name in KEYS))}
    return keys if back is None else keys | {f"identity_{name}": faces.keys.at[pair["own"], name] for name in KEYS}


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """What tells weights apart: 64 hexadecimal digits that follow from every name and every number."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


@contextmanager
def naming_memory(key: str, value: int) -> Iterator[None]:
    """Where memory runs out inside, say which key of the configuration to lower.

    Raises
    ------
    InputError
        In place of torch's own error, which is of another kind on a GPU than on the processor.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        raise InputError(f"config key {key}: there is not enough memory for {value}; choose less") from error


# A PNG file begins with eight bytes that say so and a header of 25, and ends with an empty chunk of its own.
_HEADER, _END = 8 + 25, b"\0\0\0\0IEND\xaeB`\x82"


def _marked(png: bytes, mark: bytes) -> bytes:
    return png[:_HEADER] + _chunk(mark) + png[_HEADER:]


def _made(path: Path, mark: bytes) -> bool:
    """Whether a file is whole and says that it was made so."""
    if not path.is_file():
        return False
    data = path.read_bytes()
    return data[_HEADER:].startswith(_chunk(mark)) and data.endswith(_END)


def _chunk(mark: bytes) -> bytes:
    """A description, as PNG has it: length, kind, keyword and text, checksum."""
    content = b"tEXtDescription\0" + mark
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
