"""Figures of a study with two classes or more: learning curves, confusion matrices, ROC, calibration."""

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from faceneuro.evaluation.audits import held_out, reliability
from faceneuro.evaluation.metrics import class_probabilities, units
from faceneuro.report.drawing import COLOURS, DASHES, drawing

PROTOCOLS = {"published": "random frames held out", "grouped": "subjects held out"}
VIEWS = (("published", "frame"), ("grouped", "frame"), ("grouped", "subject"))
"""(protocol, level) of the panels, as far as nothing else is asked for; the last is the headline."""

Views = Sequence[tuple[str, str]]


def learning_curves(history: pd.DataFrame, model: str, caption: str, stem: str | os.PathLike) -> None:
    """Accuracy and loss by epoch, a column per protocol: the mean over folds and the range of the folds.

    Parameters
    ----------
    history
        Rows of :data:`faceneuro.tables.HISTORY`.
    model
        Whose curves.
    caption
        What a reader must know about the cohort; part of the title.
    stem
        Path without suffix; .png and .svg are written.
    """
    mine = history[history["model"] == model]
    protocols = [name for name in PROTOCOLS if (mine["protocol"] == name).any()]
    with drawing(stem, (3.4 * len(protocols) + 0.4, 5.0), f"{model}: learning curves", caption) as figure:
        panels = figure.subplots(2, len(protocols), sharex=True, sharey="row", squeeze=False)
        for column, protocol in enumerate(protocols):
            curves = mine[mine["protocol"] == protocol]
            folds = curves["fold"].nunique()
            for axes, measure in zip(panels[:, column], ("accuracy", "loss"), strict=True):
                for index, (part, rows) in enumerate(curves.groupby("part", sort=True)):
                    over_folds = rows.groupby("epoch")[measure].agg(["mean", "min", "max"])
                    look = {"color": COLOURS[index], "linestyle": DASHES[index]}
                    axes.plot(over_folds.index, over_folds["mean"], label=part, **look)
                    if folds > 1:
                        axes.fill_between(
                            over_folds.index,
                            over_folds["min"],
                            over_folds["max"],
                            color=COLOURS[index],
                            alpha=0.15,
                            lw=0,
                        )
                if column == 0:
                    axes.set_ylabel(measure)
            panels[0, column].set_title(
                f"{PROTOCOLS[protocol]}\n({folds} fold{'s: mean and range' if folds > 1 else ''})"
            )
            panels[1, column].set_xlabel("epoch")
            panels[1, column].xaxis.get_major_locator().set_params(integer=True)
        panels[1, 0].set_ylim(bottom=0)
        panels[0, 0].legend(loc="best")


def confusion_matrices(
    predictions: pd.DataFrame,
    model: str,
    classes: Sequence[str],
    caption: str,
    stem: str | os.PathLike,
    views: Views = VIEWS,
) -> None:
    """Counts of true and predicted classes, a panel per protocol and level; shade and percent go by true class.

    Parameters
    ----------
    predictions
        Rows of :data:`faceneuro.tables.PREDICTIONS` or of :func:`faceneuro.tables.class_predictions_schema`.
    model, caption, stem
        As for :func:`learning_curves`.
    classes
        As for :func:`faceneuro.evaluation.metrics.evaluate`.
    views
        (protocol, level) of the panels; protocols without predictions of the model have none.
    """
    mine = predictions[predictions["model"] == model]
    views = _present(views, mine)
    side = 2.7 + 0.6 * (len(classes) - 2)
    with drawing(stem, (side * len(views) + 0.5, side + 1), f"{model}: confusion matrices", caption) as figure:
        panels = figure.subplots(1, len(views), squeeze=False)[0]
        for axes, (protocol, level) in zip(panels, views, strict=True):
            tested = units(mine[mine["protocol"] == protocol], level)
            counts = np.zeros((len(classes), len(classes)), int)
            truly = pd.Index(classes).get_indexer(tested["label"])
            np.add.at(counts, (truly, class_probabilities(tested).argmax(axis=1)), 1)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (row, column), count in np.ndenumerate(counts):
                share = shares[row, column]
                text = f"{count}\n{share:.0%}"
                axes.text(
                    column, row, text, ha="center", va="center", color="white" if share > 0.62 else "black", fontsize=11
                )
            axes.set_xticks(range(len(classes)), classes)
            axes.set_yticks(range(len(classes)), classes, rotation=90, va="center")
            axes.tick_params(length=0)
            axes.grid(False)
            axes.spines[:].set_visible(False)
            axes.set_xlabel("predicted")
            axes.set_title(_view_title(protocol, level, len(tested)))
        panels[0].set_ylabel("true")


def roc_curves(
    predictions: pd.DataFrame,
    metrics: pd.DataFrame,
    classes: Sequence[str],
    caption: str,
    stem: str | os.PathLike,
    views: Views = VIEWS,
) -> None:
    """ROC of every model, a panel per protocol and level, with the area and its interval in the legend.

    Of more than two classes each has a panel of its own, in which it stands against the rest.

    Parameters
    ----------
    predictions
        Rows of :data:`faceneuro.tables.PREDICTIONS` or of :func:`faceneuro.tables.class_predictions_schema`.
    metrics
        Rows of :data:`faceneuro.tables.METRICS` of the same predictions.
    classes
        As for :func:`faceneuro.evaluation.metrics.evaluate`.
    caption, stem
        As for :func:`learning_curves`.
    views
        (protocol, level) of the panels; protocols without predictions have none.
    """
    two = len(classes) == 2
    shown = [(*view, place) for view in _present(views, predictions) for place in ([1] if two else range(len(classes)))]
    areas = metrics[metrics["aggregation"] == "pooled"].set_index(["metric", "protocol", "level", "model"])
    models = predictions["model"].nunique()
    legend_height = 0.3 + 0.18 * models
    size = (3.1 * len(shown) + 0.4, 4.2 + legend_height)
    title = "ROC, folds pooled" if two else "ROC of each class against the rest, folds pooled"
    with drawing(stem, size, title, caption) as figure:
        panels, legends = figure.subplots(
            2, len(shown), sharey="row", squeeze=False, height_ratios=[3.3, legend_height]
        )
        for axes, below, (protocol, level, place) in zip(panels, legends, shown, strict=True):
            axes.plot([0, 1], [0, 1], color="#888888", lw=0.8)
            for index, (model, rows) in enumerate(
                predictions[predictions["protocol"] == protocol].groupby("model", sort=True)
            ):
                tested = units(rows, level)
                area = areas.loc[("roc_auc" if two else f"roc_auc/{classes[place]}", protocol, level, model)]
                interval = "" if pd.isna(area["ci_low"]) else f" [{area['ci_low']:.2f}, {area['ci_high']:.2f}]"
                look = {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}
                curve = _roc(tested["label"] == classes[place], class_probabilities(tested)[:, place])
                axes.plot(*curve, label=f"{model}  {area['value']:.2f}{interval}", **look)
            axes.set_aspect("equal")
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            axes.set_xlabel("false positive rate")
            heading = _view_title(protocol, level, len(tested))
            axes.set_title(heading if two else f"{classes[place]}:\n{heading}")
            below.set_axis_off()
            below.legend(*axes.get_legend_handles_labels(), loc="upper center", title="area and its 95 % interval")
        panels[0].set_ylabel(f"true positive rate ({classes[1]})" if two else "true positive rate")


def calibration_curve(
    predictions: pd.DataFrame,
    model: str,
    classes: Sequence[str],
    caption: str,
    stem: str | os.PathLike,
    *,
    resamples: int,
    seed: int,
) -> None:
    """The share who are ill of the subjects held out that get about such a probability; each subject is a tick.

    Parameters
    ----------
    predictions, model, classes, caption, stem
        As for :func:`confusion_matrices`; all classes but the first are ill.
    resamples, seed
        As for :func:`faceneuro.evaluation.audits.reliability`.
    """
    mine = predictions[(predictions["protocol"] == "grouped") & (predictions["model"] == model)]
    with drawing(stem, (5.2, 4.6), f"{model}: calibration, subjects held out", caption) as figure:
        axes = figure.subplots()
        if mine.empty:
            axes.set_axis_off()
            axes.text(0.5, 0.5, "The protocol grouped was not run: no subject was held out.", ha="center", fontsize=9)
            return
        people = held_out(mine, model, classes[0])
        bins = reliability(people, resamples, seed)
        axes.set_title(f"n = {len(people)}, in bins of the sizes given")
        axes.plot([0, 1], [0, 1], color="#888888", lw=0.8)
        at = bins["probability"]
        label = "where 95 % of calibrated models are"
        axes.vlines(at, bins["expected_low"], bins["expected_high"], color="#BBBBBB", lw=9, alpha=0.6, label=label)
        spread = [bins["share"] - bins["ci_low"], bins["ci_high"] - bins["share"]]
        axes.errorbar(
            at,
            bins["share"],
            np.clip(spread, 0, None),
            fmt="o",
            color=COLOURS[0],
            capsize=2,
            label="share, 95 % interval",
        )
        for row in bins.itertuples():
            axes.annotate(f"{row.n}", (row.probability, row.share), (5, 4), textcoords="offset points", fontsize=8)
        for ill, place in ((True, 1.06), (False, -0.06)):
            mine = people.loc[people["ill"] == ill, "probability"]
            axes.plot(mine, np.full(len(mine), place), "|", color=COLOURS[ill], markersize=9)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.11, 1.11)
        sick = classes[1] if len(classes) == 2 else f"not {classes[0]}"
        axes.set_xlabel(f"probability of {sick}")
        axes.set_ylabel(f"share who are {sick} (ticks: each subject)")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)


def _roc(hit: pd.Series, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every threshold, from none to all."""
    by_score = hit.groupby(score).agg(["sum", "count"])[::-1]
    hits, tried = by_score["sum"].cumsum(), by_score["count"].cumsum()
    misses = tried - hits
    return np.r_[0, misses / misses.iloc[-1]], np.r_[0, hits / hits.iloc[-1]]


def _present(views: Views, predictions: pd.DataFrame) -> list[tuple[str, str]]:
    return [view for view in views if (predictions["protocol"] == view[0]).any()]


def _view_title(protocol: str, level: str, n: int) -> str:
    return f"{PROTOCOLS[protocol]},\nby {level} (n = {n:,})"
