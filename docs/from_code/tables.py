"""The schemas of the tables that rules hand to each other."""

import ast
import inspect
import re

import pyarrow as pa

from faceneuro import tables as module
from from_code.text import prose


def tables(_: str) -> str:
    """Every schema of :mod:`faceneuro.tables`, in its order: name, what a row is, columns and types."""
    sections = []
    body = ast.parse(inspect.getsource(module)).body
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.FunctionDef) and statement.name.endswith("_schema"):
            # Lengths of lists that follow from the arguments are left open.
            given = [(1, 1) if "tuple" in ast.unparse(each.annotation) else 1 for each in statement.args.args]
            schema, name = getattr(module, statement.name)(*given), statement.name.removesuffix("_schema")
            sections.append(_section(name, ast.get_docstring(statement), schema, sized=False))
        elif isinstance(statement, ast.Assign) and isinstance(getattr(module, _name(statement), None), pa.Schema):
            sections.append(_section(_name(statement), after.value.value, getattr(module, _name(statement))))
    return "\n\n".join(sections)


def _name(statement: ast.Assign) -> str:
    return statement.targets[0].id if isinstance(statement.targets[0], ast.Name) else ""


def _section(name: str, docstring: str, schema: pa.Schema, sized: bool = True) -> str:
    text = re.sub(r":\w+:`([\w.]+)`", lambda found: f"`{found[1].rsplit('.', 1)[-1]}`", docstring)
    rows = [f"| `{field.name}` | {_type(field.type, sized)} | {'' if field.nullable else 'yes'} |" for field in schema]
    head = ["| Column | Type | Key |", "| -- | -- | -- |"]
    return "\n".join([f"## {name.lower().replace('_', ' ')}", "", prose(text.replace("``", "`")), "", *head, *rows])


def _type(kind: pa.DataType, sized: bool) -> str:
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size if sized else 'list of'} {_type(kind.value_type, sized)}"
    if pa.types.is_list(kind):
        return f"list of {_type(kind.value_type, sized)}"
    if pa.types.is_map(kind):
        return f"map of {_type(kind.key_type, sized)} to {_type(kind.item_type, sized)}"
    names = {"float": "float32", "double": "float64", "halffloat": "float16", "large_binary": "bytes"}
    return names.get(str(kind), str(kind))
