"""What a step of the synthesis costs beside the bare passes through its U-Net, and what batches save in sampling.

All on one thread, at the size for two cores, in turn. The passes of the U-Net alone are its forward and backward on a
batch of noise; a plain step also looks at faces (extractors, conditions, losses of identity and landmarks); a step with
the cycle does all that twice.
"""

import gc
import resource
import time
from collections.abc import Callable

import torch

from faceneuro.synthesis.extractors import Extractors, build_extractor
from faceneuro.synthesis.generator import Generator
from faceneuro.synthesis.losses import Batch, step_losses
from faceneuro.synthesis.sampling import draw
from faceneuro.synthesis.sizes import SIZES

SIZE, BATCH, TURNS, STEPS, SAMPLING_STEPS = "demo", 16, 3, 4, 5


def measure() -> dict[str, float]:
    """Ratios of times, the best of some turns each, and by how many MiB memory grew over the steps.

    Returns
    -------
    ``plain`` (plain step over bare passes), ``cycle`` (step with the cycle over plain step), ``frozen`` (extractors
    looked through without gradients over the same with them), ``batched`` (faces drawn one by one over a batch of them)
    and ``growth_mib``.
    """
    torch.manual_seed(0)
    size = SIZES[SIZE]
    kinds = ("identity", "expression", "landmarks")
    extractors = Extractors(**{kind: build_extractor(kind, size) for kind in kinds})
    rows = {name: Generator(name, SIZE, extractors) for name in ("ccfexp", "ccfexp_no_cycle")}
    images = torch.rand(2, BATCH, 3, size.pixels, size.pixels) * 2 - 1
    noise, times = torch.randn_like(images[0]), torch.randint(size.time_steps, (BATCH,))
    with torch.no_grad():
        condition = rows["ccfexp"].condition(*images)
    best: dict[str, float] = {}
    actions = {
        "bare": lambda: (
            rows["ccfexp"]
            .unet(noise, times, encoder_hidden_states=condition.tokens, class_labels=condition.vector)
            .sample.square()
            .mean()
            .backward()
        ),
        **{
            name: lambda row=row: step_losses(row, Batch(*images), noise, times)["loss"].backward()
            for name, row in rows.items()
        },
        "looked": lambda: extractors.difference(images[0]),
        "tracked": lambda: extractors.difference(images[0].clone().requires_grad_()),
    }
    for _ in range(TURNS):
        for name, action in actions.items():
            best[name] = min(best.get(name, float("inf")), _timed(action))
    before = _peak_mib()
    for _ in range(STEPS):
        actions["ccfexp"]()
    gc.collect()
    growth = _peak_mib() - before
    drawn = rows["ccfexp"].eval()
    seeds = [[0, place] for place in range(BATCH)]
    together = _timed(lambda: draw(drawn, *images, seeds, SAMPLING_STEPS, 1.0))
    alone = _timed(
        lambda: [
            draw(drawn, *images[:, place : place + 1], seeds[place : place + 1], SAMPLING_STEPS, 1.0)
            for place in range(BATCH)
        ]
    )
    return {
        "plain": best["ccfexp_no_cycle"] / best["bare"],
        "cycle": best["ccfexp"] / best["ccfexp_no_cycle"],
        "frozen": best["looked"] / best["tracked"],
        "batched": alone / together,
        "growth_mib": growth,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _timed(action: Callable) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


if __name__ == "__main__":
    torch.set_num_threads(1)
    print({name: round(value, 3) for name, value in measure().items()})
