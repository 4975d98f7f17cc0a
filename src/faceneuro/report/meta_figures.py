"""Figures of a meta-analysis of accuracies: forest, funnel and radial plots, leaving one out, Baujat.

Effect sizes come as a frame with one row each: ``study``, ``accuracy``, ``recovered`` (its printed value is illegible
and was solved from the totals), ``origin`` (who reported it), and what a figure adds. Accuracies are in percent.
A forest plot says where a value is missing; the other figures show what has values.
Marks differ in shape and filling, not only in colour, so that the figures may be printed in grey.
"""

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator, MultipleLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from faceneuro.meta.bias import funnel_limits
from faceneuro.report.drawing import COLOURS, drawing

PUBLISHED = "published"
"""The origin that needs no remark."""

MARKS = {"s": 1.0, "^": 2.0, "v": 2.0, "p": 1.7, "P": 1.8, "X": 1.8}
"""Marks by origin, the published first, and what makes their areas equal. Circles are kept for trim-and-fill."""

FILLS = (COLOURS[5], COLOURS[4], COLOURS[3], COLOURS[2], COLOURS[1], COLOURS[0])
"""Light enough for a black interval to be seen on top."""

LINE = 0.152
"""Inches from one line of a table to the next."""

PLOT = 2.7
"""Inches between the columns of text."""

INDENT = 0.12
ESTIMATE = "Accuracy [95 % CI]"

SIZE, SMALL = 7.5, 6.5
"""Points of the text of tables and of remarks."""

GREY = "#666666"
CONTOURS = {0.99: "#C6C6C6", 0.95: "#DCDCDC", 0.90: "#F0F0F0"}
"""Levels of a funnel, the widest first."""

REACH = (-10.0, 130.0)
"""A forest plot shows no more than this, in percent: a hopeless interval must not squeeze the others."""


def forest(
    rows: pd.DataFrame,
    subtotals: pd.DataFrame,
    overall: Mapping[str, float],
    caption: str,
    stem: str | os.PathLike,
) -> None:
    """Every effect size with its interval and weight, pooled by block and overall.

    A block of one effect size gets no diamond: nothing was pooled. An effect size without a value is only named.

    Parameters
    ----------
    rows
        Effect sizes in the order of display, with ``block``, ``group`` (the heading of the block), ``ci_low``,
        ``ci_high`` and ``weight`` (percent of the overall weight).
    subtotals
        By ``block``: ``k``, ``estimate``, ``ci_low``, ``ci_high``, ``tau2``, ``i2`` (percent), ``h2``, ``q``, ``q_df``
        and ``q_p_value``. What is not a number is left out of the figure.
    overall
        The same of all effect sizes, with ``pi_low`` and ``pi_high`` (prediction interval) and ``q_between``,
        ``q_between_df`` and ``q_between_p_value`` (test for a difference between blocks).
    caption
        What a reader must know about the effect sizes; part of the title.
    stem
        Path without suffix; .png and .svg are written.
    """
    looks = _looks(rows)
    pooled = subtotals[subtotals["k"] > 1].set_index("block")
    blocks = list(rows.groupby("block", sort=False))
    names_width = max(_width(map(_name, rows.itertuples()), SIZE) + INDENT, _width(rows["group"], SIZE, "bold"), 1.55)
    printed = [_estimate(*row) for row in rows[["accuracy", "ci_low", "ci_high"]].itertuples(index=False)]
    printed += [_estimate(*row) for row in subtotals[["estimate", "ci_low", "ci_high"]].itertuples(index=False)]
    widths = [_width([*printed, ESTIMATE], SIZE, "bold") + 0.16, _width(["100.00 %"], SIZE, "bold") + 0.15]
    width = names_width + 0.1 + PLOT + sum(widths)
    lines = 7.5 + len(rows) + sum(3.35 if key in pooled.index else 2.2 for key, _ in blocks)
    size = (width, lines * LINE + 1.35)
    with drawing(stem, size, "Meta-analysis: forest plot", _wrapped(caption, width)) as figure:
        sheet = _Sheet(figure, names_width + 0.1, widths)
        sheet.axes.set_xlim(_reach(rows, subtotals, overall))
        sheet.heading("Study", ESTIMATE, "Weight")
        for key, block in blocks:
            _write_block(sheet, block, looks, rows["weight"].max())
            if key in pooled.index:
                _write_subtotal(sheet, pooled.loc[key], block["weight"].sum(min_count=1))
            else:
                sheet.remark(f"not pooled: k = {block['accuracy'].count()}")
            sheet.y += 0.35
        sheet.rule(0.35)
        _write_overall(sheet, overall, rows["weight"].sum(min_count=1))
        sheet.end()
        _mark_impossible(sheet)
        left, right = sheet.axes.get_xlim()
        sheet.axes.xaxis.set_major_locator(MultipleLocator(20 if right - left > 60 else 10))
        sheet.axes.set_xlabel("accuracy, % (area of a mark: its weight)", fontsize=SIZE)
        handles = _key(rows, looks, dagger=True)
        if len(pooled):
            handles.append(_mark("D", COLOURS[0], "subtotal of a block and its 95 % CI"))
        _legend(figure, [*handles, _mark("D", "black", "overall estimate and its 95 % CI; dashed line")])


def funnel(
    rows: pd.DataFrame, estimate: float, tau2: float, filled: pd.DataFrame, caption: str, stem: str | os.PathLike
) -> None:
    """Accuracy against standard error, within the limits that chance alone would keep to.

    Parameters
    ----------
    rows
        Effect sizes with ``se``, their standard errors in percentage points.
    estimate
        The pooled accuracy, the middle of the funnel.
    tau2
        Variance between studies in squared percentage points; widens the dashed limits.
    filled
        ``accuracy`` and ``se`` of the effect sizes that trim-and-fill adds; may be empty.
    caption, stem
        As for :func:`forest`.
    """
    rows = rows.dropna(subset=["accuracy", "se"])
    looks = _looks(rows)
    width = 6.4
    with drawing(stem, (width, 5.6), "Meta-analysis: funnel plot", _wrapped(caption, width)) as figure:
        axes = figure.subplots()
        axes.grid(False)
        bottom = 1.08 * max([*rows["se"], *filled["se"]])
        depth = np.linspace(0, bottom, 200)
        handles = []
        for level, shade in CONTOURS.items():
            axes.fill_betweenx(depth, *funnel_limits(estimate, depth, level), color=shade, lw=0)
            label = f"within {100 * level:.0f} % limits"
            handles.insert(0, Patch(facecolor=shade, edgecolor=GREY, lw=0.5, label=label))
        handles.append(Line2D([], [], color="black", lw=1.0, label=f"pooled estimate, {estimate:.2f} %"))
        axes.plot([estimate, estimate], [0, bottom], color="black", lw=1.0)
        outside = (~rows["accuracy"].between(*funnel_limits(estimate, rows["se"]))).sum()
        verdict = f"{outside} of {len(rows)} outside the 95 % limits"
        if tau2 > 0:
            for side in funnel_limits(estimate, depth, tau2=tau2):
                axes.plot(side, depth, color=COLOURS[0], lw=1.2, ls="--")
            outside = (~rows["accuracy"].between(*funnel_limits(estimate, rows["se"], tau2=tau2))).sum()
            verdict += f", {outside} of {len(rows)} when these allow for τ²"
            label = f"95 % limits that allow for τ² = {tau2:.2f}"
            handles.append(Line2D([], [], color=COLOURS[0], lw=1.2, ls="--", label=label))
        _scatter(axes, rows, looks, rows["accuracy"], rows["se"])
        handles += _key(rows, looks)
        if len(filled):
            axes.scatter(filled["accuracy"], filled["se"], s=34, facecolor="white", edgecolor="black", lw=1, zorder=4)
            handles.append(_mark("o", "white", f"added by trim-and-fill ({len(filled)})"))
        axes.margins(x=0.03)
        axes.set_ylim(bottom, 0)
        left, right = axes.get_xlim()
        if right > 100:
            axes.axvline(100, color="black", lw=1.4, ls=":")
            handles.append(Line2D([], [], color="black", lw=1.4, ls=":", label="100 %: impossible to its right"))
        axes.set_xlim(left, right)
        axes.set_xlabel("accuracy, %")
        axes.set_ylabel("standard error, percentage points")
        axes.set_title(verdict, loc="left")
        _legend(figure, handles)


def galbraith(rows: pd.DataFrame, estimate: float, caption: str, stem: str | os.PathLike) -> None:
    """Radial plot: effect sizes in units of their standard errors; those that disagree with the pooled one are named.

    Parameters
    ----------
    rows
        Effect sizes with ``se``, their standard errors in percentage points.
    estimate
        The fixed-effect estimate, the slope of the line (Galbraith 1988).
    caption, stem
        As for :func:`forest`.
    """
    rows = rows.dropna(subset=["accuracy", "se"])
    looks = _looks(rows)
    width = 7.0
    precision, ratio = 1 / rows["se"], rows["accuracy"] / rows["se"]
    outside = (ratio - estimate * precision).abs() > 2
    with drawing(stem, (width, 6.4), "Meta-analysis: radial plot", _wrapped(caption, width)) as figure:
        axes = figure.subplots()
        axes.grid(False)
        end = 1.08 * precision.max()
        top = 1.02 * max(ratio.max(), 100 * end)
        across = np.array([0, end])
        for accuracy in range(0, 100, 20):
            axes.plot(across, accuracy * across, color="#D0D0D0", lw=0.7, zorder=0)
        axes.plot(across, 100 * across, color="black", lw=1.4, ls=":", zorder=0)
        axes.fill_between(across, estimate * across - 2, estimate * across + 2, color="#CFCFCF", lw=0, zorder=1)
        axes.plot(across, estimate * across, color="black", lw=1.0, zorder=2)
        _scatter(axes, rows, looks, precision, ratio)
        axes.set_xlim(0, end)
        axes.set_ylim(min(-3, 1.1 * ratio.min()), top)
        axes.set_xlabel("1 / standard error")
        axes.set_ylabel("accuracy / standard error")
        axes.set_title(f"{outside.sum()} of {len(rows)} outside the band, labelled", loc="left")
        # Where the ray from the origin through an effect size ends, its accuracy is read.
        rays = axes.secondary_yaxis("right", functions=(lambda y: y / end, lambda accuracy: accuracy * end))
        rays.set_yticks(range(0, 101, 20))
        rays.set_ylabel("accuracy, %, where the ray from the origin ends")
        handles = [
            Line2D([], [], color="black", lw=1.0, label=f"fixed-effect estimate, {estimate:.2f} %"),
            Patch(facecolor="#CFCFCF", label="band of ± 2 standard errors"),
            Line2D([], [], color="#B0B0B0", lw=0.7, label="rays of equal accuracy, every 20 %"),
            Line2D([], [], color="black", lw=1.4, ls=":", label="100 %: impossible above"),
        ]
        _legend(figure, [*handles, *_key(rows, looks)])
        path = np.linspace(0, end, 120)
        lines = np.concatenate([np.c_[path, slope * path] for slope in (estimate, 100)])
        _name_points(figure, axes, rows["study"], precision, ratio, outside, lines)


def leave_one_out(rows: pd.DataFrame, overall: Mapping[str, float], caption: str, stem: str | os.PathLike) -> None:
    """The pooled accuracy without each effect size in turn, the most influential on top.

    Parameters
    ----------
    rows
        Effect sizes with ``loo_estimate``, ``loo_ci_low`` and ``loo_ci_high``: what is pooled without them.
    overall
        ``k``, ``estimate``, ``ci_low`` and ``ci_high`` of all.
    caption, stem
        As for :func:`forest`.
    """
    rows = rows.dropna(subset=["loo_estimate"])
    change = rows["loo_estimate"] - overall["estimate"]
    rows = rows.assign(change=change, size=change.abs()).sort_values("size", ascending=False, kind="stable")
    looks = _looks(rows)
    names_width = max(_width(map(_name, rows.itertuples()), SIZE), 1.0) + 0.1
    widths = [_width([ESTIMATE, "100.00 [100.00, 100.00]"], SIZE, "bold") + 0.1, 0.6]
    width = names_width + PLOT + sum(widths)
    size = (width, (len(rows) + 3) * LINE + 1.35)
    with drawing(stem, size, "Meta-analysis: leaving one out", _wrapped(caption, width)) as figure:
        sheet = _Sheet(figure, names_width, widths)
        axes = sheet.axes
        sheet.heading("Without", ESTIMATE, "Change")
        for row in rows.itertuples():
            low, high = row.loo_ci_low, row.loo_ci_high
            sheet.write(_name(row), _estimate(row.loo_estimate, low, high), _number(row.change, "+"))
            look = looks[row.recovered, row.origin]
            axes.plot([low, high], [sheet.y] * 2, color="black", lw=1.0, zorder=3)
            axes.scatter([row.loo_estimate], [sheet.y], s=26 * MARKS[look["marker"]], **look, zorder=4)
        sheet.end()
        down = [sheet.top, sheet.y]
        axes.fill_betweenx(down, overall["ci_low"], overall["ci_high"], color="#E3E3E3", lw=0, zorder=0)
        axes.plot([overall["estimate"]] * 2, down, color="black", lw=0.8, ls=(0, (4, 2)), zorder=1)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.set_xlabel("pooled accuracy, %", fontsize=SIZE)
        of_all = _estimate(overall["estimate"], overall["ci_low"], overall["ci_high"])
        label = f"dashed line and band: all {overall['k']:.0f} effect sizes, {of_all}"
        _legend(figure, [Patch(facecolor="#E3E3E3", label=label), *_key(rows, looks, dagger=True)])


def baujat(rows: pd.DataFrame, caption: str, stem: str | os.PathLike) -> None:
    """What each effect size adds to heterogeneity against what it does to the pooled accuracy.

    Parameters
    ----------
    rows
        Effect sizes with ``baujat_contribution`` and ``baujat_influence``.
    caption, stem
        As for :func:`forest`.
    """
    rows = rows.dropna(subset=["baujat_contribution", "baujat_influence"])
    looks = _looks(rows)
    width = 6.4
    across, up = rows["baujat_contribution"], rows["baujat_influence"]
    far = np.hypot(across / max(across.max(), 1e-12), up / max(up.max(), 1e-12)).rank(ascending=False, method="first")
    extreme = far <= min(max(3, np.ceil(len(rows) / 4)), 12)
    with drawing(stem, (width, 5.2), "Meta-analysis: Baujat plot", _wrapped(caption, width)) as figure:
        axes = figure.subplots()
        _scatter(axes, rows, looks, across, up)
        axes.margins(0.07)
        axes.set_xlabel("contribution to heterogeneity (squared Pearson residual)")
        axes.set_ylabel("influence on the pooled accuracy\n(squared standardised change)")
        axes.set_title(f"the {extreme.sum()} farthest from the origin are named", loc="left")
        handles = _key(rows, looks)
        _legend(figure, handles)
        _name_points(figure, axes, rows["study"], across, up, extreme, np.empty((0, 2)))


class _Sheet:
    """A plot between columns of text, in lines that are counted downwards."""

    def __init__(self, figure: Figure, left: float, right: Sequence[float]) -> None:
        """Widths of the columns on the left and on the right, in inches."""
        self.axes = figure.subplots()
        self.axes.grid(False)
        self.axes.spines["left"].set_visible(False)
        self.axes.tick_params(labelsize=SIZE)
        self.axes.set_yticks([])
        self.left, self.right = left, np.cumsum(right)
        self.y = self.top = 0.0
        # Horizontally in inches from an edge of the plot, vertically in lines.
        self.from_left, self.from_right = (
            blended_transform_factory(
                figure.dpi_scale_trans + ScaledTranslation(edge, 0, self.axes.transAxes), self.axes.transData
            )
            for edge in (0, 1)
        )

    def write(self, name: str, *values: str, **look) -> None:
        """A line below the last one: a name on the left, values on the right."""
        self.y += 1.0
        self._texts(name, values, **look)

    def remark(self, text: str) -> None:
        """A line in small type. A long one reaches into the plot, empty there but for verticals, which it covers."""
        self.y += 0.95
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        self._texts(text, (), indent=INDENT, fontsize=SMALL, color=GREY, bbox=paper, zorder=5)

    def heading(self, *texts: str) -> None:
        self._texts(texts[0], texts[1:], weight="bold")
        self.rule(0.6)
        self.top = self.y
        self.y -= 0.2

    def rule(self, below: float) -> None:
        self.y += below
        look = {"color": "black", "lw": 0.7, "clip_on": False}
        self.axes.plot([-self.left, 0], [self.y] * 2, transform=self.from_left, **look)
        self.axes.plot([0, 1], [self.y] * 2, transform=self.axes.get_yaxis_transform(), **look)
        self.axes.plot([0, self.right[-1]], [self.y] * 2, transform=self.from_right, **look)

    def end(self) -> None:
        self.y += 0.9
        self.axes.set_ylim(self.y, -0.6)

    def _texts(self, name: str, values: Sequence[str], indent: float = 0.0, **look) -> None:
        look = {"fontsize": SIZE, "va": "center_baseline"} | look
        self.axes.text(indent - self.left, self.y, name, transform=self.from_left, ha="left", **look)
        for x, value in zip(self.right, values, strict=False):
            self.axes.text(x, self.y, value, transform=self.from_right, ha="right", **look)


def _write_block(sheet: _Sheet, block: pd.DataFrame, looks: Mapping, largest: float) -> None:
    """The heading and the effect sizes of a block; ``largest`` is the weight of the largest mark."""
    sheet.write(_text(block["group"].iloc[0]), weight="bold")
    for row in block.itertuples():
        if pd.isna(row.accuracy):
            sheet.write(_name(row), "no value", indent=INDENT)
            continue
        values = [_estimate(row.accuracy, row.ci_low, row.ci_high), _percent(row.weight)]
        sheet.write(_name(row), *values, indent=INDENT)
        _interval(sheet, row.ci_low, row.ci_high, lw=1.0)
        look = looks[row.recovered, row.origin]
        share = row.weight / largest if row.weight > 0 else 0.25
        sheet.axes.scatter([row.accuracy], [sheet.y], s=48 * share * MARKS[look["marker"]], **look, zorder=3)


def _write_subtotal(sheet: _Sheet, pooled: Mapping[str, float], weight: float) -> None:
    values = [_estimate(pooled["estimate"], pooled["ci_low"], pooled["ci_high"]), _percent(weight)]
    sheet.write(f"Subtotal (k = {pooled['k']:.0f})", *values, indent=INDENT, weight="bold")
    _diamond(sheet, pooled, COLOURS[0])
    sheet.remark(_heterogeneity(pooled))


def _write_overall(sheet: _Sheet, overall: Mapping[str, float], weight: float) -> None:
    """The overall estimate, from which a line goes up through all blocks, and what is known about its spread."""
    values = [_estimate(overall["estimate"], overall["ci_low"], overall["ci_high"]), _percent(weight)]
    sheet.write(f"Overall (k = {overall['k']:.0f})", *values, weight="bold")
    _diamond(sheet, overall, "black")
    up = {"color": "black", "lw": 0.8, "ls": (0, (4, 2)), "zorder": 1}
    sheet.axes.plot([overall["estimate"]] * 2, [sheet.top, sheet.y], **up)
    if np.isfinite(overall["pi_low"]):
        sheet.write("95 % prediction interval", _limits(overall["pi_low"], overall["pi_high"]))
        _interval(sheet, overall["pi_low"], overall["pi_high"], lw=2.6)
    for remark in filter(None, (_heterogeneity(overall), _between(overall))):
        sheet.remark(remark)


def _reach(rows: pd.DataFrame, subtotals: pd.DataFrame, overall: Mapping[str, float]) -> tuple[float, float]:
    """What a forest plot shows: all intervals and 100 %, within :data:`REACH`."""
    limits = [*rows[["ci_low", "ci_high"]].to_numpy().flat, *subtotals[["ci_low", "ci_high"]].to_numpy().flat]
    limits += [overall[name] for name in ("ci_low", "ci_high", "pi_low", "pi_high")]
    low, high = np.nanmin(limits), np.nanmax([*limits, 104])
    pad = 0.03 * (high - low)
    return max(low - pad, REACH[0]), min(high + pad, REACH[1])


def _interval(sheet: _Sheet, low: float, high: float, lw: float) -> None:
    sheet.axes.plot([low, high], [sheet.y] * 2, color="black", lw=lw, solid_capstyle="butt", zorder=4)
    _arrowheads(sheet, low, high)


def _diamond(sheet: _Sheet, pooled: Mapping[str, float], facecolor: str) -> None:
    low, middle, high = pooled["ci_low"], pooled["estimate"], pooled["ci_high"]
    corners = [(low, sheet.y), (middle, sheet.y - 0.36), (high, sheet.y), (middle, sheet.y + 0.36)]
    sheet.axes.add_patch(Polygon(corners, facecolor=facecolor, edgecolor="black", lw=0.6, zorder=3))
    _arrowheads(sheet, low, high)


def _arrowheads(sheet: _Sheet, low: float, high: float) -> None:
    """Show that an interval goes on beyond the plot."""
    left, right = sheet.axes.get_xlim()
    for beyond, x, head in ((low < left, left, "<"), (high > right, right, ">")):
        if beyond:
            sheet.axes.plot([x], [sheet.y], marker=head, ms=4.5, color="black", clip_on=False, zorder=6)


def _mark_impossible(sheet: _Sheet) -> None:
    """Shade what no accuracy can be: above 100 %, and below 0 % if the plot goes there."""
    axes = sheet.axes
    left, right = axes.get_xlim()
    sides = [(100, right, 1.0, "right", "impossible: above 100 %")]
    if left < 0:
        sides.append((0, left, 0.0, "left", "impossible: below 0 %"))
    down = [sheet.top, sheet.y]
    for limit, edge, x, side, text in sides:
        axes.fill_betweenx(down, limit, edge, facecolor="#ECECEC", edgecolor="#C4C4C4", hatch="////", lw=0, zorder=0)
        axes.plot([limit, limit], down, color="black", lw=1.6, zorder=2)
        look = {"fontsize": SMALL, "va": "center_baseline", "ha": side}
        axes.text(x, 0.0, text, transform=axes.get_yaxis_transform(), **look)


def _looks(rows: pd.DataFrame) -> dict[tuple[bool, str], dict]:
    """How effect sizes are drawn: the shape by origin, open if recovered."""
    others = sorted(set(rows["origin"]) - {PUBLISHED})
    looks = {}
    for index, origin in enumerate([PUBLISHED, *others]):
        # Beyond the shapes there are, all further origins share the last.
        place = min(index, len(MARKS) - 1)
        for recovered in (False, True):
            looks[recovered, origin] = {
                "marker": list(MARKS)[place],
                "facecolor": "white" if recovered else FILLS[place],
                "edgecolor": "black",
                "linewidth": 1.1 if recovered else 0.6,
            }
    return looks


def _scatter(axes: Axes, rows: pd.DataFrame, looks: Mapping, x: pd.Series, y: pd.Series) -> None:
    for (recovered, origin), look in looks.items():
        mine = (rows["recovered"] == recovered) & (rows["origin"] == origin)
        if mine.any():
            axes.scatter(x[mine], y[mine], s=34 * MARKS[look["marker"]], **look, zorder=3)


def _key(rows: pd.DataFrame, looks: Mapping, dagger: bool = False) -> list[Line2D]:
    """What the marks mean, for those that occur."""
    kinds = set(zip(rows["recovered"].astype(bool), rows["origin"], strict=True))
    handles = []
    for (recovered, origin), look in looks.items():
        if (recovered, origin) in kinds:
            label = "as published" if origin == PUBLISHED else f"{_text(origin)}, not from the publication"
            if recovered:
                label = "" if origin == PUBLISHED else f"{_text(origin)}: "
                label += "printed value illegible, solved from the totals"
                label = f"† {label}" if dagger else label
            handles.append(_mark(look["marker"], look["facecolor"], label, look["linewidth"]))
    return handles


def _mark(marker: str, fill: str, label: str, edge: float = 0.8) -> Line2D:
    look = {"markerfacecolor": fill, "markeredgecolor": "black", "markeredgewidth": edge}
    return Line2D([], [], ls="none", marker=marker, ms=6, label=label, **look)


def _legend(figure: Figure, handles: Sequence) -> None:
    """A key below the figure, in as many columns as fit."""
    widest = _width([handle.get_label() for handle in handles], SIZE) + 0.45
    columns = max(1, min(3, len(handles), int(figure.get_figwidth() / widest)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, fontsize=SIZE, handlelength=1.6, columnspacing=1.4
    )


def _name_points(
    figure: Figure, axes: Axes, names: pd.Series, x: pd.Series, y: pd.Series, which: pd.Series, lines: np.ndarray
) -> None:
    """Write names beside the points that ``which`` selects, off the others and off ``lines`` (data coordinates)."""
    texts = [_text(name) for name in names[which]]
    if not texts:
        return
    # Places are sought in points of the page, so the layout must be final.
    figure.draw_without_rendering()
    to_points = 72 / figure.dpi
    marks = axes.transData.transform(np.c_[x, y].astype(float)) * to_points
    anchors = marks[which.to_numpy(bool)]
    sizes = np.array([[72 * _width([text], SMALL) + 2, SMALL + 2] for text in texts])
    avoid = axes.transData.transform(lines) * to_points if len(lines) else lines
    frame = axes.get_window_extent().extents * to_points
    centres = place_labels(anchors, sizes, marks, avoid, frame)
    # Below the marks, above the lines.
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.2}
    look = {"fontsize": SMALL, "ha": "center", "va": "center", "zorder": 2.5, "bbox": paper}
    for text, anchor, size, centre, here in zip(
        texts, anchors, sizes, centres, np.c_[x, y][which.to_numpy(bool)], strict=True
    ):
        # From the point of the label that is nearest to the mark.
        nearest = np.clip((anchor - centre) / size + 0.5, 0, 1)
        length = np.linalg.norm(anchor - centre - (nearest - 0.5) * size)
        leader = {"arrowstyle": "-", "color": GREY, "lw": 0.5, "shrinkA": 0, "shrinkB": 0, "relpos": tuple(nearest)}
        axes.annotate(
            text,
            tuple(here),
            tuple(centre - anchor),
            textcoords="offset points",
            arrowprops=leader if length > 7 else None,
            **look,
        )


def place_labels(
    anchors: np.ndarray, sizes: np.ndarray, marks: np.ndarray, avoid: np.ndarray, frame: Sequence[float]
) -> np.ndarray:
    """Where to write labels so that they hide neither one another nor a mark, each near what it names.

    Greedy: the most crowded label chooses first, the others in turn, and then all again, three times, with the others
    in place.

    Parameters
    ----------
    anchors
        What the labels name, shape (n, 2), in points of the page as all lengths here.
    sizes
        Widths and heights of the labels, shape (n, 2).
    marks
        All marks of the plot, shape (m, 2).
    avoid
        Points along lines that a label should rather not cover, shape (l, 2).
    frame
        Left, bottom, right and top of the plot, which labels do not leave.

    Returns
    -------
    Centres of the labels, shape (n, 2).
    """
    turns = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    away = np.array([5, 9, 13, 19, 26, 35, 46, 60, 78, 100, 130, 170])
    # A candidate is a direction and a gap between the mark and the label.
    turn, gap = (grid.ravel() for grid in np.meshgrid(turns, away))
    toward = np.c_[np.cos(turn), np.sin(turn)]
    crowding = np.exp(-np.linalg.norm(anchors[:, None] - marks[None], axis=2) / 40).sum(axis=1)
    order = np.argsort(-crowding, kind="stable")
    centres = np.full(anchors.shape, np.nan)
    for index in [*order] * 4:
        others = np.setdiff1d(np.flatnonzero(np.isfinite(centres[:, 0])), [index])
        anchor, half = anchors[index], sizes[index] / 2
        offered = anchor + toward * (half + gap[:, None])
        starts = anchor + np.clip(0.0, offered - half - anchor, offered + half - anchor)
        cost = gap.astype(float)
        outside = np.maximum(frame[:2] - (offered - half), (offered + half) - frame[2:]).max(axis=1)
        cost += 1000 * (outside > 0)
        cost += 300 * _covered(offered, half, centres[others], sizes[others] / 2).sum(axis=1)
        cost += 60 * _covered(offered, half, marks, np.full(2, 3.5)).sum(axis=1)
        cost += 25 * _covered(offered, half, avoid, np.zeros(2)).any(axis=1)
        # Leaders, as points along them: across other labels, across marks, and the others' across this label.
        along = _along(anchor, starts)
        hits = _covered(along.reshape(-1, 2), np.zeros(2), centres[others], sizes[others] / 2)
        cost += 200 * hits.reshape(*along.shape[:2], len(others)).any(axis=1).sum(axis=1)
        strangers = marks[np.linalg.norm(marks - anchor, axis=1) > 1e-6]
        hits = _covered(along.reshape(-1, 2), np.zeros(2), strangers, np.full(2, 3.0))
        cost += 15 * hits.reshape(*along.shape[:2], len(strangers)).any(axis=1).sum(axis=1)
        ends = np.clip(anchors[others], centres[others] - sizes[others] / 2, centres[others] + sizes[others] / 2)
        theirs = _along(anchors[others], ends)
        hits = _covered(offered, half, theirs.reshape(-1, 2), np.zeros(2))
        cost += 200 * hits.reshape(len(offered), *theirs.shape[:2]).any(axis=2).sum(axis=1)
        cost += 40 * _cross(anchor, starts[:, None], anchors[others], ends).sum(axis=1)
        centres[index] = offered[cost.argmin()]
    return centres


def _covered(centres: np.ndarray, half: np.ndarray, others: np.ndarray, half_others: np.ndarray) -> np.ndarray:
    """Which boxes overlap which others, shape (boxes, others)."""
    reach = half + np.broadcast_to(half_others, others.shape)
    x, y = (np.abs(centres[:, None, axis] - others[None, :, axis]) < reach[None, :, axis] for axis in (0, 1))
    return x & y


def _along(anchors: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Points on the ways from labels to their marks, short of the marks, shape (ways, 12, 2)."""
    return starts[:, None] + (anchors - starts)[:, None] * np.linspace(0, 0.95, 12)[None, :, None]


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Which segments from ``a`` to ``b`` cross those from ``c`` to ``d``."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)


def _text(name: object) -> str:
    """A name on one line."""
    return " ".join(str(name).split())


def _name(row) -> str:
    return _text(row.study) + (" †" if row.recovered else "")


def _estimate(value: float, low: float, high: float) -> str:
    return f"{_number(value)} {_limits(low, high)}"


def _limits(low: float, high: float) -> str:
    return f"[{_number(low)}, {_number(high)}]"


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.2f}".replace("-", "\N{MINUS SIGN}")


def _percent(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f} %"


def _p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _heterogeneity(pooled: Mapping[str, float]) -> str:
    spread = {"τ² = {:.2f}": "tau2", "I² = {:.2f} %": "i2", "H² = {:.2f}": "h2"}
    known = [text.format(pooled[name]) for text, name in spread.items() if np.isfinite(pooled[name])]
    return "; ".join(filter(None, [", ".join(known), _test(pooled["q"], pooled["q_df"], pooled["q_p_value"])]))


def _between(overall: Mapping[str, float]) -> str:
    test = _test(overall["q_between"], overall["q_between_df"], overall["q_between_p_value"])
    return f"difference between blocks: {test}" if test else ""


def _test(q: float, df: float, p_value: float) -> str:
    """A test on Q in words, empty if there was none."""
    if not (np.isfinite([q, df, p_value]).all() and df > 0):
        return ""
    return f"Q({df:.0f}) = {q:.2f}, {_p_value(p_value)}"


def _width(texts: Iterable[str], size: float, weight: str = "normal") -> float:
    """Inches that the longest of ``texts`` takes."""
    font = FontProperties(family="sans-serif", size=size, weight=weight)
    return max(text_to_path.get_text_width_height_descent(text, font, False)[0] for text in texts) / 72


def _wrapped(caption: str, width: float) -> str:
    """Lines no longer than ``width`` inches at the size of a title."""
    # Characters of the title's size are 0.08 inches wide on average.
    return "\n".join(textwrap.wrap(caption, int(width / 0.08)))
