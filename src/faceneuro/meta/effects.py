"""Effect sizes: read from a table, checked, and put on the scale on which they are pooled.

An effect size is the accuracy of one classifier in percent, with its sampling variance in percent squared. Studies
report the precision in different ways, so a table may give limits, variances or numbers of subjects.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from faceneuro.errors import InputError

Array = npt.NDArray[np.float64]
Cells = Mapping[str, str]
Problem = tuple[int, str]
"""A line number and a sentence."""

DTYPES = {
    "study": "str",
    "subgroup": "str",
    "block": "str",
    "article": "str",
    "year": "Int64",
    "accuracy": "float64",
    "ci_low": "float64",
    "ci_high": "float64",
    "variance": "float64",
    "n": "Int64",
    "measure": "str",
    "provenance": "str",
    "row": "int64",
}
COLUMNS = tuple(DTYPES)
"""Of a table of effect sizes: accuracy and limits in percent, variance in percent squared, row the line in the file."""

LIMITS = ("ci_low_pct", "ci_high_pct")
YEARS = (1900, 2100)

SCALES = ("raw", "logit", "freeman_tukey")
"""On which accuracies can be pooled: percent, log odds, or the arcsine of the root of the proportion."""


def read_studies(path: str | os.PathLike, level: float = 0.95) -> pd.DataFrame:
    """Effect sizes from a CSV file; lines that start with # are comments.

    Columns: ``study`` and ``accuracy_pct``, and at least one of these: ``ci_low_pct`` with ``ci_high_pct``,
    ``variance_pct2``, ``n``. Optional are ``subgroup`` (default: all), ``subgroup_block`` (default: subgroup),
    ``article`` (default: study), ``year``, ``measure`` (default: accuracy) and ``provenance`` (default: printed). Any
    other is ignored. Limits and variance stand as they are given; the one that is not given follows from the other, the
    limits being symmetric. Where there are neither, both follow from Wilson's interval for n subjects. A blank accuracy
    is a missing value.

    Parameters
    ----------
    path
        The file.
    level
        Of the confidence intervals in it.

    Returns
    -------
    Columns :data:`COLUMNS`, one row per effect size, in the order of the file.

    Raises
    ------
    InputError
        If something in the file cannot be used. All that is wrong is said at once, a sentence per line.

    References
    ----------
    Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
    Association 22:209-212, 1927.
    """
    path = Path(path)
    header, records = _records(path)
    columns = _check_columns(path, header)
    if columns:
        raise InputError("\n".join(columns))
    if not records:
        raise InputError(f"{path} has a header but no rows; add a line for each study below it")
    z = float(stats.norm.isf((1 - level) / 2))
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for line, cells in records:
        if len(cells) != len(header):
            study = dict(zip(header, cells, strict=False)).get("study", "").strip() or "no name"
            problems.append(
                (
                    line,
                    f"{path}, line {line} ({study}): it has {len(cells)} cells, the header has {len(header)} columns; "
                    "add the missing commas, or put quotes around a cell that holds one",
                )
            )
            continue
        row, found = _row(path, line, dict(zip(header, cells, strict=True)), z)
        rows.append(row)
        problems += found
    problems += [*_find_duplicates(path, rows), *_find_fractions(path, rows)]
    if problems:
        raise InputError("\n".join(sentence for _, sentence in sorted(problems)))
    return pd.DataFrame(rows, columns=COLUMNS).astype(DTYPES)


def _records(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a CSV file, each row with the number of its line."""
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it again as 'CSV UTF-8'") from None
    except OSError as error:
        reason = {FileNotFoundError: "does not exist", PermissionError: "may not be read by this user"}.get(type(error))
        raise InputError(f"{path} {reason or 'cannot be read'}; give the CSV file that lists the studies") from None
    if "\0" in text:
        raise InputError(f"{path} is not a text file; save it again as 'CSV UTF-8'")
    lines = [
        (number, line)
        for number, line in enumerate(io.StringIO(text), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise InputError(f"{path} is empty; it needs a header and a line for each study")
    first = lines[0][1]
    if "," not in first and ";" not in first:
        raise InputError(
            f"{path}, line {lines[0][0]}: the header {first.strip()!r} has a single column; separate the columns by "
            "commas"
        )
    reader = csv.reader((line for _, line in lines), delimiter=";" if first.count(";") > first.count(",") else ",")
    header: list[str] = []
    records, before = [], 0
    try:
        for cells in reader:
            # The reader counts only what it was given; a quoted cell may take it several lines on.
            number, before = lines[before][0], reader.line_num
            if not header:
                header = [cell.strip() for cell in cells]
            elif any(cell.strip() for cell in cells):
                records.append((number, cells))
    except csv.Error as error:
        raise InputError(f"{path}, line {lines[before][0]}: {error}; check the quotes in this line") from None
    return header, records


def _check_columns(path: Path, header: list[str]) -> list[str]:
    found = ", ".join(name for name in header if name)
    problems = [
        f"{path}: column {name} is missing (there are {found}); add it, with {what}"
        for name, what in (("study", "a name for each row"), ("accuracy_pct", "the accuracies in percent"))
        if name not in header
    ]
    limits = [name for name in LIMITS if name in header]
    if len(limits) == 1:
        other = next(name for name in LIMITS if name not in header)
        problems.append(f"{path}: column {other} is missing; {limits[0]} is of use only together with it, so add it")
    elif not limits and "variance_pct2" not in header and "n" not in header:
        problems.append(
            f"{path}: columns ci_low_pct and ci_high_pct are missing, and there is no variance_pct2 or n either; add "
            "the limits of the confidence intervals in percent, the variances or the numbers of subjects"
        )
    problems += [
        f"{path}: column {name} is there {count} times; remove all but one"
        for name, count in Counter(header).items()
        if name and count > 1
    ]
    return problems


def _row(path: Path, line: int, cells: Cells, z: float) -> tuple[dict[str, Any], list[Problem]]:
    """An effect size, and what is wrong with it."""
    text = {name: cell.strip() for name, cell in cells.items()}
    sentences: list[str] = []

    def report(column: str, what: str) -> None:
        sentences.append(f"{path}, line {line} ({text['study'] or 'no name'}), column {column}: {what}")

    def number(name: str) -> float:
        try:
            value = float(text.get(name) or "nan")
        except ValueError:
            value = np.inf
        if text.get(name) and not np.isfinite(value):
            report(name, f"{text[name]!r} is not a number; write 95.2, or leave the cell blank if it is not known")
            return np.nan
        return value

    for name, what in (("study", "study"), ("subgroup", "subgroup"), ("subgroup_block", "block")):
        if text.get(name) == "":
            report(name, f"it is blank; give the {what} a name")
    accuracy, low, high, variance = (number(name) for name in ("accuracy_pct", *LIMITS, "variance_pct2"))
    n, year = number("n"), number("year")
    if not np.isnan(accuracy) and not 0 <= accuracy <= 100:
        report("accuracy_pct", f"{accuracy:g} is not between 0 and 100; give the accuracy in percent")
    if not np.isnan(variance) and variance <= 0:
        report("variance_pct2", f"{variance:g} is not above 0; give the squared standard error in percent squared")
    if not np.isnan(n) and (n < 1 or n % 1):
        report("n", f"{text['n']} is not a positive whole number; give the number of subjects")
    if not np.isnan(year) and (year % 1 or not YEARS[0] <= year <= YEARS[1]):
        report("year", f"{text['year']} is not a year from {YEARS[0]} to {YEARS[1]}; correct it or leave it blank")
    for column, what in _interval_problems(text, accuracy, low, high):
        report(column, what)
    if not sentences:
        low, high, variance = _precision(accuracy, low, high, variance, n, z)
    row = {
        "study": text["study"],
        "subgroup": text.get("subgroup", "all"),
        "block": text.get("subgroup_block", text.get("subgroup", "all")),
        "article": text.get("article") or text["study"],
        "year": pd.NA if np.isnan(year) else year,
        "accuracy": accuracy,
        "ci_low": low,
        "ci_high": high,
        "variance": variance,
        "n": pd.NA if np.isnan(n) else n,
        "measure": text.get("measure") or "accuracy",
        "provenance": text.get("provenance") or "printed",
        "row": line,
    }
    return row, [(line, sentence) for sentence in sentences]


def _interval_problems(text: Cells, accuracy: float, low: float, high: float) -> Iterator[tuple[str, str]]:
    """Columns, and what is wrong with the interval there."""
    given = [name for name in LIMITS if text.get(name)]
    if len(given) == 1:
        blank = next(name for name in LIMITS if name not in given)
        yield blank, f"it is blank, while {given[0]} is {text[given[0]]}; give both limits, or neither"
    elif not given and text["accuracy_pct"] and not text.get("variance_pct2") and not text.get("n"):
        # Named are the columns that there are to fill in.
        columns = [name for name in (*LIMITS, "variance_pct2", "n") if name in text]
        yield (
            " and ".join(columns[:2]) if columns[0] in LIMITS else columns[0],
            "nothing tells how precise the accuracy is; give the limits of its confidence interval, its variance "
            "(variance_pct2) or the number of subjects (n)",
        )
    if np.isnan(low) or np.isnan(high):
        return
    if low > high:
        yield "ci_low_pct", f"the lower limit {low:g} is above the upper limit {high:g}; swap them"
    elif low == high:
        yield (
            "ci_high_pct",
            f"both limits are {low:g}, so the variance would be zero; give the interval with more digits, or leave "
            "both limits blank and give n",
        )
    # A fraction beside limits in percent is reported as such.
    elif not low <= accuracy <= high and not (np.isnan(accuracy) or 0 < accuracy <= 1):
        yield (
            "accuracy_pct",
            f"{accuracy:g} is outside its confidence interval, {low:g} to {high:g}; correct the accuracy or the limits",
        )


def _precision(
    accuracy: float, low: float, high: float, variance: float, n: float, z: float
) -> tuple[float, float, float]:
    """Limits and variance, each as given or else from what is given; no limits without an accuracy."""
    if np.isnan(low) and np.isnan(variance) and not np.isnan(n):
        low, high = _wilson(accuracy / 100, n, z)
    if np.isnan(variance):
        variance = ((high - low) / (2 * z)) ** 2
    if np.isnan(low):
        low, high = accuracy - z * variance**0.5, accuracy + z * variance**0.5
    return (np.nan, np.nan, variance) if np.isnan(accuracy) else (low, high, variance)


def _wilson(proportion: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's interval, in percent."""
    shrink = 1 / (1 + z**2 / n)
    middle = shrink * (proportion + z**2 / (2 * n))
    half = shrink * z * np.sqrt(proportion * (1 - proportion) / n + z**2 / (4 * n**2))
    # Rounding must not push a limit past the proportion where they coincide, at 0 and at 1.
    return 100 * min(middle - half, proportion), 100 * max(middle + half, proportion)


def _find_duplicates(path: Path, rows: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for row in rows:
        study, line = row["study"], row["row"]
        if study and first.setdefault(study, line) != line:
            yield (
                line,
                f"{path}, line {line} ({study}), column study: line {first[study]} has the same name; tell the two "
                f"apart, as '{study} (a)' and '{study} (b)', or remove one (column article may stay the same)",
            )


def _find_fractions(path: Path, rows: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    """Accuracies from 0 to 1: either all were given so, or some of them were."""
    above_zero = [row for row in rows if row["accuracy"] > 0]
    fractions = [row for row in above_zero if row["accuracy"] <= 1]
    if fractions and len(fractions) == len(above_zero):
        first, last = fractions[0], fractions[-1]
        lines = f"line {first['row']}" if first is last else f"lines {first['row']} to {last['row']}"
        studies = first["study"] if first is last else f"{first['study']} to {last['study']}"
        yield (
            first["row"],
            f"{path}, {lines} ({studies}), column accuracy_pct: no accuracy is above 1, they look like fractions; "
            "multiply accuracies and limits by 100, variances by 10000",
        )
        return
    for row in fractions:
        yield (
            row["row"],
            f"{path}, line {row['row']} ({row['study']}), column accuracy_pct: {row['accuracy']:g} looks like a "
            f"fraction, while other accuracies are in percent; write {100 * row['accuracy']:g}, and its limits in "
            "percent, too",
        )


def remarks(studies: pd.DataFrame) -> list[str]:
    """What can be used but must be said, a sentence each.

    Parameters
    ----------
    studies
        From :func:`read_studies`.

    Returns
    -------
    Sentences that name the studies: groups of one, limits beyond 0 or 100, missing accuracies, recovered rows.
    """
    known = studies[studies["accuracy"].notna()]
    sentences, alone = [], set()
    for column in ("block", "subgroup"):
        for name in studies[column].unique():
            inside = known.loc[known[column] == name, "study"].tolist()
            if not inside:
                sentences.append(f"{column} {name} has no effect size: nothing can be pooled")
            elif len(inside) == 1 and inside[0] not in alone:
                alone.add(inside[0])
                sentences.append(
                    f"{column} {name} has one effect size ({inside[0]}): heterogeneity cannot be estimated, the pooled "
                    "estimate is the study's own"
                )
    for chosen, what in (
        (studies["ci_high"] > 100, "above 100 %: an interval that is symmetric in percent does not know that bound"),
        (studies["ci_low"] < 0, "below 0 %: an interval that is symmetric in percent does not know that bound"),
    ):
        if chosen.any():
            sentences.append(f"confidence limits {what} ({', '.join(studies.loc[chosen, 'study'])})")
    missing, recovered = studies["accuracy"].isna(), studies["provenance"] == "recovered"
    if missing.any():
        sentences.append(f"the accuracy is missing ({', '.join(studies.loc[missing, 'study'])}); it can be imputed")
    if recovered.any():
        sentences.append(
            "values were recovered from totals, not read, so that they agree with these totals is no evidence "
            f"({', '.join(studies.loc[recovered, 'study'])})"
        )
    return sentences


def on_scale(studies: pd.DataFrame, scale: str) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Effects and sampling variances on a scale.

    ``raw``: the accuracy in percent. ``logit``: the log odds, the variance by the delta method; an accuracy of 0 or
    100 has none, but if n is known, half a subject is added to those classified right and to those classified wrong.
    ``freeman_tukey``: the double arcsine transformation, halved, of the number of n subjects classified right; its
    variance depends on n alone, so rows without n are not used.

    Parameters
    ----------
    studies
        From :func:`read_studies`, k rows.
    scale
        One of :data:`SCALES`.

    Returns
    -------
    effects, variances
        Of the rows that can be used, both of shape (used rows,).
    used
        Which rows these are, shape (k,). A row without an accuracy is not used.

    Raises
    ------
    ValueError
        If the scale is unknown.

    References
    ----------
    Freeman and Tukey, "Transformations related to the angular and the square root", Annals of Mathematical Statistics
    21:607-611, 1950. Cox and Snell, Analysis of Binary Data, 2nd edition, 1989, section 2.1 (the half that is added).
    """
    accuracy = studies["accuracy"].to_numpy(float)
    variance = studies["variance"].to_numpy(float)
    n = studies["n"].to_numpy(float, na_value=np.nan)
    if scale == "raw":
        effects, variances = accuracy, variance
    elif scale == "logit":
        effects, variances = _logit(accuracy / 100, variance / 100**2, n)
    elif scale == "freeman_tukey":
        right = np.round(accuracy / 100 * n)
        effects = (np.arcsin(np.sqrt(right / (n + 1))) + np.arcsin(np.sqrt((right + 1) / (n + 1)))) / 2
        variances = 1 / (4 * n + 2)
    else:
        raise ValueError(f"no scale {scale}; there are {', '.join(SCALES)}")
    used = np.isfinite(effects) & np.isfinite(variances)
    return effects[used], variances[used], used


def _logit(proportion: Array, variance: Array, n: Array) -> tuple[Array, Array]:
    bound = (proportion == 0) | (proportion == 1)
    right, wrong = proportion * n + 0.5, (1 - proportion) * n + 0.5
    inside = np.where(bound, np.nan, proportion)
    effects = np.where(bound, np.log(right / wrong), np.log(inside / (1 - inside)))
    return effects, np.where(bound, 1 / right + 1 / wrong, variance / (inside * (1 - inside)) ** 2)


def from_scale(values: npt.ArrayLike, scale: str, n: npt.ArrayLike | None = None) -> Array:
    """Values on a scale, back in percent.

    Parameters
    ----------
    values
        Effects, pooled estimates or limits on the scale, any shape.
    scale
        One of :data:`SCALES`.
    n
        For ``freeman_tukey``: numbers of subjects of the effect sizes, any shape; their harmonic mean is used. A pooled
        value belongs to no particular n, so the percentage depends somewhat on this choice (Schwarzer et al. 2019).

    Returns
    -------
    Percent, the shape of the values; NaN stays NaN. From ``logit`` and ``freeman_tukey`` between 0 and 100.

    Raises
    ------
    ValueError
        If the scale is unknown, or n is lacking where it is needed.

    References
    ----------
    Miller, "The inverse of the Freeman-Tukey double arcsine transformation", The American Statistician 32:138, 1978.
    Schwarzer et al., "Seriously misleading results using inverse of Freeman-Tukey double arcsine transformation in
    meta-analysis of single proportions", Research Synthesis Methods 10:476-483, 2019.
    """
    values = np.asarray(values, float)
    if scale == "raw":
        return values.copy()
    if scale == "logit":
        return 100 * special.expit(values)
    if scale != "freeman_tukey":
        raise ValueError(f"no scale {scale}; there are {', '.join(SCALES)}")
    if n is None:
        raise ValueError("the inverse of the Freeman-Tukey transformation needs n")
    return 100 * _miller(2 * values, float(stats.hmean(np.ravel(np.asarray(n, float)))))


def _miller(angle: Array, n: float) -> Array:
    """The proportion whose double arcsine is an angle; 0 and 1 for angles beyond those of none and all of n."""
    ends = np.arcsin(np.sqrt(1 / (n + 1))), np.pi / 2 + np.arcsin(np.sqrt(n / (n + 1)))
    # Rounding must not make the middle ones look as if they were beyond.
    inner = np.clip(angle, *ends)
    sine = np.sin(inner)
    root = np.sqrt(np.clip(1 - (sine + (sine - 1 / sine) / n) ** 2, 0, 1))
    return np.clip((1 - np.sign(np.cos(inner)) * root) / 2, 0, 1)
