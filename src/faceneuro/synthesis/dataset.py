"""A data set of synthetic faces for others to use: who is shown with whose palsy, and the words that must go with it.

What may be given away follows from whose pictures the faces were made of. A synthetic face shows a person, more or less
as their photograph does, with the palsy of another; a generator can return what it has learnt from. So faces made of
recordings of real people, by a generator that learnt from such, may be passed on as those recordings may, not more.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faceneuro.errors import InputError
from faceneuro.files import replacing
from faceneuro.studies.synthesis import Faces
from faceneuro.tables import KEYS, Row

METADATA = [
    *("file", "identity_subject", "style_subject", "identity_clip", "style_clip", "identity_frame", "style_frame"),
    *("task", "severity", "side", "held_out", "generator", "size", "steps", "eta", "seed"),
]
"""Columns of the data set's table."""


def folder_of(index: str | os.PathLike) -> Path:
    """Where the pictures of a table of synthetic faces are: beside it, in a folder of its name."""
    return Path(index).with_suffix("")


def dataset_pairs(faces: Faces, positive: str, count: int, seed: int) -> list[Row]:
    """Whom to show with whose palsy: images of patients and people in turn, so that all appear equally often.

    Whoever is learnt from may take part: ``held_out`` says of each face whether nobody in it was.

    Parameters
    ----------
    faces
        The faces of the study.
    positive
        The group of the patients.
    count
        How many.
    seed
        Of the order.

    Returns
    -------
    Rows of :data:`faceneuro.tables.PAIRS`, without a way back. No two are of the same two images.

    Raises
    ------
    InputError
        If there are not so many pairs of an image of a patient and one of somebody else.
    """
    random = np.random.default_rng(seed)
    styles = np.flatnonzero((faces.keys["group"] == positive).to_numpy())
    others = {person: np.flatnonzero(faces.person != person) for person in np.unique(faces.person[styles])}
    most = sum(len(others[faces.person[style]]) for style in styles)
    if count > most:
        raise InputError(
            f"config key studies.synthesis.dataset.images: {count}, but an image of a patient and one of somebody else "
            f"make {most} pairs; choose at most that"
        )
    # Each image of a patient goes through the other people's images in an order of its own, one a turn.
    order = random.permutation(styles)
    waiting = {style: iter(random.permutation(others[faces.person[style]])) for style in order}
    rows: list[Row] = []
    while len(rows) < count:
        for style in order:
            identity = next(waiting[style], None)
            if identity is not None and len(rows) < count:
                rows.append(_pair(faces, len(rows), int(identity), int(style)))
    return rows


def _pair(faces: Faces, number: int, identity: int, style: int) -> Row:
    row = {"pair": number, "identity": identity, "style": style, "own": None}
    row["held_out"] = all(faces.keys.at[place, "role"] == "test" for place in (identity, style))
    for part in ("identity", "style"):
        row |= {f"{part}_{name}": faces.keys.at[row[part], name] for name in KEYS}
    return row


def metadata_of(index: pd.DataFrame, pairs: pd.DataFrame, faces: Faces) -> pd.DataFrame:
    """What is known of each synthetic face.

    Parameters
    ----------
    index
        Rows of :data:`faceneuro.tables.SYNTHETIC`, in the order of the pairs.
    pairs, faces
        What they were made of.

    Returns
    -------
    Columns :data:`METADATA`. Task, severity and side are those of the style, which the face is meant to show.
    """
    shown = faces.keys.iloc[pairs["style"].to_numpy()][["task", "severity", "side"]].reset_index(drop=True)
    table = pd.concat([index.reset_index(drop=True).rename(columns={"row": "generator"}), shown], axis=1)
    return table.assign(file="images/" + table["file"])[METADATA]


def copy_pictures(index: pd.DataFrame, folder: Path, target: Path) -> None:
    """Copy the pictures of a table of synthetic faces."""
    target.mkdir(parents=True, exist_ok=True)
    for file in index["file"]:
        shutil.copyfile(folder / file, target / file)


def licence_note(virtual: bool, cohort: str, files: Sequence[str]) -> str:
    """Whether the data set may be passed on, and what decides.

    Parameters
    ----------
    virtual
        Whether everybody in the cohort is rendered.
    cohort
        Its name.
    files
        Extractors that came as files of the user's.
    """
    named = f" The networks {', '.join(files)} were read from files: their licences bind what they helped to make."
    also = named if files else ""
    if virtual:
        return (
            f"Everybody in cohort {cohort} is a virtual person, rendered from meshes that are in the public domain "
            "(CC0); nobody was photographed. The faces may be passed on; say that they are synthetic in two ways, "
            f"virtual people and generated palsies.{also}"
        )
    return (
        f"DO NOT PUBLISH unless whoever gave you cohort {cohort} allows it in writing. These faces were made of "
        "recordings of real people: each shows one of them, with the palsy of another, and the generator has learnt "
        "from them. Data that one gets under an agreement (AFLFP, MEEI and most clinical collections) is bound by it "
        f"in this form as well, and so is consent that somebody gave for a purpose.{also}"
    )


def write_datasheet(
    table: pd.DataFrame, facts: Mapping[str, Any], licence: str, path: str | os.PathLike, quality: pd.DataFrame
) -> None:
    """Write what a user of the data set must know.

    Parameters
    ----------
    table
        From :func:`metadata_of`.
    facts
        What made it, by a few words each.
    licence
        From :func:`licence_note`.
    path
        Of the Markdown file.
    quality
        Of the extractors that were trained here: network, metric, value and chance; may be empty.

    References
    ----------
    Gebru et al., "Datasheets for Datasets", Commun ACM 2021, whose questions these are.
    """
    people = {part: table[f"{part}_subject"].nunique() for part in ("identity", "style")}
    tasks = ", ".join(f"{task} {count}" for task, count in table["task"].value_counts(sort=True).items())
    grades = table["severity"].dropna()
    told = (
        "not known" if grades.empty else ", ".join(f"{g:g}: {n}" for g, n in grades.value_counts().sort_index().items())
    )
    sides = ", ".join(f"{side} {count}" for side, count in table["side"].fillna("unknown").value_counts().items())
    learnt = int((~table["held_out"].astype(bool)).sum())
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    networks = "\n".join(
        f"- {row.network}: {row.metric} {row.value:.3f} on people held out (chance {row.chance:.3f})"
        for row in quality.dropna(subset="value").itertuples()
    )
    text = f"""# Synthetic faces with palsy: datasheet

**{licence}**

## What is in it

{len(table)} pictures (`images/*.png`, RGB), each of one of {people["identity"]} people with the palsy and the
expression of one of {people["style"]} patients; `metadata.csv` and `metadata.parquet` have a line for each.
Tasks: {tasks}. Grades: {told}. Weak sides: {sides}.
In {learnt} of the pictures somebody is shown from whom the generator has learnt; `held_out` says in which.

Task, severity and side are those of the patient whose palsy a picture is meant to show. Nobody has looked whether it
does: `results/tables/synthesis.md` says how well this generator carries palsies on people held out, and whether it does
so better than copies and a warp.

## How it was made

| Fact | Value |
| -- | -- |
{rows}

Networks that tell who somebody is, how the face is moved and where its points are:

{networks or "- read from files; how good they are was not measured here"}

## What it is for, and what not

For trying out whether synthetic palsies help a detector (with real people, or virtual patients that the generator has
not seen, to test on), and for showing what a transfer does. Not for estimating how often a palsy occurs, not for
judging a treatment, not for testing a detector: a picture carries the generator's faults, and a detector may learn
these. Whoever splits the pictures must split by both columns of people, identity and style.

Nobody was recorded for it. Who the people of the cohort are, and what they have agreed to, the description of the
cohort says.
"""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
