"""What a job ran on: lines in its log, counted afterwards for the manifest of a run."""

import csv
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MACHINE, GPUS = "machine: ", "GPUs used: "
"""What the lines begin with; JSON follows."""


def machine_line() -> str:
    """The computer that this process runs on, its name included: logs stay where they are."""
    about = {
        "node": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
    }
    return MACHINE + json.dumps(about)


def gpus_line() -> str | None:
    """The NVIDIA devices that this process computed on; None if it did not, or the driver does not tell."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        command.append(f"--id={visible}")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = csv.reader(answer.splitlines(), skipinitialspace=True)
    return GPUS + json.dumps([f"{name}, {memory} MiB, driver {driver}" for name, memory, driver in rows])


def read_log(lines: Iterable[str]) -> dict[str, Any]:
    """What the log of a job says of where it ran.

    Parameters
    ----------
    lines
        Of a log that :func:`faceneuro.workflow.job` wrote; of another, nothing is found.

    Returns
    -------
    ``machine``: as in :func:`machine_line`, or None. ``gpus``: as in :func:`gpus_line`, a list. ``device``: ``GPU`` or
    ``processor`` for a job that was given a device (:func:`faceneuro.training.devices.lease`), else None.
    """
    found: dict[str, Any] = {"machine": None, "gpus": [], "device": None}
    for line in lines:
        if (said := _after(line, MACHINE)) is not None:
            found["machine"] = json.loads(said)
        elif (said := _after(line, GPUS)) is not None:
            found["gpus"] = json.loads(said)
        elif device := re.search(r"computing on (?:the )?(GPU|processor)\b", line):
            found["device"] = device[1]
    return found


def _after(line: str, mark: str) -> str | None:
    _, found, said = line.partition(f" INFO {mark}")
    return said if found else None


def _processor() -> str:
    """The processor's model, or where the system does not say, its architecture."""
    about = Path("/proc/cpuinfo")
    if about.exists() and (model := re.search(r"^model name\s*:\s*(.+)$", about.read_text(), re.MULTILINE)):
        return model[1].strip()
    return platform.machine()
