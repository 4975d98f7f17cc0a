"""Extractors trained on the faces of the study itself, for whoever has no published weights: who somebody is, how the
face is moved, where 68 points are.

Only people of the training part are learnt from. Those of the test part say how good each network is, once, at the end:
nothing is chosen by them. While a network learns, images are mirrored at random and turned, scaled and moved a little;
points go with them, and palsies change sides.

All pictures of a person may have been taken in one place, in one light. Then recognising a person is easier than it
will be elsewhere, and the figure for it says so much less.

The identity network is also what compares pictures where the published networks are not to be had, see
:mod:`faceneuro.synthesis.metrics`.

References
----------
Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019. Zhang et al., "Learning a
Facial Expression Embedding Disentangled from Identity", CVPR 2021: two networks whose difference is the expression, one
of which is fixed. Chen, "PyTorch face landmark", 2021: points by regression, as MobileFaceNet is published for them.
"""

import copy
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample, l1_loss, linear, normalize, one_hot

from faceneuro.errors import InputError
from faceneuro.files import replacing
from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.extractors import IR50, KINDS, POINTS, LandmarkNet, build_extractor
from faceneuro.synthesis.sampling import naming_memory
from faceneuro.synthesis.sizes import SIZES, Size
from faceneuro.synthesis.transfer import EYE_OUTER
from faceneuro.synthesis.trivial import ON_LEFT, ON_RIGHT
from faceneuro.training.loop import reproducible
from faceneuro.training.optimisers import Adam

KEY = "studies.synthesis.extractor_training"
"""Where the settings stand in the configuration, for messages."""

MARGIN, SCALE = 0.5, 64.0
"""Of ArcFace, as published: the angle in radians by which a face has to be nearer to its own person than it is, and
what cosines are multiplied with."""

MOVED, TURNED, SCALED = 0.02, 2.0, 0.02
"""What images are moved (share of the side), turned (degrees) and scaled by at most while a network learns: faces are
aligned, so more would be more than what an expression moves in small images."""

AT_ONCE = 256
"""Images that pass through a network together where nothing is learnt."""

COMPARED = 2000
"""Images at most of which all pairs are compared to tell how good an identity network is."""

OTHER_SIDE = {"left": "right", "right": "left"}

MIRRORED = np.arange(POINTS)
"""Which point stands in each point's place in a mirrored face."""
MIRRORED[list(ON_LEFT)], MIRRORED[list(ON_RIGHT)] = ON_RIGHT, ON_LEFT

SCHEDULES = {
    "smoke": {"steps": 5, "batch_size": 16, "learning_rate": 3e-3},
    "demo": {"steps": 400, "batch_size": 32, "learning_rate": 3e-3},
    "paper": {"steps": 20_000, "batch_size": 128, "learning_rate": 1e-3},
}
"""Settings by size. At ``demo``, one core needs half a minute for all three networks."""

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Settings:
    """How each of the networks is trained.

    Attributes
    ----------
    steps, batch_size, learning_rate
        Of Adam. The learning rate falls to nothing along a line.
    seed
        Of initial weights, order, changes of the images and dropout.
    mixed_precision
        Whether a GPU computes in bfloat16. The processor takes no notice.
    """

    steps: int
    batch_size: int
    learning_rate: float
    seed: int = 1
    mixed_precision: bool = False

    @classmethod
    def of(cls, size: str, block: Mapping[str, Any]) -> "Settings":
        """Those of a block of the configuration; what it leaves out or null is the size's, or the default.

        Parameters
        ----------
        size
            A name in :data:`faceneuro.synthesis.sizes.SIZES`.
        block
            Attributes by name.
        """
        return cls(**SCHEDULES[size] | {name: value for name, value in block.items() if value is not None})


@dataclass(frozen=True)
class Trained:
    """A network, and how well it does.

    Attributes
    ----------
    network
        On the processor, in evaluation mode.
    history
        Rows with ``network`` (its kind), ``step``, from 1, and ``loss``.
    quality
        Rows with ``network``, ``metric``, ``value``, ``chance`` (what is had without looking), and the numbers of
        ``images`` and ``people`` of the test part on which that was found. ``verification_auc`` is the probability that
        two pictures of a person are more alike than two of different people. ``accuracy`` is the share of pictures
        whose task and side of the palsy are told rightly from the difference of the pair, ``task_accuracy`` that of
        tasks; chance is to name the commonest. ``landmark_error`` is the mean distance in percent of that between the
        outer corners of the eyes; chance is to name the mean place. A value is None where too little was held out.
    """

    network: IR50 | LandmarkNet
    history: list[dict[str, Any]]
    quality: list[dict[str, Any]]


def train_extractor(
    kind: str,
    faces: Faces,
    size: str,
    settings: Settings,
    identity: IR50 | None = None,
    *,
    key: str = KEY,
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = iter,
) -> Trained:
    """Train an extractor on the training part of the study.

    Parameters
    ----------
    kind
        ``identity`` learns to tell people apart, by ArcFace. ``expression`` starts as a copy of the identity network
        and learns that the difference of the two tells task and side of the palsy. ``landmarks`` learns the points.
    faces
        The faces of the study.
    size
        A name in :data:`faceneuro.synthesis.sizes.SIZES`.
    settings
        How it is done.
    identity
        The trained identity network, for ``expression``; it stays as it is.
    key
        Where the settings stand in the configuration, for messages.
    device, threads, progress
        As for :func:`faceneuro.training.loop.train`; the progress is that of steps.

    Raises
    ------
    InputError
        If there is nothing to tell apart, memory runs out, or the loss stops being a number.
    """
    lessons = {"identity": _People, "expression": partial(_Expressions, identity=identity), "landmarks": _Places}
    if kind not in lessons:
        raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
    memory = naming_memory(f"{key}.batch_size", settings.batch_size)
    with reproducible(settings.seed, device, threads), memory:
        lesson = lessons[kind](faces, SIZES[size]).to(device)
        history = _learn(lesson, faces, settings, key, device, progress)
        lesson.eval()
        quality = lesson.quality(faces, np.flatnonzero(faces.role("test")))
    found = {"images": int(faces.role("test").sum()), "people": len(np.unique(faces.person[faces.role("test")]))}
    return Trained(
        lesson.network.cpu().requires_grad_(False),
        [{"network": kind, "step": number, "loss": loss} for number, loss in enumerate(history, 1)],
        [{"network": kind, **row, **found} for row in quality],
    )


def save_extractor(trained: Trained, path: str | os.PathLike) -> None:
    """Write a network as a file for :func:`faceneuro.synthesis.extractors.load_extractor`, with its quality."""
    with replacing(path) as part:
        save_file(trained.network.state_dict(), part, {"quality": json.dumps(trained.quality)})


class _Seen(NamedTuple):
    """Pictures as a network sees them while it learns.

    Attributes
    ----------
    images
        Values in -1..1, shape (batch, 3, pixels, pixels).
    points
        Where the 68 points are now, shape (batch, 68, 2).
    rows
        Of the pictures in the study, shape (batch,).
    mirrored
        Whether each was, shape (batch,).
    """

    images: Tensor
    points: Tensor
    rows: Rows
    mirrored: npt.NDArray[np.bool_]


class _Lesson(nn.Module, ABC):
    """What a network is to learn, and what else is learnt with it.

    Attributes
    ----------
    network
        The extractor.
    """

    network: IR50 | LandmarkNet

    @abstractmethod
    def forward(self, seen: _Seen) -> Tensor:
        """The loss of a batch, shape ()."""

    @abstractmethod
    def quality(self, faces: Faces, rows: Rows) -> list[dict[str, Any]]:
        """How well some pictures are told: metric, value and chance."""

    def outputs(self, compute: Callable[[Tensor], Tensor], faces: Faces, rows: Rows) -> npt.NDArray:
        """What some pictures give, a few at a time."""
        device = next(self.parameters()).device
        with torch.no_grad():
            parts = [
                compute(torch.from_numpy(faces.scaled(rows[start : start + AT_ONCE])).to(device)).float().cpu()
                for start in range(0, len(rows), AT_ONCE)
            ]
        return torch.cat(parts).numpy()


class _People(_Lesson):
    def __init__(self, faces: Faces, size: Size):
        super().__init__()
        people = np.unique(faces.person[faces.role("train")])
        if len(people) < 2:
            raise InputError(
                "config key studies.synthesis.groups: there is one person to learn from, so there is nobody to tell "
                "apart; add people, or give files of trained extractors"
            )
        # Of people that are not learnt from this says nothing.
        self._numbers = torch.from_numpy(np.searchsorted(people, faces.person))
        self.network = build_extractor("identity", size)
        self.centres = nn.Parameter(torch.randn(len(people), size.dim) * 0.01)

    def forward(self, seen: _Seen) -> Tensor:
        cosines = linear(normalize(self.network(seen.images)[0].float()), normalize(self.centres))
        people = self._numbers[seen.rows].to(cosines.device)
        return arcface_loss(cosines, people)

    def quality(self, faces: Faces, rows: Rows) -> list[dict[str, Any]]:
        if len(rows) > COMPARED:
            rows = np.random.default_rng(0).choice(rows, COMPARED, replace=False)
        embedded = self.outputs(lambda images: normalize(self.network(images)[0]), faces, rows)
        one, other = np.triu_indices(len(rows), 1)
        same = faces.person[rows][one] == faces.person[rows][other]
        known = 0 < same.sum() < len(same)
        value = float(roc_auc_score(same, (embedded @ embedded.T)[one, other])) if known else None
        return [{"metric": "verification_auc", "value": value, "chance": 0.5}]


def arcface_loss(cosines: Tensor, people: Tensor) -> Tensor:
    """Cross-entropy in which the angle between a face and its own person counts :data:`MARGIN` more.

    Parameters
    ----------
    cosines
        Between faces and people, shape (batch, people).
    people
        Whose face each is, shape (batch,).
    """
    own = one_hot(people, cosines.shape[1]).bool()
    # At an angle of exactly nothing the arc cosine has no gradient.
    angles = cosines.clamp(-1 + 1e-7, 1 - 1e-7).acos()
    # Beyond half a turn the cosine would rise again.
    harder = (angles + MARGIN).clamp(max=torch.pi).cos()
    return cross_entropy(SCALE * torch.where(own, harder, cosines), people)


class _Expressions(_Lesson):
    def __init__(self, faces: Faces, size: Size, identity: IR50 | None):
        super().__init__()
        if identity is None:
            raise ValueError("the expression network starts from the identity network, so it needs that")
        # What is not stated is a class like any other.
        stated = faces.keys[["task", "side"]].astype(object).where(faces.keys[["task", "side"]].notna(), "")
        shown = list(stated.itertuples(index=False, name=None))
        turned = [(task, OTHER_SIDE.get(side, side)) for task, side in shown]
        learnt = faces.role("train")
        self._classes = sorted(
            {pair for pairs in (shown, turned) for pair, use in zip(pairs, learnt, strict=True) if use}
        )
        if len(self._classes) < 2:
            raise InputError(
                "config key studies.synthesis.tasks: all faces to learn from show one task and no side of a palsy, so "
                "there is no expression to tell apart; add tasks, or give files of trained extractors"
            )
        number = {pair: place for place, pair in enumerate(self._classes)}
        # A class that nobody in the training part shows has no number.
        self._numbers = np.array([[number.get(pair, -1) for pair in pairs] for pairs in (shown, turned)])
        self._tasks = np.array([task for task, _ in shown], dtype=object)
        self.network = copy.deepcopy(identity).requires_grad_(True)
        self.identity = copy.deepcopy(identity).requires_grad_(False)
        self.head = nn.Linear(size.dim, len(self._classes))

    def train(self, mode: bool = True) -> "_Expressions":
        super().train(mode)
        self.identity.eval()
        return self

    def _told(self, images: Tensor) -> Tensor:
        difference = self.network(images)[0] - self.identity(images)[0]
        return self.head(difference).float()

    def forward(self, seen: _Seen) -> Tensor:
        told = self._told(seen.images)
        return cross_entropy(
            told, torch.from_numpy(self._numbers[seen.mirrored.astype(int), seen.rows]).to(told.device)
        )

    def quality(self, faces: Faces, rows: Rows) -> list[dict[str, Any]]:
        probable = self.outputs(lambda images: self._told(images).softmax(1), faces, rows)
        tasks = sorted({task for task, _ in self._classes})
        of_task = np.array([[task == each for each in tasks] for task, _ in self._classes], float)
        told = np.array(tasks, dtype=object)[(probable @ of_task).argmax(1)]
        learnt = np.flatnonzero(faces.role("train"))
        return [
            {"metric": metric, "value": float((guess == truth[rows]).mean()), "chance": _commonest(truth, learnt, rows)}
            for metric, guess, truth in (
                ("accuracy", probable.argmax(1), self._numbers[0]),
                ("task_accuracy", told, self._tasks),
            )
        ]


def _commonest(truth: npt.NDArray, learnt: Rows, rows: Rows) -> float:
    """How often naming the class that is commonest in the training part is right."""
    classes, counts = np.unique(truth[learnt].astype(str), return_counts=True)
    return float((truth[rows].astype(str) == classes[counts.argmax()]).mean())


class _Places(_Lesson):
    def __init__(self, faces: Faces, size: Size):
        super().__init__()
        self.network = build_extractor("landmarks", size)
        learnt = torch.tensor(faces.points[faces.role("train")]).flatten(1)
        self._mean = learnt.mean(0).unflatten(0, (POINTS, 2)).numpy()
        # From where points are on average and by how much they differ; to get there by small steps would take long.
        scale = self.network.head[-1]
        scale.load_state_dict({"weight": learnt.std(0), "bias": learnt.mean(0)}, strict=False)

    def forward(self, seen: _Seen) -> Tensor:
        return l1_loss(self.network(seen.images)[0].float(), seen.points.to(seen.images.device))

    def quality(self, faces: Faces, rows: Rows) -> list[dict[str, Any]]:
        told, truth = self.outputs(lambda images: self.network(images)[0], faces, rows), faces.points[rows]
        errors = {"value": _percent(told, truth), "chance": _percent(self._mean, truth)}
        return [{"metric": "landmark_error", **errors}]


def _percent(told: Floats, truth: Floats) -> float:
    """Mean distance, in percent of that between the outer corners of the eyes."""
    one, other = EYE_OUTER
    unit = np.linalg.norm(truth[:, one] - truth[:, other], axis=1)
    return float(100 * (np.linalg.norm(told - truth, axis=2).mean(1) / unit).mean())


def _learn(lesson: _Lesson, faces: Faces, settings: Settings, key: str, device: str, progress: Progress) -> list[float]:
    """All steps; returns the loss of each."""
    rows = np.flatnonzero(faces.role("train"))
    random = np.random.default_rng(settings.seed)
    precision = partial(torch.autocast, device, torch.bfloat16, enabled=settings.mixed_precision and device == "cuda")
    optimiser = Adam([each for each in lesson.parameters() if each.requires_grad], settings.learning_rate)
    lesson.train()
    losses = []
    for number in progress(range(settings.steps)):
        optimiser.learning_rate = settings.learning_rate * (1 - number / settings.steps)
        batch = random.choice(rows, settings.batch_size, replace=settings.batch_size > len(rows))
        with precision():
            loss = lesson(varied(faces, batch, random, device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise InputError(
                f"config key {key}.learning_rate: the loss of the extractor became {losses[-1]} at step {number + 1}; "
                f"choose less than {settings.learning_rate:g}"
            )
    return losses


def varied(faces: Faces, rows: Rows, random: np.random.Generator, device: str = "cpu") -> _Seen:
    """Some pictures, each mirrored or not, and turned, scaled and moved a little; points go with them.

    What comes into view at an edge is the edge.

    Parameters
    ----------
    faces
        The faces of the study.
    rows
        Which, shape (batch,).
    random
        Of the changes.
    device
        Where the images are to be.
    """
    n = len(rows)
    mirrored = random.random(n) < 0.5
    angle = np.deg2rad(random.uniform(-TURNED, TURNED, n))
    scale = 1 + random.uniform(-SCALED, SCALED, n)
    moved = random.uniform(-MOVED, MOVED, (n, 2, 1))
    # From places in the new picture to places in the old one, both from the middle.
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    way = turn.transpose(2, 0, 1) * np.where(mirrored, -1, 1)[:, None, None] ** [1, 0]
    # torch's unit is half a side.
    places = torch.from_numpy(np.concatenate([way, 2 * moved], axis=2).astype(np.float32)).to(device)
    images = torch.from_numpy(faces.scaled(rows)).to(device)
    grid = affine_grid(places, images.shape, align_corners=False)
    images = grid_sample(images, grid, padding_mode="border", align_corners=False)
    points = faces.points[rows]
    points = np.where(mirrored[:, None, None], points[:, MIRRORED], points) - 0.5
    points = np.linalg.solve(way, points.transpose(0, 2, 1) - moved).transpose(0, 2, 1) + 0.5
    return _Seen(images, torch.from_numpy(points.astype(np.float32)), rows, mirrored)
