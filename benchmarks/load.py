"""What Snakemake costs when this workflow has thousands of jobs: planning them, and running them with nothing to do.

The ALS study with one fold for each subject, four models and two protocols: the shape that makes the most jobs here.
The workflow is copied and the script of each rule replaced by a command that makes its outputs, so that names, inputs,
parameters, temporary files, logs and benchmark files are the real ones and every second is Snakemake's. Beside it, as
many shells that do the same are started by as many processes.

    python benchmarks/load.py --jobs 10000 --variants greedy ilp
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles", "resources/published", "src")
"""What the workflow consists of."""

VARIANTS = {
    "greedy": ["--quiet", "all", "--scheduler=greedy"],
    "ilp": ["--quiet", "all", "--scheduler=ilp"],
    "greedy, rich": ["--logger", "rich", "--scheduler=greedy"],
}
"""Options of a run: how Snakemake picks the next jobs, and how it shows them."""

CORES = 2
SUBJECTS_PER_SHARD = 10
JOBS_PER_SUBJECT = 5 + 4 / SUBJECTS_PER_SHARD
"""A reduction and four models for each fold; four measurements for each shard."""


def measure(jobs: int, variants: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Plan and run about so many jobs, once for each variant.

    Parameters
    ----------
    jobs
        How many, roughly: the number of subjects follows from it.
    variants
        Options of the run, such as ``--scheduler=greedy``, by the name of the variant.

    Returns
    -------
    ``jobs``, their exact number; ``records_mib``, what Snakemake keeps on disk about a run; and ``costs``: of as many
    bare shells, of the dry run, of the run by variant, and of another dry run, with nothing left to do.
    """
    runs = {}
    for name, options in variants.items():
        with tempfile.TemporaryDirectory() as folder:
            checkout, workdir = Path(folder, "checkout"), Path(folder, "run")
            copy_with_stubs(checkout)
            lay_out(workdir, round(jobs / JOBS_PER_SUBJECT))
            plan, text = call(checkout, workdir, "--dry-run", "--quiet", "rules")
            count = int(re.search(r"^total\s+(\d+)", text, re.MULTILINE)[1])
            runs[name], _ = call(checkout, workdir, *options)
            again, text = call(checkout, workdir, "--dry-run")
            if "Nothing to be done" not in text:
                sys.exit(f"the run of {count} jobs left something to do:\n{text[-2000:]}")
            records = sum(path.stat().st_size for path in (workdir / ".snakemake").rglob("*") if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        shells = start_shells(Path(folder), count)
    return {
        "jobs": count,
        "records_mib": records / 2**20,
        "costs": {"bare shells": shells, "dry run": plan, **runs, "again": again},
    }


def copy_with_stubs(checkout: Path) -> None:
    """Copy the workflow; in the place of each script stands a command that makes the outputs, empty."""
    for part in PARTS:
        source, target = ROOT / part, checkout / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    for rules in (checkout / "workflow/rules").glob("*.smk"):
        text, count = re.subn(r'script:\s+"[^"]+"', 'shell:\n        "touch {output:q}"', rules.read_text())
        if count != len(re.findall(r"^    script:", rules.read_text(), re.MULTILINE)):
            sys.exit(f"{rules.name}: not every script could be replaced")
        rules.write_text(text)
    # The one rule without a script fetches files.
    assets = checkout / "workflow/rules/assets.smk"
    assets.write_text(re.sub(r'"python -m faceneuro.assets.+"', '"touch {output:q}"', assets.read_text()))


def lay_out(workdir: Path, subjects: int) -> None:
    """A list of recordings, of one clip a subject, and the configuration of a study of them."""
    (workdir / "recordings").mkdir(parents=True)
    lines = ["path,subject,group,task"]
    for number in range(subjects):
        (workdir / f"recordings/{number:05d}.avi").touch()
        lines.append(f"{number:05d}.avi,S{number:05d},{('als', 'healthy')[number % 2]},open")
    (workdir / "clips.csv").write_text("\n".join(lines) + "\n")
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    own = {
        "kind": "own_videos",
        "root": "recordings",
        "clips": "clips.csv",
        "subjects_per_shard": SUBJECTS_PER_SHARD,
    }
    study = {"cohort": "own", "protocols": {"grouped": {"folds": "leave_one_subject_out"}}}
    config = {
        "cohorts": dict.fromkeys(default["cohorts"]) | {"own": own},
        "studies": dict.fromkeys(default["studies"]) | {"als": study},
        "meta_analysis": None,
    }
    (workdir / "config.yaml").write_text(yaml.safe_dump(config))


@dataclass
class Cost:
    """What something took.

    Attributes
    ----------
    wall_s, cpu_s
        Seconds, and seconds of processors; of a run, those of its shells are among them.
    peak_mib
        Memory of the largest process, in MiB; None if nobody looked. It is never less than what the process that did
        the measuring has, so that has to be a small one.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float | None = None


def call(checkout: Path, workdir: Path, *options: str) -> tuple[Cost, str]:
    """The cost and the output of a call of Snakemake, whose main process is larger than any shell."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(checkout / "Snakefile"), f"--cores={CORES}"]
    with tempfile.TemporaryFile("w+") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            [*command, "--configfile", "config.yaml", *options], cwd=workdir, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    if process.returncode:
        sys.exit(text[-4000:])
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), text


def start_shells(folder: Path, count: int) -> Cost:
    """The cost of starting a shell that makes a file, so many times, by as many at once as there are cores."""

    def one(number: int) -> None:
        subprocess.run(["bash", "-c", f"set -euo pipefail; touch {number}"], cwd=folder, check=True)

    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(one, range(count)))
    seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10000, help="about how many (default: 10000)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS)[:1], help="how to run them")
    given = parser.parse_args()
    found = measure(given.jobs, {name: VARIANTS[name] for name in given.variants})
    print(json.dumps(found | {"costs": {name: asdict(cost) for name, cost in found["costs"].items()}}, indent=2))


if __name__ == "__main__":
    main()
