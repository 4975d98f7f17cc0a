"""Templates of paths, such as ``{subject}/{task}_{order}``, by which the files of a data set say what they are."""

import re
from collections.abc import Sequence

from faceneuro.errors import InputError

FIELD = re.compile(r"\{([a-z]+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")


def compile_template(template: str) -> re.Pattern[str]:
    """The regular expression that a template stands for.

    Parameters
    ----------
    template
        Text of a path without its ending. ``{name}`` is a field, any text without a slash; ``{name:\\d+}`` one that
        matches a regular expression; ``*`` is any text without a slash. It must fit the end of a path, so the folders
        above what it names do not matter; capitals do not matter either.

    Raises
    ------
    InputError
        If a field has no usable name, is there twice, or its expression is none.
    """
    pattern, rest = "(?:.*/)?", template
    while rest:
        field = FIELD.match(rest)
        if field:
            pattern += f"(?P<{field[1]}>{field[2] or '[^/]+?'})"
            rest = rest[field.end() :]
        else:
            pattern += "[^/]*" if rest[0] == "*" else re.escape(rest[0])
            rest = rest[1:]
    if re.search(r"\\[{}]", pattern):
        raise InputError(
            f"the template {template!r} has a brace that begins no field; a field is small letters in braces, such as "
            "{subject}"
        )
    try:
        return re.compile(pattern, re.IGNORECASE)
    except re.error as error:
        raise InputError(f"the template {template!r} cannot be used: {error}") from None


def fields_of(template: str) -> set[str]:
    """The names of a template's fields."""
    return {field[1] for field in FIELD.finditer(template)}


def match(patterns: Sequence[re.Pattern[str]], path: str) -> dict[str, str] | None:
    """The fields of the first template that a path without its ending fits, or None."""
    for pattern in patterns:
        if found := pattern.fullmatch(path):
            return found.groupdict()
    return None
