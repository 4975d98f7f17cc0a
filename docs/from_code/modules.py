"""The documentation of every module of a package, by its docstrings."""

import pkgutil
from importlib import import_module


def modules(package: str) -> str:
    """A section for each module of a package, those of its subpackages too; of the package at the top, only its own."""
    top = import_module(package)
    walk = pkgutil.iter_modules if "." not in package else pkgutil.walk_packages
    names = [module.name for module in walk(top.__path__, f"{package}.") if not (module.ispkg and "." not in package)]
    return "\n\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```" for name in [package, *names])
