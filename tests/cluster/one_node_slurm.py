"""A SLURM of one node, on this machine's loopback, for as long as a test takes.

Controller and node daemon run as root and as children of the test, which knows their process ids and ends them by
these. There is no database, no munge and no control groups: memory is counted, not enforced. Two devices that are none
stand for GPUs: SLURM hands them out as it would real ones, and nothing can compute on them.
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("slurm-wlm", "slurm-client", "slurmctld", "slurmd", "slurm-wlm-basic-plugins", "munge")
DAEMONS = ("slurmctld", "slurmd", "slurmstepd")
COMMANDS = ("slurmctld", "slurmd", "srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo")

FOLDER = Path("/etc/slurm")
"""Where Debian's SLURM looks. Not elsewhere, by SLURM_CONF: the job steps of Snakemake do not pass that on."""

MARK = "# Written for one run of faceneuro's tests/cluster/on_slurm.py; deleted at its end.\n"

DEVICES = ("/dev/null", "/dev/zero")
"""What stands for GPUs: SLURM wants device files, which it counts and never opens."""

GPUS = len(DEVICES)

UNFINISHED = ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED")

SLURM_CONF = """\
ClusterName=faceneuro
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# More cores and memory are claimed than there are, so that the requests of the profile fit as they are.
SlurmdParameters=config_overrides
GresTypes=gpu
# Finished jobs are remembered to the end of the test.
MinJobAge=3600
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000 Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes={host} MaxTime=1-0 State=UP
"""

GRES_CONF = "AutoDetect=off\n" + "".join(f"Name=gpu File={device}\n" for device in DEVICES)


class Refused(Exception):
    """This machine has, or may have, a SLURM of its own."""


@dataclass(frozen=True)
class Job:
    """What the controller knows of a job; times in seconds since 1970, ``end`` is in the future while it runs."""

    id: int
    comment: str
    state: str
    partition: str
    minutes: int
    memory_mb: int
    gpus: int
    start: float
    end: float

    @property
    def on_gpu(self) -> bool:
        return self.gpus > 0


def check_that_there_is_none() -> None:
    """Refuse to run where there is a SLURM.

    Raises
    ------
    Refused
        If a daemon of SLURM runs, or there is a configuration that this test did not write.
    """
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text().strip()
            # The dead that nobody has buried have no command line.
            alive = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if name in DAEMONS and alive:
            raise Refused(f"{name} already runs here (process {process.name}), so this machine has a SLURM of its own")
    for path in (FOLDER / "slurm.conf", FOLDER / "gres.conf"):
        if path.exists() and not path.read_text().startswith(MARK):
            raise Refused(f"{path} was not written by this test, so this machine may belong to a cluster")
    for variable in ("SLURM_CONF", "SLURM_JOB_ID"):
        if variable in os.environ:
            raise Refused(f"{variable} is set, so this machine belongs to a cluster")


@contextmanager
def one_node(folder: Path) -> Iterator[None]:
    """Run SLURM with its files in ``folder``; afterwards its jobs, its daemons and its configuration are gone."""
    check_that_there_is_none()
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    new = not FOLDER.exists()
    FOLDER.mkdir(exist_ok=True)
    files = {"slurm.conf": SLURM_CONF.format(host=host, folder=folder, gpus=GPUS), "gres.conf": GRES_CONF}
    daemons: list[subprocess.Popen] = []
    try:
        for name, text in files.items():
            (FOLDER / name).write_text(MARK + text)
        for command in (["slurmctld", "-D", "-c"], ["slurmd", "-D"]):
            with (folder / f"{command[0]}.out").open("w") as output:
                daemons.append(subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True))
        _wait_until_idle(daemons)
        yield
    finally:
        if len(daemons) == 2 and all(daemon.poll() is None for daemon in daemons):
            cancel_all()
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for name in files:
            (FOLDER / name).unlink(missing_ok=True)
        if new:
            FOLDER.rmdir()


def _wait_until_idle(daemons: list[subprocess.Popen]) -> None:
    for _ in range(300):
        answer = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True)
        if set(answer.stdout.split()) == {"idle"}:
            return
        if any(daemon.poll() is not None for daemon in daemons):
            break
        time.sleep(0.1)
    raise RuntimeError(f"SLURM did not start; sinfo says: {answer.stdout}{answer.stderr}")


def cancel_all() -> None:
    """Cancel what is left in the queue, and wait until it is empty."""
    for _ in range(60):
        queue = subprocess.run(["squeue", "--noheader", "--format=%i"], capture_output=True, text=True).stdout.split()
        if not queue:
            return
        subprocess.run(["scancel", *queue], capture_output=True)
        time.sleep(0.5)


def set_time_limit(job: Job, minutes: int) -> None:
    subprocess.run(["scontrol", "update", f"JobId={job.id}", f"TimeLimit={minutes}"], check=True)


def jobs() -> list[Job]:
    """Every job since the start, finished ones too."""
    text = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True, check=True).stdout
    return [_read_job(line) for line in text.splitlines() if line.startswith("JobId=")]


def _read_job(line: str) -> Job:
    fields = dict(re.findall(r"(\S+?)=(\S*)", line))
    gpus = re.search(r"TresPerJob=gres:gpu:(\d+)", line)
    return Job(
        id=int(fields["JobId"]),
        comment=fields["Comment"],
        state=fields["JobState"],
        partition=fields["Partition"],
        minutes=_minutes(fields["TimeLimit"]),
        memory_mb=_megabytes(fields["MinMemoryNode"]),
        gpus=int(gpus[1]) if gpus else 0,
        start=_seconds(fields["StartTime"]),
        end=_seconds(fields["EndTime"]),
    )


def _minutes(limit: str) -> int:
    days, _, clock = limit.rpartition("-")
    hours, minutes, _ = clock.split(":")
    return (int(days or 0) * 24 + int(hours)) * 60 + int(minutes)


def _megabytes(memory: str) -> int:
    number, unit = re.fullmatch(r"([\d.]+)([MG])", memory).groups()
    return round(float(number) * {"M": 1, "G": 1024}[unit])


def _seconds(moment: str) -> float:
    known = moment not in ("Unknown", "None", "(null)")
    return time.mktime(time.strptime(moment, "%Y-%m-%dT%H:%M:%S")) if known else float("inf")
