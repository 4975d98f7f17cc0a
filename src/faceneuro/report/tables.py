"""Tables for people: written once as data, once to be read, once to be printed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from faceneuro.files import replacing


@dataclass(frozen=True)
class Table:
    """A table as it is read.

    Attributes
    ----------
    heading
        What it shows.
    header
        Names of its columns.
    lines
        Its cells, as text.
    text_columns
        How many columns at the left hold words; the others hold numbers and are aligned right.
    sentences
        Which of these hold whole sentences and are broken into lines in print.
    """

    heading: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    text_columns: int = 1
    sentences: Sequence[int] = ()


def write_files(
    stem: str | os.PathLike,
    frame: pd.DataFrame,
    title: str,
    lead: Sequence[str],
    tables: Sequence[Table],
    remarks: Sequence[str] = (),
) -> None:
    """Write a result as .csv (all of it), .md and .tex (what one reads).

    Parameters
    ----------
    stem
        Path without suffix.
    frame
        All numbers, tidy; written to the CSV with every digit.
    title
        Of the readable files.
    lead
        Sentences that must be read before any number; part of every caption in LaTeX.
    tables
        What is shown.
    remarks
        How to read it; at the end of the Markdown file.
    """
    texts = {
        "csv": frame.to_csv(index=False, lineterminator="\n"),
        "md": _markdown(title, lead, tables, remarks),
        "tex": _latex(title, lead, tables),
    }
    for suffix, text in texts.items():
        with replacing(f"{os.fspath(stem)}.{suffix}") as part:
            part.write_text(text, encoding="utf-8")


def _markdown(title: str, lead: Sequence[str], tables: Sequence[Table], remarks: Sequence[str]) -> str:
    parts = [f"# {title}", *lead]
    for table in tables:
        rule = ["--"] * table.text_columns + ["--:"] * (len(table.header) - table.text_columns)
        rows = [[cell.replace("|", "\\|") for cell in line] for line in (table.header, rule, *table.lines)]
        parts += [f"## {table.heading}", "\n".join(f"| {' | '.join(row)} |" for row in rows)]
    if remarks:
        parts += ["## How to read this", "\n".join(f"- {remark}" for remark in remarks)]
    return "\n\n".join(parts) + "\n"


LONGEST = 45
"""Lines of a table that fit on a printed page; a longer one is set as a longtable, which breaks across pages."""


def _latex(title: str, lead: Sequence[str], tables: Sequence[Table]) -> str:
    packages = ["booktabs", *(["longtable"] if any(len(table.lines) > LONGEST for table in tables) else [])]
    blocks = ["% Needs " + ", ".join(f"\\usepackage{{{package}}}" for package in packages) + "."]
    return "\n\n".join([*blocks, *(_latex_table(title, lead, table) for table in tables)]) + "\n"


def _latex_table(title: str, lead: Sequence[str], table: Table) -> str:
    texts = table.text_columns
    # Sentences share the page; a heading breaks where it can, because the numbers below it are narrow.
    share = rf"p{{{0.75 / max(len(table.sentences), 1):.2f}\linewidth}}"
    columns = [share if place in table.sentences else "l" for place in range(texts)]
    columns += ["r"] * (len(table.header) - texts)
    heading = " & ".join([*map(latex_text, table.header[:texts]), *map(_narrow, table.header[texts:])]) + r" \\"
    caption = rf"\caption{{{latex_text(' '.join([f'{title}. {table.heading}.', *lead]))}}}"
    body = [" & ".join(map(_bold, line)) + r" \\" for line in table.lines]
    if len(table.lines) > LONGEST:
        head = [r"\toprule", heading, r"\midrule"]
        lines = [
            r"{\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\begin{{longtable}}{{{''.join(columns)}}}",
            caption + r" \\",
            *head,
            r"\endfirsthead",
            *head,
            r"\endhead",
            r"\bottomrule",
            r"\endfoot",
            *body,
            r"\end{longtable}}",
        ]
    else:
        lines = [
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            caption,
            rf"\begin{{tabular}}{{{''.join(columns)}}}",
            r"\toprule",
            heading,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(lines)


def _bold(cell: str) -> str:
    """A cell for print; one that is bold in Markdown is bold there too."""
    if cell.startswith("**") and cell.endswith("**"):
        return rf"\textbf{{{latex_text(cell.strip('*'))}}}"
    return latex_text(cell)


def _narrow(heading: str) -> str:
    lines = heading.replace(": ", ":\n").replace(", ", ",\n").replace(" held out", "\nheld out").split("\n")
    return r"\shortstack[r]{" + r" \\ ".join(map(latex_text, lines)) + "}"


_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "†": r"\textdagger{}",
}


def latex_text(text: str) -> str:
    """Text whose every character LaTeX prints as it is."""
    return "".join(_LATEX.get(character, character) for character in text)
