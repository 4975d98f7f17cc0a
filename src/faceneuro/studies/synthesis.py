"""Synthetic palsy: faces of people, with the expression and the palsy of others; who is learnt from, who takes part in
the test, and who is paired with whom.

References
----------
Gao and Xia, "CCFExp: Facial Image Synthesis with Cycle Cross-Fusion Diffusion Model for Facial Paralysis Individuals",
arXiv 2409.07271, 2024. Kim et al., "DCFace: Synthetic Face Generation with Dual Condition Diffusion Model", CVPR 2023.
What they leave open is said where it matters.
"""

import csv
import io
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from faceneuro.errors import InputError
from faceneuro.features.crops import decode
from faceneuro.files import replacing
from faceneuro.studies.clips import CLIP, usable_clips
from faceneuro.tables import FACES, KEYS, POINT_COUNT, Row, TableWriter, read_clips, read_table
from faceneuro.training.folds import SUBJECT

log = logging.getLogger(__name__)

LINES = (
    (1, "DCFace, 3 x 3", "dcface_3x3"),
    (2, "DCFace, 5 x 5", "dcface_5x5"),
    (3, "CCFExp without landmarks", "ccfexp_no_landmarks"),
    (4, "CCFExp without cross-fusion", "ccfexp_no_fusion"),
    (5, "CCFExp without cycle diffusion", "ccfexp_no_cycle"),
    (6, "CCFExp", "ccfexp"),
    (None, "Trivial: the identity image", "copy_identity"),
    (None, "Trivial: the style image", "copy_style"),
    (None, "Trivial: the identity image, its weak side warped", "landmark_warp"),
)
"""Lines of the table: the number that the paper gives a row (none beyond it), what is shown, model."""

PUBLISHED_MODEL = "ccfexp"
"""The model that the paper is about."""

LEAST_TESTED = 2
"""Patients in the test part at least: a palsy goes from one to another and back."""

ABOUT = ["group", "task", "severity", "side"]
"""What the manifest says of a face."""

PAIR_COLUMNS = (
    *("identity_subject", "identity_clip", "style_subject", "style_clip"),
    *("identity_cohort", "identity_frame", "style_cohort", "style_frame"),
)
"""Of a table of pairs; the first four are required."""

SHOWN = 10
"""Names in a message."""

Path = str | os.PathLike
Rows = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]


def gather(
    aligned: Sequence[Path],
    manifest: Path | Iterable[Path],
    quality: Path | Iterable[Path],
    images: Path,
    faces: Path,
    *,
    groups: Mapping[str, str | None],
    tasks: Sequence[str] | None,
    pixels: int,
    test_fraction: float,
    seed: int,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Put the faces of the study into one file that can be read at random; in memory are a few images at a time.

    Parameters
    ----------
    aligned
        Shards of :data:`faceneuro.tables.ALIGNED`.
    manifest, quality
        Tables of the cohort; one path or several.
    images
        Will be a numpy file, uint8, shape (n, pixels, pixels, 3), RGB.
    faces
        Will be the table of the same n faces, :data:`faceneuro.tables.FACES`.
    groups
        The manifest's names of the patients (``positive``) and of the people without palsy (``negative``; None if there
        are none).
    tasks
        Tasks to use; none means all.
    pixels
        Height and width; pixels of the aligned faces are averaged.
    test_fraction, seed
        See :func:`split_people`.
    provenance
        What produced the table.

    Raises
    ------
    InputError
        If a group has no clip or none that can be used, a person belongs to both, no face of a group was found, or
        there are too few people.
    """
    # Without healthy people the patients stand in for them: all clips are of one class then.
    both = {"positive": groups["positive"], "negative": groups["negative"] or groups["positive"]}
    clips = usable_clips(
        read_table(manifest), read_table(quality), both, ("negative", "positive"), tasks, study="synthesis"
    )
    found = read_table(aligned, KEYS).merge(clips[[*CLIP, *ABOUT]], on=CLIP)
    for role, group in both.items():
        if not (found["group"] == group).any():
            raise InputError(
                f"config key studies.synthesis.groups.{role}: no frame of {group!r} shows a face with both eyes, nose "
                "and mouth; the quality table says what was found, clip by clip"
            )
    roles = split_people(found, groups["positive"], test_fraction, seed)
    about = {tuple(row[name] for name in CLIP): {name: row[name] for name in ABOUT} for row in clips.to_dict("records")}
    with replacing(images) as part, TableWriter(faces, FACES, provenance) as table:
        store = np.lib.format.open_memmap(part, "w+", np.uint8, (len(found), pixels, pixels, 3))
        number = 0
        for path in aligned:
            for clip, rows in read_clips(path, [*KEYS, "png", "points"]):
                key = tuple(clip[name] for name in CLIP)
                for row in rows if key in about else ():
                    store[number] = resampled(decode(row["png"]), pixels)
                    kept = {name: row[name] for name in (*KEYS, "points")}
                    table.append(kept | about[key] | {"role": roles[key[:2]]})
                    number += 1


def resampled(image: Images, pixels: int) -> Images:
    """A square image at a smaller size: its pixels are averaged.

    Parameters
    ----------
    image
        uint8, shape (side, side, 3).
    pixels
        Height and width of the result, at most those of the image.
    """
    if pixels > image.shape[0]:
        raise ValueError(f"an image of {image.shape[0]} pixels a side has no {pixels}")
    return cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA)


def split_people(faces: pd.DataFrame, positive: str, test_fraction: float, seed: int) -> dict[tuple[str, str], str]:
    """Who is learnt from and who takes part in the test only.

    The share is taken of each group by itself, rounded down (0.12 of the paper's 313 people are its 37), but at least
    two patients and, of the others, one are tested. People with a single image are nobody's identity, since what is
    learnt is to get from one image of a person to another: nothing can be learnt from them, so they are in the test
    part, where a patient's palsy may still be given to others.

    Parameters
    ----------
    faces
        Cohort, subject and group of every image.
    positive
        The group of the patients.
    test_fraction
        Share of the people to be tested.
    seed
        Of the draw.

    Returns
    -------
    ``train`` or ``test`` for every person (cohort, subject).

    Raises
    ------
    InputError
        If there are fewer than three patients with two images each: two to be tested, one to be learnt from.
    """
    people = faces.groupby(SUBJECT).agg(group=("group", "first"), images=("group", "size")).sort_index()
    single = people.index[people["images"] == 1]
    if len(single):
        log.warning(
            "%d people have a single image, so they are no one's identity and are not learnt from: %s",
            len(single),
            ", ".join(subject for _, subject in single),
        )
    random = np.random.default_rng(seed)
    roles = dict.fromkeys(single, "test")
    for group, members in people[people["images"] > 1].groupby("group"):
        least = LEAST_TESTED if group == positive else 1
        tested = min(max(int(test_fraction * len(members)), least), len(members) - 1)
        order = random.permutation(len(members))
        roles |= {members.index[place]: "test" if turn < tested else "train" for turn, place in enumerate(order)}
    several = ((people["group"] == positive) & (people["images"] > 1)).sum()
    if several <= LEAST_TESTED:
        raise InputError(
            f"config key studies.synthesis.groups.positive: {several} people of {positive!r} have two images of their "
            f"face or more; at least {LEAST_TESTED + 1} are needed, two to be tested and one to be learnt from"
        )
    return roles


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces of the study, read at random.

    Attributes
    ----------
    images
        RGB, uint8, shape (n, pixels, pixels, 3), in the file until they are looked at.
    points
        68 points of each as shares of its image, float32, shape (n, 68, 2).
    keys
        The other columns of :data:`faceneuro.tables.FACES`; its index counts from 0.
    """

    images: Images
    points: npt.NDArray[np.float32]
    keys: pd.DataFrame

    @classmethod
    def load(cls, images: Path, faces: Path) -> "Faces":
        """Open what :func:`gather` wrote."""
        table = pq.read_table(faces, use_threads=False).replace_schema_metadata(None)
        points = table.column("points").combine_chunks().flatten().to_numpy().reshape(-1, POINT_COUNT, 2)
        return cls(np.load(images, mmap_mode="r"), points, table.drop_columns("points").to_pandas())

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def person(self) -> Rows:
        """Number of the person in each image, shape (n,); people are numbered in the order of their names."""
        return self.keys.groupby(SUBJECT).ngroup().to_numpy()

    @cached_property
    def several(self) -> npt.NDArray[np.bool_]:
        """Whether there is another image of the same person, shape (n,)."""
        return np.bincount(self.person)[self.person] > 1

    def role(self, name: str) -> npt.NDArray[np.bool_]:
        """Which images are of people who train or test, shape (n,)."""
        return (self.keys["role"] == name).to_numpy()

    def scaled(self, rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Some images as networks see them: float32, -1 to 1, shape (b, 3, pixels, pixels)."""
        chosen = np.asarray(self.images[np.asarray(rows)])
        return chosen.transpose(0, 3, 1, 2).astype(np.float32, order="C") / np.float32(127.5) - np.float32(1)


def pictures(scaled: npt.NDArray[np.floating]) -> Images:
    """What :meth:`Faces.scaled` did, undone, for whatever a network made: uint8, shape (b, pixels, pixels, 3).

    Parameters
    ----------
    scaled
        Shape (b, 3, pixels, pixels); what is not between -1 and 1 is clipped.
    """
    levels = np.rint((np.clip(scaled, -1, 1) + 1) * 127.5)
    return levels.astype(np.uint8).transpose(0, 2, 3, 1)


class TrainingPairs:
    """Which images a generator learns from at each step: one is to be made, another says whose face it is.

    Every image of the training part is to be made once an epoch, in an order shuffled anew. The image for the identity
    is any other of the same person. All of it follows from the seed and the number of the step, so training goes on
    after an interruption as if there had been none.

    Parameters
    ----------
    faces
        The faces of the study.
    seed
        Of the order and of the choice.
    fixed_identity
        Whether the identity always is the person's first image, as in the authors' code, even where it is the very
        image that is to be made; the paper says that different images are used.
    """

    def __init__(self, faces: Faces, seed: int, fixed_identity: bool = False):
        styles = np.flatnonzero(faces.role("train") & faces.several)
        # The images of a person next to each other: where they begin, and how many they are.
        self._styles = styles[np.argsort(faces.person[styles], kind="stable")]
        person = faces.person[self._styles]
        _, first, place, count = np.unique(person, return_index=True, return_inverse=True, return_counts=True)
        self._first, self._count = first[place], count[place]
        self._seed, self._fixed = seed, fixed_identity
        self._epoch: tuple[int, Rows, Rows] | None = None

    def __len__(self) -> int:
        """Images of an epoch."""
        return len(self._styles)

    def batch(self, step: int, size: int) -> tuple[Rows, Rows]:
        """Rows of the identity images and of the images to be made, shape (size,) each.

        Parameters
        ----------
        step
            Counts from 0.
        size
            Of a batch, the same in all steps.
        """
        identity, style = np.empty(size, np.int64), np.empty(size, np.int64)
        for place, number in enumerate(range(step * size, (step + 1) * size)):
            epoch, turn = divmod(number, len(self))
            if self._epoch is None or self._epoch[0] != epoch:
                self._epoch = epoch, *self._shuffled(epoch)
            _, identities, styles = self._epoch
            identity[place], style[place] = identities[turn], styles[turn]
        return identity, style

    def _shuffled(self, epoch: int) -> tuple[Rows, Rows]:
        random = np.random.default_rng([self._seed, epoch])
        order = random.permutation(len(self))
        # So many images further, round the person's own; never as many as there are, so never the same.
        further = random.integers(1, self._count)
        other = np.arange(len(self)) - self._first + further
        identity = self._first if self._fixed else self._first + other % self._count
        return self._styles[identity[order]], self._styles[order]


def pairs(faces: Faces, *, positive: str, per_image: int, seed: int) -> list[Row]:
    """Whom the palsy of each tested image is given to: the pairs of the aligned FID, both ways.

    On the way there, every image of a tested patient is the style, and each of ``per_image`` other people in the test
    part the identity, by any of their images. On the way back, the face made so is the style, and another image of the
    patient the identity. The paper leaves open who the others are, how many there are, and which image of the patient
    is used: here never the very one that should come back, which doing nothing would give.

    Parameters
    ----------
    faces
        The faces of the study.
    positive
        The group of the patients.
    per_image
        Other people that each image is paired with.
    seed
        Of the choice.

    Returns
    -------
    Rows of :data:`faceneuro.tables.PAIRS`.
    """
    random = np.random.default_rng(seed)
    tested = faces.role("test")
    sources = tested & faces.several
    rows = []
    fewest = per_image
    for style in np.flatnonzero(tested & (faces.keys["group"] == positive).to_numpy()):
        person = faces.person[style]
        others = np.unique(faces.person[sources & (faces.person != person)])
        fewest = min(fewest, len(others))
        for other in random.choice(others, min(per_image, len(others)), replace=False):
            identity = random.choice(np.flatnonzero(sources & (faces.person == other)))
            rows.append(_pair(faces, len(rows), identity, style, random))
    if fewest < per_image:
        log.warning(
            "the test part has %d other people with two images, so no image is paired with more (studies.synthesis."
            "pairs.per_image is %d)", fewest, per_image,
        )  # fmt: skip
    return rows


def _pair(faces: Faces, number: int, identity: int, style: int, random: np.random.Generator) -> Row:
    own = np.flatnonzero((faces.person == faces.person[style]) & (np.arange(len(faces)) != style))
    row = {"pair": number, "identity": int(identity), "style": int(style)}
    row["own"] = int(random.choice(own)) if len(own) else None
    row["held_out"] = all(faces.keys.at[place, "role"] == "test" for place in (identity, style))
    for part in ("identity", "style"):
        row |= {f"{part}_{name}": faces.keys.at[row[part], name] for name in KEYS}
    return row


def read_pairs(path: Path, faces: Faces, seed: int) -> list[Row]:
    """Pairs that a user asks for.

    Parameters
    ----------
    path
        A CSV file, a line per face to be made, with the columns identity_subject, identity_clip, style_subject and
        style_clip. Columns identity_frame and style_frame are optional (where missing or empty: the middle one of the
        clip's images), so are identity_cohort and style_cohort.
    faces
        The faces of the study.
    seed
        Of the choice of the patient's image for the way back.

    Returns
    -------
    Rows of :data:`faceneuro.tables.PAIRS`, in the order of the file.

    Raises
    ------
    InputError
        If the file is missing or no table, lacks a column or has no line, or a line names no face of the study.
    """
    random = np.random.default_rng(seed)
    found = faces.keys[list(KEYS)].astype(str).assign(row=np.arange(len(faces)))
    rows = []
    for line, wanted in _lines(path):
        chosen = [_face(found, wanted, part, f"{path}, line {line}") for part in ("identity", "style")]
        rows.append(_pair(faces, len(rows), *chosen, random))
    if not rows:
        raise InputError(f"{path} lists no pairs; add a line for each face to be made below the header")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column, of each line that is not empty."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"config key studies.synthesis.pairs.table: {path} cannot be read as UTF-8 text ({error}); give a CSV file"
        ) from None
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    header = [name.strip() for name in next(reader, [])]
    for name in PAIR_COLUMNS[:4]:
        if name not in header:
            raise InputError(f"{path}, line 1: the column {name!r} is missing; add it (it is required)")
    for name in header:
        if name not in PAIR_COLUMNS or header.count(name) > 1:
            problem = "is there twice" if name in PAIR_COLUMNS else "is unknown"
            raise InputError(f"{path}, line 1: the column {name!r} {problem}; there are {', '.join(PAIR_COLUMNS)}")
    for cells in reader:
        if len(cells) > len(header):
            raise InputError(f"{path}, line {reader.line_num} has {len(cells)} cells, the header {len(header)}")
        if any(cell.strip() for cell in cells):
            yield reader.line_num, dict(zip(header, cells, strict=False))


def _face(found: pd.DataFrame, wanted: Mapping[str, str], part: str, where: str) -> int:
    """Row of the face that a line names; of a clip's images the middle one, if it names none."""
    for name in KEYS:
        value = wanted.get(f"{part}_{name}", "")
        if value.strip():
            left = found[found[name] == value]
            if left.empty:
                known = ", ".join(repr(each) for each in found[name].unique()[:SHOWN])
                raise InputError(f"{where}: {part}_{name} {value!r} is no face of the study; there are {known}, ...")
            found = left
    if len(found[CLIP].drop_duplicates()) > 1:
        raise InputError(f"{where}: the {part} is not one clip; fill in subject and clip, and the cohort if need be")
    return int(found["row"].iloc[len(found) // 2])
