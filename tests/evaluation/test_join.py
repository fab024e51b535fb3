import pyarrow as pa
import pytest

from mogface_batch.evaluation.join import BucketedRows, count_buckets, pair_rows

SCHEMA = pa.schema([pa.field("key", pa.string()), pa.field("value", pa.int64())])


def batch(*keys):
    return pa.RecordBatch.from_pydict({"key": list(keys), "value": list(range(len(keys)))}, schema=SCHEMA)


def test_all_rows_come_back_and_those_of_a_key_together_in_their_order(tmp_path):
    keys = [f"k{number % 40}" for number in range(200)]
    with BucketedRows(tmp_path / "rows", SCHEMA, "key", 7) as rows:
        rows.add(batch())
        rows.add(batch(*keys[:100]))
        rows.add(batch(*keys[100:]))

    pieces = [piece.to_pylist() for piece in rows.read_pieces()]

    assert len(pieces) == 7
    assert sorted(row["key"] for piece in pieces for row in piece) == sorted(keys)
    for key in set(keys):
        (holder,) = [piece for piece in pieces if any(row["key"] == key for row in piece)]
        values = [row["value"] for row in holder if row["key"] == key]
        assert values == [number for number in range(100) if keys[number] == key] + [
            number - 100 for number in range(100, 200) if keys[number] == key
        ]


def test_two_tables_of_one_key_meet_in_the_same_piece(tmp_path):
    with (
        BucketedRows(tmp_path / "a", SCHEMA, "key", 5) as rows_a,
        BucketedRows(tmp_path / "b", SCHEMA, "key", 5) as rows_b,
    ):
        rows_a.add(batch("x", "y", "z"))
        rows_b.add(batch("z", "x"))

    for piece_a, piece_b in zip(rows_a.read_pieces(), rows_b.read_pieces(), strict=True):
        assert set(piece_b.column("key").to_pylist()) <= set(piece_a.column("key").to_pylist())


@pytest.mark.parametrize(
    ("keys_a", "keys_b", "pairs", "alone_a", "alone_b"),
    [
        ([], [], [], [], []),
        (["x"], [], [], [0], []),
        (["x", "y"], ["y", "z"], [(1, 0)], [0], [1]),
        (["x", "x", "x"], ["x", "x"], [(0, 0), (1, 1)], [2], []),
    ],
)
def test_equal_keys_are_paired_in_their_order(keys_a, keys_b, pairs, alone_a, alone_b):
    rows_a, rows_b, only_a, only_b = pair_rows(keys_a, keys_b)

    assert list(zip(rows_a.tolist(), rows_b.tolist(), strict=True)) == pairs
    assert (only_a.tolist(), only_b.tolist()) == (alone_a, alone_b)


def test_few_rows_take_one_file_and_many_no_more_than_can_be_open():
    assert count_buckets(0, 0) == 1
    assert count_buckets(1_000_000, 3_000_000) == 73
    assert count_buckets(10**9, 10**10) == 128
