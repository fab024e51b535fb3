"""Identical images are decoded and run once among rows that are prepared together; the other rows get copies."""

import pyarrow as pa

from mogface_batch.columns import (
    CANVAS,
    DECODE_S,
    DETECTED,
    FETCH_S,
    INFER_S,
    KNOWN,
    PREPARED,
    SAME,
    SLOTS,
    WAIT_S,
)

_RESULT_COLUMNS = [
    column.name
    for column in (*PREPARED, *DETECTED)
    if column.name
    not in {"attempts", "sha256", "etag", "size_bytes", CANVAS, FETCH_S, DECODE_S, WAIT_S, INFER_S, SLOTS}
]
"""The columns that depend on the bytes of an image alone."""


def copy_duplicate_results(rows: pa.Table) -> pa.Table:
    """Return the rows with each result copied to the rows with identical bytes, whose status is `SAME`.

    Args:
        rows: The result of `Prepare` or `Detect`.
    """
    statuses, digests = rows["status"].to_pylist(), rows["sha256"].to_pylist()
    if SAME not in statuses:
        return rows
    pairs = list(zip(statuses, digests, strict=True))
    originals = {sha256: row for row, (status, sha256) in enumerate(pairs) if status not in {SAME, KNOWN}}
    source_rows = pa.array(
        [originals[sha256] if status == SAME else row for row, (status, sha256) in enumerate(pairs)]
    )
    for name in (name for name in _RESULT_COLUMNS if name in rows.schema.names):
        column = rows[name].combine_chunks().take(source_rows)
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows
