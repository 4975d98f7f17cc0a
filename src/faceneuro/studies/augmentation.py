"""Does synthetic palsy help to detect real palsy? Faces with a palsy that is not theirs, among those learnt from.

The image network of the palsy study is trained on its own training part and on some pictures of every person in it, as
if they had palsy: made by a generator, or warped. All of these count as palsy, whoever is seen in them. Nobody who is
tested may have had a part in that: neither as somebody whom the generator learnt from, nor as a face that is given a
palsy, nor as a palsy that is given. So the generator's people are others than those of the palsy study, and of the
pictures a fold uses those of its training part alone.

A generator sees a face aligned and small, the palsy study as a crop of the recording. What is made is put back into the
crop, in the place of the face that it was made from.

References
----------
"CCFExp: Facial Image Synthesis with Cycle Cross-Fusion Diffusion Model for Facial Paralysis Individuals", arXiv
2409.07271: its pictures are to serve the training of detectors, which it does not try.
"""

import logging
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from faceneuro.cohorts.virtual.patients import enrol
from faceneuro.errors import InputError
from faceneuro.features.alignment import SIZE, carry
from faceneuro.features.crops import decode, views
from faceneuro.files import replacing
from faceneuro.studies.pictures import VIEW, box_of
from faceneuro.studies.synthesis import ABOUT, Faces, resampled
from faceneuro.synthesis.trivial import landmark_warp
from faceneuro.tables import FACES, KEYS, PAIRS, Row, TableWriter, read_rows, write_table
from faceneuro.training.folds import SUBJECT, Roles, roles_of

if TYPE_CHECKING:
    from faceneuro.training.activations import Activations
    from faceneuro.training.joined import Joined

log = logging.getLogger(__name__)

MODEL = "rgb_mixer"
"""Of the palsy study: the paper's network on pictures of faces."""

NONE, GENERATED, WARP = "none", "generated", "warp"
"""What is added to the training part: nothing, generated pictures, warped ones."""

SOFT = 0.08
"""Share of an aligned face over which, from its border inwards, what is put back fades in."""

CONDITIONS = pa.schema([*PAIRS, ("turn", pa.int32()), ("crop_table", pa.int16()), ("crop_row", pa.int32())])
"""One row per picture to make, in the order of the crops. ``turn`` counts the pictures of an identity from 0, so that
its first k are those below k; ``crop_table`` and ``crop_row`` are those of the identity's image in the palsy study."""

File = str | os.PathLike
RGB = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Person = tuple[str, str]
"""Cohort and subject."""


class Arm(NamedTuple):
    """What a network is trained with: ``kind`` is added, ``count`` pictures per person of the training part."""

    kind: str
    count: int

    @property
    def name(self) -> str:
        """As in tables and paths."""
        return self.kind if self.kind == NONE else f"{self.kind}_{self.count}"


def arms(counts: Sequence[int]) -> list[Arm]:
    """Nothing, and by every count generated and warped pictures."""
    return [Arm(NONE, 0), *(Arm(kind, count) for kind in (GENERATED, WARP) for count in sorted(counts))]


def arm_of(name: str) -> Arm:
    """The arm of a name."""
    kind, _, count = name.partition("_")
    return Arm(kind, int(count or 0))


def same_people(cohorts: Mapping[str, Mapping[str, Any]]) -> dict[Person, Hashable]:
    """Who stands behind the names of virtual patients: cohorts with the same seed have the same people.

    Parameters
    ----------
    cohorts
        Blocks of the configuration by name.
    """
    return {
        (name, patient.subject): patient.seed
        for name, settings in cohorts.items()
        if settings["kind"] == "virtual"
        for patient in enrol(settings)
    }


def check_apart(tested: pd.DataFrame, faces: pd.DataFrame, people: Mapping[Person, Hashable] | None = None) -> None:
    """Refuse to test people whom the generator has learnt from.

    Parameters
    ----------
    tested
        Cohort and subject of everybody who is tested, in whatever fold; any number of rows each.
    faces
        Columns of :data:`faceneuro.tables.FACES`, of the generator's study.
    people
        From :func:`same_people`; whoever is not named there is only themselves.

    Raises
    ------
    InputError
        If there is such a person.
    """
    people = people or {}
    learnt = {people.get(person, person): person for person in _people(faces[faces["role"] == "train"])}
    for person in _people(tested):
        other = learnt.get(people.get(person, person))
        if other is None:
            continue
        twin = other != person
        alias = f", who is {person[1]!r} of {person[0]!r} (cohorts with the same seed have the same people)"
        raise InputError(
            f"config key studies.synthesis.cohort: the generator learns from {other[1]!r} of {other[0]!r}"
            f"{alias if twin else ''}, whom the palsy study tests, so nobody could tell whether synthetic palsy helps; "
            f"{'give one of the cohorts another seed' if twin else 'let it learn from a cohort of other people'}"
        )


def _people(table: pd.DataFrame) -> list[Person]:
    return sorted(set(table[SUBJECT].itertuples(index=False, name=None)))


def plan(
    samples: pd.DataFrame,
    aligned: pd.DataFrame,
    faces: Faces,
    *,
    positive: str,
    per_identity: int,
    seed: int,
    people: Mapping[Person, Hashable] | None = None,
) -> pd.DataFrame:
    """Who is to be given whose palsy.

    Everybody in the palsy study is, patients too, as often as any: in each fold the training part is used. The palsy is
    that of a patient whom the generator has learnt from, doing the same task where there is a picture of that. Images
    and patients take turns, in an order that the seed gives.

    Parameters
    ----------
    samples
        Data frame of the palsy study's samples.
    aligned
        Keys of the aligned faces of its cohort. A sample without one is left out.
    faces
        The generator's study.
    positive
        The group of its patients.
    per_identity
        Pictures of each person.
    seed
        Of the order.
    people
        From :func:`same_people`.

    Returns
    -------
    One row per picture, in the order of the crops: the keys, ``task``, ``crop_table`` and ``crop_row`` of the image
    that shows whose face it is, ``style`` (row of ``faces``) and ``turn``.

    Raises
    ------
    InputError
        If the generator has learnt from anybody in the palsy study, all of whom it tests, or from no patient, or nobody
        has an aligned face.
    """
    check_apart(samples, faces.keys, people)
    random = np.random.default_rng(seed)
    seen = samples.merge(aligned[list(KEYS)], on=list(KEYS))
    if seen.empty:
        raise InputError(
            "config key studies.synthesis.augmentation: no face crop of the palsy study has an aligned face; the log "
            "of align_faces says why"
        )
    if lost := sorted(set(_people(samples)) - set(_people(seen))):
        log.warning("no aligned face, so no synthetic picture: %s", ", ".join(subject for _, subject in lost))
    patients = faces.role("train") & (faces.keys["group"] == positive).to_numpy()
    if not patients.any():
        raise InputError(
            f"config key studies.synthesis.groups.positive: the generator has learnt from nobody of {positive!r}"
        )
    styles = faces.keys.loc[patients, "task"]
    rows = []
    for _, images in seen.groupby(SUBJECT):
        takers = cycle(random.permutation(len(images)))
        givers = {}
        for turn in range(per_identity):
            image = images.iloc[next(takers)]
            if image["task"] not in givers:
                same = styles.index[styles == image["task"]]
                givers[image["task"]] = cycle(random.permutation(same if len(same) else styles.index))
            about = {name: image[name] for name in (*KEYS, "task", "crop_table", "crop_row")}
            rows.append(about | {"style": next(givers[image["task"]]), "turn": turn})
    return pd.DataFrame(rows).sort_values(["crop_table", "crop_row", "turn"], ignore_index=True)


def gather_conditions(
    planned: pd.DataFrame,
    samples: pd.DataFrame,
    aligned: Sequence[File],
    faces: Faces,
    images: File,
    table: File,
    pairs: File,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write what a generator needs to make the planned pictures, as the synthesis study's own faces and pairs are.

    In memory are the plan and a few images.

    Parameters
    ----------
    planned
        From :func:`plan`.
    samples
        Data frame of the palsy study's samples.
    aligned
        Shards of the aligned faces of its cohort, in the order of the crops.
    faces
        The generator's study.
    images, table
        Will be the faces, see :func:`faceneuro.studies.synthesis.gather`: first those that are given a palsy, then
        those whose palsy it is.
    pairs
        Will be the table of :data:`CONDITIONS`.
    provenance
        What produced the tables.
    """
    about = samples.set_index(list(KEYS))[ABOUT]
    takers = planned.drop_duplicates(list(KEYS))
    givers = np.unique(planned["style"])
    pixels = faces.images.shape[1]
    place: dict[Any, int] = {}
    with replacing(images) as part, TableWriter(table, FACES, provenance) as rows:
        store = np.lib.format.open_memmap(part, "w+", np.uint8, (len(takers) + len(givers), pixels, pixels, 3))
        for key, face in _of_shards(takers, aligned, ["png", "points"]):
            store[len(place)] = resampled(decode(face["png"]), pixels)
            told = {name: face[name] for name in (*KEYS, "points")} | about.loc[key].to_dict()
            rows.append(_row(told | {"role": "test"}))
            place[key] = len(place)
        for giver in givers:
            store[len(place)] = faces.images[giver]
            rows.append(_row(faces.keys.loc[giver].to_dict() | {"points": faces.points[giver]}))
            place[giver] = len(place)
    conditions = []
    for number, row in enumerate(planned.to_dict("records")):
        identity, giver = tuple(row[name] for name in KEYS), row["style"]
        told = {"pair": number, "identity": place[identity], "style": place[giver], "held_out": False}
        told |= {f"identity_{name}": row[name] for name in KEYS}
        told |= {f"style_{name}": faces.keys.at[giver, name] for name in KEYS}
        conditions.append(told | {name: row[name] for name in ("turn", "crop_table", "crop_row")})
    write_table(conditions, pairs, CONDITIONS, provenance)


def _row(values: Row) -> Row:
    """A row in which nothing is told by not being a number."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values.items()}


def _of_shards(
    wanted: pd.DataFrame, shards: Sequence[File], columns: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], Row]]:
    """Keys and columns of the wanted images, whose ``crop_table`` is their shard, in the order of the shards."""
    for number, rows in wanted.groupby("crop_table"):
        left = set(rows[list(KEYS)].itertuples(index=False, name=None))
        for row in read_rows(shards[number], [*KEYS, *columns]):
            key = tuple(row[name] for name in KEYS)
            if key in left:
                left.discard(key)
                yield key, row
        if left:
            raise ValueError(f"{shards[number]} lacks {len(left)} of the images that the plan was made of")


def chosen(
    conditions: pd.DataFrame,
    samples: pd.DataFrame,
    roles: Roles,
    count: int,
    people: Mapping[Person, Hashable] | None = None,
) -> Mask:
    """Which pictures enter the training part of a fold: the first of everybody who trains in it.

    Parameters
    ----------
    conditions
        Rows of :data:`CONDITIONS`.
    samples, roles
        Data frame of the palsy study's samples, and the role of each in the fold.
    count
        Pictures per person.
    people
        From :func:`same_people`.

    Returns
    -------
    Shape (len(conditions),).

    Raises
    ------
    InputError
        If the protocol tests people whom it trains on, or the palsy of somebody who is tested would be given.
    """
    people = people or {}
    part = samples[SUBJECT].assign(role=roles)[roles != "unused"].drop_duplicates()
    if part.duplicated(SUBJECT).any():
        raise InputError(
            "config key studies.synthesis.augmentation.protocol: it trains on and tests pictures of the same people, "
            "whose synthetic ones would give the tested ones away; choose one that holds out whole people"
        )
    role = {tuple(person): role for *person, role in part.itertuples(index=False, name=None)}
    takers, givers = (
        list(conditions[[f"{name}_{key}" for key in SUBJECT]].itertuples(index=False, name=None))
        for name in ("identity", "style")
    )
    mask = np.array([role.get(person) == "train" for person in takers], bool) & (conditions["turn"] < count).to_numpy()
    tested = {people.get(person, person) for person, part in role.items() if part == "test"}
    for used, taker, giver in zip(mask, takers, givers, strict=True):
        for person in (taker, giver) if used else ():
            if people.get(person, person) in tested:
                raise InputError(
                    f"config key studies.synthesis.augmentation: {person[1]!r} of {person[0]!r} is tested, and would "
                    "have a part in the synthetic pictures that are learnt from; let the generator learn from other "
                    "people (studies.synthesis.cohort)"
                )
    return mask


def added(
    conditions: pd.DataFrame, samples: pd.DataFrame, folds: pd.DataFrame, counts: Iterable[int]
) -> dict[int, tuple[int, int]]:
    """By count: the least and the most pictures that a fold is given."""
    numbers = folds["fold"].unique()
    roles = [roles_of(folds, fold, samples) for fold in numbers]
    sizes = {count: [int(chosen(conditions, samples, each, count).sum()) for each in roles] for count in counts}
    return {count: (min(each), max(each)) for count, each in sizes.items()}


def enlarged(
    real: "Activations", made: "Activations", positive: Mask, roles: Roles, mask: Mask
) -> tuple["Joined", Mask, Roles]:
    """The samples of a fold with the pictures that are added to its training part, behind the real ones.

    Parameters
    ----------
    real, made
        What the frozen part of the network makes of the samples, and of all synthetic pictures.
    positive, roles
        Whether a sample is of a patient, and its role; shape (n,) each.
    mask
        From :func:`chosen`.

    Returns
    -------
    Activations, labels and roles, of n samples and as many pictures as are chosen.
    """
    from faceneuro.training.joined import Joined

    more = int(mask.sum())
    labels = np.concatenate([positive, np.ones(more, bool)])
    return Joined(real, made[mask]), labels, np.concatenate([roles, np.full(more, "train")])


Make = Callable[[Row, Row], RGB]
"""Makes a picture of an aligned face: from a row of :data:`CONDITIONS` and of :data:`faceneuro.tables.ALIGNED`."""


def generated(folder: File, index: pd.DataFrame) -> Make:
    """Reads what the generator has made.

    Parameters
    ----------
    folder
        Where the pictures are.
    index
        ``pair`` and ``file`` (its name in the folder) of each.
    """
    files = dict(zip(index["pair"], index["file"], strict=True))
    return lambda condition, _: decode(Path(folder, files[condition["pair"]]).read_bytes())


def warped(faces: Faces) -> Make:
    """Warps the identity's own face to the asymmetry of the style's, see :mod:`faceneuro.synthesis.trivial`.

    Parameters
    ----------
    faces
        What :func:`gather_conditions` wrote.
    """

    def make(condition: Row, face: Row) -> RGB:
        points, style = np.asarray(face["points"]).reshape(-1, 2), condition["style"]
        return landmark_warp(decode(face["png"]), points, faces.points[style], faces.keys.at[style, "side"])

    return make


def pictures_of(
    conditions: pd.DataFrame, aligned: Sequence[File], crops: Sequence[File], make: Make, *, count: int, gray: bool
) -> Iterator[npt.NDArray[np.float32]]:
    """The synthetic pictures as the image network sees them, in the order of the conditions.

    Memory holds an image at a time, and the numbers of the conditions.

    Parameters
    ----------
    conditions
        Rows of :data:`CONDITIONS`.
    aligned, crops
        Shards of the palsy study's cohort, in the same order.
    make
        From :func:`generated` or :func:`warped`.
    count, gray
        As for :func:`faceneuro.studies.pictures.images_of`.

    Yields
    ------
    float32, shape (count, 3, 224, 224), 0 to 1.
    """
    identity = [f"identity_{name}" for name in KEYS]
    wanted = conditions.drop_duplicates(identity).rename(columns=dict(zip(identity, KEYS, strict=True)))
    of_identity = dict(iter(conditions.groupby(identity, sort=False)))
    box = ["left", "top", "right", "bottom"]
    faces = _of_shards(wanted, aligned, ["png", "matrix", "points"])
    for (key, face), (same, crop) in zip(faces, _of_shards(wanted, crops, ["png", *box]), strict=True):
        if key != same:
            raise ValueError("the shards of aligned faces and of crops have their clips in different orders")
        background = decode(crop["png"])
        for condition in of_identity[key].to_dict("records"):
            picture = put_back(make(condition, face), face["matrix"], background, box_of(crop))
            yield views(picture, count, VIEW, gray)


def put_back(face: RGB, matrix: npt.ArrayLike, crop: RGB, box: Sequence[float]) -> RGB:
    """A face in the place that it was aligned from, in a crop of the frame; around it the crop stays.

    Parameters
    ----------
    face
        An aligned face, uint8, shape (side, side, 3), of any size.
    matrix
        From pixels of the frame to those of an aligned face of 112 pixels, see
        :func:`faceneuro.features.alignment.carry`.
    crop
        uint8, shape (height, width, 3).
    box
        Its left, top, right and bottom edge in pixels of the frame.

    Returns
    -------
    uint8, shaped as the crop.
    """
    height, width = crop.shape[:2]
    left, top, right, bottom = box
    # OpenCV counts from the centre of the first pixel.
    x, y = np.meshgrid(
        left + (np.arange(width) + 0.5) * (right - left) / width,
        top + (np.arange(height) + 0.5) * (bottom - top) / height,
    )
    share = carry(matrix, np.stack([x, y], axis=-1)) / SIZE
    across, down = np.moveaxis((share * face.shape[0] - 0.5).astype(np.float32), -1, 0)
    # A crop shows less than an aligned face, in more pixels.
    found = cv2.remap(face, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    inside = np.clip(np.minimum(share, 1 - share).min(axis=-1, keepdims=True) / SOFT, 0, 1)
    return np.rint(inside * found + (1 - inside) * crop).astype(np.uint8)
