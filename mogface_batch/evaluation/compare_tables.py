"""Two output tables, told in faces: what was added, lost, moved and rescored from A to B.

    open_table(A) --+                                   +-> pairs of rows -> FaceDifferences -> report
                    +-> join.py: by image_id, then uri -+
    open_table(B) --+                                   +-> images that only one of them has

Rows are joined in temporary files, so that memory does not grow with the tables. Read `compare_tables` first.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mogface_batch.evaluation.differences import Differences, Side
from mogface_batch.evaluation.join import Spread, buckets_for, pair_rows
from mogface_batch.schema import FACE, Status
from mogface_batch.table import OutputTable, open_table

_BOX = pa.struct([FACE.field(number) for number in range(5)])
_ROWS = pa.schema(
    [
        pa.field("image_id", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("is_ok", pa.bool_()),
        pa.field("sha256", pa.string()),
        pa.field("faces", pa.list_(_BOX)),
    ]
)


def compare_tables(output_a: str, output_b: str, *, min_score: float = 0.0, top: int = 20) -> dict[str, Any]:
    """Return what changed from output folder A to B; `differences.Differences.report` says what is in it.

    Args:
        output_a: Address of the folder that is the reference.
        output_b: Address of the other folder.
        min_score: In both, faces that score less are left out.
        top: How many of the most different images to name.

    Raises:
        InputError: A table cannot be read.
    """
    table_a, table_b = open_table(output_a), open_table(output_b)
    found = Differences(top=top)
    with tempfile.TemporaryDirectory(prefix="mogface-batch-") as folder:
        place = Path(folder)
        buckets = max(buckets_for(*table_a.counts()), buckets_for(*table_b.counts()))
        rows_a = _spread(table_a, place / "a", buckets, min_score)
        rows_b = _spread(table_b, place / "b", buckets, min_score)
        with (
            Spread(place / "left-a", _ROWS, "uri", buckets) as left_a,
            Spread(place / "left-b", _ROWS, "uri", buckets) as left_b,
        ):
            for alone_a, alone_b in _join(rows_a, rows_b, "image_id", found):
                left_a.add(alone_a)
                left_b.add(alone_b)
        before = found.pairs
        for alone_a, alone_b in _join(left_a, left_b, "uri", found):
            found.add_alone(alone_a.num_rows, alone_b.num_rows)
    return {
        "a": table_a.store.address,
        "b": table_b.store.address,
        "min_score": min_score,
        **found.report(),
        "images_matched_by_uri": found.pairs - before,
    }


def _spread(table: OutputTable, folder: Path, buckets: int, min_score: float) -> Spread:
    with Spread(folder, _ROWS, "image_id", buckets) as rows:
        for batch in _slim(table, min_score):
            rows.add(batch)
    return rows


def _slim(table: OutputTable, min_score: float) -> Iterator[pa.RecordBatch]:
    """Yield the rows as `_ROWS`, without the faces that score too little."""
    for batch in table.batches(["image_id", "uri", "status", "sha256", "faces"]):
        faces = batch.column("faces")
        values = faces.flatten()
        wanted = values.field(4).to_numpy(zero_copy_only=False) >= np.float32(min_score)
        ends = np.cumsum(faces.value_lengths().fill_null(0).to_numpy())
        kept_before = np.concatenate([[0], np.cumsum(wanted)])
        offsets = np.concatenate([[0], kept_before[ends]]).astype(np.int32)
        mask = pa.array(wanted)
        boxes = pa.StructArray.from_arrays(
            [values.field(number).filter(mask) for number in range(5)], fields=list(_BOX)
        )
        is_ok = [status == Status.OK for status in batch.column("status").to_pylist()]
        columns = [
            batch.column("image_id"),
            batch.column("uri"),
            pa.array(is_ok),
            batch.column("sha256"),
            pa.ListArray.from_arrays(pa.array(offsets), boxes, type=_ROWS.field("faces").type),
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=_ROWS)


def _join(
    rows_a: Spread, rows_b: Spread, key: str, found: Differences
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Count the rows that both have, and yield those that have no partner."""
    for piece_a, piece_b in zip(rows_a.pieces(), rows_b.pieces(), strict=True):
        pairs_a, pairs_b, alone_a, alone_b = pair_rows(
            piece_a.column(key).to_pylist(), piece_b.column(key).to_pylist()
        )
        found.add_pairs(_side(piece_a, pairs_a), _side(piece_b, pairs_b))
        yield piece_a.take(pa.array(alone_a)), piece_b.take(pa.array(alone_b))


def _side(piece: pa.RecordBatch, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Side:
    chosen = piece.take(pa.array(rows))
    faces = chosen.column("faces")
    values = faces.flatten()
    fields = [values.field(number).to_numpy(zero_copy_only=False) for number in range(5)]
    return Side(
        image_ids=chosen.column("image_id").to_pylist(),
        uris=chosen.column("uri").to_pylist(),
        is_ok=chosen.column("is_ok").to_numpy(zero_copy_only=False),
        sha256=chosen.column("sha256").to_pylist(),
        starts=np.concatenate([[0], np.cumsum(faces.value_lengths().fill_null(0).to_numpy())]),
        boxes_xyxy=np.stack(fields[:4], axis=1).astype(np.float32),
        scores=fields[4].astype(np.float32),
    )
