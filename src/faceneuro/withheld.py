"""The configuration of a run as it may be passed on: without where somebody's files are, or who is in them."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

A_PATH = "a path outside of the working directory"
NAMES = "names of subjects"
OF_NAMES = (("subjects",), ("rename", "subject"))
"""Keys of a cohort that say who is in it; under the first there may also be a number."""


def publishable(config: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A copy of a configuration in which nothing personal is left.

    Paths below the working directory become relative to it. Any other, and the names of subjects, are replaced by
    ``withheld/`` and their key. As a path that is missing, and in place of names it is refused, so a run with the copy
    stops and names the key until it is given again.

    Parameters
    ----------
    config
        As Snakemake merged it from its files and the command line.
    folder
        The working directory, absolute.

    Returns
    -------
    The copy, in plain dicts and lists and in the order of the original, and what is withheld: the reason by the key's
    path.
    """
    withheld: dict[str, str] = {}

    def copied(value: Any, key: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping | list) and key[:1] == ("cohorts",) and key[2:] in OF_NAMES:
            return placeholder(key, NAMES)
        if isinstance(value, Mapping):
            return {name: copied(each, (*key, str(name))) for name, each in value.items()}
        if isinstance(value, list):
            return [copied(each, (*key, str(place))) for place, each in enumerate(value)]
        if not isinstance(value, str) or not _leads_out(value):
            return value
        below = next((path for path in _relative(value, folder) if not _leads_out(path)), None)
        return placeholder(key, A_PATH) if below is None else below

    def placeholder(key: tuple[str, ...], reason: str) -> str:
        withheld[".".join(key)] = reason
        return f"withheld/{'.'.join(key)}"

    return copied(config, ()), withheld


def in_order(config: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with its keys in the order of another one, and those that are not there sorted behind them.

    Snakemake orders keys by how they were given, in files or on the command line, and to it another order would be
    another configuration.
    """
    keys = [*(key for key in like if key in config), *sorted((key for key in config if key not in like), key=str)]
    return {key: _value_in_order(config[key], like.get(key)) for key in keys}


def _value_in_order(value: Any, like: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return in_order(value, like if isinstance(like, Mapping) else {})


def named_files(config: Mapping[str, Any]) -> dict[str, str]:
    """What may be files that a configuration names, such as tables and weights, by the path of their key.

    Groups, models and tasks are words; a file of such a name in the working directory is not what they mean. Whether
    there is one is not asked, because a run may make it.
    """
    return {key: value for key, value in _texts(config) if os.sep in value or Path(value).suffix}


def _texts(value: Any, *key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield ".".join(key), value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(each, *key, str(name))
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _texts(each, *key, str(place))


def _leads_out(path: str) -> bool:
    return os.path.isabs(path) or path.startswith("~") or os.path.normpath(path).split(os.sep)[0] == os.pardir


def _relative(path: str, folder: Path) -> Iterator[str]:
    """A path as seen from a folder, as both are written and as they are when links are followed."""
    path = os.path.join(folder, os.path.expanduser(path))
    yield os.path.relpath(path, folder)
    yield os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
