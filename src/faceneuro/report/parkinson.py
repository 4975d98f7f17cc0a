"""The Parkinson study's table: six printed rows beside what was found, claims, and what else could explain it."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import pandas as pd

from faceneuro.evaluation.sources import GOOD, UNKNOWN, overall_verdict
from faceneuro.report.classification import cohort_note
from faceneuro.report.comparisons import (
    BEYOND,
    FAILS,
    NOT_RUN,
    UNTRAINED,
    Claim,
    View,
    against_text,
    claims_table,
    decisive,
    difference_between,
    difference_text,
    interval_text,
    model_remarks,
    not_run_sentence,
    p_text,
    tally,
    tidy,
    untrained_sentence,
    verdict_on,
    worst_of,
)
from faceneuro.report.tables import Table, write_files

TITLE = "Severity of Parkinson's disease from six expressions (all rows of the paper)"
ATTENTION_TITLE = "Which expressions the attention weighs"

PRINTED = {"roc_auc": "auc", "g_mean": "g_mean", "f1/macro": "f1", "accuracy": "accuracy"}
"""Metrics that the paper prints, by their names in :mod:`faceneuro.evaluation.metrics`, and their printed columns."""

RECALLS = ("recall/Non-PD", "recall/Early", "recall/Mid/late")
SUPPORTS = ("support/Non-PD", "support/Early", "support/Mid/late")
STAGES = RECALLS[1:]
"""Recalls of the patients' two classes, the small ones."""

METRICS = (
    *PRINTED,
    "roc_auc/ovo",
    "g_mean/corrected",
    "balanced_accuracy",
    *RECALLS,
    "kappa/quadratic",
    "mae",
    "brier",
    "detection_accuracy",
    "detection_roc_auc",
    *SUPPORTS,
)
"""Metrics of the table; all that the paper does not print are beyond it."""

COMPARED = (*PRINTED, "balanced_accuracy", *STAGES, "kappa/quadratic", "mae")
"""Metrics in which models are compared in pairs."""

NAMES = {
    "roc_auc": "ROC AUC",
    "g_mean": "G-Mean",
    "f1/macro": "F1",
    "accuracy": "Accuracy",
    "roc_auc/ovo": "ROC AUC, pairs",
    "g_mean/corrected": "G-Mean, corrected",
    "balanced_accuracy": "Balanced accuracy",
    "recall/Non-PD": "Recall: Non-PD",
    "recall/Early": "Recall: Early",
    "recall/Mid/late": "Recall: Mid/late",
    "kappa/quadratic": "Kappa",
    "mae": "Mean error",
    "detection_roc_auc": "ROC AUC, any PD",
}

LESS_IS_BETTER = ("mae",)

LEVEL = "subject"
AGGREGATIONS = ("fold_mean", "pooled")

AS_PUBLISHED: View = (LEVEL, "fold_mean")
"""Level and aggregation of the printed numbers: one set of images per subject, the average over five folds."""

POOLED: View = (LEVEL, "pooled")
"""By which the claims are judged. A fold tests a handful of patients of each stage: a mean of G-Means over folds mostly
says in how many of them one was missed."""

OURS, NO_ATTENTION, NO_BALANCING, ORDINAL = "attention_fusion", "concatenation", "unbalanced", "ordinal"
BASELINES = ("mobilenetv4", "swin", "efficientnetv2")
"""Models, by their names in the registry, that the claims are about."""

PAIRS = (
    (OURS, NO_ATTENTION),
    (OURS, NO_BALANCING),
    *((OURS, baseline) for baseline in BASELINES),
    (NO_ATTENTION, NO_BALANCING),
    (ORDINAL, OURS),
)
"""Models to compare."""

PATIENTS = 145
"""Subjects with the disease in the paper."""

HALF_DIGIT = 5e-5
"""By how much a printed number, of four decimals, may be off."""


class Line(NamedTuple):
    """A line of the table: its name in the paper (none beyond it), its name here, the model."""

    row: str | None
    name: str
    model: str


def parkinson_table(
    metrics: pd.DataFrame,
    published: str | os.PathLike,
    lines: Sequence[tuple[str | None, str, str]],
    *,
    cohort: str,
    virtual: bool,
    permuted: bool,
    notes: Mapping[str, str] | None = None,
    not_run: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The printed results beside the same numbers of one cohort.

    Parameters
    ----------
    metrics
        Rows of :data:`faceneuro.tables.METRICS` of the study, one protocol.
    published
        The printed results: a CSV with the columns method, auc, g_mean, f1, accuracy; lines with # are comments.
    lines
        Name in the paper (none beyond it), name and model, in the order of the table. Models that were run but are not
        named here come last.
    cohort
        Its name.
    virtual
        Whether the cohort is rendered.
    permuted
        Whether labels were permuted over subjects.
    notes
        For some models, what a reader must know of them.
    not_run
        For some models that have no metrics, why.

    Returns
    -------
    One row per line, aggregation and metric of :data:`METRICS`, whether the model was run or not: study, row, name,
    model, metric, published, reproduced, ci_low, ci_high, protocol, level, aggregation, cohort, cohort_note, n,
    n_subjects, note.

    Raises
    ------
    ValueError
        If there are several studies or protocols, or a line has a name that the printed table lacks.
    """
    named = [Line(*line) for line in lines]
    origin = metrics[["study", "protocol"]].drop_duplicates()
    if len(origin) != 1:
        raise ValueError(f"the table is made of one study and protocol, not {len(origin)}")
    study, protocol = origin.iloc[0]
    printed = pd.read_csv(published, comment="#").set_index("method")
    if unknown := {line.row for line in named if line.row is not None} - set(printed.index):
        raise ValueError(f"{os.fspath(published)} has no row {', '.join(sorted(unknown))}")
    found = metrics[metrics["level"] == LEVEL].set_index(["model", "aggregation", "metric"])
    run = set(metrics["model"])
    others = sorted(run - {line.model for line in named})
    rows = []
    for line in [*named, *(Line(None, model, model) for model in others)]:
        note = (notes or {}).get(line.model, "") if line.model in run else _reason(line.model, not_run or {})
        for aggregation in AGGREGATIONS:
            for metric in METRICS:
                key = (line.model, aggregation, metric)
                value = found.loc[key] if key in found.index else {}
                in_print = line.row is not None and metric in PRINTED
                rows.append(
                    {
                        "study": study,
                        "row": line.row,
                        "name": line.name,
                        "model": line.model,
                        "metric": metric,
                        "published": printed.loc[line.row, PRINTED[metric]] if in_print else None,
                        "reproduced": value.get("value"),
                        "ci_low": value.get("ci_low"),
                        "ci_high": value.get("ci_high"),
                        "protocol": protocol,
                        "level": LEVEL,
                        "aggregation": aggregation,
                        "cohort": cohort,
                        "cohort_note": cohort_note(virtual, permuted),
                        "n": value.get("n"),
                        "n_subjects": value.get("n_subjects"),
                        "note": note,
                    }
                )
    numbers = dict.fromkeys(("published", "reproduced", "ci_low", "ci_high"), "float64")
    return pd.DataFrame(rows).astype(numbers | dict.fromkeys(("n", "n_subjects"), "Int64"))


def _reason(model: str, not_run: Mapping[str, str]) -> str:
    return f"{NOT_RUN}: {not_run[model]}" if model in not_run else NOT_RUN


def judge_claims(frame: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """What the paper claims, on this cohort.

    Parameters
    ----------
    frame
        From :func:`parkinson_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences` of the same predictions, for :data:`PAIRS` and
        :data:`COMPARED`.

    Returns
    -------
    claim, verdict, evidence. A claim *holds* where the difference, over all subjects pooled, is above zero with its
    whole 95 % interval; is *not shown* where only the difference is; *does not hold* where it is not above zero. One
    that rests on several comparisons is as good as the worst of them.
    """
    found = _Found(frame, differences)
    claims = (
        _compare(
            found,
            "Attention-based fusion helps: Ours has a higher F1 than the plain concatenation (w/o AFF).",
            OURS,
            (NO_ATTENTION,),
            ("f1/macro",),
            beside=("roc_auc", "g_mean", "accuracy"),
        ),
        _compare(
            found,
            "Class balancing helps: Ours has a higher G-Mean than with plain cross-entropy (w/o ACB).",
            OURS,
            (NO_BALANCING,),
            ("g_mean",),
            beside=("f1/macro", "roc_auc", "accuracy"),
        ),
        _compare(
            found,
            "Class balancing helps the rare classes: Ours has a higher recall of either stage than w/o ACB.",
            OURS,
            (NO_BALANCING,),
            STAGES,
        ),
        _compare(
            found,
            "Ours has a higher F1 than each of the three baselines.",
            OURS,
            BASELINES,
            ("f1/macro",),
            beside=("roc_auc",),
            headline=True,
        ),
        _compare(
            found,
            f"{BEYOND}: with an ordinal head, the stages are closer to the truth (kappa and mean error).",
            ORDINAL,
            (OURS,),
            ("kappa/quadratic", "mae"),
        ),
    )
    return pd.DataFrame([asdict(claim) for claim in claims])


@dataclass(frozen=True)
class _Found:
    """Numbers for the claims, looked up by model."""

    frame: pd.DataFrame
    differences: pd.DataFrame

    def run(self, model: str) -> bool:
        return not not_run_sentence(self.frame, [model])

    def value(self, model: str, metric: str) -> str:
        return interval_text(_view(self.frame, model, POOLED).loc[metric], form=".2f")

    def printed(self, model: str, metric: str) -> float:
        """The number in the paper; NaN where it has none."""
        known = (self.frame["model"] == model).any()
        return float(_view(self.frame, model, POOLED).loc[metric, "published"]) if known else float("nan")

    def difference(self, a: str, b: str, metric: str) -> pd.Series | None:
        return difference_between(self.differences, a, b, metric, POOLED)

    def gain(self, a: str, b: str, metric: str) -> pd.Series:
        """By how much a is better than b."""
        sign = -1.0 if metric in LESS_IS_BETTER else 1.0
        return difference_between(self.differences, a, b, metric, POOLED, sign)


def _compare(
    found: _Found,
    claim: str,
    better: str,
    others: Sequence[str],
    metrics: Sequence[str],
    beside: Sequence[str] = (),
    headline: bool = False,
) -> Claim:
    """A model against some others, in metrics that decide and in some that are told beside."""
    first = (found.printed(model, metrics[0]) for model in (better, others[0]))
    in_print = against_text(NAMES[metrics[0]], *first, ".4f")
    about = {"in_print": in_print, "models": ", ".join([better, *others]), "headline": headline}
    missing = not_run_sentence(found.frame, [better, *others])
    run = [other for other in others if found.run(other)]
    if not run or not found.run(better):
        return Claim(claim, NOT_RUN, missing, **about)
    if absent := [other for other in run if any(found.difference(better, other, name) is None for name in metrics)]:
        return Claim(claim, NOT_RUN, f"{better} was not compared with {' or '.join(absent)}.", **about)
    gains = {(other, metric): found.gain(better, other, metric) for other in run for metric in metrics}
    worst = worst_of(map(verdict_on, gains.values()))
    said = [_values(found, better, run, metric) for metric in metrics]
    for other in run:
        gaps = {NAMES[metric]: found.difference(better, other, metric) for metric in beside}
        told = [f"{name} {difference_text(gap, '+.2f')}" for name, gap in gaps.items() if gap is not None]
        said += [f"Differences from {other} in other metrics: {', '.join(told)}."] if told else []
    # One comparison that fails decides, whatever those that were not run would have shown.
    verdict = NOT_RUN if missing and worst != FAILS else worst
    about |= _in_short(found, better, *decisive(gains)) if verdict != NOT_RUN else {}
    return Claim(claim, verdict, " ".join([*said, *([missing] if missing else [])]), **about)


def _in_short(found: _Found, better: str, other: str, metric: str) -> dict[str, Any]:
    """The comparison that decides: as printed, here, and how sure it is."""
    name, gap = NAMES[metric], found.difference(better, other, metric)
    ours, theirs = (_view(found.frame, model, POOLED).loc[metric, "reproduced"] for model in (better, other))
    here = f"{against_text(name, ours, theirs, '.2f')} of {other}: {interval_text(gap, 'difference', '+.2f')}"
    in_print = against_text(name, found.printed(better, metric), found.printed(other, metric), ".4f")
    return {"in_print": in_print, "here": here, "p_value": float(gap["p_value"])}


def _values(found: _Found, better: str, others: Sequence[str], metric: str) -> str:
    """A metric of a model and of others, what they differ by, and what is printed."""
    said = [
        f"of {other} {found.value(other, metric)}, difference "
        f"{difference_text(found.difference(better, other, metric), '+.2f')}"
        for other in others
    ]
    printed = [found.printed(model, metric) for model in (better, *others)]
    known = not any(map(pd.isna, printed))
    beside = [f"Published: {printed[0]:.4f} against {_and(f'{value:.4f}' for value in printed[1:])}."] if known else []
    return " ".join([f"{NAMES[metric]} of {better} {found.value(better, metric)}; {'; '.join(said)}.", *beside])


def write_parkinson(
    frame: pd.DataFrame,
    differences: pd.DataFrame,
    claims: pd.DataFrame,
    audits: pd.DataFrame,
    stem: str | os.PathLike,
) -> None:
    """Write the Parkinson table as .csv (everything), .md and .tex (what one reads).

    Parameters
    ----------
    frame
        From :func:`parkinson_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences`.
    claims
        From :func:`judge_claims`.
    audits
        Rows of :data:`faceneuro.evaluation.sources.AUDITS`; may be empty.
    stem
        Path without suffix.
    """
    as_rows = audits.rename(columns={"value": "reproduced", "quantity": "metric"})
    everything = tidy(frame, differences, claim=claims, audit=as_rows)
    tables = [
        _results(frame),
        _pooled(frame),
        _by_class(frame),
        claims_table("Claims", claims),
        *([_comparisons(differences)] if len(differences) else []),
        *([_audits(audits)] if len(audits) else []),
    ]
    lead = [_warning(frame), *_untrained(frame), *_collapsed(frame), _headline(frame, claims, audits)]
    write_files(stem, everything, TITLE, lead, tables, _remarks(frame, audits))


def _view(frame: pd.DataFrame, model: str, view: View) -> pd.DataFrame:
    rows = frame[(frame["model"] == model) & (frame["level"] == view[0]) & (frame["aggregation"] == view[1])]
    return rows.set_index("metric")


def _models(frame: pd.DataFrame) -> list[Line]:
    named = frame[["row", "name", "model"]].drop_duplicates()
    return [Line(row if pd.notna(row) else None, *rest) for row, *rest in named.itertuples(index=False, name=None)]


def _was_run(frame: pd.DataFrame, model: str) -> bool:
    return bool(frame.loc[frame["model"] == model, "reproduced"].notna().any())


def _results(frame: pd.DataFrame) -> Table:
    """The printed table, every number beside the same one here, as means over folds."""
    lines = []
    for line in _models(frame):
        cells = _view(frame, line.model, AS_PUBLISHED)
        numbers = []
        for place, metric in enumerate(PRINTED):
            here = interval_text(cells.loc[metric], form=".2f")
            if place == 0 and not _was_run(frame, line.model):
                here = NOT_RUN
            numbers += [_plain(cells.loc[metric, "published"]), here]
        lines.append([line.name, line.row or "beyond it", *numbers])
    columns = [f"{NAMES[metric]}: {where}" for metric in PRINTED for where in ("published", "here")]
    header = ["Method", "In the paper", *columns]
    return Table("Results, published and here, means over folds", header, lines, text_columns=2)


def _pooled(frame: pd.DataFrame) -> Table:
    metrics = ("roc_auc", "roc_auc/ovo", "g_mean", "f1/macro", "accuracy", "balanced_accuracy")
    return _of_models(frame, "The same subjects, all folds together", metrics)


def _by_class(frame: pd.DataFrame) -> Table:
    metrics = (*RECALLS, "kappa/quadratic", "mae", "detection_roc_auc")
    return _of_models(frame, "By class, by order of the classes, and any PD against none", metrics)


def _of_models(frame: pd.DataFrame, heading: str, metrics: Sequence[str]) -> Table:
    """Models that were run, every subject counted once."""
    lines = []
    for line in _models(frame):
        if _was_run(frame, line.model):
            cells = _view(frame, line.model, POOLED)
            lines.append([line.model, *(interval_text(cells.loc[metric], form=".2f") for metric in metrics)])
    return Table(heading, ["Model", *(NAMES[metric] for metric in metrics)], lines)


def _comparisons(differences: pd.DataFrame) -> Table:
    """Paired differences in what the claims rest on."""
    shown = ("f1/macro", "g_mean", "roc_auc", "kappa/quadratic")
    at = differences.set_index(["model_a", "model_b", "metric", "level", "aggregation"]).sort_index()
    lines = []
    for pair in differences[["model_a", "model_b"]].drop_duplicates().itertuples(index=False, name=None):
        cells = []
        for metric in shown:
            gap = at.loc[(*pair, metric, *POOLED)]
            cells += [interval_text(gap, "difference", "+.2f"), p_text(gap["p_value"])]
        lines.append([*pair, *cells])
    columns = [f"{NAMES[metric]}: {what}" for metric in shown for what in ("difference", "p")]
    return Table("Paired differences, all folds together", ["Model", "Against", *columns], lines, text_columns=2)


def _audits(audits: pd.DataFrame) -> Table:
    lines = []
    for row in audits.itertuples():
        of = ", ".join(filter(None, (_text(row.source), _text(row.model))))
        lines.append([f"{row.audit} ({of})" if of else row.audit, f"**{row.verdict}**", row.sentence])
    heading = "What else than the disease could explain it"
    return Table(heading, ["Audit", "Verdict", "Evidence from this cohort"], lines, 3, sentences=(0, 1, 2))


def _text(value: object) -> str:
    """A word of a table that may have been written to CSV and read again, where an empty one is not a number."""
    return "" if pd.isna(value) else str(value)


def _plain(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4f}"


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _warning(frame: pd.DataFrame) -> str:
    cohort, note = frame[["cohort", "cohort_note"]].iloc[0]
    counts = frame[(frame["aggregation"] == "pooled") & frame["metric"].isin(SUPPORTS)].groupby("metric")["reproduced"]
    classes = [f"{count:.0f} {metric.split('/', 1)[1]}" for metric, count in counts.max().reindex(SUPPORTS).items()]
    subjects = frame["n_subjects"].max()
    return (
        f"Cohort {cohort}: {note}; {subjects} subjects ({', '.join(classes)}), each with one set of up to six "
        "expressions. In brackets: 95 % intervals, bootstrapped over subjects."
    )


def _untrained(frame: pd.DataFrame) -> list[str]:
    """A sentence if some of the models that were run see the image through random weights."""
    mine = frame[frame["note"].str.contains(UNTRAINED) & frame["reproduced"].notna()]
    return untrained_sentence([line.model for line in _models(mine)])


def _collapsed(frame: pd.DataFrame) -> list[str]:
    """A sentence if some models call everybody by one class."""
    said = []
    for line in _models(frame):
        recalls = _view(frame, line.model, POOLED).loc[list(RECALLS), "reproduced"]
        if sorted(recalls) == [0, 0, 1]:
            said.append(f"{line.model} ({recalls.idxmax().split('/', 1)[1]})")
    return [f"These models call everybody by one class: {', '.join(said)}."] if said else []


def _headline(frame: pd.DataFrame, claims: pd.DataFrame, audits: pd.DataFrame) -> str:
    if best := not_run_sentence(frame, [OURS]):
        said = [best]
    else:
        cells = _view(frame, OURS, AS_PUBLISHED)
        numbers = []
        for metric in PRINTED:
            printed = cells.loc[metric, "published"]
            beside = "" if pd.isna(printed) else f" (published {printed:.2f})"
            numbers.append(f"{NAMES[metric]} {interval_text(cells.loc[metric], form='.2f')}{beside}")
        said = [f"On subjects held out, means over folds, attention fusion reaches {_and(numbers)}."]
    beyond = claims["claim"].str.startswith(BEYOND)
    said.append(f"Of {int((~beyond).sum())} claims of the paper: {tally(claims.loc[~beyond, 'verdict'])}.")
    if len(audits):
        untold = int((audits["grade"] == UNKNOWN).sum())
        rest = f" ({untold} could not be told)" if untold and (audits["grade"] == GOOD).any() else ""
        said.append(f"What else than the disease could explain it: {overall_verdict(audits)}{rest}.")
    return " ".join(said)


def _remarks(frame: pd.DataFrame, audits: pd.DataFrame) -> list[str]:
    names = {line.model: f"{line.row} ({line.model})" if line.row else line.model for line in _models(frame)}
    return [
        "Subjects are held out whole, and dealt to the folds by class and by data set of origin. Class weights, epochs "
        "and everything else that is fitted come from the training part of a fold.",
        "F1 is the mean over the classes; G-Mean is the cube root of the product of the three recalls, 0 where a class "
        "is missed entirely (corrected: a recall of 0.001 instead of 0; in the CSV file); ROC AUC is the mean of each "
        "class against the rest, pairs: of every class against every other. Kappa is weighted by the squares of the "
        "steps between classes, the mean error counts steps; both need the order of the classes, which the paper does "
        "not use.",
        "Means over folds are what the paper gives. A fold tests few patients of each stage, and a fold that misses a "
        "stage has a G-Mean of 0; so claims and comparisons go by all folds together, every subject counted once.",
        *_majority_remarks(frame),
        *_gap_remark(frame),
        *_ablation_remark(frame),
        *_margin_remark(frame),
        *_here_remark(frame),
        "**holds**: better, with the whole interval of the paired difference above zero. **not shown**: better, but "
        "the interval includes zero. **does not hold**: not better. Claims that rest on several comparisons are as "
        "good as the worst.",
        "Paired differences: both models in the same resamples of the same subjects. Their p-values are not adjusted "
        "for the number of comparisons. Interval and p-value say what other subjects might have given, not what "
        "another start of the training might.",
        *(_audit_remarks() if len(audits) else []),
        *model_remarks(frame, names),
    ]


def _audit_remarks() -> list[str]:
    return [
        "In the paper every patient comes from one hospital and every other subject from public data sets, so whatever "
        "tells data sets apart tells patients from others. Regressions try to tell them from the features and from the "
        "pictures without the face, by permutation tests at 0.01; a network that has never seen anybody of a data set "
        "is asked about its healthy subjects; ages are matched one to one.",
    ]


def _majority_f1(accuracy: pd.Series) -> pd.Series:
    """Mean F1 over three classes of calling everybody by the one whose share is the accuracy."""
    return 2 * accuracy / (1 + accuracy) / 3


def _majority_remarks(frame: pd.DataFrame) -> list[str]:
    """Printed rows that a predictor without any knowledge of the picture would have."""
    printed = _published(frame)
    low, high = (_majority_f1(printed["accuracy"] + side * HALF_DIGIT) for side in (-1, 1))
    f1 = printed["f1/macro"]
    said = []
    for row in printed.index[(f1 + HALF_DIGIT >= low) & (f1 - HALF_DIGIT <= high)]:
        a, g_mean = printed.loc[row, "accuracy"], printed.loc[row, "g_mean"]
        said.append(
            f"The printed F1 of {row}, {f1[row]:.4f}, is that of calling everybody by the most common class: at its "
            f"accuracy a = {a:.4f}, (2a / (1 + a)) / 3 = {_majority_f1(a):.4f}. So the printed F1 is the mean over "
            f"classes, and this row tells (nearly) no classes apart. Its accuracy is then the share of those without "
            f"the disease: with the paper's {PATIENTS} patients, there are some {PATIENTS / (1 - a):.0f} subjects."
        )
        half = PATIENTS // 2
        least = (1 / (half * (PATIENTS - half))) ** (1 / 3)
        if 0 < g_mean < least:
            said.append(
                f"The printed G-Mean of {row}, {g_mean:.4f}, is more than such a predictor's 0, and less than the "
                f"{least:.4f} of finding a single patient of either stage, and everybody else, among all {PATIENTS}. "
                "So it is no number of all subjects together, but a mean over folds, or one in which recalls of 0 are "
                "corrected."
            )
    return said


def _gap_remark(frame: pd.DataFrame) -> list[str]:
    """Rows that tell the classes apart by F1 and hardly do by G-Mean."""
    printed = _published(frame)
    apart = printed[(printed["g_mean"] < 2 / 3 * printed["f1/macro"]) & (printed["f1/macro"] > 0.5)]
    if apart.empty:
        return []
    rows = [f"{row} ({f1:.4f} and {g:.4f})" for row, f1, g in apart[["f1/macro", "g_mean"]].itertuples(name=None)]
    return [
        "Where a fold misses a class, its G-Mean is 0, while its F1 may still be up to 2/3. So a mean over folds can "
        f"have a high F1 and a low G-Mean, as in print {_and(rows)}."
    ]


def _ablation_remark(frame: pd.DataFrame) -> list[str]:
    """What either ablation is better at, in print."""
    printed = _published(frame)
    rows = {line.model: line.row for line in _models(frame) if line.row in printed.index}
    if not {NO_ATTENTION, NO_BALANCING} <= set(rows):
        return []
    first, second = printed.loc[rows[NO_BALANCING]], printed.loc[rows[NO_ATTENTION]]
    better = {
        rows[model]: [
            f"{NAMES[name]} ({mine[name]:.4f} against {other[name]:.4f})"
            for name in PRINTED
            if mine[name] > other[name]
        ]
        for model, mine, other in ((NO_BALANCING, first, second), (NO_ATTENTION, second, first))
    }
    said = [f"{row} has the higher {_and(names)}" for row, names in better.items() if names]
    return [f"Of the two ablations in print, {'; '.join(said)}."] if said else []


def _margin_remark(frame: pd.DataFrame) -> list[str]:
    """By how little the paper's own method leads."""
    printed = _published(frame)
    rows = {line.model: line.row for line in _models(frame) if line.row in printed.index}
    if OURS not in rows or len(printed) < 2:
        return []
    others = printed.drop(rows[OURS])
    margins = printed.loc[rows[OURS]] - others.max()
    said = [f"{NAMES[name]} {margins[name]:+.4f} ({others[name].idxmax()})" for name in PRINTED]
    return [
        f"In print, {rows[OURS]} differs from the best of the other rows by: {', '.join(said)}. There are no "
        "intervals, and no word on how often training was repeated."
    ]


def _here_remark(frame: pd.DataFrame) -> list[str]:
    """What calling everybody by the most common class gives on this cohort."""
    rows = frame[(frame["aggregation"] == "pooled") & frame["metric"].isin(SUPPORTS)]
    counts = rows.groupby("metric")["reproduced"].max()
    if counts.isna().any() or counts.empty:
        return []
    share, name = counts.max() / counts.sum(), counts.idxmax().split("/", 1)[1]
    return [
        f"On this cohort, calling everybody {name} has accuracy {share:.2f}, F1 {_majority_f1(share):.2f}, G-Mean 0, "
        "balanced accuracy 0.33 and ROC AUC 0.50."
    ]


def _published(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed numbers, by name in the paper and metric."""
    rows = frame[frame["row"].notna() & (frame["aggregation"] == "pooled") & frame["metric"].isin(list(PRINTED))]
    return rows.pivot(index="row", columns="metric", values="published").reindex(rows["row"].unique())


def write_attention(
    weights: pd.DataFrame,
    followed: pd.DataFrame,
    stem: str | os.PathLike,
    *,
    cohort: str,
    virtual: bool,
    permuted: bool,
    backbone: str,
) -> None:
    """Write what the attention weighs as .csv, .md and .tex.

    Parameters
    ----------
    weights
        From :func:`faceneuro.evaluation.attention.gate_by_expression`.
    followed
        From :func:`faceneuro.evaluation.attention.follows_loss`.
    stem
        Path without suffix.
    cohort
        Its name.
    virtual, permuted
        Whether the cohort is rendered, and whether labels were permuted over subjects.
    backbone
        What a reader must know of the network's backbone.
    """
    note = cohort_note(virtual, permuted)
    everything = pd.concat([weights.assign(kind="weight"), followed.assign(kind="followed")], ignore_index=True)
    everything = everything.assign(study="parkinson", cohort=cohort, cohort_note=note)
    first = ["kind", "study", "label", "expression"]
    lines = [
        [
            row["label"],
            row["expression"],
            f"**{row['verdict']}**",
            str(row["n_subjects"]),
            interval_text(row, "weight", ".3f"),
            interval_text(
                {
                    name: row[f"surplus{tail}"]
                    for name, tail in (("surplus", ""), ("ci_low", "_low"), ("ci_high", "_high"))
                },
                "surplus",
                "+.3f",
            ),
        ]
        for row in weights.to_dict("records")
    ]
    header = ["Class", "Expression", "Verdict", "Subjects", "Weight", "Weight: above the others"]
    write_files(
        stem,
        everything[[*first, *(name for name in everything if name not in first)]],
        ATTENTION_TITLE,
        [
            f"Cohort {cohort}: {note}. In brackets: 95 % intervals, bootstrapped over subjects.",
            f"The network: {backbone}.",
            *followed["sentence"],
        ],
        [Table("Weight of the expressions", header, lines, text_columns=3)],
        [
            "The weight of an expression is the mean of the numbers between 0 and 1 by which the attention multiplies "
            "its channels, in subjects held out. Above the others: less the mean over all expressions of the same "
            "subject, because networks of different folds differ in the height of all weights.",
            "**more than the others**, **less than the others**: the whole interval of that is on one side of zero, at "
            "95 % for all expressions of a class together (Bonferroni).",
            "A weight is not an explanation: the layers behind it can undo it.",
            *(_loss_remark() if virtual else []),
        ],
    )


def _loss_remark() -> list[str]:
    return [
        "Lost movement: by how much the facial units of a virtual patient fall short of what the expression asks for, "
        "added up. The correlation is over the expressions, so its p-value comes from all their orders.",
    ]
