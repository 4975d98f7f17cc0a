"""How sure one can be of a number that comes from so many people."""

import numpy as np
import numpy.typing as npt


def subject_resamples(classes: npt.NDArray, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Bootstrap over subjects, stratified by class: how often each subject occurs in each resample.

    Whole subjects are drawn, because frames and clips of one person are no independent observations.

    Parameters
    ----------
    classes
        Class of each subject, shape (s,).
    resamples
        How many to draw.
    seed
        Of the draw.

    Returns
    -------
    Shape (resamples, s); in each row the counts of a class add up to its number of subjects.
    """
    random = np.random.default_rng(seed)
    counts = np.zeros((resamples, len(classes)))
    for name in np.unique(classes):
        members = np.flatnonzero(classes == name)
        counts[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), resamples)
    return counts


def percentile_interval(values: npt.NDArray[np.float64], level: float = 0.95) -> tuple[float, float]:
    """Central interval of bootstrapped values; those that are not defined (NaN) are left out, NaN if none is."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
