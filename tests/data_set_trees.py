"""Tiny copies of the data sets, each laid out as the real one is, with virtual patients in the place of people.

A maker writes one data set and says what it wrote. What goes wrong with real copies (leftovers of operating systems,
second copies, damaged files, links) is planted in each, unless ``odd`` is false.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from faceneuro.cohorts.neuroface import PEOPLE
from faceneuro.cohorts.virtual.heads import Heads
from faceneuro.cohorts.virtual.motion import perform
from faceneuro.cohorts.virtual.patients import Patient, recruit
from faceneuro.cohorts.virtual.record import record_clip
from faceneuro.video.decoding import decode

COHORT = {
    "seed": 11,
    "seconds": 1.0,
    "confound": 0.0,
    "medium": "video",
    "video": {"width": 480, "height": 360, "fps": 15, "crf": 16},
}
"""How virtual patients are filmed for these trees."""

NEAREST = {
    "blow": "kiss",
    "pataka": "pa",
    "speech": "sentence",
    "all_movements": "smile_open",
    "lower_lip_depression": "bigsmile",
    "contempt": "disgust",
    "content": "smile_closed",
    "smile": "smile_closed",
    "frown": "anger",
    "squeeze_eyes": "eye_closure_tight",
    "close_eyes": "eye_closure_tight",
    "raise_brows": "brow_raise",
    "clench_teeth": "smile_open",
}
"""What a virtual patient does in the place of what they cannot do."""

STROKE = "palsy"
"""The virtual patients that stand for people after a stroke: their weakness, too, is of one side."""

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


@cache
def patient(group: str, person: int) -> Patient:
    """The virtual patient that a person of a tree is: their severity, side, age and sex are the truth."""
    return recruit(f"{group}_{person}", group, person, COHORT["seed"])


class Blank:
    """Gray pictures of no one, for tests that measure nothing; the patients are those of :class:`Filmed`."""

    patient = staticmethod(patient)

    def picture(self, group: str, person: int, task: str, suffix: str) -> bytes:
        return _blank_picture(suffix.lower())

    def sequence(self, group: str, person: int, task: str, count: int, suffix: str) -> list[bytes]:
        return [_blank_picture(suffix.lower())] * count

    def video(self, group: str, person: int, task: str, suffix: str) -> bytes:
        return _blank_video(suffix.lower())


class Filmed:
    """Virtual patients, each clip rendered when it is first asked for, 480 x 360 pixels."""

    patient = staticmethod(patient)

    def __init__(self, heads: Heads):
        self._heads = heads
        self._clips: dict[tuple[str, int, str], list[np.ndarray]] = {}

    def picture(self, group: str, person: int, task: str, suffix: str) -> bytes:
        """A still at the height of the task."""
        return _picture(self._frames(group, person, task)[self._apex(group, person, task)], suffix)

    def sequence(self, group: str, person: int, task: str, count: int, suffix: str) -> list[bytes]:
        """Stills from rest to the height of the task."""
        frames, apex = self._frames(group, person, task), self._apex(group, person, task)
        # The movement begins about half-way to its height.
        numbers = [0, *np.linspace(0.55 * apex, apex, count - 1).round().astype(int)]
        return [_picture(frames[number], suffix) for number in numbers]

    def video(self, group: str, person: int, task: str, suffix: str) -> bytes:
        """A video of a second."""
        return _film(self._frames(group, person, task), suffix)

    def _apex(self, group: str, person: int, task: str) -> int:
        fps = COHORT["video"]["fps"]
        return perform(patient(group, person), NEAREST.get(task, task), COHORT["seconds"], fps).apex

    def _frames(self, group: str, person: int, task: str) -> list[np.ndarray]:
        task = NEAREST.get(task, task)
        key = (group, person, task)
        if key not in self._clips:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "clip.mp4"
                record_clip(self._heads, patient(group, person), task, COHORT, path)
                self._clips[key] = [frame.image for frame in decode(path, "video")]
        return self._clips[key]


Pool = Blank | Filmed


def _picture(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix.lower(), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def _film(images: Sequence[np.ndarray], suffix: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=suffix.lower().lstrip(".")) as container:
        # An avi file holds pictures in the order in which they are shown.
        stream = container.add_stream("libx264", rate=COHORT["video"]["fps"], options={"crf": "16", "bf": "0"})
        stream.codec_context.thread_count = 1
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@cache
def _blank_picture(suffix: str) -> bytes:
    return _picture(np.full((16, 16, 3), 128, np.uint8), suffix)


@cache
def _blank_video(suffix: str) -> bytes:
    return _film([np.full((32, 32, 3), 128, np.uint8)] * 2, suffix)


@dataclass
class Made:
    """A tree.

    Attributes
    ----------
    kind
        Of the cohort.
    root
        The folder.
    subjects
        Virtual group and person by the name of the subject.
    files
        Paths of the recordings that are used by default, below the root.
    labels
        Paths of tables for the setting ``labels``.
    settings
        Further settings that the tree needs to be fully read.
    odd
        Path of everything that was planted and must be left out, with words of the reason.
    damaged
        Paths of recordings that are cut off or empty, which no adapter opens.
    """

    kind: str
    root: Path
    subjects: dict[str, tuple[str, int]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @property
    def cohort(self) -> dict[str, Any]:
        """The block of a configuration for this tree, labels included."""
        return {"kind": self.kind, "root": str(self.root), "labels": list(self.labels)} | self.settings

    def write(self, path: str, content: bytes | str, used: bool = True) -> None:
        """Add a file; a recording that is used by default unless ``used`` is false."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        if used:
            self.files.append(path)

    def leave(self, path: str, content: bytes | str, reason: str) -> None:
        """Add a file that is in no clip, for a reason with these words."""
        self.write(path, content, used=False)
        self.odd[path] = reason

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence]) -> str:
        """Write a CSV file beside the root."""
        path = self.root.parent / f"{self.root.name}_{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return str(path)


def litter(made: Made, folder: str, copies: str | None = "z old copy", damage: Sequence[int] = (-1, -2)) -> Made:
    """Plant what is wrong with real copies: leftovers, a second copy of a clip, damaged files, links.

    Parameters
    ----------
    made
        The tree.
    folder
        A folder with recordings, for what operating systems leave.
    copies
        A folder of the root that gets another copy of the first recording, under the same path; none: no copy.
    damage
        Places, among the recordings, of one to cut off and one to empty.
    """
    first = made.files[0]
    name = Path(first).name
    made.leave(f"{folder}/Thumbs.db", b"\xd0\xcf\x11\xe0", "Windows")
    made.leave(f"{folder}/desktop.ini", "[.ShellClassInfo]\n", "Windows")
    made.leave(f"{folder}/._{name}", b"\0\5\x16\7", "resource fork")
    made.leave(".DS_Store", b"\0\0\0\1Bud1", "macOS")
    made.leave(f"__MACOSX/{folder}/{name}", b"\0\5\x16\7", "macOS")
    made.leave("Read me.txt", "how to cite", "")
    if copies is not None:
        made.leave(f"{copies}/{first}", (made.root / first).read_bytes(), "already")
    outside = made.root.parent / f"{made.root.name} elsewhere"
    (outside / folder).mkdir(parents=True)
    (outside / name).write_bytes((made.root / first).read_bytes())
    (made.root / f"link{Path(first).suffix}").symlink_to(outside / name)
    (made.root / "linked folder").symlink_to(outside, target_is_directory=True)
    (made.root / "broken link.png").symlink_to(outside / "nothing.png")
    (made.root / "loop").symlink_to(made.root, target_is_directory=True)
    for link in (f"link{Path(first).suffix}", "linked folder", "broken link.png"):
        made.odd[link] = "out of the root"
    made.odd["loop"] = "in this folder already"
    cut, empty = (made.files[place] for place in damage)
    whole = (made.root / cut).read_bytes()
    (made.root / cut).write_bytes(whole[: len(whole) // 2])
    (made.root / empty).write_bytes(b"")
    made.damaged = [cut, empty]
    return made


def points_by_hand(frames: Sequence[int]) -> str:
    """A table of 68 points, x and y in turn, for each frame, as NeuroFace has it."""
    header = ",".join(["Frame", *(f"{axis}{point}" for point in range(1, 69) for axis in "xy")])
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = np.stack([240 + 70 * np.cos(angle), 190 + 90 * np.sin(angle)], axis=1).ravel()
    return "\n".join([header, *(",".join([str(frame), *(f"{value:.2f}" for value in points)]) for frame in frames), ""])


def boxes_by_hand(frames: Sequence[int]) -> str:
    """A table of face boxes, as NeuroFace has it."""
    return "\n".join(["Frame,x1,y1,x2,y2", *(f"{frame},160,80,320,290" for frame in frames), ""])


NEUROFACE_TASKS = {
    "NSM_SPREAD": "spread",
    "NSM_KISS": "kiss",
    "NSM_OPEN": "open",
    "NSM_BLOW": "blow",
    "NSM_BIGSMILE": "bigsmile",
    "NSM_BROW": "brow",
    "DDK_PA": "pa",
    "DDK_PATAKA": "pataka",
    "BBP_NORMAL": "sentence",
}


def make_neuroface(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    folders: dict[str, str] | None = None,
    people: int = 2,
    first: int = 0,
    tasks: Sequence[str] = ("NSM_KISS", "BBP_NORMAL"),
    frames: int = 4,
    videos: bool = True,
) -> Made:
    """Toronto NeuroFace: frames, videos, landmarks and boxes by group.

    Parameters
    ----------
    folders
        Name of the folder of each group that is to be there: of als, healthy and stroke.
    people, first
        Per group, and the virtual person that the first of them is.
    tasks
        As the set calls them.
    frames
        Per clip.
    videos
        Whether there is a folder of videos, too.
    """
    made = Made("neuroface", root)
    numbers = [8 + 47 * place for place in range(frames)]
    folders = folders or {"als": "ALS", "healthy": "Healthy controls", "stroke": "Stroke"}
    for group, folder in folders.items():
        virtual = STROKE if group == "stroke" else group
        for person, subject in enumerate(PEOPLE[group].split()[:people], first):
            made.subjects[subject] = (virtual, person)
            for word in tasks:
                task, name = NEUROFACE_TASKS[word], f"{subject}_02_{word}_color"
                stills = pool.sequence(virtual, person, task, frames, ".jpg")
                for number, still in zip(numbers, stills, strict=True):
                    made.write(f"{folder}/Frames/{name}.avi_{number}.jpg", still)
                made.leave(f"{folder}/Landmarks_gt/{name}.txt", points_by_hand(numbers), "landmarks")
                made.leave(f"{folder}/Bbox_gt/{name}_gt.txt", boxes_by_hand(numbers), "boxes")
                if videos:
                    made.leave(f"{folder}/Videos/{name}.avi", pool.video(virtual, person, task, ".avi"), "recordings")
        made.leave(f"{folder}/SLP scores.xlsx", b"PK", "labels")
    if not odd:
        return made
    folder, _, name = made.files[0].partition("/")
    made.leave(f"{folder}/{name.replace('color.avi', 'color copy.avi')}", (root / made.files[0]).read_bytes(), "fit")
    if healthy := folders.get("healthy"):
        # Small letters come last, and the first of two copies is used.
        again = next(file for file in made.files if file.startswith(healthy))
        alias = "healthy controls" if healthy == "hc" else "hc"
        made.leave(f"{alias}/{again.partition('/')[2]}", (root / again).read_bytes(), "already")
    _upper_case(made, 1)
    return litter(made, f"{folder}/Frames", copies=None)


def _upper_case(made: Made, place: int) -> None:
    """Give a recording an ending in capitals."""
    path = made.files[place]
    upper = str(Path(path).with_suffix(Path(path).suffix.upper()))
    (made.root / path).rename(made.root / upper)
    made.files[place] = upper


def make_ck_plus(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 3,
    first: int = 0,
    emotions: Sequence[str | None] = ("disgust", "happiness", None),
    frames: int = 6,
) -> Made:
    """CK+: a sequence per emotion and person; where the emotion is None, the file that says it is absent."""
    made = Made("ck_plus", root)
    codes = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    names = ("S005", "S010", "S011", "S014", "S022", "S026", "S028", "S029", "S032", "S034", "S035", "S037")
    for person, subject in enumerate(names[:people], first):
        made.subjects[subject] = ("healthy", person)
        for number, emotion in enumerate(emotions, 1):
            sequence = f"{number:03d}"
            stem = f"{subject}/{sequence}/{subject}_{sequence}_"
            stills = pool.sequence("healthy", person, emotion or "surprise", frames, ".png")
            for order, still in enumerate(stills, 1):
                used = order == 1 or order > frames - 3
                path = f"cohn-kanade-images/{stem}{order:08d}.png"
                made.write(path, still, used)
                if not used:
                    made.odd[path] = "between the neutral face and the apex"
                points = "".join(f"  {x}.0000000e+00  1.0000000e+02\n" for x in range(68))
                made.leave(f"Landmarks/{stem}{order:08d}_landmarks.txt", points, "landmarks")
            made.leave(f"FACS/{stem}{frames:08d}_facs.txt", "   9.0000000e+00   2.0000000e+00\n", "action units")
            if emotion is None:
                # The folder is there all the same.
                (root / f"Emotion/{subject}/{sequence}").mkdir(parents=True)
            else:
                code = f"   {codes.index(emotion)}.0000000e+00\n"
                made.leave(f"Emotion/{stem}{frames:08d}_emotion.txt", code, "emotion")
    if odd:
        _upper_case(made, 1)
        made.leave("cohn-kanade-images/montage.png", pool.picture("healthy", first, "rest", ".png"), "fit")
        litter(made, str(Path(made.files[0]).parent))
    return made


MEEI_TASKS = (
    "rest",
    "brow_raise",
    "eye_closure_gentle",
    "eye_closure_tight",
    "smile_closed",
    "smile_open",
    "lip_pucker",
    "lower_lip_depression",
)


def make_meei(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    normal: int = 2,
    flaccid: int = 2,
    synkinetic: int = 1,
    first: int = 0,
    videos: bool = True,
) -> Made:
    """The MEEI standard set: eight photographs and a video a person, and the workbook of patients.

    The folder of a patient says the grade of the virtual one, of which 1 is normal and 6 complete.
    """
    from openpyxl import Workbook

    made = Made("meei", root)
    book = Workbook()
    book.active.append(["Category", "Sub-Category", "Number", "Side", "Gender", "Age"])
    words = {2: "NearNormal", 3: "Mild", 4: "Moderate", 5: "Severe", 6: "Complete"}
    seen: dict[str, int] = {}
    palsies = 0
    for category, count in (("Normal", normal), ("Flaccid", flaccid), ("Synkinetic", synkinetic)):
        for place in range(count):
            group, person = ("healthy", first + place) if category == "Normal" else ("palsy", first + palsies)
            palsies += category != "Normal"
            whom = pool.patient(group, person)
            grade = "" if category == "Normal" else words[round(whom.severity)]
            seen[grade + category] = number = seen.get(grade + category, 0) + 1
            subject = f"{grade}{category}{number}"
            folder = "/".join([category, *([grade + category] if grade else []), subject])
            made.subjects[subject] = (group, person)
            side = {"left": "Left", "right": "Right"}.get(whom.side)
            row = [category, grade + category if grade else None, number, side, whom.sex[0].upper(), whom.age]
            book.active.append(row)
            for picture, task in enumerate(MEEI_TASKS, 1):
                made.write(f"{folder}/{picture}.jpg", pool.picture(group, person, task, ".jpg"))
            if videos:
                suffix = (".mp4", ".mov")[place % 2]
                video = pool.video(group, person, "all_movements", suffix)
                made.leave(f"{folder}/{subject}{suffix}", video, "recordings")
    file = io.BytesIO()
    book.save(file)
    made.leave("pat_info.xlsx", file.getvalue(), "workbook")
    if odd:
        _upper_case(made, 1)
        made.leave("Normal/Normal/overview.jpg", pool.picture("healthy", first, "rest", ".jpg"), "fit")
        litter(made, str(Path(made.files[0]).parent))
    return made


def make_aflfp(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 2,
    first: int = 0,
    tasks: Sequence[str] = ("smile", "close_eyes", "raise_brows"),
) -> Made:
    """AFLFP: an expression in four states, with 68 landmarks each."""
    made = Made("aflfp", root)
    for place in range(people):
        person, subject = first + place, f"{place + 1:03d}"
        made.subjects[subject] = ("palsy", person)
        for task in tasks:
            stills = pool.sequence("palsy", person, task, 4, ".png")
            for state, still in zip(("neutral", "onset", "mid", "peak"), stills, strict=True):
                made.write(f"{subject}/{task}/{state}.png", still)
                points = "".join(f"{point}.5 {point}.0\n" for point in range(68))
                made.leave(f"{subject}/{task}/{state}.txt", points, "landmarks")
    if odd:
        _upper_case(made, 1)
        made.leave("001/portrait.png", pool.picture("palsy", first, "rest", ".png"), "fit")
        litter(made, str(Path(made.files[0]).parent))
    return made


RAFD = {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "fearful": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprised": "surprise",
}


def make_rafd(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 3,
    first: int = 0,
    emotions: Sequence[str] = tuple(RAFD),
) -> Made:
    """RaFD: of the first person all angles and gazes, of the others the frontal view that looks at the camera."""
    made = Made("rafd", root)
    # Numbers have gaps; 63 stands for a child, whose token is not known for sure.
    names = ("01", "28", "63", "02", "03", "04", "05", "07", "08", "09", "10", "11")
    for person, subject in enumerate(names[:people], first):
        made.subjects[subject] = ("healthy", person)
        sex = pool.patient("healthy", person).sex
        token = "Kid" if subject == "63" else "Caucasian"
        for emotion in emotions:
            still = pool.picture("healthy", person, RAFD[emotion], ".jpg")
            for angle in (0, 45, 90, 135, 180):
                for gaze in ("frontal", "left", "right"):
                    path = f"Rafd{angle:03d}_{subject}_{token}_{sex}_{emotion}_{gaze}.jpg"
                    if (angle, gaze) == (90, "frontal"):
                        made.write(path, still)
                    elif person == first:
                        made.leave(path, still, "gaze" if angle == 90 else "angles")
    if odd:
        _upper_case(made, 1)
        made.leave("all models.jpg", pool.picture("healthy", first, "neutral", ".jpg"), "fit")
        litter(made, "contact sheets")
    return made


def make_oulu_casia(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 2,
    first: int = 0,
    emotions: Sequence[str] = ("anger", "surprise"),
    frames: int = 6,
) -> Made:
    """Oulu-CASIA: sequences in visible light, and of the first person those of the other versions, too."""
    made = Made("oulu_casia", root)
    for place in range(people):
        person, subject = first + place, f"P{12 + place:03d}"
        made.subjects[subject] = ("healthy", person)
        for emotion in emotions:
            for order, still in enumerate(pool.sequence("healthy", person, emotion, frames, ".jpeg")):
                end = f"{subject}/{emotion.capitalize()}/{order:03d}.jpeg"
                used = order == 0 or order >= frames - 3
                path = f"OriginalImg/VL/Strong/{end}"
                made.write(path, still, used)
                if not used:
                    made.odd[path] = "between the neutral face and the apex"
                if place == 0:
                    made.leave(f"OriginalImg/NI/Strong/{end}", still, "modality")
                    made.leave(f"OriginalImg/VL/Dark/{end}", still, "light")
                    made.leave(f"PreProcess_Img/VL_Acropped/Strong/{end}", still, "version")
    if odd:
        _upper_case(made, 1)
        made.leave("OriginalImg/VL/Strong/P012/000.jpeg", b"", "fit")
        litter(made, str(Path(made.files[0]).parent))
    return made


def make_tfed(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 3,
    first: int = 0,
    emotions: Sequence[str] = ("Neutral", "Happiness", "Anger", "Disgust", "Surprise", "Fear", "Content", "Sadness"),
) -> Made:
    """TFED: a folder a person, younger and older in turn, with a picture an expression."""
    made = Made("tfed", root)
    for place in range(people):
        person, subject = first + place, f"{'YO'[place % 2]}{place // 2 + 1:02d}"
        made.subjects[subject] = ("healthy", person)
        for emotion in emotions:
            still = pool.picture("healthy", person, emotion.lower(), ".jpg")
            path = f"{subject}/{emotion}.jpg"
            if emotion == "Content":
                made.leave(path, still, "contentment")
            else:
                made.write(path, still)
    if odd:
        _upper_case(made, 1)
        made.leave("Y01/Anger copy.jpg", pool.picture("healthy", first, "anger", ".jpg"), "rename")
        litter(made, "Y01")
    return made


def make_pdfe(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 3,
    first: int = 0,
    emotions: Sequence[str] = ("neutral", *EMOTIONS),
    pictures: int = 2,
) -> Made:
    """PDFE: a picture an expression, of the last person a folder of pictures, and a table of severities."""
    made = Made("pdfe", root)
    rows = []
    for place in range(people):
        person, subject = first + place, f"PD{place + 1:03d}"
        made.subjects[subject] = ("parkinson", person)
        whom = pool.patient("parkinson", person)
        rows.append([subject, whom.severity, whom.age, whom.sex])
        for emotion in emotions:
            if place == people - 1:
                stills = pool.sequence("parkinson", person, emotion, pictures + 1, ".jpg")[1:]
                for number, still in enumerate(stills, 1):
                    made.write(f"{subject}/{emotion}/{number}.jpg", still)
            else:
                made.write(f"{subject}/{emotion}.jpg", pool.picture("parkinson", person, emotion, ".jpg"))
    made.labels = [made.table("severity", ["subject", "severity", "age", "sex"], rows)]
    if odd:
        _upper_case(made, 1)
        made.leave("PD001/anger copy.jpg", pool.picture("parkinson", first, "anger", ".jpg"), "rename")
        litter(made, "PD001")
    return made


def make_pfed5(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 3,
    first: int = 0,
    tasks: Sequence[str] = ("sit at rest", "smile", "frown", "squeeze eyes", "clench teeth"),
) -> Made:
    """PFED5: a video a gesture, and a table with the score of each, which is twice the virtual severity."""
    made = Made("pfed5", root)
    rows = []
    for place in range(people):
        person, subject = first + place, f"P{place + 1:02d}"
        made.subjects[subject] = ("parkinson", person)
        for word in tasks:
            task = word.replace("sit at ", "").replace(" ", "_")
            made.write(f"{subject}/{word}.mp4", pool.video("parkinson", person, task, ".mp4"))
            rows.append([f"{subject}_{task}", 2 * pool.patient("parkinson", person).severity])
    made.labels = [made.table("scores", ["clip", "updrs_expression"], rows)]
    if odd:
        _upper_case(made, 1)
        made.leave("P01/smile (2).mp4", pool.video("parkinson", first, "smile", ".mp4"), "rename")
        litter(made, "P01")
    return made


def make_palsynet(
    root: Path, pool: Pool, *, odd: bool = True, affected: int = 3, unaffected: int = 3, first: int = 0
) -> Made:
    """PalsyNet: numbered videos of two groups, a person each."""
    made = Made("palsynet", root)
    for folder, group, count in (("affected", "palsy", affected), ("unaffected", "healthy", unaffected)):
        for number in range(1, count + 1):
            made.subjects[f"{folder}_{number}"] = (group, first + number - 1)
            video = pool.video(group, first + number - 1, "speech", ".mp4")
            made.write(f"data/{folder}/{number}.mp4", video)
    if odd:
        _upper_case(made, 1)
        made.leave("data/affected/1 copy.mp4", pool.video("palsy", first, "speech", ".mp4"), "fit")
        litter(made, "data/affected")
    return made


def make_jaffe(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 3,
    first: int = 0,
    emotions: Sequence[str] = ("AN", "DI", "FE", "HA", "NE", "SA", "SU"),
) -> Made:
    """JAFFE: all pictures in one folder; the second person is NA."""
    made = Made("jaffe", root)
    tasks = dict(
        zip(("AN", "DI", "FE", "HA", "NE", "SA", "SU"), (*EMOTIONS[:4], "neutral", *EMOTIONS[4:]), strict=True)
    )
    number = 39
    for person, subject in enumerate(("KA", "NA", "YM", "KL", "KM", "KR", "MK", "NM", "TM", "UY")[:people], first):
        made.subjects[subject] = ("healthy", person)
        for emotion in emotions:
            still = pool.picture("healthy", person, tasks[emotion], ".tiff")
            made.write(f"{subject}.{emotion}1.{number}.tiff", still)
            number += 1
    if odd:
        _upper_case(made, 1)
        made.leave("KA.AN1.39 copy.tiff", pool.picture("healthy", first, "anger", ".tiff"), "fit")
        litter(made, "jaffe")
    return made


def make_yfp(
    root: Path,
    pool: Pool,
    *,
    odd: bool = True,
    people: int = 3,
    first: int = 0,
    videos: int = 1,
    frames: int = 6,
    boxes: bool = True,
) -> Made:
    """YFP: folders of frames a video, and a table of boxes, which the second half of the frames of a video has."""
    made = Made("yfp", root)
    rows = []
    for place in range(people):
        person, subject = first + place, f"patient{place + 1:02d}"
        made.subjects[subject] = ("palsy", person)
        intensity = "high" if pool.patient("palsy", person).severity > 3 else "low"
        for video in range(1, videos + 1):
            task = ("speech", "smile_open", "brow_raise")[(video - 1) % 3]
            for number, still in enumerate(pool.sequence("palsy", person, task, frames, ".jpg"), 1):
                made.write(f"{subject}/video{video}/frame_{number}.jpg", still)
                if number > frames / 2:
                    rows.append([f"{subject}_video{video}", number, "mouth", intensity, 200, 220, 280, 260])
    if boxes:
        header = ["clip", "frame", "region", "intensity", "x1", "y1", "x2", "y2"]
        made.settings["boxes"] = made.table("boxes", header, rows)
    if odd:
        _upper_case(made, 1)
        made.leave("patient01/video1/frame_1 copy.jpg", pool.picture("palsy", first, "rest", ".jpg"), "fit")
        litter(made, "patient01/video1")
    return made


MAKERS: dict[str, Callable[..., Made]] = {
    "aflfp": make_aflfp,
    "ck_plus": make_ck_plus,
    "jaffe": make_jaffe,
    "meei": make_meei,
    "neuroface": make_neuroface,
    "oulu_casia": make_oulu_casia,
    "palsynet": make_palsynet,
    "pdfe": make_pdfe,
    "pfed5": make_pfed5,
    "rafd": make_rafd,
    "tfed": make_tfed,
    "yfp": make_yfp,
}
"""The maker of each data set, by the kind of the cohort."""
