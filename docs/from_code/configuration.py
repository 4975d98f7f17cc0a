"""The configuration's keys: types from the schema, meanings from the comments, defaults from the values."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from faceneuro import cohorts
from from_code.text import ROOT, prose

Path = tuple[str, ...]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
NAME = "<name>"
"""Stands for a name that the user chooses."""


class Commented(NamedTuple):
    """A file of configuration: its values, and the comment above each key."""

    values: dict
    comments: dict[Path, str]

    @classmethod
    def read(cls, file: str) -> "Commented":
        """Of a file below ``config/``."""
        text = (ROOT / "config" / file).read_text(encoding="utf-8")
        return cls(yaml.safe_load(text), dict(_comments(yaml.compose(text), text.splitlines(), ())))

    def at(self, path: Path) -> Any:
        """The value at a path; a KeyError where there is none."""
        value = self.values
        for key in path:
            value = (value or {})[key]
        return value


def _comments(node: yaml.Node, lines: list[str], path: Path) -> Iterator[tuple[Path, str]]:
    """The lines of comment directly above each key, without their marks."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        first = key.start_mark.line
        start = first
        while start and lines[start - 1].lstrip().startswith("#"):
            start -= 1
        if start < first:
            yield (*path, key.value), " ".join(line.strip().removeprefix("#").strip() for line in lines[start:first])
        yield from _comments(value, lines, (*path, key.value))


DEFAULT, OWN_VIDEOS = Commented.read("config.yaml"), Commented.read("presets/own_videos.yaml")
# A cohort whose every key has its comment, for each kind that the schema describes.
SHOWN = {"virtual": (DEFAULT, "virtual_als"), "own_videos": (OWN_VIDEOS, "own")}


def configuration(_: str) -> str:
    """Every key of the schema, block by block."""
    parts = []
    for block, schema in SCHEMA["properties"].items():
        parts.append(f"## {block}")
        if block == "cohorts":
            parts += _cohorts()
        elif block == "studies":
            for study, its in schema["properties"].items():
                parts += [f"### `studies.{study}`", *_entries(its, (block, study), DEFAULT, (block, study))]
        else:
            parts += [_entry(schema, (block,), DEFAULT, (block,)), *_entries(schema, (block,), DEFAULT, (block,))]
    return "\n\n".join(parts)


def _cohorts() -> Iterator[str]:
    yield prose(DEFAULT.comments["cohorts",])
    for kind, (file, example) in SHOWN.items():
        yield f"### Cohorts of kind {kind}"
        yield from _entries(SCHEMA["$defs"][kind], ("cohorts", NAME), file, ("cohorts", example))
    yield "### Cohorts that are copies of data sets"
    yield "[Data sets](../data-sets.md#settings-of-every-data-set) says what the keys mean."
    nothing = Commented({}, {})
    for kind in cohorts.kinds():
        if (adapter := cohorts.data_set(kind)) is not None:
            yield f"#### {kind}"
            yield from _entries(adapter.settings_schema(), ("cohorts", NAME), nothing, ())


def _entries(schema: Mapping, path: Path, file: Commented, place: Path) -> Iterator[str]:
    """Each key below a path, and those below it."""
    schema = _resolved(schema)
    keys = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict) and "properties" in schema["additionalProperties"]:
        keys[NAME] = schema["additionalProperties"]
    for key, its in keys.items():
        # A name that the user chooses is shown by the first that the default has.
        there = next(iter(file.at(place))) if key == NAME else key
        yield _entry(its, (*path, key), file, (*place, there))
        yield from _entries(its, (*path, key), file, (*place, there))


def _entry(schema: Mapping, path: Path, file: Commented, place: Path) -> str:
    said = [_kind(schema)]
    try:
        value = file.at(place)
        if not isinstance(value, dict):
            said.append(f"default `{_flow(value)}`")
    except KeyError:
        said.append(f"default `{_flow(schema['default'])}`" if "default" in schema else "required")
    meaning = prose(file.comments.get(place, "")) or _elsewhere(path)
    key = ".".join(path)
    return f"`{key}`\n: *{'; '.join(said)}*" + (f"\\\n  {meaning}" if meaning else "")


def _elsewhere(path: Path) -> str:
    """Where a key of a study is explained that is explained once, in the first study that has it."""
    if path[0] != "studies":
        return ""
    for study in SCHEMA["properties"]["studies"]["properties"]:
        if study == path[1]:
            break
        if DEFAULT.comments.get(("studies", study, *path[2:])):
            return f"As `studies.{study}.{'.'.join(path[2:])}`."
    return ""


def _flow(value: Any) -> str:
    return re.sub(r"\n\.\.\.$", "", yaml.safe_dump(value, default_flow_style=True, width=10_000).strip())


def _resolved(schema: Mapping) -> Mapping:
    """A schema with what it refers to in its place."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    for part in schema.get("allOf", ()):
        if "if" not in part:
            schema = {**schema, "properties": schema.get("properties", {}) | _resolved(part).get("properties", {})}
    return schema


def _kind(schema: Mapping) -> str:
    """What a value may be, in words."""
    schema = _resolved(schema)
    if "anyOf" in schema:
        return ", or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(f"`{_flow(each)}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{_flow(schema['const'])}`"
    types = schema.get("type", "object")
    names = {"object": "block", "array": "list", "string": "text", "boolean": "true or false"}
    words = [names.get(each, each) for each in ([types] if isinstance(types, str) else types)]
    if "items" in schema:
        words[0] += f" of {_kind(schema['items']).replace('one of', 'any of')}"
    limits = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = [f"{word} {schema[limit]}" for limit, word in limits.items() if limit in schema]
    if "multipleOf" in schema:
        bounds.append(f"a multiple of {schema['multipleOf']}")
    return ", ".join([words[0], *bounds]) + "".join(f", or {word}" for word in words[1:])
