"""The synthesis study's table: six printed rows beside what was found, the trivial rows, transfer, claims."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from faceneuro.evaluation.intervals import percentile_interval
from faceneuro.evaluation.paired import p_value
from faceneuro.report.classification import cohort_note
from faceneuro.report.comparisons import (
    BEYOND,
    FAILS,
    NOT_RUN,
    Claim,
    against_text,
    claims_table,
    decisive,
    difference_text,
    interval_text,
    model_remarks,
    not_run_sentence,
    p_text,
    tally,
    tidy,
    verdict_on,
    worst_of,
)
from faceneuro.report.tables import Table, write_files
from faceneuro.synthesis import TRIVIAL
from faceneuro.synthesis.transfer import LEAST, Measure, People, advantages
from faceneuro.synthesis.trivial import BETTER, TOO_FEW, verdicts

TITLE = "Synthetic palsy (all rows of the paper)"

Key = tuple[str, str]
"""A metric and what it compares the generated images with, as in the scores' ``metric`` and ``against``."""

TEST_IMAGES = "test images"
"""What sets of generated images are compared with."""

PRINTED: dict[Key, str] = {
    ("afid", TEST_IMAGES): "afid",
    **{
        (metric, reference): f"{metric}_{short}"
        for metric in ("psnr", "ssim", "lpips", "pl")
        for reference, short in (("identity", "id"), ("style", "style"))
    },
}
"""What the paper prints, and the columns that it is in."""

SUBSTITUTES = {"afid": ("kid", "own_frechet", "own_kid"), "lpips": ("own_distance",), "pl": ("own_loss",)}
"""What stands in for a printed metric that could not be computed, see :mod:`faceneuro.synthesis.metrics`."""

NAMES = {
    "afid": "aFID",
    "kid": "KID",
    "own_frechet": "Own-feature Frechet distance",
    "own_kid": "Own-feature KID",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "lpips": "LPIPS",
    "own_distance": "Own-feature distance",
    "pl": "PL",
    "own_loss": "Own-feature loss",
    "landmark_error": "Landmark error",
    "excursion_error": "Excursion error",
    "excursion_error_weak": "Excursion error, weak side",
    "excursion_error_healthy": "Excursion error, healthy side",
    "asymmetry_error": "Asymmetry error",
    "grade_error": "Grade error",
    "identity_cosine": "Identity cosine",
    "face_found": "Face found",
}

FORMS = {
    **dict.fromkeys(("psnr", "ssim", "lpips", "pl", "afid", "identity_cosine", "grade_error", "face_found"), ".2f"),
    **dict.fromkeys(("kid", "own_frechet", "own_kid", "own_distance", "own_loss"), ".3g"),
}
"""How numbers are shown; errors of landmarks with three decimals."""

TRANSFERRED: tuple[Key, ...] = (
    ("landmark_error", "carried"),
    ("excursion_error", "carried"),
    ("asymmetry_error", "style"),
    ("grade_error", "grade"),
    ("identity_cosine", "identity"),
    ("face_found", "nothing"),
)
"""What copying cannot win, as far as it is known."""

EXACT: tuple[Key, ...] = (
    ("landmark_error", "target"),
    ("asymmetry_error", "target"),
    ("psnr", "target"),
    ("ssim", "target"),
)
"""What is known of virtual patients alone."""

OURS = "ccfexp"
NO_LANDMARKS, NO_FUSION, NO_CYCLE = "ccfexp_no_landmarks", "ccfexp_no_fusion", "ccfexp_no_cycle"
DCFACE = ("dcface_3x3", "dcface_5x5")
COPY = "copy_identity"
"""Models, by their names in :data:`faceneuro.synthesis.ROWS`, that the claims are about, and one trivial row."""

COMPARISONS = tuple((OURS, other) for other in (NO_LANDMARKS, NO_FUSION, NO_CYCLE, *DCFACE))
"""Models to compare."""

DIFFERENCES = [
    *("model_a", "model_b", "metric", "reference"),
    *("difference", "ci_low", "ci_high", "p_value", "n", "n_subjects"),
]
"""Columns of :func:`row_differences`."""

PROTOCOL = "people held out"

PAPER_PIXELS = 112

PUBLISHED_UNET = 93.56
"""Million parameters of the U-Net that CCFExp starts from."""

IMAGES, PEOPLE = {"train": 80288, "test": 10880}, {"train": 276, "test": 37}
SOURCES = {"AFLFP": (88, 16 * 4), "MEEI": (60, 8 * 32)}
"""The paper's data: images and people of both parts, and of each source people and images per person."""

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""Ends of names of what is kept with the weights of a network and is none."""


class Line(NamedTuple):
    """A line of the table: number in the paper (none beyond it), its name here, the model."""

    row: int | None
    name: str
    model: str


@dataclass(frozen=True)
class Made:
    """How the images were made.

    Attributes
    ----------
    size
        A name of :data:`faceneuro.synthesis.sizes.SIZES`.
    pixels
        Height and width of an image.
    steps, sampling_steps
        Of training, and from noise to an image.
    as_released
        Whether the paper's public code was followed where it departs from the paper.
    """

    size: str
    pixels: int
    steps: int
    sampling_steps: int
    as_released: bool = False


class Parameters(NamedTuple):
    """Numbers of weights of a generator without its extractors, and of its U-Net alone."""

    whole: int
    unet: int


def parameters_of(path: str | os.PathLike) -> Parameters:
    """Count the weights in a file of :func:`faceneuro.synthesis.generator.save_generator`, from its header alone."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    sizes = {
        name: math.prod(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__" and not name.endswith(BUFFERS)
    }
    return Parameters(sum(sizes.values()), sum(size for name, size in sizes.items() if name.startswith("unet.")))


def people_of(pairs: pd.DataFrame) -> pd.DataFrame:
    """Who is in each pair, for :class:`faceneuro.synthesis.transfer.People`.

    Parameters
    ----------
    pairs
        Rows of :data:`faceneuro.tables.PAIRS`.

    Returns
    -------
    Columns ``style`` and ``identity``, in the order of the pairs.
    """
    names = {part: pairs[f"{part}_cohort"] + "/" + pairs[f"{part}_subject"] for part in ("style", "identity")}
    return pd.DataFrame(names).reset_index(drop=True)


def synthesis_table(
    summary: pd.DataFrame,
    sets: pd.DataFrame,
    published: str | os.PathLike,
    lines: Sequence[tuple[int | None, str, str]],
    *,
    cohort: str,
    virtual: bool,
    notes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The printed results beside the same numbers of one cohort, and all that is not printed.

    Parameters
    ----------
    summary
        From :func:`faceneuro.synthesis.transfer.summarise`, of single images.
    sets
        Rows of :func:`faceneuro.synthesis.metrics.set_score`; may be empty.
    published
        The printed results: a CSV with the columns row and those of :data:`PRINTED`; lines with # are comments.
    lines
        Number in the paper (none beyond it), name and model, in the order of the table. Rows that were scored but are
        not named here come last.
    cohort
        Its name.
    virtual
        Whether the cohort is rendered.
    notes
        For some models, what a reader must know of them, or why they were not run.

    Returns
    -------
    One row per line and metric, whether the line was run or not: study, row, name, model, metric, reference (what is
    compared with), published, reproduced, ci_low, ci_high, protocol, cohort, cohort_note, n, n_subjects, features,
    note. Where a printed metric could not be computed, its substitute is in its place.

    Raises
    ------
    ValueError
        If a line has a number that the printed table lacks, or there is nothing but lines that were not run.
    """
    named = [Line(*line) for line in lines]
    printed = pd.read_csv(published, comment="#").set_index("row")
    if unknown := {line.row for line in named if line.row is not None} - set(printed.index):
        raise ValueError(f"{os.fspath(published)} has no row {', '.join(map(str, sorted(unknown)))}")
    scores = pd.concat([sets, summary], ignore_index=True)
    if scores.empty:
        raise ValueError("there is no score of any row")
    found = {(score["row"], score["metric"], score["against"]): score for score in scores.to_dict("records")}
    scored = list(dict.fromkeys((metric, reference) for _, metric, reference in found))
    here = {key: _computed(key, scored) for key in PRINTED}
    metrics = [*here.values(), *(key for key in scored if key not in here.values())]
    column = {computed: PRINTED[key] for key, computed in here.items()}
    run = set(scores["row"])
    others = sorted(run - {line.model for line in named})
    rows = []
    for line in [*named, *(Line(None, model, model) for model in others)]:
        note = (notes or {}).get(line.model, "" if line.model in run else NOT_RUN)
        for key in metrics:
            score = found.get((line.model, *key), {})
            in_print = line.row is not None and key in column
            rows.append(
                {
                    "study": "synthesis",
                    "row": line.row,
                    "name": line.name,
                    "model": line.model,
                    "metric": key[0],
                    "reference": key[1],
                    "published": printed.loc[line.row, column[key]] if in_print else None,
                    "reproduced": score.get("value"),
                    "ci_low": score.get("ci_low"),
                    "ci_high": score.get("ci_high"),
                    "protocol": PROTOCOL,
                    "cohort": cohort,
                    "cohort_note": cohort_note(virtual, False),
                    "n": score.get("n"),
                    "n_subjects": score.get("n_people"),
                    "features": score.get("features", ""),
                    "note": note,
                }
            )
    numbers = dict.fromkeys(("published", "reproduced", "ci_low", "ci_high"), "float64")
    return pd.DataFrame(rows).astype(numbers | dict.fromkeys(("row", "n", "n_subjects"), "Int64"))


def _computed(key: Key, scored: Iterable[Key]) -> Key:
    """A printed metric as it was computed here: itself, or what stands in for it."""
    metric, reference = key
    for name in (metric, *SUBSTITUTES.get(metric, ())):
        if (name, reference) in scored:
            return name, reference
    return key


def row_differences(
    scores: pd.DataFrame,
    people: pd.DataFrame,
    resamples: int,
    seed: int,
    comparisons: Iterable[tuple[str, str]] = COMPARISONS,
) -> pd.DataFrame:
    """By how much rows are better than others, with intervals and p-values over people.

    Parameters
    ----------
    scores
        Rows of :data:`faceneuro.synthesis.transfer.SCORES`.
    people
        From :func:`people_of`.
    resamples, seed
        Of the bootstrap; with those of the summary, resamples are the same.
    comparisons
        Two rows each; of one that was not scored nothing is said.

    Returns
    -------
    Rows of :data:`DIFFERENCES`, one per comparison and metric that both rows have. ``difference`` is how much better
    the first row is, in the metric's unit, whichever way round the metric is. Limits (95 %) and p-values, which are not
    adjusted for the number of comparisons, are null where there are fewer people than an interval needs.
    """
    drawn, rows = People(people, resamples, seed), []
    keys = ["metric", "against"]
    models = {name: set(part[keys].itertuples(index=False, name=None)) for name, part in scores.groupby("row")}
    order = list(dict.fromkeys(scores[keys].itertuples(index=False, name=None)))
    for a, b in comparisons:
        for metric, reference in order:
            if not all((metric, reference) in models.get(name, ()) for name in (a, b)):
                continue
            pair, better_by = advantages(scores, a, b, Measure(metric, reference, "", ()))
            if not len(pair):
                continue
            means, count = drawn.means(pair, better_by), drawn.number(pair)
            enough = count >= LEAST
            low, high = percentile_interval(means[1:]) if enough else (np.nan, np.nan)
            p = p_value(means[1:]) if enough else np.nan
            rows.append((a, b, metric, reference, means[0], low, high, p, len(pair), count))
    return pd.DataFrame(rows, columns=DIFFERENCES)


def judge_claims(frame: pd.DataFrame, differences: pd.DataFrame) -> pd.DataFrame:
    """What the paper claims of the parts of its model, and what they do for the transfer.

    Parameters
    ----------
    frame
        From :func:`synthesis_table`.
    differences
        From :func:`row_differences` of the same scores, for :data:`COMPARISONS`.

    Returns
    -------
    claim, verdict, evidence. A claim *holds* where all the differences that it rests on are above zero with their whole
    95 % interval; is *not shown* where they are above zero, *does not hold* where one is not. The aFID is one number
    without an interval: where it is not lower, the claim does not hold, but where it is, that alone shows nothing.
    """
    found = _Found(frame, differences)
    both = (("psnr", "identity"), ("psnr", "style"))
    to_style = (("psnr", "style"), ("ssim", "style"))
    to_identity = tuple((metric, "identity") for metric in ("psnr", "ssim", "lpips", "pl"))
    parts = (
        ("Landmarks help (row 6 against row 3): a lower aFID, nearer to the style image", (NO_LANDMARKS,), to_style),
        ("Cross-fusion helps (row 6 against row 4): a lower aFID, nearer to both images", (NO_FUSION,), both),
        ("Cycle diffusion helps (row 6 against row 5): a lower aFID, nearer to both images", (NO_CYCLE,), both),
        ("CCFExp beats DCFace (rows 1 and 2): a lower aFID, nearer to the identity image", DCFACE, to_identity),
    )
    claims = [
        # The parts are there for what the whole is to be: better than what it started from.
        replace(_compare(found, f"{claim}.", others, keys, sets=True), headline=others == DCFACE)
        for claim, others, keys in parts
    ]
    asked = found.transfer()
    subjects = ("Landmarks carry", "Cross-fusion carries", "Cycle diffusion carries", "CCFExp, against DCFace, carries")
    for subject, (_, others, _) in zip(subjects, parts, strict=True):
        claim = f"{BEYOND}: {subject} the palsy better ({_and(name_of(key).lower() for key in asked)})."
        claims.append(_compare(found, claim, others, asked, sets=False))
    return pd.DataFrame([asdict(claim) for claim in claims])


@dataclass(frozen=True)
class _Found:
    """Numbers for the claims, looked up by model and metric."""

    frame: pd.DataFrame
    differences: pd.DataFrame

    def computed(self, key: Key) -> Key:
        known = list(self.frame[["metric", "reference"]].drop_duplicates().itertuples(index=False, name=None))
        return _computed(key, known)

    def transfer(self) -> tuple[Key, ...]:
        """What says how well palsy is carried: by the exact target where there is one."""
        known = self.frame[self.frame["reproduced"].notna()]
        scored = set(known[["metric", "reference"]].itertuples(index=False, name=None))
        landmarks = [("landmark_error", reference) for reference in ("target", "carried")]
        return (*[key for key in landmarks if key in scored][:1], ("asymmetry_error", "style"))

    def cell(self, model: str, key: Key) -> pd.Series:
        rows = self.frame[self.frame["model"] == model]
        return rows[(rows["metric"] == key[0]) & (rows["reference"] == key[1])].iloc[0]

    def run(self, model: str) -> bool:
        return not not_run_sentence(self.frame, [model])

    def gain(self, a: str, b: str, key: Key) -> pd.Series | None:
        wanted = dict(zip(DIFFERENCES, (a, b, *key), strict=False))
        rows = self.differences[(self.differences[list(wanted)] == pd.Series(wanted)).all(axis=1)]
        return rows.iloc[0] if len(rows) else None


def _compare(found: _Found, claim: str, others: Sequence[str], keys: Sequence[Key], sets: bool) -> Claim:
    """The paper's model against some others, in metrics that decide; sets say whether the aFID may refute."""
    missing = not_run_sentence(found.frame, [OURS, *others])
    about = {"in_print": _first_in_print(found, others, keys), "models": ", ".join([OURS, *others])}
    run = [other for other in others if found.run(other)]
    if not run or not found.run(OURS):
        return Claim(claim, NOT_RUN, missing, **about)
    asked = [found.computed(key) for key in keys]
    if absent := [other for other in run if any(found.gain(OURS, other, key) is None for key in asked)]:
        return Claim(claim, NOT_RUN, f"{OURS} was not compared with {' or '.join(absent)}.", **about)
    # By the printed metric, which another may stand in for.
    gains = {
        (other, key): found.gain(OURS, other, computed)
        for other in run
        for key, computed in zip(keys, asked, strict=True)
    }
    verdicts = [verdict_on(gain) for gain in gains.values()]
    in_short = _in_short(found, *decisive(gains), gains[decisive(gains)])
    said = []
    if sets:
        refuted, words = _of_sets(found, run)
        if refuted and FAILS not in verdicts:
            in_short = _sets_in_short(found, run)
        verdicts += refuted
        said += words
    said += [_values(found, run, key) for key in asked]
    said += [text for key in keys if (text := _in_print(found, run, key, found.computed(key)))]
    worst = worst_of(verdicts)
    # One comparison that fails decides, whatever those that were not run would have shown.
    verdict = NOT_RUN if missing and worst != FAILS else worst
    about |= in_short if verdict != NOT_RUN else {}
    return Claim(claim, verdict, " ".join([*said, *([missing] if missing else [])]), **about)


def _first_in_print(found: _Found, others: Sequence[str], keys: Sequence[Key]) -> str:
    """The first printed number that a claim rests on; empty if it is not printed."""
    key = next((key for key in keys if key in PRINTED), None)
    known = {OURS, others[0]} <= set(found.frame["model"])
    if key is None or not known:
        return ""
    values = (found.cell(model, found.computed(key))["published"] for model in (OURS, others[0]))
    return against_text(name_of(key), *values, ".2f")


def _in_short(found: _Found, other: str, key: Key, gap: pd.Series) -> dict[str, Any]:
    """The comparison that decides: as printed, here, and how sure it is."""
    computed = found.computed(key)
    ours, theirs = (found.cell(model, computed) for model in (OURS, other))
    form = _form(computed)
    beside = against_text(name_of(computed), ours["reproduced"], theirs["reproduced"], form)
    here = f"{beside} of {other}: better by {interval_text(gap, 'difference', '+' + form)}"
    in_print = against_text(name_of(key), ours["published"], theirs["published"], ".2f")
    return {"in_print": in_print, "here": here, "p_value": float(gap["p_value"])}


def _sets_in_short(found: _Found, others: Sequence[str]) -> dict[str, Any]:
    """The same of the distance of sets, which has neither interval nor p-value: beside the best of the others."""
    printed = ("afid", TEST_IMAGES)
    key = found.computed(printed)
    cells = {model: found.cell(model, key) for model in (OURS, *others)}
    scored = [other for other in others if pd.notna(cells[other]["reproduced"])]
    other = min(scored, key=lambda model: cells[model]["reproduced"])
    values = (cells[model]["reproduced"] for model in (OURS, other))
    in_print = (cells[model]["published"] for model in (OURS, other))
    return {
        "in_print": against_text(name_of(printed), *in_print, ".2f"),
        "here": f"{against_text(name_of(key), *values, _form(key))} of {other}, without an interval",
    }


def _of_sets(found: _Found, others: Sequence[str]) -> tuple[list[str], list[str]]:
    """What the distance of sets says: a verdict where it refutes, and a sentence."""
    printed = ("afid", TEST_IMAGES)
    key = found.computed(printed)
    ours = found.cell(OURS, key)["reproduced"]
    theirs = {other: found.cell(other, key)["reproduced"] for other in others}
    known = {other: value for other, value in theirs.items() if pd.notna(value) and pd.notna(ours)}
    if not known:
        return [], []
    told = [f"of {other} {_number(value, key)}" for other, value in known.items()]
    sentence = f"{NAMES[key[0]]} of {OURS} {_number(ours, key)}, {', '.join(told)}, without intervals."
    verdict = [FAILS] if any(ours >= value for value in known.values()) else []
    return verdict, [" ".join(filter(None, [sentence, _in_print(found, others, printed, key)]))]


def _values(found: _Found, others: Sequence[str], key: Key) -> str:
    """A metric of the paper's model and of others, and by how much it is better."""
    form = _form(key)
    said = []
    for other in others:
        gap = found.gain(OURS, other, key)
        said.append(
            f"of {other} {interval_text(found.cell(other, key), form=form)}, better by "
            f"{difference_text(gap, '+' + form)}"
        )
    return f"{name_of(key)} of {OURS} {interval_text(found.cell(OURS, key), form=form)}; {'; '.join(said)}."


def _in_print(found: _Found, others: Sequence[str], key: Key, computed: Key) -> str:
    """The printed numbers of a metric, which may stand beside those of a substitute; empty if there are none."""
    values = [found.cell(model, computed)["published"] for model in (OURS, *others)] if key in PRINTED else [None]
    if any(map(pd.isna, values)):
        return ""
    ours, *theirs = (format(value, ".2f") for value in values)
    return f"Published: {name_of(key)} {ours} against {_and(theirs)}."


def name_of(key: Key) -> str:
    """A metric, and what it compares with, as tables and figures call it."""
    metric, reference = key
    beside = {
        "identity": ", identity" if metric != "identity_cosine" else "",
        "style": ", style" if metric != "asymmetry_error" else "",
        "target": ", true target",
    }
    return NAMES.get(metric, metric) + beside.get(reference, "")


def _form(key: Key) -> str:
    return FORMS.get(key[0], ".3f")


def _number(value: float, key: Key) -> str:
    return "" if pd.isna(value) else format(value, _form(key))


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def write_synthesis(
    frame: pd.DataFrame,
    differences: pd.DataFrame,
    claims: pd.DataFrame,
    contests: pd.DataFrame,
    pairs: pd.DataFrame,
    made: Made,
    stem: str | os.PathLike,
    parameters: Mapping[str, Parameters] | None = None,
) -> None:
    """Write the synthesis table as .csv (everything), .md and .tex (what one reads).

    Parameters
    ----------
    frame
        From :func:`synthesis_table`.
    differences
        From :func:`row_differences`.
    claims
        From :func:`judge_claims`.
    contests
        From :func:`faceneuro.synthesis.trivial.contests`.
    pairs
        Rows of :data:`faceneuro.tables.PAIRS` that were made.
    made
        How.
    stem
        Path without suffix.
    parameters
        Of each model, from :func:`parameters_of`.
    """
    told = pd.DataFrame(list(verdicts(contests).items()), columns=["model", "verdict"])
    renamed = {"row": "model", "trivial": "against", "against": "reference", "difference": "reproduced"}
    fought = contests.rename(columns=renamed | {"n_people": "n_subjects", "outcome": "verdict"})
    sizes = pd.DataFrame([{"model": model, **size._asdict()} for model, size in (parameters or {}).items()])
    said = claims.assign(note=_made_note(made))
    everything = tidy(frame, differences, claim=said, contest=fought, verdict=told, parameters=sizes)
    features = [
        key for key in columns_of(frame) if key[0] in {"lpips", "pl", *SUBSTITUTES["lpips"], *SUBSTITUTES["pl"]}
    ]
    pixels = [key for key in columns_of(frame) if key not in features]
    exact = _shown(frame, EXACT)
    tables = [
        _printed_table(frame, "Results, published and here: sets and pixels", pixels),
        _printed_table(frame, "Results, published and here: features", features),
        _plain_table(frame, "Transfer, which copying cannot win", _shown(frame, TRANSFERRED)),
        *([_plain_table(frame, "Against the exact target, which virtual patients have", exact)] if exact else []),
        *([_verdict_table(frame, told)] if len(told) else []),
        claims_table("Claims", claims),
        *([_comparisons(differences)] if len(differences) else []),
        *([_sizes(frame, parameters)] if parameters else []),
    ]
    lead = [
        _warning(frame, pairs),
        *_made_sentence(made),
        *_learnt_from(pairs),
        *_features(frame),
        _headline(frame, claims, contests),
    ]
    write_files(stem, everything, TITLE, lead, tables, _remarks(frame, made))


def columns_of(frame: pd.DataFrame) -> list[Key]:
    """The printed metrics as they were computed here."""
    known = list(frame[["metric", "reference"]].drop_duplicates().itertuples(index=False, name=None))
    return [_computed(key, known) for key in PRINTED]


def _shown(frame: pd.DataFrame, keys: Iterable[Key]) -> list[Key]:
    """Those metrics that any row has."""
    known = frame.loc[frame["reproduced"].notna(), ["metric", "reference"]]
    scored = set(known.itertuples(index=False, name=None))
    return [key for key in keys if key in scored]


def _lines(frame: pd.DataFrame) -> list[Line]:
    named = frame[["row", "name", "model"]].drop_duplicates()
    return [Line(int(row) if pd.notna(row) else None, *rest) for row, *rest in named.itertuples(index=False, name=None)]


def _cells(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    return frame[frame["model"] == model].set_index(["metric", "reference"])


def _was_run(frame: pd.DataFrame, model: str) -> bool:
    return bool(frame.loc[frame["model"] == model, "reproduced"].notna().any())


def _printed_table(frame: pd.DataFrame, heading: str, keys: Sequence[Key]) -> Table:
    """Every printed number beside the same one here."""
    lines = []
    for line in _lines(frame):
        cells, numbers = _cells(frame, line.model), []
        for place, key in enumerate(keys):
            here = interval_text(cells.loc[key], form=_form(key))
            if place == 0 and not _was_run(frame, line.model):
                here = NOT_RUN
            printed = cells.loc[key, "published"]
            numbers += ["" if pd.isna(printed) else f"{printed:.2f}", here]
        lines.append([_text(line.row), line.name, *numbers])
    of = {computed: key for key, computed in zip(PRINTED, columns_of(frame), strict=True)}
    header = [part for key in keys for part in (f"{name_of(of[key])}: published", f"{name_of(key)}: here")]
    return Table(heading, ["Row", "Model", *header], lines, text_columns=2)


def _plain_table(frame: pd.DataFrame, heading: str, keys: Sequence[Key]) -> Table:
    """Metrics that are not printed, of the rows that were run."""
    lines = []
    for line in _lines(frame):
        if _was_run(frame, line.model):
            cells = _cells(frame, line.model)
            lines.append([line.name, *(interval_text(cells.loc[key], form=_form(key)) for key in keys)])
    return Table(heading, ["Model", *map(name_of, keys)], lines)


def _verdict_table(frame: pd.DataFrame, told: pd.DataFrame) -> Table:
    names = {line.model: line.name for line in _lines(frame)}
    lines = [[names[row.model], row.verdict] for row in told.itertuples()]
    return Table("Beside the trivial rows", ["Model", "Verdict"], lines, 2, sentences=(1,))


def _comparisons(differences: pd.DataFrame) -> Table:
    """By how much models are better, in the metrics that the claims rest on."""
    asked = (("psnr", "identity"), ("psnr", "style"), *TRANSFERRED[:1], ("landmark_error", "target"), *TRANSFERRED[2:3])
    scored = set(differences[["metric", "reference"]].itertuples(index=False, name=None))
    shown = [key for key in asked if key in scored]
    at = differences.set_index(["model_a", "model_b", "metric", "reference"])
    lines = []
    for pair in differences[["model_a", "model_b"]].drop_duplicates().itertuples(index=False, name=None):
        cells = []
        for key in shown:
            known = (*pair, *key) in at.index
            gap = at.loc[(*pair, *key)] if known else None
            form = "+" + _form(key)
            cells += [interval_text(gap, "difference", form), p_text(gap["p_value"])] if known else ["", ""]
        lines.append([*pair, *cells])
    header = [f"{name_of(key)}: {what}" for key in shown for what in ("better by", "p")]
    return Table("Paired differences", ["Model", "Against", *header], lines, text_columns=2)


def _sizes(frame: pd.DataFrame, parameters: Mapping[str, Parameters]) -> Table:
    names = {line.model: line.name for line in _lines(frame)}
    lines = [[names.get(model, model), *(f"{count / 1e6:.2f}" for count in size)] for model, size in parameters.items()]
    header = ["Model", "Generator", "U-Net alone", "U-Net alone: published"]
    return Table("Millions of weights, extractors left out", header, [[*line, f"{PUBLISHED_UNET}"] for line in lines])


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _warning(frame: pd.DataFrame, pairs: pd.DataFrame) -> str:
    cohort, note = frame[["cohort", "cohort_note"]].iloc[0]
    people = people_of(pairs)
    styles, identities = (people[part].nunique() for part in ("style", "identity"))
    everybody = len(set(people["style"]) | set(people["identity"]))
    return (
        f"Cohort {cohort}: {note}; {len(pairs)} pairs of {everybody} people, in which the palsy of {styles} is given "
        f"to {identities}. In brackets: 95 % intervals, bootstrapped over people."
    )


def _made_sentence(made: Made) -> list[str]:
    released = " as the paper's public code does, where it departs from the paper," if made.as_released else ""
    how = f"{made.steps:,} steps of training, {made.sampling_steps} of sampling"
    if made.pixels == PAPER_PIXELS:
        return [f"Made{released} at size {made.size}, {made.pixels} x {made.pixels} pixels: {how}."]
    return [
        f"Made{released} at size {made.size}, {made.pixels} x {made.pixels} pixels ({how}); the paper's images have "
        f"{PAPER_PIXELS} x {PAPER_PIXELS}. Such a network shows that the pipeline runs and how its rows compare, not "
        "what the paper's can do."
    ]


def _made_note(made: Made) -> str:
    """What a reader must know of every verdict; empty where images are the paper's size."""
    if made.pixels == PAPER_PIXELS:
        return ""
    return f"networks of size {made.size}, {made.pixels} x {made.pixels} pixels, {made.steps:,} steps of training"


def _learnt_from(pairs: pd.DataFrame) -> list[str]:
    known = int((~pairs["held_out"].astype(bool)).sum())
    return [f"In {known} of {len(pairs)} pairs somebody is shown whom the models have learnt from."] if known else []


def _features(frame: pd.DataFrame) -> list[str]:
    """What computed the features, and what was computed in whose place."""
    own, others, said = {}, {}, []
    for (metric, reference), key in zip(PRINTED, columns_of(frame), strict=True):
        rows = frame[(frame["metric"] == key[0]) & (frame["reference"] == key[1]) & frame["reproduced"].notna()]
        if len(rows) and rows["features"].iloc[0] != "pixels":
            of = own if key[0].startswith("own_") else others
            of.setdefault(rows["features"].iloc[0], {})[NAMES[metric]] = NAMES[key[0]]
        if reference == TEST_IMAGES and len(rows) and key[0].endswith("kid"):
            said.append(
                f"The {rows['n'].min()} images of a set are no more than their features, so instead of the aFID there "
                "is the kernel inception distance (KID), which is another quantity; around 0 sets cannot be told apart."
            )
    for features, replaced in own.items():
        said.append(
            f"By {features}, for want of published networks: {_and(replaced.values())}, in place of {_and(replaced)}. "
            "They rank the rows of this table and compare with no other number."
        )
    for features, computed in others.items():
        said.append(f"By {features}: {_and(computed.values())}.")
    return [" ".join(said)] if said else []


def _headline(frame: pd.DataFrame, claims: pd.DataFrame, contests: pd.DataFrame) -> str:
    said = [not_run_sentence(frame, [OURS])]
    won = []
    for line in _lines(frame):
        fought = contests.loc[contests["row"] == line.model]
        if len(fought):
            better = fought["outcome"].eq(BETTER).groupby([fought["metric"], fought["against"]]).all()
            few = fought["outcome"].eq(TOO_FEW).all()
            won.append(f"{line.name} {TOO_FEW if few else f'in {better.sum()} of {len(better)}'}")
    if won:
        said.append(f"Measures of transfer in which a model is better than every trivial row: {', '.join(won)}.")
    beyond = claims["claim"].str.startswith(BEYOND)
    said.append(f"Of {int((~beyond).sum())} claims of the paper: {tally(claims.loc[~beyond, 'verdict'])}.")
    return " ".join(filter(None, said))


def _remarks(frame: pd.DataFrame, made: Made) -> list[str]:
    names = {
        line.model: f"row {line.row} ({line.model})" if line.row else line.model
        for line in _lines(frame)
        if line.model not in TRIVIAL
    }
    return [
        "Identity: against the image of the person who is to be shown. Style: against that of the patient whose palsy "
        "and expression it is. PSNR is in dB; of PSNR, SSIM and the cosine more is better, of all others less.",
        "Returning either image unchanged is perfect against that one, so the printed columns cannot tell a transfer "
        "from a copy. That is what the trivial rows are for, and the transfer measures.",
        "Landmark error: mean distance of the points of brows, eyes, nose and mouth from where the style's movement, "
        "added to the identity's neutral face, takes them (or, true target, from those of the exact picture). "
        "Excursion error: the same of how far brow, lids and corner of the mouth have moved. Asymmetry error: of left "
        "minus right. All in distances between the outer corners of the eyes. Grade error: of the grade that is read "
        "from a face's asymmetry, in grades.",
        "A verdict beside the trivial rows tells, for each measure, of the comparison in which the model is least "
        "ahead. A trivial row does not compete where it wins by what it is: the style image has the style's asymmetry, "
        "the identity image its identity.",
        *_loophole_remark(frame),
        *_print_remarks(frame),
        *_data_remark(),
        "**holds**: better, with the whole interval of the paired difference above zero. **not shown**: better, but "
        "the interval includes zero or is not known. **does not hold**: not better. Claims that rest on several "
        "comparisons are as good as the worst. A distance of two sets has no interval over people: where the aFID, or "
        "what stands for it, is not lower, a claim does not hold; where it is, the other metrics decide.",
        f"Intervals draw people, both whose palsy and to whom it is given; fewer than {LEAST} people have none. They "
        "and the p-values, which are not adjusted for the number of comparisons, say what other people might have "
        "given, not what another start of the training might.",
        *(_released_remark() if made.as_released else []),
        *model_remarks(frame, names),
    ]


def _released_remark() -> list[str]:
    return [
        "As released: queries are not projected, landmark tokens mix channels and places, the second identity loss "
        "compares with the restored image, the variances of DCFace are none, and fusion, expression and adapters keep "
        "their random start."
    ]


def _loophole_remark(frame: pd.DataFrame) -> list[str]:
    """The way back of the aFID is given a real image."""
    said = (
        "The aFID has a loophole: on the way back the identity is a real image of the patient, and who returns it "
        "unchanged has a set of real images of the right people. Here it is never the image that should come back, "
        "which would give exactly 0."
    )
    (key,) = (key for key in columns_of(frame) if key[1] == TEST_IMAGES)
    values = [_cells(frame, model)["reproduced"].get(key) for model in (COPY, OURS)]
    if not any(map(pd.isna, values)):
        copied, ours = values
        better = "better than" if copied < ours else "no better than"
        said += f" The copied identity's is {_number(copied, key)}, {better} CCFExp's {_number(ours, key)}."
    return [said]


def _published(frame: pd.DataFrame) -> pd.DataFrame:
    """The printed numbers, by model and printed column."""
    column = dict(zip(columns_of(frame), PRINTED.values(), strict=True))
    rows = frame[frame["published"].notna()]
    rows = rows.assign(
        printed=[column[key] for key in rows[["metric", "reference"]].itertuples(index=False, name=None)]
    )
    return rows.pivot(index="model", columns="printed", values="published")


def _print_remarks(frame: pd.DataFrame) -> list[str]:
    """What follows from the printed numbers themselves."""
    printed = _published(frame)
    return [*_style_remark(printed), *_ablation_remark(printed)]


def _style_remark(printed: pd.DataFrame) -> list[str]:
    """Where DCFace is better, in print."""
    if not {OURS, DCFACE[1]} <= set(printed.index):
        return []
    ours, theirs = printed.loc[OURS], printed.loc[DCFACE[1]]
    columns = {column: name_of(key) for key, column in PRINTED.items() if key[1] == "style"}
    better = [
        f"{name} ({theirs[column]:.2f} against {ours[column]:.2f})"
        for column, name in columns.items()
        if (theirs[column] > ours[column]) == column.startswith(("psnr", "ssim"))
    ]
    if not better:
        return []
    return [
        f"In print, DCFace 5 x 5 is nearer to the style image than CCFExp in {len(better)} of {len(columns)} columns: "
        f"{_and(better)}. The paper's text says so and puts it down to light and background."
    ]


def _ablation_remark(printed: pd.DataFrame) -> list[str]:
    """By how much leaving a part out changes the printed numbers."""
    if OURS not in printed.index:
        return []
    said = []
    for model, part in ((NO_LANDMARKS, "landmarks"), (NO_FUSION, "cross-fusion"), (NO_CYCLE, "cycle diffusion")):
        if model in printed.index:
            gap = printed.loc[OURS] - printed.loc[model]
            said.append(
                f"{part} {gap['afid']:+.2f} aFID, {gap['psnr_style']:+.2f} dB PSNR, {gap['ssim_style']:+.2f} SSIM and "
                f"{gap['lpips_style']:+.2f} LPIPS against the style image"
            )
    if not said:
        return []
    return [f"In print, the parts are worth: {'; '.join(said)}. Each row was trained once, and nothing has a spread."]


def _data_remark() -> list[str]:
    images, people = sum(IMAGES.values()), sum(PEOPLE.values())
    known = {name: count * each for name, (count, each) in SOURCES.items()}
    named = _and(f"{name} {count:,} ({SOURCES[name][0]} people)" for name, count in known.items())
    return [
        f"The paper counts {images:,} images of {people} people, and names two data sets: {named}. Together that is "
        f"{sum(known.values()):,} images of {sum(count for count, _ in SOURCES.values())} people; where the others "
        "come from is not said."
    ]
