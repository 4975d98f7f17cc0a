"""The table of the extractors: how good the networks are that the synthesis goes by, on people that they have not seen.

A score of a synthetic face is worth as much as what gives it, so this table is read before that of the study.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from faceneuro.report.classification import cohort_note
from faceneuro.report.tables import Table, write_files

TITLE = "Networks that the synthesis goes by"

METRICS = {
    "verification_auc": "Two pictures of a person are more alike than two of different people: share",
    "accuracy": "Task and weak side told rightly: share",
    "task_accuracy": "Task told rightly: share",
    "landmark_error": "Mean error of 68 points: percent of the distance between the outer corners of the eyes",
}
"""What :func:`faceneuro.synthesis.extractor_training.train_extractor` measures."""


def write_extractors(
    quality: pd.DataFrame, own: Mapping[str, str | None], stem: str | os.PathLike, cohort: str, virtual: bool
) -> None:
    """Write how good the extractors are that were trained here, as .csv, .md and .tex.

    Parameters
    ----------
    quality
        Rows of :class:`faceneuro.synthesis.extractor_training.Trained`, of any number of networks.
    own
        By kind: the user's file, or None where the network was trained here.
    stem
        Path without suffix.
    cohort, virtual
        Its name, and whether it is rendered.
    """
    lines = [
        [row.network, METRICS[row.metric], _number(row.value), _number(row.chance)] for row in quality.itertuples()
    ]
    files = [f"{kind} ({Path(path).name})" for kind, path in own.items() if path]
    images, people = quality[["images", "people"]].max()
    lead = [
        f"Cohort {cohort}: {cohort_note(virtual, False)}. Trained on the people of the training part; tested on "
        f"{images} pictures of {people} others, once, at the end.",
        *([f"Read from files and not tested here: {', '.join(files)}."] if files else []),
    ]
    remarks = [
        "By chance: for a share, naming the commonest class or tossing a coin; for the points, naming the mean place.",
        "All pictures of a person may have been taken in one place and one light. Then a person is easier to recognise "
        "than elsewhere, and the first figure says so much less.",
        "The landmark network finds the points in real and in generated pictures, so errors that it makes in both stay "
        "out of the transfer measures, and those that it makes in one do not: its error here is what a difference of "
        "two rows has to be seen beside.",
    ]
    header = ["Network", "Measure", "Held out", "By chance"]
    write_files(stem, quality, TITLE, lead, [Table("On people held out", header, lines, 2, sentences=(1,))], remarks)


def _number(value: float) -> str:
    return "too little held out" if pd.isna(value) else f"{value:.3f}"
