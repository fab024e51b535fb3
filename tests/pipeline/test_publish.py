import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogface_batch import storage
from mogface_batch.errors import InputError, OutputError
from mogface_batch.pipeline.publish import Receipt, publish_part, receipt_of_part
from mogface_batch.storage import store as store_module
from mogface_batch.table import live_parts

PART = "part-0123456789abcdef01234567.parquet"
names = st.text(max_size=5)


@pytest.fixture
def store(tmp_path) -> storage.Store:
    return storage.open_store(str(tmp_path / "out"))


def table(*rows: tuple[str, str, int | None]) -> pa.Table:
    schema = pa.schema([("image_id", pa.string()), ("status", pa.string()), ("face_count", pa.int32())])
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


ROWS = table(("a", "ok", 2), ("b", "undecodable", None), ("c", "ok", 0), ("d", "fetch_failed", None))


@given(
    st.builds(
        Receipt,
        part=names,
        rows=st.integers(0, 2**40),
        by_status=st.dictionaries(names, st.integers(0, 2**40), max_size=3),
        faces=st.integers(0, 2**40),
        seconds=st.dictionaries(names, st.floats(0, 1e9), max_size=3),
        failed_ids=st.lists(names, max_size=3),
    )
)
def test_a_receipt_comes_back_from_one_line_of_text(receipt):
    text = receipt.to_json()

    assert "\n" not in text
    assert Receipt.from_json(text) == receipt


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(table(), Receipt(PART, 0, {}, 0), id="no-rows"),
        pytest.param(table(("a", "ok", 0)), Receipt(PART, 1, {"ok": 1}, 0), id="none-found"),
        pytest.param(
            table(("a", "undecodable", None)),
            Receipt(PART, 1, {"undecodable": 1}, 0, {}, ["a"]),
            id="all-failed",
        ),
        pytest.param(
            ROWS,
            Receipt(PART, 4, {"fetch_failed": 1, "ok": 2, "undecodable": 1}, 2, {}, ["b", "d"]),
            id="mixed",
        ),
    ],
)
def test_a_receipt_counts_rows_faces_and_what_failed(rows, expected):
    assert Receipt.of(PART, rows, {}) == expected


def test_a_part_appears_whole_and_says_what_made_it(store):
    assert publish_part(store, PART, ROWS, {"fingerprint": "f", "model": "m"}) is True

    assert live_parts(store) == {PART}
    found = pq.read_table(f"{store.address}/detections/{PART}")
    assert found.equals(ROWS)
    assert found.schema.metadata[b"mogface_batch.fingerprint"] == b"f"
    assert found.schema.metadata[b"mogface_batch.model"] == b"m"


def test_the_second_to_publish_a_part_is_told_and_changes_nothing(store):
    publish_part(store, PART, ROWS, {})

    assert publish_part(store, PART, table(("z", "ok", 9)), {}) is False
    assert receipt_of_part(store, PART) == Receipt.of(PART, ROWS, {})


def test_a_store_that_refuses_leaves_no_part(store, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)

    with pytest.raises(OutputError, match="No space left on device"):
        publish_part(store, PART, ROWS, {})
    assert live_parts(store) == set()


def test_only_parts_are_parts(store):
    for name in ("part-1.parquet", "part-2.parquet.tmp", "other.parquet", "_SUCCESS"):
        store.create(f"detections/{name}", b"")

    assert live_parts(store) == {"part-1.parquet"}


def test_no_folder_has_no_parts(store):
    assert live_parts(store) == set()


def parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="none", use_dictionary=False)
    return sink.getvalue().to_pybytes()


def with_a_damaged_page() -> bytes:
    content = bytearray(parquet(table(*((f"{number:040}", "ok", 1) for number in range(1000)))))
    content[4:30_000] = b"\xff" * (30_000 - 4)
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"PAR1 no Parquet PAR1", id="garbage"),
        pytest.param(parquet(pa.table({"x": [1]})), id="another-table"),
        pytest.param(parquet(ROWS.drop_columns("face_count")), id="a-column-missing"),
        pytest.param(with_a_damaged_page(), id="a-damaged-page"),
    ],
)
def test_a_damaged_part_is_refused_by_name(store, content):
    store.create(f"detections/{PART}", content)

    with pytest.raises(InputError, match=f"{PART} is no part of the table: the output folder is damaged"):
        receipt_of_part(store, PART)


def test_a_part_that_has_vanished_is_refused_by_name(store):
    with pytest.raises(InputError, match=f"{PART} has vanished"):
        receipt_of_part(store, PART)


def test_a_receipt_is_plain_json():
    assert json.loads(Receipt.of(PART, ROWS, {"fetch": 0.5}).to_json())["seconds"] == {"fetch": 0.5}
