"""Severity of Parkinson's disease from six expression images: fused by attention, classes balanced by their frequency.

References
----------
Zhou, Huang, Li, Huang and Pang, "Facial Expression-based Parkinson's Disease Severity Diagnosis via Feature Fusion and
Adaptive Class Balancing", 2025. Neither code nor data are public; what it leaves open is said where it matters.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.errors import InputError
from faceneuro.models import EXTRACTOR, PARKINSON_FAMILIES
from faceneuro.studies.clips import usable_clips
from faceneuro.studies.pictures import strongest_images
from faceneuro.tables import EXPRESSIONS, Row, read_table
from faceneuro.training.folds import SUBJECT, permute_labels

log = logging.getLogger(__name__)

CLASSES = ("Non-PD", "Early", "Mid/late")
"""Classes in the order of severity."""

STAGES = {"early": CLASSES[1], "mid_late": CLASSES[2]}
"""How the configuration calls the classes of the patients."""

CONDITION = "Motor condition"
"""Where a meta-analysis of conditions puts this study (Yoonesi et al. 2025, Fig. 3)."""

PUBLISHED_MODEL = "attention_fusion"
"""The model that the paper is about."""

LINES = (
    ("MobileNetV4", "MobileNetV4", "mobilenetv4"),
    ("Swin-Transformer", "Swin Transformer", "swin"),
    ("EfficientNetV2", "EfficientNetV2", "efficientnetv2"),
    ("Ours w/o AFF", "Without attention-based fusion", "concatenation"),
    ("Ours w/o ACB", "Without adaptive class balancing", "unbalanced"),
    ("Ours", "Attention fusion, adaptive focal loss", "attention_fusion"),
    (None, "Attention fusion, ordinal (CORN)", "ordinal"),
)
"""Lines of the table: the paper's name of a row (none beyond it), ours, model."""

SET = {"clip": "expressions", "frame": 0}
"""Keys of a sample beside cohort and subject: it is made of several clips and belongs to none of them."""

Path = str | os.PathLike


def note_of(model: str, backbones: Mapping[str, Mapping[str, Any]]) -> str:
    """What a reader must know of a model: where the weights of its backbone come from, how large it is.

    Parameters
    ----------
    model
        A name of :data:`LINES`.
    backbones
        The settings of the families of image networks, as in the configuration.
    """
    family = PARKINSON_FAMILIES[model]
    settings = backbones[family]
    weights = {
        "none": "untrained backbone",
        "auto": "published weights",
        "expression": "trained on expressions before",
    }.get(settings["weights"], f"weights {os.path.basename(settings['weights'])}")
    trained = settings["unfreeze"].replace("_", " ")
    size = "ResNet-18" if family == EXTRACTOR else f"{settings['size']} size"
    return f"{weights}, {size}, {settings['pixels']} pixels, trained: {trained}"


def samples(
    manifest: Iterable[Path],
    quality: Path | Iterable[Path],
    landmarks: Sequence[Path],
    crops: Sequence[Path],
    *,
    groups: Mapping[str, str],
    tasks: Sequence[str],
    stages: Mapping[str, Sequence[float]],
    least_expressions: int,
    filled: Sequence[str] | None = None,
    permute: int | None = None,
) -> tuple[list[Row], list[Row]]:
    """Samples of the study, one per subject, and the images that they are made of.

    Of a recording with several crops the one with the strongest expression is taken, see
    :func:`faceneuro.studies.pictures.apex`. An expression that a subject lacks, or whose recording cannot be used, is
    missing: the networks leave its place out.

    Parameters
    ----------
    manifest, quality
        Tables of the cohort; one path or several.
    landmarks, crops
        Shards, in the same order: the n-th of both hold the same subjects, clips in the same order.
    groups
        The manifest's names of the group without (``negative``) and with the disease (``positive``).
    tasks
        Of the six expressions, in the order of their places.
    stages
        ``early`` and ``mid_late``: the severities, on the cohort's own scale, that each stands for.
    least_expressions
        A subject with fewer is left out.
    filled
        Those of the tasks that both groups did; the places of the others stay empty for everybody. None means all.
    permute
        Seed of a negative control in which labels are permuted over subjects; none means true labels.

    Returns
    -------
    Rows of :data:`faceneuro.tables.PARKINSON_SAMPLES` and of :data:`faceneuro.tables.EXPRESSION_IMAGES`.

    Raises
    ------
    InputError
        If a class has no subject, or none that can be used, or a subject belongs to both groups or has two severities.
    """
    clips = usable_clips(
        read_table(manifest), read_table(quality), groups, ("", "PD"), filled or tasks, study="parkinson"
    )
    clips = _one_of_each(_with_stage(clips, groups["positive"], stages))
    images = strongest_images(clips, landmarks, crops)
    rows = _sets(clips, images, tasks, least_expressions)
    for name in CLASSES:
        if not any(row["label"] == name for row in rows):
            raise InputError(
                f"studies.parkinson: class {name} has no subject with {least_expressions} of the six expressions; the "
                "quality table says why, clip by clip; add recordings, or lower studies.parkinson.least_expressions"
            )
    if permute is not None:
        labels = pd.DataFrame(rows).set_index(SUBJECT)["label"]
        permuted = permute_labels(labels, permute)
        rows = [row | {"label": permuted[(row["cohort"], row["subject"])]} for row in rows]
    return rows, images


def _with_stage(clips: pd.DataFrame, positive: str, stages: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """Clips with the class of their subject; patients of no known stage are left out, by name."""
    class_of = {float(value): STAGES[stage] for stage, values in stages.items() for value in values}
    patients = clips["group"] == positive
    torn = clips[patients].groupby(SUBJECT)["severity"].nunique()
    if (torn > 1).any():
        cohort, subject = torn.index[torn > 1][0]
        raise InputError(
            f"the manifest of {cohort} gives subject {subject!r} two severities: correct it, or give the subject of "
            "each session a name of its own"
        )
    label = clips["severity"].map(class_of).where(patients, CLASSES[0])
    for reason, which in (
        ("their severity is unknown", patients & clips["severity"].isna()),
        ("their severity is in none of studies.parkinson.stages", patients & clips["severity"].notna() & label.isna()),
    ):
        found = clips[which].groupby("subject")["severity"].first()
        names = [f"{name} ({value:g})" if value == value else str(name) for name, value in found.items()]
        _say(f"%d patients left out, {reason}: %s", names)
    return clips.assign(label=label)[label.notna()]


def _one_of_each(clips: pd.DataFrame) -> pd.DataFrame:
    """The first clip, by name, of each subject and expression."""
    ordered = clips.sort_values([*SUBJECT, "task", "clip"])
    extra = ordered.duplicated([*SUBJECT, "task"])
    _say(
        "%d recordings left out, because the subject has an earlier one, by name, of the same expression: %s; remove "
        "from the manifest what should not be used",
        [f"{row.subject} {row.task} ({row.clip})" for row in ordered[extra].itertuples()],
    )
    return ordered[~extra]


def _sets(clips: pd.DataFrame, images: Sequence[Row], tasks: Sequence[str], least: int) -> list[Row]:
    place = {(image["cohort"], image["subject"], image["task"]): row for row, image in enumerate(images)}
    rows, out, masked = [], [], []
    for (cohort, subject), some in clips.groupby(SUBJECT, sort=True):
        found = [place.get((cohort, subject, task), -1) for task in tasks]
        missing = [task for task, row in zip(tasks, found, strict=True) if row < 0]
        if len(missing) > EXPRESSIONS - least:
            out.append(f"{subject} (no {', '.join(missing)})")
            continue
        if missing:
            masked.append(f"{subject} (no {', '.join(missing)})")
        first = some.iloc[0]
        about = {name: first[name] for name in ("group", "label", "severity", "source", "age", "sex")}
        rows.append({"cohort": cohort, "subject": subject, **SET, **about, "images": found})
    why = "results/tables/quality.md says what is wrong with those that are listed"
    _say(
        f"%d subjects left out, with fewer than {least} expressions (studies.parkinson.least_expressions): %s; {why}",
        out,
    )
    _say(f"%d subjects lack an expression, whose place the networks leave out: %s; {why}", masked)
    return rows


SHOWN = 10
"""Names in a warning; the log has all."""


def _say(sentence: str, names: Sequence[str]) -> None:
    """Warn once of all that something happened to, if anything."""
    if names:
        more = f" and {len(names) - SHOWN} more, see the log" if len(names) > SHOWN else ""
        log.warning(sentence, len(names), ", ".join(names[:SHOWN]) + more)
        log.info("all of these: %s", ", ".join(names))


def model_inputs(samples: pd.DataFrame, activations: Path, chosen: npt.NDArray | slice = slice(None)) -> dict[str, Any]:
    """What a network sees of every sample, or of some.

    Parameters
    ----------
    samples
        Data frame of a samples table.
    activations
        The cache of all images.
    chosen
        Which samples.

    Returns
    -------
    ``activations``, see :class:`faceneuro.training.slots.Slots`, and ``present``, float32, shape (n, 6): 1 where there
    is an image, 0 where it is missing.
    """
    # Imported here: it needs torch, which evaluating and tabulating the study does not.
    from faceneuro.training.activations import Activations
    from faceneuro.training.slots import Slots

    places = np.stack(samples["images"].to_list()).astype(np.int64)[chosen]
    return {
        "activations": Slots(Activations(activations), places),
        "present": (places >= 0).astype(np.float32),
    }


def features_of(
    activations: Path, family: str, settings: Mapping[str, Any], *, threads: int = 1
) -> Iterator[npt.NDArray[np.float32]]:
    """What a backbone makes of every image before the study trains anything of it: the same in all folds.

    Parameters
    ----------
    activations
        The cache of all images, which ends where the training begins: with everything trained it holds mere pixels.
    family, settings
        Of the backbone, as for :func:`faceneuro.models.backbones.build`.
    threads
        Of the processor.

    Yields
    ------
    Pooled features, shape (d,), the mean over the views of an image.
    """
    import torch

    from faceneuro.models.backbones import trained_part
    from faceneuro.training.activations import Activations
    from faceneuro.training.loop import reproducible

    stored = Activations(activations)
    tail, _ = trained_part(family, settings, "studies.parkinson.backbones", maps=family == EXTRACTOR)
    tail.eval()
    for start in range(0, len(stored), stored.at_once):
        some = stored.rows(slice(start, start + stored.at_once))
        with reproducible(settings["seed"], "cpu", threads), torch.inference_mode():
            seen = tail(some.flatten(0, 1)).unflatten(0, some.shape[:2])
        yield from (seen.flatten(3).mean(3) if seen.ndim > 3 else seen).mean(1).numpy()


def mean_of_expressions(samples: pd.DataFrame, features: Iterable[npt.ArrayLike]) -> npt.NDArray[np.float32]:
    """Features of a sample: the mean over those of its images that are there.

    Parameters
    ----------
    samples
        Data frame of a samples table.
    features
        Shape (d,) for each of the images, in the order of their table.

    Returns
    -------
    Shape (n, d).
    """
    rows = np.stack(list(features))
    return np.stack([rows[places[places >= 0]].mean(axis=0) for places in map(np.asarray, samples["images"])])


def codes_of(labels: Iterable[str]) -> npt.NDArray[np.int64]:
    """Places of labels in :data:`CLASSES`."""
    return np.array([CLASSES.index(label) for label in labels])
