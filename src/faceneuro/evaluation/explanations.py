"""Does what a trained model goes by lie where the disease is? Explanations of virtual patients, judged by the truth.

Of a virtual patient it is known which side is weak, and which part of the face a task moves. An explanation says which
measures, or which part of the picture, spoke for palsy; so it can be right or wrong. Two methods: integrated gradients
for a network on the 29 measures, occlusion for one on pictures.

References
----------
Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017 (integrated gradients). Zeiler and
Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (occlusion). Zhang et al., "Top-Down Neural
Attention by Excitation Backprop", ECCV 2016 (the pointing game).
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.features.asymmetry import MEASURES
from faceneuro.features.crops import SIZE
from faceneuro.features.points import CHIN, FOREHEAD
from faceneuro.models import IMAGES
from faceneuro.tables import KEYS, LANDMARK_COUNT, Row

if TYPE_CHECKING:
    from torch import Tensor, nn

    Logit = Callable[[Tensor], Tensor]

log = logging.getLogger(__name__)

Doubles = npt.NDArray[np.float64]

GRADIENTS, OCCLUSION = "integrated gradients", "occlusion"

TASK_REGIONS: dict[str, tuple[str, ...]] = {
    "brow_raise": ("brow",),
    "eye_closure_gentle": ("eye",),
    "eye_closure_tight": ("eye",),
    "nose_wrinkle": ("nose",),
    "smile_closed": ("mouth", "nose"),
    "smile_open": ("mouth", "nose"),
    "lip_pucker": ("mouth",),
}
"""What a task of palsy grading moves; a smile lifts the wings of the nose too. At rest nothing moves, and other tasks
move too much of the face to be pointed at."""

SIDES = ("left", "right")
"""The subject's. In a picture that is not mirrored, the subject's right is on the picture's left."""

MEASURED = tuple(measure.region for measure in MEASURES)
"""Region of each measure; ``face`` for those of several, which no task moves alone."""

PLACES: dict[str, tuple[tuple[int, ...], ...]] = {
    "brow": ((276, 283, 282, 295, 285, 300, 293, 334, 296, 336), (46, 53, 52, 65, 55, 70, 63, 105, 66, 107)),
    "eye": (
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
        (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    ),
    "nose": ((168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 64, 294, 48, 278, 115, 344),),
    "mouth": (
        (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409),
    ),
}  # fmt: skip
"""Landmarks around each region; of those with two sides, the subject's left one first."""

MARGIN = 0.05
"""By how much of the face's width across, and height down, a region reaches beyond its landmarks: what a brow or a
corner of the mouth moves is the skin around it."""

PATCH, STRIDE = 32, 16
"""Side of the patch that covers a part of a picture, and its step, in pixels."""

FILLS = {"rgb": 0.5, "lines": 0.0}
"""Value of the patch, in all channels: gray in a photograph; where lines are drawn, the black without one."""

PICTURES_AT_ONCE = 32

LEAST_MISSED = 5e-4
"""Share of a difference of logits that the attributions may miss."""

_HALVINGS, _MOST_STEPS = 20, 2**16


def to_explain(
    samples: pd.DataFrame, roles: npt.NDArray[np.str_], positive: str, at_most: int | None = None
) -> npt.NDArray[np.int64]:
    """Samples whose explanation can be judged: tested, of a patient whose weak side and grade are known.

    Parameters
    ----------
    samples
        Data frame of a samples table, n rows.
    roles
        Of the samples in a fold, shape (n,).
    positive
        Label of the patients.
    at_most
        How many; none means all. If there are more they are divided into so many equal parts, in their order, and the
        middle of each is taken: so every task has its share.

    Returns
    -------
    Their places, ascending.
    """
    known = (samples["label"] == positive) & samples["side"].isin(SIDES) & samples["severity"].notna()
    places = np.flatnonzero(known.to_numpy() & (roles == "test"))
    count = len(places) if at_most is None else min(at_most, len(places))
    return places[[(2 * part + 1) * len(places) // (2 * count) for part in range(count)]]


def integrated_gradients(logit: "Logit", inputs: npt.ArrayLike, baseline: npt.ArrayLike, steps: int = 64) -> Doubles:
    """What each feature of a sample adds to its logit, beginning from a baseline.

    The gradient is averaged along the straight line from the baseline to the sample and multiplied by their difference.
    So the attributions of a sample add up to the difference of its logit and the baseline's, but for the steps: along
    the line a network of rectified units bends hundreds of times, and a mean of 64 gradients misses 1 % to 7 % of the
    difference. So steps across which the gradient does not explain what happens to the logit are halved, again and
    again, until less than :data:`LEAST_MISSED` is missed.

    Parameters
    ----------
    logit
        A differentiable function of float64 features, shape (batch, features), to (batch,), row by row.
    inputs
        Shape (n, features).
    baseline
        Shape (features,).
    steps
        Of equal length, to begin with.

    Returns
    -------
    Attributions, shape (n, features), in units of the logit.
    """
    import torch

    rows = torch.tensor(np.asarray(inputs), dtype=torch.float64)
    start = torch.tensor(np.asarray(baseline), dtype=torch.float64)
    return np.stack([_along(logit, start, row, steps) for row in rows]) if len(rows) else np.zeros(rows.shape)


def _along(logit: "Logit", start: "Tensor", end: "Tensor", steps: int) -> Doubles:
    import torch

    way = end - start
    with torch.no_grad():
        first, last = logit(torch.stack([start, end])).tolist()
    # Where the logits are equal nothing may be missed, but numbers are no finer than this.
    allowed = LEAST_MISSED * abs(last - first) + 1e-9 * (abs(first) + abs(last))
    edges = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    low, high = edges[:-1], edges[1:]
    attributions, left_out = torch.zeros_like(way), 0.0
    for halving in range(_HALVINGS + 1):
        middle = (start + (low + high)[:, None] / 2 * way).requires_grad_()
        (gradients,) = torch.autograd.grad(logit(middle).sum(), middle)
        parts = gradients * way * (high - low)[:, None]
        with torch.no_grad():
            rise = logit(start + high[:, None] * way) - logit(start + low[:, None] * way)
        missed = rise - parts.sum(1)
        done = missed.abs() <= allowed / len(missed)
        enough = abs(left_out + missed.sum().item()) <= allowed
        if enough or halving == _HALVINGS or len(missed) > _MOST_STEPS:
            done[:] = True
        attributions += parts[done].sum(0)
        left_out += missed[done].sum().item()
        if done.all():
            break
        low, high = low[~done], high[~done]
        middles = (low + high) / 2
        low, high = torch.cat([low, middles]), torch.cat([middles, high])
    return attributions.numpy()


def by_region(attributions: npt.ArrayLike) -> dict[str, float]:
    """What the measures of each region, ``face`` among them, add to the logit together; shape (29,) to one number each.

    Signs are kept, so regions add up to the same difference of logits. With the sum of the absolute values the region
    with the most measures would win more often than its share of them.
    """
    attributions = np.asarray(attributions)
    return {region: float(attributions[np.array(MEASURED) == region].sum()) for region in dict.fromkeys(MEASURED)}


@dataclass(frozen=True)
class Occlusion:
    """Where a picture speaks for palsy.

    Attributes
    ----------
    logit
        Of the whole picture.
    drops
        By how much the logit falls when a patch covers the picture, shape (k, k); positive: what was there spoke for
        palsy.
    centres
        Of the patches, down as across, in pixels from the edge, shape (k,).
    map
        The drops, interpolated between the centres, shape (size, size); beyond the outer ones they stay as they are.
    """

    logit: float
    drops: Doubles
    centres: Doubles
    map: Doubles


def occlusion_map(
    logit: "Logit", picture: npt.NDArray[np.float32], *, patch: int = PATCH, stride: int = STRIDE, fill: float = 0.5
) -> Occlusion:
    """Cover one part of a picture after the other and see what becomes of the logit.

    Parameters
    ----------
    logit
        Of pictures, shape (batch, 3, size, size), 0 to 1, to (batch,).
    picture
        Shape (3, size, size).
    patch, stride
        Side of the square that covers, and its step, in pixels. A map takes ((size - patch) / stride + 1) squared
        pictures, 169 of 224 pixels.
    fill
        Value of the patch in all channels, 0 to 1.

    Raises
    ------
    ValueError
        If the steps do not end at the picture's edge: a part of it would never be covered.
    """
    import torch

    size = picture.shape[-1]
    if picture.shape[-2] != size or size < patch or (size - patch) % stride:
        raise ValueError(
            f"a patch of {patch} pixels in steps of {stride} does not cover a picture of {picture.shape[-2]} x {size}"
        )
    starts = range(0, size - patch + 1, stride)
    corners = [(top, left) for top in starts for left in starts]
    whole = torch.from_numpy(np.ascontiguousarray(picture))[None]
    found = []
    with torch.inference_mode():
        before = logit(whole).item()
        for first in range(0, len(corners), PICTURES_AT_ONCE):
            some = corners[first : first + PICTURES_AT_ONCE]
            covered = whole.repeat(len(some), 1, 1, 1)
            for image, (top, left) in zip(covered, some, strict=True):
                image[:, top : top + patch, left : left + patch] = fill
            found.append(logit(covered).double().cpu().numpy())
    drops = before - np.concatenate(found).reshape(len(starts), len(starts))
    centres = np.array(starts) + patch / 2
    pixels = np.arange(size) + 0.5
    between = np.stack([np.interp(pixels, centres, one) for one in np.eye(len(starts))], axis=1)
    return Occlusion(before, drops, centres, between @ drops @ between.T)


def score_measures(attributions: npt.ArrayLike, task: str) -> Row:
    """Do the measures that count lie in the region that the task moves?

    Parameters
    ----------
    attributions
        Of the 29 measures, shape (29,).
    task
        What was done.

    Returns
    -------
    ``pointed``: the region with the largest sum, by :func:`by_region`, whatever its sign. ``region_hit``: whether the
    task moves it; null where :data:`TASK_REGIONS` lacks the task. ``region_chance``: the share of the measures that are
    of such a region. ``side_share``: null, because most measures are the larger side over the smaller and no longer say
    which that was.
    """
    sums = by_region(attributions)
    strongest = max(sums, key=lambda region: abs(sums[region]))
    moved = TASK_REGIONS.get(task, ())
    chance = float(np.isin(MEASURED, moved).mean())
    return _row([strongest] if sums[strongest] else [], moved, chance, None)


def score_map(found: Occlusion, coordinates: npt.ArrayLike, task: str, side: str) -> Row:
    """Does the picture speak for palsy where the task moves the face, and on the weak side?

    Parameters
    ----------
    found
        Of the middle of a face crop.
    coordinates
        Landmarks as shares of the crop, shape (478, 2) or flat.
    task
        What was done.
    side
        Which side of the face is weak, ``left`` or ``right``, the subject's.

    Returns
    -------
    ``pointed``: the regions, none or several, in which the patch lies whose covering lowers the logit most.
    ``region_hit``: whether the task moves one of them; null where :data:`TASK_REGIONS` lacks the task.
    ``region_chance``: the share of all patches that lie so, by their centres. ``side_share``: of all that speaks for
    palsy in the map, the share on the weak half of the face; null if nothing does. The halves meet at the mean x of
    forehead and chin.
    """
    size = len(found.map)
    points = _in_view(coordinates, size)
    places = np.stack(np.meshgrid(found.centres, found.centres), axis=-1).reshape(-1, 2)
    inside = {region: _near(places, [points[list(part)] for part in parts]) for region, parts in PLACES.items()}
    top = int(found.drops.argmax())
    pointed = [region for region, here in inside.items() if here[top]] if found.drops.flat[top] > 0 else []
    moved = TASK_REGIONS.get(task, ())
    chance = float(np.any([inside[region] for region in moved], axis=0).mean()) if moved else 0.0
    midline = points[[FOREHEAD, CHIN], 0].mean()
    # How much of each column of pixels lies on the picture's left of the midline, which is the subject's right.
    of_right = np.clip(midline - np.arange(size), 0, 1)
    columns = found.map.clip(0).sum(0)
    if total := columns.sum():
        right = float(columns @ of_right / total)
        return _row(pointed, moved, chance, right if side == "right" else 1 - right)
    return _row(pointed, moved, chance, None)


def _row(pointed: list[str], moved: tuple[str, ...], chance: float, side_share: float | None) -> Row:
    return {
        "pointed": ",".join(pointed),
        "region_hit": bool(set(pointed) & set(moved)) if moved else None,
        "region_chance": chance if moved else None,
        "side_share": side_share,
    }


def _in_view(coordinates: npt.ArrayLike, size: int) -> Doubles:
    """Landmarks in pixels of the middle of a crop, which a network sees."""
    return np.asarray(coordinates, np.float64).reshape(LANDMARK_COUNT, 2) * SIZE - (SIZE - size) / 2


def _near(places: Doubles, parts: Iterable[Doubles]) -> npt.NDArray[np.bool_]:
    """Whether each place, shape (m, 2), lies in the convex hull of a group of points, or within the margin of it."""
    return np.any([_gap(places, points) <= MARGIN * SIZE for points in parts], axis=0)


def _gap(places: Doubles, points: Doubles) -> Doubles:
    """Distance to a convex hull, 0 inside."""
    start = cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64)
    edge = np.roll(start, -1, axis=0) - start
    reach = places[:, None] - start
    share = (reach * edge).sum(-1) / np.maximum((edge**2).sum(-1), np.finfo(float).tiny)
    gap = np.linalg.norm(reach - share.clip(0, 1)[..., None] * edge, axis=-1).min(1)
    turn = edge[:, 0] * reach[..., 1] - edge[:, 1] * reach[..., 0]
    return np.where((turn >= 0).all(1) | (turn <= 0).all(1), 0.0, gap)


def explain_measures(
    model: str,
    weights: Mapping[str, npt.NDArray],
    samples: pd.DataFrame,
    measures: npt.NDArray[np.float32],
    baseline: npt.NDArray[np.floating],
    threads: int = 1,
) -> list[Row]:
    """Integrated gradients of a trained network on the measures, judged sample by sample.

    Parameters
    ----------
    model, weights
        Name of the network, and its weights from :func:`faceneuro.training.fit.load_weights`.
    samples
        Rows of a samples table, m of them.
    measures
        Theirs, shape (m, 29).
    baseline
        Shape (29,); the mean of the healthy samples that it was trained on.
    threads
        Of the processor.

    Returns
    -------
    Rows of :data:`faceneuro.tables.EXPLANATIONS`, without study, protocol, model and fold.
    """
    import torch

    from faceneuro.models import BUILDERS
    from faceneuro.training.loop import reproducible

    with reproducible(0, "cpu", threads):
        network = _trained(BUILDERS[model]({"measures": len(baseline)}, {}), weights).double()

        def logit(values: "Tensor") -> "Tensor":
            return _logit(network({"measures": values}))

        found = integrated_gradients(logit, measures, baseline)
        with torch.no_grad():
            logits = logit(torch.tensor(measures, dtype=torch.float64)).tolist()
    about = samples[[*KEYS, "task", "side"]].to_dict("records")
    return [
        row | {"method": GRADIENTS, "logit": value} | score_measures(attributions, row["task"])
        for row, value, attributions in zip(about, logits, found, strict=True)
    ]


def explain_images(
    model: str,
    weights: Mapping[str, npt.NDArray],
    samples: pd.DataFrame,
    coordinates: npt.NDArray[np.float32],
    pictures: Iterable[npt.NDArray[np.float32]],
    backbone: Mapping[str, Any],
    *,
    patch: int = PATCH,
    stride: int = STRIDE,
    device: str = "cpu",
    threads: int = 1,
) -> Iterator[Row]:
    """Occlusion of a trained network on pictures of the face, judged sample by sample.

    The patch covers the picture itself, so both parts of the network see it, the frozen one and the trained one.

    Parameters
    ----------
    model, weights
        Name of the network, and its weights from :func:`faceneuro.training.fit.load_weights`.
    samples
        Rows of a samples table, m of them.
    coordinates
        Their landmarks as shares of the crop, shape (m, 956).
    pictures
        The middle of each crop, shape (1, 3, size, size): one view, whatever the network was trained on.
    backbone
        Settings of the family, as for the training.
    patch, stride
        See :func:`occlusion_map`.
    device
        ``cpu`` or ``cuda``.
    threads
        Of the processor.

    Yields
    ------
    Rows of :data:`faceneuro.tables.EXPLANATIONS`, without study, protocol, model and fold.
    """
    if samples.empty:
        return
    from faceneuro.models.backbones import load
    from faceneuro.models.palsy import ImageNetwork
    from faceneuro.training.loop import reproducible

    kind, family = IMAGES[model]
    frozen, tail, features = load(family, backbone)
    network = _trained(ImageNetwork(family, tail, features), weights).to(device)
    frozen = frozen.to(device)

    def logit(images: "Tensor") -> "Tensor":
        return _logit(network({"activations": frozen(images.to(device))}))

    began, count = time.perf_counter(), 0
    about = samples[[*KEYS, "task", "side"]].to_dict("records")
    for row, landmarks, (picture,) in zip(about, coordinates, pictures, strict=True):
        with reproducible(0, device, threads):
            found = occlusion_map(logit, picture, patch=patch, stride=stride, fill=FILLS[kind])
        count += 1
        yield row | {"method": OCCLUSION, "logit": found.logit} | score_map(found, landmarks, row["task"], row["side"])
    log.info("%d maps of %s, %.1f s each", count, model, (time.perf_counter() - began) / count)


def _trained(network: "nn.Module", weights: Mapping[str, npt.NDArray]) -> "nn.Module":
    import torch

    network.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return network.eval()


def _logit(outputs: "Tensor") -> "Tensor":
    """Of the positive class, as in training: softmax over two outputs is the sigmoid of their difference."""
    return outputs[:, 1] - outputs[:, 0]
