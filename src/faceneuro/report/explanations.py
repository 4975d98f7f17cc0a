"""The table of the explanations: whether a model goes by what is ill, where the truth is known."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.evaluation.explanations import GRADIENTS, OCCLUSION, SIDES, TASK_REGIONS
from faceneuro.evaluation.intervals import percentile_interval, subject_resamples
from faceneuro.report.classification import cohort_note
from faceneuro.report.tables import Table, write_files
from faceneuro.tables import KEYS

TITLE = "What the palsy models go by"

POINTS = "points at the region that moves"
WEAK, HEALTHY = "points at the weak side", "points at the healthy side"
CHANCE = "no better than chance"
TOO_FEW = "too few patients to tell"
NOT_SCORED = "not scored"
"""Verdicts on the regions and on the sides."""

UNTRAINED = "untrained"
"""The word by which a model's note says that its image backbone has random weights."""

COLUMNS = [
    "study",
    "protocol",
    "model",
    "modality",
    "network",
    "method",
    "n",
    "n_subjects",
    "called_palsy",
    "region_n",
    "region_hit",
    "region_ci_low",
    "region_ci_high",
    "region_chance",
    "region_any_task",
    "region_verdict",
    "side_n",
    "side_share",
    "side_ci_low",
    "side_ci_high",
    "side_verdict",
    "cohort",
    "cohort_note",
    "note",
]

Doubles = npt.NDArray[np.float64]


def explanations_table(
    rows: pd.DataFrame,
    lines: Sequence[tuple[int | None, str, str, str]],
    *,
    cohort: str,
    virtual: bool,
    permuted: bool,
    notes: Mapping[str, str] | None = None,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Scores of every model over all its folds, in percent, with intervals over patients.

    Parameters
    ----------
    rows
        Rows of :data:`faceneuro.tables.EXPLANATIONS`, of all folds and models; there may be none.
    lines
        Number in the paper, modality, network and model name, in the order of the table; models that are not named come
        last.
    cohort
        Its name.
    virtual, permuted
        Whether the cohort is rendered, and whether labels were permuted over subjects.
    notes
        For some models, what a reader must know of them.
    resamples, seed
        Of the bootstrap over subjects.

    Returns
    -------
    One row per protocol and model, of :data:`COLUMNS`. ``region_hit``: explanations that point at a region that the
    task moves. Two chance levels: ``region_chance``, of an explanation that points anywhere, and ``region_any_task``,
    of the model's own explanations dealt out anew over the tasks, which is what one gets that always points at the same
    place. ``side_share``: the mean of the patients who are weak on the left and of those who are on the right, either
    counting half, so that an explanation that always is on one side has 50. Null where nothing is scored, intervals
    also where there are fewer than two patients, for the sides of either.
    """
    order = {model: place for place, (*_, model) in enumerate(lines)}
    named = {model: (modality, network) for _, modality, network, model in lines}
    found = []
    for (study, protocol, model, method), part in rows.groupby(["study", "protocol", "model", "method"], sort=True):
        modality, network = named.get(model, ("", model))
        found.append(
            {
                "study": study,
                "protocol": protocol,
                "model": model,
                "modality": modality,
                "network": network,
                "method": method,
                "n": len(part),
                "n_subjects": len(part[list(KEYS[:2])].drop_duplicates()),
                "called_palsy": 100 * (part["logit"] > 0).mean(),
                **_regions(part[part["region_hit"].notna()], resamples, seed),
                **_sides(part[part["side_share"].notna()], resamples, seed),
                "cohort": cohort,
                "cohort_note": cohort_note(virtual, permuted),
                "note": (notes or {}).get(model, ""),
            }
        )
    found.sort(key=lambda row: (row["protocol"], order.get(row["model"], len(order))))
    return pd.DataFrame(found, columns=COLUMNS)


def _regions(rows: pd.DataFrame, resamples: int, seed: int) -> dict:
    if rows.empty:
        return {"region_n": 0, "region_hit": np.nan, "region_verdict": NOT_SCORED}
    weights, enough = _weights(rows, np.zeros(len(rows)), resamples, seed)
    pointed = [set(text.split(",")) for text in rows["pointed"]]
    # Would the explanation of one sample be a hit if it were that of another one, whose task may differ?
    hits = np.array([[bool(here & set(TASK_REGIONS[task])) for here in pointed] for task in rows["task"]], float)
    hit = weights @ rows["region_hit"].to_numpy(float)
    chance = weights @ rows["region_chance"].to_numpy(float)
    any_task = ((weights @ hits) * weights).sum(1)
    low, high = percentile_interval(hit[1:]) if enough else (np.nan, np.nan)
    surplus, _ = percentile_interval((hit - np.maximum(chance, any_task))[1:]) if enough else (np.nan, np.nan)
    return {
        "region_n": len(rows),
        "region_hit": 100 * hit[0],
        "region_ci_low": 100 * low,
        "region_ci_high": 100 * high,
        "region_chance": 100 * chance[0],
        "region_any_task": 100 * any_task[0],
        "region_verdict": TOO_FEW if not enough else POINTS if surplus > 0 else CHANCE,
    }


def _sides(rows: pd.DataFrame, resamples: int, seed: int) -> dict:
    if rows.empty:
        return {"side_n": 0, "side_share": np.nan, "side_verdict": NOT_SCORED}
    sides = rows["side"].to_numpy(str)
    weights, enough = _weights(rows, sides, resamples, seed)
    share = rows["side_share"].to_numpy(float)
    both = set(SIDES) <= set(sides)
    means = [weights[:, sides == side] @ share[sides == side] / weights[:, sides == side].sum(1) for side in set(sides)]
    mean = np.mean(means, axis=0) if both else np.full(len(weights), np.nan)
    low, high = percentile_interval(mean[1:]) if both and enough else (np.nan, np.nan)
    verdict = TOO_FEW if np.isnan(low) else WEAK if low > 0.5 else HEALTHY if high < 0.5 else CHANCE
    return {
        "side_n": len(rows),
        "side_share": 100 * mean[0],
        "side_ci_low": 100 * low,
        "side_ci_high": 100 * high,
        "side_verdict": verdict,
    }


def _weights(rows: pd.DataFrame, classes: npt.NDArray, resamples: int, seed: int) -> tuple[Doubles, bool]:
    """What each row counts, as it is and in every resample, shape (resamples + 1, n); whether there are enough people.

    The rows of a patient stay together; classes of patients keep their numbers.
    """
    subjects = pd.MultiIndex.from_frame(rows[list(KEYS[:2])])
    of_row, names = pd.factorize(subjects)
    class_of = np.array([classes[of_row == subject][0] for subject in range(len(names))])
    counts = np.vstack([np.ones(len(names)), subject_resamples(class_of, resamples, seed)])[:, of_row]
    _, sizes = np.unique(class_of, return_counts=True)
    return counts / counts.sum(1, keepdims=True), bool(sizes.min() >= 2)


def write_explanations(
    frame: pd.DataFrame, stem: str | os.PathLike, *, cohort: str, virtual: bool, permuted: bool
) -> None:
    """Write the table of the explanations as .csv, .md and .tex.

    Parameters
    ----------
    frame
        From :func:`explanations_table`; if it is empty, a sentence says why.
    stem
        Path without suffix.
    cohort, virtual, permuted
        As for the table.
    """
    lead = [_warning(frame, cohort, cohort_note(virtual, permuted))]
    if frame.empty:
        reason = (
            "no tested picture of a patient has a known weak side and grade"
            if virtual
            else "which side and which part of a face is weak is known of virtual patients only"
        )
        lead.append(f"No explanation was judged: {reason}.")
    else:
        lead += [*_untrained(frame), _headline(frame)]
    write_files(stem, frame, TITLE, lead, [_scores(frame)], [] if frame.empty else _remarks(frame))


def _warning(frame: pd.DataFrame, cohort: str, note: str) -> str:
    if frame.empty:
        return f"Cohort {cohort}: {note}."
    return (
        f"Cohort {cohort}: {note}; up to {frame['n'].max()} pictures of {frame['n_subjects'].max()} patients a model. "
        "All in percent. In brackets: 95 % intervals, bootstrapped over patients."
    )


def _untrained(frame: pd.DataFrame) -> list[str]:
    models = frame.loc[frame["note"].str.contains(UNTRAINED), "model"].unique()
    if not len(models):
        return []
    return [
        f"The image backbones of these models are {UNTRAINED}, random weights instead of ImageNet's: "
        f"{', '.join(models)}. Their explanations show that the method runs, not what such a network goes by."
    ]


def _headline(frame: pd.DataFrame) -> str:
    said = []
    for column, verdict in (("region_verdict", POINTS), ("side_verdict", WEAK)):
        judged = frame[~frame[column].isin([NOT_SCORED, TOO_FEW])]
        right = judged.loc[judged[column] == verdict, "model"].unique()
        which = f" ({', '.join(right)})" if len(right) else ""
        if len(judged):
            what = verdict.removeprefix("points ")
            said.append(f"those of {len(right)} of {judged['model'].nunique()} models point {what}{which}")
    return f"Of the explanations, {' and '.join(said)}." if said else "No model has enough patients to judge it."


def _scores(frame: pd.DataFrame) -> Table:
    several = frame["protocol"].nunique() > 1
    lines = []
    for row in frame.to_dict("records"):
        name = row["network"] if row["network"] == row["model"] else f"{row['network']} ({row['model']})"
        lines.append(
            [
                *([row["protocol"]] if several else []),
                row["modality"],
                name,
                f"**{row['region_verdict']}**",
                f"**{row['side_verdict']}**" if row["method"] != GRADIENTS else "measures have no side",
                str(row["n"]),
                str(row["n_subjects"]),
                _number(row["called_palsy"]),
                _interval(row, "region_hit", "region"),
                _number(row["region_chance"]),
                _number(row["region_any_task"]),
                _interval(row, "side_share", "side"),
            ]
        )
    texts = [*(["Protocol"] if several else []), "Modality", "Model", "Region", "Side"]
    numbers = [
        "Pictures",
        "Patients",
        "Called palsy",
        "Region: hit",
        "Region: chance",
        "Region: any task",
        "Side: weak",
    ]
    return Table("Explanations against the truth", [*texts, *numbers], lines, text_columns=len(texts))


def _interval(row: Mapping, value: str, kind: str) -> str:
    text, low, high = _number(row[value]), row[f"{kind}_ci_low"], row[f"{kind}_ci_high"]
    return text if pd.isna(low) else f"{text} [{low:.1f}, {high:.1f}]"


def _number(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.1f}"


def _remarks(frame: pd.DataFrame) -> list[str]:
    methods = set(frame["method"])
    gradients = (
        "Measures: integrated gradients from the mean healthy sample of the training part to the tested one, added up "
        "by region; the explanation points at the region with the largest sum. Chance is the share of the 29 measures "
        "that are of a region which the task moves. Most measures are the larger side over the smaller, which no "
        "longer says which side that was: there is no score for sides."
    )
    occlusion = (
        "Pictures: a patch covers one part of the middle view after the other, gray in photographs, black in line "
        "drawings. The explanation points at the patch whose covering lowers the logit of palsy most; a hit lies "
        "within the landmarks of a region that the task moves, or 5 % of the face around them. Chance is the share of "
        "all patches that would."
    )
    side = (
        "Side: weak is the share, of all that speaks for palsy in the map, on the weak half of the face; patients weak "
        "on the left and on the right count half each, so that 50 is what a map has that does not follow the patient. "
        "A network may tell palsy by comparing the halves, and then either one counts: 50 is no mistake."
    )
    return [
        "Only tested pictures of patients whose weak side and grade are known, each explained by the model of the fold "
        "that has never seen the patient. Called palsy: how many of them that model takes for palsy.",
        *([gradients] if GRADIENTS in methods else []),
        *([occlusion] if OCCLUSION in methods else []),
        "Region: hit counts the explanations that point at what the task moves: brows when they are raised, eyes when "
        "they are closed, nose when it is wrinkled, mouth and nose in smiles, mouth when puckered. Other tasks, and "
        "rest, have no such region. Some pictures show the beginning of a movement, where it has hardly moved.",
        "Region: any task is what the same explanations hit when they are dealt out anew over the pictures: a model "
        "that always points at the mouth is right in every smile.",
        f"**{POINTS}**: hit is above both chance levels, with the whole interval of the difference. **{WEAK}**: the "
        f"whole interval is above 50; **{HEALTHY}**: below. Otherwise **{CHANCE}**.",
        *([side] if OCCLUSION in methods else []),
        *(f"Of {row['model']}: {row['note']}." for row in frame.to_dict("records") if row["note"]),
    ]
