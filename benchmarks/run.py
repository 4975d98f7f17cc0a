"""Measure speed and memory on this machine and write benchmarks/README.md: ``make bench``.

Machines differ and are shared, so a time by itself says little. Every figure that matters is a ratio of two things
measured in this run, the pipeline's step and the bare work that nothing could avoid.
"""

import csv
import json
import multiprocessing
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import cv2
import load
import numpy as np
import palsy_cache
import pyarrow.parquet as pq
import synthesis_step
import training_step
import yaml

from faceneuro import assets
from faceneuro.features.flow import flow_of_clip
from faceneuro.features.landmarks import LandmarkDetector, landmarks_of_clip
from faceneuro.studies.als import FlowReader
from faceneuro.tables import (
    FRAMES,
    KEYS,
    LANDMARKS,
    TableWriter,
    flow_schema,
    image_of,
    read_clips,
    read_rows,
    read_table,
)
from faceneuro.training.reduction import fit, inner_products
from faceneuro.video.decoding import decode

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "resources" / "assets"
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
PROCESSES = 2
FRAMES_PER_CLIP = 300


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sections = [machine(), *default_run(work / "default")]
        frames = clip_of_frames(work)
        sections += [landmarks(frames, work), flow(frames, work), cache_sizes(frames, work)]
        sections += [
            principal_components(work),
            activations(),
            steps(),
            synthesis(),
            dry_run(work / "dry"),
            intake(work / "intake"),
            many_jobs(),
        ]
    (ROOT / "benchmarks" / "README.md").write_text("\n\n".join(sections) + "\n")
    print(ROOT / "benchmarks" / "README.md")


def table(header: list[str], rows: list[list]) -> str:
    lines = [header, ["--", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def machine() -> str:
    return (
        "# Benchmarks\n\n"
        f"Written by `make bench` on {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}. "
        "Times are of a shared machine and vary; ratios are between things measured in one run, one after the other, "
        "best of three each."
    )


def best(action: Callable[[], float], runs: int = 3) -> float:
    return min(action() for _ in range(runs))


# Two processes at once, as the workflow runs its jobs.


def in_parallel(work: Callable, *arguments) -> float:
    """Seconds from a common start until the last of the processes has done ``work(number, *arguments)``."""
    context = multiprocessing.get_context("spawn")
    gate, times = context.Barrier(PROCESSES), context.Queue()
    processes = [context.Process(target=_timed, args=(gate, times, work, n, *arguments)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    spans = [times.get() for _ in processes]
    for process in processes:
        process.join()
    return max(end for _, end in spans) - min(start for start, _ in spans)


def _timed(gate, times, work: Callable, *arguments) -> None:
    cv2.setNumThreads(1)
    with work(*arguments) as body:
        gate.wait()
        start = time.monotonic()
        body()
        times.put((start, time.monotonic()))


def clip_of_frames(work: Path) -> Path:
    """A frames table of one clip, 640x480, of a virtual patient who opens the mouth again and again."""
    video = next((work / "default/results/cohorts/virtual_als/recordings").glob("*/*_open.mp4"))
    images = [frame.image for frame in decode(video, "video")]
    path = work / "frames.parquet"
    with TableWriter(path, FRAMES, rows_per_group=16) as frames:
        for number in range(FRAMES_PER_CLIP):
            image = images[number % len(images)]
            key = {"cohort": "bench", "subject": "V", "clip": "V_open", "frame": number, "time_s": number / 30}
            frames.append(key | {"height": image.shape[0], "width": image.shape[1], "pixels": image.tobytes()})
    return path


@contextmanager
def _raw_landmarks(number: int, frames: Path, work: Path) -> Iterator[Callable]:
    """MediaPipe by itself, on pictures that lie ready in memory."""
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    pictures = [image_of(row).copy() for row in read_rows(frames)]
    options = vision.FaceLandmarkerOptions(
        BaseOptions(model_asset_path=str(ASSETS / assets.FACE_LANDMARKER.file)), output_face_blendshapes=True
    )
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        landmarker.detect(mp.Image(mp.ImageFormat.SRGB, pictures[0]))
        yield lambda: [landmarker.detect(mp.Image(mp.ImageFormat.SRGB, picture)) for picture in pictures]


@contextmanager
def _pipeline_landmarks(number: int, frames: Path, work: Path) -> Iterator[Callable]:
    """The workflow's step: frames table in, landmark table out."""
    first = image_of(next(read_rows(frames)))
    with LandmarkDetector(ASSETS / assets.FACE_LANDMARKER.file, **CONFIG["features"]["landmarks"]) as detector:
        detector.detect(first)
        detector.start_clip()

        def body() -> None:
            with TableWriter(work / f"landmarks{number}.parquet", LANDMARKS) as out:
                for clip, rows in read_clips(frames):
                    for row in landmarks_of_clip(detector, rows):
                        out.append(clip | row)

        yield body


def landmarks(frames: Path, work: Path) -> str:
    raw = best(lambda: in_parallel(_raw_landmarks, frames, work))
    ours = best(lambda: in_parallel(_pipeline_landmarks, frames, work))
    return _against(
        "Landmarks and blendshapes", "bare `FaceLandmarker.detect` on decoded pictures in memory", raw, ours
    )


@contextmanager
def _raw_flow(number: int, frames: Path, work: Path, grid: tuple[int, int]) -> Iterator[Callable]:
    """OpenCV by itself: gray, shrunk, Farneback, on pictures that lie ready in memory."""
    pictures, parameters = [image_of(row).copy() for row in read_rows(frames)], CONFIG["features"]["flow"]["farneback"]

    def small() -> Iterator[np.ndarray]:
        for picture in pictures:
            yield cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), grid[::-1], interpolation=cv2.INTER_AREA)

    yield lambda: [cv2.calcOpticalFlowFarneback(*pair, None, **parameters) for pair in pairwise(small())]


@contextmanager
def _pipeline_flow(number: int, frames: Path, work: Path, grid: tuple[int, int]) -> Iterator[Callable]:
    """The workflow's step: frames table in, flow table out."""

    def body() -> None:
        with TableWriter(work / f"flow{number}.parquet", flow_schema(grid)) as out:
            for clip, rows in read_clips(frames):
                for row in flow_of_clip(rows, grid, **CONFIG["features"]["flow"]["farneback"]):
                    out.append(clip | row)

    yield body


def flow(frames: Path, work: Path) -> str:
    parts = []
    for grid in (tuple(CONFIG["features"]["flow"]["grid"]), (480, 640)):
        runs = 3 if grid[0] < 480 else 1
        raw = best(lambda grid=grid: in_parallel(_raw_flow, frames, work, grid), runs)
        ours = best(lambda grid=grid: in_parallel(_pipeline_flow, frames, work, grid), runs)
        bare = "bare `cv2`: gray, resize, `calcOpticalFlowFarneback`, on decoded pictures in memory"
        parts.append(_against(f"Flow on a grid of {grid[1]}x{grid[0]}", bare, raw, ours))
    return "\n\n".join(parts)


def _against(what: str, bare: str, raw: float, ours: float) -> str:
    count = PROCESSES * FRAMES_PER_CLIP
    rows = [
        [bare, f"{count / raw:.0f}", "1"],
        ["the step, Parquet to Parquet", f"{count / ours:.0f}", f"{raw / ours:.2f}"],
    ]
    return f"## {what}\n\n{PROCESSES} processes at once.\n\n" + table(["", "frames/s", "share of the bare speed"], rows)


def cache_sizes(frames: Path, work: Path) -> str:
    rows = [["frames (temporary), 640x480 RGB", f"{frames.stat().st_size / FRAMES_PER_CLIP / 1024:.1f}"]]
    rows += [
        ["landmarks and blendshapes", f"{(work / 'landmarks0.parquet').stat().st_size / FRAMES_PER_CLIP / 1024:.1f}"]
    ]
    for grid in ((120, 160), (480, 640)):
        with _pipeline_flow(0, frames, work, grid) as body:
            body()
        size = (work / "flow0.parquet").stat().st_size / (FRAMES_PER_CLIP - 1) / 1024
        rows.append([f"flow, {grid[1]}x{grid[0]}, float16, byte-stream split, zstd", f"{size:.1f}"])
    return "## Size of the caches\n\n" + table(["", "KiB per frame"], rows)


# Principal components at the paper's size.

SAMPLES, WIDTH, FOLDS, COMPONENTS = 1688, 480 * 640, 22, 32


def principal_components(work: Path) -> str:
    """Inner products once and all folds from them, against scikit-learn's exact PCA of one fold; each in a process."""
    fields = work / "fields.parquet"
    random = np.random.default_rng(1)
    # Low rank and noise: what flow fields of a few movements look like to a PCA.
    movements = np.abs(random.standard_normal((40, WIDTH), dtype=np.float32))
    with TableWriter(fields, flow_schema((480, 640))) as out:
        for number in range(SAMPLES):
            field = random.random(40, dtype=np.float32) @ movements / 20 + random.random(WIDTH, dtype=np.float32) / 10
            key = {"cohort": "bench", "subject": "V", "clip": "V", "frame": number, "previous": number - 1}
            out.append(key | {"magnitude": field.astype(np.float16)})
    measured = {name: _in_process(_PCA[name], fields) for name in _PCA}
    one, every = measured["one fold"][0], measured[f"{FOLDS} folds"][0]
    reference = measured["scikit-learn, one fold"]
    rows = [
        [name, f"{seconds:.0f}", f"{seconds / one:.2f}", f"{memory:.2f}"]
        for name, (seconds, memory) in measured.items()
    ]
    return (
        f"## Exact principal components, {SAMPLES:,} x {WIDTH:,}\n\nOne thread; read from the Parquet cache; "
        f"{COMPONENTS} components; each line is a process of its own.\n\n"
        + table(["", "seconds", "times one fold", "peak memory, GiB"], rows)
        + f"\n\nAll {FOLDS} folds cost {every / one:.2f} times one. scikit-learn (`svd_solver='full'`, float32) fold "
        f"by fold would take {FOLDS} times its one fold: {FOLDS * reference[0] / every:.0f} times as long as this, "
        f"with {reference[1] / measured['one fold'][1]:.1f} times the memory."
    )


def _training_part(fold: int) -> np.ndarray:
    return np.flatnonzero(np.arange(SAMPLES) % FOLDS != fold)


def _fields(path: Path) -> FlowReader:
    """The reader that the study uses."""
    keys = read_table(path, KEYS)
    return FlowReader(keys.assign(flow_table=0, flow_row=np.arange(len(keys))), [path])


def _shared(folds: int, path: Path) -> None:
    gram = inner_products(_fields(path), SAMPLES, CONFIG["studies"]["als"]["reduction"]["memory_mib"] * 2**20)
    for fold in range(folds):
        fit(gram, _training_part(fold), COMPONENTS).scores(gram[:, _training_part(fold)])


def _one(path: Path) -> None:
    _shared(1, path)


def _all(path: Path) -> None:
    _shared(FOLDS, path)


def _scikit_learn(path: Path) -> None:
    from sklearn.decomposition import PCA

    read = _fields(path)
    fields = np.empty((SAMPLES, WIDTH), np.float32)
    for start in range(0, SAMPLES, 64):
        fields[start : start + 64] = read(start, min(start + 64, SAMPLES))
    train = fields[_training_part(0)]
    PCA(COMPONENTS, svd_solver="full", copy=False).fit(train).transform(fields)


_PCA = {"one fold": _one, f"{FOLDS} folds": _all, "scikit-learn, one fold": _scikit_learn}


def _in_process(action: Callable[[Path], None], path: Path) -> tuple[float, float]:
    """Seconds and peak memory in GiB of an action in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_answer, args=(answers, action, path))
    process.start()
    answer = answers.get()
    process.join()
    return answer


def _answer(answers, action: Callable[[Path], None], path: Path) -> None:
    start = time.monotonic()
    action(path)
    answers.put((time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


# The workflow as a whole.


def snakemake(workdir: Path, config: dict, *options: str) -> tuple[float, str]:
    """Seconds and output of a call from the command line."""
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "config.yaml").write_text(yaml.safe_dump({"assets": {"folder": str(ASSETS)}} | config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"]
    start = time.monotonic()
    done = subprocess.run([*command, *options], cwd=workdir, capture_output=True, text=True)
    seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return seconds, done.stdout


def default_run(workdir: Path) -> Iterator[str]:
    """The default workflow on this machine, by rule, and how fast it renders."""
    wall, _ = snakemake(workdir, {}, "--cores", str(PROCESSES))
    jobs, seconds, startup = defaultdict(int), defaultdict(float), defaultdict(float)
    for path in workdir.rglob("benchmarks/**/*.tsv"):
        rule = path.relative_to(workdir / "benchmarks").parts[0].removesuffix(".tsv")
        with path.open() as file:
            jobs[rule] += 1
            seconds[rule] += float(next(csv.DictReader(file, delimiter="\t"))["s"])
        log = workdir / "logs" / path.relative_to(workdir / "benchmarks").with_suffix(".log")
        startup[rule] += float(re.search(r"start-up took ([0-9.]+) s", log.read_text())[1])
    total, starting = sum(seconds.values()), sum(startup.values())
    order = sorted(seconds, key=seconds.get, reverse=True)
    rows = [[rule, jobs[rule], f"{seconds[rule]:.0f}", f"{startup[rule] / seconds[rule]:.0%}"] for rule in order]
    rows.append(["all", sum(jobs.values()), f"{total:.0f}", f"{starting / total:.0%}"])
    yield (
        f"## The default run\n\n{wall:.0f} s on {PROCESSES} cores, assets and environment in place; {total:.0f} s of "
        "jobs. Start-up is the processor time that a job spends on starting Python and importing, before its work.\n\n"
        + table(["rule", "jobs", "seconds", "of it start-up"], rows)
    )
    frames = sum(pq.read_metadata(path).num_rows for path in workdir.glob("results/cohorts/*/truth/*.parquet"))
    drawn = seconds["render_patients"] - startup["render_patients"]
    speed = f"{frames / drawn:.1f} frames/s per core at 640x480"
    yield f"## Rendering\n\n{speed}, drawing and h264 encoding, {frames:,} frames."


def activations() -> str:
    """What the palsy study gains by passing its pictures through the frozen part of a network once."""
    found = palsy_cache.measure()
    rows = [
        [
            name.replace("_", " "),
            f"{one['naive_s']:.1f}",
            f"{one['cached_s']:.1f}",
            f"{one['ratio']:.1f}",
            f"{one['ratio_filled']:.0f}",
        ]
        for name, one in found.items()
    ]
    header = ["trained", "naive, s", "cache filled and used, s", "times as fast", "once the cache is filled"]
    return "\n\n".join(
        [
            "## Training from cached activations",
            f"MLP-Mixer S/32, {palsy_cache.SAMPLES} samples, {palsy_cache.EPOCHS} epochs, {palsy_cache.FOLDS} folds, "
            "one thread, once each. The naive loop passes every picture through the whole network at every step, the "
            f"frozen part without gradients, {found['head']['passes']:.1f} times in all; filling the cache takes one "
            "pass, so that a head cannot gain more than this factor. Both predict every sample once per fold.",
            table(header, rows),
        ]
    )


def steps() -> str:
    """How near the training step of the Parkinson study comes to its network alone."""
    found = training_step.measure()
    return "\n\n".join(
        [
            "## A training step",
            f"ResNet-18 with attention fusion, everything trained, {training_step.SLOTS} images of "
            f"{training_step.PIXELS} pixels a sample, batches of {training_step.BATCH} samples, one thread: "
            f"{found['loop']:.1f} images/s, against {found['bare']:.1f} of the bare passes through the same network on "
            f"a batch in memory (forward and backward, and the forward pass that watches the epoch): "
            f"**{found['ratio']:.2f}**.",
        ]
    )


def synthesis() -> str:
    """What a step of the synthesis costs beside its U-Net."""
    found = synthesis_step.measure()
    return "\n\n".join(
        [
            "## A step of the synthesis",
            f"Size {synthesis_step.SIZE}, batches of {synthesis_step.BATCH}, one thread. A plain step (extractors, "
            f"conditions, losses, backward) takes **{found['plain']:.2f}** times the forward and backward passes of "
            f"its U-Net alone; a step with the cycle **{found['cycle']:.2f}** times a plain one. Looking through the "
            f"frozen extractors takes {found['frozen']:.2f} of what it takes where gradients must pass. Faces drawn "
            f"one by one take {found['batched']:.1f} times as long as together. Over {synthesis_step.STEPS} more steps "
            f"the peak of memory grew by {found['growth_mib']:.0f} MiB.",
        ]
    )


def dry_run(workdir: Path) -> str:
    """A study of the size of Toronto NeuroFace: 36 subjects, 261 videos, leave-one-subject-out over 22, 4 models."""
    videos = workdir / "videos"
    videos.mkdir(parents=True)
    groups = ["als"] * 11 + ["healthy"] * 11 + ["stroke"] * 14
    lines = ["path,subject,group,task"]
    for number in range(261):
        subject = number % 36
        (videos / f"{number}.avi").touch()
        lines.append(f"{number}.avi,S{subject:03d},{groups[subject]},open")
    (workdir / "clips.csv").write_text("\n".join(lines) + "\n")
    own = {"kind": "own_videos", "root": "videos", "clips": "clips.csv", "subjects_per_shard": 1}
    config = {
        "cohorts": {"virtual_als": None, "virtual_palsy": None, "own": own},
        "studies": {"als": {"cohort": "own", "protocols": {"grouped": {"folds": "leave_one_subject_out"}}}},
    }
    seconds, text = snakemake(workdir, config, "--dry-run", "--cores", "1", "--quiet", "rules")
    jobs = re.search(r"^total\s+(\d+)", text, re.MULTILINE)[1]
    return (
        "## Dry run of a study of the size of Toronto NeuroFace\n\n261 videos of 36 subjects, 22 + 1 folds, 4 models, "
        f"2 protocols: {jobs} jobs planned in {seconds:.1f} s."
    )


def many_jobs(jobs: int = 1000) -> str:
    """What Snakemake takes for each of very many jobs, by the way it picks the next ones."""
    # From a small process: a child's peak of memory is never less than what its parent has when it starts it.
    command = [sys.executable, load.__file__, f"--jobs={jobs}", "--variants", *load.VARIANTS]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    count, costs = found["jobs"], found["costs"]
    rows = [
        [
            name,
            f"{cost['wall_s']:.0f}",
            f"{1000 * cost['wall_s'] / count:.0f}",
            f"{1000 * cost['cpu_s'] / count:.0f}",
            f"{cost['cpu_s'] / costs['bare shells']['cpu_s']:.1f}",
            f"{cost['peak_mib']:.0f}" if cost["peak_mib"] else "",
        ]
        for name, cost in costs.items()
    ]
    header = ["", "seconds", "ms/job", "CPU, ms/job", "CPU, times the shells", "peak memory, MiB"]
    return (
        f"## {count:,} jobs with nothing to do\n\nThe ALS study with a fold for each subject, 4 models, 2 protocols; "
        f"in the place of each script a shell that makes its outputs, {load.CORES} at a time. greedy and ilp are "
        "Snakemake's ways to pick the next jobs, rich its logger, writing to a file; again is a dry run with nothing "
        f"left to do. Snakemake's records of a run take {found['records_mib']:.0f} MiB. More jobs: `python "
        "benchmarks/load.py --jobs 10000`.\n\n" + table(header, rows)
    )


EMOTIONS = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")


def intake(workdir: Path) -> str:
    """A copy of 100,000 files of 2,000 people in the layout of PDFE: looked through, and planned as a study."""
    files = 0
    for person in range(2000):
        for emotion in EMOTIONS:
            folder = workdir / "data" / f"p{person:04d}" / emotion
            folder.mkdir(parents=True)
            for number in range(8 if emotion == "neutral" else 7):
                content = f"{person} {emotion} {number}".encode()
                (folder / f"{number:03d}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content + b"IEND")
                files += 1
    rows = (f"p{n:04d},{n % 4},{'healthy' if n % 2 else 'parkinson'}\n" for n in range(2000))
    (workdir / "severity.csv").write_text("subject,severity,group\n" + "".join(rows))
    virtual = ("virtual_als", "virtual_palsy", "virtual_parkinson", "virtual_expressions", "virtual_faces")
    copy = {"kind": "pdfe", "root": "data", "labels": ["severity.csv"], "subjects_per_shard": 20}
    study = {"cohort": "pdfe", "stages": {"early": [0], "mid_late": [2]}, "backbones": {"resnet": {"weights": "none"}}}
    config = {
        "cohorts": dict.fromkeys(virtual) | {"pdfe": copy},
        "studies": dict.fromkeys(("als", "palsy", "synthesis")) | {"parkinson": study},
    }
    looked, _ = snakemake(workdir, config, "--cores", "1", "intake")
    planned, text = snakemake(workdir, config, "--dry-run", "--cores", "1", "--quiet", "rules", "--", "parkinson")
    jobs = re.search(r"^total\s+(\d+)", text, re.MULTILINE)[1]
    used = (line.split("\t") for line in (workdir / "benchmarks/examine_copy/pdfe.tsv").read_text().splitlines())
    job = dict(zip(*used, strict=True))
    return (
        f"## Intake of a large copy\n\n{files:,} files of 2,000 people: `snakemake intake` takes {looked:.0f} s, and "
        f"its job {float(job['max_rss']):.0f} MiB at its peak. The Parkinson study on it: {jobs} jobs planned in "
        f"{planned:.0f} s."
    )


if __name__ == "__main__":
    main()
