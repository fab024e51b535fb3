"""A table with one row for each face, for queries about faces."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from mogface_batch.schema import FACE

IMAGE_COLUMNS = ("image_id", "uri", "width", "height")
"""The columns of the image in a face's row."""


def flatten_schema(schema: pa.Schema, image_columns: Sequence[str] = IMAGE_COLUMNS) -> pa.Schema:
    """Return the schema of `flatten_faces` for a table's schema."""
    return pa.schema([*(schema.field(name) for name in image_columns), pa.field("face", pa.int32()), *FACE])


def flatten_faces(batch: pa.RecordBatch, image_columns: Sequence[str] = IMAGE_COLUMNS) -> pa.RecordBatch:
    """Return one row for each face: the image's columns, the face's number from 0 (best first), x1 ... landmarks.

    An image without faces, or that failed, has no row.

    Args:
        batch: With the column ``faces`` and ``image_columns``.
        image_columns: What to repeat for each face.
    """
    faces = batch.column("faces")
    counts = faces.value_lengths().fill_null(0).to_numpy()
    owners = np.repeat(np.arange(len(counts)), counts)
    firsts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    numbers = np.arange(len(owners)) - firsts[owners]
    values = faces.flatten()
    rows = pa.array(owners, pa.int64())
    columns = [batch.column(name).take(rows) for name in image_columns]
    columns.append(pa.array(numbers, pa.int32()))
    columns.extend(values.field(number) for number in range(FACE.num_fields))
    return pa.RecordBatch.from_arrays(columns, schema=flatten_schema(batch.schema, image_columns))
