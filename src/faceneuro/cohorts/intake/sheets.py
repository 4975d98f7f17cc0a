"""Tables that people write: CSV files whose every fault is one sentence with file, line and remedy."""

import csv
import difflib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from faceneuro.errors import InputError


def records(table: Path, key: str, check_header: Callable[[list[str]], None]) -> Iterator[tuple[int, dict[str, str]]]:
    """Lines of a CSV file: UTF-8, with a header, commas or semicolons between the columns.

    Parameters
    ----------
    table
        The file.
    key
        The configuration key that names it, for messages.
    check_header
        Is called with the names of the columns, and raises if they are not those of this table.

    Yields
    ------
    Line number and cells by column, of each line that is not empty.

    Raises
    ------
    InputError
        If the file cannot be read or a line has too many cells.
    """
    try:
        text = table.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{table} is not UTF-8 text; save it again as 'CSV UTF-8'") from None
    except OSError as error:
        reason = {FileNotFoundError: "does not exist", PermissionError: "may not be read by this user"}.get(type(error))
        raise InputError(f"{key}: {table} {reason or 'cannot be read'}; give the path of a CSV file") from None
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        check_header(header)
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


def check_columns(table: Path, known: Sequence[str], required: Sequence[str], header: Sequence[str]) -> None:
    """Raise an InputError for a column that is unknown, doubled or missing."""
    for name in header:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"the columns are {', '.join(known)}"
            raise InputError(f"{table}, line 1: unknown column {name!r}; {remedy}")
    check_twice(header, table)
    for name in required:
        if name not in header:
            raise InputError(f"{table}, line 1: the column {name!r} is missing; add it (it is required)")


def check_twice(header: Sequence[str], table: Path) -> None:
    """Raise an InputError for a column that is there twice."""
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{table}, line 1: the column {name!r} is there twice; remove one of them")


def number(text: str, column: str, where: str) -> float | None:
    """A cell that holds a number or nothing.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{where}, column {column!r}: {text!r} is not a number; write 1.5, or leave it empty if unknown"
        )
    return value


SIDES = ("left", "right", "none")


def side(text: str, where: str) -> str | None:
    """A cell that holds a weak side or nothing.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    value = text.strip().lower() or None
    if value not in (None, *SIDES):
        raise InputError(f"{where}, column 'side': {text!r} is not left, right or none; leave it empty if unknown")
    return value
