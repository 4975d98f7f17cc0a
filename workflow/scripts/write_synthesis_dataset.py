"""Synthetic faces -> a data set to give away, or not: pictures, a table, a datasheet, examples."""

from pathlib import Path

import numpy as np
import pandas as pd

from faceneuro import __version__
from faceneuro.features.crops import decode
from faceneuro.report.classification import cohort_note
from faceneuro.report.synthesis_figures import sample_grid
from faceneuro.studies.synthesis import Faces
from faceneuro.synthesis.dataset import copy_pictures, folder_of, licence_note, metadata_of, write_datasheet
from faceneuro.tables import read_table
from faceneuro.workflow import job

ACROSS, DOWN = 8, 6
"""Pictures in the grid."""

with job(snakemake):
    settings, output = snakemake.params, snakemake.output
    faces, pairs = Faces.load(snakemake.input.images, snakemake.input.faces), read_table(snakemake.input.pairs)
    index = read_table(snakemake.input.index)
    images = Path(output.images)
    copy_pictures(index, folder_of(snakemake.input.index), images)
    table = metadata_of(index, pairs, faces)
    table.to_csv(output.csv, index=False, lineterminator="\n")
    table.to_parquet(output.parquet, index=False)
    quality = [pd.read_csv(path) for path in snakemake.input.quality]
    known = pd.concat(quality) if quality else pd.DataFrame(columns=["network", "metric", "value", "chance"])
    files = [f"{kind} ({Path(path).name})" for kind, path in settings.extractors.items() if path]
    licence = licence_note(settings.virtual, settings.cohort, files)
    facts = {
        "Made by": f"faceneuro {__version__}, generator {index['row'].iloc[0]}, size {index['size'].iloc[0]}",
        "Picture": f"{faces.images.shape[1]} x {faces.images.shape[1]} pixels, face aligned",
        "Training": f"{settings.steps} steps, seed {settings.seed}"
        + (", as the public code has it" if settings.as_released else ""),
        "Learnt from": f"{faces.role('train').sum()} pictures of {len(np.unique(faces.person[faces.role('train')]))} "
        f"people of cohort {settings.cohort} ({cohort_note(settings.virtual, False)})",
        "Sampling": f"DDIM, {index['steps'].iloc[0]} steps, eta {index['eta'].iloc[0]:g}, seed {index['seed'].iloc[0]}",
    }
    write_datasheet(table, facts, licence, output.datasheet, known)
    shown = min(ACROSS * DOWN, len(index)) // ACROSS * ACROSS or len(index)
    across = min(ACROSS, shown)
    pictures = [decode((images / file).read_bytes()) for file in index["file"][:shown]]
    columns = {str(number + 1): pictures[number::across] for number in range(across)}
    lines = [f"{start + 1} to {start + across}" for start in range(0, shown, across)]
    caption = f"{settings.cohort}: {cohort_note(settings.virtual, False)}"
    sample_grid(columns, lines, caption, Path(output.grid[0]).with_suffix(""))
