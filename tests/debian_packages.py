"""Programs that a test needs and that Debian packages, for machines that are there for tests."""

import os
import shutil
import subprocess
from collections.abc import Sequence


def install(packages: Sequence[str], programs: Sequence[str]) -> list[str]:
    """Install Debian's packages as root, unless all of their programs are here; nothing is started by that.

    Returns
    -------
    list of str
        What was installed.

    Raises
    ------
    RuntimeError
        If apt-get fails.
    """
    if all(shutil.which(program) for program in programs):
        return []
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for call in (["apt-get", "update"], ["apt-get", "install", "--yes", "--no-install-recommends", *packages]):
        done = subprocess.run(call, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(call)} failed:\n{done.stdout}{done.stderr}")
    return list(packages)
