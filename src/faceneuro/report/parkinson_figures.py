"""Figure of the attention: the weight of every expression in every class, and what each expression lost."""

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from faceneuro.report.drawing import COLOURS, drawing

MARKS = ("o", "s", "^", "D")
"""Of the classes, so that they are told apart in grey too."""

SPREAD = 0.22
"""Between classes, of the distance between expressions."""


def attention_figure(
    weights: pd.DataFrame,
    losses: pd.DataFrame | None,
    expressions: Sequence[str],
    classes: Sequence[str],
    caption: str,
    stem: str | os.PathLike,
) -> None:
    """Weight of the expressions by class, above or below the mean of a subject's expressions; below, what was lost.

    Parameters
    ----------
    weights
        From :func:`faceneuro.evaluation.attention.gate_by_expression`.
    losses
        One row per subject and expression: ``label``, ``expression``, ``loss``. None where the truth is not known: the
        figure then has one panel.
    expressions, classes
        In the order of the figure.
    caption
        What a reader must know about the cohort; part of the title.
    stem
        Path without suffix; .png and .svg are written.
    """
    known = losses is not None and len(losses) > 0
    size = (1.15 * len(expressions) + 1.0, 5.6 if known else 3.4)
    with drawing(stem, size, "Which expressions the attention weighs", caption) as figure:
        panels = figure.subplots(1 + known, 1, sharex=True, squeeze=False)[:, 0]
        for place, label in enumerate(classes):
            rows = weights[weights["label"] == label].set_index("expression").reindex(expressions)
            limits = rows[["surplus_low", "surplus_high"]].to_numpy(float).T
            count = rows["n_subjects"].max()
            if count == count:
                name = f"{label} (n = {count:.0f}, mean weight {rows['weight'].mean():.2f})"
                _points(panels[0], place, classes, rows["surplus"].to_numpy(float), limits, name)
        panels[0].set_ylabel("weight, less the mean of\nthe subject's expressions")
        if known:
            for place, label in enumerate(classes):
                of_class = losses[losses["label"] == label].groupby("expression")["loss"]
                middle, low, high = (values.reindex(expressions).to_numpy(float) for values in _quartiles(of_class))
                _points(panels[1], place, classes, middle, np.stack([low, high]), label)
            panels[1].set_ylabel("lost movement, units\n(median and quartiles)")
        for axes in panels:
            axes.axhline(0, color="#888888", lw=0.8, zorder=1)
            axes.grid(axis="x", visible=False)
        panels[-1].set_xticks(range(len(expressions)), expressions)
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=1,
            title=f"bars{' above' if known else ''}: 95 % intervals over subjects",
        )


def _quartiles(groups) -> tuple[pd.Series, pd.Series, pd.Series]:
    return groups.median(), groups.quantile(0.25), groups.quantile(0.75)


def _points(axes: Axes, place: int, classes: Sequence[str], values: np.ndarray, limits: np.ndarray, label: str) -> None:
    """One class: a mark and a bar per expression, beside those of the other classes."""
    across = np.arange(len(values)) + SPREAD * (place - (len(classes) - 1) / 2)
    colour = COLOURS[place % len(COLOURS)]
    axes.vlines(across, *limits, color=colour, lw=1.4)
    axes.plot(across, values, MARKS[place % len(MARKS)], color=colour, ms=5, label=label)
