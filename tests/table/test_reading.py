"""A table is read whole, or refused with a sentence; with as little memory at a million rows as at a thousand."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables import METADATA, image, part, some_faces, write_out

from benchmarks.scale.results import write_table
from mogface_batch.columns import decode_faces, encode_faces
from mogface_batch.errors import InputError
from mogface_batch.schema import SCHEMA_VERSION
from mogface_batch.table import flatten_faces, open_table

BOX, OTHER = [0, 0, 10, 20], [30, 30, 50, 60]


def rows_of(out, columns=None):
    return [row for batch in open_table(str(out)).batches(columns) for row in batch.to_pylist()]


def test_all_rows_come_in_the_order_of_the_parts_with_the_manifests_own_columns(tmp_path):
    extra = [pa.field("camera", pa.int64())]
    out = write_out(
        tmp_path / "out", [image(1, camera=7), image(2)], [image(3, status="undecodable")], extra=extra
    )

    assert [row["image_id"] for row in rows_of(out)] == ["1", "2", "3"]
    assert open_table(str(out)).read_counts() == (3, 0)
    assert rows_of(out, ["camera", "uri"])[0] == {"camera": 7, "uri": "/photos/1.jpg"}
    assert open_table(str(out)).lineage["fingerprint"] == "f" * 64
    assert [Path(address).name for address in open_table(str(out)).addresses] == [
        "part-0000.parquet",
        "part-0001.parquet",
    ]


def test_a_remote_folder_is_read_the_same(tmp_path):
    out = write_out(tmp_path / "out", [image(1, [BOX])])
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(out), "/bucket/out", recursive=True)
    try:
        assert rows_of("memory://bucket/out") == rows_of(out)
    finally:
        memory.rm("/bucket", recursive=True)


def test_faces_become_rows_of_their_own_and_nothing_becomes_none(tmp_path):
    rows = [
        image(1),
        image(2, some_faces(BOX, OTHER, landmarks=True)),
        image(3, status="fetch_failed"),
        image(4, [OTHER]),
    ]
    (batch,) = open_table(str(write_out(tmp_path / "out", rows))).batches()

    flat = flatten_faces(batch)

    assert flat.select(["image_id", "face", "x1", "width"]).to_pylist() == [
        {"image_id": "2", "face": 0, "x1": 0, "width": 640},
        {"image_id": "2", "face": 1, "x1": 30, "width": 640},
        {"image_id": "4", "face": 0, "x1": 30, "width": 640},
    ]
    assert flat.column("landmarks").to_pylist()[0][:2] == [1, 1]
    assert flat.column("landmarks").null_count == 1
    assert flatten_faces(batch.slice(2)).column("image_id").to_pylist() == ["4"]
    assert flatten_faces(batch.slice(0, 1)).num_rows == 0


def test_faces_go_into_a_column_and_come_out_again():
    faces = [None, some_faces(), some_faces(BOX, landmarks=True)]

    again = list(decode_faces(encode_faces(faces)))

    assert again[0] is None
    assert len(again[1]) == 0
    assert (again[2].landmarks == faces[2].landmarks).all()


def no_such_folder(tmp_path):
    return tmp_path / "none"


def an_empty_folder(tmp_path):
    (tmp_path / "out" / "detections").mkdir(parents=True)
    return tmp_path / "out"


def another_version(tmp_path):
    return write_out(tmp_path / "out", [image(1)], metadata=METADATA | {"mogface_batch.schema_version": "99"})


def another_version_in_a_later_part(tmp_path):
    out = write_out(tmp_path / "out", [image(1)])
    changed = part([image(2)]).replace_schema_metadata({"mogface_batch.schema_version": "99"})
    pq.write_table(changed, out / "detections/part-9.parquet")
    return out


def a_cut_part(tmp_path):
    out = write_out(tmp_path / "out", [image(1)], [image(number) for number in range(2, 200)])
    path = out / "detections/part-0001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    return out


def a_part_with_a_hole(tmp_path):
    """The footer is whole, the rows are not: as after a copy that stopped and went on."""
    out = write_out(tmp_path / "out", [image(number, [BOX] * 20) for number in range(300)])
    path = out / "detections/part-0000.parquet"
    content = bytearray(path.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    path.write_bytes(content)
    return out


def a_part_that_is_no_part(tmp_path):
    out = write_out(tmp_path / "out", [image(1)])
    pq.write_table(pa.table({"image_id": ["2"]}), out / "detections/part-9.parquet")
    return out


def a_folder_copied_half(tmp_path):
    out = write_out(tmp_path / "out", [image(1)], [image(2)])
    (out / "detections/part-0001.parquet").unlink()
    return out


def a_damaged_record(tmp_path):
    out = write_out(tmp_path / "out", [image(1)])
    (out / "run.json").write_text("{")
    return out


def other_columns_in_a_later_part(tmp_path):
    out = write_out(tmp_path / "out", [image(1, camera=1)], extra=[pa.field("camera", pa.int64())])
    pq.write_table(part([image(2)]).replace_schema_metadata(METADATA), out / "detections/part-9.parquet")
    return out


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (no_such_folder, "none has no rows"),
        (an_empty_folder, "has no rows"),
        (another_version, f"has schema version 99, this mogface-batch reads version {SCHEMA_VERSION}"),
        (another_version_in_a_later_part, r"part-9\.parquet has schema version 99"),
        (a_cut_part, r"part-0001\.parquet cannot be read as a part of a table"),
        (a_part_with_a_hole, r"part-0000\.parquet cannot be read as a part of a table"),
        (a_part_that_is_no_part, r"part-9\.parquet is not a part of a mogface-batch table"),
        (a_folder_copied_half, "has 1 rows, but its last run left 2: it was copied in part"),
        (a_damaged_record, r"run\.json is damaged"),
        (other_columns_in_a_later_part, "has no column 'camera'"),
    ],
)
def test_what_cannot_be_read_right_is_refused_with_a_sentence(tmp_path, make, says):
    with pytest.raises(InputError, match=says):
        rows_of(make(tmp_path))


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match="no column 'colour'; its columns are: image_id, uri"):
        rows_of(write_out(tmp_path / "out", [image(1)]), ["colour"])


def test_rows_that_were_forgotten_are_not_missed(tmp_path):
    out = write_out(tmp_path / "out", [image(1)])
    (out / "run.json").write_text(json.dumps({"table": {"rows": 2}}))
    (out / "forgotten").mkdir()
    (out / "forgotten/one.json").write_text("{}")

    assert len(rows_of(out)) == 1


def test_a_table_that_grew_since_its_last_run_is_read(tmp_path):
    out = write_out(tmp_path / "out", [image(1)], [image(2)])
    (out / "run.json").write_text(json.dumps({"table": {"rows": 1}}))

    assert len(rows_of(out)) == 2


def test_a_part_that_compact_took_away_meanwhile_is_a_sentence(tmp_path):
    out = write_out(tmp_path / "out", [image(1)], [image(2)])
    batches = open_table(str(out)).batches()
    next(batches)
    (out / "detections/part-0001.parquet").unlink()

    with pytest.raises(InputError, match=r"part-0001\.parquet does not exist any more: `compact`"):
        next(batches)


def test_one_row_group_of_many_rows_is_read_in_small_batches(tmp_path):
    out = write_table(tmp_path / "out", 60_000, rows_per_part=60_000)

    sizes = [batch.nbytes for batch in open_table(str(out)).batches()]

    assert len(sizes) > 3
    assert max(sizes) < 32 << 20


_PEAK = """
import sys
from mogface_batch.benchmark.machine import measure_peak_memory_mb
from mogface_batch.table import flatten_faces, open_table
rows = sum(flatten_faces(b).num_rows for b in open_table(sys.argv[1]).batches(["image_id", "uri", "width", "height", "faces"]))
assert rows
print(measure_peak_memory_mb())
"""


def test_twenty_times_the_rows_need_no_more_memory(tmp_path):
    def peak_mb(rows):
        out = write_table(tmp_path / str(rows), rows, rows_per_part=15_000)
        told = subprocess.run(
            [sys.executable, "-c", _PEAK, str(out)], capture_output=True, text=True, check=True
        )
        return float(told.stdout)

    assert peak_mb(300_000) - peak_mb(15_000) < 60
