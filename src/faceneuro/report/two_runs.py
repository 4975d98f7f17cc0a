"""Two runs side by side: what differs between them, which claims have another verdict, which numbers differ by more
than their noise."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from faceneuro import __version__
from faceneuro.errors import InputError
from faceneuro.evaluation.noise import LEVEL, discoveries, gaps
from faceneuro.report.comparisons import NOT_RUN
from faceneuro.report.html import read_table_file, table, write_page
from faceneuro.report.tables import Table, write_files

TITLE = "This run beside another"

EQUAL, WITHIN, DOUBTFUL, BEYOND = "equal", "within noise", "doubtful", "beyond noise"
"""Of two numbers. Doubtful is what is beyond noise looked at alone, but not among as many looks as were taken."""
OTHER = "another number"
"""Of two numbers whose noise is not known."""
CHANGED = "another verdict"
ONLY_HERE, ONLY_THERE = "only here", "only there"

FOUND = (BEYOND, CHANGED, DOUBTFUL, OTHER, WITHIN, EQUAL, ONLY_HERE, ONLY_THERE)
"""What may be found of a number or a verdict, in the order of the table of counts."""

KEYS = (
    *("kind", "study", "subject", "clip", "section", "what", "place", "item", "claim", "audit", "analysis", "group"),
    *("subgroup", "block", "article", "scale", "method", "test", "row", "number", "name", "label", "expression"),
    *("measure", "side", "region", "task", "own", "among", "modality", "network", "family", "held_out", "model"),
    *("against", "metric", "quantity", "reference", "source", "protocol", "level", "aggregation", "statistic"),
)
"""Columns that say what a number of a table is, as far as a table has them and they hold words."""

NUMBERED = ("row", "number")
"""Keys that may be numbers."""

INTERVALS = {
    ("ci_low", "ci_high"): ("reproduced", "value", "weight", "estimate", "accuracy"),
    ("surplus_low", "surplus_high"): ("surplus",),
    ("region_ci_low", "region_ci_high"): ("region_hit",),
    ("side_ci_low", "side_ci_high"): ("side_share",),
}
"""Columns of an interval, and of what it is an interval: the first of these that has a number."""

SIZES = ("n_subjects", "n", "n_frames", "people", "images", "n_expressions")
"""Columns of how much a number rests on. They are shown beside it, the first that there is, and not compared."""

FOLLOWING = ("p_value", "q_p_value")
"""Columns that say again what the estimate and its interval say."""

NOISELESS = "meta_analysis"
"""How tables begin whose intervals are about other studies: what is printed is the same in each run."""

REPEATED = ("claims",)
"""Tables that are made of others."""

DIGITS = 1e-9
"""Numbers are equal if they differ by less than this share, and computers need not agree beyond it."""


@dataclass(frozen=True)
class Run:
    """What a run left.

    Attributes
    ----------
    tables
        By name, as text; an empty cell is missing.
    manifest
        Its manifest; None if it has none.
    """

    tables: Mapping[str, pd.DataFrame]
    manifest: Mapping[str, Any] | None


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side.

    Attributes
    ----------
    rows
        One per number or verdict: table, row, kind, study, quantity, there, there_low, there_high, here, here_low,
        here_high, difference, ci_low, ci_high (of the difference), p_value, q_value, n_there, n_here, verdict_there,
        verdict_here, headline, found (:data:`FOUND`).
    differ
        What differs between the runs: what, there, here.
    shared
        Cohorts whose recordings are the same in both.
    virtual
        Cohorts of virtual people, in either.
    unmatched
        Tables in which some rows have the same keys and are compared in their order.
    missing
        Tables that only one run has: name, and which.
    """

    rows: pd.DataFrame
    differ: Sequence[tuple[str, str, str]]
    shared: Sequence[str]
    virtual: Sequence[str]
    unmatched: Sequence[str]
    missing: Sequence[tuple[str, str]]
    here: Mapping[str, Any] | None = field(repr=False)
    there: Mapping[str, Any] | None = field(repr=False)


def read_run(tables: Iterable[str | os.PathLike], manifest: str | os.PathLike | None) -> Run:
    """Read the tables of a run and its manifest.

    Parameters
    ----------
    tables
        CSV files of :func:`faceneuro.report.tables.write_files`.
    manifest
        ``provenance.json``, if there is one.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    read = {Path(path).stem: _read(Path(path)) for path in tables if Path(path).stem not in REPEATED}
    if manifest is None:
        return Run(read, None)
    try:
        return Run(read, json.loads(Path(manifest).read_text(encoding="utf-8")))
    except ValueError as error:
        raise InputError(f"{manifest} is no manifest ({error}): make it again in its run, or delete it") from None


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no table ({error}): make it again in its run, or delete it") from None


def compare(here: Run, there: Run) -> Comparison:
    """Put the tables of two runs side by side, row by row.

    Rows are those of the same keys; the cohort is a key only where a table has the same row of several.

    Parameters
    ----------
    here, there
        The runs. Swapping them swaps the columns and the signs of differences, and changes nothing that is found.
    """
    names = list(dict.fromkeys([*here.tables, *there.tables]))
    parts, unmatched = [], []
    for name in names:
        both = [run.tables.get(name, pd.DataFrame()) for run in (here, there)]
        rows, repeated = _compare_tables(name, *both)
        parts.append(rows)
        unmatched += [name] if repeated else []
    rows = pd.concat([part for part in parts if len(part)], ignore_index=True)
    # Of a table that is equal throughout nothing was looked at: it was computed from the same.
    differing = rows.groupby("table")["found"].transform(lambda found: (found != EQUAL).any())
    rows["p_value"] = rows["p_value"].where(differing)
    rows["q_value"] = discoveries(rows["p_value"])
    alone = rows["p_value"] <= LEVEL
    rows.loc[alone, "found"] = np.where(rows.loc[alone, "q_value"] <= LEVEL, BEYOND, DOUBTFUL)
    states = [(run.manifest or {}).get("inputs", {}).get("cohorts", {}) for run in (here, there)]
    return Comparison(
        rows=rows[COLUMNS],
        differ=list(_differences(here.manifest, there.manifest)) if here.manifest and there.manifest else [],
        shared=[name for name, state in states[0].items() if states[1].get(name, {}).get("digest") == state["digest"]],
        virtual=sorted({name for state in states for name, cohort in state.items() if cohort["kind"] == "virtual"}),
        unmatched=unmatched,
        missing=[
            (name, ONLY_HERE if name in here.tables else ONLY_THERE)
            for name in names
            if name not in here.tables or name not in there.tables
        ],
        here=here.manifest,
        there=there.manifest,
    )


COLUMNS = [
    *("table", "row", "kind", "study", "quantity", "there", "there_low", "there_high", "here", "here_low", "here_high"),
    *("difference", "ci_low", "ci_high", "p_value", "q_value", "n_there", "n_here", "verdict_there", "verdict_here"),
    *("headline", "found"),
]


def _compare_tables(name: str, here: pd.DataFrame, there: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """One table of both runs; whether rows in it cannot be told apart."""
    columns = list(dict.fromkeys([*here, *there]))
    both = pd.concat([here, there])
    numeric = [column for column in columns if column not in NUMBERED and _is_numeric(both[column])]
    keys = [key for key in KEYS if key in columns and key not in numeric]
    if any(frame.duplicated([key for key in keys if key in frame]).any() for frame in (here, there) if len(frame)):
        keys += [key for key in ("cohort",) if key in columns]
    told = [key for key in keys if both[key].nunique() > 1 and key != "kind"] or keys
    long, repeated = [], False
    for frame in (here, there):
        frame = frame.reindex(columns=columns)
        same = frame[keys].fillna("").astype(str)
        turn = same.groupby(keys, sort=False).cumcount() if keys else pd.Series(range(len(frame)), dtype=int)
        repeated |= bool((turn > 0).any())
        place = ["\x1f".join(row) for row in same.assign(turn=turn.astype(str)).itertuples(index=False)]
        label = [", ".join(filter(None, row)) for row in same[told].itertuples(index=False)]
        long.append(_entries(name, frame.assign(_place=place, _row=label), numeric, keys))
    return _side_by_side(name, *long), repeated


def _is_numeric(column: pd.Series) -> bool:
    return bool(pd.to_numeric(column, errors="coerce").notna().eq(column.notna()).all())


def _entries(name: str, frame: pd.DataFrame, numeric: Sequence[str], keys: Sequence[str]) -> pd.DataFrame:
    """Every number and verdict of a table as a row of its own, by place and quantity."""
    numbers = frame[list(numeric)].apply(pd.to_numeric)
    size = next((numbers[column] for column in SIZES if column in numbers), pd.Series(np.nan, index=frame.index))
    about = pd.DataFrame(
        {
            "place": frame["_place"],
            "row": frame["_row"],
            "kind": frame.get("kind", ""),
            "study": frame["study"] if "study" in keys else "",
            "headline": frame["headline"].eq("True") if "headline" in frame else False,
            "n": size,
        }
    )
    parts = []
    bounds = {column for pair in INTERVALS for column in pair}
    plain = [column for column in numeric if column not in bounds and column not in (*SIZES, *FOLLOWING, *keys)]
    for (low, high), estimates in INTERVALS.items():
        if name.startswith(NOISELESS) or low not in numbers or high not in numbers:
            continue
        taken = pd.Series(False, index=frame.index)
        for column in estimates:
            if column in plain:
                own = numbers[column].notna() & ~taken
                limits = {"value": numbers[column], "low": numbers[low], "high": numbers[high]}
                parts.append(about.assign(quantity=column, **limits)[own])
                taken |= own
    done = {
        (place, quantity) for part in parts for place, quantity in zip(part["place"], part["quantity"], strict=True)
    }
    for column in plain:
        rest = numbers[column].notna() & ~pd.Series([(place, column) in done for place in about["place"]], frame.index)
        parts.append(about.assign(quantity=column, value=numbers[column])[rest])
    for column in frame:
        if column == "verdict" or column.endswith("_verdict"):
            # A grade is the verdict in one word, where there is one.
            words = frame["grade"].fillna(frame[column]) if column == "verdict" and "grade" in frame else frame[column]
            parts.append(about.assign(quantity=column, verdict=words)[words.notna() & (words != NOT_RUN)])
    columns = [*about, "quantity", "value", "low", "high", "verdict"]
    filled = [part.reindex(columns=columns) for part in parts if len(part)]
    entries = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=columns)
    entries["at"] = entries["place"].astype(str) + "\x1f" + entries["quantity"].astype(str)
    return entries.set_index("at")


def _side_by_side(name: str, here: pd.DataFrame, there: pd.DataFrame) -> pd.DataFrame:
    order = list(dict.fromkeys([*here.index, *there.index]))
    one, two = here.reindex(order), there.reindex(order)
    known = one["place"].notna() & two["place"].notna()
    spans = [
        frame[["value", "low", "high"]].astype(float).set_axis(["value", "ci_low", "ci_high"], axis=1)
        for frame in (one, two)
    ]
    gap = gaps(*spans)
    words = one["verdict"].notna() | two["verdict"].notna()
    close = np.isclose(spans[0]["value"], spans[1]["value"], rtol=DIGITS, atol=DIGITS)
    same = pd.Series(close, index=one.index).where(~words, one["verdict"] == two["verdict"])
    noise = gap["p_value"].notna()
    gap.loc[same | ~known, "p_value"] = np.where(noise & same & known, 1.0, np.nan)[same | ~known]
    found = np.select(
        [one["place"].isna(), two["place"].isna(), same, words, noise],
        [ONLY_THERE, ONLY_HERE, EQUAL, CHANGED, WITHIN],
        OTHER,
    )
    about = one[["row", "kind", "study", "quantity"]].fillna(two[["row", "kind", "study", "quantity"]])
    return about.assign(
        table=name,
        **{side: span["value"] for side, span in zip(("here", "there"), spans, strict=True)},
        **{f"here_{end}": spans[0][f"ci_{end}"] for end in ("low", "high")},
        **{f"there_{end}": spans[1][f"ci_{end}"] for end in ("low", "high")},
        **gap,
        n_here=one["n"],
        n_there=two["n"],
        verdict_here=one["verdict"],
        verdict_there=two["verdict"],
        headline=one["headline"].eq(True) | two["headline"].eq(True),
        found=found,
    ).reset_index(drop=True)


def _differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What differs between two runs, as what, there and here; what came out and how long it took is not asked."""
    yield from _settings((), *(manifest["configuration"]["values"] for manifest in (there, here)))
    inputs = [manifest["inputs"] for manifest in (there, here)]
    yield from _each_unlike("Cohort {}", *({k: _cohort(v) for k, v in each["cohorts"].items()} for each in inputs))
    for part in ("files", "assets"):
        hashes = [{name: file["sha256"][:12] for name, file in each[part].items()} for each in inputs]
        yield from _each_unlike("File {}", *hashes)
    software = [manifest["software"] for manifest in (there, here)]
    yield from _unlike("Commit", *map(_commit, software))
    yield from _unlike("Code of the workflow", *(each["source_sha256"][:12] for each in software))
    for name, key in {"faceneuro": "faceneuro", "Snakemake": "snakemake", "Python": "python"}.items():
        yield from _unlike(name, *(each[key] for each in software))
    yield from _unlike("Processors", *(_of_machines(manifest, "processor") for manifest in (there, here)))
    yield from _unlike("GPUs", *(_of_machines(manifest, "gpus") for manifest in (there, here)))
    yield from _each_unlike("Package {}", *(each["packages"] for each in software))


ABSENT = "not there"


def _unlike(what: str, there: Any, here: Any) -> Iterator[tuple[str, str, str]]:
    if there != here:
        yield what, _word(there), _word(here)


def _each_unlike(what: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys([*there, *here]):
        yield from _unlike(what.format(name), there.get(name, ABSENT), here.get(name, ABSENT))


def _settings(key: tuple[str, ...], there: Any, here: Any) -> Iterator[tuple[str, str, str]]:
    """Configuration keys that differ; of a block that only one run has, its own key alone."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in dict.fromkeys([*there, *here]):
            # With what a run is compared makes nothing of it.
            if (*key, name) != ("against",):
                yield from _settings((*key, name), there.get(name, ABSENT), here.get(name, ABSENT))
    else:
        yield from _unlike(f"Setting {'.'.join(key)}", there, here)


def _word(value: Any) -> str:
    if value is None:
        return "none"
    return "a block of settings" if isinstance(value, Mapping) else str(value)


def _commit(software: Mapping[str, Any]) -> str:
    commit = (software["commit"] or "not known")[:12]
    return f"{commit}, with changes" if software["modified"] else commit


def _of_machines(manifest: Mapping[str, Any], part: str) -> str:
    found = [machine[part] for machine in manifest["machines"]]
    names = {name for each in found for name in (each if isinstance(each, list) else [each])}
    return "; ".join(sorted(map(str, names))) or "none"


def _cohort(state: Mapping[str, Any]) -> str:
    return f"{state['subjects']} subjects, {state['clips']} clips, state {state['digest'][:12]}"


def write_comparison(found: Comparison, stem: str | os.PathLike, page: str | os.PathLike) -> None:
    """Write two runs side by side: all rows as .csv, what one reads as .md, .tex and a page with all rows.

    Parameters
    ----------
    found
        From :func:`compare`.
    stem
        Path without suffix.
    page
        Path of the page.
    """
    rows = found.rows
    tables = [
        Table("What differs between the runs", ["What", "There", "Here"], found.differ, 3, sentences=(1, 2)),
        _claims(rows[rows["kind"] == "claim"]),
        _numbers(rows[rows["found"].isin([BEYOND, DOUBTFUL])]),
        _verdicts(rows[(rows["found"] == CHANGED) & (rows["kind"] != "claim")]),
        _counts(rows),
    ]
    write_files(stem, rows, TITLE, _lead(found), [each for each in tables if each.lines], _remarks(found))
    everything = [(name, _beside(name, part)) for name, part in rows.groupby("table", sort=False)]
    write_page(
        page,
        "two_runs.html.j2",
        version=__version__,
        title=TITLE,
        parts=[("answer", "What differs"), ("rows", "Row by row")],
        file=read_table_file(f"{os.fspath(stem)}.md"),
        tables=everything,
    )


def _lead(found: Comparison) -> list[str]:
    rows = found.rows
    said = [f"Here: {_called(found.here)}. There: {_called(found.there)}."]
    if found.virtual:
        said.append(
            f"Virtual cohorts, rendered faces and no patients: {', '.join(found.virtual)}. What changes on them "
            "is said of them alone."
        )
    if not (found.here and found.there):
        said.append("What differs between the runs is not known: a run of everything leaves a manifest, which says so.")
    elif not found.differ:
        said.append("Nothing that a result depends on differs between the runs.")
    else:
        said.append(f"The runs differ in {_named([what for what, _, _ in found.differ])}.")
    return [*said, _claims_sentence(rows), _numbers_sentence(rows), *_more(found)]


def _called(manifest: Mapping[str, Any] | None) -> str:
    if manifest is None:
        return "a run without a manifest"
    software = manifest["software"]
    return f"recorded {manifest['recorded']}, faceneuro {software['faceneuro']}, commit {_commit(software)}"


def _named(names: Sequence[str], at_most: int = 8) -> str:
    """The first of some names, and how many more there are; packages are counted."""
    packages = sum(name.startswith("Package ") for name in names)
    others = names[: len(names) - packages]
    parts = [*others[:at_most], *([f"{len(others) - at_most} more"] if len(others) > at_most else [])]
    return ", ".join([*parts, *([_count(packages, "package")] if packages else [])])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _claims_sentence(rows: pd.DataFrame) -> str:
    claims = rows[(rows["kind"] == "claim") & rows["found"].isin([CHANGED, EQUAL])]
    changed = claims[claims["found"] == CHANGED].sort_values("headline", ascending=False, kind="stable")
    if claims.empty:
        return "No claim is judged in both runs."
    if changed.empty:
        return f"All {len(claims)} claims that are judged in both runs have the same verdict."
    each = [
        f"{claim.study or claim.table}, {claim.row.rstrip('.')}: {claim.verdict_there} there, {claim.verdict_here} here"
        for claim in changed.itertuples()
    ]
    return f"**Of {len(claims)} claims that are judged in both runs, {len(changed)} changed.** {'; '.join(each)}."


def _numbers_sentence(rows: pd.DataFrame) -> str:
    both = rows[rows["here_low"].notna() & rows["there_low"].notna()]
    if both.empty:
        return "No number with an interval is in both runs."
    looks = int(both["p_value"].notna().sum())
    if not looks:
        return f"No number with an interval differs, of {len(both)} that are in both runs."
    counts = both["found"].value_counts()
    beyond, doubtful = counts.get(BEYOND, 0), counts.get(DOUBTFUL, 0)
    return (
        f"**Of {looks} numbers with an interval in both runs, {beyond} differ beyond noise.** Doubtful are "
        f"{doubtful} more: beyond their noise alone, but of so many looks about {LEVEL * looks:.0f} would be that by "
        "chance if nothing but the people differed."
    )


def _more(found: Comparison) -> list[str]:
    """What has no noise, and what only one run has."""
    rows, said = found.rows, []
    other = rows[rows["found"] == OTHER]
    printed, rest = (other[other["table"].str.startswith(NOISELESS) == wanted] for wanted in (True, False))
    if (rows["table"].str.startswith(NOISELESS) & rows["found"].isin([EQUAL, OTHER])).any():
        names = ", ".join(printed["table"].unique())
        said.append(
            f"Not equal, of what is computed from printed numbers: {_count(len(printed), 'number')} in {names}."
            if names
            else "All numbers of the meta-analysis that are in both runs are equal."
        )
    if len(rest):
        said.append(f"Not equal, and their noise is not known: {_count(len(rest), 'other number')}.")
    for side in (ONLY_HERE, ONLY_THERE):
        names = [name for name, where in found.missing if where == side]
        alone = rows[(rows["found"] == side) & ~rows["table"].isin(names)]
        parts = [f"the tables {', '.join(names)}"] if names else []
        parts += [f"{_count(len(alone), 'row')} of {', '.join(alone['table'].unique())}"] if len(alone) else []
        said += [f"{side.capitalize()}: {' and '.join(parts)}."] if parts else []
    return said


def _remarks(found: Comparison) -> list[str]:
    remarks = [
        f"**{BEYOND}**, **{DOUBTFUL}**, **{WITHIN}**: numbers with a 95 % interval over subjects in both runs. The "
        "interval of their difference is made of both as if other people had been drawn for each: half-widths are "
        "added in quadrature, each on its own side (Zou and Donner 2008). Within noise: it includes 0. Doubtful: not. "
        f"Beyond noise: not, and of all that are called so no more than {LEVEL:.0%} are expected to be chance "
        "(false discovery rate, Benjamini and Hochberg 1995, over all numbers of all tables that are not equal "
        "throughout).",
        "The intervals are about which people were recorded. Where they are the same in both runs, that noise is "
        "common to both and the rule marks too little: within noise is then no proof that nothing changed. What "
        "another start of the training gives is in no interval: repeat both runs with other seeds to see it.",
        f"**{OTHER}**: a number without an interval, or with one of no width, so its noise is not known. **{EQUAL}**: "
        "to nine digits. What is pooled from printed numbers must be equal; a collection that takes in results of this "
        "pipeline changes with them.",
        "A verdict is a threshold: a small change can turn it. Look whether the numbers behind it are beyond noise.",
        "Rows are those with the same names: study, model, metric and so on. All of them are in the CSV file and on "
        "the page, with their differences (here less there).",
    ]
    if found.shared:
        remarks.insert(2, f"The same recordings in both runs: {', '.join(found.shared)}.")
    if found.unmatched:
        names = ", ".join(found.unmatched)
        remarks.append(f"Some rows of {names} have the same names; they are compared in their order.")
    return remarks


def _claims(claims: pd.DataFrame) -> Table:
    """The claims that changed, and those that a paper stands on."""
    shown = claims[(claims["found"] == CHANGED) | claims["headline"]]
    order = shown.assign(same=shown["found"] != CHANGED, lesser=~shown["headline"])
    lines = [
        [
            row.study or row.table,
            f"**{row.row}**" if row.headline else row.row,
            *(_strong(word) or "-" for word in (row.verdict_there, row.verdict_here)),
            _strong(row.found) if row.found == CHANGED else row.found,
        ]
        for row in order.sort_values(["same", "lesser"], kind="stable").itertuples()
    ]
    return Table(
        "Claims that changed, and the main ones", ["Study", "Claim", "There", "Here", "Found"], lines, 5, sentences=(1,)
    )


def _numbers(rows: pd.DataFrame) -> Table:
    order = rows.assign(doubtful=rows["found"] == DOUBTFUL).sort_values(["doubtful", "p_value"], kind="stable")
    lines = [[row.table, row.row, row.quantity, _strong(row.found), *_three(row)] for row in order.itertuples()]
    header = ["Table", "Row", "Number", "Found", "There", "Here", "Difference"]
    return Table("Numbers that differ", header, lines, 4, sentences=(1,))


def _verdicts(rows: pd.DataFrame) -> Table:
    lines = [[row.table, row.row, row.verdict_there, row.verdict_here] for row in rows.itertuples()]
    return Table("Other verdicts that changed", ["Table", "Row", "There", "Here"], lines, 4, sentences=(1,))


def _counts(rows: pd.DataFrame) -> Table:
    counts = rows.groupby(["table", "found"], sort=False).size().unstack(fill_value=0)
    shown = [found for found in FOUND if found in counts]
    lines = [[name, *(str(counts.loc[name, found]) for found in shown)] for name in counts.index]
    return Table("Numbers and verdicts by table", ["Table", *shown], lines)


def _beside(name: str, rows: pd.DataFrame) -> Markup:
    """All rows of a table; of what has no interval and is equal nothing is left to see."""
    shown = rows[(rows["found"] != EQUAL) | rows["p_value"].notna() | rows["here_low"].notna()]
    lines = [
        [row.row, row.quantity, _strong(row.found), *_three(row)]
        if pd.isna(row.verdict_here) and pd.isna(row.verdict_there)
        else [
            row.row,
            row.quantity,
            _strong(row.found),
            _word_or_dash(row.verdict_there),
            _word_or_dash(row.verdict_here),
            "",
        ]
        for row in shown.itertuples()
    ]
    return table(["Row", "Number or verdict", "Found", "There", "Here", "Difference"], lines, name, 3)


def _strong(word: Any) -> str:
    return "" if pd.isna(word) else f"**{word}**"


def _word_or_dash(word: Any) -> str:
    return "-" if pd.isna(word) else str(word)


def _three(row: Any) -> list[str]:
    """There, here, and the difference."""
    return [
        _number(row.there, row.there_low, row.there_high),
        _number(row.here, row.here_low, row.here_high),
        _number(row.difference, row.ci_low, row.ci_high, "+.4g"),
    ]


def _number(value: float, low: float, high: float, form: str = ".4g") -> str:
    if pd.isna(value):
        return "-"
    return f"{value:{form}}" if pd.isna(low) else f"{value:{form}} [{low:{form}}, {high:{form}}]"
