import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from filelock import lock_descriptor

from faceneuro.errors import InputError
from faceneuro.training import devices
from faceneuro.training.devices import Device, found_devices, lease, visible_devices

TWO = lambda: ["0", "1"]  # noqa: E731

JOB = """
import sys, time
from pathlib import Path
from faceneuro.training.devices import lease
folder, log, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
with lease(1, folder, lambda: ["0", "1"]) as device, open(log, "a", buffering=1) as file:
    file.write(f"{device.index} in\\n")
    time.sleep(seconds)
    file.write(f"{device.index} out\\n")
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine that says nothing about devices."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def start(folder: Path, log: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", JOB, str(folder), str(log), str(seconds)])


def wait_for(log: Path, text: str) -> None:
    while not (log.exists() and text in log.read_text()):
        time.sleep(0.01)


def test_twelve_jobs_share_two_devices_and_never_meet(tmp_path):
    log = tmp_path / "log"
    jobs = [start(tmp_path / "locks", log, 0.02) for _ in range(12)]
    assert [job.wait() for job in jobs] == [0] * 12
    lines = log.read_text().splitlines()
    assert len(lines) == 24
    for device in ("0", "1"):
        events = [line.split()[1] for line in lines if line.startswith(device)]
        assert events == ["in", "out"] * (len(events) // 2)


def test_a_killed_job_gives_its_device_back(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "locks"
    holders = [start(folder, log, 600) for _ in range(2)]
    wait_for(log, "0 in")
    wait_for(log, "1 in")
    waiting = start(folder, log, 0)
    for holder in holders:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert waiting.wait() == 0
    assert "out" in log.read_text()


def test_a_job_that_wants_two_waits_for_both_and_holds_none_meanwhile(tmp_path):
    log, folder = tmp_path / "log", tmp_path / "locks"
    greedy = JOB.replace("lease(1", "lease(2")
    jobs = [subprocess.Popen([sys.executable, "-c", greedy, str(folder), str(log), "0.02"]) for _ in range(3)]
    assert [job.wait() for job in jobs] == [0] * 3
    assert log.read_text().splitlines() == ["0,1 in", "0,1 out"] * 3


@pytest.mark.parametrize("inherited", [None, "0,1"])
def test_no_wish_means_the_processor_whatever_there_is(tmp_path, monkeypatch, inherited):
    if inherited:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", inherited)
    with lease(0, tmp_path, TWO) as device:
        assert device == Device("cpu")
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == inherited
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("inherited", "why"),
    [
        (None, "used here: computing"),
        ("", "used here (CUDA_VISIBLE_DEVICES is ''): computing"),
        ("1", "used here (CUDA_VISIBLE_DEVICES is '1', but there is none): computing"),
    ],
)
def test_a_machine_without_devices_computes_on_the_processor_and_warns_once(
    tmp_path, monkeypatch, caplog, inherited, why
):
    """A cluster that hands out a device that is not there is survived, too."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    if inherited is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", inherited)
    with caplog.at_level(logging.INFO), lease(1, tmp_path, list) as device:
        assert device == Device("cpu")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert (
        f"one GPU is asked for, and no NVIDIA GPU can be {why} on the processor. If that is meant, set"
        in record.message
    )


def test_the_environment_says_which_device_was_leased_and_is_restored(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-ab/c")
    with lease(1, tmp_path, TWO) as device:
        assert device.name == "cuda"
        assert device.index in ("5", "GPU-ab/c")
        assert os.environ["CUDA_VISIBLE_DEVICES"] == device.index
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,GPU-ab/c"


@pytest.mark.parametrize(("inherited", "usable"), [("3, 1", ["3", "1"]), ("", []), ("-1", []), ("2,-1,0", ["2"])])
def test_only_inherited_devices_are_candidates(monkeypatch, inherited, usable):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", inherited)
    assert visible_devices(TWO) == usable


def test_more_devices_than_there_are_is_one_sentence(tmp_path):
    with (
        pytest.raises(InputError, match=r"asks for 3 GPUs, but there are 2 \(0, 1\); lower its gpu resource"),
        lease(3, tmp_path, TWO),
    ):
        pass


def test_the_choice_of_slurm_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with lease(1, tmp_path, TWO) as first, lease(1, tmp_path, TWO) as second:
        assert first == second == Device("cuda", "0")
    assert not list(tmp_path.iterdir())


def test_jobs_inside_one_slurm_allocation_still_share_its_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with lease(1, tmp_path, TWO) as first:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        with lease(1, tmp_path, TWO) as second:
            assert {first.index, second.index} == {"0", "1"}


def test_a_lease_after_cuda_has_started_is_refused(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="CUDA was started before"), lease(1, tmp_path, TWO):
        pass


def test_a_lease_outlasts_its_block_once_cuda_has_started(tmp_path, monkeypatch):
    import torch

    with lease(1, tmp_path, lambda: ["0"]):
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    again = devices._open(tmp_path / "0.lock")
    assert not lock_descriptor(again, blocking=False)
    os.close(again)
    # Not by monkeypatch, which would put the leased device back for all later tests.
    del os.environ["CUDA_VISIBLE_DEVICES"]


def test_the_driver_is_asked_for_its_list(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'GPU 0: H200 (UUID: GPU-a)\n  MIG 1g Device 0: (UUID: MIG-b)\nGPU 1: H200 (UUID: GPU-c)'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert found_devices() == ["0", "1"]


def test_a_driver_that_does_not_answer_is_survived(tmp_path, monkeypatch, caplog):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with caplog.at_level(logging.INFO):
        assert found_devices() == [str(i) for i in range(len(found_devices()))]
    assert "looking at device files instead" in caplog.text


AS_OTHER = """
import os, sys
from pathlib import Path
import filelock
from faceneuro.training import devices
os.setresgid(65534, 65534, 65534)
os.setgroups([])
os.setresuid(65534, 65534, 65534)
os.umask(0o077)
print(sorted(devices._acquire(["0", "1"], int(sys.argv[2]), Path(sys.argv[1]))), flush=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")
def test_jobs_of_two_users_do_not_meet():
    """Whoever came first made the folder and the files."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm")) / "locks"
    folder.parent.chmod(0o755)
    try:
        with lease(1, folder, lambda: ["0"]):
            got = subprocess.run(
                [sys.executable, "-c", AS_OTHER, folder, "1"], capture_output=True, text=True, check=True
            )
            assert got.stdout == "['1']\n"
        assert folder.stat().st_mode & 0o7777 == 0o1777
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
        # The second file is the other user's.
        with lease(2, folder, TWO) as device:
            assert device.index == "0,1"
    finally:
        shutil.rmtree(folder.parent)
