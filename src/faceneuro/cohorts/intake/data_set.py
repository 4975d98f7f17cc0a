"""An adapter of a data set: from where a file lies and what it is called to the clip that it belongs to.

Every file gets one answer: a clip, or a reason why it is in none. That no file is in two clips and none is lost follows
from this, not from the care of the adapters.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from faceneuro.cohorts.intake import labels
from faceneuro.cohorts.intake.clips import Clip, Count, Listing, usual_counts
from faceneuro.cohorts.intake.templates import compile_template, fields_of, match
from faceneuro.cohorts.intake.tree import File, walk
from faceneuro.errors import InputError
from faceneuro.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, natural

T = TypeVar("T")
Settings = Mapping[str, Any]
Fields = Mapping[str, str]

COMMON = {
    "root": {"type": "string", "minLength": 1},
    "labels": {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True, "default": []},
    "severity": {"type": ["string", "null"], "minLength": 1, "default": None},
    "subjects": {
        "anyOf": [
            {"type": "null"},
            {"type": "integer", "minimum": 1},
            {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
        ],
        "default": None,
    },
    "layout": {"type": ["array", "null"], "items": {"type": "string"}, "minItems": 1, "default": None},
    "rename": {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
        "default": {},
    },
    "subjects_per_shard": {"type": "integer", "minimum": 1, "default": 1},
}
"""Settings of every data set as JSON schemas; one without a default is required. docs/data-sets.md explains them."""


class Leave(Exception):
    """A file is in no clip; the text says why."""


@dataclass
class Place:
    """Where a file belongs.

    Attributes
    ----------
    subject, clip
        Keys of the clip.
    order
        Place among the files of the clip, ordered as numbers where it has digits; empty if the clip is this one file.
    about
        Of :data:`faceneuro.cohorts.intake.clips.ABOUT`, what the path says.
    """

    subject: str
    clip: str
    order: str = ""
    about: dict[str, Any] = field(default_factory=dict)


@dataclass
class Copy:
    """Somebody's copy of a data set while it is being read.

    Attributes
    ----------
    cohort
        Its name in the configuration, for messages.
    root
        The folder.
    settings
        Its block of the configuration, defaults included.
    sidecars
        By kind, the files that accompany recordings, with the fields that their paths gave.
    left_out
        Why a file is in no clip, by path.
    notes
        Sentences for the reader.
    """

    cohort: str
    root: Path
    settings: Settings
    sidecars: dict[str, list[tuple[Fields, File]]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _made: dict[Callable, Any] = field(default_factory=dict)

    def leave(self, files: Iterable[File], reason: str) -> None:
        """Say why files are in no clip."""
        self.left_out |= dict.fromkeys((file.path for file in files), reason)

    def once(self, make: Callable[["Copy"], T]) -> T:
        """What a function makes of this copy, made when it is first asked for."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]

    def text(self, file: File) -> str:
        """What a small text file says; nothing, with a note, if it cannot be read."""
        try:
            return (self.root / file.path).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.notes.append(f"{file.path} could not be read ({error}); what it says of its clip is missing.")
            return ""


class _Found(dict[str, str]):
    """Fields of a path. A layout of the user's own may lack one that the adapter cannot do without."""

    def __init__(self, fields: Fields, key: str, title: str):
        super().__init__(fields)
        self._key, self._title = key, title

    def __missing__(self, name: str) -> str:
        raise InputError(f"{self._key}: a template has no field {name!r}, which {self._title} needs; add it")


class DataSet:
    """Base of all adapters: a title, templates of paths, and :meth:`describe`. The rest is for those that need it.

    Attributes
    ----------
    title
        Name of the data set.
    layout
        Templates of recordings' paths (:func:`faceneuro.cohorts.intake.templates.compile_template`), tried in turn.
    guessed
        What of the layout could not be established, as a sentence; empty if nothing.
    words
        By field, what a word in a path means. With ``open_words`` words that are not known stay as they are.
    sidecars
        By kind, template and what becomes of such a file, as a reason why it is in no clip.
    options
        Settings of this data set alone, as in :data:`COMMON`.
    roster
        Names of the subjects of a whole copy, if they are known.
    """

    title: ClassVar[str]
    layout: ClassVar[Sequence[str]]
    guessed: ClassVar[str] = ""
    words: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    open_words: ClassVar[frozenset[str]] = frozenset()
    sidecars: ClassVar[Mapping[str, tuple[str, str]]] = {}
    options: ClassVar[Mapping[str, Any]] = {}
    roster: ClassVar[Sequence[str]] = ()

    def describe(self, found: Fields, file: File, settings: Settings) -> Place:
        """Where a recording belongs whose path fits the layout.

        Parameters
        ----------
        found
            Fields of the path. Those that :attr:`words` has a vocabulary for are translated.
        file
            The recording.
        settings
            Of the cohort, defaults included.

        Raises
        ------
        Leave
            If it is not to be used.
        """
        raise NotImplementedError

    def arrange(self, clip: Clip, copy: Copy) -> Iterable[Clip]:
        """Divide a clip, add what sidecars say of it, or leave files of it out by ``copy.leave``."""
        return [clip]

    def count(self, clips: Sequence[Clip]) -> list[Count]:
        """What there is beside what there should be; of the copy as a whole, before ``subjects`` takes some of it."""
        return usual_counts(clips)

    def examine(self, listing: Listing, root: Path) -> list[str]:
        """Sentences about the copy that take more than a look at names; asked for by the intake alone."""
        return []

    def settings_schema(self) -> dict[str, Any]:
        """JSON schema of a cohort of this kind."""
        properties = {"kind": {"type": "string"}} | COMMON | dict(self.options)
        return {
            "type": "object",
            "additionalProperties": False,
            "required": [name for name, schema in properties.items() if "default" not in schema],
            "properties": properties,
        }

    def complete(self, settings: Settings) -> dict[str, Any]:
        """Settings with the defaults of what they do not name."""
        properties = COMMON | dict(self.options)
        return {name: each["default"] for name, each in properties.items() if "default" in each} | dict(settings)

    def listing(self, cohort: str, settings: Settings) -> Listing:
        """Read a copy: every file below the root is in one clip, or has a reason why it is in none.

        Nothing is written, no link is followed, and of the files themselves only sidecars are opened.

        Parameters
        ----------
        cohort
            Its name in the configuration.
        settings
            Its block of the configuration.

        Raises
        ------
        InputError
            If the root is no folder, nothing in it fits the layout, or a setting or a table of labels cannot be used.
        """
        settings = self.complete(settings)
        root = Path(settings["root"])
        if not root.is_dir():
            raise InputError(
                f"config key cohorts.{cohort}.root: there is no folder {root}; give the folder of your copy of "
                f"{self.title}, for instance on the command line: --config root=/path/to/it"
            )
        copy, tree = Copy(cohort, root, settings), walk(root)
        copy.left_out |= tree.left_out
        clips = self._clips(tree.files, copy)
        clips = [part for clip in clips for part in self.arrange(clip, copy)]
        if not clips:
            raise InputError(self._nothing(copy))
        listing = Listing([], self.title, copy.left_out, counts=self.count(clips))
        present = {clip.subject for clip in clips}
        listing.missing = [name for name in self.roster if name not in present]
        # What matches nobody is said of the copy, not of the part of it that is used.
        notes = labels.join(cohort, clips, settings["labels"], settings["severity"])
        clips = self._chosen(clips, copy)
        listing.notes = [*([self.guessed] if self.guessed and settings["layout"] is None else []), *copy.notes, *notes]
        clips.sort(key=lambda clip: (natural(clip.subject), natural(clip.clip)))
        listing.clips = [clip.row(root) for clip in clips]
        listing.sidecars = copy.sidecars
        listing.in_clips = {file.path: (clip.subject, clip.clip) for clip in clips for file in clip.files}
        listing.others = [file for file in tree.files if file.path not in listing.in_clips]
        return listing

    def _clips(self, files: Sequence[File], copy: Copy) -> list[Clip]:
        layout = [compile_template(template) for template in self._templates(copy)]
        beside = {kind: (compile_template(each), reason) for kind, (each, reason) in self.sidecars.items()}
        words = {name: self._vocabulary(name, copy.settings) for name in {*self.words, *copy.settings["rename"]}}
        clips: dict[tuple[str, str], Clip] = {}
        taken: dict[tuple[str, str, str], File] = {}
        for file in files:
            try:
                place = self._place(file, layout, beside, words, copy)
                # Two recordings of one place would be one person's same moment twice.
                part = (place.subject, place.clip, place.order.lower())
                if part in taken:
                    raise Leave(f"{taken[part].path} is this part of clip {place.clip!r} of {place.subject!r} already")
                clip = clips.setdefault((place.subject, place.clip), Clip(place.subject, place.clip, [], place.about))
                self._check_fit(file, place, clip)
                taken[part] = file
            except Leave as reason:
                copy.left_out[file.path] = str(reason)
            else:
                clip.files.append(file)
        orders = {file.path: natural(order) for (_, _, order), file in taken.items()}
        for clip in clips.values():
            clip.files.sort(key=lambda file: orders[file.path])
        return [clip for clip in clips.values() if clip.files]

    def _templates(self, copy: Copy) -> Sequence[str]:
        own, known = copy.settings["layout"], set().union(*map(fields_of, self.layout))
        if unknown := set(copy.settings["rename"]) - known:
            raise InputError(
                f"config key cohorts.{copy.cohort}.rename: {self.title} has no field {min(unknown)!r}; known are "
                f"{', '.join(sorted(known))}"
            )
        if own is None:
            return self.layout
        for template in own:
            try:
                compile_template(template)
            except InputError as error:
                raise InputError(f"config key cohorts.{copy.cohort}.layout: {error}") from None
            if unknown := fields_of(template) - known:
                raise InputError(
                    f"config key cohorts.{copy.cohort}.layout: {template!r} has a field {min(unknown)!r} that "
                    f"{self.title} does not know; known are {', '.join(sorted(known))}"
                )
        return own

    def _vocabulary(self, name: str, settings: Settings) -> dict[str, str]:
        return dict(self.words.get(name, {})) | {
            word.lower(): meaning for word, meaning in settings["rename"].get(name, {}).items()
        }

    def _place(self, file: File, layout, beside, words: Mapping[str, Mapping[str, str]], copy: Copy) -> Place:
        stem = file.path[: len(file.path) - len(file.suffix)]
        if file.suffix not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            for kind, (template, reason) in beside.items():
                if fields := template.fullmatch(stem):
                    copy.sidecars.setdefault(kind, []).append((fields.groupdict(), file))
                    raise Leave(reason)
            raise Leave(f"the ending {file.suffix or '(none)'!r} is not one of a video or an image")
        unknown = None
        for pattern in layout:
            found = match([pattern], stem)
            if found is None:
                continue
            try:
                found = self._translated(found, words, copy)
            except Leave as reason:
                # The next template may read the path better: the folder that this one asks for may lie further up.
                unknown = unknown or reason
            else:
                return self.describe(found, file, copy.settings)
        raise unknown or Leave(f"path and name do not fit the layout of {self.title}")

    def _translated(self, found: dict[str, str], words: Mapping[str, Mapping[str, str]], copy: Copy) -> Fields:
        for name, vocabulary in words.items():
            # A template need not have every field.
            if found.get(name) is None:
                continue
            word = found[name]
            if word.lower() in vocabulary:
                found[name] = vocabulary[word.lower()]
            elif name in self.open_words:
                found[name] = word.lower()
            elif name in self.words:
                raise Leave(
                    f"{word!r} is no {name} of {self.title} that is known; cohorts.{copy.cohort}.rename.{name} can "
                    "say what it means"
                )
        return _Found(found, f"config key cohorts.{copy.cohort}.layout", self.title)

    def _check_fit(self, file: File, place: Place, clip: Clip) -> None:
        """The files of a clip are stills in one folder, or one file."""
        if not clip.files:
            return
        first = clip.files[0]
        if file.suffix in VIDEO_SUFFIXES or first.suffix in VIDEO_SUFFIXES:
            raise Leave(f"clip {place.clip!r} of {place.subject!r} is the video or pictures of {first.path} already")
        folder = first.path.rpartition("/")[0]
        if file.path.rpartition("/")[0] != folder:
            raise Leave(f"clip {place.clip!r} of {place.subject!r} is in {folder or 'the root folder'} already")

    def _chosen(self, clips: list[Clip], copy: Copy) -> list[Clip]:
        chosen = copy.settings["subjects"]
        if chosen is None:
            return clips
        names = sorted({clip.subject for clip in clips}, key=natural)
        if isinstance(chosen, int):
            count = min(chosen, len(names))
            # Spread over the data set, because neighbouring names were often recorded together.
            wanted = {names[(2 * place + 1) * len(names) // (2 * count)] for place in range(count)}
        else:
            wanted = set(chosen)
            if unknown := sorted(wanted - set(names)):
                raise InputError(
                    f"config key cohorts.{copy.cohort}.subjects: this copy has no subject {unknown[0]!r}; it has "
                    f"{', '.join(names[:8])}{' and others' if len(names) > 8 else ''}"
                )
        for clip in clips:
            if clip.subject not in wanted:
                copy.leave(clip.files, f"the subject is not one of those that cohorts.{copy.cohort}.subjects takes")
        return [clip for clip in clips if clip.subject in wanted]

    def _nothing(self, copy: Copy) -> str:
        reasons: dict[str, list[str]] = {}
        for path, reason in copy.left_out.items():
            reasons.setdefault(reason, []).append(path)
        if not reasons:
            return f"config key cohorts.{copy.cohort}.root: the folder {copy.root} is empty; give that of your copy"
        reason, paths = max(reasons.items(), key=lambda each: len(each[1]))
        return (
            f"config key cohorts.{copy.cohort}.root: nothing in {copy.root} is a recording of {self.title}; of "
            f"{len(copy.left_out)} files, {len(paths)} such as {min(paths)}: {reason}. The layout expected is "
            f"{' or '.join(self._templates(copy))}; cohorts.{copy.cohort}.layout can name another"
        )
