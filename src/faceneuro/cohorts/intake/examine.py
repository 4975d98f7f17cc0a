"""Look through a copy of a data set before any work: what it holds and lacks, and which of its files look wrong."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from faceneuro import cohorts
from faceneuro.cohorts.intake.clips import Listing
from faceneuro.video import IMAGE_SUFFIXES

Row = dict[str, Any]

HEAD = 4096
"""Bytes at the start of a file that are read of each; more only of files that agree in these and in size."""

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF")
"""How images begin: JPEG, PNG, BMP, WebP."""

TIFF = {b"II*\0": "little", b"MM\0*": "big"}
"""How a TIFF image begins, and the order of the bytes in its numbers."""

ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND"}
"""What is in the last bytes of a whole image."""

NAMED_AT_MOST = 5


def examine(listing: Listing, settings: Mapping[str, Any]) -> tuple[list[Row], list[Row]]:
    """Account for every file of a copy, and sum up what was found.

    Files are read as far as it takes to see that an image begins and ends like one, and that no two clips share a
    file's content.

    Parameters
    ----------
    listing
        Of the cohort.
    settings
        Its block of the configuration.

    Returns
    -------
    files
        Rows of :data:`faceneuro.tables.FILES` without the cohort, by path.
    findings
        Rows of :data:`faceneuro.tables.INTAKE` without the cohort: counts, missing subjects, reasons why files are left
        out, and sentences.
    """
    files = [
        *({"path": path, "subject": clip[0], "clip": clip[1]} for path, clip in listing.in_clips.items()),
        *({"path": path, "reason": reason} for path, reason in listing.left_out.items()),
    ]
    adapter = cohorts.data_set(settings["kind"])
    own = adapter.examine(listing, Path(settings["root"])) if adapter is not None else []
    reasons: dict[str, int] = {}
    for reason in listing.left_out.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    findings = [
        *(
            {"section": "count", "what": each.what, "found": each.found, "expected": each.expected}
            for each in listing.counts
        ),
        *({"section": "missing", "what": name} for name in listing.missing),
        *({"section": "left_out", "what": reason, "found": number} for reason, number in sorted(reasons.items())),
        *({"section": "note", "what": note} for note in [*listing.notes, *own, *_contents(listing, settings["root"])]),
    ]
    return sorted(files, key=lambda row: row["path"]), [{"title": listing.title} | row for row in findings]


def _contents(listing: Listing, root: str) -> Iterator[str]:
    """Sentences about files that are empty, no whole images, or the same as another."""
    empty, broken = [], []
    alike: dict[tuple[int, bytes], list[str]] = {}
    for path in listing.in_clips:
        try:
            with Path(root, path).open("rb") as file:
                head = file.read(HEAD)
                size = file.seek(0, 2)
                file.seek(max(size - 64, 0))
                tail = file.read()
        except OSError:
            continue  # Decoding says of every clip why it cannot be read.
        if not size:
            empty.append(path)
            continue
        if Path(path).suffix.lower() in IMAGE_SUFFIXES and not _whole(head, tail, size):
            broken.append(path)
        alike.setdefault((size, hashlib.blake2b(head, digest_size=16).digest()), []).append(path)
    yield from _named(empty, "{} empty: copy {} again")
    yield from _named(broken, "{} not whole as images: copy {} again")
    yield from _copies(alike.values(), listing, root)


def _whole(head: bytes, tail: bytes, size: int) -> bool:
    if head[:4] in TIFF:
        # Where the description of the picture begins; most programs write it last.
        return int.from_bytes(head[4:8], TIFF[head[:4]]) < size
    for signature in SIGNATURES:
        if head.startswith(signature):
            return ENDS.get(signature, b"") in tail
    return False


def _copies(alike: Iterable[Sequence[str]], listing: Listing, root: str) -> Iterator[str]:
    """Files of different clips with the same content; of different people is the graver case."""
    same: dict[bool, list[str]] = {True: [], False: []}
    for paths in alike:
        if len({listing.in_clips[path] for path in paths}) < 2:
            continue
        first: dict[str, str] = {}
        for path in paths:
            other = first.setdefault(_hash(Path(root, path)), path)
            if listing.in_clips[other] != listing.in_clips[path]:
                same[listing.in_clips[other][0] == listing.in_clips[path][0]].append(f"{other} = {path}")
    yield from _named(
        same[False],
        "{} the same as one of another person: whoever is tested may have been learnt from; remove {} or correct the "
        "names",
    )
    yield from _named(
        same[True], "{} the same as one of another clip of the same person: remove {}, if that is a mistake"
    )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _named(paths: Sequence[str], sentence: str) -> Iterator[str]:
    if paths:
        files, them = ("1 file is", "it") if len(paths) == 1 else (f"{len(paths)} files are", "them")
        more = f" and {len(paths) - NAMED_AT_MOST} more" if len(paths) > NAMED_AT_MOST else ""
        yield f"{sentence.format(files, them)} ({', '.join(paths[:NAMED_AT_MOST])}{more})."
