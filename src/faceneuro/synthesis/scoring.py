"""Every score of a row of the synthesis study, whether a model made its pictures or hardly any work did.

All rows go the same way. The pictures of all pairs are looked at by the pipeline's own networks, compared one by one
with identity, style and, on virtual patients, the exact target, and those of the way back with the real ones as a set.
A picture is in memory with its batch only; of all of them there are points and embeddings.

One landmark network finds the points in real and generated pictures alike: MediaPipe, which the 68 points come from,
sees recordings, not pictures of 32 pixels, and with two detectors the habits of one would count as errors of a row.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from faceneuro.features.crops import decode
from faceneuro.files import replacing
from faceneuro.studies.synthesis import Faces, resampled
from faceneuro.synthesis import TRIVIAL
from faceneuro.synthesis.dataset import folder_of
from faceneuro.synthesis.extractors import IR50, LandmarkNet
from faceneuro.synthesis.metrics import OwnDistances, Vectors, VggDistances, image_scores, set_score
from faceneuro.synthesis.transfer import POINTS, Grader, Pairs, neutrals, transfer_scores
from faceneuro.synthesis.trivial import picture, with_asymmetry
from faceneuro.tables import Row, read_rows, read_table

log = logging.getLogger(__name__)

NEUTRAL = ("rest", "neutral")
"""Tasks that show a face at rest, by which movement is measured."""

HEALTHY_GRADE = 1.0
"""Of House and Brackmann's scale, which is that of virtual patients."""

USEFUL = 0.75
"""Share of the error of guessing that a reader of grades may have. By MediaPipe's points in recordings it has half."""

RGB = npt.NDArray[np.uint8]
Draw = Callable[[int], RGB]
"""Gives the picture of a pair by its place in the table of pairs."""


class Networks(NamedTuple):
    """Those that look at pictures, in evaluation mode, on one device, and what a table calls each."""

    identity: IR50
    landmarks: LandmarkNet
    device: str = "cpu"
    recognised_by: str = "identity network"
    found_by: str = "landmark network"


class Seen(NamedTuple):
    """What networks make of n pictures.

    Attributes
    ----------
    points
        As shares of the picture, float32, shape (n, 68, 2).
    embeddings
        float32, shape (n, dim).
    """

    points: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32]


class Drawn(NamedTuple):
    """The pictures of a row: of every pair, and of those that have a way back what came back."""

    there: Draw
    back: Draw


@dataclass(frozen=True)
class Trial:
    """What every row is scored on.

    Attributes
    ----------
    faces
        Of the study.
    pairs
        Rows of :data:`faceneuro.tables.PAIRS`; their numbers are their places.
    seen
        What the networks make of all faces.
    positive
        The group of the patients.
    graded
        Whether grades are House and Brackmann's, as those of virtual patients are: people without palsy have one, too.
    targets
        Path of the exact targets, where there are any, and the points in those, shape (pairs, 68, 2), NaN where none
        was photographed.
    """

    faces: Faces
    pairs: pd.DataFrame
    seen: Seen
    positive: str
    graded: bool = False
    targets: str | os.PathLike | None = None
    target_points: npt.NDArray[np.float32] | None = None

    @property
    def grades(self) -> npt.NDArray[np.float64]:
        """Of each face, shape (n,), NaN where unknown."""
        grades = self.faces.keys["severity"].to_numpy(np.float64, copy=True)
        if self.graded:
            grades[(self.faces.keys["group"] != self.positive).to_numpy()] = HEALTHY_GRADE
        return grades


def scaled(images: Sequence[RGB]) -> Tensor:
    """Pictures as networks see them, shape (b, 3, pixels, pixels), -1 to 1."""
    batch = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), np.float32)
    return torch.from_numpy(batch / np.float32(127.5) - np.float32(1))


class Batches:
    """Pictures of some places, a few at a time, made when they are asked for; how many batches there are is known."""

    def __init__(self, draw: Draw, places: Sequence[int], size: int):
        self._draw, self._places, self._size = draw, places, size

    def __len__(self) -> int:
        return -(-len(self._places) // self._size)

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(0, len(self._places), self._size):
            yield scaled([self._draw(place) for place in self._places[start : start + self._size]])


@torch.no_grad()
def see(batches: Iterable[Tensor], networks: Networks) -> Seen:
    """Points and embeddings of pictures.

    Parameters
    ----------
    batches
        Values in -1..1, shape (b, 3, pixels, pixels).
    networks
        What looks at them.
    """
    points, embeddings = [np.empty((0, POINTS, 2), np.float32)], []
    for images in batches:
        images = images.to(networks.device)
        points.append(networks.landmarks(images)[0].float().cpu().numpy())
        embeddings.append(networks.identity(images)[0].float().cpu().numpy())
    return Seen(np.concatenate(points), np.concatenate(embeddings) if embeddings else np.empty((0, 0), np.float32))


def see_study(
    faces: Faces,
    pairs: int,
    targets: str | os.PathLike | None,
    networks: Networks,
    path: str | os.PathLike,
    batch_size: int,
    progress: Callable[[Iterable], Iterable] = iter,
) -> None:
    """Look at all faces, and at the exact targets of the pairs, and keep what is seen.

    Parameters
    ----------
    faces
        The faces of the study.
    pairs
        How many there are.
    targets
        Rows of :func:`faceneuro.tables.targets_schema`; none if nobody knows.
    networks
        What looks at them.
    path
        Will be a .safetensors file, for :func:`load_seen`.
    batch_size, progress
        Pictures at a time, and the progress of such batches.
    """
    seen = see(progress(Batches(faces.images.__getitem__, range(len(faces)), batch_size)), networks)
    kept = {"points": seen.points, "embeddings": seen.embeddings}
    if targets is not None:
        kept["target_points"] = np.full((pairs, POINTS, 2), np.nan, np.float32)
        for places, images in _targets(targets, faces, batch_size):
            kept["target_points"][places] = see([images], networks).points
    with replacing(path) as part:
        save_file(kept, part)


def load_seen(path: str | os.PathLike) -> tuple[Seen, npt.NDArray[np.float32] | None]:
    """What :func:`see_study` kept of the faces, and the points in the targets."""
    kept = load_file(path)
    return Seen(kept["points"], kept["embeddings"]), kept.get("target_points")


def _targets(path: str | os.PathLike, faces: Faces, batch_size: int) -> Iterator[tuple[list[int], Tensor]]:
    """Exact targets as the study's own pictures are, in the order of their file, and the pairs that they are of."""
    pixels = faces.images.shape[1]
    places, images = [], []
    for row in read_rows(path, ["pair", "png"]):
        places.append(row["pair"])
        images.append(resampled(decode(row["png"]), pixels))
        if len(places) == batch_size:
            yield places, scaled(images)
            places, images = [], []
    if places:
        yield places, scaled(images)


def of_model(there: str | os.PathLike, back: str | os.PathLike) -> Drawn:
    """What a model made.

    Parameters
    ----------
    there, back
        Tables of :data:`faceneuro.tables.SYNTHETIC`; the pictures are in folders of the same names.
    """
    return Drawn(*map(_files, (there, back)))


def _files(index: str | os.PathLike) -> Draw:
    folder, table = folder_of(index), read_table(index, ["pair", "file"])
    files = dict(zip(table["pair"], table["file"], strict=True))
    return lambda place: decode((folder / files[place]).read_bytes())


def of_trivial(row: str, faces: Faces, pairs: pd.DataFrame) -> Drawn:
    """What a trivial row makes, both ways; on the way back the points are where the way there has put them.

    Parameters
    ----------
    row
        A name of :data:`faceneuro.synthesis.transfer.TRIVIAL`.
    faces, pairs
        Of the study. The points are those that came with the faces, MediaPipe's.
    """
    rows = pairs[["identity", "style", "own"]].to_dict("records")
    sides = faces.keys["side"]

    def there(place: int) -> RGB:
        pair = rows[place]
        pictured = (np.asarray(faces.images[pair[part]]) for part in ("identity", "style"))
        return picture(row, *pictured, *(faces.points[pair[part]] for part in ("identity", "style")), _side(pair))

    def back(place: int) -> RGB:
        pair = rows[place]
        own = int(pair["own"])
        identity, style = (faces.points[pair[part]] for part in ("identity", "style"))
        moved = {"copy_identity": identity, "copy_style": style}.get(row)
        if moved is None:
            moved = with_asymmetry(identity, style, _side(pair))
        return picture(row, np.asarray(faces.images[own]), there(place), faces.points[own], moved, _side(pair))

    def _side(pair: Mapping[str, int]) -> str | None:
        return sides[pair["style"]]

    return Drawn(there, back)


def transfer_pairs(trial: Trial) -> Pairs:
    """What is known of the pairs, for the measures that copying cannot win."""
    keys, points = trial.faces.keys, trial.seen.points
    identity, style = (trial.pairs[part].to_numpy() for part in ("identity", "style"))
    at_rest = neutrals(keys, points, NEUTRAL)
    return Pairs(
        identity=points[identity],
        style=points[style],
        side=keys["side"].to_numpy()[style],
        identity_embedding=trial.seen.embeddings[identity],
        identity_neutral=at_rest[identity],
        style_neutral=at_rest[style],
        task=keys["task"].to_numpy()[style],
        grade=trial.grades[style],
        target=trial.target_points,
    )


def grader_of(trial: Trial) -> Grader | None:
    """What reads a grade from a face, fitted on the people that are learnt from.

    Returns
    -------
    None if there are no two grades, or if on real faces of the patients that are tested the reader's error is more than
    :data:`USEFUL` of that of naming the mean: by what such a reader says, noise can win against faces.
    """
    learnt, tasks, grades = trial.faces.role("train"), trial.faces.keys["task"].to_numpy(), trial.grades
    try:
        grader = Grader(trial.seen.points[learnt], tasks[learnt], grades[learnt])
    except ValueError:
        return None
    tested = ~learnt & np.isfinite(grades) & (trial.faces.keys["group"] == trial.positive).to_numpy()
    read = np.abs(grader.read(trial.seen.points[tested], tasks[tested]) - grades[tested])
    guessed = np.abs(np.nanmean(grades[learnt]) - grades[tested])
    if not np.nanmean(read) <= USEFUL * guessed.mean():
        log.warning(
            "grades are not scored: read from real faces by their landmarks they are off by %.2f, and the mean grade "
            "by %.2f; the landmark network needs more people, or more steps (studies.synthesis.extractor_training)",
            np.nanmean(read),
            guessed.mean(),
        )
        return None
    return grader


def score(
    row: str,
    drawn: Drawn,
    trial: Trial,
    networks: Networks,
    distances: VggDistances | OwnDistances,
    *,
    grader: Grader | None,
    batch_size: int,
) -> Iterator[Row]:
    """Scores of every pair of a row.

    Parameters
    ----------
    row
        Its name.
    drawn
        Its pictures.
    trial
        What it is scored on.
    networks, distances
        What looks at pictures, and what compares them.
    grader
        From :func:`grader_of`.
    batch_size
        Pictures at a time.

    Yields
    ------
    Rows of :data:`faceneuro.tables.SYNTHESIS_SCORES`.
    """
    everything = range(len(trial.pairs))
    identity, style = (trial.pairs[part].to_numpy() for part in ("identity", "style"))

    def with_sources() -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        for start, images in zip(everything[::batch_size], Batches(drawn.there, everything, batch_size), strict=True):
            some = slice(start, start + batch_size)
            beside = {"identity": identity[some], "style": style[some]}
            yield images, {name: torch.from_numpy(trial.faces.scaled(rows)) for name, rows in beside.items()}

    yield from image_scores(row, with_sources(), distances, networks.device)
    if trial.targets is not None:
        order: list[int] = []

        def with_targets() -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
            for places, targets in _targets(trial.targets, trial.faces, batch_size):
                order.extend(places)
                yield scaled([drawn.there(place) for place in places]), {"target": targets}

        # Targets are in an order of their own.
        for each in image_scores(row, with_targets(), distances, networks.device):
            yield each | {"pair": order[each["pair"]]}
    found = see(Batches(drawn.there, everything, batch_size), networks)
    scores = transfer_scores(
        row,
        transfer_pairs(trial),
        found.points,
        found.embeddings,
        found_by=networks.found_by,
        recognised_by=networks.recognised_by,
        grader=grader,
    )
    yield from scores.to_dict("records")


def score_set(
    row: str, drawn: Drawn, trial: Trial, vectors: Vectors, *, batch_size: int, device: str = "cpu", seed: int = 0
) -> Row | None:
    """How far the pictures that came back are from the real ones of the same people in the same expressions.

    Parameters
    ----------
    row, drawn, trial, batch_size
        As for :func:`score`.
    vectors
        What compares sets.
    device, seed
        As for :func:`faceneuro.synthesis.metrics.set_score`.

    Returns
    -------
    See :func:`faceneuro.synthesis.metrics.set_score`; none where fewer than two pictures come back.
    """
    returned = np.flatnonzero(trial.pairs["own"].notna())
    real = np.unique(trial.pairs["style"].to_numpy()[returned])
    count = min(len(returned), len(real))
    if count < 2:
        return None
    made = Batches(drawn.back, returned, batch_size)
    shown = Batches(lambda place: np.asarray(trial.faces.images[place]), real, batch_size)
    return set_score(row, made, shown, vectors, count, device, seed)


def pictures_of_row(
    row: str, faces: Faces, pairs: pd.DataFrame, there: str | None = None, back: str | None = None
) -> Drawn:
    """The pictures of any row, by its name; the paths are those of a model's tables."""
    return of_trivial(row, faces, pairs) if row in TRIVIAL else of_model(there, back)


def called(kind: str, own: str | None) -> str:
    """How a table calls a network: trained by this pipeline, or read from a file of the user's."""
    return f"{kind} network, {'trained here' if own is None else Path(own).name}"
