"""What a backbone learns seven expressions from, before it sees a patient; and how well it has learnt them.

Either the recordings of a cohort, whose people are known, so that whole people can be held out; or a folder of images,
as the public collections come, of which nobody says who is in them.

References
----------
Li, Deng, Du, "Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild",
CVPR 2017 (RAF-DB). Mollahosseini, Hasani, Mahoor, "AffectNet: A Database for Facial Expression, Valence, and Arousal
Computing in the Wild", IEEE Transactions on Affective Computing 2019. The orders of their expressions are those of the
collections' own descriptions.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.errors import InputError
from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.features.crops import views
from faceneuro.studies.clips import CLIP
from faceneuro.studies.pictures import images_of, strongest_images
from faceneuro.tables import KEYS, read_table
from faceneuro.training.folds import SUBJECT

log = logging.getLogger(__name__)

EMOTIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""The classes, in the order of a classifier's outputs."""

ALIASES = {
    "neutral": ("neutral", "neutrality"),
    "anger": ("anger", "angry"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "afraid", "fearful", "scared"),
    "happiness": ("happiness", "happy", "joy", "smile"),
    "sadness": ("sadness", "sad"),
    "surprise": ("surprise", "surprised"),
}
"""What tasks and folders of each class may be called, in any mixture of capitals."""

CONTEMPT = "contempt"
"""An eighth expression, which AffectNet has and the paper does not."""

RAF_DB = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
AFFECTNET = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", CONTEMPT)
"""What numbered folders hold. RAF-DB counts from 1, AffectNet from 0."""

SPLITS = {"train": "train", "training": "train", "test": "test", "val": "test", "valid": "test", "validation": "test"}
"""Folders by which a collection says itself what is to be tested on."""

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

JUNK = ("thumbs.db", "desktop.ini")
"""What file managers leave behind, beside whatever begins with a dot."""

SHOWN = 5
"""Names in a warning; the log has all."""

COHORT_KEY, FOLDER_KEY = (f"studies.parkinson.pretraining.{name}" for name in ("cohort", "folder"))

Progress = Callable[[Iterable], Iterable]


@dataclass(frozen=True)
class Faces:
    """Images of expressions.

    Attributes
    ----------
    rows
        :data:`~faceneuro.tables.KEYS` and ``label``, one of :data:`EMOTIONS`, of each of n images. Where nobody knows
        who is in an image, ``subject`` is the image itself.
    images
        RGB, uint8, shape (n, 3, pixels, pixels), on disk rather than in memory.
    known
        Whether ``subject`` tells people.
    split
        "train" or "test", where the collection says so itself; else none.
    """

    rows: pd.DataFrame
    images: npt.NDArray[np.uint8]
    known: bool
    split: npt.NDArray[np.str_] | None = None

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Places of the labels in :data:`EMOTIONS`, shape (n,)."""
        return pd.Index(EMOTIONS).get_indexer(self.rows["label"])

    @property
    def held_out(self) -> str:
        """What a test on them holds out: ``identities``, ``images``, or ``test``, what the collection has chosen."""
        return "identities" if self.known else "images" if self.split is None else "test"


def emotion_of(name: str) -> str | None:
    """The class that a task or a folder of this name belongs to, :data:`CONTEMPT`, or none."""
    plain = name.strip().lower()
    return next((emotion for emotion, names in ALIASES.items() if plain in names), None) or (
        CONTEMPT if plain == CONTEMPT else None
    )


def of_cohort(
    manifest: Iterable[os.PathLike | str],
    quality: os.PathLike | str,
    landmarks: Sequence[os.PathLike | str],
    crops: Sequence[os.PathLike | str],
    *,
    pixels: int,
    gray: bool = False,
    progress: Progress = iter,
) -> Faces:
    """The strongest moment of every recording of one of the seven expressions, whichever group its subject is of.

    Parameters
    ----------
    manifest, quality
        Tables of the cohort; one path or several.
    landmarks, crops
        Shards, in the same order.
    pixels
        Height and width of the images, which show as much of the face as :func:`~faceneuro.studies.pictures.images_of`.
    gray
        Whether colours are replaced by their luma.
    progress
        Wraps the images, to show how far it is.

    Raises
    ------
    InputError
        If there is no usable recording of an expression.
    """
    clips = read_table(manifest)
    clips = clips.assign(task=clips["task"].map(emotion_of, na_action="ignore"))
    recorded = clips[clips["task"].isin(EMOTIONS)]
    verdicts = read_table(quality)
    usable = recorded.merge(verdicts.loc[verdicts["verdict"] != "unusable", CLIP], on=CLIP)
    rows = pd.DataFrame(strongest_images(usable, landmarks, crops), columns=[*KEYS, "task", "crop_table", "crop_row"])
    for emotion in EMOTIONS:
        if not (rows["task"] == emotion).any():
            found = int((recorded["task"] == emotion).sum())
            remedy = (
                f"none of its {found} recordings of {emotion} can be used; the quality table says why, clip by clip"
                if found
                else f"it has no recording of {emotion}; name a cohort with {', '.join(EMOTIONS)}"
            )
            raise InputError(f"config key {COHORT_KEY}: {remedy}, or give a folder of images ({FOLDER_KEY})")
    pictures = (image[0] for image in progress(images_of(rows, crops, "rgb", 1, gray, pixels)))
    images, _ = _stored(pictures, len(rows), pixels)
    return Faces(rows.rename(columns={"task": "label"})[[*KEYS, "label"]], images, known=True)


def of_folder(root: os.PathLike | str, *, pixels: int, gray: bool = False, progress: Progress = iter) -> Faces:
    """The images of a folder, see :func:`folder_images`; each is cut to its central square.

    Parameters
    ----------
    root
        The folder.
    pixels
        Height and width of the images.
    gray
        Whether colours are replaced by their luma.
    progress
        Wraps the images, to show how far it is.

    Raises
    ------
    InputError
        If there is no image of an expression, or none that can be read.
    """
    listed = folder_images(root)
    pictures = (_read(path, pixels, gray) for path in progress(listed["path"].to_list()))
    images, whole = _stored(pictures, len(listed), pixels)
    names = pd.Series([os.path.relpath(path, root) for path in listed["path"]])
    _warn("%d files left out, they cannot be read as images: %s", names[~whole])
    listed, names = listed[whole].reset_index(drop=True), names[whole].reset_index(drop=True)
    _check_folder(root, listed["expression"])
    rows = pd.DataFrame(
        {"cohort": "folder", "subject": names, "clip": names, "frame": 0, "label": listed["expression"]}
    )
    split = None if listed["split"].isna().any() else listed["split"].to_numpy(str)
    return Faces(rows, images, known=False, split=split)


def folder_images(root: os.PathLike | str) -> pd.DataFrame:
    """Which images of a folder show which expression.

    The images of each expression lie in a folder named after it (see :data:`ALIASES`), or by its number in RAF-DB or,
    where one is called 0, in AffectNet. These folders lie in the given one, or in folders ``train`` and ``test`` of it
    (or ``val``). One warning each tells of folders that are no expression, of contempt, and of files that are no image.

    Parameters
    ----------
    root
        The folder.

    Returns
    -------
    ``path``, ``expression`` (one of :data:`EMOTIONS`) and ``split`` (train, test, or none), sorted by path.

    Raises
    ------
    InputError
        If there is no such folder, or no image of an expression.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"config key {FOLDER_KEY}: there is no folder {root}")
    parts = {folder: SPLITS.get(folder.name.lower()) for folder in _folders(root)}
    parts = {folder: split for folder, split in parts.items() if split}
    if set(parts.values()) != {"train", "test"}:
        # A collection that comes in one part has nothing of its own to be tested on.
        parts = dict.fromkeys(parts or [root])
    classes = [(folder, split) for part, split in parts.items() for folder in _folders(part)]
    from_zero = any(folder.name == "0" for folder, _ in classes)
    numbers = {str(number): name for number, name in enumerate(AFFECTNET if from_zero else RAF_DB, not from_zero)}
    rows, unknown, contempt, others = [], [], [], []
    for folder, split in classes:
        emotion = numbers.get(folder.name) or emotion_of(folder.name)
        files = sorted(path for path in folder.iterdir() if not _is_junk(path))
        if emotion is None:
            unknown.append(folder)
        elif emotion == CONTEMPT:
            contempt += files
        else:
            for path in files:
                if path.suffix.lower() in SUFFIXES and path.is_file():
                    rows.append({"path": str(path), "expression": emotion, "split": split})
                else:
                    others.append(path)
    if len(parts) > 1 or root not in parts:
        unknown += [folder for folder in _folders(root) if folder not in parts]
    _warn("%d folders left out, their names are no expression: %s", [path.relative_to(root) for path in unknown])
    _warn(
        "%d images of contempt left out, which is none of the seven expressions: %s",
        [path.relative_to(root) for path in contempt],
    )
    _warn("%d files left out, they are no images by their names: %s", [path.relative_to(root) for path in others])
    found = pd.DataFrame(rows, columns=["path", "expression", "split"]).sort_values("path", ignore_index=True)
    _check_folder(root, found["expression"])
    return found


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir() and not _is_junk(path))


def _is_junk(path: Path) -> bool:
    return path.name.startswith(".") or path.name.lower() in JUNK


def _check_folder(root: os.PathLike | str, expressions: pd.Series) -> None:
    missing = [emotion for emotion in EMOTIONS if not (expressions == emotion).any()]
    if missing:
        raise InputError(
            f"config key {FOLDER_KEY}: {root} has no image of {', '.join(missing)} that can be read; it needs a folder "
            "for each of the seven expressions, by name, or by its number in RAF-DB or AffectNet, with or without "
            "train and test above them"
        )


def _warn(sentence: str, names: Sequence) -> None:
    """Warn once of all that something happened to, if anything."""
    if len(names):
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        log.warning(sentence, len(names), ", ".join(str(name) for name in list(names)[:SHOWN]) + more)


def _read(path: str, pixels: int, gray: bool) -> npt.NDArray[np.float32] | None:
    """One image, shape (3, pixels, pixels), or none if it cannot be decoded."""
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        return None
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    shrinks = cv2.INTER_AREA if side > pixels else cv2.INTER_LINEAR
    return views(cv2.resize(square, (pixels, pixels), interpolation=shrinks), 1, pixels, gray)[0]


def _stored(
    pictures: Iterator[npt.NDArray[np.float32] | None], n: int, pixels: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Up to n pictures with values in 0..1 as bytes on disk, and which of them are not none.

    The file has no name and vanishes with the process, however that ends: nobody's face is left behind.
    """
    with tempfile.TemporaryFile() as file:
        images = np.memmap(file, np.uint8, "w+", shape=(n, 3, pixels, pixels))
    whole, kept = np.zeros(n, bool), 0
    for place, picture in enumerate(pictures):
        if picture is not None:
            images[kept] = np.round(picture * 255)
            whole[place], kept = True, kept + 1
    return images[:kept], whole


def hold_out(faces: Faces, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which images are tested on: all of some people, or a share of each expression, or what the collection says.

    Parameters
    ----------
    faces
        From :func:`of_cohort` or :func:`of_folder`.
    fraction
        Share of the people, or of the images, at least one and not all.
    seed
        Of the choice.

    Returns
    -------
    Shape (n,).

    Raises
    ------
    InputError
        If there is nobody to hold out, nothing to test on, or nothing of an expression left to learn from.
    """
    random = np.random.default_rng(seed)
    if faces.split is not None:
        tested = faces.split == "test"
        if not tested.any():
            raise InputError(f"config key {FOLDER_KEY}: its folder for tests has no image of an expression; add some")
    elif faces.known:
        people = pd.MultiIndex.from_frame(faces.rows[SUBJECT])
        names = people.unique().sort_values()
        if len(names) < 2:
            raise InputError(f"config key {COHORT_KEY}: a test on people held out needs two, and there is {len(names)}")
        tested = people.isin(names[_chosen(random, len(names), fraction)])
    else:
        tested = np.zeros(len(faces.rows), bool)
        for code in range(len(EMOTIONS)):
            members = np.flatnonzero(faces.labels == code)
            tested[members[_chosen(random, len(members), fraction)]] = True
    for code, emotion in enumerate(EMOTIONS):
        if not (faces.labels[~tested] == code).any():
            key = COHORT_KEY if faces.known else FOLDER_KEY
            raise InputError(
                f"config key {key}: what is not held out for the test has no image of {emotion}; add images of it"
            )
    return tested


def _chosen(random: np.random.Generator, n: int, fraction: float) -> npt.NDArray[np.int64]:
    """Some of n places; at least one, but not the last."""
    return random.permutation(n)[: min(max(1, round(fraction * n)), n - 1)]


def quality(predictions: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """How well expressions are told apart.

    Parameters
    ----------
    predictions
        :data:`~faceneuro.tables.KEYS`, ``label`` and ``probabilities`` of every tested image.
    resamples, seed
        Of the bootstrap over subjects. Every subject shows several classes, so it is not stratified.

    Returns
    -------
    ``metric`` (accuracy, balanced_accuracy, ``recall/{expression}``), ``value``, ``ci_low``, ``ci_high``, ``n``, the
    number of images, and ``n_subjects``. A recall is null where nothing is tested, and the balanced accuracy leaves it
    out, as scikit-learn has it. Intervals are null with a single subject.
    """
    classes = len(EMOTIONS)
    people = pd.MultiIndex.from_frame(predictions[SUBJECT])
    names = people.unique().sort_values()
    who, truth = names.get_indexer(people), pd.Index(EMOTIONS).get_indexer(predictions["label"])
    right = np.stack(predictions["probabilities"].to_list()).argmax(axis=1) == truth
    shown, told = np.zeros((len(names), classes)), np.zeros((len(names), classes))
    np.add.at(shown, (who, truth), 1)
    np.add.at(told, (who, truth), right)
    weights = np.vstack(
        [np.ones(len(names)), subject_resamples(np.zeros(len(names)), resamples if len(names) > 1 else 0, seed)]
    )
    shown, told = weights @ shown, weights @ told
    recall = np.divide(told, shown, out=np.full(shown.shape, np.nan), where=shown > 0)
    values = {
        "accuracy": told.sum(axis=1) / shown.sum(axis=1),
        "balanced_accuracy": np.nanmean(recall, axis=1),
        **{f"recall/{emotion}": recall[:, code] for code, emotion in enumerate(EMOTIONS)},
    }
    rows = []
    for metric, found in values.items():
        low, high = percentile_interval(found[1:])
        counted = (truth == EMOTIONS.index(metric.partition("/")[2])).sum() if "/" in metric else len(truth)
        rows.append({"metric": metric, "value": found[0], "ci_low": low, "ci_high": high, "n": int(counted)})
    return pd.DataFrame(rows).assign(n_subjects=len(names))
