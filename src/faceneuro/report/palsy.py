"""The palsy study's table: thirteen printed rows beside what was found, what was compared, and which claims hold."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import pandas as pd

from faceneuro.report.classification import cohort_note
from faceneuro.report.comparisons import (
    CONTROL,
    FAILS,
    HOLDS,
    NOT_RUN,
    NOT_SHOWN,
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

TITLE = "Facial palsy from images and landmarks (all rows of the paper)"

METRICS = {"f1": "f1/Palsy", "precision": "precision/Palsy", "recall": "recall/Palsy", "roc_auc": "roc_auc"}
"""Columns of the table and the metrics of :mod:`faceneuro.evaluation.metrics` that they are; the paper has no AUC."""

LEVELS = ("frame", "subject")
AGGREGATIONS = ("fold_mean", "pooled")

AS_PUBLISHED = ("frame", "fold_mean")
"""Level and aggregation of the printed numbers, see :func:`_harmonic_remark`."""

BY_SUBJECT = ("subject", "pooled")
"""Level and aggregation of the ROC AUC that is shown: every subject judged once, by the mean of its frames."""

EARLY, LATE, GATED, ATTENTION = "early_rgb", "late_rgb", "gated_rgb", "attention_rgb"
MEASURES, MIXER, RESNET = "handcrafted_fnn", "rgb_mixer", "rgb_resnet"
BACKGROUND, SHUFFLED = "surroundings_mixer", "shuffled_fnn"
"""Models, by their names in the registry, that the claims and controls are about."""

PAIRS = (
    (EARLY, MIXER),
    (EARLY, MEASURES),
    (EARLY, LATE),
    (MIXER, RESNET),
    (MIXER, MEASURES),
    ("early_lines", "lines_resnet"),
    ("early_lines", MEASURES),
    (LATE, MIXER),
    ("late_lines", MEASURES),
    (GATED, EARLY),
    (ATTENTION, EARLY),
)
"""Models to compare; the claims need the first four."""

OK = "ok"
BACKGROUND_PREDICTS = "the background predicts the label"
SHUFFLED_PREDICT = "shuffled measures predict the label"
"""Verdicts on controls."""

FUSIONS = {10: (3, 6), 11: (3, 7), 12: (3, 6), 13: (3, 7)}
"""Rows of the paper that fuse two others."""


class Line(NamedTuple):
    """A line of the table: number in the paper (none beyond it), what the model sees, what it is, its name here."""

    row: int | None
    modality: str
    network: str
    model: str


def palsy_table(
    metrics: pd.DataFrame,
    published: str | os.PathLike,
    lines: Sequence[tuple[int | None, str, str, str]],
    *,
    cohort: str,
    virtual: bool,
    permuted: bool,
    notes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The printed results beside the same numbers of one cohort, all in percent.

    Parameters
    ----------
    metrics
        Rows of :data:`faceneuro.tables.METRICS` of the study, one protocol.
    published
        The printed results: a CSV with the columns row, f1, precision, recall; lines with # are comments.
    lines
        Number in the paper (none beyond it), modality, network and model name, in the order of the table. Models that
        were run but are not named here come last.
    cohort
        Its name.
    virtual
        Whether the cohort is rendered.
    permuted
        Whether labels were permuted over subjects.
    notes
        For some models, what a reader must know of them: where the weights are from, or why they were not run.

    Returns
    -------
    One row per line, metric, level and aggregation, whether the model was run or not: study, row, modality, network,
    metric, published, reproduced, ci_low, ci_high, protocol, model, level, aggregation, cohort, cohort_note, n,
    n_subjects, note.

    Raises
    ------
    ValueError
        If there are several studies or protocols, or a line has a number that the printed table lacks.
    """
    named = [Line(*line) for line in lines]
    origin = metrics[["study", "protocol"]].drop_duplicates()
    if len(origin) != 1:
        raise ValueError(f"the table is made of one study and protocol, not {len(origin)}")
    study, protocol = origin.iloc[0]
    printed = pd.read_csv(published, comment="#").set_index("row")
    if unknown := {line.row for line in named if line.row is not None} - set(printed.index):
        raise ValueError(f"{os.fspath(published)} has no row {', '.join(map(str, sorted(unknown)))}")
    found = metrics.set_index(["model", "level", "aggregation", "metric"])
    run = set(metrics["model"])
    others = sorted(run - {line.model for line in named})
    notes = notes or {}
    rows = []
    for line in [*named, *(Line(None, "", model, model) for model in others)]:
        note = notes.get(line.model, "" if line.model in run else NOT_RUN)
        for level in LEVELS:
            for aggregation in AGGREGATIONS:
                for metric, name in METRICS.items():
                    key = (line.model, level, aggregation, name)
                    value = found.loc[key] if key in found.index else {}
                    in_print = line.row is not None and metric in printed
                    rows.append(
                        {
                            "study": study,
                            "row": line.row,
                            "modality": line.modality,
                            "network": line.network,
                            "metric": metric,
                            "published": printed.loc[line.row, metric] if in_print else None,
                            "reproduced": _percent(value, "value"),
                            "ci_low": _percent(value, "ci_low"),
                            "ci_high": _percent(value, "ci_high"),
                            "protocol": protocol,
                            "model": line.model,
                            "level": level,
                            "aggregation": aggregation,
                            "cohort": cohort,
                            "cohort_note": cohort_note(virtual, permuted),
                            "n": value.get("n"),
                            "n_subjects": value.get("n_subjects"),
                            "note": note,
                        }
                    )
    numbers = dict.fromkeys(("published", "reproduced", "ci_low", "ci_high"), "float64")
    return pd.DataFrame(rows).astype(numbers | dict.fromkeys(("row", "n", "n_subjects"), "Int64"))


def _percent(value: Mapping, name: str) -> float:
    return 100 * value[name] if name in value else float("nan")


def judge_claims(frame: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """What the paper claims, and what the controls show, on this cohort.

    Parameters
    ----------
    frame
        From :func:`palsy_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences` of the same predictions, for :data:`PAIRS` and the
        values of :data:`METRICS`.

    Returns
    -------
    claim, verdict, evidence. A comparison *holds* where the difference in F1, a mean over folds by frame as published,
    is above zero with its whole 95 % interval; is *not shown* where only the difference is; *does not hold* where it is
    not above zero. A control is *ok* unless the interval of its ROC AUC over subjects is above a half.
    """
    found = _Found(frame, differences)
    claims = (_fusion(found), _gain(found), _early_or_late(found), _mixer(found), _background(found), _shuffled(found))
    return pd.DataFrame([asdict(claim) for claim in claims])


@dataclass(frozen=True)
class _Found:
    """Numbers for the claims, looked up by model."""

    frame: pd.DataFrame
    differences: pd.DataFrame

    def missing(self, *models: str) -> str:
        """A sentence about which of these models have no result, and why; empty if all have."""
        return not_run_sentence(self.frame, models)

    def value(self, model: str, metric: str, view: View) -> pd.Series:
        rows = self.frame[self.frame["model"] == model]
        rows = rows[(rows["metric"] == metric) & (rows["level"] == view[0]) & (rows["aggregation"] == view[1])]
        return rows.iloc[0]

    def f1(self, model: str) -> str:
        return interval_text(self.value(model, "f1", AS_PUBLISHED))

    def printed(self, model: str) -> float:
        """F1 in the paper; NaN where it has none."""
        known = (self.frame["model"] == model).any()
        return float(self.value(model, "f1", AS_PUBLISHED)["published"]) if known else float("nan")

    def difference(self, a: str, b: str, metric: str = "f1", view: View = AS_PUBLISHED) -> pd.Series | None:
        """One paired difference in percentage points; none if undefined."""
        return difference_between(self.differences, a, b, METRICS[metric], view, scale=100)


def _compare(found: _Found, claim: str, better: str, others: Sequence[str], published: str) -> Claim:
    """A model against some others: the claim is as good as the worst of the comparisons."""
    in_print = against_text("F1", found.printed(better), found.printed(others[0]), ".2f")
    about = {"in_print": in_print, "models": ", ".join([better, *others])}
    if missing := found.missing(better, *others):
        return Claim(claim, NOT_RUN, missing, **about)
    differences = {other: found.difference(better, other) for other in others}
    if absent := [other for other, difference in differences.items() if difference is None]:
        return Claim(claim, NOT_RUN, f"{better} was not compared with {' or '.join(absent)}.", **about)
    worst = worst_of(verdict_on(difference) for difference in differences.values())
    said = [f"{other} {found.f1(other)}, difference {difference_text(gap)}" for other, gap in differences.items()]
    evidence = f"F1 of {better} {found.f1(better)}; of {'; of '.join(said)}. {published}"
    other = decisive(differences)
    return Claim(claim, worst, evidence, **about | _in_short(found, better, other, differences[other]))


def _in_short(found: _Found, better: str, other: str, gap: pd.Series) -> dict[str, Any]:
    """The comparison that decides, in F1: as printed, here, and how sure it is."""
    ours, theirs = (found.value(model, "f1", AS_PUBLISHED)["reproduced"] for model in (better, other))
    here = f"{against_text('F1', ours, theirs, '.1f')} of {other}: {interval_text(gap, 'difference', '+.1f')}"
    in_print = against_text("F1", found.printed(better), found.printed(other), ".2f")
    return {"in_print": in_print, "here": here, "p_value": float(gap["p_value"])}


def _fusion(found: _Found) -> Claim:
    claim = _compare(
        found,
        "Early fusion of measures and image (row 10) beats both of its branches (rows 3 and 6).",
        EARLY,
        (MEASURES, MIXER),
        _printed(found, EARLY, MEASURES, MIXER),
    )
    return replace(claim, headline=True)


def _gain(found: _Found) -> Claim:
    """The paper's word is significant; it gives no interval and names no test."""
    claim = "The gain of early fusion over its better branch is larger than its uncertainty."
    models = ", ".join([EARLY, MEASURES, MIXER])
    if missing := found.missing(EARLY, MEASURES, MIXER):
        return Claim(claim, NOT_RUN, missing, models=models)
    branches = {branch: found.value(branch, "f1", AS_PUBLISHED)["reproduced"] for branch in (MEASURES, MIXER)}
    better = max(branches, key=branches.get)
    gap = found.difference(EARLY, better)
    if gap is None:
        return Claim(claim, NOT_RUN, f"{EARLY} was not compared with {better}.", models=models)
    in_short = _in_short(found, EARLY, better, gap) | {"models": models}
    if pd.isna(gap["ci_low"]):
        evidence = f"Against {better}, F1 changes by {difference_text(gap)}: too few for an interval."
        return Claim(claim, NOT_SHOWN, evidence, **in_short)
    verdict = HOLDS if gap["ci_low"] > 0 else FAILS
    lies = "above" if gap["ci_low"] > 0 else "below" if gap["ci_high"] < 0 else "around"
    area = found.difference(EARLY, better, "roc_auc", BY_SUBJECT)
    areas = f" In ROC AUC over subjects: {difference_text(area)}." if area is not None else ""
    printed = [found.printed(model) for model in (EARLY, MEASURES, MIXER)]
    claimed = "" if any(map(pd.isna, printed)) else f" Published: {printed[0] - max(printed[1:]):+.2f}, no interval."
    return Claim(
        claim,
        verdict,
        f"Against {better}, the better branch here, F1 changes by {difference_text(gap)}: the interval lies {lies} "
        f"zero.{areas}{claimed}",
        **in_short,
    )


def _early_or_late(found: _Found) -> Claim:
    claim = "Early fusion (row 10) beats late fusion (row 12) of the same branches."
    return _compare(found, claim, EARLY, (LATE,), _printed(found, EARLY, LATE))


def _mixer(found: _Found) -> Claim:
    claim = "The MLP-Mixer (row 6) beats the ResNet (row 4) on the same images."
    return _compare(found, claim, MIXER, (RESNET,), _printed(found, MIXER, RESNET))


def _background(found: _Found) -> Claim:
    claim = f"{CONTROL}: without the face, the image does not tell patients from others."
    return _control(found, claim, BACKGROUND, BACKGROUND_PREDICTS, MIXER, "of the face crops")


def _shuffled(found: _Found) -> Claim:
    claim = f"{CONTROL}: the measures of other frames do not tell patients from others."
    return _control(found, claim, SHUFFLED, SHUFFLED_PREDICT, MEASURES, "of the measures as they belong")


def _control(found: _Found, claim: str, control: str, alarm: str, model: str, whose: str) -> Claim:
    if missing := found.missing(control):
        return Claim(claim, NOT_RUN, missing)
    area = found.value(control, "roc_auc", BY_SUBJECT)
    if pd.isna(area["ci_low"]):
        return Claim(claim, NOT_SHOWN, f"ROC AUC {interval_text(area)}, without an interval: too few subjects.")
    beside = "" if found.missing(model) else f"; {whose}, {interval_text(found.value(model, 'roc_auc', BY_SUBJECT))}"
    subjects = f"over {area['n_subjects']} subjects"
    if area["ci_low"] > 50:
        evidence = f"ROC AUC {subjects} {interval_text(area)}, above 50 with its whole interval{beside}."
        return Claim(claim, alarm, evidence)
    return Claim(claim, OK, f"ROC AUC {subjects} {interval_text(area)}: not above 50 with its whole interval{beside}.")


def _printed(found: _Found, first: str, *others: str) -> str:
    values = [found.printed(model) for model in (first, *others)]
    if any(map(pd.isna, values)):
        return ""
    return f"Published: {values[0]:.2f} against {' and '.join(f'{value:.2f}' for value in values[1:])}."


def write_palsy(frame: pd.DataFrame, differences: pd.DataFrame, claims: pd.DataFrame, stem: str | os.PathLike) -> None:
    """Write the palsy table as .csv (everything), .md and .tex (what one reads).

    Parameters
    ----------
    frame
        From :func:`palsy_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences`.
    claims
        From :func:`judge_claims`.
    stem
        Path without suffix.
    """
    shown = differences.assign(metric=differences["metric"].replace({name: metric for metric, name in METRICS.items()}))
    everything = tidy(frame, shown, 100, claim=claims)
    beyond = frame[frame["row"].isna()]
    tables = [
        _results("Results, published and here", frame[frame["row"].notna()], printed=True),
        *([_results("Beyond the paper, and controls", beyond, printed=False)] if len(beyond) else []),
        claims_table("Claims and controls", claims),
        *([_comparisons(differences)] if len(differences) else []),
    ]
    lead = [_warning(frame), *_untrained(frame), _headline(frame, claims)]
    write_files(stem, everything, TITLE, lead, tables, _remarks(frame))


def _view(frame: pd.DataFrame, model: str, view: View) -> pd.DataFrame:
    rows = frame[(frame["model"] == model) & (frame["level"] == view[0]) & (frame["aggregation"] == view[1])]
    return rows.drop_duplicates("metric").set_index("metric")


def _results(heading: str, frame: pd.DataFrame, printed: bool) -> Table:
    """One line per model: F1, precision and recall as published, ROC AUC over subjects."""
    lines = []
    for row, modality, network, model in _models(frame):
        cells = _view(frame, model, AS_PUBLISHED)
        area = _view(frame, model, BY_SUBJECT).loc["roc_auc"]
        numbers = []
        for metric in ("f1", "precision", "recall"):
            here = interval_text(cells.loc[metric])
            if metric == "f1" and cells["reproduced"].isna().all():
                here = NOT_RUN
            numbers += [_plain(cells.loc[metric, "published"]), here] if printed else [here]
        name = network if network == model or printed else f"{network} ({model})"
        lines.append([*([str(row)] if printed else []), modality, name, *numbers, interval_text(area)])
    columns = ["F1", "Precision", "Recall"]
    if printed:
        columns = [f"{metric}: {where}" for metric in columns for where in ("published", "here")]
    header = [*(["Row"] if printed else []), "Modality", "Model", *columns, "ROC AUC, subjects"]
    return Table(heading, header, lines, text_columns=3 if printed else 2)


def _models(frame: pd.DataFrame) -> list[tuple]:
    named = frame[["row", "modality", "network", "model"]].drop_duplicates()
    return list(named.itertuples(index=False, name=None))


def _comparisons(differences: pd.DataFrame) -> Table:
    """Paired differences in what the tables above show."""
    shown = {"F1": (METRICS["f1"], *AS_PUBLISHED), "ROC AUC, subjects": (METRICS["roc_auc"], *BY_SUBJECT)}
    at = differences.set_index(["model_a", "model_b", "metric", "level", "aggregation"]).sort_index()
    lines = []
    for pair in differences[["model_a", "model_b"]].drop_duplicates().itertuples(index=False, name=None):
        cells = []
        for place in shown.values():
            key = (*pair, *place)
            if key in at.index:
                gap = 100 * at.loc[key, ["difference", "ci_low", "ci_high"]].astype(float)
                cells += [interval_text(gap, "difference", "+.1f"), p_text(at.loc[key, "p_value"])]
            else:
                cells += ["", ""]
        lines.append([*pair, *cells])
    header = ["Model", "Against", *(name for metric in shown for name in (f"{metric}: difference", f"{metric}: p"))]
    return Table("Paired differences, percentage points", header, lines, text_columns=2)


def _plain(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"


def _warning(frame: pd.DataFrame) -> str:
    cohort, note = frame[["cohort", "cohort_note"]].iloc[0]
    subjects = frame["n_subjects"].max()
    return (
        f"Cohort {cohort}: {note}; {subjects} subjects. All in percent. In brackets: 95 % intervals, bootstrapped over "
        "subjects."
    )


def _untrained(frame: pd.DataFrame) -> list[str]:
    """A sentence if some of the models that were run see the image through random weights."""
    mine = frame[frame["note"].str.contains(UNTRAINED) & frame["reproduced"].notna()]
    return untrained_sentence([f"{row} ({model})" if pd.notna(row) else model for row, _, _, model in _models(mine)])


def _headline(frame: pd.DataFrame, claims: pd.DataFrame) -> str:
    found = _Found(frame, pd.DataFrame())
    if missing := found.missing(EARLY):
        best = missing
    else:
        area = interval_text(found.value(EARLY, "roc_auc", BY_SUBJECT))
        printed = found.printed(EARLY)
        beside = "" if pd.isna(printed) else f", published {printed:.2f}"
        best = (
            f"With every patient held out in turn, early fusion reaches an F1 of {found.f1(EARLY)} (mean over folds, "
            f"by frame{beside}) and a ROC AUC over subjects of {area}."
        )
    control = claims["claim"].str.startswith(CONTROL)
    judged = f"Of {int((~control).sum())} claims of the paper: {tally(claims.loc[~control, 'verdict'])}."
    controls = [f"{row.claim.removesuffix('.')}: {row.verdict}." for row in claims[control].itertuples()]
    return " ".join([best, judged, *controls])


def _remarks(frame: pd.DataFrame) -> list[str]:
    names = {model: f"row {row} ({model})" if pd.notna(row) else model for row, _, _, model in _models(frame)}
    return [
        "Fold k holds out patient k and a share of the other subjects, each of whom is tested once. Branches, scaling "
        "and fusion are fitted inside the fold.",
        "F1, precision and recall are those of the class Palsy, counted by frame and averaged over folds, as "
        "published; pooled over folds and by subject they are in the CSV file. ROC AUC ranks subjects, each judged "
        "once, by the mean of its frames; the paper gives none, nor accuracies or intervals.",
        *_harmonic_remark(frame),
        *_fusion_remark(frame),
        "Intervals are bootstrapped over subjects, stratified by class. For means over folds whole folds are drawn, "
        "each with its patient and its other subjects.",
        "**holds**: better, with the whole interval of the paired difference above zero. **not shown**: better, but "
        "the interval includes zero. **does not hold**: not better, or for a gain, an interval that is not above zero.",
        "Paired differences: both models in the same resamples of the same subjects. Their p-values are not adjusted "
        "for the number of comparisons. Interval and p-value say what other subjects might have given, not what "
        "another start of the training might.",
        *model_remarks(frame, names),
    ]


def _harmonic_remark(frame: pd.DataFrame) -> list[str]:
    printed = _published(frame)
    if printed.empty:
        return []
    harmonic = 2 * printed["precision"] * printed["recall"] / (printed["precision"] + printed["recall"])
    below = int((printed["f1"] < harmonic).sum())
    return [
        f"In {below} of {len(printed)} rows the printed F1 is below the harmonic mean of the printed precision and "
        "recall. The F1 of one set of frames equals that mean, a mean of F1 over folds cannot exceed it: the printed "
        "numbers must be means over folds."
    ]


def _fusion_remark(frame: pd.DataFrame) -> list[str]:
    printed = _published(frame)["f1"]
    fusions = {row: branches for row, branches in FUSIONS.items() if {row, *branches} <= set(printed.index)}
    if not fusions:
        return []
    better = [row for row, branches in fusions.items() if printed[row] > max(printed[list(branches)])]
    rows = f" (row {', '.join(map(str, better))})" if better else ""
    return [f"In print, {len(better)} of {len(fusions)} fusions{rows} has a higher F1 than the better of its branches."]


def _published(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed numbers by row."""
    rows = frame[frame["row"].notna() & (frame["level"] == "frame") & (frame["aggregation"] == "pooled")]
    return rows.pivot(index="row", columns="metric", values="published")
