"""Clips of the palsy study: what a network over time learns from, beside the single frames of the others.

Such a network sees a clip once and gives it one probability; every frame of the clip gets it (:func:`spread`), so that
its predictions are of the same samples as those of all other models, and are evaluated and paired alike.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceneuro.studies.clips import CLIP
from faceneuro.tables import KEYS

MOST_FRAMES = 32
"""Of one clip. A longer one is divided into so many equal parts, and the middle of each is taken, as crops are."""

Floats = npt.NDArray[np.float32]


def clip_sequences(
    samples: pd.DataFrame, coordinates: Floats, embedding: Floats
) -> tuple[pd.DataFrame, dict[str, Floats]]:
    """Clips and their frames in order of time, whatever the order of the samples.

    Time is the order of the frames: how far apart they are is not told. They are spread evenly over the clip, or over
    what of it shows a face, when crops are taken.

    Parameters
    ----------
    samples
        Keys and ``label`` of every sample.
    coordinates
        Landmarks of every sample, shape (n, 956).
    embedding
        What an image network of the same fold makes of every sample, shape (n, d).

    Returns
    -------
    clips
        ``cohort``, ``subject``, ``clip`` and ``label``, one row per clip, sorted.
    inputs
        Of each clip, in the same order: ``coordinates_sequence``, shape (clips, t * 956), and ``image_sequence``, shape
        (clips, t * d), frame after frame, and zeros behind the last one; ``length``, shape (clips, 1), the number of
        frames. t is the length of the longest clip, :data:`MOST_FRAMES` at most.
    """
    ordered = samples[[*KEYS, "label"]].reset_index(drop=True).sort_values(list(KEYS))
    grouped = ordered.groupby(CLIP)
    frames = [_thinned(one.index.to_numpy()) for _, one in grouped]
    longest = max(map(len, frames))
    inputs = {
        "coordinates_sequence": _padded(coordinates, frames, longest),
        "image_sequence": _padded(embedding, frames, longest),
        "length": np.array([[len(one)] for one in frames], np.float32),
    }
    return grouped["label"].first().reset_index(), inputs


def _thinned(frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    count = min(MOST_FRAMES, len(frames))
    return frames[(2 * np.arange(count) + 1) * len(frames) // (2 * count)]


def _padded(values: Floats, frames: list[npt.NDArray[np.int64]], longest: int) -> Floats:
    sequences = np.zeros((len(frames), longest, values.shape[1]), np.float32)
    for sequence, one in zip(sequences, frames, strict=True):
        sequence[: len(one)] = values[one]
    return sequences.reshape(len(frames), -1)


def spread(samples: pd.DataFrame, clips: pd.DataFrame, values: npt.NDArray) -> npt.NDArray:
    """What was found for each clip, for every sample of it.

    Parameters
    ----------
    samples
        Keys of every sample.
    clips
        Keys of every clip.
    values
        One per clip, such as its probability.

    Returns
    -------
    One per sample, in the order of the samples; those that a long clip was thinned by get theirs too.

    Raises
    ------
    ValueError
        If a sample belongs to none of the clips.
    """
    places = pd.MultiIndex.from_frame(clips[CLIP]).get_indexer(pd.MultiIndex.from_frame(samples[CLIP]))
    if (places < 0).any():
        raise ValueError("a sample belongs to none of the clips")
    return values[places]


def gather(samples: pd.DataFrame, clips: pd.DataFrame, values: npt.NDArray) -> npt.NDArray:
    """What all samples of a clip have in common, such as their role in a fold, one per clip: undoes :func:`spread`.

    Raises
    ------
    ValueError
        If two samples of a clip differ, or a clip has no sample.
    """
    places = spread(samples, clips, np.arange(len(clips)))
    found, first = np.unique(places, return_index=True)
    if len(found) < len(clips):
        raise ValueError("a clip has no sample")
    if (values[first][places] != values).any():
        raise ValueError("samples of one clip differ in what should be the clip's own")
    return values[first]
