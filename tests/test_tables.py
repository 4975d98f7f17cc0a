import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceneuro import tables
from faceneuro.tables import (
    BLENDSHAPE_COUNT,
    FRAMES,
    KEYS,
    LANDMARK_COUNT,
    LANDMARKS,
    TableWriter,
    flow_schema,
    image_of,
    provenance_of,
    read_clips,
    read_rows,
    read_table,
    truth_schema,
    write_table,
)

SMALL = pa.schema(
    [
        *tables.FRAME_KEYS,
        ("value", pa.float64()),
        ("flag", pa.bool_()),
        ("word", pa.string()),
        ("field", pa.list_(pa.float32(), 3)),
    ]
)


def row_of(clip="smile", frame=0, subject="P1", **values):
    return {"cohort": "mine", "subject": subject, "clip": clip, "frame": frame} | values


def written(path, schema, rows, **options):
    with TableWriter(path, schema, **options) as table:
        for row in rows:
            table.append(row)
    return path


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(["NA", "007", "", " ", "nan"])
small_rows = st.lists(
    st.fixed_dictionaries(
        {
            "cohort": texts,
            "subject": texts,
            "clip": texts,
            "frame": st.integers(0, 2**31 - 1),
            "value": st.none() | st.floats(allow_nan=False),
            "flag": st.none() | st.booleans(),
            "word": st.none() | texts,
            "field": st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3),
        }
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(rows=small_rows, rows_per_group=st.integers(1, 50))
def test_rows_come_back_as_they_were(rows, rows_per_group):
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "table.parquet", SMALL, rows, rows_per_group=rows_per_group)
        again = [row | {"field": None if row["field"] is None else row["field"].tolist()} for row in read_rows(path)]
    assert again == rows


SCHEMAS = {
    name: value for name, value in vars(tables).items() if isinstance(value, pa.Schema) and "cohort" in value.names
}


@pytest.mark.parametrize("schema", [*SCHEMAS.values(), flow_schema((3, 4)), truth_schema(2, 5)])
def test_keys_come_first_and_in_order(schema):
    present = [name for name in KEYS if name in schema.names]
    start = schema.names.index(present[0])
    assert schema.names[start : start + len(present)] == present
    # Before them there is only what a prediction belongs to.
    assert set(schema.names[:start]) <= {"study", "protocol", "model", "fold"}
    assert all(schema.field(name).type == (pa.int32() if name == "frame" else pa.string()) for name in present)


def test_missing_columns_and_lists_are_null(tmp_path):
    full = np.arange(LANDMARK_COUNT * 3, dtype=np.float32)
    rows = [
        row_of(frame=0, found=False),
        row_of(frame=1, found=True, landmarks=full, blendshapes=np.ones(BLENDSHAPE_COUNT)),
        row_of(frame=2, found=False, landmarks=None),
    ]
    path = written(tmp_path / "landmarks.parquet", LANDMARKS, rows)
    again = list(read_rows(path))
    assert [row["landmarks"] is None for row in again] == [True, False, True]
    np.testing.assert_array_equal(again[1]["landmarks"], full)
    assert again[1]["blendshapes"].dtype == np.float32
    assert [row["time_s"] for row in again] == [None] * 3
    # And any other reader of Parquet sees the same.
    assert [value is None for value in pq.read_table(path)["landmarks"].to_pylist()] == [True, False, True]


def test_a_list_of_another_length_is_refused(tmp_path):
    with pytest.raises(ValueError, match="2 values, where the table's have 3"):
        written(tmp_path / "table.parquet", SMALL, [row_of(field=[1.0, 2.0])])
    # Nor where the lengths add up.
    with pytest.raises(ValueError, match="2 values, where the table's have 3"):
        written(tmp_path / "table.parquet", SMALL, [row_of(field=[1.0, 2.0]), row_of(field=[1.0, 2.0, 3.0, 4.0])])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_key_is_refused(tmp_path):
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        written(tmp_path / "table.parquet", SMALL, [{"cohort": "mine", "clip": "smile", "frame": 0}])
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=30)
@given(values=st.lists(st.floats(0, 6e4, width=16), min_size=12, max_size=12), seed=st.integers(0, 9))
def test_flow_is_kept_to_the_last_bit(values, seed):
    field = np.random.default_rng(seed).permutation(np.array(values, np.float16))
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "flow.parquet", flow_schema((3, 4)), [row_of(previous=0, magnitude=field)])
        (row,) = read_rows(path)
        np.testing.assert_array_equal(row["magnitude"], field)
        assert pq.read_schema(path).metadata[b"grid_height"] == b"3"


def test_images_are_kept_without_loss(tmp_path):
    images = [np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8) for seed in range(3)]
    rows = [row_of(frame=number, height=5, width=7, pixels=image.tobytes()) for number, image in enumerate(images)]
    path = written(tmp_path / "frames.parquet", FRAMES, rows)
    for image, row in zip(images, read_rows(path), strict=True):
        np.testing.assert_array_equal(image_of(row), image)
        assert not image_of(row).flags.writeable


def test_an_exception_leaves_nothing(tmp_path):
    def failing():
        for frame in range(500):
            yield row_of(frame=frame)
        raise KeyError("in the middle")

    with pytest.raises(KeyError):
        written(tmp_path / "table.parquet", SMALL, failing())
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_the_former_table(tmp_path):
    path = written(tmp_path / "table.parquet", SMALL, [row_of()])
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        written(path, SMALL, [row_of(frame=1), row_of(frame="two")])
    assert [row["frame"] for row in read_rows(path)] == [0]


def test_a_killed_process_leaves_no_table_and_the_next_one_completes(tmp_path):
    path = tmp_path / "table.parquet"
    code = f"""
import os, signal
from faceneuro.tables import FRAMES, TableWriter
with TableWriter({str(path)!r}, FRAMES, rows_per_group=4) as table:
    for frame in range(100):
        table.append(dict(cohort="mine", subject="P1", clip="smile", frame=frame))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = subprocess.run([sys.executable, "-c", code], env=os.environ)
    assert ran.returncode == -signal.SIGKILL
    assert not path.exists()
    written(path, FRAMES, [row_of()])
    assert [file.name for file in tmp_path.iterdir()] == ["table.parquet"]


def test_clips_are_read_one_after_the_other(tmp_path):
    # The same clip name of another subject is another clip.
    keys = [("P1", "a", 3), ("P1", "b", 40), ("P2", "b", 1), ("P 3", "b", 20)]
    rows = [row_of(clip, frame, subject) for subject, clip, count in keys for frame in range(count)]
    path = written(tmp_path / "table.parquet", SMALL, rows)
    seen = [(clip["subject"], clip["clip"], [row["frame"] for row in part]) for clip, part in read_clips(path)]
    assert seen == [(subject, clip, list(range(count))) for subject, clip, count in keys]


def test_a_clip_that_is_not_used_up_does_not_spoil_the_next(tmp_path):
    path = written(tmp_path / "table.parquet", SMALL, [row_of(clip, frame) for clip in "abc" for frame in range(30)])
    assert [(clip["clip"], next(rows)["frame"]) for clip, rows in read_clips(path)] == [("a", 0), ("b", 0), ("c", 0)]


def test_reading_is_a_stream(tmp_path):
    # A hundred images of 3 MB each: reading the first one must not bring the others into memory.
    image = bytes(3_000_000)
    rows = (row_of(frame=number, height=1000, width=1000, pixels=image) for number in range(100))
    path = written(tmp_path / "frames.parquet", FRAMES, rows, rows_per_group=16)
    before = pa.total_allocated_bytes()
    stream = read_rows(path)
    next(stream)
    assert pa.total_allocated_bytes() - before < 150e6
    assert sum(1 for _ in stream) == 99


def test_only_the_columns_asked_for_are_read(tmp_path):
    path = written(tmp_path / "table.parquet", SMALL, [row_of(value=1.5, word="yes")])
    assert list(read_rows(path, ["clip", "value"])) == [{"clip": "smile", "value": 1.5}]
    assert list(read_table(path, ["word"]).columns) == ["word"]


def test_an_empty_table_is_a_table(tmp_path):
    path = written(tmp_path / "table.parquet", SMALL, [])
    assert list(read_rows(path)) == []
    assert list(read_clips(path)) == []
    assert list(read_table(path).columns) == SMALL.names


def test_tables_are_stacked_and_written_whole(tmp_path):
    first = written(tmp_path / "1.parquet", SMALL, [row_of(value=1.0)], provenance={"rule": "one"})
    second = written(tmp_path / "2.parquet", SMALL, [row_of(subject="NA", value=None)])
    both = read_table([first, second])
    assert both["subject"].tolist() == ["P1", "NA"]
    write_table(both, tmp_path / "both.parquet", SMALL, {"rule": "both"})
    again = list(read_rows(tmp_path / "both.parquet"))
    assert [(row["subject"], row["value"], row["word"]) for row in again] == [("P1", 1.0, None), ("NA", None, None)]


def test_a_table_says_what_produced_it(tmp_path):
    path = written(tmp_path / "table.parquet", SMALL, [], provenance={"model": "64184e", "params": {"grid": [1, 2]}})
    assert provenance_of(path) == {"model": "64184e", "params": {"grid": [1, 2]}}


def test_equal_rows_give_equal_files(tmp_path):
    rows = [row_of(frame=frame, value=frame / 3, word="yes", field=[frame, 0, 1]) for frame in range(100)]
    first, second = (written(tmp_path / name, SMALL, rows, provenance={"b": 1, "a": 2}) for name in ("1", "2"))
    assert first.read_bytes() == second.read_bytes()
