"""One device for one job, by leases that end with the process, even by ``kill -9``.

Snakemake counts devices but does not hand them out: with ``--resources gpu=2`` two jobs run at once and both would take
the first. So each job locks a file that stands for a device. The kernel drops the lock with the process that holds it.

Imports nothing heavy: it is used before torch is imported, because CUDA looks at its environment once.
"""

import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faceneuro.errors import InputError

log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Device:
    """Where a job computes.

    Attributes
    ----------
    name
        As torch calls it: ``cpu`` or ``cuda``.
    index
        The leased devices as in ``CUDA_VISIBLE_DEVICES``, or none.
    """

    name: str
    index: str | None = None

    def __str__(self) -> str:
        return "the processor" if self.index is None else f"GPU {self.index}"


def found_devices() -> list[str]:
    """Numbers of the machine's NVIDIA devices, asked of the driver and not of torch."""
    if program := shutil.which("nvidia-smi"):
        try:
            answer = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=True)
            return re.findall(r"^GPU (\d+):", answer.stdout, re.MULTILINE)
        except (OSError, subprocess.SubprocessError) as error:
            log.info("nvidia-smi gives no list of devices (%s); looking at device files instead", error)
    devices = [path for path in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", path.name)]
    # CUDA numbers what it sees from 0, whatever the files in a container are called.
    return [str(number) for number in range(len(devices))]


def visible_devices(find: Callable[[], Sequence[str]] = found_devices) -> list[str]:
    """Devices that this process may use: those it was told of in ``CUDA_VISIBLE_DEVICES``, else all there are."""
    inherited = os.environ.get(VISIBLE)
    if inherited is None:
        return list(find())
    entries = [entry.strip() for entry in inherited.split(",")]
    # CUDA ignores everything from the first entry on that it cannot use; -1 is how people say "none".
    return entries[: next((i for i, entry in enumerate(entries) if entry in ("", "-1")), len(entries))]


@contextmanager
def lease(
    wanted: int, folder: Path | None = None, find: Callable[[], Sequence[str]] = found_devices
) -> Iterator[Device]:
    """Use devices that no other job on this machine, whoever's it is, uses meanwhile.

    Waits while all are leased. Inside a SLURM job that was given just what is wanted, its choice is used as it is.
    Where there is no device at all, the processor is used, with a warning: who wants that asks for none.

    Parameters
    ----------
    wanted
        How many devices; 0 computes on the processor.
    folder
        Where the lock files are; must be local to the machine. Default: one in memory (/dev/shm), open to everybody.
    find
        Lists the machine's devices.

    Yields
    ------
    The :class:`Device`; ``CUDA_VISIBLE_DEVICES`` is set to match. Afterwards the lease ends and the variable is as
    before, unless CUDA has started meanwhile: then both stay until the process ends, as its hold on the device does.

    Raises
    ------
    InputError
        If more devices are wanted than there are, and there are some, or if this user may not use the folder.
    RuntimeError
        If CUDA was started before.
    """
    if wanted == 0:
        log.info("computing on the processor")
        yield Device("cpu")
        return
    if _cuda_started():
        raise RuntimeError("CUDA was started before a device was leased")
    names = visible_devices(find)
    # What one is told to use need not be there.
    if not names or not find():
        told = os.environ.get(VISIBLE)
        why = (
            f"{VISIBLE} is {told!r}, but there is none"
            if names
            else f"{VISIBLE} is {told!r}"
            if told is not None
            else ""
        )
        log.warning(
            "%s, and no NVIDIA GPU can be used here%s: computing on the processor. If that is meant, set the job's gpu "
            "resource to 0 (--resources gpu=0); if not, check the driver (nvidia-smi -L) and the cluster's partition",
            "one GPU is asked for" if wanted == 1 else f"{wanted} GPUs are asked for",
            f" ({why})" if why else "",
        )
        yield Device("cpu")
        return
    if wanted > len(names):
        raise InputError(
            f"a job asks for {wanted} GPUs, but there {'is' if len(names) == 1 else 'are'} {len(names)} "
            f"({', '.join(names)}); lower its gpu resource"
        )
    slurm = os.environ.get("SLURM_JOB_ID")
    if slurm and wanted == len(names):
        log.info("computing on GPU %s, as SLURM chose", ",".join(names))
        yield Device("cuda", ",".join(names))
        return
    # Inside one SLURM job devices may be renumbered, so its locks mean nothing to the next job.
    folder = folder or _local_folder(f"-{slurm}" if slurm else "")
    locks = _acquire(names, wanted, folder)
    inherited = os.environ.get(VISIBLE)
    index = ",".join(locks)
    os.environ[VISIBLE] = index
    log.info("computing on GPU %s", index)
    try:
        yield Device("cuda", index)
    finally:
        # Else the files stay open, and so locked, until the process ends.
        if not _cuda_started():
            os.environ.pop(VISIBLE) if inherited is None else os.environ.update({VISIBLE: inherited})
            _release(locks.values())


def _acquire(names: Sequence[str], wanted: int, folder: Path) -> dict[str, int]:
    """Locked files of ``wanted`` devices, all or none: two jobs with half of what they need would wait for ever."""
    from filelock import lock_descriptor

    said = False
    while True:
        held = {}
        for name in random.sample(names, len(names)):
            lock = _open(folder / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock")
            if not lock_descriptor(lock, blocking=False):
                os.close(lock)
                continue
            held[name] = lock
            if len(held) == wanted:
                return dict(sorted(held.items(), key=lambda item: names.index(item[0])))
        _release(held.values())
        if not said:
            log.info("waiting: other jobs use the GPUs (%s)", ", ".join(names))
            said = True
        # Unequal waits, so that jobs which woke together do not meet again.
        time.sleep(random.uniform(0.2, 1.0))


def _release(locks: Iterable[int]) -> None:
    from filelock import unlock_descriptor

    for lock in locks:
        # Not by closing alone: a process forked meanwhile has the file open, too.
        unlock_descriptor(lock)
        os.close(lock)


def _open(path: Path) -> int:
    """Open a lock file, made at its first use, in a folder where everybody can add files and nobody remove others'.

    Only for reading, which a lock does not need more than, because a file of another user's may not be opened for
    writing in such a folder; and no link is followed.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW
    mask = os.umask(0)
    try:
        path.parent.mkdir(mode=0o1777, parents=True, exist_ok=True)
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o444)
        except FileExistsError:
            return os.open(path, flags)
    except OSError as error:
        raise InputError(
            f"the lock file of a GPU, {path}, cannot be opened by this user ({error.strerror}); its owner can remove "
            f"{path.parent}, and the next job makes it anew, for everybody"
        ) from error
    finally:
        os.umask(mask)


def _cuda_started() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _local_folder(suffix: str) -> Path:
    # Not the temporary folder where this can be had: on some clusters that is shared, and locks on NFS are unreliable.
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() and os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    return base / f"faceneuro-devices{suffix}"
