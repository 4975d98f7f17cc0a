"""Measurement validation, as a table to read."""

import os
from collections.abc import Sequence

import pandas as pd

from faceneuro.report.tables import Table, write_files

QUANTITIES = {"slope": "slope", "r": "r", "mae": "MAE, % of iris distance", "leak": "leak, % of iris distance"}


def write_validation(found: pd.DataFrame, stem: str | os.PathLike, photographed: Sequence[str] = ()) -> None:
    """Write how well measured excursions follow the true ones.

    Parameters
    ----------
    found
        From :func:`faceneuro.evaluation.measurement.validate`.
    stem
        Path without suffix.
    photographed
        Virtual cohorts that are left out because they are not filmed.
    """
    tables = []
    for cohort, of_cohort in found.groupby("cohort", sort=False):
        lines = []
        for (measure, side), rows in of_cohort.groupby(["measure", "side"], sort=False):
            cells = rows.set_index("quantity")
            lines.append(
                [measure, side, *(_cell(cells, quantity) for quantity in QUANTITIES), str(cells["n_frames"].max())]
            )
        header = ["Measure", "Side", *QUANTITIES.values(), "frames"]
        subjects = of_cohort["n_subjects"].max()
        tables.append(Table(f"{cohort}, {subjects} virtual patients", header, lines, 2))
    lead = [
        "Virtual patients: what the pipeline measured in their recordings against what their faces did. In brackets: "
        "95 % intervals, bootstrapped over subjects."
    ]
    remarks = [
        "Excursions are differences from the rest at the start of a clip, in a frame fixed to the irises, in percent "
        "of the distance between them. Left and right are the patient's.",
        "slope: measured on true; 1 is faithful, less is under-reading. r: Pearson correlation. MAE: mean absolute "
        "error.",
        "leak: mean absolute excursion measured on a side that is still (under 2 %) while the other moves (over 5 %); "
        "empty where no frame is such.",
        "A measure that a cohort's tasks hardly use has little true movement to follow, and so a low r.",
    ]
    if photographed:
        remarks.append(f"Not in the table: {', '.join(photographed)}. A photograph has no rest to measure from.")
    write_files(stem, found, "Measurement validation", lead, tables, remarks)


def _cell(cells: pd.DataFrame, quantity: str) -> str:
    if quantity not in cells.index or pd.isna(cells.loc[quantity, "value"]):
        return ""
    row = cells.loc[quantity]
    interval = "" if pd.isna(row["ci_low"]) else f" [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
    return f"{row['value']:.2f}{interval}"
