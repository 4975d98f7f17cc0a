"""YFP, the YouTube Facial Palsy set: frames of public videos of patients, and boxes around the regions that show it.

References
----------
Hsu, Kang and Huang, "Deep hierarchical network with line segment learning for quantitative analysis of facial palsy",
IEEE Access 7, 2019.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from faceneuro.cohorts.intake import sheets
from faceneuro.cohorts.intake.clips import Clip, Count, subjects
from faceneuro.cohorts.intake.data_set import Copy, DataSet, Place
from faceneuro.errors import InputError
from faceneuro.video import natural

INTENSITIES = {"0.5": 0.5, "low": 0.5, "1": 1.0, "1.0": 1.0, "high": 1.0}
"""How strongly a region shows the palsy, as three clinicians saw it."""

COLUMNS = ("clip", "frame", "region", "intensity", "x1", "y1", "x2", "y2")


class YFP(DataSet):
    """A folder of frames a video. With a table of boxes, frames without one are told apart: no sign was seen there."""

    title = "YFP"
    guessed = (
        "How YFP names its files could not be established; a folder of frames a video, in a folder a patient, is "
        "assumed, or patient, video and frame in the name. cohorts.*.layout can say otherwise."
    )
    layout = (
        r"{subject}/{video}/{order:[^/]*\d}",
        r"{subject}_{video}_{order:\d+}",
        r"{subject}/{order:[^/]*\d}",
    )
    sidecars = {"boxes": ("*", "a table, of boxes perhaps: name one made of it under cohorts.*.boxes")}
    options = {"boxes": {"type": ["string", "null"], "minLength": 1, "default": None}}

    def describe(self, found, file, settings):
        video = found.get("video")
        clip = f"{found['subject']}_{video}" if video else found["subject"]
        about = {"group": "palsy", "source": "yfp", "task": "speech"}
        return Place(found["subject"], clip, found["order"], about)

    def arrange(self, clip, copy) -> Iterable[Clip]:
        """Frames with a box, whose intensity is the severity, and frames without."""
        path = copy.settings["boxes"]
        if path is None:
            return [clip]
        intensity = copy.once(_boxes).get(clip.clip)
        if intensity is None:
            copy.notes.append(f"{path} has no row of clip {clip.clip}; whether its frames show a sign is not known.")
            return [clip]
        frames = [(file, intensity.get(_number(file.path))) for file in clip.files]
        shown = [file for file, value in frames if value is not None]
        signless = [file for file, value in frames if value is None]
        parts = []
        if shown:
            severity = {"severity": max(value for _, value in frames if value is not None)}
            parts.append(Clip(clip.subject, clip.clip, shown, clip.about | severity))
        if signless:
            parts.append(Clip(clip.subject, f"{clip.clip}_no_sign", signless, clip.about | {"group": "no_sign"}))
        return parts

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        videos = {clip.clip.removesuffix("_no_sign") for clip in clips}
        return [Count("subjects", subjects(clips), 21), Count("videos", len(videos), 32)]


def _number(path: str) -> int | None:
    """The number of a frame: the last in its name; None if there is none."""
    numbers = [part for part, _ in natural(path.rpartition("/")[2].rpartition(".")[0]) if part >= 0]
    return numbers[-1] if numbers else None


def _boxes(copy: Copy) -> dict[str, dict[int, float]]:
    """The strongest intensity of each frame with a box, by clip."""
    path, boxes = Path(copy.settings["boxes"]), {}
    key = f"config key cohorts.{copy.cohort}.boxes"
    for line, record in sheets.records(path, key, partial(sheets.check_columns, path, COLUMNS, COLUMNS[:4])):
        where = f"{path}, line {line}"
        intensity = INTENSITIES.get(record.get("intensity", "").strip().lower())
        if intensity is None:
            raise InputError(f"{where}, column 'intensity': {record.get('intensity')!r} is not 0.5, 1, low or high")
        frame = sheets.number(record.get("frame", ""), "frame", where)
        if frame is None:
            raise InputError(f"{where}: column 'frame' is empty; fill it in or remove the line")
        of_clip = boxes.setdefault(record.get("clip", ""), {})
        of_clip[int(frame)] = max(intensity, of_clip.get(int(frame), 0.0))
    return boxes


DATA_SET = YFP()
listing = DATA_SET.listing
