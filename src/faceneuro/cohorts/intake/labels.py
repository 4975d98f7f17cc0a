"""Tables of labels: what a user knows of subjects or clips beside what the files say, joined by name."""

from collections.abc import Sequence
from pathlib import Path

from faceneuro.cohorts.intake import sheets
from faceneuro.cohorts.intake.clips import Clip
from faceneuro.errors import InputError

TEXTS = ("task", "group", "sex", "source")
NUMBERS = ("severity", "age")
ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6}

RANGES = {"house_brackmann": (1, 6), "eface": (0, 100), "sunnybrook": (0, 100)}
"""Least and greatest value of clinical scores. Items of the MDS-UPDRS, ``updrs_`` and a name, go from 0 to 4; of
``updrs_total`` and of scores that are not listed, no range is known."""

EFACE_BANDS = (96, 91, 80, 70, 60)
"""Least eFACE score of normal, near-normal, mild, moderate and severe weakness; what is below is complete. Scores
between two published bands (90.5, say) belong to the worse one."""

NAMED_AT_MOST = 8


def severity_of(name: str, score: float) -> float:
    """A score as a severity, of which more is worse.

    The eFACE, of which more is better, becomes its band, 0 (normal) to 5 (complete); all others stay as they are, but
    for the Sunnybrook score, which is taken from 100.

    References
    ----------
    Bands of the eFACE: the MEEI standard set, as the CCFExp paper gives them.
    """
    if name == "eface":
        return float(sum(score < least for least in EFACE_BANDS))
    return 100.0 - score if name == "sunnybrook" else score


def join(cohort: str, clips: Sequence[Clip], tables: Sequence[str], severity: str | None) -> list[str]:
    """Add what tables of labels say to clips, in place.

    A table is a CSV file with a column ``subject``, or ``clip``, or both; further columns are ``task``, ``group``,
    ``severity``, ``side``, ``age``, ``sex`` and ``source``, and any other column is a clinical score with numbers in
    it (``house_brackmann`` also in Roman numerals). A cell that is filled replaces what the files said.

    Parameters
    ----------
    cohort
        Its name in the configuration, for messages.
    clips
        Clips of the cohort.
    tables
        Paths of CSV files; a later one has the last word.
    severity
        The score that stands for the severity, see :func:`severity_of`; none leaves the column ``severity``.

    Returns
    -------
    Sentences about rows without a clip, and about subjects or clips without a row.

    Raises
    ------
    InputError
        If a table cannot be read, has no key column, two rows for one key, a value that is none or out of range; or if
        no table has the score that is to be the severity.
    """
    notes = []
    for path in tables:
        notes += _join(cohort, clips, Path(path))
    if severity is None:
        return notes
    if not any(severity in clip.scores for clip in clips):
        known = sorted({name for clip in clips for name in clip.scores})
        raise InputError(
            f"config key cohorts.{cohort}.severity: no clip has a score {severity!r}; there is "
            f"{', '.join(known) or 'no score at all: name a table under labels'}"
        )
    for clip in clips:
        if severity in clip.scores:
            clip.about["severity"] = severity_of(severity, clip.scores[severity])
    return notes


def _join(cohort: str, clips: Sequence[Clip], table: Path) -> list[str]:
    columns: list[str] = []

    def check(header: list[str]) -> None:
        sheets.check_twice(header, table)
        if not {"subject", "clip"} & set(header):
            raise InputError(f"{table}, line 1: there is no column 'subject' or 'clip' to join by; add one of them")
        columns.extend(header)

    rows: dict[tuple, tuple[int, dict]] = {}
    keys = ()
    for line, record in sheets.records(table, f"config key cohorts.{cohort}.labels", check):
        keys = tuple(name for name in ("subject", "clip") if name in columns)
        key = tuple(record.get(name, "") for name in keys)
        if not all(cell.strip() for cell in key):
            empty = next(name for name, cell in zip(keys, key, strict=True) if not cell.strip())
            raise InputError(f"{table}, line {line}: column {empty!r} is empty; fill it in, or remove the line")
        if key in rows:
            raise InputError(
                f"{table}, line {line}: line {rows[key][0]} is about {' / '.join(key)!r} already; remove one of them"
            )
        rows[key] = (line, record)
    keys = keys or tuple(name for name in ("subject", "clip") if name in columns)

    used, without = set(), set()
    for clip in clips:
        key = tuple(getattr(clip, name) for name in keys)
        if key in rows:
            used.add(key)
            line, record = rows[key]
            _fill(clip, record, f"{table}, line {line}")
        else:
            without.add(key)
    unused = [f"{' / '.join(key)} (line {rows[key][0]})" for key in rows if key not in used]
    called = "clip" if "clip" in keys else "subject"
    return [
        *_unmatched(f"{table}: {{}} of {len(rows)} rows match no {called} of this copy", unused),
        *_unmatched(
            f"{table}: {{}} of {len(used) + len(without)} {called}s have no row", [" / ".join(key) for key in without]
        ),
    ]


def _fill(clip: Clip, record: dict[str, str], where: str) -> None:
    for column, cell in record.items():
        if column in ("subject", "clip") or not cell.strip():
            continue
        if column in TEXTS:
            clip.about[column] = cell.strip()
        elif column == "side":
            clip.about["side"] = sheets.side(cell, where)
        elif column in NUMBERS:
            clip.about[column] = sheets.number(cell, column, where)
        else:
            clip.scores[column] = _score(column, cell, where)


def _score(column: str, cell: str, where: str) -> float:
    if column == "house_brackmann" and cell.strip().lower() in ROMAN:
        return float(ROMAN[cell.strip().lower()])
    value = sheets.number(cell, column, where)
    item = column.startswith("updrs_") and column != "updrs_total"
    low, high = RANGES.get(column, (0, 4) if item else (None, None))
    if low is not None and not low <= value <= high:
        raise InputError(f"{where}, column {column!r}: {cell.strip()} is not between {low} and {high}; correct it")
    return value


def _unmatched(sentence: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    named = sorted(names)
    more = f" and {len(named) - NAMED_AT_MOST} more" if len(named) > NAMED_AT_MOST else ""
    return [f"{sentence.format(len(named))}: {', '.join(named[:NAMED_AT_MOST])}{more}."]
