"""Toronto NeuroFace: people with ALS, after a stroke and healthy ones, doing orofacial gestures before a camera.

References
----------
Bandini et al., "A new dataset for facial motion analysis in individuals with neurological disorders", IEEE Journal of
Biomedical and Health Informatics 25(4), 2021. The layout was read in two public programs that use it.
"""

import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from faceneuro.cohorts.intake import sheets
from faceneuro.cohorts.intake.clips import Clip, Count, pictures, subjects
from faceneuro.cohorts.intake.data_set import Copy, DataSet, Leave, Place
from faceneuro.cohorts.intake.tree import File
from faceneuro.errors import InputError
from faceneuro.video import VIDEO_SUFFIXES

PEOPLE = {
    "als": "A002 A006 A008 A009 A010 A011 A012 A014 A015 A016 A017",
    "healthy": "N001 N002 N003 N004 N007 N008 N010 N011 N012 N017 N019",
    "stroke": "OP01 OP02 OP03 S001 S002 S003 S005 S006 S007 S008 S009 S011 S012 S013",
}
"""Subjects by group."""

VIDEOS = {"als": 76, "healthy": 80, "stroke": 105}
FRAMES = {"als": 920, "healthy": 1015, "stroke": 1371}
"""Videos, and frames that were annotated by hand, by group."""


class NeuroFace(DataSet):
    """The frames of a whole group lie in one folder; their names say to which clip they belong."""

    title = "Toronto NeuroFace"
    layout = (
        r"{group}/*/{subject:[AN]\d{3}|OP\d\d|S\d{3}}_{session:\d+}_{task:.+?}_color.avi_{order:\d+}",
        r"{group}/*/{subject:[AN]\d{3}|OP\d\d|S\d{3}}_{session:\d+}_{task:.+?}_color",
        r"{group}/{subject:[AN]\d{3}|OP\d\d|S\d{3}}_{session:\d+}_{task:.+?}_color",
    )
    words = {
        "group": {
            **dict.fromkeys(["als", "als patients"], "als"),
            **dict.fromkeys(["stroke", "ps", "post-stroke", "post stroke", "poststroke"], "stroke"),
            **dict.fromkeys(["healthy controls", "healthy control", "healthy", "hc", "controls"], "healthy"),
        },
        "task": {
            "nsm_spread": "spread",
            "nsm_kiss": "kiss",
            "nsm_open": "open",
            "nsm_blow": "blow",
            "nsm_bigsmile": "bigsmile",
            "nsm_brow": "brow",
            "ddk_pa": "pa",
            "ddk_pataka": "pataka",
            "bbp_normal": "sentence",
        },
    }
    sidecars = {
        "landmarks": (
            r"{subject:[AN]\d{3}|OP\d\d|S\d{3}}_{session:\d+}_{task:.+?}_color",
            "landmarks set by hand: read by the intake alone",
        ),
        "boxes": (
            r"{subject:[AN]\d{3}|OP\d\d|S\d{3}}_{session:\d+}_{task:.+?}_color_gt",
            "face boxes set by hand: read by the intake alone",
        ),
        "scores": ("*score*", "scores of clinicians: export them as CSV and name it under labels"),
    }
    options = {
        "recordings": {"enum": ["frames", "videos"], "default": "frames"},
        "repetitions": {"type": ["string", "null"], "minLength": 1, "default": None},
    }
    roster = tuple(" ".join(PEOPLE.values()).split())

    def describe(self, found, file, settings):
        video = file.suffix in VIDEO_SUFFIXES
        if video != (settings["recordings"] == "videos"):
            raise Leave(f"not used, as recordings is {settings['recordings']}")
        subject = found["subject"].upper()
        about = {"task": found["task"], "group": found["group"], "source": "neuroface"}
        return Place(subject, _name(file), found.get("order") or "", about)

    def arrange(self, clip, copy) -> Iterable[Clip]:
        """Divide frames into repetitions of the gesture, where a table says when each was."""
        path = copy.settings["repetitions"]
        if path is None or clip.is_video:
            return [clip]
        windows = copy.once(_repetitions)
        if clip.clip not in windows:
            return [clip]
        left, parts = clip.files, []
        for number, (first, last) in enumerate(windows[clip.clip], 1):
            inside = [file for file in left if first <= _frame(file) <= last]
            left = [file for file in left if file not in inside]
            if inside:
                parts.append(Clip(clip.subject, f"{clip.clip}_{number}", inside, dict(clip.about)))
        copy.leave(left, f"in no repetition of {path}")
        return parts

    def examine(self, listing, root) -> list[str]:
        """Whether the landmarks and boxes that were set by hand are those of the frames that are here."""
        frames: dict[str, set[int]] = {}
        for path in listing.in_clips:
            name = path.rpartition("/")[2]
            if path.lower().endswith(".avi"):
                continue
            frames.setdefault(name.partition("_color")[0], set()).add(int(name.rpartition("_")[2].partition(".")[0]))
        notes = []
        for kind, values in (("landmarks", 136), ("boxes", 4)):
            wrong, unmatched = [], []
            for _, file in listing.sidecars.get(kind, ()):
                name = file.path.rpartition("/")[2].partition("_color")[0]
                numbers = _frame_numbers(root / file.path, values)
                if numbers is None:
                    wrong.append(file.path)
                elif name in frames and numbers != frames[name]:
                    unmatched.append(
                        f"{name} ({len(frames[name] - numbers)} without, {len(numbers - frames[name])} over)"
                    )
            if wrong:
                notes.append(
                    f"{kind} set by hand: not a header and rows of a frame and {values} numbers: {_some(wrong)}."
                )
            if unmatched:
                notes.append(f"{kind} set by hand: not those of the frames that are here: {_some(unmatched)}.")
        return notes

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        counts = [Count("subjects", subjects(clips), len(self.roster))]
        videos = any(clip.is_video for clip in clips)
        whole = {(clip.subject, clip.clip.rpartition("_")[0] if _is_part(clip) else clip.clip) for clip in clips}
        counts.append(Count("videos" if videos else "videos with frames", len(whole), sum(VIDEOS.values())))
        for group, people in PEOPLE.items():
            of_group = [clip for clip in clips if clip.about["group"] == group]
            counts.append(Count(f"subjects, {group}", subjects(of_group), len(people.split())))
            if not videos:
                counts.append(Count(f"frames, {group}", pictures(of_group), FRAMES[group]))
                if not any(map(_is_part, of_group)):
                    pairs = pictures(of_group) - len(of_group)
                    counts.append(Count(f"successive pairs, {group}", pairs, FRAMES[group] - VIDEOS[group]))
        if not videos:
            counts.append(Count("frames", pictures(clips), sum(FRAMES.values())))
        return counts


def _name(file: File) -> str:
    """The clip that a file is of, as it is called on disk, so that labels join by it."""
    name = PurePosixPath(file.path).stem
    at = name.lower().find("_color")
    return name[:at] if at >= 0 else re.sub(r"[ _.-]*[0-9]+$", "", name)


def _frame(file: File) -> int:
    """The number of a frame: the last in its name; -1 if there is none."""
    return int(["-1", *re.findall(r"[0-9]+", PurePosixPath(file.path).stem)][-1])


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _frame_numbers(path: Path, values: int) -> set[int] | None:
    """The frames that a table set by hand has a row of; None if it is not such a table."""
    try:
        _, *lines = path.read_text("utf-8-sig").splitlines()
        rows = [[float(cell) for cell in line.split(",")] for line in lines if line.strip()]
    except (OSError, ValueError):
        return None
    return {int(row[0]) for row in rows} if all(len(row) == 1 + values for row in rows) else None


def _is_part(clip: Clip) -> bool:
    return _name(clip.files[0]) != clip.clip


def _repetitions(copy: Copy) -> dict[str, list[tuple[int, int]]]:
    """First and last frame of each repetition, by clip."""
    path, columns = Path(copy.settings["repetitions"]), ("clip", "start", "end")
    windows: dict[str, list[tuple[int, int]]] = {}
    key = f"config key cohorts.{copy.cohort}.repetitions"
    for line, record in sheets.records(path, key, partial(sheets.check_columns, path, columns, columns)):
        start, end = (sheets.number(record.get(name, ""), name, f"{path}, line {line}") for name in columns[1:])
        if start is None or end is None or end < start:
            raise InputError(f"{path}, line {line}: start and end must be frame numbers, the end not before the start")
        windows.setdefault(record.get("clip", ""), []).append((int(start), int(end)))
    return windows


DATA_SET = NeuroFace()
listing = DATA_SET.listing
