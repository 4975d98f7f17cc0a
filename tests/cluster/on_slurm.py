#!/usr/bin/env python
"""The ALS study on a real SLURM of one node: killed, timed out, interrupted, gone on with, and equal to a local run.

Run by hand, as root on Debian or Ubuntu: ``.venv/bin/python tests/cluster/on_slurm.py --yes``. Without ``--yes`` or
``FACENEURO_TEST_SLURM=1`` it says what it would do to the system and leaves with exit code 2.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import one_node_slurm as slurm
import overlay

import debian_packages
from faceneuro.tables import read_table
from running import ASSETS, NO_COHORT, NO_STUDY, ROOT

OPT_IN = "FACENEURO_TEST_SLURM"

WHAT_IT_DOES = f"""\
This test changes the system, so it runs only when told to: --yes, or {OPT_IN}=1.
As root, on Debian or Ubuntu, it
  - installs packages: {", ".join(slurm.PACKAGES)} (they stay);
  - writes {slurm.FOLDER}/slurm.conf and gres.conf, unless there are some, and deletes them at its end;
  - runs slurmctld and slurmd on the loopback interface for some minutes, and ends them.
Nothing was tested."""

# Few people, few frames, one protocol: what takes time here is the starting of jobs.
STUDY = {
    "assets": {"folder": str(ASSETS)},
    "cohorts": {
        **NO_COHORT,
        "virtual_als": {"groups": {"healthy": 3, "als": 3}, "tasks": ["open"], "seconds": 1.0, "subjects_per_shard": 6},
    },
    "features": {"flow": {"grid": [24, 32]}},
    "studies": {
        **NO_STUDY,
        "als": {
            "protocols": {"published": None, "grouped": {"folds": 2}},
            "models": ["dual_branch", "logistic_regression"],
            "reduction": {"components": 4},
            "training": {"epochs": 3, "select": "last"},
            "repeats": 1,
            "bootstrap": {"resamples": 100},
        },
    },
    "meta_analysis": None,
}

ALS = ("als", "--snakefile", ROOT / "Snakefile", "--configfile", "config.yaml")

TRAINING = "rule_train_als_fold"
"""How the comment of a training job begins."""

# The profile is used as it is, but for the pace: a cluster of one node answers at once, and has no accounting.
PACE = {"slurm-init-seconds-before-status-checks": 3, "latency-wait": 15, "slurm-status-command": "squeue"}

RUN_MARK = "FACENEURO_TEST_RUN"
"""A variable that the calls of Snakemake have, and that all their jobs inherit."""

PATIENCE = 900
"""Seconds after which something is said never to come; much more than anything takes."""

CLEARED = 120
"""Seconds after which nothing may be left of an interrupted call."""

T = TypeVar("T")
START = time.monotonic()


class Failed(Exception):
    """What should have been seen was not."""


def say(text: str) -> None:
    print(f"[{time.monotonic() - START:4.0f} s] {text}", flush=True)


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


def environment() -> dict[str, str]:
    """This process's, without a profile of the user's and without devices."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SNAKEMAKE_", "CUDA_"))}


class Call:
    """A call of Snakemake with the profile for SLURM, as a user makes it."""

    def __init__(self, python: Path, workdir: Path, output: Path):
        path = os.pathsep.join([str(python.parent), *os.get_exec_path()])
        options = [part for name, value in PACE.items() for part in (f"--{name}", str(value))]
        profile = ROOT / "profiles" / "slurm"
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [python, Path(__file__).with_name("brisk_snakemake.py"), *ALS, "--workflow-profile", profile, *options],
                cwd=workdir,
                env=environment() | {"PATH": path, RUN_MARK: str(workdir)},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell that starts this test in the background may have it ignored, and children inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def wait_until(self, what: str, happened: Callable[[], T | None]) -> T:
        """What a function returns as soon as it returns something; the call must be alive until then."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := happened():
                return found
            check(self.process.poll() is None, f"the call of Snakemake ended before {what}")
            time.sleep(0.1)
        raise Failed(f"{what}: never seen")

    def end(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed("the call of Snakemake does not end") from None


def new_workdir(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(STUDY))
    return folder


def run_locally(workdir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *ALS, "--cores", "2"],
        cwd=workdir,
        env=environment() | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    check(done.returncode == 0, f"the local run failed:\n{done.stdout}{done.stderr}")


def processes(**variables: str | int) -> Iterator[tuple[int, dict[str, str], list[str]]]:
    """Id, environment and command line of every process that was started with these variables."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            started_with = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if all(f"{name}={value}" in started_with for name, value in variables.items()):
            yield int(folder.name), dict(entry.partition("=")[::2] for entry in started_with), command


def processes_of_run(workdir: Path) -> list[int]:
    return [process for process, *_ in processes(**{RUN_MARK: str(workdir)})]


def training_processes(besides: Sequence[slurm.Job] = ()) -> list[tuple[slurm.Job, int, str]]:
    """Jobs that are training, but for some: each with its process and with the GPUs that it was given."""
    return [
        (job, process, variables.get("CUDA_VISIBLE_DEVICES", ""))
        for job in slurm.jobs()
        if job.comment.startswith(TRAINING) and job.state == "RUNNING" and job.id not in {other.id for other in besides}
        for process, variables, command in processes(SLURM_JOB_ID=job.id)
        if any(".snakemake/scripts/" in word for word in command)
    ]


def hold_training(besides: Sequence[slurm.Job] = ()) -> tuple[slurm.Job, int, str] | None:
    """Stop the process of a training job in its tracks, as soon as there is one."""
    for job, process, gpus in training_processes(besides):
        os.kill(process, signal.SIGSTOP)
        return job, process, gpus
    return None


def after(job: slurm.Job) -> list[slurm.Job]:
    """What was submitted for the same outputs later."""
    return [other for other in slurm.jobs() if other.comment == job.comment and other.id > job.id]


def state_of(job: slurm.Job) -> str:
    return next(other.state for other in slurm.jobs() if other.id == job.id)


def interrupt_midway(call: Call, workdir: Path) -> set[str]:
    """Interrupt a call while it trains; nothing may be left of its jobs. What was finished is returned."""
    call.wait_until("it trained", training_processes)
    os.kill(call.process.pid, signal.SIGINT)
    check(call.end() != 0, "an interrupted call reports success")
    end = time.monotonic() + CLEARED
    while True:
        processes_left = processes_of_run(workdir)
        jobs_left = [job.id for job in slurm.jobs() if job.state in slurm.UNFINISHED]
        if not processes_left and not jobs_left:
            break
        check(
            time.monotonic() < end, f"left of the interrupted call are jobs {jobs_left} and processes {processes_left}"
        )
        time.sleep(0.5)
    states = {job.comment: job.state for job in slurm.jobs()}
    cancelled = [comment for comment, state in states.items() if state == "CANCELLED"]
    finished = {comment for comment, state in states.items() if state == "COMPLETED"}
    check(len(cancelled) + len(finished) == len(states), f"the interrupt left jobs in another state: {states}")
    check(any(comment.startswith(TRAINING) for comment in cancelled), f"the interrupt cancelled only {cancelled}")
    made = list(workdir.glob("results/studies/als/grouped/*/fold*/predictions.parquet"))
    trained = [comment for comment in finished if comment.startswith(TRAINING)]
    check(len(made) == len(trained), f"{len(trained)} training jobs were finished, but there are {made}")
    say(f"interrupted (SIGINT): {len(cancelled)} jobs cancelled, {len(finished)} finished before, no process left")
    return finished


def kill_and_hold(call: Call) -> tuple[slurm.Job, slurm.Job]:
    """Of two training jobs, kill one's process and let the other's stand still until its time is over."""
    held, _, first_gpu = call.wait_until("a training job started", hold_training)
    killed, process, second_gpu = call.wait_until("a second training job started", lambda: hold_training([held]))
    check({first_gpu, second_gpu} == {"0", "1"}, f"two jobs at once were given GPUs {first_gpu!r} and {second_gpu!r}")
    say(f"two training jobs at once, CUDA_VISIBLE_DEVICES={first_gpu} in one and {second_gpu} in the other")
    os.kill(process, signal.SIGKILL)
    slurm.set_time_limit(held, 1)
    call.wait_until("a killed job failed", lambda: state_of(killed) == "FAILED")
    call.wait_until("a killed job was submitted again", lambda: after(killed))
    say(f"killed (SIGKILL) a process of job {killed.id}: it failed and was submitted again")
    call.wait_until("a job ran out of time", lambda: state_of(held) == "TIMEOUT")
    say(f"job {held.id}, stopped and left with one minute, ran out of time")
    return killed, held


def check_retry(job: slurm.Job) -> None:
    retry = after(job)[-1]
    check(retry.state == "COMPLETED", f"the retry of job {job.id} ended as {retry.state}")
    check(retry.minutes > job.minutes, f"job {job.id} had {job.minutes} minutes, its retry {retry.minutes}")
    check(retry.memory_mb > job.memory_mb, f"job {job.id} had {job.memory_mb} MB, its retry {retry.memory_mb}")
    say(
        f"its retry, job {retry.id}, had {retry.minutes} minutes instead of {job.minutes} and {retry.memory_mb} MB "
        f"instead of {job.memory_mb}, and was completed"
    )


def check_gpus(jobs: Sequence[slurm.Job], workdir: Path) -> None:
    on_gpu = [job for job in jobs if job.on_gpu]
    for job in jobs:
        given, wanted = (job.gpus, job.partition), (1, "gpu") if job.comment.startswith(TRAINING) else (0, "cpu")
        check(given == wanted, f"job {job.id} ({job.comment}) asked for {given} (GPUs, partition), not for {wanted}")
    most = max(sum(other.start <= job.start < other.end for other in on_gpu) for job in on_gpu)
    check(most == slurm.GPUS, f"{most} jobs with a GPU ran at once, not {slurm.GPUS}")
    logs = sorted(workdir.glob("logs/train_als_fold/**/*.log"))
    told = [re.search(r"GPU (\d), as SLURM chose|CUDA_VISIBLE_DEVICES is '(\d)'", log.read_text()) for log in logs]
    check(len(logs) == 4 and all(told), f"not every training log names the GPU that SLURM chose: {logs}")
    say(f"{len(on_gpu)} jobs with a GPU, in their own partition, at most {most} at once; each log names its device")


def tables(workdir: Path) -> dict[str, pd.DataFrame]:
    """Every table that a run made, by its path."""
    results = workdir / "results"
    found = {path: read_table(path) for path in results.rglob("*.parquet")}
    found |= {path: pd.read_csv(path) for path in results.rglob("*.csv")}
    return {str(path.relative_to(results)): found[path] for path in sorted(found)}


def compare(workdir: Path, local: Path) -> None:
    some, others = tables(workdir), tables(local)
    check(list(some) == list(others), f"not the same tables: {sorted(set(some) ^ set(others))}")
    for name, table in some.items():
        try:
            pd.testing.assert_frame_equal(table, others[name], obj=name)
        except AssertionError as difference:
            raise Failed(f"a table differs from that of the local run: {difference}") from None
    say(f"all {len(some)} tables have the values of the local run")


def tell_state(folder: Path) -> None:
    """The ends of the logs of everything, for a failure."""
    queue = subprocess.run(["squeue", "--states=all"], capture_output=True, text=True)
    print(f"\n--- squeue\n{queue.stdout}{queue.stderr}")
    logs = [*folder.glob("call-*.txt"), *folder.glob("slurm/*.log"), *folder.glob("cluster/logs/**/*.log")]
    for path in sorted(logs, key=lambda path: path.stat().st_mtime):
        print(f"--- {path.relative_to(folder)}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:]))


@contextmanager
def no_process_left(workdir: Path) -> Iterator[None]:
    """End what is left of the calls of Snakemake and of their jobs, by process id."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = processes_of_run(workdir)
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process, number)
                    # One that was stopped does not hear of it otherwise.
                    os.kill(process, signal.SIGCONT)
            if left:
                time.sleep(5)


def test(folder: Path) -> None:
    slurm.check_that_there_is_none()
    installed = debian_packages.install(slurm.PACKAGES, slurm.COMMANDS)
    say(f"packages: {'installed ' + ', '.join(installed) if installed else 'all here'}")
    python = overlay.install(ROOT, folder / "environment")
    say("environment: the plugin for SLURM over the usual one")
    local = new_workdir(folder / "local")
    run_locally(local)
    say(f"local run on two cores: {len(tables(local))} tables")
    workdir = new_workdir(folder / "cluster")
    with slurm.one_node(folder / "slurm"), no_process_left(workdir):
        say(f"SLURM started: one node, {slurm.GPUS} GPUs that are none")
        try:
            finished = interrupt_midway(Call(python, workdir, folder / "call-1.txt"), workdir)
            before = {job.id for job in slurm.jobs()}
            call = Call(python, workdir, folder / "call-2.txt")
            killed, held = kill_and_hold(call)
            check(call.end() == 0, "the second call failed")
            second = [job for job in slurm.jobs() if job.id not in before]
            check(not finished & {job.comment for job in second}, "the second call ran finished jobs again")
            say(f"the same call again: {len(second)} jobs to the end, none of the finished ones among them")
            check_retry(killed)
            check_retry(held)
            check_gpus(slurm.jobs(), workdir)
            started = [job.id for job in slurm.jobs() if job.state != "CANCELLED"]
            kept = {path.stem for path in workdir.glob("logs/slurm/**/*.log")}
            check({str(job) for job in started} <= kept, f"SLURM's logs of jobs {started} were not all kept: {kept}")
            check(not list(workdir.glob("results/**/*.part*")), "half-written files are left")
        except Exception:
            tell_state(folder)
            raise
    compare(workdir, local)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yes", action="store_true", help="install, configure and run SLURM on this machine")
    parser.add_argument("--keep", type=Path, help="a new folder to work in, kept afterwards")
    arguments = parser.parse_args()
    if not arguments.yes and os.environ.get(OPT_IN) != "1":
        print(WHAT_IT_DOES)
        return 2
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(
            "The SLURM test needs root and apt-get (Debian, Ubuntu), and one of them is not here; nothing was tested."
        )
        return 2
    # The end of this process must be an exception, or nothing is taken down.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="faceneuro-slurm-"))
    folder.mkdir(parents=True, exist_ok=arguments.keep is None)
    try:
        test(folder.resolve())
    except (Failed, slurm.Refused, RuntimeError) as error:
        print(f"FAILED: {error}")
        return 1
    except (KeyboardInterrupt, SystemExit):
        print("ENDED by a signal before anything was shown; all is taken down.")
        raise
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    say("SLURM is down and its configuration deleted")
    print(
        "PASSED: the ALS study ran on SLURM through profiles/slurm; one job was killed and one ran out of time, both "
        "were retried with more; an interrupted call left nothing behind and went on with the same call; two GPUs were "
        "handed out; the tables equal those of a local run."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
