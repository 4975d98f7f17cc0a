"""Your own recordings: a folder of videos, image folders and stills, and a CSV file that says who is in them."""

import csv
import difflib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from faceneuro.errors import InputError
from faceneuro.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

REQUIRED = ("path", "subject")
TEXTS = ("task", "group", "sex", "source")
NUMBERS = ("severity", "age")
COLUMNS = (*REQUIRED, "clip", *TEXTS, *NUMBERS, "side")
SIDES = ("left", "right", "none")

Row = dict[str, Any]


def clips(cohort: str, settings: Mapping[str, Any]) -> list[Row]:
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
    Rows of :data:`faceneuro.tables.MANIFEST` without the cohort; ``path`` is the root with the path in it.

    Raises
    ------
    InputError
        If the root or the file cannot be read; for an unknown, missing or doubled column, no rows, a missing subject
        or path, a path that leaves the root, a severity or age that is no number, a side that is none of the three.
    """
    root, table = Path(settings["root"]), Path(settings["clips"])
    if not root.is_dir():
        raise InputError(f"cohorts/{cohort}/root: there is no folder {root}; give the folder that holds the recordings")
    rows = [_row(record, root, f"{table}, line {line}") | {"line": line} for line, record in _records(table, cohort)]
    if not rows:
        raise InputError(f"{table} lists no clips; add a line for each recording below the header")
    _name(rows)
    _find_duplicates(rows)
    for row in rows:
        del row["line"], row["listed"], row["within"]
    return rows


def _records(table: Path, cohort: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column, of each line that is not empty."""
    try:
        text = table.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table} is not UTF-8 text; save it again as 'CSV UTF-8'") from None
    except OSError as error:
        reason = {FileNotFoundError: "does not exist", PermissionError: "may not be read by this user"}.get(type(error))
        raise InputError(
            f"cohorts/{cohort}/clips: {table} {reason or 'cannot be read'}; give the CSV file that lists the recordings"
        ) from None
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, table)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) > len(header):
                raise InputError(
                    f"{table}, line {reader.line_num} has {len(cells)} cells, the header {len(header)}; put quotes "
                    f"around a cell that holds {delimiter!r}"
                )
            yield reader.line_num, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise InputError(f"{table}, line {reader.line_num}: {error}; check the quotes in and above this line") from None


def _check_header(header: list[str], table: Path) -> None:
    for name in header:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name.lower(), COLUMNS, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(COLUMNS)}"
            raise InputError(f"{table}, line 1: unknown column {name!r}; {remedy}")
        if header.count(name) > 1:
            raise InputError(f"{table}, line 1: the column {name!r} is there twice; remove one of them")
    for name in REQUIRED:
        if name not in header:
            raise InputError(f"{table}, line 1: the column {name!r} is missing; add it (it is required)")


def _row(record: Mapping[str, str], root: Path, where: str) -> Row:
    for name in REQUIRED:
        if not record.get(name, "").strip():
            raise InputError(f"{where}: column {name!r} is empty; fill it in or remove the line")
    side = record.get("side", "").strip().lower() or None
    if side not in (None, *SIDES):
        raise InputError(
            f"{where}, column 'side': {record['side']!r} is not left, right or none; leave it empty if unknown"
        )
    path, within = root / record["path"], _inside(root, record["path"], where)
    return {
        "subject": record["subject"],
        "clip": record.get("clip") or None,
        **{name: record.get(name, "").strip() or None for name in TEXTS},
        **{name: _number(record.get(name, ""), name, where) for name in NUMBERS},
        "side": side,
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


def _number(text: str, name: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}, column {name!r}: {text!r} is not a number; write 1.5, or leave it empty if unknown")
    return value


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
