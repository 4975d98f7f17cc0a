"""The quality of all recordings, as a table to read."""

import os
from collections.abc import Sequence

import pandas as pd

from faceneuro.features.quality import VERDICTS, sentence
from faceneuro.report.tables import Table, write_files


def write_quality(cohorts: Sequence[pd.DataFrame], stem: str | os.PathLike) -> None:
    """Write the verdicts on every clip: all of them to the CSV, those that are not ok to the readable files.

    Parameters
    ----------
    cohorts
        Rows of :data:`faceneuro.tables.QUALITY`, one frame per cohort.
    stem
        Path without suffix.
    """
    quality = pd.concat(cohorts, ignore_index=True)
    counts = quality.groupby(["cohort", "verdict"]).size().unstack(fill_value=0).reindex(columns=VERDICTS, fill_value=0)
    lines = [[cohort, *map(str, row)] for cohort, row in zip(counts.index, counts.to_numpy(), strict=True)]
    tables = [Table("Clips", ["Cohort", *VERDICTS], lines)]
    flawed = quality[quality["verdict"] != "ok"].sort_values("verdict", ascending=False, kind="stable")
    if len(flawed):
        columns = ["cohort", "subject", "clip", "verdict", "reason"]
        tables.append(
            Table("What was wrong, and what to do", columns, flawed[columns].to_numpy().tolist(), len(columns))
        )
    lead = [f"{cohort}: {sentence(rows.to_dict('records'))}" for cohort, rows in quality.groupby("cohort", sort=False)]
    remarks = [
        "ok: measured in full. partial: measured, but not as it should be. unusable: left out of every study.",
        "detection_rate, in the CSV file, is the share of the kept frames in which a face was found.",
    ]
    write_files(stem, quality, "Quality of the recordings", lead, tables, remarks)
