"""Perceptual hashes: numbers that stay nearly the same when a picture is compressed, made smaller or brighter.

References
----------
Zauner, "Implementation and benchmarking of perceptual image hash functions", thesis, Hagenberg 2010 (the hash from the
discrete cosine transform, here with more frequencies: aligned faces share the lowest ones).
"""

import cv2
import numpy as np
import numpy.typing as npt

PIXELS = 64
"""Height and width in pixels of what is hashed."""

LOW = 16
"""Frequencies along each axis."""

WORDS = LOW * LOW // 64
"""Numbers of 64 bits that make a hash."""


def perceptual_hash(gray: npt.NDArray[np.floating]) -> npt.NDArray[np.uint64]:
    """Which of the low frequencies of a picture are above their median.

    Parameters
    ----------
    gray
        Shape (64, 64), any unit.

    Returns
    -------
    Shape (4,): 256 bits. The first, of the mean brightness, is never set.

    Raises
    ------
    ValueError
        If the picture is of another shape.
    """
    if gray.shape != (PIXELS, PIXELS):
        raise ValueError(f"a picture of {gray.shape} is hashed, where ({PIXELS}, {PIXELS}) is expected")
    frequencies = cv2.dct(np.ascontiguousarray(gray, np.float32))[:LOW, :LOW].ravel()
    bits = np.concatenate([[False], frequencies[1:] > np.median(frequencies[1:])])
    return np.packbits(bits).view(np.uint64)


def nearest(
    first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64], at_most: int, block: int = 1024
) -> npt.NDArray[np.int64]:
    """Pairs of hashes that differ in few bits.

    Parameters
    ----------
    first, second
        Shapes (n, 4) and (m, 4).
    at_most
        Bits by which the two of a pair may differ.
    block
        Rows of the first that are compared at once; 24 bytes times m each are in memory.

    Returns
    -------
    Row in the first, row in the second and number of differing bits, shape (pairs, 3), in the order of the rows.
    """
    found = [np.zeros((0, 3), np.int64)]
    for start in range(0, len(first), block):
        rows = first[start : start + block]
        bits = np.zeros((len(rows), len(second)), np.uint16)
        for word in range(first.shape[1]):
            bits += np.bitwise_count(rows[:, None, word] ^ second[None, :, word])
        row, column = np.nonzero(bits <= at_most)
        found.append(np.column_stack([row + start, column, bits[row, column]]))
    return np.concatenate(found).astype(np.int64)
