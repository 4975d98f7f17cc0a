"""A published classification report beside what was found, and what that means."""

import os
from collections.abc import Mapping

import pandas as pd

from faceneuro.report.comparisons import claims_table, tally, tidy
from faceneuro.report.tables import Table, write_files

EXTRA_ROWS = {
    ("balanced accuracy", ""): "balanced_accuracy",
    ("ROC AUC", ""): "roc_auc",
    ("Brier score", ""): "brier",
}
"""Metrics that a classification report leaves out; (row, column) as in the report's own cells."""

LEVELS = ("frame", "clip", "subject")
AGGREGATIONS = ("pooled", "fold_mean")

VIEWS = {
    ("published", "frame"): "Random frames held out",
    ("grouped", "frame"): "Subjects held out, by frame",
    ("grouped", "subject"): "Subjects held out, by subject",
}
"""Columns of the readable table: (protocol, level) and heading. The last is the headline."""

HEADLINE = ("grouped", "subject")


def classification_table(
    metrics: pd.DataFrame,
    published: str | os.PathLike,
    cells: Mapping[tuple[str, str], str],
    *,
    published_model: str,
    cohort: str,
    virtual: bool,
    permuted: bool,
) -> pd.DataFrame:
    """A published classification report beside the same numbers of one cohort.

    Parameters
    ----------
    metrics
        Rows of :data:`faceneuro.tables.METRICS` of one study.
    published
        The printed report: a CSV with the columns class, precision, recall, f1, support; lines with # are comments.
    cells
        (row, column) of the report to the name of the metric that it is.
    published_model
        The model that the printed numbers belong to; other models have none.
    cohort
        Its name.
    virtual
        Whether the cohort is rendered, which the table then says.
    permuted
        Whether labels were permuted over subjects, which the table then says.

    Returns
    -------
    One row per protocol, model, level, aggregation and cell: study, row, metric, published, reproduced, ci_low,
    ci_high, protocol, model, level, aggregation, cohort, cohort_note, n, n_subjects.
    """
    printed = pd.read_csv(published, comment="#").set_index("class")
    found = metrics.set_index(["protocol", "model", "level", "aggregation", "metric"])
    study = metrics["study"].iloc[0]
    rows = []
    for protocol, model in metrics[["protocol", "model"]].drop_duplicates().itertuples(index=False):
        for level in LEVELS:
            for aggregation in AGGREGATIONS:
                for (row, column), name in {**cells, **EXTRA_ROWS}.items():
                    key = (protocol, model, level, aggregation, name)
                    if key not in found.index:
                        continue
                    value = found.loc[key]
                    known = model == published_model and column in printed and row in printed.index
                    rows.append(
                        {
                            "study": study,
                            "row": row,
                            "metric": name.split("/")[0],
                            "published": printed.loc[row, column] if known else float("nan"),
                            "reproduced": value["value"],
                            "ci_low": value["ci_low"],
                            "ci_high": value["ci_high"],
                            "protocol": protocol,
                            "model": model,
                            "level": level,
                            "aggregation": aggregation,
                            "cohort": cohort,
                            "cohort_note": cohort_note(virtual, permuted),
                            "n": value["n"],
                            "n_subjects": value["n_subjects"],
                        }
                    )
    return pd.DataFrame(rows)


def cohort_note(virtual: bool, permuted: bool) -> str:
    """What a reader must know about the cohort before any number."""
    note = "virtual cohort, rendered faces, no patients" if virtual else "recordings of people"
    return note + ("; negative control, labels permuted over subjects" if permuted else "")


def write_classification(
    frame: pd.DataFrame, differences: pd.DataFrame, claims: pd.DataFrame, stem: str | os.PathLike, title: str
) -> None:
    """Write a classification table as .csv (everything), .md and .tex (what one reads).

    Parameters
    ----------
    frame
        From :func:`classification_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences`, of the protocol of the headline; may be empty.
    claims
        Rows of :class:`~faceneuro.report.comparisons.Claim`.
    stem
        Path without suffix.
    title
        Of the readable tables.
    """
    judged = f"Of {len(claims)} claims of the paper: {tally(claims['verdict'])}."
    lead = [_warning(frame), *([_headline(frame)] if HEADLINE in _views(frame) else []), judged]
    everything = tidy(frame, differences.assign(protocol=HEADLINE[0]), claim=claims)
    tables = [_report(frame), _comparison(frame), claims_table("Claims", claims)]
    write_files(stem, everything, title, lead, tables, _remarks(frame))


def _shown_model(frame: pd.DataFrame) -> str:
    """The model that the printed numbers belong to, or the first where it was not run."""
    return frame.sort_values("published", kind="stable", na_position="last")["model"].iloc[0]


def _views(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return [view for view in VIEWS if (frame["protocol"] == view[0]).any()]


def _pooled(frame: pd.DataFrame, view: tuple[str, str], model: str) -> pd.DataFrame:
    protocol, level = view
    wanted = {"protocol": protocol, "level": level, "model": model, "aggregation": "pooled"}
    return frame[(frame[list(wanted)] == pd.Series(wanted)).all(axis=1)].set_index(["row", "metric"])


def _report(frame: pd.DataFrame) -> Table:
    """The published report, one line per cell, and each view beside it."""
    model = _shown_model(frame)
    views = {view: _pooled(frame, view, model) for view in _views(frame)}
    lines = []
    first = next(iter(views.values()))
    for row, metric in first.index:
        printed = first.loc[(row, metric), "published"]
        cells = [_number(view.loc[row, metric], metric) for view in views.values()]
        # Rows that hold a single number need no second name.
        column = metric if row.lower().replace(" ", "_") != metric and (row, "") not in EXTRA_ROWS else ""
        lines.append([row, column, _value(printed, metric), *cells])
    return Table(f"Model {model}", ["Row", "Metric", "Published", *(VIEWS[view] for view in views)], lines, 2)


def _comparison(frame: pd.DataFrame) -> Table:
    """All models side by side: accuracy in every view, and the headline's ROC AUC."""
    columns = [(view, ("accuracy", "accuracy"), "accuracy") for view in _views(frame)]
    if HEADLINE in _views(frame):
        columns.append((HEADLINE, ("ROC AUC", "roc_auc"), "ROC AUC"))
    lines = []
    for model in frame["model"].unique():
        cells = [_pooled(frame, view, model) for view, _, _ in columns]
        lines.append(
            [model, *(_number(cell.loc[key], key[1]) for cell, (_, key, _) in zip(cells, columns, strict=True))]
        )
    return Table("All models", ["Model", *(f"{VIEWS[view]}: {name}" for view, _, name in columns)], lines)


def _number(row: pd.Series, metric: str) -> str:
    value = _value(row["reproduced"], metric)
    return (
        value
        if pd.isna(row["ci_low"])
        else f"{value} [{_value(row['ci_low'], metric)}, {_value(row['ci_high'], metric)}]"
    )


def _value(value: float, metric: str) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.0f}" if metric == "support" else f"{value:.2f}"


def _warning(frame: pd.DataFrame) -> str:
    cohort, note = frame[["cohort", "cohort_note"]].iloc[0]
    subjects = frame["n_subjects"].max()
    return f"Cohort {cohort}: {note}; {subjects} subjects. In brackets: 95 % intervals, bootstrapped over subjects."


def _headline(frame: pd.DataFrame) -> str:
    models = frame["model"].unique()
    rows = {model: _pooled(frame, HEADLINE, model) for model in models}
    shown = _shown_model(frame)
    accuracy = rows[shown].loc[("accuracy", "accuracy")]
    areas = [f"{model} {_number(rows[model].loc[('ROC AUC', 'roc_auc')], 'roc_auc')}" for model in models]
    found = (
        f"On subjects held out, each judged once: accuracy of {shown} {_number(accuracy, 'accuracy')}; "
        f"ROC AUC of {', '.join(areas)}."
    )
    if pd.isna(accuracy["published"]):
        return found
    return f"{found} Published: accuracy {_value(accuracy['published'], 'accuracy')} over frames held out at random."


def _remarks(frame: pd.DataFrame) -> list[str]:
    remarks = {
        "published": "**Random frames held out** is the published protocol: classes are balanced, then frames are "
        "split at random, so the people tested on are the people trained on. It rewards recognising them.",
        "grouped": "**Subjects held out**: nobody is in the training and in the test part of a fold. By frame counts "
        "every frame; by subject averages a person's frames into one probability. This is the number to quote.",
    }
    return [
        *(text for protocol, text in remarks.items() if (frame["protocol"] == protocol).any()),
        "Intervals are percentiles of a bootstrap over subjects, stratified by class. Tested units of all folds are "
        "pooled; means over folds and the level of clips are in the CSV file of the same name.",
        "Precision without any prediction of the class counts as 0. The published report gives no intervals.",
        "A printed number **holds** where the interval here lies above chance and reaches it, and **does not hold** "
        "where all of the interval lies below it; a comparison holds where the whole interval of the paired difference "
        "is above zero, and does not hold where the difference is not above zero. In between is **not shown**.",
    ]
