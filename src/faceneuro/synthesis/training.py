"""Training of a generator, one row of the paper's table at a time: in steps that can be taken up where they ended.

What a step sees follows from the seed and its number alone: images, noise, time steps, dropout. So training that goes
on from a checkpoint ends where it would have ended without the interruption; on the processor to the last bit.

References
----------
arXiv 2409.07271, section 4.3 (AdamW, learning rate, epochs, start from DCFace), and its public code (the rest). Karras
et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", CVPR 2024, for averaged weights.
"""

import json
import logging
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment
from diffusers.training_utils import EMAModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.multiprocessing import ProcessRaisedException, start_processes

from faceneuro.errors import InputError
from faceneuro.features.crops import encode
from faceneuro.files import replacing
from faceneuro.studies.synthesis import Faces, TrainingPairs, pictures
from faceneuro.synthesis.extractors import Extractors
from faceneuro.synthesis.generator import Generator, save_generator
from faceneuro.synthesis.losses import LOSSES, WEIGHTS, Batch, Weights, step_losses
from faceneuro.synthesis.sampling import draw, fingerprint, naming_memory, number_of
from faceneuro.synthesis.sizes import Size
from faceneuro.synthesis.unet import adapters
from faceneuro.training.loop import reproducible

log = logging.getLogger(__name__)

KEY = "studies.synthesis.training"
"""Where the settings stand in the configuration, for messages."""

MODEL, CHECKPOINT, SAMPLES = "model.safetensors", "checkpoint.safetensors", "samples"
"""What a training leaves in its folder: the generator, with averaged weights; what to go on from; pictures of how it
came along. The first is there when training has ended."""

COLUMNS = (*LOSSES, "gradient")
"""Of the history, beside the number of the step."""

SHOWN = 8
"""Pairs in a picture of how training comes along."""

NAMED = 10
"""People in a message."""

Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Settings:
    """How a generator is trained.

    Attributes
    ----------
    batch_size
        Images of a step, over all GPUs.
    steps
        How many.
    learning_rate, weight_decay
        Of AdamW; neither the paper nor its code changes the first in the course of training.
    ema_decay
        Of the moving average of the U-Net's weights at most; it begins with 0 and grows as 1 - (1 + step) ^ -3/4.
    weights
        What the losses count.
    seed
        Of the order of the images, noise, time steps and dropout.
    mixed_precision
        Whether a GPU computes in bfloat16, which has the range of float32, so that the loss need not be scaled. The
        processor takes no notice.
    checkpoint_every
        Steps after which everything is kept: what a kill loses at most.
    sample_every
        Steps after which a picture is drawn; none means never.
    """

    batch_size: int
    steps: int
    learning_rate: float
    ema_decay: float
    weight_decay: float = 0.01
    weights: Weights = WEIGHTS
    seed: int = 1
    mixed_precision: bool = False
    checkpoint_every: int = 500
    sample_every: int | None = None

    @classmethod
    def of(cls, size: Size, block: Mapping[str, Any]) -> "Settings":
        """Those of a block of the configuration; what it leaves out or null is the size's, or the default.

        Parameters
        ----------
        size
            Has batch_size, steps, learning_rate and ema_decay.
        block
            Attributes by name; ``weights`` is a mapping itself.
        """
        given = {name: value for name, value in block.items() if value is not None}
        given["weights"] = Weights(**given.get("weights", {}))
        defaults = {field.name: getattr(size, field.name) for field in fields(cls) if hasattr(size, field.name)}
        return cls(**defaults | given)


MAY_CHANGE = ("steps", "checkpoint_every", "sample_every")
"""Settings that say how long and what is shown, not what a step does: a checkpoint is gone on from with others, too."""


def build(row: str, size: str, extractors: Extractors, seed: int, as_released: bool = False) -> Generator:
    """A generator with random weights that follow from the seed; the rest as for Generator."""
    with reproducible(seed, "cpu", 1):
        return Generator(row, size, extractors, as_released)


def start_from(generator: Generator, path: str | os.PathLike) -> None:
    """Give a generator what another row has learnt already: the U-Net and the identity encoder.

    So the paper starts from DCFace. Its public code takes the U-Net alone, without what makes keys and values of
    tokens; so does a generator that is ``as_released``.

    Parameters
    ----------
    generator
        Not trained yet.
    path
        From :func:`faceneuro.synthesis.generator.save_generator`, of the same size.

    Raises
    ------
    InputError
        If the file holds no generator of that size.
    """
    left = set()
    if generator.as_released:
        projections = {id(parameter) for layer in adapters(generator.unet) for parameter in layer.parameters()}
        left = {name for name, parameter in generator.named_parameters() if id(parameter) in projections}
    parts = ("unet.",) if generator.as_released else ("unet.", "identity.")
    try:
        with safe_open(path, "pt") as file:
            if (size := file.metadata()["size"]) != generator.size_name:
                raise InputError(
                    f"{path} holds a generator of size {size}, not {generator.size_name}; train one of that size to "
                    "start from"
                )
            names = [name for name in generator.weights() if name.startswith(parts) and name not in left]
            generator.load_state_dict({name: file.get_tensor(name) for name in names}, strict=False)
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} does not hold a generator to start from; delete it to have it trained anew"
        ) from error


def train(
    generator: Generator,
    faces: Faces,
    settings: Settings,
    *,
    folder: str | os.PathLike,
    stamp: str = "",
    key: str = KEY,
    device: str = "cpu",
    threads: int = 1,
    processes: int = 1,
    progress: Progress = iter,
) -> list[dict[str, Any]]:
    """Train a generator, from the last checkpoint if there is one.

    Parameters
    ----------
    generator
        What training starts from. What it ends with is in the folder, see :data:`MODEL`.
    faces
        The faces of the study; those of its training part are learnt from.
    settings
        How it is done.
    folder
        Of :data:`MODEL`, :data:`CHECKPOINT` and :data:`SAMPLES`.
    stamp
        Of the code. A checkpoint of another stamp is not gone on from, nor is one of other settings, images, extractors
        or of another start.
    key
        Where the settings stand in the configuration, for messages.
    device, threads, progress
        As for :func:`faceneuro.training.loop.train`; the progress is that of steps.
    processes
        One for each GPU, of those that this process sees. They divide each batch among them, and each normalises its
        own part. CUDA must not have been used before.

    Returns
    -------
    The history, one row per step: its number ``step``, from 1, the losses of :data:`faceneuro.synthesis.losses.LOSSES`
    and the norm of the ``gradient``; losses that the row does not have are None.

    Raises
    ------
    InputError
        If there are too few people, a batch cannot be divided, memory runs out, or a loss or gradient stops being a
        number. The last checkpoint stays whatever happens.
    """
    pairs = TrainingPairs(faces, settings.seed, fixed_identity=generator.as_released)
    people = len(np.unique(faces.person[faces.role("train") & faces.several]))
    if people < 2:
        raise InputError(
            f"config key studies.synthesis.groups: {'one person has' if people else 'nobody has'} two images to learn "
            "from, so who somebody is cannot be learnt; add people"
        )
    if settings.batch_size % processes:
        raise InputError(
            f"config key {key}.batch_size: {settings.batch_size} images cannot be divided among {processes} GPUs; "
            f"choose a multiple of {processes}"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    origin = _origin(generator, faces, settings, stamp)
    work = partial(_work, generator, faces, pairs, settings, folder, origin, key, device)
    if processes == 1:
        work(threads, progress)
    else:
        _in_parallel(work, processes, progress)
    with safe_open(folder / CHECKPOINT, "pt") as file:
        history = file.get_tensor("history")
    return [
        {"step": number} | {name: None if np.isnan(value) else value for name, value in zip(COLUMNS, row, strict=True)}
        for number, row in enumerate(history.tolist(), 1)
    ]


def _origin(generator: Generator, faces: Faces, settings: Settings, stamp: str) -> dict[str, Any]:
    """All that the outcome of a number of steps follows from."""
    kept = {name: value for name, value in asdict(settings).items() if name not in MAY_CHANGE}
    keys = faces.keys.to_csv(index=False).encode()
    seen = {"points": torch.tensor(faces.points), "keys": torch.frombuffer(bytearray(keys), dtype=torch.uint8)}
    return {
        "generator": [generator.name, generator.size_name, generator.as_released],
        "settings": kept | {"weights": settings.weights._asdict()},
        "start and extractors": fingerprint(generator.state_dict()),
        "faces": fingerprint(seen),
        "code": stamp,
    }


def _work(
    generator: Generator,
    faces: Faces,
    pairs: TrainingPairs,
    settings: Settings,
    folder: Path,
    origin: Mapping[str, Any],
    key: str,
    device: str,
    threads: int,
    progress: Progress,
) -> None:
    """All steps, in this process or in this one of several."""
    memory = naming_memory(f"{key}.batch_size", settings.batch_size)
    with reproducible(settings.seed, device, threads), memory:
        # What a GPU cannot do the same way twice it does all the same: a day of training is worth more than last bits.
        if device == "cuda":
            torch.set_deterministic_debug_mode("warn")
        half = settings.mixed_precision and device == "cuda"
        accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if half else "no")
        step = accelerator.prepare(_Step(generator.train(), settings.weights))
        state = _State(generator, settings)
        begun = state.resume(folder / CHECKPOINT, origin, settings.steps, accelerator.is_main_process)
        mine = slice(accelerator.process_index, settings.batch_size, accelerator.num_processes)
        shown = _Shown(faces, settings.seed) if accelerator.is_main_process and settings.sample_every else None
        watch = _Watch(state, faces, key, settings.learning_rate)
        for number in progress(range(begun, settings.steps)):
            rows = pairs.batch(number, settings.batch_size)
            # Noise and times of the whole batch are drawn in every process: however it is divided, they are the same.
            noise, times = _drawn(settings, generator.size, number)
            torch.manual_seed(number_of(settings.seed, number, accelerator.process_index))
            images = [torch.from_numpy(faces.scaled(some[mine])).to(accelerator.device) for some in rows]
            losses = step(Batch(*images), *(drawn[mine].to(accelerator.device) for drawn in (noise, times)))
            accelerator.backward(losses["loss"])
            told = [losses.get(name, losses["loss"].new_tensor(torch.nan)) for name in LOSSES]
            told = torch.stack([*told, state.gradient()]).detach()
            watch.add(accelerator.reduce(told, "mean"), rows)
            state.step()
            done, last = number + 1, number + 1 == settings.steps
            if done % settings.checkpoint_every == 0 or last:
                watch.look()
                if accelerator.is_main_process:
                    state.save(folder / CHECKPOINT, origin)
            if shown and (done % settings.sample_every == 0 or last):
                shown.draw(state, folder / SAMPLES / f"step{done:06d}.png")
        if accelerator.is_main_process:
            state.average.copy_to(generator.unet.parameters())
            save_generator(generator.eval(), folder / MODEL)
        accelerator.end_training()


class _Step(nn.Module):
    """Losses as the output of one module, so that accelerate can cast what goes on inside and divide batches."""

    def __init__(self, generator: Generator, weights: Weights):
        super().__init__()
        self.generator, self.weights = generator, weights

    def forward(self, batch: Batch, noise: Tensor, times: Tensor) -> dict[str, Tensor]:
        return step_losses(self.generator, batch, noise, times, self.weights)


def _drawn(settings: Settings, size: Size, number: int) -> tuple[Tensor, Tensor]:
    """Noise and time steps of a whole batch."""
    source = torch.Generator().manual_seed(number_of(settings.seed, number))
    noise = torch.randn(settings.batch_size, 3, size.pixels, size.pixels, generator=source)
    return noise, torch.randint(size.time_steps, (settings.batch_size,), generator=source)


class _State:
    """Everything that steps change: weights, their average, what AdamW keeps, the history."""

    def __init__(self, generator: Generator, settings: Settings):
        self.generator = generator
        self.trained = {name: value for name, value in generator.named_parameters() if value.requires_grad}
        self.optimiser = torch.optim.AdamW(
            self.trained.values(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self.average = EMAModel(
            generator.unet.parameters(),
            settings.ema_decay,
            use_ema_warmup=True,
            inv_gamma=1.0,
            power=3 / 4,
            foreach=True,
        )
        self.history: list[list[float]] = []

    def gradient(self) -> Tensor:
        """The norm of the gradient, shape ()."""
        return nn.utils.get_total_norm([value.grad for value in self.trained.values()])

    def step(self) -> None:
        """Move the weights, and their average after them."""
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.average.step(self.generator.unet.parameters())

    def save(self, path: Path, origin: Mapping[str, Any]) -> None:
        """Write all of it to a file that appears when it is whole."""
        tensors = {f"weights.{name}": value for name, value in self.generator.weights().items()}
        for name, value in zip(self._averaged(), self.average.shadow_params, strict=True):
            tensors[f"average.{name}"] = value
        for name, value in self.trained.items():
            for moment in MOMENTS:
                tensors[f"{moment}.{name}"] = self.optimiser.state[value][moment]
        tensors["history"] = torch.tensor(self.history, dtype=torch.float32)
        with replacing(path) as part:
            whole = {name: value.detach().contiguous() for name, value in tensors.items()}
            save_file(whole, part, {"origin": json.dumps(origin)})

    def resume(self, path: Path, origin: Mapping[str, Any], most: int, says: bool) -> int:
        """Take up a checkpoint, if there is one of the same origin that has not gone further than wanted.

        Returns
        -------
        Steps that were taken.
        """
        if not path.is_file():
            return 0
        try:
            with safe_open(path, "pt") as file:
                theirs = json.loads(file.metadata()["origin"])
                if theirs != json.loads(json.dumps(origin)):
                    other = ", ".join(name for name in origin if theirs.get(name) != origin[name])
                    if says:
                        log.warning("%s is of another training (%s), so this one starts anew", path, other)
                    return 0
                if (taken := file.get_slice("history").get_shape()[0]) > most:
                    if says:
                        log.warning("%s has taken %d steps, more than %d, so training starts anew", path, taken, most)
                    return 0
                self._take(file)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            if says:
                log.warning("%s is not a whole checkpoint (%s), so training starts anew", path, error)
            return 0
        if says:
            log.info("going on after step %d", len(self.history))
        return len(self.history)

    def _take(self, file: Any) -> None:
        weights = {name: file.get_tensor(f"weights.{name}") for name in self.generator.weights()}
        average = [file.get_tensor(f"average.{name}") for name in self._averaged()]
        moments = [{moment: file.get_tensor(f"{moment}.{name}") for moment in MOMENTS} for name in self.trained]
        history = file.get_tensor("history")
        self.generator.load_state_dict(weights, strict=False)
        torch._foreach_copy_(self.average.shadow_params, average)
        self.average.optimization_step = len(history)
        taken = {number: {"step": torch.tensor(float(len(history)))} | kept for number, kept in enumerate(moments)}
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": taken})
        self.history = history.tolist()

    def _averaged(self) -> list[str]:
        return [name for name, _ in self.generator.unet.named_parameters()]


MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""


class _Watch:
    """Reads the losses of a step one step later, so that no GPU waits for it, and stops when one is no number."""

    def __init__(self, state: _State, faces: Faces, key: str, learning_rate: float):
        self._state, self._faces, self._key, self._rate = state, faces, key, learning_rate
        self._waiting: tuple[Tensor, npt.NDArray[np.int64]] | None = None

    def add(self, told: Tensor, rows: tuple[npt.NDArray[np.int64], ...]) -> None:
        """What :data:`COLUMNS` are after a step, and its images."""
        self.look()
        self._waiting = told, np.concatenate(rows)

    def look(self) -> None:
        """Read what has been told."""
        if self._waiting is None:
            return
        told, rows = self._waiting
        self._waiting = None
        values = told.tolist()
        self._state.history.append(values)
        loss, gradient = values[0], values[-1]
        if not np.isfinite([loss, gradient]).all():
            what, value = ("gradient", gradient) if np.isfinite(loss) else ("loss", loss)
            people = sorted(set(self._faces.keys["subject"].iloc[rows]))
            more = f" and {len(people) - NAMED} more" if len(people) > NAMED else ""
            raise InputError(
                f"config key {self._key}.learning_rate: the {what} of {self._state.generator.name} became {value} at "
                f"step {len(self._state.history)}, with images of {', '.join(people[:NAMED])}{more}; choose less than "
                f"{self._rate:g}, or look at these images (the last checkpoint was kept)"
            )


class _Shown:
    """Pictures of how training comes along, always of the same pairs: identity, style, what is made of them."""

    def __init__(self, faces: Faces, seed: int):
        random = np.random.default_rng(seed)
        # People that are not learnt from, unless there is only one.
        some = next(
            rows for rows in map(np.flatnonzero, (faces.role("test"), faces.role("train")))
            if len(np.unique(faces.person[rows])) > 1
        )  # fmt: skip
        styles = random.choice(some, SHOWN)
        identities = [random.choice(some[faces.person[some] != faces.person[style]]) for style in styles]
        self._seed, self._rows = seed, [np.array(identities), styles]
        self._faces = faces

    def draw(self, state: _State, path: Path) -> None:
        """Make the pairs' faces with averaged weights, and leave everything as it was."""
        generator, parameters = state.generator, list(state.generator.unet.parameters())
        device = parameters[0].device
        state.average.store(parameters)
        state.average.copy_to(parameters)
        generator.eval()
        images = [torch.from_numpy(self._faces.scaled(rows)).to(device) for rows in self._rows]
        seeds = [(self._seed, number) for number in range(SHOWN)]
        made = draw(generator, *images, seeds, generator.size.sampling_steps, eta=1.0)
        generator.train()
        state.average.restore(parameters)
        columns = [self._faces.images[rows] for rows in self._rows] + [pictures(made.float().cpu().numpy())]
        sheet = np.concatenate([np.concatenate(list(column)) for column in columns], axis=1)
        larger = max(1, 112 // generator.size.pixels)
        sheet = cv2.resize(sheet, None, fx=larger, fy=larger, interpolation=cv2.INTER_NEAREST)
        with replacing(path) as part:
            part.write_bytes(encode(sheet))


def _in_parallel(work: Callable[[int, Progress], None], processes: int, progress: Progress) -> None:
    """Do the work in several processes that know of each other; the first one shows how far it is."""
    refusals = multiprocessing.get_context("fork").SimpleQueue()

    def run(rank: int) -> None:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        # accelerate may believe what it was told in the parent: that there is one process.
        AcceleratorState._reset_state(reset_partial_state=True)
        try:
            # One thread each: a forked process has lost the others of its parent, and would wait for them.
            work(1, iter if rank else progress)
        except InputError as refusal:
            refusals.put(str(refusal))
            raise

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        with patch_environment(WORLD_SIZE=processes, MASTER_ADDR="127.0.0.1", MASTER_PORT=port):
            start_processes(run, nprocs=processes, start_method="fork")
    except ProcessRaisedException:
        if refusals.empty():
            raise
        raise InputError(refusals.get()) from None
