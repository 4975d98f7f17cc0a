"""The parts of the reference that are made from the code, each a function that gives Markdown."""

from collections.abc import Callable

from from_code.configuration import configuration
from from_code.modules import modules
from from_code.rules import commands, rules, targets
from from_code.tables import tables

MAKERS: dict[str, Callable[[str], str]] = {
    "commands": commands,
    "configuration": configuration,
    "modules": modules,
    "rules": rules,
    "tables": tables,
    "targets": targets,
}
"""By the word in the comment; each is given what follows the word."""
