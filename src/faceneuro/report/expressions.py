"""The table of the backbones that learn expressions before they see a patient."""

import os
from collections.abc import Mapping, Sequence

import pandas as pd

from faceneuro.report.tables import Table, write_files
from faceneuro.studies.expressions import EMOTIONS

TITLE = "Training on expressions, before the Parkinson study"

HELD_OUT = {
    "identities": "people of whom the backbone has seen no image",
    "images": "images, among which may be people that it has seen: nobody says who is in them",
    "test": "the images that the collection itself sets aside for tests",
}


def write_expressions(quality: Mapping[str, pd.DataFrame], held_out: str, origin: str, stem: str | os.PathLike) -> None:
    """Write how well each backbone tells the seven expressions apart.

    Parameters
    ----------
    quality
        By family of networks, from :func:`faceneuro.studies.expressions.quality`.
    held_out
        A key of :data:`HELD_OUT`.
    origin
        Whose faces they learnt from, for the reader.
    stem
        Path without suffix.
    """
    frame = pd.concat([part.assign(family=family, held_out=held_out) for family, part in quality.items()])
    first = next(iter(quality.values())).set_index("metric")
    lead = [
        f"Learnt from {origin}. Tested on {HELD_OUT[held_out]}.",
        f"**{next(iter(quality))} recognises {_share(first.loc['accuracy'])} of {first.loc['accuracy', 'n']} images "
        f"(chance: {1 / len(EMOTIONS):.2f}).**",
    ]
    shown = [*(f"recall/{emotion}" for emotion in EMOTIONS)]
    lines = [_line(family, part.set_index("metric"), shown) for family, part in quality.items()]
    header = ["Network", "Accuracy [95 %]", "Balanced accuracy [95 %]", *EMOTIONS]
    remarks = [
        "Balanced accuracy is the mean over expressions of the share that is recognised; the columns with names are "
        "these shares. Intervals are bootstrapped over people where they are known, otherwise over images.",
        "The images that are tested on are looked at once, after the last epoch: nothing is chosen by them.",
    ]
    write_files(stem, frame, TITLE, lead, [Table("Expressions told apart", header, lines)], remarks)


def _line(family: str, found: pd.DataFrame, shown: Sequence[str]) -> list[str]:
    recalls = ["" if pd.isna(found.loc[name, "value"]) else f"{found.loc[name, 'value']:.2f}" for name in shown]
    return [family, _share(found.loc["accuracy"]), _share(found.loc["balanced_accuracy"]), *recalls]


def _share(row: pd.Series) -> str:
    interval = "" if pd.isna(row["ci_low"]) else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"{row['value']:.2f}{interval}"
