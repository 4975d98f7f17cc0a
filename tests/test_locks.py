import signal
import subprocess
import sys
import time

import pytest

from faceneuro.locks import claim

HOLD = "import sys, time; from pathlib import Path; from faceneuro.locks import claim; \
mine = claim(Path(sys.argv[1])); print(mine is not None, flush=True); time.sleep(60)"


@pytest.fixture
def folder(tmp_path):
    """A folder as Snakemake leaves it when it is killed."""
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    (folder / "locks" / "0.input.lock").write_text("results/a\n")
    return folder


def test_what_a_dead_run_locked_is_cleared(folder):
    mine = claim(folder)
    assert mine is not None
    assert list((folder / "locks").iterdir()) == []
    mine.release()


def test_what_a_living_run_locked_stays_until_it_is_killed(folder):
    living = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert living.stdout.readline() == "True\n"
    lock = folder / "locks" / "0.input.lock"
    lock.write_text("results/b\n")
    assert claim(folder) is None
    assert lock.exists()
    living.send_signal(signal.SIGKILL)
    living.wait()
    deadline = time.monotonic() + 10
    while (mine := claim(folder)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lock.exists()
    mine.release()


def test_a_folder_without_locks_is_claimed_too(tmp_path):
    mine = claim(tmp_path / ".snakemake")
    assert mine.is_locked
    mine.release()
