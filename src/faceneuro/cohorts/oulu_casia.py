"""Oulu-CASIA: six expressions of 80 people, filmed from neutral to the apex in visible and near-infrared light.

References
----------
Zhao et al., "Facial expression recognition from near-infrared videos", Image and Vision Computing 29(9), 2011.
"""

from collections.abc import Iterable, Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Leave, Place
from faceneuro.cohorts.intake.sequences import FRAMES, divided
from faceneuro.cohorts.intake.words import EMOTIONS


class OuluCasia(DataSet):
    """Of two kinds of light, three strengths and whole or cropped pictures, one of each is used."""

    title = "Oulu-CASIA"
    layout = (
        r"{version:(?:B_)?OriginalImg}/{modality:VL|NI}/{light}/{subject:P\d{3}}/{task}/{order:\d+}",
        r"{version:PreProcess_Img}/{modality:VL|NI}_Acropped/{light}/{subject:P\d{3}}/{task}/{order:\d+}",
    )
    words = {
        "task": EMOTIONS,
        "light": {"strong": "Strong", "weak": "Weak", "dark": "Dark"},
        "version": {"originalimg": "original", "b_originalimg": "original", "preprocess_img": "cropped"},
    }
    options = {
        "modality": {"enum": ["VL", "NI"], "default": "VL"},
        "light": {"enum": ["Strong", "Weak", "Dark"], "default": "Strong"},
        "version": {"enum": ["original", "cropped"], "default": "original"},
        **FRAMES,
    }
    roster = tuple(f"P{number:03d}" for number in range(1, 81))

    def describe(self, found, file, settings):
        modality = found["modality"].upper()
        for name, value in (("version", found["version"]), ("modality", modality), ("light", found["light"])):
            if value != settings[name]:
                raise Leave(f"not used, as {name} is {settings[name]}")
        subject = found["subject"].upper()
        about = {"task": found["task"], "group": "healthy", "source": "oulu_casia"}
        return Place(subject, f"{subject}_{found['task']}", found["order"], about)

    def arrange(self, clip, copy) -> Iterable[Clip]:
        return divided(clip, copy, {})

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        sequences = {clip.clip.removesuffix("_neutral") for clip in clips}
        return [Count("subjects", subjects(clips), 80), Count("sequences", len(sequences), 480)]


DATA_SET = OuluCasia()
listing = DATA_SET.listing
