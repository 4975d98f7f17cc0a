"""What jobs of the papers' sizes need of a GPU, counted on a machine that has none.

The networks are built as the workflow builds them, of torch's fake tensors, which have a shape, a type and a device and
no numbers: nothing is computed, and next to no memory used. What is counted is exact; what follows from it is not.

- Memory: weights, gradients, what the optimiser keeps of each weight, copies of the best and of averaged weights, and
  the most that is alive at once of what a whole batch makes on its way forward. Left out are CUDA itself, workspaces of
  its kernels and what the allocator cannot use: add 1 GiB and a fifth.
- Hours: floating-point operations at :data:`RATE`. Left out is whatever is no convolution and no product of matrices,
  and the waiting for data.
- Disk: the weights, activations or pictures that a job writes, not compressed.

docs/cluster.md has these numbers, marked d. It takes minutes: ``python benchmarks/paper_scale.py``
"""

import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

from faceneuro.models import BUILDERS, PARKINSON_FAMILIES
from faceneuro.models.backbones import load
from faceneuro.synthesis.extractor_training import SCHEDULES
from faceneuro.synthesis.extractors import KINDS, Extractors, build_extractor
from faceneuro.synthesis.generator import Generator
from faceneuro.synthesis.losses import Batch, step_losses
from faceneuro.synthesis.sizes import SIZES
from faceneuro.training.pretraining import Classifier

RATE = 7.8e12
"""Operations a second: 40 % of the 19.5e12 that an A100 does in float32 without its tensor cores."""

VALIDATION = 0.2
"""Share of the subjects not tested that an epoch is chosen by."""

ALS_PAIRS, ALS_EPOCHS = 1_688, 28

PALSY_PICTURES, PALSY_FOLDS, PALSY_EPOCHS, PALSY_VIEWS = 10_000, 21, 50, 10
"""How many pictures there are is not published; :file:`config/config.yaml` takes ten thousand for the paper's."""

PEOPLE, PARKINSON_FOLDS, PARKINSON_EPOCHS, PARKINSON_VIEWS, EXPRESSIONS = 399, 5, 100, 2, 6
"""145 patients and 254 healthy people, see docs/parkinson.md."""

RAF_DB, PRETRAINING_EPOCHS = 12_271, 60
"""Images to learn from in a common collection; the paper names none."""

TEST_FACES = 91_168 - 80_288
"""Of the synthesis paper: all of its images without those that it trains with."""

SIZE = SIZES["paper"]
IMAGES = 3, SIZE.pixels, SIZE.pixels
PIXELS = 3, 224, 224

Built = tuple[nn.Module, Callable[[], Tensor]]
"""Networks, and a function that passes a batch through them; where something is trained, it returns the loss."""


@dataclass(frozen=True)
class Work:
    """A kind of job.

    Attributes
    ----------
    name
        Its rule, and which of the rule's jobs.
    build
        Makes the networks.
    batch
        Samples that pass together.
    trained, seen
        Samples that pass in a job in all, with and without gradients.
    copies
        Of the trained weights in memory beside themselves and their gradients: 2 of Adam, 1 of SGD with momentum, 1 of
        the best epoch so far.
    written
        Copies of the trained weights that are written.
    averaged
        Whether the weights of the U-Net are averaged, and the average is written.
    half
        Whether a GPU computes in bfloat16 where that can be done.
    value_bytes
        Of each number that comes out and is written, where nothing is trained.
    """

    name: str
    build: Callable[[], Built]
    batch: int
    trained: float = 0.0
    seen: float = 0.0
    copies: int = 3
    written: int = 1
    averaged: bool = False
    half: bool = False
    value_bytes: int = 2


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are made inside, for as long as something needs them.

    Attributes
    ----------
    peak
        The most at any time.
    """

    def __init__(self):
        super().__init__()
        self.peak, self._now, self._known = 0, 0, WeakIdKeyDictionary(ref_type=weakref.ref)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        for storage in _storages((args, kwargs)):
            self._known.setdefault(storage, True)
        made = func(*args, **(kwargs or {}))
        for storage in _storages(made):
            if storage not in self._known:
                self._known[storage] = True
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return made

    def _add(self, size: int) -> None:
        self._now += size
        self.peak = max(self.peak, self._now)


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@contextmanager
def _half_precision(device: str) -> Iterator[None]:
    """As torch.autocast, which refuses where there is no GPU."""
    torch.set_autocast_dtype(device, torch.bfloat16)
    torch.set_autocast_enabled(device, True)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, False)
        torch.clear_autocast_cache()


@contextmanager
def _built(work: Work, device: str, fake: FakeTensorMode) -> Iterator[Built]:
    # Some networks ask for numbers while they are made, which fake tensors refuse and meta tensors do not.
    with torch.device("meta"):
        networks, once = work.build()
    with fake, torch.device(device):
        yield networks.to_empty(device=device), once


def _trained_bytes(networks: nn.Module) -> int:
    return sum(one.nbytes for one in networks.parameters() if one.requires_grad)


def _averaged_bytes(networks: nn.Module) -> int:
    return sum(one.nbytes for one in networks.unet.parameters())


def memory(work: Work, half: bool, fake: FakeTensorMode) -> float:
    """Bytes on a GPU, in bfloat16 or in float32."""
    with _built(work, "cuda", fake) as (networks, once):
        kept = sum(one.nbytes for one in (*networks.parameters(), *networks.buffers()))
        kept += (1 + work.copies) * _trained_bytes(networks) if work.trained else 0
        kept += _averaged_bytes(networks) if work.averaged else 0
        precision = _half_precision("cuda") if half else nullcontext()
        with torch.set_grad_enabled(work.trained > 0), precision, Alive() as alive:
            once()
    return kept + alive.peak


def operations(work: Work, fake: FakeTensorMode) -> float:
    """Floating-point operations of a job."""
    total = 0.0
    # On their way back, tensors of a GPU would ask its driver, so here they are the processor's.
    with _built(work, "cpu", fake) as (_, once):
        for samples, learns in ((work.trained, True), (work.seen, False)):
            if samples:
                with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(learns):
                    result = once()
                    if learns:
                        result.backward()
                total += samples / work.batch * counter.get_total_flops()
    return total


def disk(work: Work, fake: FakeTensorMode) -> float:
    """Bytes that a job writes: weights or, where nothing is trained, what comes out."""
    with _built(work, "cpu", fake) as (networks, once):
        if work.trained:
            average = _averaged_bytes(networks) if work.averaged else 0
            return work.written * _trained_bytes(networks) + average
        with torch.no_grad():
            return work.value_bytes * work.seen * once().numel() / work.batch


def dual_branch() -> Built:
    sizes = {"landmarks": 936, "flow": 32}
    network = BUILDERS["dual_branch"](sizes, {"joint_units": 64})
    return network, lambda: network({name: torch.rand(32, size) for name, size in sizes.items()}).sum()


def backbone(size: str, unfreeze: str) -> dict[str, object]:
    block = {"size": size, "checkpoint": None, "weights": "none", "seed": 1, "normalisation": "checkpoint"}
    return block | {"unfreeze": unfreeze, "pixels": PIXELS[-1]}


def frozen(family: str, batch: int) -> Built:
    network, _, _ = load(family, backbone("paper", "last_block"))
    return network, lambda: network(torch.rand(batch, *PIXELS))


def palsy(family: str, activation: tuple[int, ...], batch: int) -> Built:
    network = BUILDERS[f"rgb_{family}"]({}, {"backbones": {family: backbone("paper", "last_block")}})
    return network, lambda: network({"activations": torch.rand(batch, *activation)}).sum()


def parkinson(model: str, batch: int) -> Built:
    family, shape = PARKINSON_FAMILIES[model], (batch, EXPRESSIONS)
    settings = {"classes": 3, "attention": {"reduction": 16, "shared": True}}
    settings["backbones"] = {family: backbone("small" if family == "resnet" else "paper", "all")}
    network = BUILDERS[model]({"present": EXPRESSIONS}, settings)
    # Which images there are is a question of numbers, and fake tensors have none: here all are, and are copied.
    network.images = lambda inputs: network.tail(inputs["activations"].flatten(0, 1).clone()).unflatten(0, shape)
    return network, lambda: network({"activations": torch.rand(*shape, *PIXELS), "present": torch.ones(shape)}).sum()


def expressions(batch: int) -> Built:
    network = Classifier("resnet", backbone("small", "all"), 7, "studies.parkinson.backbones")
    return network, lambda: network({"images": torch.rand(batch, *PIXELS)}).sum()


def extractor(kind: str, batch: int) -> Built:
    network = build_extractor(kind, SIZE)
    if kind != "expression":
        return network, lambda: network(torch.rand(batch, *IMAGES))[0].sum()
    fixed = build_extractor("identity", SIZE).requires_grad_(False).eval()

    def once() -> Tensor:
        images = torch.rand(batch, *IMAGES)
        return (network(images)[0] - fixed(images)[0]).sum()

    return nn.ModuleList([network, fixed]), once


def generator(row: str, batch: int) -> Built:
    network = Generator(row, "paper", Extractors(**{kind: build_extractor(kind, SIZE) for kind in KINDS}))

    def once() -> Tensor:
        *images, noise = torch.rand(3, batch, *IMAGES)
        return step_losses(network, Batch(*images), noise, torch.zeros(batch, dtype=torch.long))["loss"]

    return network, once


def sampling(row: str, batch: int) -> Built:
    network, _ = generator(row, batch)

    def once() -> Tensor:
        images, times = torch.rand(2, batch, *IMAGES), torch.zeros(batch, dtype=torch.long)
        condition = network.condition(*images)
        return [network(images[0], times, condition) for _ in range(SIZE.sampling_steps)][-1]

    return network.eval(), once


def works() -> Iterator[Work]:
    """The ALS paper's network, and all kinds of jobs on a GPU that take more than a minute."""
    yield Work("train_als_fold: dual_branch", dual_branch, 32, trained=ALS_EPOCHS * ALS_PAIRS)
    activations, views = {"mixer": (196, 768), "resnet": (1024, 14, 14)}, PALSY_PICTURES * PALSY_VIEWS
    for family in activations:
        # Whole pictures pass, with all their views.
        yield Work(f"cache_activations: {family}", partial(frozen, family, 30), 30, seen=views)
    left = 1 - 1 / PALSY_FOLDS
    # Each epoch is looked at with all views; afterwards all pictures are predicted, and embedded.
    samples = {"trained": PALSY_EPOCHS * left * (1 - VALIDATION) * PALSY_PICTURES}
    samples["seen"] = (PALSY_EPOCHS * left + 2) * views
    for family, shape in activations.items():
        yield Work(f"train_palsy_fold: rgb_{family}", partial(palsy, family, shape, 256), 256, copies=2, **samples)
    left = 1 - 1 / PARKINSON_FOLDS
    samples = {"trained": PARKINSON_EPOCHS * left * (1 - VALIDATION) * PEOPLE}
    samples["seen"] = (PARKINSON_EPOCHS * left + 1) * PEOPLE * PARKINSON_VIEWS
    for model in ("attention_fusion", "mobilenetv4", "swin", "efficientnetv2"):
        yield Work(f"train_parkinson_fold: {model}", partial(parkinson, model, 16), 16, half=True, **samples)
    samples = dict.fromkeys(("trained", "seen"), PRETRAINING_EPOCHS * RAF_DB)
    yield Work("pretrain_expression", partial(expressions, 16), 16, copies=2, half=True, **samples)
    steps, batch = SCHEDULES["paper"]["steps"], SCHEDULES["paper"]["batch_size"]
    for kind in KINDS:
        build = partial(extractor, kind, batch)
        yield Work(f"train_extractor: {kind}", build, batch, trained=steps * batch, copies=2, half=True)
    steps, batch = SIZE.steps, SIZE.batch_size
    # The file to go on from has weights, both of Adam's copies and the average.
    kept = {"copies": 2, "written": 4, "averaged": True}
    for row in ("dcface_5x5", "ccfexp_no_cycle", "ccfexp"):
        build = partial(generator, row, batch)
        yield Work(f"train_generator: {row}", build, batch, trained=steps * batch, half=True, **kept)
    yield Work("sample_faces: ccfexp", partial(sampling, "ccfexp", 64), 64, seen=TEST_FACES, half=True, value_bytes=1)


def main() -> None:
    # Networks warn of arguments that are theirs alone.
    warnings.simplefilter("ignore")
    # One for all: a fake tensor that was cached cannot meet those of another.
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    print("| job | batch | GPU memory, GiB | in float32, GiB | PFLOP | hours | disk, GiB |")
    print("| -- | --: | --: | --: | --: | --: | --: |")
    for work in works():
        sizes = [f"{memory(work, half, fake) / 2**30:.1f}" for half in (work.half, False)]
        count = operations(work, fake)
        numbers = [*sizes, *(f"{value:.2g}" for value in (count / 1e15, count / RATE / 3600))]
        cells = [work.name, work.batch, *numbers, f"{disk(work, fake) / 2**30:.2g}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
