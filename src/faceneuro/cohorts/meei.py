"""The MEEI standard set: photographs and a video of 60 people, healthy or with a flaccid or synkinetic facial palsy.

References
----------
Greene et al., "The spectrum of facial palsy: the MEEI facial palsy photo and video standard set", Laryngoscope 130(1),
2020.
"""

from collections.abc import Iterable, Sequence

from faceneuro.cohorts.intake.clips import Clip, Count, pictures, subjects
from faceneuro.cohorts.intake.data_set import Copy, DataSet, Leave, Place
from faceneuro.video import VIDEO_SUFFIXES

MOVEMENTS = (
    "rest",
    "brow_raise",
    "eye_closure_gentle",
    "eye_closure_tight",
    "smile_closed",
    "smile_open",
    "lip_pucker",
    "lower_lip_depression",
)
"""The eight photographs of a person, in the order in which the paper lists them."""

GRADES = ("normal", "nearnormal", "mild", "moderate", "severe", "complete")
"""Severity in the name of a folder, by its number here."""

COLUMNS = {
    "category": ("category",),
    "grade": ("sub-category", "subcategory", "sub category"),
    "number": ("number", "no", "#"),
    "side": ("side", "affected side"),
    "sex": ("gender", "sex"),
    "age": ("age",),
}
"""Columns of the workbook of patients, by what they may be called."""


class MEEI(DataSet):
    """A folder a person, named after the severity; who they are is in a workbook called ``pat_info``."""

    title = "MEEI standard set"
    guessed = (
        "How the MEEI set numbers a person's photographs could not be established: eight are taken for the paper's "
        "eight movements in its order, any other number for photographs of no known movement."
    )
    layout = (
        r"{grade:[a-z]+?}{category:flaccid|synkinetic}{number:\d+}/{order}",
        r"{category:normal}{number:\d+}/{order}",
    )
    words = {"category": {"normal": "normal", "flaccid": "flaccid", "synkinetic": "synkinetic"}}
    sidecars = {"people": ("pat_info*", "the workbook of patients: read if it is .xlsx")}
    options = {"recordings": {"enum": ["photographs", "videos", "both"], "default": "photographs"}}

    def describe(self, found, file, settings):
        video = file.suffix in VIDEO_SUFFIXES
        if settings["recordings"] != "both" and video != (settings["recordings"] == "videos"):
            raise Leave(f"not used, as recordings is {settings['recordings']}")
        healthy = found["category"] == "normal"
        grade = "normal" if healthy else found["grade"].lower()
        if grade not in GRADES:
            raise Leave(f"{found['grade']!r} is none of the severities {', '.join(GRADES)}")
        folder = file.path.rpartition("/")[0].rpartition("/")[2]
        subject = folder or f"{found.get('grade', '')}{found['category']}{found['number']}"
        about = {
            "group": "healthy" if healthy else "palsy",
            "severity": float(GRADES.index(grade)),
            "source": "meei",
            **({"side": "none"} if healthy else {}),
        }
        if video:
            return Place(subject, f"{subject}_video", about=about | {"task": "all_movements"})
        return Place(subject, f"{subject}_photographs", found["order"], about)

    def arrange(self, clip, copy) -> Iterable[Clip]:
        """One clip a photograph, and what the workbook says of the person."""
        clip.about |= copy.once(_people).get(clip.subject.lower(), {})
        if clip.is_video:
            return [clip]
        tasks = MOVEMENTS if len(clip.files) == len(MOVEMENTS) else [None] * len(clip.files)
        return [
            Clip(clip.subject, f"{clip.subject}_{number}", [file], clip.about | {"task": task})
            for number, (task, file) in enumerate(zip(tasks, clip.files, strict=True), 1)
        ]

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        videos = sum(clip.is_video for clip in clips)
        return [
            Count("subjects", subjects(clips), 60),
            *([Count("photographs", pictures(clips), 480)] if pictures(clips) else []),
            *([Count("videos", videos, 60)] if videos else []),
            Count("subjects, healthy", subjects(clips, lambda clip: clip.about["group"] == "healthy")),
            Count("subjects, palsy", subjects(clips, lambda clip: clip.about["group"] == "palsy")),
        ]


def _people(copy: Copy) -> dict[str, dict]:
    """Side, sex and age of each person in the workbook, by the name of their folder in small letters."""
    people: dict[str, dict] = {}
    for _, file in copy.sidecars.get("people", ()):
        if file.suffix != ".xlsx":
            copy.notes.append(f"{file.path} is not read; save it as .xlsx, for sides, sexes and ages.")
            continue
        rows = _rows(copy, file)
        if rows is None:
            copy.notes.append(f"{file.path} is no readable workbook; sides, sexes and ages are missing.")
            continue
        header = [str(cell or "").strip().lower() for cell in rows[0]] if rows else []
        place = {
            name: next((header.index(each) for each in names if each in header), None)
            for name, names in COLUMNS.items()
        }
        if place["number"] is None or place["category"] is None:
            copy.notes.append(
                f"{file.path} has no columns 'category' and 'number' in its first row; sides, sexes and ages are "
                "missing."
            )
            continue
        for row in rows[1:]:
            cell = {name: None if at is None or at >= len(row) else row[at] for name, at in place.items()}
            if cell["number"] is None:
                continue
            key = _key(cell)
            about = {}
            side = str(cell["side"] or "").strip().lower()
            side = {"l": "left", "r": "right"}.get(side, side)
            if side in ("left", "right", "none"):
                about["side"] = side
            if cell["sex"]:
                sex = str(cell["sex"]).strip().lower()
                about["sex"] = {"m": "male", "f": "female"}.get(sex, sex)
            if isinstance(cell["age"], int | float):
                about["age"] = float(cell["age"])
            people[key] = about
    return people


def _key(cell: dict) -> str:
    category, grade = (str(cell[name] or "").strip().lower().replace(" ", "") for name in ("category", "grade"))
    number = int(cell["number"]) if isinstance(cell["number"], int | float) else str(cell["number"]).strip()
    if category == "normal":
        return f"normal{number}"
    return f"{grade.removesuffix(category).replace('-', '')}{category}{number}"


def _rows(copy: Copy, file) -> list[tuple] | None:
    # Only who has such a workbook waits for the import.
    from zipfile import BadZipFile

    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = load_workbook(copy.root / file.path, read_only=True, data_only=True)
        try:
            return list(book.worksheets[0].iter_rows(values_only=True))
        finally:
            book.close()
    except (OSError, BadZipFile, InvalidFileException, KeyError, ValueError):
        return None


DATA_SET = MEEI()
listing = DATA_SET.listing
