"""An environment with the plugin for SLURM, over the one that runs this: seconds, where a second full one takes 6 GB.

Plugins are kept out of the usual environment, because they slow every start of Snakemake down (the one for Kubernetes
most, so it is not here either). This small environment holds the packages of the plugin, as
``requirements-cluster.lock`` pins them, and sees all else in the usual one. The jobs need not be told: they run the
Python that runs Snakemake.
"""

import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("snakemake-executor-plugin-slurm", "snakemake-executor-plugin-slurm-jobstep")
"""What the plugin consists of; whatever else it needs, Snakemake and this package need, too."""


def pins(lock: Path, packages: Sequence[str]) -> str:
    """The lines of a lock file about some packages: versions and hashes.

    Raises
    ------
    ValueError
        If a package is not in it.
    """
    entries = re.findall(r"^[a-z0-9].*\n(?: +--hash=.*\n)+", lock.read_text(), re.MULTILINE)
    wanted = [entry for entry in entries if entry.partition("==")[0] in packages]
    if len(wanted) != len(packages):
        raise ValueError(f"{lock} does not pin all of {', '.join(packages)}")
    return "".join(wanted)


def install(root: Path, folder: Path) -> Path:
    """Make the environment in a folder, by the lock file of a checkout.

    Returns
    -------
    Its ``python``.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (packages / "usual.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wanted = folder / "requirements.txt"
    wanted.write_text(pins(root / "requirements-cluster.lock", PACKAGES))
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--python", python]
    subprocess.run([*uv, "--no-deps", "--require-hashes", "--requirement", wanted], check=True)
    return python
