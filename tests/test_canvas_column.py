"""Tests of mogface_batch.columns: pixels come back as they were, and are not copied on the way."""

import numpy as np
import pyarrow as pa
import pytest
from networks import noise

from mogface_batch.columns import decode_canvases, encode_canvases
from mogface_batch.engines.local.shared_tables import load_table, save_table


def column_of(canvases):
    return pa.table({"canvas": encode_canvases(canvases)})["canvas"]


@pytest.mark.parametrize("canvases", [[], [None], [None, None]], ids=["no-row", "null", "nulls"])
def test_a_column_without_a_canvas(canvases):
    column = encode_canvases(canvases)

    column.validate(full=True)
    assert column.type == pa.large_binary()
    assert column.to_pylist() == canvases


def test_canvases_come_back_from_between_nulls_and_other_sizes(tmp_path):
    small, large = noise(3, (4, 8)), noise(2, (16, 6))
    table = pa.table(
        {"canvas": encode_canvases([None, small[0], large[0], small[1], None, large[1], small[2]])}
    )
    table["canvas"].chunk(0).validate(full=True)

    back = load_table(save_table(table, str(tmp_path)))["canvas"]

    assert [one is None for one in back.to_pylist()] == [True, False, False, False, True, False, False]
    np.testing.assert_array_equal(decode_canvases(back, [(1, 0), (3, 0), (6, 0)], (4, 8)), small)
    np.testing.assert_array_equal(decode_canvases(back, [(2, 0), (5, 0)], (16, 6)), large)


def test_canvases_that_lie_one_behind_the_other_are_not_copied():
    canvases = noise(4, (4, 8))
    column = column_of([None, *canvases[:2], None, *canvases[2:]])

    found = decode_canvases(column, [(row, 0) for row in (1, 2, 4, 5)], (4, 8))

    np.testing.assert_array_equal(found, canvases)
    assert np.shares_memory(found, np.frombuffer(column.chunk(0).buffers()[2], np.uint8))


def test_a_slice_knows_where_it_begins():
    canvases = noise(4, (4, 8))

    np.testing.assert_array_equal(
        decode_canvases(column_of(list(canvases)).slice(1, 2), [(0, 0), (1, 0)], (4, 8)), canvases[1:3]
    )


def test_a_canvas_that_is_no_block_of_memory_is_copied_right():
    canvas = noise(1, (8, 4))[0].transpose(1, 0, 2)

    np.testing.assert_array_equal(decode_canvases(column_of([canvas]), [(0, 0)], (4, 8))[0], canvas)


def test_the_views_of_a_row_are_next_to_each_other():
    views = noise(5, (4, 8))
    column = column_of([views[:3], None, views[3:]])

    for places, expected in (
        ([(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)], views),
        ([(0, 2), (2, 0)], views[2:4]),
        ([(0, 0), (0, 2), (2, 1)], views[[0, 2, 4]]),
    ):
        np.testing.assert_array_equal(decode_canvases(column, places, (4, 8)), expected)
