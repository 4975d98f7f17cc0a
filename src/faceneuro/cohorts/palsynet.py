"""PalsyNet: public videos of people with and without a facial palsy, one a person, all from the same kind of source.

Both classes come from the same source, which makes them harder to tell apart by anything but the face.
"""

from collections.abc import Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Place
from faceneuro.cohorts.intake.words import PALSY


class PalsyNet(DataSet):
    """Videos are numbered anew in each folder, so the folder is part of a person's name."""

    title = "PalsyNet"
    layout = (r"{group}/{number:\d+}",)
    words = {"group": PALSY}

    def describe(self, found, file, settings):
        folder = "affected" if found["group"] == "palsy" else "unaffected"
        number = found["number"]
        subject = f"{folder}_{int(number) if number.isdecimal() else number}"
        about = {"task": "speech", "group": found["group"], "source": "palsynet"}
        if found["group"] == "healthy":
            about["side"] = "none"
        return Place(subject, subject, about=about)

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        return [
            Count("subjects, palsy", subjects(clips, lambda clip: clip.about["group"] == "palsy"), 27),
            Count("subjects, healthy", subjects(clips, lambda clip: clip.about["group"] == "healthy"), 22),
        ]


DATA_SET = PalsyNet()
listing = DATA_SET.listing
