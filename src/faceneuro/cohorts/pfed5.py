"""PFED5: 41 people with Parkinson's disease, five facial gestures on video, each scored by the MDS-UPDRS.

References
----------
Duan et al., "QAFE-Net: quality assessment of facial expressions with landmark heatmaps", 2023.
"""

from collections.abc import Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Place


class PFED5(DataSet):
    """Scores come from a table under ``labels``, with a column ``clip`` and one called ``updrs_expression``."""

    title = "PFED5"
    guessed = (
        "How PFED5 names its files could not be established; a folder per person with a video, or a folder of "
        "pictures, per gesture is assumed. cohorts.*.layout can say otherwise."
    )
    layout = (r"{subject}/{task}/{order:[^/]*\d}", "{subject}/{task}", "{subject}_{task}")
    words = {
        "task": {
            **dict.fromkeys(["rest", "sit at rest", "sit_at_rest", "neutral"], "rest"),
            "smile": "smile",
            "frown": "frown",
            **dict.fromkeys(["squeeze", "squeeze eyes", "squeeze_eyes", "squeeze eyes tightly"], "squeeze_eyes"),
            **dict.fromkeys(["clench", "clench teeth", "clench_teeth"], "clench_teeth"),
        }
    }

    def describe(self, found, file, settings):
        about = {"task": found["task"], "group": "parkinson", "source": "pfed5"}
        order = found.get("order") or ""
        return Place(found["subject"], f"{found['subject']}_{found['task']}", order, about)

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        return [Count("subjects", subjects(clips), 41), Count("gestures of a person", len(clips))]


DATA_SET = PFED5()
listing = DATA_SET.listing
