"""What intake finds: clips, the files that are in none, and how that compares with what a data set should hold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faceneuro.cohorts.intake.tree import File, digest
from faceneuro.video import VIDEO_SUFFIXES

Row = dict[str, Any]

ABOUT = ("task", "group", "severity", "side", "age", "sex", "source")
"""What a manifest says of a clip beside its keys and its files."""


@dataclass
class Clip:
    """One recording: a video, a still, or a sequence of stills.

    Attributes
    ----------
    subject, clip
        Its keys.
    files
        In order of time.
    about
        Of :data:`ABOUT`, what is known.
    scores
        Clinical scores by name.
    """

    subject: str
    clip: str
    files: list[File]
    about: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    @property
    def is_video(self) -> bool:
        return self.files[0].suffix in VIDEO_SUFFIXES

    def row(self, root: Path) -> Row:
        """The clip as a row of :data:`faceneuro.tables.MANIFEST`, without the cohort."""
        one = len(self.files) == 1
        # The files of a sequence lie in one folder.
        folder, _, _ = self.files[0].path.rpartition("/")
        return {
            "subject": self.subject,
            "clip": self.clip,
            **{name: self.about.get(name) for name in ABOUT},
            "kind": "images" if not one else "video" if self.is_video else "image",
            "path": str(root / (self.files[0].path if one else folder)),
            "files": None if one else [file.path[len(folder) :].lstrip("/") for file in self.files],
            "scores": self.scores or None,
            "digest": digest(self.files),
            "problem": None,
        }


@dataclass(frozen=True)
class Count:
    """How many of something there are, and how many the data set's authors, or its papers, say there are.

    Attributes
    ----------
    what
        In words.
    found
        Number in this copy.
    expected
        Number in a whole copy; None where nobody says.
    """

    what: str
    found: int
    expected: int | None = None


@dataclass
class Listing:
    """A cohort as its adapter finds it.

    Attributes
    ----------
    clips
        Rows of :data:`faceneuro.tables.MANIFEST` without the cohort.
    title
        Name of the data set.
    left_out
        Why a file is in no clip, by its path below the root.
    in_clips
        Subject and clip of every other file, by its path below the root.
    others
        Of the files that are in no clip, those that may say something of one.
    counts
        What there is, beside what there should be.
    missing
        Subjects of a whole copy that have no clip here, as far as their names are known.
    notes
        Sentences that a reader must know: what the layout was guessed from, rows of a table that match nobody.
    sidecars
        By kind, the files that accompany recordings, with the fields that their paths gave.
    """

    clips: list[Row]
    title: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    in_clips: dict[str, tuple[str, str]] = field(default_factory=dict)
    others: list[File] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sidecars: dict[str, list[tuple[dict[str, str], File]]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A short name for the state of the copy: of its clips, of the other files, and of what is in none."""
        files = (File(path, 0, 0) for path in sorted(self.left_out))
        clips = (File(f"{row['subject']}/{row['clip']}/{row['digest']}", 0, 0) for row in self.clips)
        return digest([*clips, *self.others, *files])


def subjects(clips: Iterable[Clip], keep: Callable[[Clip], bool] = lambda clip: True) -> int:
    """How many people have a clip, of those that ``keep`` is true of."""
    return len({clip.subject for clip in clips if keep(clip)})


def pictures(clips: Iterable[Clip]) -> int:
    """How many stills there are."""
    return sum(len(clip.files) for clip in clips if not clip.is_video)


def usual_counts(clips: Sequence[Clip]) -> list[Count]:
    """People, clips and files, of which nobody says how many there should be."""
    return [
        Count("subjects", subjects(clips)),
        Count("clips", len(clips)),
        Count("files", sum(len(clip.files) for clip in clips)),
    ]
