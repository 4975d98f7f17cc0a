"""Whether a clip can be relied upon, and why not: a verdict in one word and its reason in plain ones."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

VERDICTS = ("ok", "partial", "unusable")
NAMED_AT_MOST = 5


def assess(
    clip: Mapping[str, Any],
    decoding: Mapping[str, Any] | None,
    found: Sequence[bool],
    faces: Sequence[int],
    detection_rate: float = 0.9,
    crowded_rate: float = 0.05,
    frames_needed: int = 2,
    label_needed: bool = True,
) -> dict[str, Any]:
    """Judge one clip.

    Unusable is a clip with nothing to measure: left out beforehand, unread, without a face, or with too few frames.
    Partial is one that was measured, but not as it should be. All reasons are given, the gravest first.

    Parameters
    ----------
    clip
        Its row of :data:`faceneuro.tables.MANIFEST`.
    decoding
        Its row of :data:`faceneuro.tables.DECODING`; None if it was never opened.
    found, faces
        Of every kept frame: whether a face was found, and how many.
    detection_rate
        Share of frames with a face below which a clip is partial.
    crowded_rate
        Share of frames with more than one face above which it is.
    frames_needed
        Frames below which nothing can be measured: 2 for a movement, 1 for stills.
    label_needed
        Whether a clip without group and severity is partial, as it is in a cohort that studies learn from.

    Returns
    -------
    A row of :data:`faceneuro.tables.QUALITY`; ``reason`` is None for an ok clip.
    """
    met = decoding or {}
    kept, hits = len(found), int(np.count_nonzero(found))
    rate = hits / kept if kept else None
    error = clip.get("problem") or met.get("error")

    grave, slight = [], []
    if kept == 0:
        grave.append(error or "no frame was read; check that the file plays")
    elif hits == 0:
        grave.append(
            f"no face was found in any of {_count(kept, 'frame')}; check that the face is upright, lit and at least an "
            "eighth of the picture wide"
        )
    elif kept < frames_needed:
        grave.append(
            f"only {_count(kept, 'frame')}, and a movement needs {frames_needed}; record longer, or select more frames"
        )
    if error and kept:
        slight.append(error)
    if hits and rate < detection_rate:
        slight.append(
            f"a face was found in only {hits} of {kept} frames ({rate:.0%}); check light, distance and whether "
            "the head turns away"
        )
    crowd = int(np.count_nonzero(np.asarray(faces) > 1))
    if kept and crowd / kept > crowded_rate:
        slight.append(
            f"more than one face in {crowd} of {kept} frames, the largest was measured; crop the recording to "
            "the subject"
        )
    if label_needed and clip.get("group") is None and clip.get("severity") is None:
        slight.append(
            "neither group nor severity is given: measured, but left out of every study; add them to the list"
        )
    reasons = grave + slight
    return {
        **{name: clip.get(name) for name in ("cohort", "subject", "clip", "task", "group")},
        "frames_read": met.get("frames_read") or 0,
        "frames_kept": kept,
        "faces_found": hits,
        "detection_rate": rate,
        "rotation": met.get("rotation"),
        "variable_frame_rate": met.get("variable_frame_rate"),
        "verdict": VERDICTS[2] if grave else VERDICTS[1] if slight else VERDICTS[0],
        "reason": ". Also: ".join(reasons) or None,
    }


def assess_cohort(
    manifest: pd.DataFrame, decoding: pd.DataFrame, landmarks: pd.DataFrame, *, frames_needed: int = 2, **limits: float
) -> list[dict[str, Any]]:
    """Judge every clip of a manifest; none is left out, whatever happened to it.

    Parameters
    ----------
    manifest, decoding
        Tables of these names.
    landmarks
        Columns cohort, subject, clip, found and faces of the landmark table.
    frames_needed
        Of a recording; a still needs one.
    **limits
        Other limits of :func:`assess`.

    Returns
    -------
    Rows of :data:`faceneuro.tables.QUALITY`, in the order of the manifest.
    """
    keys = ["cohort", "subject", "clip"]
    met = {tuple(row[key] for key in keys): row for row in _records(decoding)}
    seen = {key: (part["found"].to_numpy(), part["faces"].to_numpy()) for key, part in landmarks.groupby(keys)}
    rows = []
    for clip in _records(manifest):
        key = tuple(clip[name] for name in keys)
        found, faces = seen.get(key, ((), ()))
        needed = 1 if clip["kind"] == "image" else frames_needed
        rows.append(assess(clip, met.get(key), found, faces, frames_needed=needed, **limits))
    return rows


def accepted(verdict: str, least: str) -> bool:
    """Whether a verdict is as good as the least that is asked for.

    Parameters
    ----------
    verdict, least
        Of :data:`VERDICTS`.
    """
    return VERDICTS.index(verdict) <= VERDICTS.index(least)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values, with None for what pandas calls missing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sentence(rows: Iterable[Mapping[str, Any]]) -> str:
    """Sum up a quality table for the end of a run, and name the clips that are not ok, the unusable ones first.

    Parameters
    ----------
    rows
        Of :data:`faceneuro.tables.QUALITY`.
    """
    rows = list(rows)
    of = {verdict: [row for row in rows if row["verdict"] == verdict] for verdict in VERDICTS}
    text = f"{_count(len(rows), 'clip')}: " + ", ".join(f"{len(of[verdict])} {verdict}" for verdict in VERDICTS)
    named = [f"{row['subject']}/{row['clip']}: {row['reason']}" for row in of["unusable"] + of["partial"]]
    if not named:
        return text + "."
    if len(named) > NAMED_AT_MOST:
        named[NAMED_AT_MOST:] = [f"and {len(named) - NAMED_AT_MOST} more, see the quality table"]
    return f"{text} ({'; '.join(named)})."
