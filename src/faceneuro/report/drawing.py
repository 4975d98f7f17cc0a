"""The look of all figures, and how they are written.

Colours are those of Okabe and Ito, told apart by people with any colour vision; lines differ in style as well. The same
tables give the same files to the last byte.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.figure import Figure

from faceneuro.files import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")

STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "faceneuro",
    "svg.fonttype": "none",
    # Names of cohorts and studies are printed as they are, dollar signs included.
    "text.parse_math": False,
}


@contextmanager
def drawing(stem: str | os.PathLike, size: tuple[float, float], title: str, caption: str) -> Iterator[Figure]:
    """A figure to draw on, then written as PNG and SVG without a date in it.

    Parameters
    ----------
    stem
        Path without suffix; .png and .svg are written.
    size
        Width and height in inches.
    title, caption
        Lines above the figure: what it shows, and of whom.
    """
    with matplotlib.rc_context(STYLE):
        # Not pyplot: a figure by itself needs no display and is not kept in memory.
        figure = Figure(size, layout="constrained")
        figure.suptitle(f"{title}\n{caption}", fontsize=10)
        yield figure
        for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            with replacing(f"{os.fspath(stem)}.{suffix}") as part:
                figure.savefig(part, format=suffix, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
