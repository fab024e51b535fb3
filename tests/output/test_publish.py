import json
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogface_batch import storage
from mogface_batch.errors import InputError, OutputError
from mogface_batch.output.parts import live_parts
from mogface_batch.output.publish import Receipt, change_part, publish_part
from mogface_batch.storage import local_store as store_module

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
    assert publish_part(store, PART, ROWS, {"fingerprint": "f", "model": "m"}) == (True, ROWS)

    assert live_parts(store) == {PART}
    found = pq.read_table(f"{store.address}/detections/{PART}")
    assert found.equals(ROWS)
    assert found.schema.metadata[b"mogface_batch.fingerprint"] == b"f"
    assert found.schema.metadata[b"mogface_batch.model"] == b"m"


def test_the_second_to_publish_a_part_is_told_and_changes_nothing(store):
    publish_part(store, PART, ROWS, {})

    is_ours, there = publish_part(store, PART, table(("z", "ok", 9)), {})
    assert not is_ours
    assert Receipt.of(PART, there, {}) == Receipt.of(PART, ROWS, {})


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

    with pytest.raises(
        InputError, match=f"{PART} cannot be read as a part of the table: the output folder is damaged"
    ):
        publish_part(store, PART, ROWS, {})


def test_a_part_that_has_vanished_is_refused_by_name(store):
    with pytest.raises(InputError, match=f"{PART} does not exist"):
        change_part(store, PART, lambda rows: rows)
    assert change_part(store, PART, lambda rows: rows, missing_ok=True) is None


# -- replacing -------------------------------------------------------------------------------------------------


def without_a(rows):
    left = rows.filter(pa.array([one != "a" for one in rows["image_id"].to_pylist()]))
    return left if left.num_rows < rows.num_rows else None


def test_a_part_is_replaced_with_all_that_it_says_but_the_counts(store):
    publish_part(store, PART, ROWS, {"fingerprint": "f", "provider": "cpu", "packages": "{}"})

    assert change_part(store, PART, without_a, environment='{"provider": "cuda"}') == PART

    file = pq.ParquetFile(f"{store.address}/detections/{PART}")
    assert file.read().equals(ROWS.slice(1))
    said = file.metadata.metadata
    assert said[b"mogface_batch.fingerprint"] == b"f"
    assert json.loads(said[b"mogface_batch.counts"]) == {
        "rows": 3, "faces": 0, "by_status": {"fetch_failed": 1, "ok": 1, "undecodable": 1}
    }  # fmt: skip
    assert len(json.loads(said[b"mogface_batch.environments"])) == 2


def test_a_part_with_nothing_to_change_is_not_touched(store):
    publish_part(store, PART, ROWS, {})
    before = store.read_versioned(f"detections/{PART}")

    assert change_part(store, PART, lambda _: None) is None
    assert store.read_versioned(f"detections/{PART}") == before


def test_a_change_is_made_again_on_what_another_process_has_put_there(store):
    publish_part(store, PART, ROWS, {})
    seen = []

    def change(rows):
        seen.append(rows["image_id"].to_pylist())
        if len(seen) == 1:
            change_part(store, PART, without_a)
        return rows.slice(0, rows.num_rows - 1)

    change_part(store, PART, change)

    assert seen == [["a", "b", "c", "d"], ["b", "c", "d"]]
    assert pq.read_table(f"{store.address}/detections/{PART}")["image_id"].to_pylist() == ["b", "c"]


def test_many_threads_that_each_remove_a_row_remove_all(store):
    ids = [f"{number}" for number in range(24)]
    publish_part(store, PART, table(*((one, "ok", 0) for one in ids)), {})

    def remove(gone):
        change_part(
            store,
            PART,
            lambda rows: rows.filter(pa.array([one != gone for one in rows["image_id"].to_pylist()])),
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remove, ids[:-1]))

    assert pq.read_table(f"{store.address}/detections/{PART}")["image_id"].to_pylist() == ids[-1:]


def test_a_receipt_is_plain_json():
    assert json.loads(Receipt.of(PART, ROWS, {"fetch": 0.5}).to_json())["seconds"] == {"fetch": 0.5}
