"""Clinical signs as numbers, drawn for each patient from distributions that overlap between the groups."""

from dataclasses import dataclass, replace

import numpy as np

REGIONS = ("brow", "eye", "mouth")
"""Facial regions that facial palsy is graded by."""


@dataclass(frozen=True)
class Signs:
    """How a person's face moves; the defaults are the healthy averages.

    Attributes
    ----------
    brow, eye, mouth
        Strength of the left and the right side, 1 for the full movement.
    droop
        Sagging at rest of the left and the right side, 0 to 1.
    synkinesis
        Involuntary coupling of eye and mouth on the left and the right side, 0 to 1.
    reach
        Excursion of jaw and lips relative to the instruction.
    speed
        Speed of all voluntary movement.
    fatigue
        Share of the excursion that is lost from one repetition to the next.
    irregularity
        Coefficient of variation of the time between repetitions.
    expressivity
        Size of brow, cheek and lid movements, and with them of expressions.
    delay
        Seconds from the instruction to the onset.
    blinks
        Spontaneous blinks per minute.
    """

    brow: tuple[float, float] = (1.0, 1.0)
    eye: tuple[float, float] = (1.0, 1.0)
    mouth: tuple[float, float] = (1.0, 1.0)
    droop: tuple[float, float] = (0.0, 0.0)
    synkinesis: tuple[float, float] = (0.0, 0.0)
    reach: float = 1.0
    speed: float = 1.0
    fatigue: float = 0.02
    irregularity: float = 0.05
    expressivity: float = 1.0
    delay: float = 0.15
    blinks: float = 17.0


@dataclass(frozen=True)
class Examination:
    """What a clinician would note: the signs, their severity on the group's scale, and the affected side."""

    signs: Signs
    severity: float
    side: str = "none"


def healthy(rng: np.random.Generator) -> Examination:
    """A healthy person: full strength with a few percent of natural asymmetry, and a natural spread in all the rest.

    Healthy adults repeat a syllable such as /pa/ about six times a second, and blink some 15 to 20 times a minute.
    """
    pair = {region: tuple(np.clip(rng.normal(1, 0.045, 2), 0.85, 1.12).tolist()) for region in REGIONS}
    return Examination(
        Signs(
            **pair,
            droop=tuple(np.abs(rng.normal(0, 0.02, 2)).tolist()),
            reach=_clipped(rng.normal(1.0, 0.14), 0.55, 1.35),
            speed=_clipped(rng.normal(1.0, 0.12), 0.6, 1.35),
            fatigue=_clipped(rng.normal(0.02, 0.02), 0.0, 0.2),
            irregularity=_clipped(rng.normal(0.05, 0.02), 0.01, 0.3),
            expressivity=_clipped(rng.normal(1.0, 0.15), 0.5, 1.3),
            delay=_clipped(rng.normal(0.15, 0.05), 0.05, 0.5),
            blinks=_clipped(rng.normal(17, 6), 4, 35),
        ),
        severity=0.0,
    )


def als(rng: np.random.Generator) -> Examination:
    """Amyotrophic lateral sclerosis with bulbar signs; severity 0 (none) to 1 (severe).

    Weak, slow jaw and lips: excursion and speed fall, syllables are repeated more slowly and less regularly, and the
    movement tires over the repetitions.

    References
    ----------
    Bandini et al., "A new dataset for facial motion analysis in individuals with neurological disorders", IEEE J
    Biomed Health Inform 2021.
    """
    severity = float(rng.uniform(0.25, 1.0))
    base = healthy(rng).signs
    return Examination(
        replace(
            base,
            reach=base.reach * (1 - 0.48 * severity),
            speed=base.speed * (1 - 0.45 * severity),
            fatigue=base.fatigue + 0.08 * severity * rng.uniform(0.3, 1.2),
            irregularity=base.irregularity + 0.08 * severity * rng.uniform(0.3, 1.2),
        ),
        severity=severity,
    )


def palsy(rng: np.random.Generator) -> Examination:
    """Peripheral facial palsy of one side; severity is a grade from 1 (normal) to 6 (total), as by House and Brackmann.

    Weakness rises with the grade and differs between brow, eye and mouth; from grade 4 on the eye does not close
    completely with full effort, at grade 6 nothing moves. Synkinesis belongs to partial recovery, so to the middle.

    References
    ----------
    House and Brackmann, "Facial nerve grading system", Otolaryngol Head Neck Surg 1985.
    """
    grade = int(rng.integers(2, 7))
    side = ("left", "right")[rng.integers(2)]
    base = healthy(rng).signs
    weakness = {"brow": (grade - 1) / 3.4, "eye": (grade - 2.2) / 3.8, "mouth": (grade - 1) / 5}
    weakness = {region: _clipped(mean + rng.normal(0, 0.10), 0.03, 1.0) for region, mean in weakness.items()}
    if grade == 6:
        weakness = dict.fromkeys(weakness, 1.0)
    elif grade <= 3:
        # Up to grade 3 the eye closes completely with effort.
        weakness["eye"] = min(weakness["eye"], 0.05)
    weak = {
        region: _on_side(side, getattr(base, region), lambda strength, region=region: strength * (1 - weakness[region]))
        for region in REGIONS
    }
    sag = _clipped((grade - 2) / 4 * rng.uniform(0.6, 1.1), 0, 1)
    spread = _clipped(rng.normal(0.25, 0.15), 0, 0.6) if grade in (3, 4) else 0.0
    return Examination(
        replace(
            base,
            **weak,
            droop=_on_side(side, base.droop, lambda natural: natural + sag),
            synkinesis=_on_side(side, base.synkinesis, lambda natural: natural + spread),
        ),
        severity=float(grade),
        side=side,
    )


def parkinson(rng: np.random.Generator) -> Examination:
    """Parkinson's disease with facial masking; severity class 0 (slight), 1 (moderate), 2 (severe).

    Expressions are smaller, slower and later, and spontaneous blinking is rarer.

    References
    ----------
    Goetz et al., "Movement Disorder Society-sponsored revision of the Unified Parkinson's Disease Rating Scale
    (MDS-UPDRS)", Mov Disord 2008, item 3.2 (facial expression).
    """
    severity = int(rng.integers(3))
    base = healthy(rng).signs
    return Examination(
        replace(
            base,
            reach=base.reach * (0.95, 0.80, 0.62)[severity],
            expressivity=base.expressivity * (0.88, 0.66, 0.42)[severity],
            speed=base.speed * (0.95, 0.80, 0.65)[severity],
            delay=base.delay + (0.03, 0.12, 0.25)[severity] * rng.uniform(0.5, 1.5),
            blinks=base.blinks * (0.80, 0.55, 0.35)[severity],
        ),
        severity=float(severity),
    )


GROUPS = {"healthy": healthy, "als": als, "palsy": palsy, "parkinson": parkinson}
"""How a person of each group is drawn from a random stream."""


def _clipped(value: float, low: float, high: float) -> float:
    return float(np.clip(value, low, high))


def _on_side(side: str, pair: tuple[float, float], change) -> tuple[float, float]:
    left, right = pair
    return (change(left), right) if side == "left" else (left, change(right))
