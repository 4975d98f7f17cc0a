"""The files that are to be scored, by the names that their pages have."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from faceneuro.cohorts import shard_name
from faceneuro.cohorts.intake.tree import File, digest, walk
from faceneuro.errors import InputError
from faceneuro.scoring import COHORT
from faceneuro.video import VIDEO_SUFFIXES

Row = dict[str, Any]

HOW = "--config video=/path/to/a/video, or to a folder of videos"
NO_VIDEO = f"the ending is not that of a video ({' '.join(sorted(VIDEO_SUFFIXES))})"
UNNAMED = f"config key video: it does not say which recording to score; give {HOW}"
NAMED_AT_MOST = 10


def recordings(video: str | None, task: str | None) -> dict[str, Any]:
    """List what ``video`` of the configuration leads to; no file is opened.

    Of a folder, the videos in it and in its folders are recordings. What a system leaves in folders is passed over;
    every other file is left out with a reason.

    Parameters
    ----------
    video
        Path of a video or of a folder; None if nothing is to be scored.
    task
        What the recordings show; None if nobody says.

    Returns
    -------
    ``single``, whether it is one file, which may go by any name; ``clips``, rows of
    :data:`faceneuro.tables.MANIFEST` by a name that is safe in a path; and ``left_out``, a reason by the path of a file
    in the folder.

    Raises
    ------
    InputError
        If there is nothing, or no video.
    """
    if video is None:
        return {"single": False, "clips": {}, "left_out": {}}
    path = Path(video).expanduser()
    if not path.exists():
        raise InputError(
            f"config key video: there is no file or folder {video}; check the path, capitals included, and give {HOW}"
        )
    if not path.is_dir():
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise InputError(f"config key video: {video}: {NO_VIDEO}; convert it, to mp4 for instance")
        about = path.stat()
        file = File(path.name, about.st_size, about.st_mtime_ns)
        return {"single": True, "clips": _clips(path.parent, [file], task), "left_out": {}}
    tree = walk(path)
    films = [file for file in tree.files if file.suffix in VIDEO_SUFFIXES]
    if not films:
        raise InputError(f"config key video: there is no video in the folder {video}; give {HOW}")
    left_out = {file.path: NO_VIDEO for file in tree.files if file.suffix not in VIDEO_SUFFIXES}
    # Links and unreadable folders; not the hidden files and picture indices of operating systems.
    hidden = ("a hidden file", "a settings file", "a picture index", "a resource fork", "a leftover")
    left_out |= {name: reason for name, reason in tree.left_out.items() if not reason.startswith(hidden)}
    return {"single": False, "clips": _clips(path, films, task), "left_out": left_out}


def _clips(folder: Path, files: Iterable[File], task: str | None) -> dict[str, Row]:
    files = list(files)
    stems = {file.path: os.path.splitext(file.path)[0] for file in files}
    taken = Counter(shard_name([stem]).lower() for stem in stems.values())
    found = {}
    for file in files:
        name = shard_name([stems[file.path]])
        if taken[name.lower()] > 1:
            name = shard_name([file.path])
        found[name] = {
            "cohort": COHORT,
            "subject": name,
            "clip": PurePosixPath(file.path).name,
            "task": task,
            **dict.fromkeys(("group", "severity", "side", "age", "sex", "source", "files", "scores", "problem")),
            "kind": "video",
            "path": str(folder / file.path),
            "digest": digest([file]),
        }
    return found


def recording(found: Mapping[str, Any], name: str, video: str | None) -> Row:
    """The recording of a name.

    Parameters
    ----------
    found
        From :func:`recordings`.
    name
        As in ``results/score/<name>/report.html``; one file may go by any.
    video
        Of the configuration, for messages.

    Raises
    ------
    InputError
        If there is none, or no recording was named at all.
    """
    if video is None:
        raise InputError(UNNAMED)
    if found["single"]:
        (row,) = found["clips"].values()
        return row | {"subject": name}
    if name not in found["clips"]:
        names = sorted(found["clips"])
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        raise InputError(
            f"config key video: no recording of the folder {video} is called {name!r}; there are "
            f"{', '.join(names[:NAMED_AT_MOST])}{more}; `snakemake score` makes the pages of all"
        )
    return found["clips"][name]
