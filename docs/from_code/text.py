"""Plain text as Markdown, and where things are."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def prose(text: str) -> str:
    """Text of a comment or a docstring as Markdown: what is in backticks stays, pages of docs/ become links."""
    parts = re.split(r"(`+[^`]+`+)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    text = re.sub(r"([\\*_\[\]{}<>#|])", r"\\\1", text)
    return re.sub(r"\bdocs/(\w[\w-]*\.md)", r"[docs/\1](../\1)", text)
