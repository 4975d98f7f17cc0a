"""The tables that rules hand to each other: schemas, one writer, one reader.

Every table is a compressed Parquet file. The key columns come first, in the order of :data:`KEYS`, and the
file's metadata says what produced it. Rows are written and read as a stream, so memory does not grow with the table.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

KEYS = ("cohort", "subject", "clip", "frame")
LANDMARK_COUNT = 478
BLENDSHAPE_COUNT = 52
POINT_COUNT = 68
METADATA_KEY = b"faceneuro"

Row = dict[str, Any]


def _keys(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.int32() if name == "frame" else pa.string(), nullable=False) for name in names]


CLIP_KEYS = _keys("cohort", "subject", "clip")
FRAME_KEYS = _keys(*KEYS)

MANIFEST = pa.schema(
    [
        *CLIP_KEYS,
        ("task", pa.string()),
        ("group", pa.string()),
        ("severity", pa.float64()),
        ("side", pa.string()),
        ("age", pa.float64()),
        ("sex", pa.string()),
        ("source", pa.string()),
        ("kind", pa.string()),
        ("path", pa.string()),
        ("files", pa.list_(pa.string())),
        ("scores", pa.map_(pa.string(), pa.float64())),
        ("digest", pa.string()),
        ("problem", pa.string()),
    ]
)
"""One row per clip. ``kind`` is video, images or image; of images, ``path`` is their folder and ``files`` the names of
those that belong to the clip, in order (null: all). ``scores`` are clinical ones by name; ``digest`` names the state of
the files, and is null where this workflow makes them; ``problem`` says why a clip cannot be used, or is null."""

FILES = pa.schema(
    [
        ("cohort", pa.string()),
        ("subject", pa.string()),
        ("clip", pa.string()),
        ("path", pa.string()),
        ("reason", pa.string()),
    ]
)
"""One row per file of a copy of a data set, by its path below the root: the clip that it is part of, or, with subject
and clip null, the ``reason`` why it is part of none."""

INTAKE = pa.schema(
    [
        ("cohort", pa.string()),
        ("title", pa.string()),
        ("section", pa.string()),
        ("what", pa.string()),
        ("found", pa.int64()),
        ("expected", pa.int64()),
    ]
)
"""One row per finding about a copy of a data set. ``section`` is count (of what there should be ``expected``; null
where nobody says), missing (a subject), left_out (a reason, and of how many files), or note (a sentence)."""

FRAMES = pa.schema(
    [
        *FRAME_KEYS,
        ("time_s", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixels", pa.large_binary()),
    ]
)
"""One row per selected frame; ``pixels`` are the bytes of an RGB image, uint8, shape (height, width, 3)."""

DECODING = pa.schema(
    [
        *CLIP_KEYS,
        ("frames_read", pa.int32()),
        ("frames_kept", pa.int32()),
        ("rotation", pa.int32()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("fps", pa.float64()),
        ("variable_frame_rate", pa.bool_()),
        ("gray", pa.bool_()),
        ("error", pa.string()),
    ]
)
"""One row per clip: what decoding met. ``error`` is null when the clip was read to its end."""

LANDMARKS = pa.schema(
    [
        *FRAME_KEYS,
        ("time_s", pa.float64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("found", pa.bool_()),
        ("faces", pa.int32()),
        ("search", pa.string()),
        ("landmarks", pa.list_(pa.float32(), LANDMARK_COUNT * 3)),
        ("blendshapes", pa.list_(pa.float32(), BLENDSHAPE_COUNT)),
    ]
)
"""One row per frame; x, y and z of each landmark in pixels. Not found: ``found`` is false, the lists null."""

CROPS = pa.schema(
    [
        *FRAME_KEYS,
        ("image_height", pa.int32()),
        ("image_width", pa.int32()),
        ("left", pa.float32()),
        ("top", pa.float32()),
        ("right", pa.float32()),
        ("bottom", pa.float32()),
        ("landmarks", pa.list_(pa.float32(), LANDMARK_COUNT * 3)),
        ("png", pa.large_binary()),
        ("surroundings_png", pa.large_binary()),
    ]
)
"""One row per cropped face. Image size, box and landmarks are those of the frame, in its pixels; ``png`` is the box and
``surroundings_png`` the whole frame without the face, both as lossless PNG files of 256 x 256 pixels in RGB."""

ALIGNED = pa.schema(
    [
        *FRAME_KEYS,
        ("png", pa.large_binary()),
        ("matrix", pa.list_(pa.float32(), 6)),
        ("points", pa.list_(pa.float32(), POINT_COUNT * 2)),
    ]
)
"""One row per aligned face. ``png`` is a lossless PNG file of 112 x 112 pixels in RGB; ``matrix``, two rows of three,
takes pixels of the frame to pixels of it; ``points`` are x and y of 68 points as shares of it."""

QUALITY = pa.schema(
    [
        *CLIP_KEYS,
        ("task", pa.string()),
        ("group", pa.string()),
        ("frames_read", pa.int32()),
        ("frames_kept", pa.int32()),
        ("faces_found", pa.int32()),
        ("detection_rate", pa.float64()),
        ("rotation", pa.int32()),
        ("variable_frame_rate", pa.bool_()),
        ("verdict", pa.string()),
        ("reason", pa.string()),
    ]
)
"""One row per clip: ``verdict`` is ok, partial or unusable, ``reason`` says why in words."""

CIRCUMSTANCES = pa.schema(
    [
        *CLIP_KEYS,
        ("task", pa.string()),
        ("fps", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("face_width", pa.float64()),
        ("face_x", pa.float64()),
        ("face_y", pa.float64()),
    ]
)
"""One row per clip: how it was recorded. ``fps`` and size are those of the recording; the face's width and the place of
its middle are medians over the frames, as shares of the picture's width and height. Null where nobody knows."""

EXCURSIONS = pa.schema(
    [
        *FRAME_KEYS,
        ("time_s", pa.float64()),
        ("measure", pa.string()),
        ("side", pa.string()),
        ("value", pa.float64()),
    ]
)
"""One row per frame, measure and side (left, right, midline); ``value`` is the movement from the rest at the start of
the clip in percent of the distance between the irises."""

VOTES = pa.schema(
    [
        *_keys("study", "protocol", "model"),
        pa.field("fold", pa.int32(), nullable=False),
        *FRAME_KEYS,
        ("probability", pa.float64()),
    ]
)
"""One row per fold's model and sample of a recording that no model was trained on: as :data:`PREDICTIONS`, but nobody
knows the label."""

SAMPLES = pa.schema(
    [
        *FRAME_KEYS,
        ("previous", pa.int32()),
        ("group", pa.string()),
        ("label", pa.string()),
        ("flow_table", pa.int32()),
        ("flow_row", pa.int32()),
        ("landmarks", pa.list_(pa.float32(), 468 * 2)),
    ]
)
"""One row per pair of frames. ``label`` is what is learnt, ``group`` what the manifest says: they differ only in a
negative control. ``flow_table`` and ``flow_row`` say where the pair's flow is; ``landmarks`` are x and y over image
width and height."""

PALSY_SAMPLES = pa.schema(
    [
        *FRAME_KEYS,
        ("group", pa.string()),
        ("label", pa.string()),
        ("task", pa.string()),
        ("severity", pa.float64()),
        ("side", pa.string()),
        ("crop_table", pa.int16()),
        ("crop_row", pa.int32()),
        ("coordinates", pa.list_(pa.float32(), LANDMARK_COUNT * 2)),
        ("blendshapes", pa.list_(pa.float32(), BLENDSHAPE_COUNT)),
        ("measures", pa.list_(pa.float32(), 29)),
    ]
)
"""One row per face crop: label, where its picture is (crop table and row in it), landmarks over the crop's width and
height, blendshape scores, asymmetry measures."""

EXPRESSIONS = 6
"""Expression images of one sample of the Parkinson's study."""

PARKINSON_SAMPLES = pa.schema(
    [
        *FRAME_KEYS,
        ("group", pa.string()),
        ("label", pa.string()),
        ("severity", pa.float64()),
        ("source", pa.string()),
        ("age", pa.float64()),
        ("sex", pa.string()),
        ("images", pa.list_(pa.int32(), EXPRESSIONS)),
    ]
)
"""One row per subject, for a set of six expressions: ``clip`` and ``frame`` are the same in every row. ``images`` are
rows of the table of :data:`EXPRESSION_IMAGES`, -1 where an expression is missing."""

EXPRESSION_IMAGES = pa.schema(
    [*FRAME_KEYS, ("task", pa.string()), ("crop_table", pa.int16()), ("crop_row", pa.int32())]
)
"""One row per image of an expression, and where its crop is (crop table and row in it)."""

ATTENTION = pa.schema(
    [
        *_keys("study", "protocol", "model"),
        pa.field("fold", pa.int32(), nullable=False),
        *_keys("cohort", "subject"),
        ("label", pa.string()),
        ("expression", pa.string()),
        ("weight", pa.float64()),
    ]
)
"""One row per tested subject and expression: the mean attention weight of its channels, 0 to 1; null where missing."""

HASHES = pa.schema([*FRAME_KEYS, ("hash", pa.binary(32))])
"""One row per picture that a study uses, and its perceptual hash of 256 bits."""

AUDITS = pa.schema(
    [
        *_keys("study"),
        ("audit", pa.string()),
        ("model", pa.string()),
        ("source", pa.string()),
        ("quantity", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("reference", pa.float64()),
        ("p_value", pa.float64()),
        ("n_subjects", pa.int64()),
        ("grade", pa.string()),
        ("verdict", pa.string()),
        ("sentence", pa.string()),
    ]
)
"""One row per audit of a study. ``reference`` is what the value stands beside, intervals are 95 %, ``grade`` is ok,
warn, fail or not told, ``verdict`` says it in words."""

FACES = pa.schema(
    [
        *FRAME_KEYS,
        ("group", pa.string()),
        ("task", pa.string()),
        ("severity", pa.float64()),
        ("side", pa.string()),
        ("role", pa.string()),
        ("points", pa.list_(pa.float32(), POINT_COUNT * 2)),
    ]
)
"""One row per face that the synthesis study uses, in the order of its images. ``role`` is train or test, the same for
all images of a person; ``points`` as in :data:`ALIGNED`."""

PAIRS = pa.schema(
    [
        pa.field("pair", pa.int32(), nullable=False),
        pa.field("identity", pa.int32(), nullable=False),
        pa.field("style", pa.int32(), nullable=False),
        ("own", pa.int32()),
        ("held_out", pa.bool_()),
        *(key.with_name(f"identity_{key.name}") for key in FRAME_KEYS),
        *(key.with_name(f"style_{key.name}") for key in FRAME_KEYS),
    ]
)
"""One row per face to synthesise: who (``identity``) looks like whom (``style``), as rows of :data:`FACES` and by their
keys. ``own`` is another image of the style's person, for the way back; null where there is none. ``held_out`` says
whether neither person was learnt from."""

SYNTHETIC = pa.schema(
    [
        pa.field("pair", pa.int32(), nullable=False),
        ("file", pa.string()),
        ("row", pa.string()),
        ("size", pa.string()),
        ("back", pa.bool_()),
        ("seed", pa.int64()),
        ("steps", pa.int32()),
        ("eta", pa.float64()),
        *(field for field in PAIRS if field.name.startswith(("held_out", "identity_", "style_"))),
    ]
)
"""One row per synthetic face, in the order of the pairs: its ``file`` in the folder of the table's name, the generator
(``row``, ``size``), how it was sampled, and whose pictures it was made of."""

SYNTHESIS_SCORES = pa.schema(
    [
        *_keys("row"),
        pa.field("pair", pa.int32(), nullable=False),
        *_keys("metric", "against"),
        ("value", pa.float64()),
        ("features", pa.string()),
    ]
)
"""One row per score of a synthetic face. ``pair`` is the place in the table of pairs, ``features`` what computed it."""

EXPLANATIONS = pa.schema(
    [
        *_keys("study", "protocol", "model"),
        pa.field("fold", pa.int32(), nullable=False),
        *FRAME_KEYS,
        ("task", pa.string()),
        ("side", pa.string()),
        ("method", pa.string()),
        ("pointed", pa.string()),
        ("region_hit", pa.bool_()),
        ("region_chance", pa.float64()),
        ("side_share", pa.float64()),
        ("logit", pa.float64()),
    ]
)
"""One row per explained sample. ``side`` is the weak one, ``pointed`` the regions that the explanation points at, with
commas; ``region_hit`` says whether the task moves one of them, ``region_chance`` how often chance would,
``side_share`` how much of what speaks for the positive class is on the weak side. Null where nothing can be said."""

FOLDS = pa.schema(
    [
        *_keys("study", "protocol"),
        pa.field("fold", pa.int32(), nullable=False),
        *FRAME_KEYS,
        ("role", pa.string()),
    ]
)
"""One row per fold and sample; ``role`` is train, validation, test or unused (left out by balancing)."""

PREDICTIONS = pa.schema(
    [
        *_keys("study", "protocol", "model"),
        pa.field("fold", pa.int32(), nullable=False),
        *FRAME_KEYS,
        ("label", pa.string()),
        ("probability", pa.float64()),
    ]
)
"""One row per tested sample of two classes; ``probability`` is that of the positive one. For more classes there is
:func:`class_predictions_schema`."""

HISTORY = pa.schema(
    [
        *_keys("study", "protocol", "model"),
        pa.field("fold", pa.int32(), nullable=False),
        ("epoch", pa.int32()),
        ("part", pa.string()),
        ("loss", pa.float64()),
        ("accuracy", pa.float64()),
    ]
)
"""One row per epoch and part (train, validation)."""

SCORES = pa.schema(
    [
        ("recording", pa.string()),
        ("file", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("outside", pa.string()),
        ("frames_read", pa.int32()),
        ("frames_kept", pa.int32()),
        ("faces_found", pa.int32()),
        ("study", pa.string()),
        ("model", pa.string()),
        ("trained_on", pa.string()),
        ("probability", pa.float64()),
        ("lowest", pa.float64()),
        ("highest", pa.float64()),
        ("folds", pa.int32()),
        ("people_alike", pa.int32()),
        ("ill_alike", pa.int32()),
        ("ill_ci_low", pa.float64()),
        ("ill_ci_high", pa.float64()),
        ("note", pa.string()),
    ]
)
"""One row per recording of somebody whom no model was trained on. ``outcome`` is scored, refused or left out (no
recording); ``reason`` says what is wrong with it, ``outside`` what the models have not met in training; ``lowest`` and
``highest`` are those of a single fold's model. Of the study's people who, held out, got about such a probability,
``ill_alike`` of ``people_alike`` are ill (share and 95 % interval)."""

METRICS = pa.schema(
    [
        *_keys("study", "protocol", "model"),
        ("metric", pa.string()),
        ("level", pa.string()),
        ("aggregation", pa.string()),
        ("value", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("n", pa.int32()),
        ("n_subjects", pa.int32()),
    ]
)
"""``level`` is frame, clip or subject; ``aggregation`` is pooled or fold_mean; intervals are 95 %, over subjects."""


EFFECTS = pa.schema(
    [
        ("study", pa.string()),
        ("subgroup", pa.string()),
        ("block", pa.string()),
        ("article", pa.string()),
        ("year", pa.int32()),
        ("accuracy", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("variance", pa.float64()),
        ("n", pa.int64()),
        ("measure", pa.string()),
        ("provenance", pa.string()),
        ("origin", pa.string()),
    ]
)
"""One row per effect size of a meta-analysis: accuracy and 95 % limits in percent, sampling variance in its square.
``subgroup`` is the condition, ``block`` the group under which a forest plot lists it, ``n`` the number of subjects or
null, ``measure`` what the study reported, ``provenance`` whether it was printed, ``origin`` who reported it."""

EFFECT_ROWS = pa.schema(
    [
        *EFFECTS,
        ("se", pa.float64()),
        ("weight", pa.float64()),
        ("weight_fixed", pa.float64()),
        ("loo_estimate", pa.float64()),
        ("loo_ci_low", pa.float64()),
        ("loo_ci_high", pa.float64()),
        ("loo_tau2", pa.float64()),
        ("loo_i2", pa.float64()),
        ("baujat_contribution", pa.float64()),
        ("baujat_influence", pa.float64()),
        ("rstudent", pa.float64()),
        ("dffits", pa.float64()),
        ("cook", pa.float64()),
        ("covariance_ratio", pa.float64()),
        ("hat", pa.float64()),
    ]
)
"""An effect size and what it does to the pooled estimate: weights in percent, results with it left out, influence."""

FILLED_EFFECTS = pa.schema([("accuracy", pa.float64()), ("se", pa.float64())])
"""The effect sizes that trim-and-fill adds, in percent."""

POOLED = pa.schema(
    [
        ("analysis", pa.string()),
        ("group", pa.string()),
        ("scale", pa.string()),
        ("method", pa.string()),
        ("test", pa.string()),
        ("k", pa.int32()),
        ("estimate", pa.float64()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("pi_low", pa.float64()),
        ("pi_high", pa.float64()),
        ("statistic", pa.float64()),
        ("df", pa.float64()),
        ("p_value", pa.float64()),
        ("tau2", pa.float64()),
        ("tau2_ci_low", pa.float64()),
        ("tau2_ci_high", pa.float64()),
        ("i2", pa.float64()),
        ("h2", pa.float64()),
        ("i2_q", pa.float64()),
        ("h2_q", pa.float64()),
        ("q", pa.float64()),
        ("q_df", pa.float64()),
        ("q_p_value", pa.float64()),
        ("note", pa.string()),
    ]
)
"""One row per analysis of a collection of effect sizes. Estimates, limits (95 %) and prediction limits are in percent
on every scale; tau2 is in the squared unit of the scale."""


def flow_schema(grid: tuple[int, int]) -> pa.Schema:
    """Schema of a flow table whose fields have ``grid`` = (height, width) cells."""
    height, width = grid
    return pa.schema(
        [*FRAME_KEYS, ("previous", pa.int32()), ("magnitude", pa.list_(pa.float16(), height * width))],
        metadata={"grid_height": str(height), "grid_width": str(width)},
    )


def class_predictions_schema(classes: int) -> pa.Schema:
    """Schema of the predictions of a study with more than two classes: as :data:`PREDICTIONS`, but with a list.

    ``probabilities`` are those of the ``classes`` classes, in their order; they add up to 1.
    """
    kept = [field for field in PREDICTIONS if field.name != "probability"]
    return pa.schema([*kept, ("probabilities", pa.list_(pa.float64(), classes))])


def truth_schema(units: int, points: int) -> pa.Schema:
    """Schema of the ground truth of a virtual cohort: unit weights and projected points (x, y) in pixels."""
    return pa.schema(
        [
            *FRAME_KEYS,
            ("time_s", pa.float64()),
            ("units", pa.list_(pa.float32(), units)),
            ("points", pa.list_(pa.float32(), points * 2)),
        ]
    )


def targets_schema(units: int, points: int) -> pa.Schema:
    """Schema of the exact targets of pairs of virtual patients: a face as in :data:`ALIGNED`, and the truth about it.

    ``severity`` and ``side`` are those of the style's person; ``truth`` are the projected points (x, y) as shares of
    the aligned image.
    """
    return pa.schema(
        [
            pa.field("pair", pa.int32(), nullable=False),
            ("severity", pa.float64()),
            ("side", pa.string()),
            *(field for field in ALIGNED if field.name not in KEYS),
            ("units", pa.list_(pa.float32(), units)),
            ("truth", pa.list_(pa.float32(), points * 2)),
        ]
    )


class TableWriter:
    """Writes rows to a Parquet table, a row group at a time, under a temporary name until it is complete.

    A context manager: leaving it normally renames the file into place, leaving it by an exception removes it. So a
    table that exists is whole, whatever killed the process that wrote an earlier one.

    Parameters
    ----------
    path
        Where the table will be.
    schema
        One of the schemas of this module.
    provenance
        What produced the table; kept as JSON in the file's metadata.
    rows_per_group
        Rows buffered in memory and written together; 64 reads well at random and compresses well.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        schema: pa.Schema,
        provenance: Mapping[str, Any] | None = None,
        rows_per_group: int = 64,
    ):
        self._path = Path(path)
        self._part = self._path.with_name(self._path.name + ".part")
        self._schema = schema.with_metadata(
            {**(schema.metadata or {}), METADATA_KEY: json.dumps(provenance or {}, sort_keys=True).encode()}
        )
        self._rows_per_group = rows_per_group
        self._rows: list[Row] = []

    def __enter__(self) -> "TableWriter":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = pq.ParquetWriter(self._part, self._schema, **_encoding(self._schema))
        return self

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one row; columns that it lacks are null."""
        self._rows.append(dict(row))
        if len(self._rows) == self._rows_per_group:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [_column([row.get(field.name) for row in self._rows], field.type) for field in self._schema]
            self._file.write_batch(pa.record_batch(columns, schema=self._schema))
            self._rows.clear()

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._flush()
            self._file.close()
            if kind is None:
                os.replace(self._part, self._path)
        finally:
            # The last rows may be the ones that cannot be written: then, too, there is no table.
            self._file.close()
            self._part.unlink(missing_ok=True)


def _column(values: list, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        # A text that is missing comes out of a data frame as NaN.
        return pa.array(values, kind, from_pandas=pa.types.is_string(kind))
    # Building the flat values with numpy is some ten times faster than converting row by row.
    empty = np.zeros(kind.list_size, kind.value_type.to_pandas_dtype())
    parts = [empty if value is None else np.asarray(value, empty.dtype).ravel() for value in values]
    for part in parts:
        if len(part) != kind.list_size:
            raise ValueError(f"a list of {len(part)} values, where the table's have {kind.list_size}")
    flat = np.concatenate(parts)
    missing = pa.array([value is None for value in values])
    return pa.FixedSizeListArray.from_arrays(pa.array(flat, kind.value_type), type=kind, mask=missing)


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """Parquet options: floats in lists split by byte (they then compress by a third), text by dictionary.

    Images are read twice and then deleted, so they are not compressed: that costs more time than the disk it saves.
    """
    split = [f"{field.name}.list.element" for field in schema if pa.types.is_fixed_size_list(field.type)]
    images = [field.name for field in schema if pa.types.is_large_binary(field.type)]
    others = [field.name for field in schema if f"{field.name}.list.element" not in split and field.name not in images]
    return {
        "compression": dict.fromkeys(split + others, "zstd") | dict.fromkeys(images, "NONE"),
        "compression_level": dict.fromkeys(split + others, 1),
        "use_dictionary": [field.name for field in schema if pa.types.is_string(field.type)],
        "column_encoding": dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
        "write_statistics": [field.name for field in schema if not pa.types.is_large_binary(field.type)],
    }


def write_table(
    frame: pd.DataFrame | Iterable[Mapping[str, Any]],
    path: str | os.PathLike,
    schema: pa.Schema,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write a whole table at once: a data frame, or any iterable of rows."""
    rows = frame.to_dict("records") if isinstance(frame, pd.DataFrame) else frame
    with TableWriter(path, schema, provenance, rows_per_group=4096) as table:
        for row in rows:
            table.append({key: None if _is_missing(value) else value for key, value in row.items()})


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def read_rows(path: str | os.PathLike, columns: Iterable[str] | None = None) -> Iterator[Row]:
    """Rows of a table, one at a time; at most one batch of 16 is in memory.

    Yields
    ------
    One dict per row. List columns are numpy arrays, binary columns memory views, both without a copy.
    """
    with pq.ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(16, columns=None if columns is None else list(columns), use_threads=False):
            for values in zip(*(_values(column) for column in batch.columns), strict=True):
                yield dict(zip(batch.schema.names, values, strict=True))


def _values(column: pa.Array) -> Iterator:
    if pa.types.is_fixed_size_list(column.type):
        size, child = column.type.list_size, column.values
        # The buffer itself: the elements of a null list are nulls, and Arrow copies an array that has any.
        flat = np.frombuffer(child.buffers()[1], child.type.to_pandas_dtype())[child.offset :]
        for index, valid in enumerate(column.is_valid().to_pylist(), start=column.offset):
            yield flat[index * size : (index + 1) * size] if valid else None
    elif pa.types.is_large_binary(column.type):
        for value in column:
            yield memoryview(value.as_buffer())
    else:
        yield from column.to_pylist()


def read_clips(path: str | os.PathLike, columns: Iterable[str] | None = None) -> Iterator[tuple[Row, Iterator[Row]]]:
    """Rows of a table, clip by clip, streaming: use up one clip before the next.

    Yields
    ------
    The clip's keys (cohort, subject, clip) and an iterator over its rows.
    """
    names = KEYS[:3]
    for values, rows in groupby(read_rows(path, columns), key=itemgetter(*names)):
        yield dict(zip(names, values, strict=True)), rows


def read_table(
    paths: str | os.PathLike | Iterable[str | os.PathLike], columns: Iterable[str] | None = None
) -> pd.DataFrame:
    """One table, or several of one schema on top of each other, as a data frame."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    columns = None if columns is None else list(columns)
    parts = [pq.read_table(path, columns=columns, use_threads=False) for path in paths]
    return pa.concat_tables([part.replace_schema_metadata(None) for part in parts]).to_pandas()


def provenance_of(path: str | os.PathLike) -> dict[str, Any]:
    """What produced a table, as its writer recorded it."""
    return json.loads((pq.read_schema(path).metadata or {}).get(METADATA_KEY, b"{}"))


def image_of(row: Row) -> np.ndarray:
    """The RGB image of a row of a frames table, uint8, shape (height, width, 3), read-only, without a copy."""
    image = np.frombuffer(row["pixels"], np.uint8).reshape(row["height"], row["width"], 3)
    image.flags.writeable = False
    return image
