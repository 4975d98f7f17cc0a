"""RaFD, the Radboud Faces Database: 67 models, eight expressions, three gaze directions, five angles.

References
----------
Langner et al., "Presentation and validation of the Radboud Faces Database", Cognition and Emotion 24(8), 2010.
"""

from collections.abc import Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import DataSet, Leave, Place
from faceneuro.cohorts.intake.words import EMOTIONS


class RaFD(DataSet):
    """Everything is in the name of a picture. The token between number and sex is read permissively: children's was not
    to be established."""

    title = "RaFD"
    layout = (r"Rafd{angle:\d+}_{subject:\d+}_{people:.+}_{sex}_{task}_{gaze}",)
    words = {"task": EMOTIONS}
    options = {
        "angles": {"type": "array", "items": {"enum": [0, 45, 90, 135, 180]}, "minItems": 1, "default": [90]},
        "gaze": {
            "type": "array",
            "items": {"enum": ["frontal", "left", "right"]},
            "minItems": 1,
            "default": ["frontal"],
        },
    }

    def describe(self, found, file, settings):
        if not found["angle"].isdecimal() or int(found["angle"]) not in settings["angles"]:
            raise Leave(f"not used, as angles is {settings['angles']}")
        gaze = found["gaze"].lower()
        if gaze not in settings["gaze"]:
            raise Leave(f"not used, as gaze is {settings['gaze']}")
        sex = found["sex"].lower()
        about = {
            "task": found["task"],
            "group": "healthy",
            "sex": sex if sex in ("male", "female") else None,
            "source": "rafd",
        }
        subject = found["subject"].zfill(2)
        return Place(subject, f"{subject}_{found['task']}_{int(found['angle']):03d}_{gaze}", about=about)

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        frontal = {clip.clip.split("_", 2)[2] for clip in clips}
        views = len(frontal)
        return [
            Count("subjects", subjects(clips), 67),
            Count(f"pictures of the {views} chosen view{'s' if views > 1 else ''}", len(clips), 67 * 8 * views),
        ]


DATA_SET = RaFD()
listing = DATA_SET.listing
