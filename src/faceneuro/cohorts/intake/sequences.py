"""Sequences of stills from a neutral face to the height of an expression, as CK+ and Oulu-CASIA have them."""

from collections.abc import Iterator
from typing import Any

from faceneuro.cohorts.intake.clips import Clip
from faceneuro.cohorts.intake.data_set import Copy

FRAMES = {
    "frames": {"enum": ["ends", "all"], "default": "ends"},
    "apex": {"type": "integer", "minimum": 1, "default": 3},
}
"""Options: whether a sequence is used with its ends alone, and how many of its last pictures are the apex."""


def divided(clip: Clip, copy: Copy, neutral: dict[str, Any]) -> Iterator[Clip]:
    """A sequence as two clips: its first picture, which is neutral, and the expression.

    With the option ``frames: ends`` the expression is the last ``apex`` pictures, and those between are left out; with
    ``all`` it is everything behind the first. A single picture is the expression.

    Parameters
    ----------
    clip
        A sequence in order.
    copy
        Whose settings are looked at.
    neutral
        What the manifest is to say of the neutral clip, where it differs.
    """
    first, rest = clip.files[0], clip.files[1:]
    if not rest:
        yield clip
        return
    about = clip.about | {"task": "neutral"} | neutral
    yield Clip(clip.subject, f"{clip.clip}_neutral", [first], about, dict(clip.scores))
    used = rest if copy.settings["frames"] == "all" else rest[-copy.settings["apex"] :]
    if len(used) < len(rest):
        key = f"cohorts.{copy.cohort}.frames"
        copy.leave(rest[: -len(used)], f"between the neutral face and the apex; {key}: all uses it")
    clip.files = used
    yield clip
