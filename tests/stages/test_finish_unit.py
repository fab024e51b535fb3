"""Tests of `finish_unit` in mogface_batch.stages.finish: a picture that kills is left out, its row is not."""

import pyarrow as pa

from mogface_batch.columns import ENCODED
from mogface_batch.stages.finish import drop_pictures


def table():
    return pa.table(
        {
            "image_id": ["a", "b", "c"],
            "error_code": pa.array([None, None, "not_found"], pa.string()),
            "error_message": pa.array([None, None, "gone"], pa.string()),
            ENCODED: pa.array([b"A", b"B", None], pa.large_binary()),
        }
    )


def test_rows_that_are_not_quarantined_stay_as_they_are():
    assert drop_pictures(table(), {}).equals(table())


def test_a_quarantined_row_has_nothing_to_draw_and_says_why():
    rows = drop_pictures(table(), {1: "It killed."})

    assert rows.schema.equals(table().schema)
    assert rows.to_pylist() == [
        {"image_id": "a", "error_code": None, "error_message": None, ENCODED: b"A"},
        {
            "image_id": "b",
            "error_code": "picture_killed_worker",
            "error_message": "It killed.",
            ENCODED: None,
        },
        {"image_id": "c", "error_code": "not_found", "error_message": "gone", ENCODED: None},
    ]
