"""The manifest of a run: what it was made of, on what, in which time, and what came out; enough to repeat it.

Nothing in it names a user, a computer, a folder outside of the working directory, or anybody who was recorded. Jobs are
counted by rule, because their wildcards, and so the names of their files, may be names of subjects.
"""

import csv
import hashlib
import json
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from faceneuro import __version__
from faceneuro.assets import ASSETS, sha256_of
from faceneuro.errors import InputError
from faceneuro.machine import read_log
from faceneuro.tables import provenance_of

FORMAT = 1
SOURCES = (
    "Snakefile",
    "config/config.yaml",
    "envs/*.yaml",
    "requirements.lock",
    "resources/published/*",
    "src/**/*.py",
    "src/**/templates/*",
    "workflow/**/*.py",
    "workflow/**/*.smk",
    "workflow/**/*.yaml",
)
"""What a run depends on, below the root of the repository."""

FINAL = ("results/tables/", "results/figures/", "results/summary.md")
"""Where the outputs are that are meant to be read; what is kept elsewhere can be made again, or shows faces."""


@dataclass(frozen=True)
class Job:
    """A job whose outputs a run consists of, whenever it was executed.

    Attributes
    ----------
    rule
        Its rule.
    log, benchmark
        Files that it left; None for a rule that leaves none.
    outputs
        Files that it made.
    """

    rule: str
    log: str | None
    benchmark: str | None
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """The call of Snakemake in which a manifest is written, as the main process saw it.

    Attributes
    ----------
    config
        The text of its configuration.
    started
        In seconds since 1970.
    snakemake
        Version of Snakemake.
    executor
        Name of the plugin that executes jobs.
    cores, gpus
        The limits, None if there is none.
    deployment
        How the rules' environments were provided; empty: all jobs used the one that Snakemake runs in.
    jobs
        All jobs that the final tables and figures depend on, whether they were executed in this call or before.
    """

    config: str
    started: float
    snakemake: str
    executor: str
    cores: int | None
    gpus: int | None
    deployment: tuple[str, ...]
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Left:
    """A job and what it left beside its outputs: its measurements, if they are there, and what its log says."""

    job: Job
    benchmark: dict[str, float | None] | None
    log: dict[str, Any]


def read_call(path: Path, config: str) -> Call:
    """What the main process left for the manifest.

    Raises
    ------
    InputError
        If there is nothing, or it belongs to another configuration: hooks were switched off.
    """
    if path.is_file():
        said = json.loads(path.read_text(encoding="utf-8"))
        jobs = tuple(Job(**job | {"outputs": tuple(job["outputs"])}) for job in said["jobs"])
        call = Call(**said | {"deployment": tuple(said["deployment"]), "jobs": jobs})
        if call.config == config:
            return call
    raise InputError(
        f"{path}, the list of this run's jobs, is {'of another configuration' if path.is_file() else 'missing'}: it is "
        "written when a call starts, so call without --no-hooks"
    )


def manifest(
    call: Call,
    root: Path,
    config: Mapping[str, Any],
    withheld: Mapping[str, str],
    cohorts: Mapping[str, Mapping[str, Any]],
    files: Mapping[str, str],
    assets: Iterable[Path],
) -> dict[str, Any]:
    """The manifest of a run.

    Parameters
    ----------
    call
        See :class:`Call`.
    root
        Of the repository.
    config, withheld
        The configuration as :func:`faceneuro.withheld.publishable` gives it.
    cohorts
        By name: what each cohort is, in numbers and hashes.
    files
        What may be files that the configuration names, by key.
    assets
        Fetched files that the run used.

    Returns
    -------
    Anything made of dicts, lists, text, numbers and None; docs/provenance.md explains every field.

    Raises
    ------
    InputError
        If a table or figure is missing.
    """
    left = [Left(job, _benchmark(job), _log(job)) for job in call.jobs]
    source, rules = _source(root), _by_rule(left)
    inputs = {
        "cohorts": cohorts,
        "files": {key: identity(Path(path)) for key, path in files.items() if Path(path).is_file()},
        "assets": {path.name: _asset(path) for path in assets},
    }
    return {
        "format": FORMAT,
        "recorded": _utc(datetime.now(UTC).timestamp()),
        "software": {"faceneuro": __version__, **source, "snakemake": call.snakemake, **_environment(root)},
        "call": {
            "started": _utc(call.started),
            "executor": call.executor,
            "cores": call.cores,
            "gpus": call.gpus,
            "deployment": list(call.deployment),
        },
        "configuration": {
            "file": "results/config.yaml",
            "sha256": hashlib.sha256(call.config.encode()).hexdigest(),
            "withheld": dict(withheld),
            "values": config,
        },
        "inputs": inputs,
        "machines": _machines(left),
        "rules": rules,
        "total": _total(left),
        "outputs": _outputs(call.jobs),
        "repeat": {
            "commands": _commands(source, withheld, call.cores, {job.log["device"] for job in left}),
            "notes": _notes(source, withheld, inputs),
        },
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def identity(path: Path) -> dict[str, Any]:
    """What tells a file from others; it is read as a stream."""
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size}


def _asset(path: Path) -> dict[str, Any]:
    """An asset is verified when it is put in place, and may be deleted once something has been built from it."""
    pinned = ASSETS[path.name].sha256
    return {"sha256": pinned, "in_place": path.is_file() and sha256_of(path) == pinned}


def _source(root: Path) -> dict[str, Any]:
    """The commit and the content of what a run depends on; without git, or outside of it, the content alone."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in SOURCES for file in root.glob(pattern) if file.is_file()}):
        digest.update(f"{file.relative_to(root).as_posix()}\0{sha256_of(file)}\n".encode())
    top = _git(root, "rev-parse", "--show-toplevel")
    # A copy without its history may lie inside another repository.
    ours = top is not None and Path(top.strip()).resolve() == root.resolve()
    commit = _git(root, "rev-parse", "HEAD") if ours else None
    changed = _git(root, "status", "--porcelain", "--", *(f":(glob){each}" for each in SOURCES)) if commit else None
    return {
        "commit": commit.strip() if commit else None,
        "modified": None if changed is None else bool(changed.strip()),
        "source_sha256": digest.hexdigest(),
    }


def _git(root: Path, *command: str) -> str | None:
    # Others may own the checkout, and nothing is written into it.
    call = ["git", "--no-optional-locks", "-c", f"safe.directory={root.resolve()}", "-C", str(root), *command]
    try:
        return subprocess.run(call, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _environment(root: Path) -> dict[str, Any]:
    """Python and the packages of the lock, as they are installed where this runs."""
    lock = root / "requirements.lock"
    locked: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9._-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE):
        locked.setdefault(name, set()).add(version)
    packages = {name: version for name in sorted(locked) if (version := _installed(name)) is not None}
    return {
        "python": platform.python_version(),
        "lock_sha256": sha256_of(lock),
        "packages": packages,
        "not_as_locked": sorted(name for name, version in packages.items() if version not in locked[name]),
    }


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _by_rule(left: Sequence[Left]) -> dict[str, dict[str, Any]]:
    """What the jobs of each rule took, what they computed on, and the code that made their tables."""
    found: dict[str, list[Left]] = {}
    for each in left:
        found.setdefault(each.job.rule, []).append(each)
    return {rule: _of_rule(found[rule]) for rule in sorted(found)}


def _of_rule(left: Sequence[Left]) -> dict[str, Any]:
    tables = (path for each in left for path in each.job.outputs if path.endswith(".parquet") and Path(path).is_file())
    origins = [provenance_of(path) for path in tables]
    devices = Counter(device for each in left if (device := each.log["device"]) is not None)
    return {
        **_sums(left),
        "longest_s": max(_measured(left, "s"), default=None),
        "max_rss_mib": max(_measured(left, "max_rss"), default=None),
        "devices": dict(sorted(devices.items())),
        "versions": sorted({origin["faceneuro"] for origin in origins if "faceneuro" in origin}),
        "code": sorted({origin["params"]["code"] for origin in origins if "code" in origin.get("params", {})}),
    }


def _sums(left: Sequence[Left]) -> dict[str, float]:
    return {
        "jobs": len(left),
        "measured": sum(each.benchmark is not None for each in left),
        "wall_s": round(sum(_measured(left, "s")), 2),
        "cpu_s": round(sum(_measured(left, "cpu_time")), 2),
    }


def _measured(left: Iterable[Left], name: str) -> list[float]:
    values = (each.benchmark[name] for each in left if each.benchmark is not None)
    return [value for value in values if value is not None]


def _total(left: Sequence[Left]) -> dict[str, Any]:
    timed = [each.benchmark for each in left if each.benchmark is not None and each.benchmark["s"] is not None]
    return {
        **_sums(left),
        "first_job_started": _utc(min(row["ended"] - row["s"] for row in timed)) if timed else None,
        "last_job_ended": _utc(max(row["ended"] for row in timed)) if timed else None,
    }


def _benchmark(job: Job) -> dict[str, float | None] | None:
    """Seconds, processor seconds and memory of a job, and when it ended; None if its benchmark is not there."""
    if job.benchmark is None or not Path(job.benchmark).is_file():
        return None
    with open(job.benchmark, newline="", encoding="utf-8") as file:
        row = next(csv.DictReader(file, delimiter="\t"), {})
    # What ended before it could be looked at has NA or a dash.
    numbers = {name: _number(row.get(name)) for name in ("s", "cpu_time", "max_rss")}
    return numbers | {"ended": Path(job.benchmark).stat().st_mtime}


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _log(job: Job) -> dict[str, Any]:
    if job.log is None or not Path(job.log).is_file():
        return read_log([])
    with open(job.log, encoding="utf-8", errors="replace") as lines:
        return read_log(lines)


def _machines(left: Sequence[Left]) -> list[dict[str, Any]]:
    """The kinds of computers that jobs ran on, how many of each there were, and how many jobs they did."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for log in (each.log for each in left if each.log["machine"] is not None):
        kind = {key: value for key, value in log["machine"].items() if key != "node"}
        kinds.setdefault(json.dumps(kind), []).append(log)
    order = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    return [
        json.loads(kind)
        | {
            "nodes": len({log["machine"]["node"] for log in logs}),
            "jobs": len(logs),
            "gpus": sorted({gpu for log in logs for gpu in log["gpus"]}),
        }
        for kind, logs in order
    ]


def _outputs(jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    paths = sorted(path for job in jobs for path in job.outputs if path.startswith(FINAL))
    # Snakemake is content with one file of a job whose others are gone.
    if missing := [path for path in paths if not Path(path).is_file()]:
        raise InputError(f"{missing[0]} is missing; make it again: snakemake --cores 1 {' '.join(missing)}")
    return {path: identity(Path(path)) for path in paths}


def _commands(
    source: Mapping[str, Any], withheld: Mapping[str, str], cores: int | None, devices: set[str | None]
) -> list[str]:
    """What to call, in a clone of the repository that holds the results."""
    options = [f"--cores {cores or 'all'}", *(["--resources gpu=1"] if "GPU" in devices else [])]
    files = " ".join(["results/config.yaml", *(["given.yaml"] if withheld else [])])
    return [
        *([f"git checkout {source['commit']}"] if source["commit"] else []),
        "make .venv/complete",
        "source .venv/bin/activate",
        f"snakemake {' '.join(options)} --directory repeated --configfile {files}",
    ]


def _notes(source: Mapping[str, Any], withheld: Mapping[str, str], inputs: Mapping[str, Any]) -> list[str]:
    """What to see to before."""
    notes = []
    if source["commit"] is None:
        notes.append("The commit is not known: take the source that has this source_sha256.")
    elif source["modified"]:
        notes.append("The source was not that of the commit: its changes are needed too, up to this source_sha256.")
    if withheld:
        keys = "; ".join(f"{key}, {reason}" for key, reason in withheld.items())
        notes.append(f"Write given.yaml, with the keys that are withheld, as they stand in config.yaml: {keys}.")
    if inputs["files"] or any(cohort["kind"] != "virtual" for cohort in inputs["cohorts"].values()):
        notes.append("Relative paths are seen from the folder repeated: put or link there what they name.")
    return notes
