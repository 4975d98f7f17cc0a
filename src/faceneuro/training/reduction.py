"""Reduction of a fold's inputs: exact principal components of the flow, scaling of the landmarks.

A flow field has a hundred thousand values or more and a study a few thousand of them, so the principal components are
found in the space of samples: the inner products of all samples are computed once, from a stream, and every fold takes
the part that belongs to its training samples, centres it with their mean and finds its leading eigenvectors. That is
the same as a PCA of the training samples' fields, at the price of an eigenproblem of their number. An inner product
depends on two samples only, so what is held out never enters a fit.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from faceneuro.errors import InputError
from faceneuro.files import replacing

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Progress = Callable[[Iterable], Iterable]
ReadBlock = Callable[[int, int], Floats]
"""Reads rows ``start`` to ``stop`` of a matrix on disk: shape (stop - start, width)."""

COLUMNS_AT_ONCE = 2048
"""Columns turned into double precision together: few enough to stay near the processor, enough for a fast product."""

ROWS_AT_ONCE = 256
"""Rows that pass by a panel together, at most."""


def inner_products(
    read_block: ReadBlock, n: int, memory_bytes: int, progress: Progress = iter, threads: int = 1
) -> Doubles:
    """Inner products of all pairs of rows of a matrix that need not fit in memory.

    A panel of as many rows as the budget allows is kept as it is stored (in half precision, say), the rows after it
    pass by in blocks; each pair of rows is multiplied once, in double precision. Where all rows fit, the matrix is read
    once.

    Parameters
    ----------
    read_block
        Reads some rows.
    n
        Number of rows.
    memory_bytes
        Upper bound on the memory for panel, blocks and result together; what ``read_block`` needs to read comes on top.
    progress
        Wraps what is iterated over, to show how far it is.
    threads
        Of the products. The last bits of the result may depend on it.

    Returns
    -------
    Shape (n, n), symmetric to the last bit.

    Raises
    ------
    InputError
        If the result, or a fold's share of it while it is fitted, would break the budget by itself.
    ValueError
        If a value is not finite.
    """
    if 3 * 8 * n * n > memory_bytes:
        raise InputError(
            f"config key features.frames.every: {n:,} pairs of frames are too many for exact principal components "
            f"within {memory_bytes / 2**20:,.0f} MiB ({int((memory_bytes / 24) ** 0.5):,} would fit); raise it to keep "
            "fewer frames of each clip, or raise the study's reduction.memory_mib"
        )
    first = read_block(0, 1)
    row_bytes, width = first.nbytes, first.shape[1]
    # A row of the panel costs itself, its share of a block of columns in double precision, and a row of a product.
    panel_rows = max(1, int((memory_bytes - 8 * n * n) * 7 / 8) // (row_bytes + 8 * (COLUMNS_AT_ONCE + n)))
    block_rows = min(ROWS_AT_ONCE, max(1, panel_rows // 8))
    gram = np.zeros((n, n))
    with threadpool_limits(threads):
        for start in range(0, n, panel_rows):
            stop = min(start + panel_rows, n)
            panel = read_block(start, stop)
            gram[start:stop, start:stop] = _product(panel, panel, progress(_column_slices(width)))
            for other in progress(range(stop, n, block_rows)):
                end = min(other + block_rows, n)
                product = _product(panel, read_block(other, end), _column_slices(width))
                gram[start:stop, other:end], gram[other:end, start:stop] = product, product.T
            # Before the next panel is read: two do not fit.
            del panel
    broken = np.flatnonzero(~np.isfinite(gram.diagonal()))
    if len(broken):
        raise ValueError(f"row {broken[0]} has values that are not finite")
    return gram


def _column_slices(width: int) -> list[slice]:
    return [slice(start, start + COLUMNS_AT_ONCE) for start in range(0, width, COLUMNS_AT_ONCE)]


def _product(panel: Floats, block: Floats, columns: Iterable[slice]) -> Doubles:
    """Inner products of the rows of two matrices, in double precision, a slice of their columns at a time."""
    total = np.zeros((len(panel), len(block)))
    part = np.empty_like(total)
    for some in columns:
        left = panel[:, some].astype(np.float64)
        # A matrix times its own transpose: numpy then calls the routine that computes half of it and mirrors it.
        right = left if block is panel else block[:, some].astype(np.float64)
        total += np.matmul(left, right.T, out=part)
    return total


@dataclass(frozen=True)
class Components:
    """Principal components of some training rows, in terms of those rows (the dual form).

    Attributes
    ----------
    train
        Indices of the training rows, shape (m,).
    weights
        Weight of each centred training row in each component, shape (m, k). Where the rows have a lower rank than k,
        the last columns are zero, and so are their scores.
    variances
        Of the training scores, descending, shape (k,).
    row_means, total_mean
        Means of the training rows' inner products, over one side and over both; shapes (m,) and ().
    total_variance
        Of the training rows.
    """

    train: Indices
    weights: Doubles
    variances: Doubles
    row_means: Doubles
    total_mean: float
    total_variance: float

    def scores(self, products: Floats) -> Doubles:
        """Scores of rows that are given by their inner products with the training rows.

        Parameters
        ----------
        products
            Shape (n, m), one column per training row.

        Returns
        -------
        Shape (n, k), in the unit of the rows: equal to projecting the rows, less the training mean, on unit vectors.
        """
        centred = products - products.mean(axis=1, keepdims=True)
        centred -= self.row_means - self.total_mean
        return centred @ self.weights


def fit(gram: Doubles, train: Indices, components: int, threads: int = 1) -> Components:
    """Principal components of the training rows, from inner products.

    Equal to ``sklearn.decomposition.PCA(components, svd_solver="full")`` fitted on the training rows, up to signs.

    Parameters
    ----------
    gram
        Inner products of all rows, shape (n, n); only those of training rows with each other are looked at.
    train
        Indices of the training rows, shape (m,).
    components
        How many.
    threads
        Of the eigenproblem. The last bits of the result may depend on it.
    """
    m = len(train)
    inside = gram[np.ix_(train, train)]
    # Below this, an eigenvalue is what rounding left of a zero.
    negligible = m * np.finfo(float).eps * inside.diagonal().max()
    row_means = inside.mean(axis=0)
    total_mean = row_means.mean()
    inside -= row_means
    inside -= row_means[:, None] - total_mean
    total_variance = inside.trace() / max(m - 1, 1)
    found = min(components, m)
    with threadpool_limits(threads):
        values, vectors = eigh(inside, subset_by_index=(m - found, m - 1), overwrite_a=True)
    values, vectors = values[::-1], vectors[:, ::-1]
    rank = int((values > negligible).sum())
    weights, variances = np.zeros((m, components)), np.zeros(components)
    # An eigenvector has no sign of its own: its largest entry shall be positive.
    signs = np.sign(vectors[np.abs(vectors[:, :rank]).argmax(axis=0), np.arange(rank)])
    weights[:, :rank] = vectors[:, :rank] * (signs / np.sqrt(values[:rank]))
    variances[:rank] = values[:rank] / max(m - 1, 1)
    return Components(train, weights, variances, row_means, float(total_mean), float(total_variance))


class Axes(NamedTuple):
    """Principal components in the space of the rows: what rows that nobody trained on are projected on.

    Attributes
    ----------
    mean
        Of the training rows, shape (width,).
    vectors
        Of unit length, shape (k, width); where the training rows have a lower rank than k, the last are zero.
    """

    mean: Doubles
    vectors: Doubles

    def scores(self, read_block: ReadBlock, n: int) -> Doubles:
        """Scores of ``n`` rows, shape (n, k), in the unit of the rows; only some rows are in memory at a time."""
        found = np.empty((n, len(self.vectors)))
        for start in range(0, n, ROWS_AT_ONCE):
            stop = min(start + ROWS_AT_ONCE, n)
            found[start:stop] = (read_block(start, stop).astype(np.float64) - self.mean) @ self.vectors.T
        return found

    def save(self, path: str | os.PathLike) -> None:
        """Write both to a safetensors file."""
        from safetensors.numpy import save_file

        with replacing(path) as part:
            save_file({name: np.ascontiguousarray(value) for name, value in self._asdict().items()}, part)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Axes":
        """Read what :meth:`save` wrote."""
        from safetensors.numpy import load_file

        return cls(**load_file(path))


def axes(components: Components, read_block: ReadBlock, progress: Progress = iter) -> Axes:
    """Principal components in the space of the rows, from one pass over them.

    Parameters
    ----------
    components
        From :func:`fit`.
    read_block
        Reads the rows that the inner products were made of; the training rows among them are used.
    progress
        Wraps what is iterated over, to show how far it is.
    """
    train = components.train
    order = np.argsort(train)
    mean = vectors = 0.0
    for start in progress(range(0, train.max() + 1, ROWS_AT_ONCE)):
        stop = min(start + ROWS_AT_ONCE, train.max() + 1)
        mine = order[slice(*np.searchsorted(train[order], [start, stop]))]
        if len(mine):
            rows = read_block(start, stop)[train[mine] - start].astype(np.float64)
            mean = mean + rows.sum(axis=0) / len(train)
            vectors = vectors + components.weights[mine].T @ rows
    return Axes(mean, vectors - components.weights.sum(axis=0)[:, None] * mean)


@dataclass(frozen=True)
class Scaling:
    """Mean and deviation of each feature over the training part, shape (features,) each; constant ones count as 1."""

    mean: Doubles
    deviation: Doubles

    @classmethod
    def fit(cls, features: Floats) -> "Scaling":
        """Of features of shape (m, features)."""
        values = features.astype(np.float64)
        deviation = values.std(axis=0)
        # A constant feature's deviation is zero up to rounding of its mean.
        constant = deviation <= 1e-7 * np.abs(values).max(axis=0)
        return cls(values.mean(axis=0), np.where(constant, 1.0, deviation))

    def __call__(self, features: Floats) -> Doubles:
        return (features - self.mean) / self.deviation


@dataclass(frozen=True)
class Reduction:
    """All that was fitted on the training part of a fold before any network saw it.

    Attributes
    ----------
    components
        Of the flow.
    scaling
        Of the landmarks.
    keys
        Keys of the training samples, in the order of ``components.train``, so that the flow of new recordings can be
        multiplied with theirs.
    """

    components: Components
    scaling: Scaling
    keys: Sequence[Sequence]

    def inputs(self, gram: Doubles, landmarks: Floats) -> dict[str, npt.NDArray[np.float32]]:
        """Inputs of the models for all samples, centred on the training part.

        Landmarks have variance 1 there. The scores of the flow are divided by one number, the deviation of the first
        component: scaled one by one, the many components that hold little but noise would count as much as the few
        that hold the movement.

        Parameters
        ----------
        gram
            Inner products of all samples' flow, shape (n, n).
        landmarks
            Shape (n, features).

        Returns
        -------
        ``landmarks``, shape (n, features), and ``flow``, shape (n, components).
        """
        return self._scaled(self.components.scores(gram[:, self.components.train]), landmarks)

    def inputs_of_others(
        self, axes: Axes, read_block: ReadBlock, landmarks: Floats
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Inputs of the models for samples that are in no inner product: as :meth:`inputs`, to rounding.

        Parameters
        ----------
        axes
            Of the components, from :func:`axes`.
        read_block
            Reads the samples' flow.
        landmarks
            Of the samples, shape (n, features).
        """
        return self._scaled(axes.scores(read_block, len(landmarks)), landmarks)

    def _scaled(self, scores: Doubles, landmarks: Floats) -> dict[str, npt.NDArray[np.float32]]:
        scores = scores / (np.sqrt(self.components.variances[0]) or 1.0)
        return {"landmarks": self.scaling(landmarks).astype(np.float32), "flow": scores.astype(np.float32)}

    def save(self, path: str | os.PathLike) -> None:
        """Write everything to one safetensors file."""
        from safetensors.numpy import save_file

        flow = {name: np.ascontiguousarray(value) for name, value in vars(self.components).items()}
        scaling = {"landmark_mean": self.scaling.mean, "landmark_deviation": self.scaling.deviation}
        with replacing(path) as part:
            save_file(flow | scaling, part, {"keys": json.dumps([list(key) for key in self.keys], default=int)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Reduction":
        """Read what :meth:`save` wrote."""
        from safetensors import safe_open

        with safe_open(path, "numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            keys = json.loads(file.metadata()["keys"])
        scaling = Scaling(tensors.pop("landmark_mean"), tensors.pop("landmark_deviation"))
        totals = {name: tensors.pop(name).item() for name in ("total_mean", "total_variance")}
        return cls(Components(**tensors, **totals), scaling, keys)


def reduce(
    gram: Doubles, landmarks: Floats, keys: Sequence[Sequence], train: Indices, components: int, threads: int = 1
) -> Reduction:
    """Fit the reduction of a fold on its training part.

    Parameters
    ----------
    gram
        Inner products of all samples' flow, shape (n, n).
    landmarks
        Of all samples, shape (n, features).
    keys
        Of all samples.
    train
        Indices of the training samples.
    components
        Principal components kept of the flow.
    threads
        Of the eigenproblem.

    References
    ----------
    Section III.C.3. The paper neither gives the number of components nor says what they were fitted on; it leaves the
    scale of the inputs open too.
    """
    return Reduction(fit(gram, train, components, threads), Scaling.fit(landmarks[train]), [keys[i] for i in train])
