"""Compare two output tables: which faces were added, lost, moved and rescored from A to B.

    open_table(A) --+                                   +-> pairs of rows -> Differences -> report
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
from mogface_batch.evaluation.join import BucketedRows, count_buckets, pair_rows
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
    """Return what changed from output folder A to B, as `differences.Differences.report` describes it.

    Args:
        output_a: Address of the folder that is the reference.
        output_b: Address of the other folder.
        min_score: Faces that score less are left out of both.
        top: How many of the most different images to name.

    Raises:
        InputError: A table cannot be read.
    """
    table_a, table_b = open_table(output_a), open_table(output_b)
    differences = Differences(top=top)
    with tempfile.TemporaryDirectory(prefix="mogface-batch-") as folder:
        spread_folder = Path(folder)
        buckets = max(count_buckets(*table_a.read_counts()), count_buckets(*table_b.read_counts()))
        rows_a = _spread_rows(table_a, spread_folder / "a", buckets, min_score)
        rows_b = _spread_rows(table_b, spread_folder / "b", buckets, min_score)
        with (
            BucketedRows(spread_folder / "unpaired-a", _ROWS, "uri", buckets) as unpaired_a,
            BucketedRows(spread_folder / "unpaired-b", _ROWS, "uri", buckets) as unpaired_b,
        ):
            for alone_a, alone_b in _join(rows_a, rows_b, "image_id", differences):
                unpaired_a.add(alone_a)
                unpaired_b.add(alone_b)
        paired_by_id = differences.pairs
        for alone_a, alone_b in _join(unpaired_a, unpaired_b, "uri", differences):
            differences.add_alone(alone_a.num_rows, alone_b.num_rows)
    return {
        "a": table_a.store.address,
        "b": table_b.store.address,
        "min_score": min_score,
        **differences.report(),
        "images_matched_by_uri": differences.pairs - paired_by_id,
    }


def _spread_rows(table: OutputTable, folder: Path, buckets: int, min_score: float) -> BucketedRows:
    with BucketedRows(folder, _ROWS, "image_id", buckets) as rows:
        for batch in _iterate_slim_rows(table, min_score):
            rows.add(batch)
    return rows


def _iterate_slim_rows(table: OutputTable, min_score: float) -> Iterator[pa.RecordBatch]:
    """Yield the rows with the columns `_ROWS`, without the faces that score too little."""
    for batch in table.batches(["image_id", "uri", "status", "sha256", "faces"]):
        faces = batch.column("faces")
        values = faces.flatten()
        is_kept = values.field(4).to_numpy(zero_copy_only=False) >= np.float32(min_score)
        ends = np.cumsum(faces.value_lengths().fill_null(0).to_numpy())
        kept_counts = np.concatenate([[0], np.cumsum(is_kept)])
        offsets = np.concatenate([[0], kept_counts[ends]]).astype(np.int32)
        mask = pa.array(is_kept)
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
    rows_a: BucketedRows, rows_b: BucketedRows, key: str, differences: Differences
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """Count the rows that both tables have; yield the rows that only one has."""
    for piece_a, piece_b in zip(rows_a.read_pieces(), rows_b.read_pieces(), strict=True):
        pairs_a, pairs_b, alone_a, alone_b = pair_rows(
            piece_a.column(key).to_pylist(), piece_b.column(key).to_pylist()
        )
        differences.add_pairs(_build_side(piece_a, pairs_a), _build_side(piece_b, pairs_b))
        yield piece_a.take(pa.array(alone_a)), piece_b.take(pa.array(alone_b))


def _build_side(piece: pa.RecordBatch, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Side:
    paired_rows = piece.take(pa.array(rows))
    faces = paired_rows.column("faces")
    values = faces.flatten()
    fields = [values.field(number).to_numpy(zero_copy_only=False) for number in range(5)]
    return Side(
        image_ids=paired_rows.column("image_id").to_pylist(),
        uris=paired_rows.column("uri").to_pylist(),
        is_ok=paired_rows.column("is_ok").to_numpy(zero_copy_only=False),
        sha256=paired_rows.column("sha256").to_pylist(),
        starts=np.concatenate([[0], np.cumsum(faces.value_lengths().fill_null(0).to_numpy())]),
        boxes_xyxy=np.stack(fields[:4], axis=1).astype(np.float32),
        scores=fields[4].astype(np.float32),
    )
