"""The roll of a virtual cohort: who takes part, and what is recorded of them.

Light enough to be read at every start of the workflow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from faceneuro.cohorts.virtual.signs import GROUPS, Signs
from faceneuro.cohorts.virtual.tasks import TASKS


class Medium(NamedTuple):
    """What patients are recorded as: the kind that the manifest states, and the ending of the files."""

    kind: str
    suffix: str


MEDIA = {"video": Medium("video", ".mp4"), "photographs": Medium("image", ".png")}
"""Every medium by its name in the configuration."""


@dataclass(frozen=True)
class Patient:
    """One person of a cohort.

    Attributes
    ----------
    subject
        Identifier, which does not tell the group.
    group
        A key of :data:`~faceneuro.cohorts.virtual.signs.GROUPS`.
    place
        Number within the group, from 0.
    age, sex
        Years; "female" or "male". Drawn alike in every group.
    severity
        On the scale of the group: 0 healthy, ALS 0 to 1, palsy grade 1 to 6, Parkinson class 0 to 2.
    side
        "left", "right" or "none": the affected side of the face, the subject's own.
    seed
        Start of every random stream of this person.
    signs
        How the face moves.
    """

    subject: str
    group: str
    place: int
    age: int
    sex: str
    severity: float
    side: str
    seed: int
    signs: Signs


def clip_of(patient: Patient, task: str, cohort: Mapping) -> dict[str, Any]:
    """What the manifest says of a patient's recording of a task; ``path`` is the name of the file, without a folder.

    Parameters
    ----------
    patient, task
        Who does what.
    cohort
        Its block of the configuration; ``medium`` and ``sources`` are read.
    """
    return {
        "subject": patient.subject,
        "clip": clip_name(patient, task),
        "task": task,
        "group": patient.group,
        "severity": patient.severity,
        "side": patient.side,
        "age": float(patient.age),
        "sex": patient.sex,
        "source": source_of(patient, cohort["sources"]),
        "kind": MEDIA[cohort["medium"]].kind,
        "path": file_name(patient, task, cohort["medium"]),
        "files": None,
        "scores": None,
        "digest": None,
        "problem": None,
    }


def clip_name(patient: Patient, task: str) -> str:
    """The key of a patient's recording of a task."""
    return f"{patient.subject}_{task}"


def file_name(patient: Patient, task: str, medium: str) -> str:
    """What the file of a patient's recording of a task is called."""
    return clip_name(patient, task) + MEDIA[medium].suffix


def source_of(patient: Patient, sources: Mapping[str, Sequence[str]] | None) -> str:
    """The data set that a patient is said to come from; it says nothing about how they look or are recorded.

    Parameters
    ----------
    patient
        Whose group and place in it are looked at.
    sources
        Data sets by group. The places of a group are dealt to its data sets in turn, so that enlarging the group leaves
        everybody where they are. A group without data sets, or None, belongs to "virtual".
    """
    names = (sources or {}).get(patient.group, ["virtual"])
    return names[patient.place % len(names)]


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """A random stream for one purpose; streams of different purposes are independent."""
    return np.random.default_rng([seed, *(crc32(word.encode()) for word in purpose)])


def enrol(cohort: Mapping) -> list[Patient]:
    """Draw the patients of a cohort.

    A patient depends on the cohort's seed, the group and the place within the group alone: a group can be enlarged
    without changing anybody. Identifiers run through all groups in an order shuffled anew for each place.

    Parameters
    ----------
    cohort
        Its block of the configuration; ``seed`` and ``groups`` (size by name) are read, ``tasks`` are checked.

    Returns
    -------
    Patients in the order of their identifiers.

    Raises
    ------
    ValueError
        If a group or a task does not exist.
    """
    for kind, asked, known in (("group", cohort["groups"], GROUPS), ("task", cohort["tasks"], TASKS)):
        if unknown := sorted(set(asked) - set(known)):
            raise ValueError(f"no such {kind}: {', '.join(unknown)}; there are {', '.join(known)}")
    names = sorted(cohort["groups"])
    patients = []
    for place in range(max(cohort["groups"].values(), default=0)):
        order = stream(cohort["seed"], "order", str(place)).permutation(len(names))
        for turn, name in enumerate(names[k] for k in order):
            if place < cohort["groups"][name]:
                patients.append(recruit(f"V{place * len(names) + turn + 1:03d}", name, place, cohort["seed"]))
    return patients


def recruit(subject: str, group: str, place: int, cohort_seed: int) -> Patient:
    """Draw one patient, as :func:`enrol` does, from what identifies them."""
    seed = int(stream(cohort_seed, group, str(place)).integers(2**31))
    person = stream(seed, "person")
    examination = GROUPS[group](stream(seed, "signs"))
    return Patient(
        subject=subject,
        group=group,
        place=place,
        age=int(np.clip(person.normal(58, 12), 25, 85)),
        sex=("female", "male")[person.integers(2)],
        severity=examination.severity,
        side=examination.side,
        seed=seed,
        signs=examination.signs,
    )
