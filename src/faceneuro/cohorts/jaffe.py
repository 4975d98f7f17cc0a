"""JAFFE: seven expressions of ten Japanese women, in gray. One of them is called NA.

References
----------
Lyons, Kamachi and Gyoba, "The Japanese Female Facial Expression (JAFFE) dataset", 1998.
"""

from collections.abc import Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Place
from faceneuro.cohorts.intake.words import EMOTIONS


class JAFFE(DataSet):
    """Names are such as KA.AN1.39: person, expression and repetition, number of the picture."""

    title = "JAFFE"
    layout = (r"{subject:[A-Z]{2}}.{task:[A-Z]{2}}{repetition:\d+}.{number:\d+}",)
    words = {"task": EMOTIONS}
    roster = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")

    def describe(self, found, file, settings):
        subject = found["subject"].upper()
        about = {"task": found["task"], "group": "healthy", "sex": "female", "source": "jaffe"}
        return Place(subject, f"{subject}_{found['task']}_{found['number']}", about=about)

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        return [Count("subjects", subjects(clips), 10), Count("pictures", len(clips), 213)]


DATA_SET = JAFFE()
listing = DATA_SET.listing
