"""Your own recordings: a folder of videos, image folders and stills, and a CSV file that says who is in them."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from faceneuro.cohorts.intake import sheets
from faceneuro.cohorts.intake.clips import Count, Listing
from faceneuro.cohorts.intake.tree import File, digest, walk
from faceneuro.errors import InputError
from faceneuro.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural

REQUIRED = ("path", "subject")
TEXTS = ("task", "group", "sex", "source")
NUMBERS = ("severity", "age")
COLUMNS = (*REQUIRED, "clip", *TEXTS, *NUMBERS, "side")

Row = dict[str, Any]


def listing(cohort: str, settings: Mapping[str, Any]) -> Listing:
    """List the clips of a CSV file, in its order.

    The file has a header, commas or semicolons between its columns, and is UTF-8. The columns ``path`` (relative to the
    root) and ``subject`` are required; ``clip`` (named after the file if absent), ``task``, ``group``, ``severity``,
    ``side`` (left, right or none), ``age``, ``sex`` and ``source`` are optional, and an empty cell is an unknown value.
    Names are text and stay as they are: 007, NA, spaces and quotes included.

    What concerns one clip alone (a missing file, a file listed twice, an ending that is no recording's) goes into that
    row's ``problem``, and the others go on. What makes the list itself doubtful is raised.

    Parameters
    ----------
    cohort
        Its name in the configuration, for messages.
    settings
        ``root``: folder of the recordings; ``clips``: path of the CSV file.

    Returns
    -------
    The clips, whose ``path`` is the root with the path in it, and the files of the root that the list does not name.

    Raises
    ------
    InputError
        If the root or the file cannot be read; for an unknown, missing or doubled column, no rows, a missing subject
        or path, a path that leaves the root, a severity or age that is no number, a side that is none of the three.
    """
    root, table = Path(settings["root"]), Path(settings["clips"])
    if not root.is_dir():
        raise InputError(
            f"config key cohorts.{cohort}.root: there is no folder {root}; give the folder that holds the recordings"
        )
    check = partial(sheets.check_columns, table, COLUMNS, REQUIRED)
    records = sheets.records(table, f"config key cohorts.{cohort}.clips", check)
    rows = [_row(record, root, f"{table}, line {line}") | {"line": line} for line, record in records]
    if not rows:
        raise InputError(f"{table} lists no clips; add a line for each recording below the header")
    _name(rows)
    _find_duplicates(rows)
    in_clips = _add_files(rows, root)
    left_out = {path: f"not listed in {table}" for path in _paths(root) if path not in in_clips}
    for row in rows:
        del row["line"], row["listed"], row["within"]
    counts = [
        Count("subjects", len({row["subject"] for row in rows})),
        Count("clips", len(rows)),
        Count("clips with a problem", sum(row["problem"] is not None for row in rows)),
    ]
    return Listing(rows, f"recordings of {table}", left_out=left_out, in_clips=in_clips, counts=counts)


def _paths(root: Path) -> list[str]:
    tree = walk(root)
    return [*(file.path for file in tree.files), *tree.left_out]


def _add_files(rows: list[Row], root: Path) -> dict[str, tuple[str, str]]:
    """Name the stills of folders and the state of all files; gives subject and clip by the path of each file."""
    in_clips = {}
    for row in rows:
        row["files"] = row["digest"] = row["scores"] = None
        if row["problem"]:
            continue
        try:
            names = _stills(row["within"]) if row["kind"] == "images" else [""]
            state = [(name, (row["within"] / name).stat()) for name in names]
        except PermissionError:
            continue  # Decoding will say so.
        if row["kind"] == "images" and names:
            row["files"] = names
        row["digest"] = digest(File(name, about.st_size, about.st_mtime_ns) for name, about in state)
        for name in names:
            path = (row["within"] / name).relative_to(root.resolve()).as_posix()
            in_clips[path] = (row["subject"], row["clip"])
    return in_clips


def _stills(folder: Path) -> list[str]:
    names = (file.name for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != ".")
    return sorted(names, key=natural)


def _row(record: Mapping[str, str], root: Path, where: str) -> Row:
    for name in REQUIRED:
        if not record.get(name, "").strip():
            raise InputError(f"{where}: column {name!r} is empty; fill it in or remove the line")
    path, within = root / record["path"], _inside(root, record["path"], where)
    return {
        "subject": record["subject"],
        "clip": record.get("clip") or None,
        **{name: record.get(name, "").strip() or None for name in TEXTS},
        **{name: sheets.number(record.get(name, ""), name, where) for name in NUMBERS},
        "side": sheets.side(record.get("side", ""), where),
        "path": str(path),
        "listed": record["path"],
        "within": within,
        **_kind(path),
    }


def _inside(root: Path, text: str, where: str) -> Path:
    """The file that a path of the list really leads to, which must be in the root: links and .. are followed."""
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive:
        raise InputError(f"{where}, column 'path': {text!r} is absolute; write it as seen from the root folder {root}")
    target = (root / text).resolve()
    if not target.is_relative_to(root.resolve()):
        raise InputError(f"{where}, column 'path': {text!r} leads out of the root folder {root}; move the file into it")
    return target


def _kind(path: Path) -> dict[str, str | None]:
    suffix, problem = path.suffix.lower(), None
    try:
        folder, missing = path.is_dir(), not path.exists()
    except PermissionError:
        folder, missing = False, False  # Decoding will say so.
    kind = "images" if folder else "image" if suffix in IMAGE_SUFFIXES else "video"
    if missing:
        problem = "the file does not exist; check its path below the root folder, capitals included"
    elif kind == "video" and suffix not in VIDEO_SUFFIXES:
        problem = (
            f"the ending {suffix or '(none)'!r} is not one of a video or an image; convert the file, to mp4 for "
            "instance, or correct its name"
        )
    return {"kind": kind, "problem": problem}


def _name(rows: list[Row]) -> None:
    """Give clips without a name that of their file, with as much of its path as tells a subject's clips apart."""
    unnamed = [row for row in rows if row["clip"] is None]
    for shorten in (lambda path: path.stem, lambda path: path.name, str):
        names = {row["line"]: shorten(PurePosixPath(row["listed"])) for row in unnamed}
        taken = Counter((row["subject"], row["clip"]) for row in rows)
        taken.update((row["subject"], names[row["line"]]) for row in unnamed)
        for row in unnamed:
            if taken[row["subject"], names[row["line"]]] == 1:
                row["clip"] = names[row["line"]]
        unnamed = [row for row in unnamed if row["clip"] is None]
    for row in unnamed:
        row["clip"] = PurePosixPath(row["listed"]).stem


def _find_duplicates(rows: list[Row]) -> None:
    """Leave out a file or a name that came before; the name of its row is made unique, as keys of tables must be."""
    files: dict[Path, Row] = {}
    names: dict[tuple[str, str], Row] = {}
    for row in rows:
        same_file = files.setdefault(row["within"], row)
        same_name = names.setdefault((row["subject"], row["clip"]), row)
        if same_file is not row:
            row["problem"] = (
                f"the same file is listed in line {same_file['line']} already, as subject {same_file['subject']!r}, "
                f"clip {same_file['clip']!r}; remove one of the lines"
            )
        elif same_name is not row:
            row["problem"] = (
                f"line {same_name['line']} gives this subject a clip of the same name already; rename one of them"
            )
        if same_name is not row:
            row["clip"] += f" (line {row['line']})"
