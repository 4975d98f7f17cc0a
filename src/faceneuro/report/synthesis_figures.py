"""Figures of the synthesis study: what every row makes of some pairs, and how the losses fell."""

import os
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.ticker import LogFormatter

from faceneuro.report.drawing import COLOURS, DASHES, drawing

RGB = npt.NDArray[np.uint8]

TILE = 1.05
"""Width and height of a picture in inches."""

WRAPPED = 16
"""Characters of a title above a picture that fit on a line."""

POINTS = 200
"""Of a curve at most: each is the mean over as many steps as that takes."""

PANELS = {
    "loss": "weighted sum",
    "noise": "noise",
    "identity": "identity",
    "landmarks": "landmarks",
    "gradient": "norm of the gradient",
}
"""Columns of a history that are drawn, as far as a row has them, and what they are called."""


def examples(pairs: pd.DataFrame, grades: npt.ArrayLike, count: int) -> list[int]:
    """Pairs to show: from the mildest palsy to the most severe, each of another patient as far as there are so many.

    Parameters
    ----------
    pairs
        Rows of :data:`faceneuro.tables.PAIRS`.
    grades
        Of the style of each, shape (len(pairs),), NaN where unknown.
    count
        How many.

    Returns
    -------
    Positions in the table, by grade.
    """
    table = pd.DataFrame({"grade": np.asarray(grades, float)})
    people = [pairs[f"style_{name}"].to_numpy() for name in ("cohort", "subject")]
    # The first pair of everybody, then the second of everybody.
    table["turn"] = table.groupby(people).cumcount()
    first = table.sort_values(["turn", "grade"], kind="stable").index
    enough = first[: max(count, int((table["turn"] == 0).sum()))]
    by_grade = table.loc[enough].sort_values("grade", kind="stable").index
    places = np.linspace(0, len(by_grade) - 1, min(count, len(by_grade))).round().astype(int)
    return by_grade[places].tolist()


def sample_grid(
    columns: Mapping[str, Sequence[RGB | None]],
    captions: Sequence[str],
    caption: str,
    stem: str | os.PathLike,
) -> None:
    """Pictures side by side, a line per pair.

    Parameters
    ----------
    columns
        By title (identity, style, the name of a row, exact target): a picture per pair, or None where there is none.
    captions
        Of the pairs.
    caption
        What a reader must know about the people shown; part of the title.
    stem
        Path without suffix; .png and .svg are written.

    Raises
    ------
    ValueError
        If a column has not a picture, or none, for every pair.
    """
    for title, pictures in columns.items():
        if len(pictures) != len(captions):
            raise ValueError(f"{title}: {len(pictures)} pictures of {len(captions)} pairs")
    size = (TILE * len(columns) + 1.2, TILE * len(captions) + 1.2)
    with drawing(stem, size, "Whose face, whose palsy, and what is made of them", caption) as figure:
        panels = figure.subplots(len(captions), len(columns), squeeze=False)
        for column, (title, pictures) in enumerate(columns.items()):
            panels[0, column].set_title(textwrap.fill(title, WRAPPED), fontsize=8)
            for axes, picture in zip(panels[:, column], pictures, strict=True):
                axes.set_xticks([])
                axes.set_yticks([])
                axes.grid(False)
                axes.spines[:].set_visible(False)
                if picture is None:
                    axes.text(0.5, 0.5, "none", ha="center", va="center", color="#888888", transform=axes.transAxes)
                    axes.set_aspect("equal")
                else:
                    axes.imshow(picture, interpolation="nearest")
        for axes, words in zip(panels[:, 0], captions, strict=True):
            axes.set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8)


def loss_curves(history: pd.DataFrame, caption: str, stem: str | os.PathLike) -> None:
    """Losses by step, a panel each; those of the second pass of a cycle step are drawn thin.

    Parameters
    ----------
    history
        Rows of :func:`faceneuro.synthesis.training.train`, of any number of models, with a column ``model``.
    caption, stem
        As for :func:`sample_grid`.
    """
    shown = [name for name in PANELS if name in history and history[name].notna().any()]
    # Three abreast can be read at the width of a page.
    columns = min(len(shown), 3)
    lines = -(-len(shown) // columns)
    with drawing(stem, (2.7 * columns + 0.4, 2.6 * lines + 1.2), "Losses in training", caption) as figure:
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        panels = grid[: len(shown)]
        for unused in grid[len(shown) :]:
            unused.remove()
        for place, (model, rows) in enumerate(history.groupby("model", sort=False)):
            look = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)]}
            for axes, name in zip(panels, shown, strict=True):
                for column, width in ((name, 1.4), (f"{name}_again", 0.6)):
                    if column in rows and rows[column].notna().any():
                        steps, values = _smoothed(rows["step"].to_numpy(), rows[column].to_numpy(float))
                        axes.plot(steps, values, lw=width, label=model if column == name else None, **look)
        for axes, name in zip(panels, shown, strict=True):
            axes.set_title(PANELS[name])
            axes.set_yscale("log")
            # The usual formatters write powers as mathematics, which is not parsed in these figures.
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
            axes.set_xlabel("step")
        again = any(name.endswith("_again") and history[name].notna().any() for name in history)
        title = "thin: second pass of a cycle step" if again else None
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title=title)


def _smoothed(steps: npt.NDArray, values: npt.NDArray[np.float64]) -> tuple[npt.NDArray, npt.NDArray]:
    """Means over equal numbers of steps, and the last step of each."""
    order = np.argsort(steps, kind="stable")
    parts = np.array_split(order, min(POINTS, len(order)))
    return np.array([steps[part[-1]] for part in parts]), np.array([values[part].mean() for part in parts])
