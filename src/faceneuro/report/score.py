"""The page about one recording of somebody whom no model was trained on, and the table of several."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.ticker import MaxNLocator

from faceneuro import __version__
from faceneuro.evaluation.audits import CALIBRATION
from faceneuro.evaluation.sources import BAD, SUSPICIOUS
from faceneuro.report.audits import GRADES
from faceneuro.report.classification import cohort_note
from faceneuro.report.html import table, write_page
from faceneuro.report.tables import Table, write_files
from faceneuro.scoring.judgement import Alike, Comparison, Verdict
from faceneuro.tables import SCORES

SCORED, REFUSED, LEFT_OUT = "scored", "refused", "left out"
"""Outcomes."""

STATEMENT = (
    "This is research software, not a medical device. What it says is no diagnosis, and no reason to begin, change or "
    "end a treatment. It has not been tested on patients like the person in this recording; only a physician who "
    "examines the person can tell what they have."
)

NOTHING_LEFT = "no frame of it has all that the models need; record the whole face, upright and from the front"


@dataclass(frozen=True)
class Findings:
    """All that is known of a recording.

    Attributes
    ----------
    recording
        Its name.
    study
        ``name``, ``model``, ``positive`` (label of the ill), ``cohort``, and whether that is ``virtual`` and its labels
        ``permuted``.
    quality
        A row of :data:`faceneuro.tables.QUALITY`.
    circumstances
        A row of :data:`faceneuro.tables.CIRCUMSTANCES`.
    comparisons
        Of the circumstances with those of the cohort.
    excursions
        Rows of :data:`faceneuro.tables.EXCURSIONS`; none of a recording that was refused.
    errors
        From :func:`faceneuro.scoring.judgement.measurement_errors`.
    votes
        None of a recording that was refused.
    alike
        Who of the study got about such a probability; None without votes.
    people
        Everybody whom the study's model was tested on, from :func:`faceneuro.evaluation.audits.held_out`.
    audits
        Rows of :data:`faceneuro.tables.AUDITS` of the study.
    """

    recording: str
    study: Mapping[str, Any]
    quality: Mapping[str, Any]
    circumstances: Mapping[str, Any]
    comparisons: Sequence[Comparison]
    excursions: pd.DataFrame
    errors: pd.DataFrame
    votes: Verdict | None
    alike: Alike | None
    people: pd.DataFrame
    audits: pd.DataFrame

    @property
    def outcome(self) -> str:
        """Scored or refused."""
        return REFUSED if self.votes is None else SCORED

    @property
    def problems(self) -> str | None:
        """What is wrong with the recording, and what to do."""
        reason = self.quality["reason"]
        known = reason if isinstance(reason, str) else None
        return known or (NOTHING_LEFT if self.votes is None else None)

    @property
    def outside(self) -> list[Comparison]:
        """What the models have not met in training."""
        return [each for each in self.comparisons if each.inside is False]


def row_of(found: Findings) -> dict[str, Any]:
    """The recording's row of :data:`faceneuro.tables.SCORES`."""
    votes, alike = found.votes, found.alike
    return {
        "recording": found.recording,
        "file": found.quality["clip"],
        "outcome": found.outcome,
        "reason": found.problems,
        "outside": None if votes is None else "; ".join(map(_departure, found.outside)) or None,
        **{name: found.quality[name] for name in ("frames_read", "frames_kept", "faces_found")},
        **{"study": found.study["name"], "model": found.study["model"], "trained_on": found.study["cohort"]},
        **(
            {}
            if votes is None
            else {name: getattr(votes, name) for name in ("probability", "lowest", "highest", "folds")}
        ),
        **(
            {}
            if alike is None
            else {
                "people_alike": alike.people,
                "ill_alike": alike.ill,
                "ill_ci_low": alike.ci_low,
                "ill_ci_high": alike.ci_high,
            }
        ),
        "note": cohort_note(found.study["virtual"], found.study["permuted"]),
    }


def _departure(each: Comparison) -> str:
    return f"{each.what}: {each.value}, trained on {each.range}"


# The page.


@dataclass(frozen=True)
class Line:
    """One side's movement, in the coordinates of a drawing.

    Attributes
    ----------
    side
        left, right or midline.
    strokes
        Points of each stretch without a gap, as SVG has them.
    bands
        Outlines of what lies within the stated error; empty if it is not known.
    """

    side: str
    strokes: Sequence[str]
    bands: Sequence[str]


@dataclass(frozen=True)
class Curves:
    """A drawing of one measure over time.

    Attributes
    ----------
    measure
        Its name.
    text
        What is seen, for those who do not see it.
    lines
        A side each.
    x_ticks, y_ticks
        Place and label.
    zero
        Place of no movement.
    x_label
        What is along the bottom.
    """

    measure: str
    text: str
    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    zero: float
    x_label: str


WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 520, 220, 46, 38, 12
"""Of a drawing, and the room for its labels, in pixels."""


def write_score(found: Findings, path: str | os.PathLike) -> None:
    """Write the page about a recording.

    A recording that was refused has neither probability nor movement in it: what cannot be relied upon is not shown.

    Parameters
    ----------
    found
        About the recording.
    path
        Of the page.
    """
    scored = found.votes is not None
    parts = [("quality", "Quality"), ("purpose", "What this is")]
    if scored:
        parts += [("movement", "Movement"), ("probability", "Probability"), ("audits", "Audits")]
    write_page(
        path,
        "score.html.j2",
        title=f"Recording {found.recording}",
        version=__version__,
        parts=[*parts, ("origin", "Origin")],
        found=found,
        statement=STATEMENT,
        cohort_note=cohort_note(found.study["virtual"], found.study["permuted"]),
        curves=list(_drawings(found)) if scored else [],
        movements=_movements(found) if scored else None,
        validated=sorted(set(found.errors["cohort"])),
        brier=_brier(found.audits) if scored else None,
        audits=_audits(found.audits) if scored else None,
        likeness=table(
            ["", "Recording", "Trained on", "Met in training"],
            [[each.what, each.value, each.range, {True: "yes", False: "no", None: "not known"}[each.inside]]
             for each in found.comparisons],
            "How the recording was made, beside the recordings that the models were trained on",
            4,
        ),
        departures=[_departure(each) for each in found.outside],
        reservations=_reservations(found) if scored else [],
    )  # fmt: skip


def _reservations(found: Findings) -> list[str]:
    """Why one should not rely on the probability."""
    votes, reasons = found.votes, []
    if found.outside:
        departures = "; ".join(map(_departure, found.outside))
        reasons.append(f"The recording is not like those that the models were trained on ({departures}).")
    if votes.lowest < 0.5 < votes.highest:
        reasons.append(
            "The models do not agree: some take the person for ill, others for healthy. What the mean is depends on "
            "who happened to be trained on."
        )
    alarms = found.audits[found.audits["grade"].isin([BAD, SUSPICIOUS])]["verdict"]
    if len(alarms):
        reasons.append(f"Audits of the study raise alarms: {'; '.join(dict.fromkeys(alarms))}.")
    return reasons


def _audits(audits: pd.DataFrame) -> str:
    order = audits.assign(_rank=pd.Categorical(audits["grade"], GRADES, ordered=True)).sort_values(
        "_rank", kind="stable"
    )
    lines = [[row.audit, f"**{row.grade}**", row.sentence] for row in order.itertuples()]
    return table(["Audit", "Verdict", "What was found"], lines, "Audits of the study that the models come from", 3)


def _brier(audits: pd.DataFrame) -> str | None:
    of_score = audits[(audits["audit"] == CALIBRATION) & (audits["quantity"] == "brier")]
    return next(iter(of_score["sentence"]), None)


def _drawings(found: Findings) -> Iterator[Curves]:
    for measure, rows in found.excursions.groupby("measure", sort=False):
        sides = dict(list(rows.groupby("side", sort=False)))
        errors = {side: found.errors["error"].get((measure, side)) for side in sides}
        yield _curves(measure, sides, errors)


def _curves(measure: str, sides: Mapping[str, pd.DataFrame], errors: Mapping[str, float | None]) -> Curves:
    timed = all(part["time_s"].notna().all() for part in sides.values())
    column = "time_s" if timed else "frame"
    times = np.concatenate([part[column] for part in sides.values()]).astype(float)
    reach = np.concatenate(
        [part["value"] + sign * (errors[side] or 0) for side, part in sides.items() for sign in (-1, 1)]
    )
    y_ticks = MaxNLocator(5).tick_values(min(reach.min(), -1), max(reach.max(), 1))
    x_ticks = [
        tick for tick in MaxNLocator(6).tick_values(times.min(), times.max()) if times.min() <= tick <= times.max()
    ]

    def x(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        span = max(times.max() - times.min(), 1e-9)
        return LEFT + (np.asarray(values, float) - times.min()) / span * (WIDTH - LEFT - EDGE)

    def y(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        share = (np.asarray(values, float) - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - EDGE)

    lines = []
    for side, part in sides.items():
        steps = np.diff(part["frame"])
        gaps = np.flatnonzero(steps > np.median(steps)) + 1 if len(steps) else []
        strokes, bands = [], []
        for index in np.split(np.arange(len(part)), gaps):
            along, value = x(part[column].iloc[index]), part["value"].iloc[index]
            strokes.append(_points(along, y(value)))
            if errors[side]:
                there, back = y(value + errors[side]), y(value - errors[side])
                bands.append(_points(np.append(along, along[::-1]), np.append(there, back[::-1])))
        lines.append(Line(side, strokes, bands))
    return Curves(
        measure,
        f"{measure} over time: " + "; ".join(_in_words(side, part, errors[side]) for side, part in sides.items()),
        lines,
        [(float(x(tick)), f"{tick:g}") for tick in x_ticks],
        [(float(y(tick)), f"{tick:g}") for tick in y_ticks],
        float(y(0)),
        "seconds" if timed else "frames",
    )


def _points(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))


def _furthest(part: pd.DataFrame) -> pd.Series:
    """The frame in which a side is furthest from its rest."""
    return part.loc[part["value"].abs().idxmax()]


def _when(row: pd.Series) -> str:
    return f"frame {row['frame']}" if pd.isna(row["time_s"]) else f"{row['time_s']:.2f} s"


def _in_words(side: str, part: pd.DataFrame, error: float | None) -> str:
    row = _furthest(part)
    known = f"±{error:.1f} %" if error else "not known"
    return f"{side} furthest from rest at {_when(row)}, {row['value']:+.1f} % (stated error {known})"


def _movements(found: Findings) -> str:
    """The numbers behind the drawings: how far each side went, and how far the sides were apart."""
    header = ["Measure", "Side", "At", "Furthest from rest, %", "Stated error, %", "Difference"]
    lines = []
    for (measure, side), part in found.excursions.groupby(["measure", "side"], sort=False):
        known = found.errors.loc[(measure, side)] if (measure, side) in found.errors.index else None
        stated = "not known" if known is None else f"{known['error']:.1f}"
        row = _furthest(part)
        lines.append([measure, side, _when(row), f"{row['value']:+.1f}", stated, ""])
        if side == "right":
            lines.append(_between(found, measure))
    return table(header, lines, "How far each side of the face moved", 2)


def _between(found: Findings, measure: str) -> list[str]:
    """Left less right, where they are furthest apart."""
    rows = found.excursions[found.excursions["measure"] == measure]
    wide = rows.pivot_table(index="frame", columns="side", values=["value", "time_s"], dropna=False)
    apart = wide["value"]["left"] - wide["value"]["right"]
    frame = apart.abs().idxmax()
    place = pd.Series({"frame": frame, "time_s": wide["time_s"]["left"].get(frame) if "time_s" in wide else np.nan})
    errors = [found.errors["error"].get((measure, side)) for side in ("left", "right")]
    # Both sides may err, in opposite directions.
    stated = "not known" if None in errors else f"{sum(errors):.1f}"
    beyond = "" if None in errors else "beyond it" if abs(apart[frame]) > sum(errors) else "within it"
    return [measure, "left less right", _when(place), f"{apart[frame]:+.1f}", stated, beyond]


# The table.


def write_scores(
    scores: pd.DataFrame, left_out: Mapping[str, str], study: Mapping[str, Any], stem: str | os.PathLike
) -> None:
    """Write the table of several recordings as .csv, .md and .tex.

    Parameters
    ----------
    scores
        Rows of :data:`faceneuro.tables.SCORES`.
    left_out
        Why a file is no recording, by its path in the folder.
    study
        As in :class:`Findings`.
    stem
        Path without suffix.
    """
    note = cohort_note(study["virtual"], study["permuted"])
    others = [
        {"file": path, "outcome": LEFT_OUT, "reason": reason, "study": study["name"], "note": note}
        for path, reason in sorted(left_out.items())
    ]
    rows = [*scores.astype(object).where(scores.notna(), None).to_dict("records"), *others]
    frame = pd.DataFrame(rows, columns=SCORES.names).convert_dtypes()
    counts = ", ".join(f"{n} {outcome}" for outcome, n in frame["outcome"].value_counts(sort=False).items())
    header = ["Recording", "File", "Outcome", "Problems, and what to do", "Not met in training", "Frames", "Faces"]
    header += ["Probability", "Single models", "Ill among people alike"]
    lead = [
        STATEMENT,
        f"{counts}. Models: {study['model']} of study {study['name']}, every fold over people held out, of cohort "
        f"{study['cohort']} ({note}).",
    ]
    remarks = [
        "Each recording has a page of its own, results/score/RECORDING/report.html. A recording that was refused has "
        "no probability: what is wrong with it, and what to do, stands in its row.",
        "Probability: mean of the models of all folds. Single models: the lowest and the highest.",
        "Ill among people alike: of the study's people who, held out, got about such a probability, how many are ill; "
        "in brackets the 95 % interval of their share (Wilson's).",
        "Not met in training: circumstances of the recording beyond those of the cohort's. Where there are any, nobody "
        "has tested what the probability is worth.",
    ]
    lines = [_line(row) for row in frame.astype(object).where(frame.notna(), None).to_dict("records")]
    tables = [Table("Recordings", header, lines, 5, sentences=(3, 4))]
    write_files(stem, frame, "Recordings of people whom no model was trained on", lead, tables, remarks)


def _line(row: Mapping[str, Any]) -> list[str]:
    outcome = row["outcome"] if row["outcome"] == SCORED else f"**{row['outcome']}**"
    words = [row["recording"] or "", row["file"] or "", outcome, row["reason"] or "", row["outside"] or ""]
    counts = ["" if row[name] is None else f"{row[name]:.0f}" for name in ("frames_kept", "faces_found")]
    if row["probability"] is None:
        return [*words, *counts, "", "", ""]
    share = f"{row['ill_alike']:.0f} of {row['people_alike']:.0f} [{row['ill_ci_low']:.2f}, {row['ill_ci_high']:.2f}]"
    return [*words, *counts, f"{row['probability']:.2f}", f"{row['lowest']:.2f} to {row['highest']:.2f}", share]
