"""People with Parkinson's disease, each with a neutral face and six expressions: PDFE, or a set made like it.

The PDFE set itself is not to be had. What its paper says of it fits a folder per person, with a picture (or a folder
of pictures) per expression, and a table of severities.

References
----------
Zhou, Huang, Li, Huang and Pang, "Facial Expression-based Parkinson's Disease Severity Diagnosis via Feature Fusion and
Adaptive Class Balancing", 2025.
"""

from collections.abc import Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Place
from faceneuro.cohorts.intake.words import EMOTIONS


class PDFE(DataSet):
    """The severity comes from a table under ``labels``, with a column ``subject``."""

    title = "PDFE"
    guessed = (
        "PDFE is not public; a folder per person with a file or a folder per expression is assumed. cohorts.*.layout "
        "can say otherwise."
    )
    layout = (r"{subject}/{task}/{order:[^/]*\d}", "{subject}/{task}", "{subject}_{task}")
    words = {"task": EMOTIONS}

    def describe(self, found, file, settings):
        about = {"task": found["task"], "group": "parkinson", "source": "pdfe"}
        order = found.get("order") or ""
        return Place(found["subject"], f"{found['subject']}_{found['task']}", order, about)

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        expressions = {(clip.subject, clip.about["task"]) for clip in clips} - {
            (clip.subject, "neutral") for clip in clips
        }
        return [Count("subjects", subjects(clips), 145), Count("expressions of a person", len(expressions), 145 * 6)]


DATA_SET = PDFE()
listing = DATA_SET.listing
