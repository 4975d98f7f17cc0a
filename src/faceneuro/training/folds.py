"""Who trains and who is tested: the protocols of a study.

A protocol turns a samples table into folds; each gives every sample a role: train, validation, test or unused. The
validation part is taken out of the training part, never out of the test part. All of it follows from the seed and the
samples' keys: the order of the rows does not matter.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.errors import InputError
from faceneuro.tables import KEYS

SUBJECT = list(KEYS[:2])
"""A subject is known by these keys: two cohorts may use the same name for different people."""

LEAVE_ONE_SUBJECT_OUT = "leave_one_subject_out"
LEAVE_ONE_PATIENT_OUT = "leave_one_patient_out"

log = logging.getLogger(__name__)

Roles = npt.NDArray[np.str_]


def split(
    samples: pd.DataFrame,
    study: str,
    protocol: str,
    *,
    expected: int | None = None,
    positive: str | None = None,
    negative: str | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Folds of a study under one protocol.

    Parameters
    ----------
    samples
        Keys and ``label`` of every sample, and ``source``, the data set that it comes from, where that is known.
    study, protocol
        Names; the protocol is one of :data:`PROTOCOLS`.
    expected
        How many folds were planned, if that was before anything was recorded. Where subjects turned out to be unusable
        since, leaving one out makes fewer folds; the last ones then train on everybody and test nobody.
    positive
        Label of the patients; only leaving one patient out needs to know.
    negative
        Label of those who are healthy; only leaving one of their sources out needs to know.
    **settings
        Of the protocol: the parameters of its function.

    Returns
    -------
    Rows of :data:`faceneuro.tables.FOLDS`, fold by fold, sorted by key.

    Raises
    ------
    InputError
        If there are too few classes, subjects, samples or sources for the protocol.
    """
    known = [name for name in (*KEYS, "label", "source") if name in samples]
    ordered = samples[known].sort_values(list(KEYS), ignore_index=True)
    if ordered.duplicated(list(KEYS)).any():
        raise ValueError("two samples have the same keys")
    if ordered["label"].nunique() < 2:
        found = ", ".join(ordered["label"].unique()) or "no sample"
        raise InputError(f"config key studies.{study}.groups: a classifier needs two classes, the samples have {found}")
    key = f"studies.{study}.protocols.{protocol}"
    keys = ordered[list(KEYS)].assign(study=study, protocol=protocol)
    if settings.get("folds") == LEAVE_ONE_PATIENT_OUT:
        settings["positive"] = positive
    if PROTOCOLS[protocol] is sources:
        settings["negative"] = negative
    roles = list(PROTOCOLS[protocol](ordered, key, **settings))
    if expected and len(roles) < expected:
        log.warning(
            "%s: %d of %d planned folds test nobody, because as many %s have no usable sample; "
            "results/tables/quality.md says why",
            key, expected - len(roles), expected, "sources" if PROTOCOLS[protocol] is sources else "subjects",
        )  # fmt: skip
        roles += [np.full(len(ordered), "train")] * (expected - len(roles))
    folds = [keys.assign(fold=fold, role=role) for fold, role in enumerate(roles)]
    return pd.concat(folds, ignore_index=True)[["study", "protocol", "fold", *KEYS, "role"]]


def published(
    samples: pd.DataFrame, key: str, *, test_fraction: float, validation_fraction: float, seed: int
) -> Iterator[Roles]:
    """One fold: classes balanced by undersampling, then a random split of samples, stratified by label.

    Frames of one person land on both sides, so the test part rewards recognising people. It is here because the paper
    did so: only this reading gives its supports of 169 and 169 on the data set's 844 and 935 pairs.

    Parameters
    ----------
    samples
        Keys and ``label``, sorted by key.
    key
        Where the settings stand in the configuration, for messages.
    test_fraction
        Share of the balanced samples to test on, rounded up.
    validation_fraction
        Share of the rest to watch the training with, rounded up.
    seed
        Of both draws.
    """
    # Imported here: they take a second, and only the jobs that split need them.
    from imblearn.under_sampling import RandomUnderSampler
    from sklearn.model_selection import train_test_split

    everything = np.arange(len(samples))[:, None]
    kept, labels = RandomUnderSampler(random_state=seed).fit_resample(everything, samples["label"].to_numpy(str))
    order = np.argsort(kept[:, 0])
    kept, labels = kept[order, 0], labels[order]
    roles = np.full(len(samples), "unused", "U10")
    try:
        train, test, labels, _ = train_test_split(
            kept, labels, test_size=test_fraction, stratify=labels, random_state=seed
        )
        train, validation = train_test_split(train, test_size=validation_fraction, stratify=labels, random_state=seed)
    except ValueError as error:
        raise InputError(
            f"config key {key}: {len(kept)} samples, half of each class, cannot be split so that each part has both "
            "classes; add recordings, lower features.frames.every or raise the fractions"
        ) from error
    roles[train], roles[validation], roles[test] = "train", "validation", "test"
    yield roles


def grouped(
    samples: pd.DataFrame,
    key: str,
    *,
    folds: int | str,
    validation_fraction: float,
    seed: int,
    positive: str | None = None,
) -> Iterator[Roles]:
    """Whole subjects held out, in turn, each exactly once.

    A number of folds keeps the classes in every fold as in the whole; where subjects come from several data sets, their
    shares of each class too. ``leave_one_subject_out`` holds out one subject a fold, of whichever class.
    ``leave_one_patient_out`` holds out one patient a fold, in sorted order, and with each a share of the others: they
    are dealt to the folds in an order that the seed gives, so that shares are disjoint and differ by one at most.

    Parameters
    ----------
    samples
        Keys, ``label`` and perhaps ``source``, sorted by key; a subject has one of each.
    key
        Where the settings stand in the configuration, for messages.
    folds
        A number, ``"leave_one_subject_out"`` or ``"leave_one_patient_out"``.
    validation_fraction
        Share of each class's training subjects, at least one, to watch the training with. There are none where a class
        has a single subject to train on.
    seed
        Of both draws.
    positive
        Label of the patients, for leaving one of them out.

    References
    ----------
    Leave one patient out: Oo, Lee, Lim, "A Multimodal Fusion Model Leveraging MLP Mixer and Handcrafted Features-based
    Deep Learning Networks for Facial Palsy Detection", 2025. What becomes of the healthy subjects is not said there;
    that each is tested once, with one of the patients, is our reading.
    """
    subjects, subject_of_sample = _subjects(samples)
    labels = subjects["label"].to_numpy(str)
    sizes = subjects["label"].value_counts()
    needed = 2 if folds in (LEAVE_ONE_SUBJECT_OUT, LEAVE_ONE_PATIENT_OUT) else int(folds)
    if sizes.min() < needed:
        remedy = (
            "lower it, or add subjects" if needed > 2 and sizes.min() > 1 else "at least two are needed: add subjects"
        )
        raise InputError(
            f"config key {key}.folds: it is {folds}, but class {sizes.idxmin()} has {sizes.min()} "
            f"{'subjects' if sizes.min() > 1 else 'subject'} with usable samples; {remedy}"
        )
    held_out = _held_out(labels, subjects["source"].to_numpy(str), folds, seed, positive)
    for roles in _roles(labels, held_out, validation_fraction, seed):
        yield roles[subject_of_sample]


def sources(
    samples: pd.DataFrame, key: str, *, negative: str | None, validation_fraction: float, seed: int
) -> Iterator[Roles]:
    """Each data set that subjects of the negative class come from held out once, with all its subjects of that class.

    Everybody else is trained on. Only people without the disease are tested: a classifier that has learnt to tell data
    sets apart, where patients all come from one of them, calls those of a data set that it has never seen ill.

    Parameters
    ----------
    samples
        Keys, ``label`` and ``source``, sorted by key; a subject has one of each.
    key
        Where the settings stand in the configuration, for messages.
    negative
        Label of the class without the disease.
    validation_fraction
        As for :func:`grouped`.
    seed
        Of the draw of the validation subjects.
    """
    subjects, subject_of_sample = _subjects(samples)
    labels, origins = subjects["label"].to_numpy(str), subjects["source"].to_numpy(str)
    names = np.unique(origins[labels == negative])
    if not len(names):
        raise ValueError(f"holding out sources needs the label of the healthy; {negative!r} is none of the samples")
    if len(names) < 2:
        single = f"'{names[0]}'" if names[0] else "one without a name"
        raise InputError(
            f"config key {key}: it holds out one source of {negative} subjects after another and trains on the others, "
            f"but all of them come from {single}; name the sources in the cohort's manifest, add subjects of another "
            "one, or leave this protocol out"
        )
    held_out = (np.flatnonzero((labels == negative) & (origins == name)) for name in names)
    for roles in _roles(labels, held_out, validation_fraction, seed):
        yield roles[subject_of_sample]


def _subjects(samples: pd.DataFrame) -> tuple[pd.DataFrame, npt.NDArray[np.int64]]:
    """Label and source of every subject, in the order of their keys, and the place of each sample's subject there."""
    # A source that nobody noted is one like any other.
    described = samples.assign(source=samples["source"].fillna("") if "source" in samples else "")
    subjects = described.groupby(SUBJECT)[["label", "source"]]
    counts = subjects.nunique()
    for name in counts:
        if (counts[name] > 1).any():
            raise ValueError(f"a subject has two {name}s")
    found = subjects.first()
    place = samples[SUBJECT].merge(found.reset_index()[SUBJECT].reset_index(), on=SUBJECT)["index"]
    return found, place.to_numpy()


def _roles(
    labels: npt.NDArray[np.str_], held_out: Iterable[npt.NDArray[np.int64]], validation_fraction: float, seed: int
) -> Iterator[Roles]:
    """Roles of the subjects in every fold, from who is held out in it."""
    for fold, tested in enumerate(held_out):
        roles = np.full(len(labels), "train", "U10")
        roles[tested] = "test"
        roles[_validation_subjects(labels, roles == "train", validation_fraction, (seed, fold))] = "validation"
        yield roles


def _held_out(
    labels: npt.NDArray[np.str_], origins: npt.NDArray[np.str_], folds: int | str, seed: int, positive: str | None
) -> Iterator[npt.NDArray[np.int64]]:
    from sklearn.model_selection import StratifiedKFold

    if folds == LEAVE_ONE_SUBJECT_OUT:
        yield from np.arange(len(labels))[:, None]
    elif folds == LEAVE_ONE_PATIENT_OUT:
        yield from _each_patient_with_others(labels, seed, positive)
    elif len(np.unique(origins)) > 1:
        yield from _dealt(labels, origins, int(folds), seed)
    else:
        # Over subjects, not over samples: then no fold lacks a class, however unevenly the samples are spread.
        for _, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels):
            yield test


def _dealt(
    labels: npt.NDArray[np.str_], origins: npt.NDArray[np.str_], folds: int, seed: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Subjects dealt to the folds in turn, class by class and in a class source by source.

    Whoever stands together in this order is spread over the folds as evenly as can be: a class, a source within a
    class, and all of them.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.lexsort((origins[shuffled], labels[shuffled]))]
    for fold in range(folds):
        yield np.sort(order[fold::folds])


def _each_patient_with_others(
    labels: npt.NDArray[np.str_], seed: int, positive: str | None
) -> Iterator[npt.NDArray[np.int64]]:
    patients, others = np.flatnonzero(labels == positive), np.flatnonzero(labels != positive)
    if not len(patients):
        raise ValueError(f"leaving one patient out needs the patients' label; {positive!r} is none of the samples")
    if len(others) < len(patients):
        log.info(
            "%d subjects without %s are fewer than %d patients: the last %d folds test a patient alone, and nothing in "
            "them can lower a precision",
            len(others),
            positive,
            len(patients),
            len(patients) - len(others),
        )
    dealt = np.random.default_rng(seed).permutation(others)
    for place, patient in enumerate(patients):
        yield np.append(dealt[place :: len(patients)], patient)


def _validation_subjects(
    labels: npt.NDArray[np.str_], train: npt.NDArray[np.bool_], fraction: float, seed: tuple[int, int]
) -> npt.NDArray[np.int64]:
    classes = [np.flatnonzero(train & (labels == label)) for label in np.unique(labels)]
    if min(map(len, classes)) < 2:
        return np.array([], int)
    random = np.random.default_rng(seed)
    counts = [min(max(1, round(fraction * len(members))), len(members) - 1) for members in classes]
    return np.concatenate([random.permutation(members)[:n] for members, n in zip(classes, counts, strict=True)])


PROTOCOLS: dict[str, Callable[..., Iterator[Roles]]] = {
    "published": published,
    "grouped": grouped,
    "sources": sources,
}


def roles_of(folds: pd.DataFrame, fold: int, samples: pd.DataFrame) -> Roles:
    """Role of every sample in one fold, in the order of the samples.

    Raises
    ------
    ValueError
        If the folds were made of other samples.
    """
    one = folds.loc[folds["fold"] == fold, [*KEYS, "role"]]
    joined = samples[list(KEYS)].merge(one, on=list(KEYS), how="left")
    if len(one) != len(samples) or joined["role"].isna().any():
        raise ValueError(f"fold {fold} was not made of these samples")
    return joined["role"].to_numpy(str)


def permute_labels(labels: pd.Series, seed: int) -> pd.Series:
    """Permute labels over subjects: a negative control.

    Nothing about the subjects' health is left to learn, but their identity is. A protocol that still succeeds has
    tested on people whom it trained on.

    Parameters
    ----------
    labels
        One label per subject, indexed by subject.
    seed
        Who gets which.

    Returns
    -------
    The new labels, indexed alike. The class sizes stay; as many subjects of a class get each label as make the new
    label independent of the old one, up to rounding. Of two classes of one size, half of each swaps.

    References
    ----------
    Chaibub Neto et al., "Detecting the impact of subject characteristics on machine learning-based diagnostic
    applications", npj Digital Medicine 2019.
    """
    ordered = labels.sort_index()
    names = sorted(ordered.unique())
    if len(names) < 2:
        raise ValueError("labels of one class cannot be permuted")
    members = [np.flatnonzero(ordered == name) for name in names]
    random = np.random.default_rng(seed)
    permuted = ordered.copy()
    if len(names) == 2:
        swaps = round(len(members[0]) * len(members[1]) / len(ordered))
        for of_class, other in zip(members, reversed(names), strict=True):
            permuted.iloc[random.permutation(of_class)[:swaps]] = other
    else:
        # Labels laid out so that each is spread evenly: whoever stands together gets a fair share of all.
        spread = np.concatenate([(np.arange(len(some)) + 0.5) / len(some) for some in members])
        laid_out = np.repeat(names, [len(some) for some in members])[np.argsort(spread, kind="stable")]
        permuted.iloc[np.concatenate([random.permutation(some) for some in members])] = laid_out
    return permuted.loc[labels.index]
