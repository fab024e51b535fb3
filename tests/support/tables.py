"""Output folders made by hand: what readers of the table are tested with."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch.columns import encode_faces
from mogface_batch.geometry import Faces
from mogface_batch.schema import SCHEMA_VERSION, build_output_schema

METADATA = {"mogface_batch.schema_version": str(SCHEMA_VERSION), "mogface_batch.fingerprint": "f" * 64}
POINTS = [[1, 1], [2, 1], [1.5, 1.5], [1, 2], [2, 2]]


def some_faces(*boxes, scores=None, landmarks=False) -> Faces:
    """Return faces with these x1 y1 x2 y2 boxes; scores fall from 0.9 by 0.1 unless given."""
    boxes_xyxy = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    given = scores if scores is not None else [0.9 - 0.1 * rank for rank in range(len(boxes_xyxy))]
    points = None
    if landmarks:
        points = boxes_xyxy[:, None, :2] + np.array(POINTS, dtype=np.float32)
    return Faces(boxes_xyxy, np.array(given, dtype=np.float32), points)


def image(image_id, faces=(), *, uri=None, hw=(480, 640), **columns) -> dict:
    """Return a row; ``faces`` is `Faces`, or boxes. ``status="undecodable"`` makes a failed one."""
    found = faces if isinstance(faces, Faces) else some_faces(*faces)
    row = {
        "image_id": str(image_id),
        "uri": uri or f"/photos/{image_id}.jpg",
        "status": "ok",
        "attempts": 1,
        "sha256": "0" * 64,
        "size_bytes": 1000,
        "format": "jpeg",
        "width": hw[1],
        "height": hw[0],
        "exif_orientation": 1,
        "canvas_width": hw[1],
        "canvas_height": hw[0],
        "scale": 1.0,
        "views": 1,
        "faces": found,
        "face_count": len(found),
    } | columns
    if row["status"] != "ok":
        row |= {"faces": None, "face_count": None, "width": None, "height": None}
    return row


def part(rows: Sequence[dict], extra: Sequence[pa.Field] = ()) -> pa.Table:
    """Return rows as a table with the output's schema, ``extra`` columns of the manifest last."""
    schema = build_output_schema(pa.schema(list(extra)))
    columns = [
        encode_faces([row.get("faces") for row in rows])
        if field.name == "faces"
        else pa.array([row.get(field.name) for row in rows], field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def write_out(out: Path, *parts: Sequence[dict], extra: Sequence[pa.Field] = (), metadata=METADATA) -> Path:
    """Write an output folder, each argument a part, and a record of its run; return it."""
    (out / "detections").mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(parts):
        table = part(rows, extra).replace_schema_metadata(metadata)
        pq.write_table(table, out / "detections" / f"part-{number:04}.parquet")
    rows_in_all = sum(map(len, parts))
    (out / "run.json").write_text(json.dumps({"run_id": "r", "table": {"rows": rows_in_all}}))
    return out
