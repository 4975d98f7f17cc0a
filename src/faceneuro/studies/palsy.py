"""Facial palsy from stills: 29 asymmetry measures, landmarks, blendshapes, crops and line drawings, alone and fused.

References
----------
Oo, Lee and Lim, "A multimodal approach for facial palsy detection", arXiv 2503.10371, 2025 (PAKDD, DSFA track). Its
public repository has inference code and model classes, no training code; what it leaves open is said where it matters.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from faceneuro.errors import InputError
from faceneuro.features.asymmetry import asymmetry
from faceneuro.features.crops import relative
from faceneuro.models import BRANCHES, IMAGES, INPUTS
from faceneuro.studies.clips import CLIP, usable_clips
from faceneuro.studies.pictures import box_of
from faceneuro.tables import KEYS, LANDMARK_COUNT, Row, read_clips, read_table

log = logging.getLogger(__name__)

CLASSES = ("Healthy", "Palsy")
"""Negative and positive class."""

CONDITION = "Bell's palsy"
"""Where a meta-analysis of conditions puts this study (Yoonesi et al. 2025, Fig. 3)."""

PUBLISHED_MODEL = "early_rgb"
"""The model that the paper is about."""

SHUFFLED = "shuffled_fnn"
"""A control, see :func:`model_inputs`."""

Path = str | os.PathLike

_INPUTS = ("coordinates", "blendshapes", "measures")

LINES = (
    (1, "Facial expression features", "FNN", "blendshapes_fnn"),
    (2, "Landmark coordinates", "FNN", "coordinates_fnn"),
    (3, "Handcrafted features", "FNN", "handcrafted_fnn"),
    (4, "RGB", "ResNet50", "rgb_resnet"),
    (5, "RGB", "FasterViT", "rgb_fastervit"),
    (6, "RGB", "MLP-Mixer", "rgb_mixer"),
    (7, "Line segments", "ResNet50", "lines_resnet"),
    (8, "Line segments", "FasterViT", "lines_fastervit"),
    (9, "Line segments", "MLP-Mixer", "lines_mixer"),
    (10, "Handcrafted + RGB", "Early fusion", "early_rgb"),
    (11, "Handcrafted + line segments", "Early fusion", "early_lines"),
    (12, "Handcrafted + RGB", "Late fusion", "late_rgb"),
    (13, "Handcrafted + line segments", "Late fusion", "late_lines"),
    (None, "Handcrafted + RGB", "Gated fusion", "gated_rgb"),
    (None, "Handcrafted + RGB", "Cross-attention fusion", "attention_rgb"),
    (None, "Landmarks + RGB over time", "GRU", "temporal_rgb"),
    (None, "Control: measures dealt out anew", "FNN", "shuffled_fnn"),
    (None, "Control: the picture without the face", "MLP-Mixer", "surroundings_mixer"),
)
"""Lines of the table: the number that the paper gives a row (none beyond it), modality, network, model."""


def note_of(model: str, backbones: Mapping[str, Mapping[str, Any]]) -> str:
    """What a reader must know of a model: where the weights of its backbone come from, how large it is.

    Parameters
    ----------
    model
        A name of :data:`LINES`.
    backbones
        The settings of the families of image networks.
    """
    families = {IMAGES[part][1] for part in (model, *BRANCHES.get(model, ())) if part in IMAGES}
    notes = []
    for family in sorted(families):
        settings = backbones[family]
        weights = {"none": "untrained backbone", "auto": "published weights"}.get(
            settings["weights"], f"weights {os.path.basename(settings['weights'])}"
        )
        notes.append(f"{weights}, {settings['size']} size, trained: {settings['unfreeze'].replace('_', ' ')}")
    return "; ".join(notes)


def samples(
    manifest: Path | Iterable[Path],
    quality: Path | Iterable[Path],
    landmarks: Iterable[Path],
    crops: Iterable[Path],
    *,
    groups: Mapping[str, str],
    tasks: Sequence[str] | None = None,
    form: str = "corrected",
    permute: int | None = None,
) -> Iterator[Row]:
    """Samples of the study: one per face crop.

    Parameters
    ----------
    manifest, quality
        Tables of the cohort; one path or several.
    landmarks, crops
        Shards, in the same order: the n-th of both hold the same subjects, clips in the same order.
    groups
        The manifest's names of the groups that are the ``negative`` and the ``positive`` class.
    tasks
        Tasks to use; none means all.
    form
        Of the measures, see :func:`faceneuro.features.asymmetry.asymmetry`.
    permute
        Seed of a negative control in which labels are permuted over subjects; none means true labels.

    Yields
    ------
    Rows of :data:`faceneuro.tables.PALSY_SAMPLES`, in the order of the crop shards, clip by clip.

    Raises
    ------
    InputError
        If a class has no clip, or none that can be used, or a subject belongs to both classes.
    """
    tables = read_table(manifest), read_table(quality)
    clips = usable_clips(*tables, groups, CLASSES, tasks, study="palsy", permute=permute)
    about = {
        tuple(row[name] for name in CLIP): {name: row[name] for name in ("group", "label", "task", "severity", "side")}
        for row in clips.to_dict("records")
    }
    missing = set(groups.values())
    for table, (points, images) in enumerate(zip(landmarks, crops, strict=True)):
        for row in faces_of(points, images, form):
            clip = about.get((row["cohort"], row["subject"], row["clip"]))
            if clip is not None:
                missing.discard(clip["group"])
                yield row | clip | {"crop_table": table}
    for role, group in groups.items():
        if group in missing:
            raise InputError(
                f"config key studies.palsy.groups.{role}: no frame of {group!r} shows a face; "
                "the quality table says why, clip by clip"
            )


def faces_of(landmarks: Path, crops: Path, form: str) -> Iterator[Row]:
    """Face crops of one shard; one clip is in memory at a time.

    Parameters
    ----------
    landmarks, crops
        Of the same subjects, clips in the same order.
    form
        Of the measures, see :func:`faceneuro.features.asymmetry.asymmetry`.

    Yields
    ------
    The columns of :data:`faceneuro.tables.PALSY_SAMPLES` that are known of people without a label, but for
    ``crop_table``.
    """
    positions = iter(range(2**31))
    scores = read_clips(landmarks, [*KEYS, "blendshapes"])
    for clip, images in read_clips(crops, [*KEYS, "left", "top", "right", "bottom", "landmarks"]):
        found = next(({row["frame"]: row["blendshapes"] for row in rows} for key, rows in scores if key == clip), None)
        if found is None:
            raise ValueError(f"{crops} has a clip {clip['clip']!r} that {landmarks} lacks, or in another order")
        unusable = 0
        for row in images:
            position = next(positions)
            points = np.asarray(row["landmarks"]).reshape(LANDMARK_COUNT, 3)
            measures = asymmetry(points, form)
            if not np.isfinite(measures).all():
                unusable += 1
                continue
            yield {name: row[name] for name in KEYS} | {
                "crop_row": position,
                "coordinates": relative(points, box_of(row)).ravel(),
                "blendshapes": np.asarray(found[row["frame"]], np.float32),
                "measures": measures.astype(np.float32),
            }
        if unusable:
            log.warning(
                "%s %s %s: %d crops left out, their asymmetry measures (form %s) are not finite",
                *(clip[name] for name in CLIP), unusable, form,
            )  # fmt: skip


def unseen(landmarks: Path, crops: Path, form: str) -> tuple[pd.DataFrame, dict[str, npt.NDArray[np.float32]]]:
    """Samples of a recording that belongs to no class that anybody knows.

    Parameters
    ----------
    landmarks, crops
        Tables of the recording.
    form
        Of the measures, see :func:`faceneuro.features.asymmetry.asymmetry`.

    Returns
    -------
    As from :func:`read_samples`: where every sample's picture is, and its inputs.
    """
    rows = list(faces_of(landmarks, crops, form))
    inputs = {name: np.array([row.pop(name) for row in rows], np.float32) for name in _INPUTS}
    return pd.DataFrame(rows, columns=[*KEYS, "crop_row"]).assign(crop_table=0), inputs


def read_samples(path: Path) -> tuple[pd.DataFrame, dict[str, npt.NDArray[np.float32]]]:
    """A samples table as a data frame of keys and labels, and its inputs by name, shape (n, features) each."""
    table = pq.read_table(path, use_threads=False)
    inputs = {}
    for name in _INPUTS:
        column = table.column(name).combine_chunks()
        inputs[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
        table = table.drop_columns(name)
    return table.replace_schema_metadata(None).to_pandas(), inputs


def model_inputs(
    model: str, inputs: Mapping[str, npt.NDArray[np.float32]], activations: Sequence[Path]
) -> dict[str, Any]:
    """What one model sees of every sample.

    Parameters
    ----------
    model
        A name in :data:`faceneuro.models.INPUTS` that is no fusion.
    inputs
        From :func:`read_samples`.
    activations
        The cache of its pictures; empty for a model that sees none.
    """
    if model == SHUFFLED:
        # A control: the measures stay what they are, but no longer belong to the face that they were taken from.
        order = np.random.default_rng(0).permutation(len(inputs["measures"]))
        return {"measures": inputs["measures"][order]}
    if activations:
        # Imported here: it needs torch, which evaluating and tabulating the study does not.
        from faceneuro.training.activations import Activations

        return {"activations": Activations(activations[0])}
    return {name: inputs[name] for name in INPUTS[model]}


def average(branches: Sequence[pd.DataFrame], model: str) -> pd.DataFrame:
    """Late fusion: the mean of the branches' probabilities for every sample.

    Parameters
    ----------
    branches
        Rows of :data:`faceneuro.tables.PREDICTIONS` of the same samples, of one branch each.
    model
        Name of the fusion.
    """
    first = branches[0].assign(model=model)
    keys = ["fold", *KEYS]
    for other in branches[1:]:
        if not first[keys].equals(other[keys]):
            raise ValueError("the branches predict different samples")
    return first.assign(probability=np.mean([branch["probability"] for branch in branches], axis=0))
