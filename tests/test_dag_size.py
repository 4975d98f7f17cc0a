"""How many jobs the presets plan, at the sizes that data sets and papers are published with.

Recordings are not opened when jobs are planned, so empty files stand for them: how many there are, and of how many
people, is what counts.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from faceneuro import cohorts
from faceneuro.cohorts.neuroface import FRAMES, PEOPLE, VIDEOS
from faceneuro.config import placed_cohorts
from running import PRESETS, run

pytestmark = pytest.mark.workflow

AT_MOST = 3000
"""Jobs of all presets together."""

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
NEUROFACE_TASKS = (
    "NSM_SPREAD", "NSM_KISS", "NSM_OPEN", "NSM_BLOW", "NSM_BIGSMILE", "NSM_BROW", "DDK_PA", "DDK_PATAKA", "BBP_NORMAL",
)  # fmt: skip


def aflfp() -> Iterator[str]:
    for person in range(88):
        for task in range(16):
            yield from (f"{person:03d}/task {task}/{state}.png" for state in ("neutral", "onset", "mid", "peak"))


def ck_plus() -> Iterator[str]:
    """Sequences are dealt to the people; the first have an emotion."""
    for number in range(593):
        stem = f"S{number % 123 + 5:03d}_{number // 123 + 1:03d}"
        yield from (f"cohn-kanade-images/{stem}_{frame:08d}.png" for frame in (1, 2))
        if number < 327:
            yield f"Emotion/{stem}_00000002_emotion.txt"


def jaffe() -> Iterator[str]:
    names = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
    words = ("AN", "DI", "FE", "HA", "NE", "SA", "SU")
    yield from (f"{names[number % 10]}.{words[number // 10 % 7]}1.{number}.tiff" for number in range(213))


def meei() -> Iterator[str]:
    for person in range(60):
        folder = f"Normal/Normal{person}" if person < 9 else f"Flaccid/MildFlaccid/MildFlaccid{person}"
        yield from (f"{folder}/{photograph}.jpg" for photograph in range(1, 9))


def neuroface() -> Iterator[str]:
    """Videos are dealt to the people of each group, and frames to the videos."""
    for group, names in PEOPLE.items():
        people = names.split()
        for video in range(VIDEOS[group]):
            clip = f"{people[video % len(people)]}_02_{NEUROFACE_TASKS[video // len(people)]}_color"
            frames = FRAMES[group] // VIDEOS[group] + (video < FRAMES[group] % VIDEOS[group])
            yield from (f"{group}/Frames/{clip}.avi_{10 * frame}.jpg" for frame in range(frames))


def oulu_casia() -> Iterator[str]:
    for person in range(1, 81):
        for emotion in EMOTIONS:
            folder = f"OriginalImg/VL/Strong/P{person:03d}/{emotion.capitalize()}"
            yield from (f"{folder}/{frame:03d}.jpeg" for frame in range(2))


def palsynet() -> Iterator[str]:
    yield from (f"data/affected/{number}.mp4" for number in range(27))
    yield from (f"data/unaffected/{number}.mp4" for number in range(22))


def pdfe() -> Iterator[str]:
    yield from (f"P{person:03d}/{emotion}.jpg" for person in range(145) for emotion in EMOTIONS)


def pfed5() -> Iterator[str]:
    words = ("sit at rest", "smile", "frown", "squeeze eyes", "clench teeth")
    yield from (f"P{person:02d}/{word}.mp4" for person in range(41) for word in words)


def rafd() -> Iterator[str]:
    words = ("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")
    for person in range(67):
        yield from (f"Rafd090_{person:02d}_Caucasian_female_{word}_frontal.jpg" for word in words)


def tfed() -> Iterator[str]:
    words = ("Neutral", "Content", *(emotion.capitalize() for emotion in EMOTIONS))
    yield from (f"{'YO'[person % 2]}{person:03d}/{word}.jpg" for person in range(110) for word in words)


def yfp() -> Iterator[str]:
    for video in range(32):
        yield from (f"patient{video % 21:02d}/video{video // 21}/frame_{frame}.jpg" for frame in range(10))


COPIES: dict[str, Callable[[], Iterator[str]]] = {
    copy.__name__: copy
    for copy in (aflfp, ck_plus, jaffe, meei, neuroface, oulu_casia, palsynet, pdfe, pfed5, rafd, tfed, yfp)
}
"""Paths of the recordings of a whole copy, by the kind of the cohort."""

FOLDERS = {"yfp": "YFP", "ck_plus": "CK+", "pdfe": "PDFE", "rafd": "RaFD", "oulu_casia": "Oulu-CASIA", "tfed": "TFED",
           "aflfp": "AFLFP", "meei": "MEEI"}  # fmt: skip
"""What the presets of papers with several data sets call their folders."""

LAYERS = {
    "palsy_paper": ["palsy_yfp_ckplus", "palsy_paper"],
    "parkinson_paper": ["parkinson_pdfe", "parkinson_paper"],
    "synthesis_paper": ["synthesis_paper", "synthesis_aflfp_meei"],
}
"""Presets of a paper's size are called together with that of its data sets, in the order that is documented."""


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> Path:
    """Whole copies of all data sets, a folder of one's own recordings, and the tables that tell about them."""
    root = tmp_path_factory.mktemp("copies")
    # One's own recordings are as many as those of Toronto NeuroFace.
    clips = sorted({path.rpartition("/")[2].partition("_color")[0] for path in neuroface()})
    files = [f"{FOLDERS.get(kind, kind)}/{path}" for kind, paths in COPIES.items() for path in paths()]
    files += [f"own/{clip}.avi" for clip in clips]
    for folder in {path.rpartition("/")[0] for path in files}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for path in files:
        # Of all files only those of CK+ that hold the number of an emotion are read.
        (root / path).write_text("1" if path.endswith(".txt") else "")
    group = {subject: name for name, people in PEOPLE.items() for subject in people.split()}
    people = [clip.partition("_")[0] for clip in clips]
    rows = [[f"{clip}.avi", person, group[person]] for clip, person in zip(clips, people, strict=True)]
    tables = {
        "severity": [["subject", "severity"], *([f"P{person:03d}", person % 5 + 1] for person in range(145))],
        "clips": [["path", "subject", "group"], *rows],
    }
    for name, rows in tables.items():
        with (root / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    return root


def layers(preset: str) -> list[str]:
    return LAYERS.get(preset, [preset])


def targets(preset: str) -> list[str]:
    """The study that a preset is named after, which the call that it documents asks for; else everything."""
    return [study for study in ("als", "palsy", "parkinson", "synthesis") if preset.startswith(f"{study}_")]


def placed(preset: str, root: Path) -> dict:
    """What a user adds to a preset: where the copies and the tables are."""
    blocks: dict = {}
    for name in layers(preset):
        blocks |= yaml.safe_load((PRESETS / f"{name}.yaml").read_text()).get("cohorts", {})
    kinds = {name: block["kind"] for name, block in blocks.items() if block and "kind" in block}
    if "own" in kinds:
        return {"cohorts": {"own": {"root": str(root / "own"), "clips": str(root / "clips.csv")}}}
    if not kinds:
        return {}
    # A data set by itself is the root; several lie below it.
    folder = root if len(kinds) > 1 else root / FOLDERS.get(*kinds.values(), *kinds.values())
    labels = {"cohorts": {"pdfe": {"labels": [str(root / "severity.csv")]}}} if "pdfe" in kinds else {}
    return {"root": str(folder)} | labels


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_of_the_published_size(kind, copies):
    settings = {"kind": kind, "root": str(copies / FOLDERS.get(kind, kind))}
    block = placed_cohorts({"root": None, "cohorts": {kind: settings}})[kind]
    counts = cohorts.listing(kind, block).counts
    assert any(count.expected for count in counts)
    assert [count for count in counts if count.expected not in (None, count.found)] == []


def test_all_presets_together_stay_below_three_thousand_jobs(copies, tmp_path):
    jobs = {}
    for preset in sorted(path.stem for path in PRESETS.glob("*.yaml")):
        own = placed(preset, copies)
        planned = run(tmp_path / preset, *targets(preset), config=own, presets=layers(preset), dryrun=True)
        assert planned.succeeded, f"{preset}: {planned.error}"
        jobs[preset] = len(planned.rules)
    assert sum(jobs.values()) < AT_MOST, jobs
    # A preset that found nothing to measure would plan next to nothing.
    assert min(jobs.values()) > 8, jobs
