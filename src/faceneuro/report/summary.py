"""The last words of a run: what was found, in a sentence each, and where it is."""

from collections.abc import Iterable
from pathlib import Path
from textwrap import fill


def heading_and_lead(markdown: str) -> tuple[str, list[str]]:
    """The title of a table file, and the sentences that stand between it and the first table.

    Parameters
    ----------
    markdown
        Text of a file that :func:`faceneuro.report.tables.write_files` wrote.
    """
    title, _, rest = markdown.partition("\n")
    lead = []
    for paragraph in rest.strip().split("\n\n"):
        if paragraph.startswith(("|", "#", "**")):
            break
        lead.append(paragraph.strip())
    return title.removeprefix("# ").strip(), lead


def summary(tables: Iterable[Path], figures: Iterable[Path]) -> str:
    """What a run made, for reading in a terminal.

    Parameters
    ----------
    tables
        Markdown files of the tables.
    figures
        Picture files.

    Returns
    -------
    Markdown: the sentences, then a table of what is where.
    """
    said, places = [], []
    for path in tables:
        title, lead = heading_and_lead(path.read_text(encoding="utf-8"))
        said += [fill(f"{title}. {' '.join(lead)}", 100)] if lead else []
        places.append((title, str(path)))
    for path in figures:
        places.append((path.stem.replace("_", " "), str(path)))
    width = max(len(title) for title, _ in places)
    length = max(len(place) for _, place in places)
    rows = [("Made", "Where"), ("-" * width, "-" * length), *places]
    table = "\n".join(f"| {title:<{width}} | {place:<{length}} |" for title, place in rows)
    return "\n\n".join([*said, table]) + "\n"
