"""Pictures of all rows, and histories of their training -> a grid of examples, and the loss curves."""

from pathlib import Path

import numpy as np
import pandas as pd

from faceneuro.features.crops import decode
from faceneuro.report.classification import cohort_note
from faceneuro.report.synthesis_figures import examples, loss_curves, sample_grid
from faceneuro.studies.synthesis import LINES, Faces, resampled
from faceneuro.synthesis import TRIVIAL
from faceneuro.synthesis.scoring import pictures_of_row
from faceneuro.tables import read_rows, read_table
from faceneuro.workflow import job

SHOWN = 6
"""Pairs in the grid."""

with job(snakemake):
    caption = f"{snakemake.params.cohort}: {cohort_note(snakemake.params.virtual, False)}"
    faces, pairs = Faces.load(snakemake.input.images, snakemake.input.faces), read_table(snakemake.input.pairs)
    style = pairs["style"].to_numpy()
    about = faces.keys.iloc[style].reset_index(drop=True)
    places = examples(pairs, about["severity"].to_numpy(float), SHOWN)
    models = dict(zip(snakemake.params.models, snakemake.input.there, strict=True))
    columns = {
        title: [np.asarray(faces.images[pairs.at[place, part]]) for place in places]
        for title, part in (("Identity", "identity"), ("Style", "style"))
    }
    for _, title, row in LINES:
        if row in models or row == "landmark_warp":
            there = models.get(row)
            drawn = pictures_of_row(row, faces, pairs, there, there)
            columns[title.removeprefix("Trivial: ").capitalize() if row in TRIVIAL else title] = [
                drawn.there(place) for place in places
            ]
    if targets := snakemake.input.get("targets") or None:
        pixels = faces.images.shape[1]
        rows = read_rows(targets, ["pair", "png"])
        known = {row["pair"]: resampled(decode(row["png"]), pixels) for row in rows if row["pair"] in places}
        columns["Exact target"] = [known.get(place) for place in places]
    words = [
        f"{row.task}, grade {row.severity:g}".removesuffix(", grade nan") for row in about.iloc[places].itertuples()
    ]
    sample_grid(columns, words, caption, Path(snakemake.output.grid[0]).with_suffix(""))
    histories = (pd.read_csv(path).assign(model=Path(path).parent.name) for path in snakemake.input.histories)
    loss_curves(pd.concat(histories, ignore_index=True), caption, Path(snakemake.output.losses[0]).with_suffix(""))
