"""Figures of a study's table: every published number and the same number here, side by side.

A published number is a hollow diamond, with an interval only where one is printed; one found here is a dot with its
95 % interval. Where a metric stands in for the printed one, it is another quantity, and the printed numbers are left
out.
"""

import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from faceneuro.report import palsy, parkinson, synthesis
from faceneuro.report.classification import VIEWS
from faceneuro.report.comparisons import NOT_RUN, UNTRAINED
from faceneuro.report.drawing import COLOURS, drawing

WIDTH = 7.0
"""Inches; drawn at 700 pixels, text has its size in print."""

SMALL = 8
"""Points of names and remarks."""

LINE, HEAD, FOOT = 0.235, 0.62, 0.45
"""Inches for a line, and above and below the lines of a panel."""

ASIDE = 0.17
"""Of the distance between lines: a published mark stands above the middle, the one found here below."""

DIAMOND = {"marker": "D", "mfc": "white", "mec": "black", "mew": 1.0, "ms": 5, "ls": ""}
DOT = {"marker": "o", "color": COLOURS[0], "ms": 4.5}
"""Marks of what is published and of what was found here."""

GREY, BAND = "#767676", "#F4F4F4"

PSNR = (5, 50)
"""Where PSNR is drawn, in dB: an image returned unchanged has 100, by which no network is to be squeezed."""

DAGGER = "\N{DAGGER}"

NUMBERS = ("published", "published_low", "published_high", "here", "ci_low", "ci_high")
"""Columns of the points of a panel; NaN where there is none."""


class Line(NamedTuple):
    """A line of every panel: what it is called, whether it was run, and whether its backbone has random weights."""

    name: str
    run: bool = True
    untrained: bool = False


@dataclass(frozen=True)
class Panel:
    """What is drawn of one metric.

    Attributes
    ----------
    title
        Above the panel.
    points
        :data:`NUMBERS`, a row per line of the figure.
    remark
        Below the panel, such as which way is better.
    chance
        Where a line is drawn: what knowing nothing gives.
    limits
        Of the axis; what lies beyond is an arrow with its number. None: as far as the numbers go.
    """

    title: str
    points: pd.DataFrame
    remark: str = ""
    chance: float | None = None
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Drawing:
    """All that a figure shows: its title, whose numbers these are, its lines, and its panels, so many in a row."""

    title: str
    caption: str
    lines: Sequence[Line]
    panels: Sequence[Panel]
    columns: int
    published: str = "published (no interval)"


def published_figure(study: str, table: pd.DataFrame, stem: str | os.PathLike) -> None:
    """Draw the published numbers of a study and those found here.

    Parameters
    ----------
    study
        A name of :data:`STUDIES`.
    table
        Its table, as the CSV file has it.
    stem
        Path without suffix; .png and .svg are written.
    """
    draw(STUDIES[study](table), stem)


def draw(shown: Drawing, stem: str | os.PathLike) -> None:
    """Draw panels that have their lines in common.

    Parameters
    ----------
    shown
        What.
    stem
        Path without suffix; .png and .svg are written.
    """
    rows = -(-len(shown.panels) // shown.columns)
    remarks = any(panel.remark for panel in shown.panels)
    height = rows * (len(shown.lines) * LINE + HEAD + FOOT + 0.15 * remarks) + 1.0
    # A character of the caption is 0.075 inches wide on average.
    caption = textwrap.fill(shown.caption, int(WIDTH / 0.075))
    with drawing(stem, (WIDTH, height), shown.title, caption) as figure:
        grid = figure.subplots(rows, shown.columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(shown.panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(grid.flat, shown.panels, strict=False):
            _draw_panel(axes, panel, len(shown.lines))
        for axes in grid[:, 0]:
            _name_lines(axes, shown.lines)
        _key(figure, shown)


def _draw_panel(axes: Axes, panel: Panel, lines: int) -> None:
    places = np.arange(lines)
    for place in places[1::2]:
        axes.axhspan(place - 0.5, place + 0.5, color=BAND, lw=0, zorder=0)
    if panel.limits:
        axes.set_xlim(panel.limits)
    else:
        axes.margins(x=0.08)
    if panel.chance is not None:
        axes.axvline(panel.chance, color=GREY, lw=0.9, ls=":", zorder=1)
    points = panel.points.reset_index(drop=True)
    printed, found = places - ASIDE, places + ASIDE
    axes.hlines(printed, points["published_low"], points["published_high"], color="black", lw=1.0, zorder=3)
    axes.plot(
        points["published"], printed, "D", mfc="white", mec="black", mew=1.0, ms=5, ls="", zorder=4, gid="published"
    )
    axes.hlines(found, points["ci_low"], points["ci_high"], color=COLOURS[0], lw=1.6, zorder=3)
    axes.plot(points["here"], found, **DOT, ls="", zorder=4, gid="here")
    if panel.limits:
        _point_beyond(axes, points["here"], found, panel.limits)
    axes.set_ylim(lines - 0.5, -0.5)
    axes.set_title(panel.title, fontsize=SMALL + 0.5)
    axes.set_xlabel(panel.remark, fontsize=SMALL - 1, color=GREY)
    axes.tick_params(labelsize=SMALL - 0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.xaxis.get_major_locator().set_params(nbins=5, steps=[1, 2, 5, 10])


def _point_beyond(axes: Axes, values: pd.Series, heights: np.ndarray, limits: tuple[float, float]) -> None:
    """An arrow and a number for what lies above the axis."""
    low, high = limits
    for value, height in zip(values, heights, strict=True):
        if value > high:
            edge = high - 0.03 * (high - low)
            axes.plot([edge], [height], ">", color=COLOURS[0], ms=4.5, zorder=4, gid="beyond")
            axes.text(
                edge - 0.04 * (high - low), height, f"{value:g}", ha="right", va="center", color=COLOURS[0], fontsize=7
            )


def _name_lines(axes: Axes, lines: Sequence[Line]) -> None:
    names = [
        line.name + f" {DAGGER}" * (line.untrained and line.run) + f", {NOT_RUN}" * (not line.run) for line in lines
    ]
    axes.set_yticks(range(len(lines)), names, fontsize=SMALL)
    for text, line in zip(axes.get_yticklabels(), lines, strict=True):
        text.set_color("black" if line.run else GREY)


def _key(figure: Figure, shown: Drawing) -> None:
    """What the marks are, as far as they are drawn."""
    points = pd.concat([panel.points for panel in shown.panels])
    handles = []
    if points["published"].notna().any():
        handles.append(Line2D([], [], **DIAMOND, label=shown.published))
    handles.append(Line2D([], [], **DOT, lw=1.6, label="here, with its 95 % interval"))
    if any(panel.chance is not None for panel in shown.panels):
        handles.append(Line2D([], [], color=GREY, lw=0.9, ls=":", label="chance"))
    untrained = any(line.untrained and line.run for line in shown.lines)
    title = f"{DAGGER} image backbone {UNTRAINED}, random weights" if untrained else None
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), title=title, title_fontsize=SMALL)


def _points(rows: pd.DataFrame, **columns: str) -> pd.DataFrame:
    """The numbers of some rows of a table, which may have other names for them."""
    named = {name: columns.get(name, name) for name in NUMBERS}
    found = pd.DataFrame({name: rows[column] for name, column in named.items() if column in rows}, index=rows.index)
    return found.reindex(columns=list(NUMBERS)).astype(float)


def _caption(rows: pd.DataFrame) -> str:
    return f"{rows['cohort'].iloc[0]}: {rows['cohort_note'].iloc[0]}"


def _lines(rows: pd.DataFrame, names: Callable[[dict], str]) -> tuple[list[str], list[Line]]:
    """Models of a table, the paper's and those beyond it that were run, and what their lines are called."""
    # A column without any note is read as one of numbers.
    rows = rows.assign(note=rows["note"].astype(object).fillna(""))
    models, lines = [], []
    for model, mine in rows.groupby("model", sort=False):
        first, run = mine.iloc[0], bool(mine["reproduced"].notna().any())
        if run or pd.notna(first["row"]):
            models.append(model)
            lines.append(Line(names(first.to_dict()), run, UNTRAINED in first["note"]))
    return models, lines


def _of_models(rows: pd.DataFrame, models: Sequence[str], **where: str) -> pd.DataFrame:
    chosen = rows[(rows[list(where)] == pd.Series(where)).all(axis=1)]
    return _points(chosen.set_index("model").reindex(models), here="reproduced")


def of_als(table: pd.DataFrame) -> Drawing:
    """Table I, a panel per protocol and level: what holding out frames instead of people does is seen at once."""
    rows = table[(table["kind"] == "row") & (table["aggregation"] == "pooled") & (table["metric"] != "support")]
    rows = rows[~rows["row"].str.endswith(" avg")]
    model = rows.sort_values("published", kind="stable", na_position="last")["model"].iloc[0]
    rows = rows[rows["model"] == model]
    shown = [view for view in VIEWS if (rows["protocol"] == view[0]).any()]
    # The error of probabilities is of another kind, and of less is better.
    cells = rows.loc[rows["metric"] != "brier", ["row", "metric"]].drop_duplicates()
    names = {"precision": ", precision", "recall": ", recall", "f1": ", F1"}
    lines = [Line(row[0].upper() + row[1:] + names.get(metric, "")) for row, metric in cells.itertuples(index=False)]
    panels = []
    for protocol, level in shown:
        mine = rows[(rows["protocol"] == protocol) & (rows["level"] == level)].set_index(["row", "metric"])
        points = _points(mine.reindex(pd.MultiIndex.from_frame(cells)), here="reproduced")
        count = f"{mine['n_subjects'].iloc[0]:.0f} subjects"
        title = VIEWS[protocol, level].replace(", ", ",\n") + ("\n" if ", " not in VIEWS[protocol, level] else "")
        panels.append(Panel(title, points, count, 0.5, (-0.03, 1.03)))
    return Drawing(f"ALS, {model}: published and here", _caption(rows), lines, panels, len(panels))


def of_palsy(table: pd.DataFrame) -> Drawing:
    """The paper's thirteen rows: F1 as it is printed, and the area over subjects, which it does not print."""
    rows = table[table["kind"] == "row"]

    def name(row: dict) -> str:
        number = "" if pd.isna(row["row"]) else f"{row['row']:.0f}  "
        return f"{number}{row['modality']}: {row['network']}"

    models, lines = _lines(rows, name)
    panels = []
    for metric, view, title, chance in (
        ("f1", palsy.AS_PUBLISHED, "F1, %\n(frames, mean over folds)", None),
        ("roc_auc", palsy.BY_SUBJECT, "ROC AUC, %\n(subjects; not published)", 50),
    ):
        points = _of_models(rows, models, metric=metric, level=view[0], aggregation=view[1])
        panels.append(Panel(title, points, chance=chance, limits=(-3, 103)))
    return Drawing("Facial palsy: published and here", _caption(rows), lines, panels, 2)


def of_parkinson(table: pd.DataFrame) -> Drawing:
    """The paper's six rows, and what is beyond it, in the four metrics that it prints."""
    rows = table[table["kind"] == "row"]
    models, lines = _lines(rows, lambda row: row["name"])
    level, aggregation = parkinson.AS_PUBLISHED
    panels = []
    for metric in parkinson.PRINTED:
        points = _of_models(rows, models, metric=metric, level=level, aggregation=aggregation)
        chance = 0.5 if metric == "roc_auc" else None
        panels.append(Panel(parkinson.NAMES[metric], points, "", chance, (-0.04, 1.04)))
    caption = f"{_caption(rows)}; means over folds"
    return Drawing("Severity of Parkinson's disease: published and here", caption, lines, panels, len(panels))


def of_synthesis(table: pd.DataFrame) -> Drawing:
    """The paper's six rows and the trivial ones, in what the paper prints or what stands in for it."""
    rows = table[table["kind"] == "row"]
    models, lines = _lines(rows, lambda row: row["name"] if pd.isna(row["row"]) else f"{row['row']:.0f}  {row['name']}")
    panels = []
    for key, computed in zip(synthesis.PRINTED, synthesis.columns_of(rows), strict=True):
        points = _of_models(rows, models, metric=computed[0], reference=computed[1])
        title = textwrap.fill(synthesis.name_of(computed), 22)
        if computed != key:
            points = points.assign(published=np.nan, published_low=np.nan, published_high=np.nan)
            title += f"\n(in place of {synthesis.NAMES[key[0]]})"
        better = "more is better" if computed[0] in ("psnr", "ssim") else "less is better"
        panels.append(Panel(title, points, better, limits=PSNR if computed[0] == "psnr" else None))
    return Drawing("Synthetic palsy: published and here", _caption(rows), lines, panels, 3)


def of_review(table: pd.DataFrame) -> Drawing:
    """What the review says, and what its own effect sizes give."""
    rows = table[(table["kind"] == "claim") & table["claimed"].notna()]
    points = _points(
        rows, published="claimed", published_low="claimed_low", published_high="claimed_high", here="recomputed"
    )
    lines = [Line(name) for name in rows["about"]]
    panel = Panel("Accuracy, %", points, limits=None)
    caption = "Computed from the effect sizes that the review prints; no recording is involved"
    published = "said in the review (with an interval where one is given)"
    return Drawing("Meta-analysis: what is said, and what the rows give", caption, lines, [panel], 1, published)


STUDIES = {
    "als": of_als,
    "palsy": of_palsy,
    "parkinson": of_parkinson,
    "synthesis": of_synthesis,
    "meta_analysis": of_review,
}
"""What is drawn of each study."""
