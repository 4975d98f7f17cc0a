"""What a transfer of palsy should look like: a virtual patient photographed with the signs of another.

No data set of real people has such pictures. They are the exact targets of a generator that is to give one person the
expression and the palsy of another.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from faceneuro.cohorts.virtual.heads import Heads
from faceneuro.cohorts.virtual.patients import Patient, enrol
from faceneuro.cohorts.virtual.record import record_clip
from faceneuro.features.alignment import SIZE, align, aligned_row, carry
from faceneuro.features.crops import decode
from faceneuro.tables import Row

log = logging.getLogger(__name__)


def with_signs_of(patient: Patient, other: Patient) -> Patient:
    """A person whose face moves as that of another.

    The signs are all that makes the difference: strength of each side, droop, synkinesis, speed, expressivity and the
    rest. Whatever makes the person stays, and so does the group, by which a recording site is chosen.
    """
    return replace(patient, signs=other.signs, severity=other.severity, side=other.side)


def render_target(
    heads: Heads, identity: Patient, style: Patient, task: str, cohort: Mapping[str, Any], path: str | Path
) -> dict[str, Any]:
    """Photograph a person doing a task with the signs of another, where the person is always photographed.

    Camera, light, background and the way the head is held are the person's own, as in their photograph of that task;
    with their own signs it would be that photograph.

    Parameters
    ----------
    heads
        The head model.
    identity, style
        Whose face it is, and whose signs it shows.
    task
        What they do.
    cohort
        Its block of the configuration, see :func:`~faceneuro.cohorts.virtual.record.record_clip`.
    path
        Where the png will be; equal arguments give equal bytes.

    Returns
    -------
    The truth: ``units`` (float32, shape (52,)) and ``points`` (float32, pixels, shape (2 * n_points,)) as of any
    recording, ``severity`` and ``side``.

    Raises
    ------
    ValueError
        If the cohort is filmed: of a video, no frame is more than another the one that should come out.
    """
    if cohort["medium"] != "photographs":
        raise ValueError(f"a target is a photograph; the cohort's medium is {cohort['medium']}")
    (truth,) = record_clip(heads, with_signs_of(identity, style), task, cohort, path)
    return {"units": truth["units"], "points": truth["points"], "severity": style.severity, "side": style.side}


def target_rows(
    heads: Heads, pairs: Iterable[Row], tasks: Sequence[str], cohort: Mapping[str, Any], detector: Any
) -> Iterator[Row]:
    """The exact target of every pair of a cohort's patients, aligned, and the truth about it.

    It is measured and aligned as a recording is. Pairs that differ in the identity's image alone have the same target,
    which is photographed once. One in which no face is found is left out, with a warning.

    Parameters
    ----------
    heads
        The head model.
    pairs
        Rows of :data:`faceneuro.tables.PAIRS`.
    tasks
        Of every face of the study, in the order of :data:`faceneuro.tables.FACES`.
    cohort
        Its block of the configuration; the medium is photographs.
    detector
        A :class:`faceneuro.features.landmarks.LandmarkDetector` in image mode.

    Yields
    ------
    Rows of :func:`faceneuro.tables.targets_schema`, person by person.
    """
    patients = {patient.subject: patient for patient in enrol(cohort)}
    who = itemgetter("identity_subject", "style_subject")
    # The same two people together: their tasks are then photographed without building the person anew.
    wanted = sorted((*who(pair), tasks[pair["style"]], pair["pair"]) for pair in pairs)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "target.png"
        for (identity, style, task), same in groupby(wanted, key=itemgetter(0, 1, 2)):
            truth = render_target(heads, patients[identity], patients[style], task, cohort, path)
            image = decode(path.read_bytes())
            detector.start_clip()
            found = detector.detect(image)
            if not found.found:
                log.warning("no face is found in the target of %s with the signs of %s: left out", identity, style)
                continue
            row = truth | aligned_row(align(image, found.landmarks))
            row["truth"] = carry(row["matrix"], truth["points"].reshape(-1, 2)).ravel() / SIZE
            for *_, pair in same:
                yield {"pair": pair} | row
