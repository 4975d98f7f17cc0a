"""AFLFP: 88 people with a facial palsy, sixteen expressions each in four states, 68 landmarks set by hand."""

from collections.abc import Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, pictures, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Place

STATES = ("neutral", "onset", "mid", "peak")


class AFLFP(DataSet):
    """An expression is a clip of up to four pictures, from neutral to its peak."""

    title = "AFLFP"
    guessed = (
        "How AFLFP names its files could not be established; subject, expression and state in the path or the name are "
        "assumed. cohorts.*.layout can say otherwise."
    )
    layout = (
        "{subject}/{task}/{state:neutral|onset|mid|peak|[0-3]}",
        # Before the next, or a folder of all pictures would be one person.
        r"{subject:[^/_]*\d[^/_]*}_{task}_{state:neutral|onset|mid|peak|[0-3]}",
        "{subject}/{task}_{state:neutral|onset|mid|peak|[0-3]}",
        "{subject}_{task}_{state:neutral|onset|mid|peak|[0-3]}",
    )
    words = {
        "task": {},
        "state": {word: str(number) for number, state in enumerate(STATES) for word in (state, str(number))},
    }
    open_words = frozenset({"task"})
    sidecars = {"landmarks": ("*", "landmarks set by hand, or a table of the set: not needed")}

    def describe(self, found, file, settings):
        about = {"task": found["task"], "group": "palsy", "source": "aflfp"}
        return Place(found["subject"], f"{found['subject']}_{found['task']}", found["state"], about)

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        return [
            Count("subjects", subjects(clips), 88),
            Count("expressions of a person", len(clips), 88 * 16),
            Count("pictures", pictures(clips), 5632),
        ]


DATA_SET = AFLFP()
listing = DATA_SET.listing
