"""ALS from facial landmarks and optical flow.

References
----------
Sri Varshan P, Harigaran R, Vamsi Krishna V, "Amyotrophic lateral sclerosis Disease Detection Through Facial Expression
Analysis". The sections named below are that paper's.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from faceneuro.errors import InputError
from faceneuro.studies.clips import CLIP, usable_clips
from faceneuro.tables import KEYS, Row, read_clips, read_table

MESH_POINTS = 468
"""The paper's face mesh has 468 points; today's landmarker adds ten for the irises at the end."""

CLASSES = ("Healthy", "ALS")
"""Negative and positive class, as the paper's Table I spells them."""

CONDITION = "Motor condition"
"""Where a meta-analysis of conditions puts this study (Yoonesi et al. 2025, Fig. 3)."""

PUBLISHED_MODEL = "dual_branch"
"""The model whose numbers the paper prints."""

TABLE_ROWS = {
    ("Healthy", "precision"): "precision/Healthy",
    ("Healthy", "recall"): "recall/Healthy",
    ("Healthy", "f1"): "f1/Healthy",
    ("Healthy", "support"): "support/Healthy",
    ("ALS", "precision"): "precision/ALS",
    ("ALS", "recall"): "recall/ALS",
    ("ALS", "f1"): "f1/ALS",
    ("ALS", "support"): "support/ALS",
    ("accuracy", "f1"): "accuracy",
    ("accuracy", "support"): "support",
    ("macro avg", "precision"): "precision/macro",
    ("macro avg", "recall"): "recall/macro",
    ("macro avg", "f1"): "f1/macro",
    ("macro avg", "support"): "support",
    ("weighted avg", "precision"): "precision/weighted",
    ("weighted avg", "recall"): "recall/weighted",
    ("weighted avg", "f1"): "f1/weighted",
    ("weighted avg", "support"): "support",
}
"""Cells of Table I, (row, column), and the metric of :mod:`faceneuro.evaluation.metrics` that each of them is."""

Path = str | os.PathLike


def samples(
    manifest: Path | Iterable[Path],
    quality: Path | Iterable[Path],
    landmarks: Iterable[Path],
    flow: Iterable[Path],
    *,
    groups: Mapping[str, str],
    tasks: Sequence[str] | None = None,
    permute: int | None = None,
) -> Iterator[Row]:
    """Samples of the study: one per pair of frames whose later frame shows a face.

    Parameters
    ----------
    manifest, quality
        Tables of the cohorts; one path or several.
    landmarks, flow
        Shards, in the same order: the n-th of both hold the same subjects, clips in the same order.
    groups
        The manifest's names of the groups that are the ``negative`` and the ``positive`` class.
    tasks
        Tasks to use; none means all.
    permute
        Seed of a negative control in which labels are permuted over subjects, see
        :func:`faceneuro.training.folds.permute_labels`; none means true labels.

    Yields
    ------
    Rows of :data:`faceneuro.tables.SAMPLES`, in the order of the flow shards, clip by clip.

    Raises
    ------
    InputError
        If a class has no clip, or none that can be used, or a subject belongs to both classes.

    References
    ----------
    Sections III.A (two of the three groups), III.C.1 (flow of consecutive frames), III.C.2 (468 x 2 coordinates).
    """
    tables = read_table(manifest), read_table(quality)
    clips = usable_clips(*tables, groups, CLASSES, tasks, study="als", permute=permute)
    about = {
        tuple(row[name] for name in CLIP): {name: row[name] for name in ("group", "label")}
        for row in clips.to_dict("records")
    }
    missing = set(groups.values())
    for table, (points, pairs) in enumerate(zip(landmarks, flow, strict=True)):
        for row in pairs_with_a_face(points, pairs):
            clip = about.get((row["cohort"], row["subject"], row["clip"]))
            if clip is not None:
                missing.discard(clip["group"])
                yield row | clip | {"flow_table": table}
    for role, group in groups.items():
        if group in missing:
            raise InputError(
                f"config key studies.als.groups.{role}: no clip of {group!r} has two selected frames of which the "
                "later shows a face; the study needs videos, or a smaller features.frames.every"
            )


def pairs_with_a_face(landmarks: Path, flow: Path) -> Iterator[Row]:
    """Pairs of frames whose later frame shows a face, of one shard; one clip is in memory at a time.

    Parameters
    ----------
    landmarks, flow
        Of the same subjects, clips in the same order.

    Yields
    ------
    The columns of :data:`faceneuro.tables.SAMPLES` that are known of people without a label, but for ``flow_table``.
    """
    positions = iter(range(2**31))
    clips = read_clips(landmarks, [*KEYS, "height", "width", "found", "landmarks"])
    for clip, pairs in read_clips(flow, [*KEYS, "previous"]):
        faces = next((_faces(rows) for key, rows in clips if key == clip), None)
        if faces is None:
            raise ValueError(f"{flow} has a clip {clip['clip']!r} that {landmarks} lacks, or in another order")
        for pair in pairs:
            position = next(positions)
            if pair["frame"] in faces:
                yield pair | {"flow_row": position, "landmarks": faces[pair["frame"]]}


def _faces(rows: Iterable[Row]) -> dict[int, npt.NDArray[np.float32]]:
    return {
        row["frame"]: landmark_features(row["landmarks"], row["height"], row["width"]) for row in rows if row["found"]
    }


def unseen(landmarks: Path, flow: Path) -> tuple[pd.DataFrame, npt.NDArray[np.float32], "FlowReader"]:
    """Samples of a recording that belongs to no class that anybody knows.

    Parameters
    ----------
    landmarks, flow
        Tables of the recording.

    Returns
    -------
    Keys and ``previous`` of every sample, its landmarks, shape (n, 936), and a reader of its flow.
    """
    rows = list(pairs_with_a_face(landmarks, flow))
    points = np.array([row.pop("landmarks") for row in rows], np.float32).reshape(len(rows), 2 * MESH_POINTS)
    samples = pd.DataFrame(rows, columns=[*KEYS, "previous", "flow_row"]).assign(flow_table=0)
    return samples, points, FlowReader(samples, [flow])


def landmark_features(points: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """x and y of the 468 points of the face mesh, as MediaPipe gives them: over image width and height.

    Parameters
    ----------
    points
        x, y and z of 478 landmarks in pixels, flat.
    height, width
        Of the image, in pixels.

    Returns
    -------
    Shape (936,): x, y of the first point, then of the second.
    """
    mesh = np.asarray(points).reshape(-1, 3)[:MESH_POINTS, :2]
    return (mesh / np.array([width, height])).astype(np.float32).ravel()


def read_samples(path: Path) -> tuple[pd.DataFrame, npt.NDArray[np.float32]]:
    """A samples table as a data frame of everything but landmarks, and the landmarks, shape (n, 936)."""
    table = pq.read_table(path, use_threads=False)
    landmarks = table.column("landmarks").combine_chunks()
    frame = table.drop_columns("landmarks").replace_schema_metadata(None).to_pandas()
    return frame, landmarks.flatten().to_numpy().reshape(len(frame), -1)


class FlowReader:
    """Flow fields of samples, in the samples' order, from the flow shards; keeps one row group in memory.

    Parameters
    ----------
    samples
        Data frame of a samples table.
    flow
        The shards that the samples were made from, in the same order.
    """

    def __init__(self, samples: pd.DataFrame, flow: Sequence[Path]):
        self._keys = samples[list(KEYS)].reset_index(drop=True)
        self._table = samples["flow_table"].to_numpy()
        self._row = samples["flow_row"].to_numpy()
        self._paths = list(flow)

    def __len__(self) -> int:
        return len(self._keys)

    def __call__(self, start: int, stop: int) -> npt.NDArray[np.float16]:
        """Fields of samples ``start`` to ``stop``, shape (stop - start, grid height * grid width).

        Raises
        ------
        ValueError
            If the shards are not those that the samples were made from.
        """
        block = None
        for table in np.unique(self._table[start:stop]):
            with pq.ParquetFile(self._paths[table]) as file:
                ends = np.cumsum([file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)])
                mine = start + np.flatnonzero(self._table[start:stop] == table)
                home = np.searchsorted(ends, self._row[mine], side="right")
                for group in np.unique(home):
                    if group == len(ends):
                        raise ValueError(f"{self._paths[table]} has fewer rows than the samples were made from")
                    part = file.read_row_group(int(group), columns=[*KEYS, "magnitude"], use_threads=False)
                    fields = part.column("magnitude").combine_chunks()
                    fields = fields.flatten().to_numpy().reshape(len(part), -1)
                    rows = mine[home == group]
                    inside = self._row[rows] - (ends[group] - len(part))
                    self._check(part.select(list(KEYS)).to_pandas().iloc[inside], rows, table)
                    if block is None:
                        block = np.empty((stop - start, fields.shape[1]), fields.dtype)
                    block[rows - start] = fields[inside]
                    # Arrow keeps what it freed, several times a row group, while the caller counts every megabyte.
                    del part, fields
                    pa.default_memory_pool().release_unused()
        return block

    def _check(self, found: pd.DataFrame, rows: npt.NDArray[np.int64], table: int) -> None:
        if not (found.to_numpy() == self._keys.iloc[rows].to_numpy()).all():
            raise ValueError(f"{self._paths[table]} is not the flow that the samples were made from: its keys differ")
