"""Results and checkouts that several hosts and several people share: what runs again, and what must not."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml

from faceneuro import assets
from running import NO_COHORT, NO_STUDY, ROOT, run

pytestmark = pytest.mark.workflow

EFFECTS = """study,accuracy_pct,ci_low_pct,ci_high_pct,n,subgroup,year
Ours 2024,82.5,74.0,91.0,80,Bell's palsy,2024
Ours 2025,88.0,81.6,94.4,100,Bell's palsy,2025
Theirs 2025,71.0,62.1,79.9,100,Stroke,2025
"""
META = {"collections": {"living": None, "mine": {"published": False, "studies": [], "tables": ["effects.csv"]}}}
# Every path is relative, to the working directory.
CONFIG = {
    "cohorts": {
        **NO_COHORT,
        "own": {"kind": "own_videos", "root": "recordings", "clips": "clips.csv", "subjects_per_shard": 1},
    },
    # Frames are the files above a megabyte here, which Snakemake compares by time alone.
    "features": {"flow": {"grid": [24, 32]}, "frames": {"keep": True}},
    "studies": NO_STUDY,
    "meta_analysis": META,
    "assets": {"folder": "assets"},
}
COHORT = "results/cohorts/own"
TABLE = "results/tables/meta_analysis_mine.csv"
OWN = (f"{COHORT}/quality.parquet", f"{COHORT}/flow/A01.parquet", TABLE)
# The last is made of a file of the checkout.
TARGETS = (*OWN, "results/meta_analysis/review/effects.parquet")
MODEL = f"assets/{assets.FACE_LANDMARKER.file}"
MEGABYTE = 10**6
PARTS = ("Snakefile", "workflow", "config", "envs", "profiles", "resources/published", "src")
"""What a checkout needs to be run."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, landmarker_model) -> Path:
    """A few frames of one's own, measured, and effect sizes of one's own, pooled; not to be changed."""
    workdir = tmp_path_factory.mktemp("shared")
    (workdir / "recordings/open").mkdir(parents=True)
    random = np.random.default_rng(1)
    for number in range(3):
        picture = np.repeat(np.repeat(random.integers(0, 255, (6, 8, 3), np.uint8), 80, 0), 80, 1)
        cv2.imwrite(str(workdir / f"recordings/open/{number}.png"), picture)
    (workdir / "clips.csv").write_text("path,subject\nopen,A01\n")
    # Put in place by hand, as on a machine without a network.
    (workdir / "assets").mkdir()
    shutil.copy(landmarker_model, workdir / MODEL)
    (workdir / "effects.csv").write_text(EFFECTS)
    ran = run(workdir, *TARGETS, config=CONFIG)
    assert ran.succeeded, ran.messages
    assert (workdir / f"{COHORT}/frames/A01.parquet").stat().st_size > MEGABYTE
    return workdir


@pytest.fixture
def workdir(finished, tmp_path) -> Path:
    """A copy, with its times, to do things to."""
    return shutil.copytree(finished, tmp_path / "run", copy_function=shutil.copy2, symlinks=True)


def planned(workdir: Path) -> list[str]:
    """The rules that would run again."""
    ran = run(workdir, *TARGETS, config=CONFIG, dryrun=True)
    assert ran.succeeded, ran.error
    return ran.rules


def shift(path: Path, seconds: float) -> None:
    """Make a file as much newer than it is, as a clock that is ahead does."""
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + round(seconds * 1e9)))


def copy_checkout(checkout: Path, copy: Callable) -> Path:
    """The workflow without what earlier calls compiled."""
    for part in PARTS:
        source, target = ROOT / part, checkout / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy(source, target)
    return checkout


def start(workdir: Path, *options: str, checkout: Path = ROOT, cwd: Path, prefix: Sequence[str] = (), home: Path):
    """Start Snakemake from somewhere else, as somebody with a home of their own."""
    command = [*prefix, sys.executable, "-m", "snakemake", "--cores=1"]
    places = {"snakefile": checkout / "Snakefile", "directory": workdir, "configfile": workdir / "config.yaml"}
    given = [word for name, path in places.items() for word in (f"--{name}", os.path.relpath(path, cwd))]
    own = {name: value for name, value in os.environ.items() if name not in ("XDG_CACHE_HOME", "MPLCONFIGDIR")}
    return subprocess.Popen(
        [*command, *options, *given],
        cwd=cwd,
        env=own | {"HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_times_in_whole_seconds_run_nothing_again(workdir):
    """As some network file systems and archives keep them, those of recordings and assets, too."""
    for path in [path for path in workdir.rglob("*") if not path.is_symlink()]:
        second = int(path.stat().st_mtime)
        os.utime(path, (second, second))
    assert planned(workdir) == []


def test_a_copy_with_its_times_runs_nothing_again_from_wherever_it_is_called(workdir, tmp_path):
    moved, elsewhere = tmp_path / "other disk/moved", tmp_path / "elsewhere"
    moved.parent.mkdir()
    elsewhere.mkdir()
    subprocess.run(["cp", "-a", workdir, moved], check=True)
    shutil.rmtree(workdir)
    call = start(moved, "--dry-run", *TARGETS, cwd=elsewhere, home=elsewhere)
    assert "Nothing to be done" in call.communicate()[0]
    # Relative paths of a configuration were found below --directory, and nothing was left where the call came from.
    assert {path.name for path in elsewhere.iterdir()} <= {".cache"}


def test_a_fresh_clone_runs_again_what_says_something_else_and_nothing_more(workdir, tmp_path):
    clone = copy_checkout(tmp_path / "clone", shutil.copy)

    def said() -> str:
        return start(workdir, "--dry-run", *OWN, checkout=clone, cwd=tmp_path, home=tmp_path).communicate()[0]

    assert "Nothing to be done" in said()
    with (clone / "workflow/scripts/detect_landmarks.py").open("a") as script:
        script.write("# A change.\n")
    rules = {line.split()[1].rstrip(":") for line in said().splitlines() if line.startswith("rule ")}
    assert rules == {"detect_landmarks", "assess_quality"}


def test_a_small_input_may_lose_its_time_and_a_large_one_is_measured_again_until_touched(workdir, tmp_path):
    # What a small one holds is compared.
    for name in (f"{COHORT}/manifest/A01.parquet", "results/meta_analysis/mine/effects.parquet"):
        (workdir / name).touch()
    assert planned(workdir) == []
    (workdir / f"{COHORT}/frames/A01.parquet").touch()
    assert {"detect_landmarks", "compute_flow"} <= set(planned(workdir))
    touch = start(workdir, "--touch", *TARGETS, cwd=tmp_path, home=tmp_path)
    text, _ = touch.communicate()
    assert touch.returncode == 0, text
    assert planned(workdir) == []


def test_an_input_from_the_future_stops_its_job_and_is_named(workdir):
    shift(workdir / f"{COHORT}/manifest/A01.parquet", 3600)
    (workdir / f"{COHORT}/frames/A01.parquet").unlink()
    ran = run(workdir, f"{COHORT}/frames/A01.parquet", config=CONFIG)
    assert not ran.succeeded
    assert "older modification time" in ran.messages
    assert f"{COHORT}/manifest/A01.parquet" in ran.messages
    assert not (workdir / f"{COHORT}/frames/A01.parquet").exists()


def test_an_asset_put_in_place_anew_runs_nothing_again(workdir):
    """By another run that shares the folder, say: what it holds is fixed by its hash."""
    assert (workdir / MODEL).stat().st_size > MEGABYTE
    shift(workdir / MODEL, 3600)
    assert planned(workdir) == []


def test_a_fetch_that_fails_leaves_the_file_that_others_may_be_reading(tmp_path, landmarker_model):
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(b"not a model")
    for copy, succeeds in ((landmarker_model, True), (wrong, False)):
        config = {"studies": NO_STUDY, "assets": {"folder": "assets", "face_landmarker": str(copy)}}
        ran = run(tmp_path / "run", MODEL, config=config)
        assert ran.rules == ["fetch_asset"]
        assert ran.succeeded == succeeds
    assert assets.verify(tmp_path / "run" / MODEL, assets.FACE_LANDMARKER)


def test_two_fetches_into_one_folder_at_once_do_not_meet(tmp_path, monkeypatch):
    source, target, gate = tmp_path / "source", tmp_path / "shared/asset.task", threading.Barrier(2, timeout=60)
    source.write_bytes(b"an asset")
    copyfile = shutil.copyfile

    def copy_and_wait(*paths: Path) -> None:
        copyfile(*paths)
        gate.wait()

    monkeypatch.setattr(assets.shutil, "copyfile", copy_and_wait)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: assets.install(source, target), range(2)))
    assert [path.read_bytes() for path in target.parent.iterdir()] == [b"an asset"]


def without_privileges() -> list[str]:
    """What to call a program with so that a file without write permission cannot be written to."""
    if os.geteuid() != 0:
        return []
    if not (setpriv := shutil.which("setpriv")):
        pytest.skip("root may write everywhere, and there is no setpriv to drop that")
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search,-fowner"]


@pytest.fixture
def closed_checkout(tmp_path) -> Iterator[Path]:
    """A checkout that nobody may write to."""
    checkout = copy_checkout(tmp_path / "checkout", shutil.copy2)
    paths = [checkout, *checkout.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~0o222)
    yield checkout
    for path in paths:
        path.chmod(path.stat().st_mode | 0o200)


def test_two_people_run_one_checkout_at_once_and_write_nothing_to_it(finished, closed_checkout, tmp_path):
    prefix = without_privileges()
    held = subprocess.run([*prefix, "sh", "-c", ': >> "$0"', closed_checkout / "Snakefile"], capture_output=True)
    assert held.returncode != 0, "the checkout can be written to, so this test shows nothing"
    before = {path: path.stat().st_mtime_ns for path in (closed_checkout, *closed_checkout.rglob("*"))}
    homes = [tmp_path / name for name in ("anna", "boris")]
    calls = []
    for home in homes:
        (home / "run").mkdir(parents=True)
        (home / "run/effects.csv").write_text(EFFECTS)
        (home / "run/config.yaml").write_text(yaml.safe_dump({"meta_analysis": META}))
        calls.append(start(home / "run", TABLE, checkout=closed_checkout, cwd=home, prefix=prefix, home=home))
    for call in calls:
        text, _ = call.communicate()
        assert call.returncode == 0, text
    assert {path: path.stat().st_mtime_ns for path in (closed_checkout, *closed_checkout.rglob("*"))} == before
    for home in homes:
        pd.testing.assert_frame_equal(pd.read_csv(home / "run" / TABLE), pd.read_csv(finished / TABLE))
