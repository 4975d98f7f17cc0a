"""Pages to read in a browser: one file each, that loads nothing, works without a server and prints.

A page is a template of ``templates/`` that extends ``layout.html.j2``, which holds the style and the script. What is
shown in it are the Markdown files of the tables, figures as data within the page, and text. Tables are sorted by the
script; everything can be read without it.
"""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from faceneuro.errors import InputError
from faceneuro.files import replacing

GOOD, DOUBTFUL, BAD, OPEN = "good", "doubtful", "bad", "open"
"""What a verdict means for the reader; the name of its look. The word itself is always there too."""

MEANING = {
    "holds": GOOD,
    "follows": GOOD,
    "ok": GOOD,
    "holds with reservations": DOUBTFUL,
    "not shown": DOUBTFUL,
    "follows in part": DOUBTFUL,
    "partial": DOUBTFUL,
    "warn": DOUBTFUL,
    "does not hold": BAD,
    "does not follow": BAD,
    "fail": BAD,
    "unusable": BAD,
    "refused": BAD,
    "not run": OPEN,
    "not told": OPEN,
    "cannot be checked": OPEN,
    "equal": GOOD,
    "within noise": GOOD,
    "doubtful": DOUBTFUL,
    "another number": DOUBTFUL,
    "beyond noise": BAD,
    "another verdict": BAD,
}
"""Verdicts of claims, audits and recordings, and what is found of two runs."""

WIDEST = 1400
"""Pixels that a photograph in a page has across at most."""


def write_page(path: str | os.PathLike, template: str, **content: Any) -> None:
    """Fill a template in and write the page.

    Parameters
    ----------
    path
        Of the file.
    template
        Name of a file in ``templates/``.
    **content
        What the template shows; text is escaped unless it is Markup.
    """
    with replacing(path) as part:
        part.write_text(_environment().get_template(template).render(**content), encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("faceneuro.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["verdict"] = verdict
    return environment


def verdict(word: str) -> Markup:
    """A verdict as it is shown: its word, and a look that says the same."""
    return Markup('<strong class="verdict {}">{}</strong>').format(MEANING.get(word, OPEN), word)


@dataclass(frozen=True)
class TableFile:
    """A Markdown file of :func:`faceneuro.report.tables.write_files`, as parts of a page.

    Attributes
    ----------
    title
        Of the file.
    lead
        The sentences before the first table.
    sections
        Heading and body of each table.
    remarks
        How to read them; empty if there are none.
    """

    title: str
    lead: Sequence[Markup]
    sections: Sequence[tuple[str, Markup]]
    remarks: Markup


READING = "How to read this"
"""Heading of the remarks in a table file."""


def read_table_file(path: str | os.PathLike) -> TableFile:
    """Read the Markdown file of a table.

    Raises
    ------
    InputError
        If it does not begin with a title.
    """
    text = Path(path).read_text(encoding="utf-8")
    opening, *rest = re.split(r"^## ", text, flags=re.MULTILINE)
    title, *lead = opening.strip().split("\n\n")
    if not title.startswith("# "):
        raise InputError(f"{os.fspath(path)} does not begin with a title: delete it, and it is made again")
    title = title.removeprefix("# ")
    sections, remarks = [], Markup("")
    for section in rest:
        heading, _, body = section.partition("\n")
        if heading == READING:
            remarks = markdown(body)
        else:
            sections.append((heading, markdown(body, f"{title}: {heading}")))
    return TableFile(title, [markdown(paragraph) for paragraph in lead], sections, remarks)


def markdown(text: str, caption: str = "") -> Markup:
    """Markdown as HTML; tables scroll by themselves, and their headings sort.

    Parameters
    ----------
    text
        Markdown with tables; HTML in it is shown as text.
    caption
        What its tables are called by those who do not see them.
    """
    return Markup(_parser().render(text, {"caption": caption}))


def table(
    header: Sequence[str], lines: Sequence[Sequence[str]], caption: str, text_columns: int = 1, look: str = ""
) -> Markup:
    """Words and numbers as a table that scrolls by itself, and whose headings sort.

    Parameters
    ----------
    header
        Names of the columns.
    lines
        Cells, as text or Markup; ``**word**`` is a verdict.
    caption
        What it is called by those who do not see it.
    text_columns
        How many columns at the left hold words; the others hold numbers and are aligned right.
    look
        Name of a style for all of it.
    """
    looks = [""] * text_columns + [' class="number"'] * (len(header) - text_columns)
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(Markup(look), cell) for look, cell in zip(looks, header, strict=True)
    )
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(
                Markup("<td{}>{}</td>").format(Markup(look), _cell(cell))
                for look, cell in zip(looks, line, strict=True)
            )
        )
        for line in lines
    )
    return Markup("{}<thead><tr>{}</tr></thead>\n<tbody>\n{}\n</tbody></table></div>").format(
        _opening(caption, look), head, body
    )


def _cell(cell: str) -> str:
    word = not isinstance(cell, Markup) and re.fullmatch(r"\*\*(.+)\*\*", cell)
    return verdict(word[1]) if word else cell


def _opening(caption: str, look: str = "") -> Markup:
    """A table that is too wide is scrolled, also with the keyboard; that is a part of the page, and has a name."""
    named = Markup(' class="{}"').format(look) if look else ""
    return Markup('<div class="scroll" tabindex="0" role="group" aria-label="{0}"><table aria-label="{0}"{1}>').format(
        caption, named
    )


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")

    def table_open(tokens: Sequence, place: int, options: Mapping, env: Mapping) -> str:
        return str(_opening(env["caption"]))

    def heading_cell(tokens: Sequence, place: int, options: Mapping, env: Mapping) -> str:
        return f'<th scope="col"{_alignment(tokens[place])}>'

    def body_cell(tokens: Sequence, place: int, options: Mapping, env: Mapping) -> str:
        return f"<td{_alignment(tokens[place])}>"

    def strong_open(tokens: Sequence, place: int, options: Mapping, env: Mapping) -> str:
        meaning = MEANING.get(tokens[place + 1].content)
        return f'<strong class="verdict {meaning}">' if meaning else "<strong>"

    rules = {
        "table_open": table_open,
        "table_close": lambda *_: "</table></div>\n",
        "th_open": heading_cell,
        "td_open": body_cell,
        "strong_open": strong_open,
    }
    for name, rule in rules.items():
        parser.renderer.rules[name] = rule
    return parser


def _alignment(token: Any) -> str:
    return ' class="number"' if "right" in str(token.attrGet("style")) else ""


@dataclass(frozen=True)
class Picture:
    """A figure within a page.

    Attributes
    ----------
    source
        The picture itself, as data.
    text
        What it shows, for those who do not see it.
    caption
        What is said below it.
    width, height
        In pixels of the page.
    """

    source: Markup
    text: str
    caption: str
    width: int
    height: int


def drawing(path: str | os.PathLike, text: str, caption: str = "") -> Picture:
    """A figure of :mod:`faceneuro.report.drawing`, from its SVG file.

    Parameters
    ----------
    path
        Of the SVG.
    text, caption
        As in :class:`Picture`.
    """
    data = Path(path).read_bytes()
    # In points, of which three are four pixels.
    width, height = (
        float(re.search(rb"<svg[^>]*?\s" + side + rb'="([\d.]+)pt"', data)[1]) * 4 / 3 for side in (b"width", b"height")
    )
    return Picture(_data("image/svg+xml", data), text, caption, round(width), round(height))


def photograph(path: str | os.PathLike, text: str, caption: str = "") -> Picture:
    """A picture of pixels, at most :data:`WIDEST` across.

    Parameters
    ----------
    path
        Of the file.
    text, caption
        As in :class:`Picture`.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    pixels = cv2.imread(os.fspath(path))
    if pixels is None:
        raise InputError(f"{os.fspath(path)} is no picture: delete it, and it is made again")
    height, width = pixels.shape[:2]
    if width > WIDEST:
        height, width = round(height * WIDEST / width), WIDEST
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 75])[1].tobytes()
    return Picture(_data("image/webp", data), text, caption, width, height)


def _data(kind: str, data: bytes) -> Markup:
    return Markup(f"data:{kind};base64,{base64.b64encode(data).decode()}")
