"""CK+, the extended Cohn-Kanade set: sequences of posed expressions from neutral to the apex, mostly gray.

References
----------
Lucey et al., "The extended Cohn-Kanade dataset (CK+)", CVPR Workshops 2010.
"""

from collections.abc import Iterable, Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import Copy, DataSet, Place
from faceneuro.cohorts.intake.sequences import FRAMES, divided
from faceneuro.cohorts.intake.tree import File

EMOTIONS = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
"""By the number in an emotion file."""


class CKPlus(DataSet):
    """Everything is in the names of the files, so the folders above them may be called anything."""

    title = "CK+"
    layout = (r"{subject:S\d{3}}_{sequence:\d{3}}_{order:\d+}",)
    sidecars = {
        "emotion": (r"{subject:S\d{3}}_{sequence:\d{3}}_{order:\d+}_emotion", "an emotion: read"),
        "landmarks": (r"{subject:S\d{3}}_{sequence:\d{3}}_{order:\d+}_landmarks", "landmarks of the set: not needed"),
        "facs": (r"{subject:S\d{3}}_{sequence:\d{3}}_{order:\d+}_facs", "action units: not needed"),
    }
    options = FRAMES

    def describe(self, found, file, settings):
        subject = found["subject"].upper()
        about = {"group": "healthy", "source": "ck_plus"}
        return Place(subject, f"{subject}_{found['sequence']}", found["order"], about)

    def arrange(self, clip, copy) -> Iterable[Clip]:
        """The emotion of a sequence is in a file of its own, which most sequences lack: then there is none."""
        file = copy.once(_emotion_files).get(clip.clip)
        if file is not None:
            try:
                clip.about["task"] = dict(enumerate(EMOTIONS))[float(copy.text(file))]
            except (ValueError, KeyError):
                copy.notes.append(f"{file.path} holds no number from 0 to 7; the sequence has no emotion.")
        return divided(clip, copy, {})

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        sequences = {clip.clip: clip for clip in clips if not clip.clip.endswith("_neutral")}
        named = sum(clip.about.get("task") is not None for clip in sequences.values())
        return [
            Count("subjects", subjects(clips), 123),
            Count("sequences", len(sequences), 593),
            Count("sequences with an emotion", named, 327),
        ]


def _emotion_files(copy: Copy) -> dict[str, File]:
    """The emotion file of each sequence that has one."""
    found = copy.sidecars.get("emotion", ())
    return {f"{fields['subject'].upper()}_{fields['sequence']}": file for fields, file in found}


DATA_SET = CKPlus()
listing = DATA_SET.listing
