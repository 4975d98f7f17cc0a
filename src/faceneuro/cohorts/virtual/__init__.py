"""Virtual patients: rendered people with known clinical signs, filmed or photographed doing clinical tasks.

A cohort without patients' data, on which every step of the workflow can be run and its measurements checked against
the truth. Heads are MakeHuman's (CC0); signs, tasks and recording conditions are drawn from a seed. What is not a sign
(the person, light, camera, background, motion of the head) is drawn alike in every group.
"""

from collections.abc import Mapping
from typing import Any

from faceneuro.cohorts.intake.clips import Listing
from faceneuro.cohorts.virtual.patients import clip_of, enrol
from faceneuro.errors import InputError


def listing(cohort: str, settings: Mapping[str, Any]) -> Listing:
    """The recordings of a cohort that are to be made: one row per patient and task.

    Parameters
    ----------
    cohort
        Its name, for messages.
    settings
        Its block of the configuration.

    Returns
    -------
    The clips; ``path`` is the name of the file in its folder.

    Raises
    ------
    InputError
        If a data set of origin is given for a group that the cohort does not have.
    ValueError
        If a group or a task does not exist.
    """
    groups = settings["groups"]
    for group in settings["sources"] or ():
        if group not in groups:
            raise InputError(
                f"config key cohorts.{cohort}.sources: the cohort has no group {group!r}; known are {', '.join(groups)}"
            )
    return Listing([clip_of(patient, task, settings) for patient in enrol(settings) for task in settings["tasks"]])
