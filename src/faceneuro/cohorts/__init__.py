"""Where recordings come from: one module per kind of cohort, each listing its clips in the same form.

A module of this package that can be named as ``kind`` in the configuration offers
``clips(cohort, settings) -> list of rows``: the columns of :data:`faceneuro.tables.MANIFEST`, as plain values. It is
imported at every start of Snakemake, so it imports nothing heavy.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

Row = dict[str, Any]


def shards(cohort: str, settings: Mapping[str, Any]) -> dict[str, list[Row]]:
    """All clips of a cohort, divided into shards of whole subjects.

    A shard is named after its subjects, so that a subject added at the end of a cohort leaves the other shards, and
    all that was computed from them, as they are.

    Parameters
    ----------
    cohort
        Its name in the configuration.
    settings
        Its block of the configuration.

    Returns
    -------
    Rows of the manifest by the name of their shard, subject by subject.

    Raises
    ------
    InputError
        If the settings or the files that they name cannot be used.
    """
    adapter = import_module(f"faceneuro.cohorts.{settings['kind']}")
    by_subject: dict[str, list[Row]] = {}
    for row in adapter.clips(cohort, settings):
        by_subject.setdefault(row["subject"], []).append({"cohort": cohort} | row)
    subjects, size = list(by_subject), settings["subjects_per_shard"]
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
