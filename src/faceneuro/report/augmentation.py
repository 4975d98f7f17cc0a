"""The table of the augmentation: does synthetic palsy among the training images help to detect palsy?"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import pandas as pd

from faceneuro.report.classification import cohort_note
from faceneuro.report.comparisons import (
    NOT_RUN,
    Claim,
    claims_table,
    difference_between,
    difference_text,
    interval_text,
    p_text,
    tally,
    tidy,
    verdict_on,
)
from faceneuro.report.palsy import AGGREGATIONS, AS_PUBLISHED, BY_SUBJECT, LEVELS, METRICS
from faceneuro.report.tables import Table, write_files
from faceneuro.studies.augmentation import GENERATED, MODEL, NONE, WARP, Arm

TITLE = "Does synthetic palsy help to detect palsy?"

SHOWN = {"f1": AS_PUBLISHED, "roc_auc": BY_SUBJECT}
"""Metrics that are read, and the level and aggregation of each, as in the palsy study's table."""

NAMES = {"f1": "F1", "roc_auc": "ROC AUC, subjects"}

WORDS = {NONE: "Nothing added", GENERATED: "Generated", WARP: "Warped"}


def comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """What to compare: everything with nothing added, and generated pictures with as many warped ones."""
    more = [arm for arm in arms if arm.kind != NONE]
    against = [(arm.name, Arm(WARP, arm.count).name) for arm in more if arm.kind == GENERATED]
    names = {arm.name for arm in arms}
    return [*((arm.name, NONE) for arm in more), *(pair for pair in against if pair[1] in names)]


def augmentation_table(
    metrics: pd.DataFrame,
    arms: Sequence[Arm],
    added: Mapping[int, tuple[int, int]],
    *,
    cohort: str,
    virtual: bool,
    permuted: bool,
) -> pd.DataFrame:
    """Metrics of the palsy study's image network by what was added to its training part, in percent.

    Parameters
    ----------
    metrics
        Rows of :data:`faceneuro.tables.METRICS`; the models are the names of the arms.
    arms
        In the order of the table.
    added
        By count: the least and the most pictures that a fold was given.
    cohort
        Of the palsy study.
    virtual, permuted
        Whether it is rendered, and whether labels were permuted over subjects.

    Returns
    -------
    One row per arm, metric, level and aggregation: study, model, kind_of, count, added_least, added_most, metric,
    reproduced, ci_low, ci_high, protocol, level, aggregation, cohort, cohort_note, n, n_subjects.

    Raises
    ------
    ValueError
        If there are several protocols, or an arm has no metrics.
    """
    if metrics["protocol"].nunique() != 1:
        raise ValueError(f"the table is made of one protocol, not {metrics['protocol'].nunique()}")
    found = metrics.set_index(["model", "level", "aggregation", "metric"])
    rows = []
    for arm in arms:
        if arm.name not in set(metrics["model"]):
            raise ValueError(f"there are no metrics of {arm.name}")
        least, most = added.get(arm.count, (0, 0))
        for level in LEVELS:
            for aggregation in AGGREGATIONS:
                for metric, name in METRICS.items():
                    value = found.loc[(arm.name, level, aggregation, name)]
                    rows.append(
                        {
                            "study": "augmentation",
                            "row": None,
                            "model": arm.name,
                            "kind_of": arm.kind,
                            "count": arm.count,
                            "added_least": least,
                            "added_most": most,
                            "metric": metric,
                            **{
                                to: 100 * value[name]
                                for to, name in (("reproduced", "value"), ("ci_low", "ci_low"), ("ci_high", "ci_high"))
                            },
                            "protocol": metrics["protocol"].iloc[0],
                            "level": level,
                            "aggregation": aggregation,
                            "cohort": cohort,
                            "cohort_note": cohort_note(virtual, permuted),
                            "n": value["n"],
                            "n_subjects": value["n_subjects"],
                        }
                    )
    return pd.DataFrame(rows).astype({"n": "Int64", "n_subjects": "Int64"})


def judge_augmentation(frame: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """Whether what was added helps, arm by arm.

    Parameters
    ----------
    frame
        From :func:`augmentation_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences`, for :func:`comparisons` and the values of
        :data:`faceneuro.report.palsy.METRICS`.

    Returns
    -------
    claim, verdict, evidence. By F1; the ROC AUC is told beside it.
    """
    arms = _arms(frame)
    claims = []
    for a, b in comparisons(arms):
        arm = next(each for each in arms if each.name == a)
        subject = f"{WORDS[arm.kind]} pictures, {arm.count} per person,"
        claim = f"{subject} raise the F1." if b == NONE else f"{subject} raise it more than as many warped ones."
        gaps = {metric: _gap(differences, a, b, metric) for metric in SHOWN}
        if gaps["f1"] is None:
            claims.append(Claim(claim, NOT_RUN, f"{a} was not compared with {b}."))
            continue
        said = []
        for metric, gap in gaps.items():
            if gap is not None:
                ours, theirs = (interval_text(_cell(frame, name, metric)) for name in (a, b))
                said.append(f"{NAMES[metric]} {ours} against {theirs}, difference {difference_text(gap)}.")
        claims.append(Claim(claim, verdict_on(gaps["f1"]), " ".join(said)))
    return pd.DataFrame([asdict(claim) for claim in claims], columns=["claim", "verdict", "evidence"])


def _gap(differences: pd.DataFrame, a: str, b: str, metric: str) -> pd.Series | None:
    return difference_between(differences, a, b, METRICS[metric], SHOWN[metric], scale=100)


def _arms(frame: pd.DataFrame) -> list[Arm]:
    kinds = frame[["kind_of", "count"]].drop_duplicates()
    return [Arm(kind, int(count)) for kind, count in kinds.itertuples(index=False, name=None)]


def _cell(frame: pd.DataFrame, model: str, metric: str) -> pd.Series:
    level, aggregation = SHOWN[metric]
    rows = frame[(frame["model"] == model) & (frame["metric"] == metric) & (frame["level"] == level)]
    return rows[rows["aggregation"] == aggregation].iloc[0]


def write_augmentation(
    frame: pd.DataFrame,
    differences: pd.DataFrame,
    claims: pd.DataFrame,
    stem: str | os.PathLike,
    *,
    generator: str,
) -> None:
    """Write the table of the augmentation as .csv (everything), .md and .tex (what one reads).

    Parameters
    ----------
    frame
        From :func:`augmentation_table`.
    differences
        From :func:`faceneuro.evaluation.paired.paired_differences`.
    claims
        From :func:`judge_augmentation`.
    stem
        Path without suffix.
    generator
        What made the generated pictures, in a few words: row, size, training, the cohort that it learnt from.
    """
    shown = differences.assign(metric=differences["metric"].replace({name: metric for metric, name in METRICS.items()}))
    everything = tidy(frame, shown, 100, claim=claims)
    tables = [_results(frame, differences), claims_table("Does it help?", claims)]
    cohort, note = frame[["cohort", "cohort_note"]].iloc[0]
    lead = [
        f"Cohort {cohort}: {note}; {frame['n_subjects'].max()} subjects. {MODEL} of the palsy study, with whole "
        "subjects held out. All in percent. In brackets: 95 % intervals, bootstrapped over subjects.",
        f"Generated by {generator}.",
        _headline(claims),
    ]
    write_files(stem, everything, TITLE, lead, tables, _remarks())


def _results(frame: pd.DataFrame, differences: pd.DataFrame) -> Table:
    lines = []
    for arm in _arms(frame):
        rows = frame[frame["model"] == arm.name]
        least, most = rows["added_least"].iloc[0], rows["added_most"].iloc[0]
        size = "0" if arm.kind == NONE else f"{least}" if least == most else f"{least} to {most}"
        cells = [WORDS[arm.kind], str(arm.count), size]
        for metric in SHOWN:
            gap = None if arm.kind == NONE else _gap(differences, arm.name, NONE, metric)
            told = ["", ""] if gap is None else [interval_text(gap, "difference", "+.1f"), p_text(gap["p_value"])]
            cells += [interval_text(_cell(frame, arm.name, metric)), *told]
        lines.append(cells)
    header = ["Added", "Per person", "Pictures a fold"]
    header += [f"{NAMES[metric]}: {what}" for metric in SHOWN for what in ("here", "difference", "p")]
    return Table("With and without synthetic pictures", header, lines)


def _headline(claims: pd.DataFrame) -> str:
    said = []
    for kind in (GENERATED, WARP):
        mine = claims[claims["claim"].str.startswith(WORDS[kind]) & claims["claim"].str.endswith("raise the F1.")]
        if len(mine):
            said.append(f"That {WORDS[kind].lower()} pictures raise the F1: {tally(mine['verdict'])}.")
    return " ".join(said)


def _remarks() -> list[str]:
    return [
        "Per person: everybody in the training part of a fold, patients or not, is given so many pictures, each with "
        "the palsy of a patient of the generator's cohort; all of them count as palsy. Smaller numbers are the first "
        "of the larger ones. Warped: the person's own picture, its weak side moved by as much as that patient's.",
        "Nobody who is tested is in what the generator has learnt from, nor shown in a synthetic picture that is "
        "learnt from, nor their palsy. Validation and test parts have real pictures alone.",
        "All synthetic pictures count as palsy, so whatever tells them from real ones is a way to tell palsy, in "
        "training alone: blur of a small generator, seams, a mouth that was not opened. What does not help may fail "
        "for that reason. The two classes count alike in the loss, however many pictures are added.",
        "F1 is that of the class Palsy, by frame, the mean over folds; ROC AUC ranks subjects, each by the mean of its "
        "frames, all folds together.",
        "**holds**: better, with the whole interval of the paired difference in F1 above zero. **not shown**: better, "
        "but the interval includes zero. **does not hold**: not better. Interval and p-value, which is not adjusted "
        "for the number of comparisons, say what other subjects might have given, not what another start of the "
        "training might.",
    ]
