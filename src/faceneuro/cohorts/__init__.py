"""Where recordings come from: one module per kind of cohort, each listing its clips in the same form.

Every module of this package can be named as ``kind`` in the configuration, and offers ``listing(cohort, settings)``,
see :class:`faceneuro.cohorts.intake.clips.Listing`. A module of a data set has its adapter as ``DATA_SET``, see
:class:`faceneuro.cohorts.intake.data_set.DataSet`. They are imported at every start of Snakemake, so they import
nothing heavy.
"""

import hashlib
import pkgutil
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from faceneuro.cohorts.intake.clips import Listing, Row
from faceneuro.cohorts.intake.data_set import DataSet


def kinds() -> list[str]:
    """What a cohort can be."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "intake")


def data_set(kind: str) -> DataSet | None:
    """The adapter of a data set; None for virtual patients and for recordings listed by hand."""
    return getattr(import_module(f"faceneuro.cohorts.{kind}"), "DATA_SET", None)


def listing(cohort: str, settings: Mapping[str, Any]) -> Listing:
    """What a cohort consists of.

    Parameters
    ----------
    cohort
        Its name in the configuration.
    settings
        Its block of the configuration.

    Raises
    ------
    InputError
        If the settings or the files that they name cannot be used.
    """
    return import_module(f"faceneuro.cohorts.{settings['kind']}").listing(cohort, settings)


def shards(cohort: str, clips: Iterable[Row], subjects_per_shard: int) -> dict[str, list[Row]]:
    """The clips of a cohort, divided into shards of whole subjects.

    A shard is named after its subjects, so that a subject added at the end of a cohort leaves the other shards, and
    all that was computed from them, as they are.

    Parameters
    ----------
    cohort
        Its name in the configuration.
    clips
        Of a :class:`~faceneuro.cohorts.intake.clips.Listing`.
    subjects_per_shard
        How many subjects share a shard.

    Returns
    -------
    Rows of the manifest by the name of their shard, subject by subject.
    """
    by_subject: dict[str, list[Row]] = {}
    for row in clips:
        by_subject.setdefault(row["subject"], []).append({"cohort": cohort} | row)
    subjects, size = list(by_subject), subjects_per_shard
    groups = [subjects[start : start + size] for start in range(0, len(subjects), size)]
    return {shard_name(group): [row for subject in group for row in by_subject[subject]] for group in groups}


def shard_name(subjects: Sequence[str]) -> str:
    """A file name for a group of subjects: readable, safe on every file system, different for different groups."""
    first, last = _slug(subjects[0]), _slug(subjects[-1])
    if len(subjects) == 1 and first == subjects[0]:
        return first
    digest = hashlib.sha256("\0".join(subjects).encode()).hexdigest()[:6]
    return "-".join([first, digest] if len(subjects) == 1 else [first, last, digest])


def _slug(subject: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", subject).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "_", ascii_only).strip("_") or "subject"
