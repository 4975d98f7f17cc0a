"""Which clips of a cohort a study uses, and the class of each."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from faceneuro.errors import InputError
from faceneuro.tables import KEYS
from faceneuro.training.folds import SUBJECT, permute_labels

CLIP = list(KEYS[:3])


def usable_clips(
    manifest: pd.DataFrame,
    quality: pd.DataFrame,
    groups: Mapping[str, str],
    classes: Sequence[str],
    tasks: Sequence[str] | None,
    *,
    study: str,
    permute: int | None = None,
) -> pd.DataFrame:
    """Clips of a study with their class.

    Parameters
    ----------
    manifest, quality
        Tables of the cohort.
    groups
        The manifest's names of the groups that are the ``negative`` and the ``positive`` class.
    classes
        Negative and positive class, as the study calls them.
    tasks
        Tasks to use; none means all.
    study
        Its name, for messages.
    permute
        Seed of a negative control in which labels are permuted over subjects, see
        :func:`faceneuro.training.folds.permute_labels`; none means true labels.

    Returns
    -------
    Rows of the manifest whose recording is not unusable, with a column ``label``.

    Raises
    ------
    InputError
        If a class has no clip, or none that can be used, or a subject belongs to both classes.
    """
    chosen = manifest[manifest["group"].isin(groups.values())]
    for role, group in groups.items():
        if not (chosen["group"] == group).any():
            known = _listed(manifest["group"])
            raise InputError(
                f"config key studies.{study}.groups.{role}: no clip belongs to {group!r}; the manifest has {known}"
            )
    if tasks:
        chosen = chosen[chosen["task"].isin(tasks)]
    usable = chosen.merge(quality.loc[quality["verdict"] != "unusable", CLIP], on=CLIP)
    for role, group in groups.items():
        listed, left = (chosen["group"] == group).sum(), (usable["group"] == group).sum()
        if not listed:
            done = _listed(manifest.loc[manifest["group"] == group, "task"])
            raise InputError(f"config key studies.{study}.tasks: {group!r} did none of {_listed(tasks)}, but {done}")
        if not left:
            raise InputError(
                f"config key studies.{study}.groups.{role}: none of the {listed} clips of {group!r} can be used; "
                "the quality table says why, clip by clip"
            )
    class_of = {groups["negative"]: classes[0], groups["positive"]: classes[1]}
    usable = usable.assign(label=usable["group"].map(class_of))
    torn = usable.groupby(SUBJECT)["label"].nunique()
    if (torn > 1).any():
        cohort, subject = torn.index[torn > 1][0]
        raise InputError(
            f"the manifest of {cohort} puts subject {subject!r} into both {_listed(groups.values())}: "
            "correct it, or give the two persons different names"
        )
    if permute is None:
        return usable
    labels = permute_labels(usable.groupby(SUBJECT)["label"].first(), permute)
    return usable.drop(columns="label").merge(labels.reset_index(), on=SUBJECT)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(set(names) - {None, np.nan})) or "none"
