"""The report of a run: one page of everything that was found, from its tables, figures and manifest."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from faceneuro import __version__
from faceneuro.evaluation.audits import LEAK
from faceneuro.evaluation.sources import BAD, GOOD, SUSPICIOUS, UNKNOWN
from faceneuro.features.quality import sentence as quality_sentence
from faceneuro.report.about import ABOUT, NO_DIAGNOSIS, About
from faceneuro.report.classification import cohort_note
from faceneuro.report.comparisons import HOLDS
from faceneuro.report.html import Picture, TableFile, drawing, photograph, read_table_file, table, write_page

TITLE = "Which claims hold here"

PLOTS = {
    "published": (
        "Published numbers (open marks) beside those of this cohort (dots with 95 % intervals)",
        "Where a dot's interval does not reach the open mark, this cohort does not give the published number.",
    ),
    "learning_curves": (
        "Accuracy and loss by epoch",
        "Where the part trained on goes on improving and the one set aside does not, more training learns people by "
        "heart.",
    ),
    "confusion": (
        "Confusion matrices: true classes in rows, predicted ones in columns",
        "Shades and percent go by the true class, so each row adds up to all who are of that class.",
    ),
    "roc": (
        "ROC curves of the models, with their areas",
        "The diagonal is chance. The area is how often a patient gets a higher probability than somebody healthy.",
    ),
    "calibration": (
        "Probability that was given, beside the share who are ill",
        "On the diagonal probabilities can be taken at their word. The shade is where a calibrated model of as many "
        "people would be.",
    ),
    "attention": (
        "Weights of the six expressions by class",
        "Differences between classes are small beside the common order of the expressions; the table has both.",
    ),
    "grid": (
        "Synthetic faces: the person, the palsy to be shown, and what each row of the table makes of them",
        "The last columns need no network: they copy or warp a picture. A network that is no better learnt nothing.",
    ),
    "losses": ("Losses of the diffusion networks by step", "The scale is logarithmic."),
    "forest": (
        "Forest plot: effect sizes with 95 % intervals, pooled by condition and overall",
        "The diamond is the pooled accuracy, the bar behind it where a further study would be expected.",
    ),
    "funnel": (
        "Funnel plot: accuracy by its standard error",
        "Without selection by size or result the points lie evenly about the line.",
    ),
    "galbraith": (
        "Galbraith plot: standardised effect by precision",
        "Points outside the band disagree with the pool.",
    ),
    "leave_one_out": ("Pooled accuracy with each row left out", "A row that moves the pool carries the result."),
    "baujat": ("Baujat plot: what each row adds to heterogeneity, by its influence", ""),
}
"""What a figure shows, and how to read it, by the end of its name."""

WITH_FACES = {"grid"}
"""Figures that show people, and what was made of them; left out where anybody is real."""

Path = str | os.PathLike


@dataclass(frozen=True)
class Study:
    """A part of the page.

    Attributes
    ----------
    key
        Name of the study, and place of its part in the page.
    about
        What is said of it before any number.
    cohort
        Names of its cohorts.
    note
        What a reader must know of the people in them; empty where there are none.
    claims
        The claims as a table.
    verdicts
        How many of them have which verdict.
    audits
        The audits as a table; none where the study has none.
    leak
        What the audit of the published protocol says; empty where there is none.
    compared
        The figure that shows published and reproduced numbers.
    figures
        The others.
    faces
        Pictures of its recordings, of virtual people only.
    gated
        Whether some of its recordings show real people.
    quality
        A sentence for each cohort on what could be measured.
    tables
        All tables of the study.
    """

    key: str
    about: About
    cohort: str
    note: str
    claims: Markup
    verdicts: Sequence[tuple[str, int]]
    audits: Markup | None
    leak: str
    compared: Sequence[Picture]
    figures: Sequence[Picture]
    faces: Sequence[Picture]
    gated: bool
    quality: Sequence[str]
    tables: Sequence[TableFile]


def write_report(
    path: Path,
    *,
    claims: pd.DataFrame | None,
    audits: pd.DataFrame | None,
    quality: pd.DataFrame,
    manifest: Mapping[str, Any],
    studies: Mapping[str, Mapping[str, Any]],
    tables: Mapping[str, Path],
    figures: Mapping[str, Path],
    sheets: Mapping[str, Path],
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        Of the page.
    claims
        The table of claims, see :mod:`faceneuro.report.claims`; none where there is no study and no review.
    audits
        Rows of :data:`faceneuro.tables.AUDITS` of all studies; none where no study has any.
    quality
        Rows of :data:`faceneuro.tables.QUALITY` of all cohorts.
    manifest
        Of the run, see :mod:`faceneuro.report.provenance`.
    studies
        By name, in the order of the page: names of its ``tables``, ``figures`` and ``cohorts``, and of whom it is
        (``cohort``, ``virtual``, ``permuted``; missing where nobody was recorded).
    tables
        Markdown files by the name of the table.
    figures
        SVG files by the name of the figure.
    sheets
        Pictures of virtual cohorts by name.
    """
    parts = [
        _study(name, settings, claims, audits, quality, tables, figures, sheets) for name, settings in studies.items()
    ]
    used = {name for settings in studies.values() for name in settings["tables"]}
    rest = {name: read_table_file(file) for name, file in tables.items() if name not in used}
    write_page(
        path,
        "report.html.j2",
        version=__version__,
        title=TITLE,
        parts=[
            ("claims", "The answer"),
            *((part.key, part.about.short) for part in parts),
            ("measurement", "Measurement"),
            ("recordings", "Recordings"),
            ("reading", "Verdicts"),
            ("provenance", "Provenance"),
        ],
        virtual={cohort["kind"] for cohort in manifest["inputs"]["cohorts"].values()} == {"virtual"},
        lead=rest["claims"].lead[:1] if claims is not None else [],
        headlines=_headlines(claims[claims["headline"].astype(bool)], parts) if claims is not None else None,
        studies=parts,
        measurement=rest.get("measurement_validation"),
        quality=rest["quality"],
        intake=rest.get("intake"),
        audits=rest.get("audits"),
        no_diagnosis=NO_DIAGNOSIS,
        manifest=manifest,
        times=_times(manifest),
        places=[(file.title, os.fspath(tables[name])) for name, file in rest.items()],
    )


def _study(
    name: str,
    settings: Mapping[str, Any],
    claims: pd.DataFrame,
    audits: pd.DataFrame | None,
    quality: pd.DataFrame,
    tables: Mapping[str, Path],
    figures: Mapping[str, Path],
    sheets: Mapping[str, Path],
) -> Study:
    mine = claims[claims["study"] == name]
    looks = audits[audits["study"] == name] if audits is not None else pd.DataFrame()
    leak = looks.loc[looks["audit"] == LEAK, "sentence"] if len(looks) else pd.Series(dtype=str)
    cohorts = settings.get("cohorts", [])
    gated = any(cohort not in sheets for cohort in cohorts)
    shown = [each for each in _pictures(name, settings, figures) if not gated or each[0] not in WITH_FACES]
    return Study(
        key=name,
        about=ABOUT[name],
        cohort=settings.get("cohort", ""),
        note=cohort_note(settings["virtual"], settings["permuted"]) if cohorts else "",
        claims=_claims(mine, ABOUT[name].name),
        verdicts=Counter(map(_verdict, mine.itertuples())).most_common(),
        audits=_audits(looks, ABOUT[name].name) if len(looks) else None,
        leak=" ".join(leak),
        compared=[picture for kind, picture in shown if kind == "published"],
        figures=[picture for kind, picture in shown if kind != "published"],
        faces=[
            photograph(
                sheets[cohort],
                f"Virtual people of the cohort {cohort}: each at rest and at the height of a movement",
                "Rendered faces; nobody like them exists. Each at rest and at the height of a movement.",
            )
            for cohort in cohorts
            if cohort in sheets
        ],
        gated=gated,
        quality=[
            f"{cohort}: {quality_sentence(quality[quality['cohort'] == cohort].to_dict('records'))}"
            for cohort in cohorts
        ],
        tables=[read_table_file(tables[each]) for each in settings["tables"]],
    )


def _pictures(study: str, settings: Mapping[str, Any], figures: Mapping[str, Path]) -> Iterator[tuple[str, Picture]]:
    for name in settings["figures"]:
        kind = next((end for end in PLOTS if name.endswith(f"_{end}")), None)
        text, caption = PLOTS[kind] if kind else (name.replace("_", " "), "")
        yield kind or name, drawing(figures[name], f"{ABOUT[study].name}. {text}.", caption)


def _text(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


ANSWERS = ["Claim", "Verdict", "Published", "Here", "How sure", "Why"]
"""What is said of a claim."""


def _verdict(claim: Any) -> str:
    """What holds where the baselines are untrained, or an audit found another reason, is not shown as if it held."""
    limited = claim.verdict == HOLDS and _text(claim.reservations)
    return f"{claim.verdict} with reservations" if limited else claim.verdict


def _reasons(claim: Any) -> list[str]:
    """The sentence that decides, and what follows it if anything does."""
    # A sentence ends before a capital letter: "Fig. 3" and "0.5" end none.
    return re.split(r"(?<=\.) (?=[A-Z])", _text(claim.why), maxsplit=1)


def _answer(claim: Any) -> list[str]:
    """The cells of a claim, as in :data:`ANSWERS`; what limits a verdict is part of how sure it is."""
    sure = "; ".join(_text(part) for part in (claim.sure, claim.reservations) if _text(part))
    first, *others = _reasons(claim)
    more = Markup("<details><summary>All numbers</summary>{}</details>")
    why = Markup("{}{}").format(first, more.format(others[0]) if others else "")
    return [claim.claim, f"**{_verdict(claim)}**", _text(claim.published), _text(claim.here), sure, why]


def _claims(claims: pd.DataFrame, study: str) -> Markup:
    lines = [_answer(claim) for claim in claims.itertuples()]
    return table(ANSWERS, lines, f"Claims: {study}", len(ANSWERS), "claims")


def _headlines(claims: pd.DataFrame, parts: Sequence[Study]) -> Markup:
    """The one table that answers the question of the page: a line for each work, with the sentence that decides."""
    lines = []
    for part in parts:
        for claim in claims[claims["study"] == part.key].itertuples():
            said, verdict, *numbers, sure, _ = _answer(claim)
            why = Markup("{}.<details><summary>Why</summary>{}</details>").format(sure, _reasons(claim)[0])
            work = Markup('<a href="#{}">{}</a>').format(part.key, part.about.name)
            lines.append([work, verdict, said, *numbers, why])
    # The verdict is beside the work: on a telephone the first two columns are all that is seen at once.
    header = ["Work", "Verdict", "Claim", "Published", "Here", "How sure, and why"]
    return table(header, lines, "The main claim of each work", len(header), "headlines")


def _audits(looks: pd.DataFrame, study: str) -> Markup:
    order = pd.Categorical(looks["grade"], [BAD, SUSPICIOUS, UNKNOWN, GOOD], ordered=True)
    rows = looks.assign(_order=order).sort_values("_order", kind="stable")
    lines = [[f"**{row.grade}**", row.audit, _text(row.sentence)] for row in rows.itertuples()]
    return table(["Verdict", "Audit", "What was found"], lines, f"Audits: {study}", 3)


def _times(manifest: Mapping[str, Any]) -> Markup:
    """What each rule took."""
    rules = manifest["rules"]
    lines = [
        [
            rule.replace("_", " "),
            f"{found['jobs']}",
            f"{found['wall_s']:.0f}",
            f"{found['cpu_s']:.0f}",
            "" if found["longest_s"] is None else f"{found['longest_s']:.0f}",
            "" if found["max_rss_mib"] is None else f"{found['max_rss_mib']:.0f}",
            ", ".join(found["devices"]),
        ]
        for rule, found in sorted(rules.items(), key=lambda item: -item[1]["cpu_s"])
    ]
    header = ["Rule", "Jobs", "Seconds", "Seconds of CPU", "Longest job, s", "Memory, MiB", "Devices"]
    return table(header, lines, "Times of all jobs by rule", 1)
