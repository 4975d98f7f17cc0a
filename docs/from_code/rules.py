"""The rules of the workflow and the commands of the Makefile, by their texts."""

import ast
import re
from collections.abc import Iterator
from textwrap import dedent
from typing import NamedTuple

from from_code.text import ROOT, prose

RULE = re.compile(r"^ *(?:use rule (?P<base>\w+) as|rule) (?P<name>\w+)(?: with)?:\n(?P<body>(?:\n| +.*\n)*)", re.M)
OUTPUT = re.compile(r"^ +output:\n((?: {8,}.*\n)+)", re.M)


class Rule(NamedTuple):
    """A rule as it stands in a file, and the paths of what it makes."""

    name: str
    file: str
    says: str
    makes: list[str]
    gpu: bool


def _rules() -> Iterator[Rule]:
    for path in (ROOT / "Snakefile", *sorted(ROOT.glob("workflow/rules/*.smk"))):
        for found in RULE.finditer(path.read_text(encoding="utf-8")):
            sentence = re.match(r'\s*"""(.*?)"""', found["body"], re.DOTALL)
            # A rule that repeats another one on other files has no sentence of its own.
            says = sentence[1] if sentence else f"What `{found['base']}` does, with other files."
            output = OUTPUT.search(found["body"])
            makes = list(_paths(ast.parse(f"output({dedent(output[1])})", mode="eval").body)) if output else []
            yield Rule(found["name"], path.name, says, makes, "gpu=" in found["body"])


def _paths(node: ast.expr) -> Iterator[str]:
    """The paths that an expression stands for, of which most functions only say something more."""
    match node:
        case ast.Call(func=ast.Name(id="output")):
            for each in (*node.args, *(keyword.value for keyword in node.keywords)):
                yield from _paths(each)
        case ast.Call(func=ast.Name(id="multiext")):
            stem, *suffixes = (*node.args, *(keyword.value for keyword in node.keywords))
            yield from (path + suffix.value for path in _paths(stem) for suffix in suffixes)
        case ast.Call():
            yield from _paths(node.args[0])
        case ast.JoinedStr():
            parts = (
                part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
                for part in node.values
            )
            yield "".join(parts)
        case ast.Constant():
            yield node.value
        case _:
            yield ast.unparse(node)


def rules(_: str) -> str:
    """Every rule that makes files, in the order of the files that they are in: what it does, what it makes."""
    parts, file = [], None
    for rule in _rules():
        if not rule.makes:
            continue
        if rule.file != file:
            file = rule.file
            parts.append(f"## {file}")
        gpu = " Uses a GPU where there is one." if rule.gpu else ""
        made = "\n".join(f"  {path}" for path in rule.makes)
        parts.append(f"`{rule.name}`{{#{rule.name}}}\n: {prose(rule.says)}{gpu}\n\n  ```text\n{made}\n  ```")
    return "\n\n".join(parts)


def targets(_: str) -> str:
    """Every rule that makes nothing itself: what one asks for by name."""
    rows = {rule.name: prose(rule.says) for rule in _rules() if not rule.makes}
    lines = [f"| `{name}`{{#{name}}} | {says} |" for name, says in rows.items()]
    return "\n".join(["| Target | What it makes |", "| -- | -- |", *lines])


def commands(_: str) -> str:
    """What ``make help`` lists."""
    found = re.findall(r"^([a-z]+):.*?## (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    lines = [f"| `make {name}` | {prose(says)} |" for name, says in found]
    return "\n".join(["| Command | What it does |", "| -- | -- |", *lines])
