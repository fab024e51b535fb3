"""Identical bytes are decoded and inferred once among rows that are prepared together: the others get copies."""

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

_RESULT = [
    column.name
    for column in (*PREPARED, *DETECTED)
    if column.name
    not in {"attempts", "sha256", "etag", "size_bytes", CANVAS, FETCH_S, DECODE_S, WAIT_S, INFER_S, SLOTS}
]
"""What depends on an image's bytes alone."""


def copy_duplicate_results(rows: pa.Table) -> pa.Table:
    """Return rows with the result of their like in those whose status is `SAME`.

    Args:
        rows: What `Prepare` or `Detect` gave.
    """
    statuses, digests = rows["status"].to_pylist(), rows["sha256"].to_pylist()
    if SAME not in statuses:
        return rows
    pairs = list(zip(statuses, digests, strict=True))
    like = {sha256: row for row, (status, sha256) in enumerate(pairs) if status not in {SAME, KNOWN}}
    source = pa.array([like[sha256] if status == SAME else row for row, (status, sha256) in enumerate(pairs)])
    for name in (name for name in _RESULT if name in rows.schema.names):
        column = rows[name].combine_chunks().take(source)
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows
