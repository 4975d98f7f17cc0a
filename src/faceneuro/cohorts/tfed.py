"""TFED, the Tsinghua Facial Expression Database: eight expressions of younger and older Chinese people.

References
----------
Yang et al., "Tsinghua facial expression database", PLoS ONE 15(4), e0231304, 2020.
"""

from collections.abc import Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Leave, Place
from faceneuro.cohorts.intake.words import EMOTIONS


class TFED(DataSet):
    """Contentment is no expression that another data set has, and is left out."""

    title = "TFED"
    guessed = (
        "How TFED names its files could not be established; folders of subjects with a picture of each expression are "
        "assumed, or subject and expression in the name. cohorts.*.layout can say otherwise."
    )
    layout = ("{subject}/{task}", "{subject}_{task}", "{subject}-{task}", "{subject}_{number}_{task}")
    words = {"task": EMOTIONS | dict.fromkeys(["content", "contentment"], "content")}

    def describe(self, found, file, settings):
        if found["task"] == "content":
            raise Leave("contentment, which no other data set has")
        about = {"task": found["task"], "group": "healthy", "source": "tfed"}
        return Place(found["subject"], f"{found['subject']}_{found['task']}", about=about)

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        return [Count("subjects", subjects(clips), 110), Count("pictures without contentment", len(clips), 110 * 7)]


DATA_SET = TFED()
listing = DATA_SET.listing
