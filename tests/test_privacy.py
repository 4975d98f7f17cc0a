"""Nothing leaves the machine while recordings are processed."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from running import ASSETS, ROOT
from test_workflow import TINY

pytestmark = pytest.mark.workflow
# Snakemake imports urllib3, which tries at its import whether this machine has IPv6, by a socket that goes nowhere.
SNAKEMAKE = "import socket, sys; socket.has_ipv6 = False; from snakemake.cli import main; main(sys.argv[1:])"
OFFLINE = [sys.executable, str(ROOT / "tests" / "offline.py")]

if platform.system() != "Linux" or platform.machine() != "x86_64":
    pytest.skip("the filter that kills a process at an internet socket is for Linux on x86-64", allow_module_level=True)


def call(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run([*OFFLINE, sys.executable, *command], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_the_filter_kills_whoever_opens_an_internet_socket(family):
    assert call("-c", f"import socket; socket.socket(socket.{family})").returncode != 0


def test_the_filter_leaves_other_sockets_alone():
    assert call("-c", "import socket; socket.socketpair()").returncode == 0


def test_the_whole_workflow_runs_without_ever_opening_an_internet_socket(tmp_path, landmarker_model, face_video, heads):
    """Assets are in place; from recordings to tables, in compiled code too, nobody tries to call out."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"assets": {"folder": str(ASSETS)}} | TINY))
    command = ["-c", SNAKEMAKE, "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--cores", "2"]
    done = call(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results" / "summary.md").exists()
