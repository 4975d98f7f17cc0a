"""Give the rules' environments the versions of the lock: ``python envs/pin.py``.

An environment names the packages that its scripts import; their versions are those of requirements.lock for the
environment's Python. To add a package, write its bare name and call this.
"""

import re
import sys
from pathlib import Path

import yaml
from packaging.requirements import Requirement

ENVS = Path(__file__).parent
LOCK = ENVS.parent / "requirements.lock"


def locked(lock: str, python: str) -> dict[str, str]:
    """Versions in a lock.

    Parameters
    ----------
    lock
        The text of a file of requirements, each with one version.
    python
        Python's version as major and minor, such as ``"3.12"``, on Linux, for which the markers are read.

    Returns
    -------
    The version of every package by its name.
    """
    system = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "sys_platform": "linux",
        "os_name": "posix",
    }
    wanted = [Requirement(line) for line in re.findall(r"^([a-z0-9][^\\\n]*)", lock, re.MULTILINE)]
    used = [each for each in wanted if each.marker is None or each.marker.evaluate(system)]
    return {each.name: str(each.specifier).removeprefix("==") for each in used}


def pinned(environment: str, lock: str) -> str:
    """An environment with the versions of a lock, its packages in order of their names.

    Parameters
    ----------
    environment
        The text of an environment's file.
    lock
        The text of the lock.

    Returns
    -------
    The text of the file as it should be; comments and everything but the pip packages stay.

    Raises
    ------
    LookupError
        If the environment names a package that is not in the lock for its Python.
    """
    dependencies = yaml.safe_load(environment)["dependencies"]
    python = next(each for each in dependencies if str(each).startswith("python=")).partition("=")[2]
    names = sorted(
        pin.partition("==")[0] for pin in next(each["pip"] for each in dependencies if isinstance(each, dict))
    )
    versions = locked(lock, python)
    if absent := [name for name in names if name not in versions]:
        raise LookupError(
            f"no {', '.join(absent)} in requirements.lock for Python {python}; mend the name or make lock"
        )
    head = environment[: environment.index("- pip:\n") + len("- pip:\n")]
    return head + "".join(f"      - {name}=={versions[name]}\n" for name in names)


if __name__ == "__main__":
    lock = LOCK.read_text(encoding="utf-8")
    for file in sorted(ENVS.glob("*.yaml")):
        try:
            text = pinned(file.read_text(encoding="utf-8"), lock)
        except LookupError as error:
            sys.exit(f"{file}: {error}")
        file.write_text(text, encoding="utf-8")
