"""The filter with which test_workflow.py shows that nothing leaves the machine while recordings are processed."""

import subprocess
import sys

import pytest

from running import CONFINED, OFFLINE

if not CONFINED:
    pytest.skip("the filter that kills a process at an internet socket is for Linux on x86-64", allow_module_level=True)


def call(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run([*OFFLINE, sys.executable, *command], capture_output=True, text=True)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_the_filter_kills_whoever_opens_an_internet_socket(family):
    assert call("-c", f"import socket; socket.socket(socket.{family})").returncode != 0


def test_the_filter_leaves_other_sockets_alone():
    assert call("-c", "import socket; socket.socketpair()").returncode == 0
