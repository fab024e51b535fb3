"""Faces as an Arrow column (list<struct>, see `schema.FACE`) and back."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from mogface_batch.geometry import Faces
from mogface_batch.schema import FACE, LANDMARK_POINTS


def to_column(rows: Sequence[Faces | None]) -> pa.ListArray:
    """Return the column for these rows; None becomes null, no faces an empty list."""
    found = [faces for faces in rows if faces is not None]
    counts = [0 if faces is None else len(faces) for faces in rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(faces.boxes_xyxy for faces in found)])
    scores = np.concatenate([np.zeros(0, np.float32), *(faces.scores for faces in found)])
    values = pa.StructArray.from_arrays(
        [
            *(pa.array(boxes[:, side], pa.float32()) for side in range(4)),
            pa.array(scores, pa.float32()),
            _landmarks(found),
        ],
        fields=list(FACE),
    )
    missing = pa.array([faces is None for faces in rows], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=pa.list_(FACE), mask=missing)


def _landmarks(found: Iterable[Faces]) -> pa.FixedSizeListArray:
    width = 2 * LANDMARK_POINTS
    flat = [np.zeros((0, width), np.float32)]
    absent = [np.zeros(0, np.bool_)]
    for faces in found:
        has_none = faces.landmarks is None
        points = np.zeros((len(faces), width), np.float32) if faces.landmarks is None else faces.landmarks
        flat.append(points.reshape(-1, width))
        absent.append(np.full(len(faces), has_none))
    values = pa.array(np.concatenate(flat).astype(np.float32).ravel(), pa.float32())
    return pa.FixedSizeListArray.from_arrays(
        values, type=FACE.field("landmarks").type, mask=pa.array(np.concatenate(absent))
    )


def from_column(column: pa.Array | pa.ChunkedArray) -> Iterator[Faces | None]:
    """Yield the faces of each row, None for null."""
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        values = chunk.values
        boxes = np.stack([values.field(side).to_numpy(zero_copy_only=False) for side in range(4)], axis=1)
        scores = values.field(4).to_numpy(zero_copy_only=False)
        landmarks = values.field(5)
        # `values` does not know that the array may be a slice.
        points = landmarks.values.to_numpy(zero_copy_only=False).reshape(-1, LANDMARK_POINTS, 2)
        points = points[landmarks.offset : landmarks.offset + len(landmarks)]
        has_points = landmarks.is_valid().to_numpy(zero_copy_only=False)
        offsets = chunk.offsets.to_numpy()
        for row, valid in enumerate(chunk.is_valid().to_pylist()):
            span = slice(offsets[row], offsets[row + 1])
            with_points = has_points[span].all() and span.stop > span.start
            yield Faces(boxes[span], scores[span], points[span] if with_points else None) if valid else None
