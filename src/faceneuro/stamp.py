"""Code stamps: a rule is run again when the package code that it uses changes, and only then.

Snakemake compares a rule's parameters but does not see the modules that its script imports. A stamp closes the gap: it
is a hash over the sources of a module and of everything of this package that the module imports, with the templates of
pages, passed as a parameter.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def code_stamp(*modules: str) -> str:
    """Hash of modules and of all they import from this package.

    Parameters
    ----------
    *modules
        Names inside the package, such as ``"features.flow"``.

    Returns
    -------
    Twelve hexadecimal digits.

    Raises
    ------
    ModuleNotFoundError
        If there is no such module: a rule names what does not exist.
    """
    files = set().union(*(_closure(_file(f"faceneuro.{module}")) for module in modules))
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(str(file.relative_to(PACKAGE)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@cache
def _closure(file: Path) -> frozenset[Path]:
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting.extend(_imports(current))
    return frozenset(found)


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    files = []
    if file.suffix != ".py":
        return ()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "PackageLoader":
            # Every template of the folder: which of them extends which is not looked up.
            files += sorted(_file(ast.literal_eval(node.args[0])).with_name("templates").iterdir())
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            # "from package import name": the name may be a module of its own.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "faceneuro" and (imported := _find(name)):
                files.append(imported)
    return tuple(files)


def _find(name: str) -> Path | None:
    stem = PACKAGE.joinpath(*name.split(".")[1:])
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def _file(name: str) -> Path:
    if (file := _find(name)) is None:
        raise ModuleNotFoundError(f"a code stamp names {name}, which is not a module of this package")
    return file
