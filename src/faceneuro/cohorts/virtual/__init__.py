"""Virtual patients: rendered people with known clinical signs, filmed doing clinical tasks.

A cohort without patients' data, on which every step of the workflow can be run and its measurements checked against
the truth. Heads are MakeHuman's (CC0); signs, tasks and recording conditions are drawn from a seed. What is not a sign
(the person, light, camera, background, motion of the head) is drawn alike in every group.
"""

from collections.abc import Mapping
from typing import Any

from faceneuro.cohorts.virtual.patients import clip_of, enrol


def clips(cohort: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The recordings of a cohort that are to be made: one row per patient and task, without paths.

    Parameters
    ----------
    cohort
        Its name, which changes nothing.
    settings
        Its block of the configuration.

    Raises
    ------
    ValueError
        If a group or a task does not exist.
    """
    return [
        clip_of(patient, task) | {"kind": "video", "problem": None}
        for patient in enrol(settings)
        for task in settings["tasks"]
    ]
