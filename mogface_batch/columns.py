"""The columns that pass between the stages: their names, and faces and canvases as Arrow columns and back."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.geometry import Faces, HeightWidth
from mogface_batch.schema import FACE, INTERNAL, LANDMARK_POINTS, RESULT_COLUMNS

ENCODED = f"{INTERNAL}encoded"
"""The image's bytes, only where a picture will be drawn."""
CANVAS = f"{INTERNAL}canvas"
"""canvas_height x canvas_width x 3 bytes, RGB."""
CANDIDATES = f"{INTERNAL}candidates"
"""Faces in canvas pixels before NMS, null where the image failed."""
FETCH_S, DECODE_S, WAIT_S, INFER_S = (
    f"{INTERNAL}{stage}_s" for stage in ("fetch", "decode", "wait", "infer")
)
"""The time of an image by stage, summed in the receipt. `WAIT_S`: how long the session waited before the image."""
VIEW_COUNTS = f"{INTERNAL}view_counts"
"""How many of the candidates each view of the image has, in the order of its views."""
SLOTS = f"{INTERNAL}slots"
"""Canvases that the session ran for an image: more than one if its batch was not full."""

PREPARED = pa.schema(
    [
        *(
            column
            for column in RESULT_COLUMNS
            if column.name not in {"image_id", "uri", "faces", "face_count", "annotated_uri"}
        ),
        pa.field(ENCODED, pa.large_binary()),
        pa.field(CANVAS, pa.large_binary()),
        pa.field(FETCH_S, pa.float32()),
        pa.field(DECODE_S, pa.float32()),
    ]
)
"""What `stages/prepare.py` adds to the plan's columns."""

DETECTED = pa.schema(
    [
        pa.field(CANDIDATES, pa.list_(FACE)),
        pa.field(VIEW_COUNTS, pa.list_(pa.int32())),
        pa.field(WAIT_S, pa.float32()),
        pa.field(INFER_S, pa.float32()),
        pa.field(SLOTS, pa.float32()),
    ]
)
"""What `stages/detect.py` adds instead of the canvas."""


SAME = f"{INTERNAL}same"
"""Status of a row with the same bytes as another row of its unit: `Finish` copies the result of that row."""
KNOWN = f"{INTERNAL}known"
"""Status of a retried row whose bytes are the same as in the table: its result stays."""

BEFORE_PART, BEFORE_SHA256, BEFORE_ETAG, BEFORE_ATTEMPTS, COMPARED = (
    f"{INTERNAL}{name}"
    for name in ("before_part", "before_sha256", "before_etag", "before_attempts", "compared")
)
BEFORE = pa.schema(
    [
        pa.field(BEFORE_PART, pa.string()),
        pa.field(BEFORE_SHA256, pa.string()),
        pa.field(BEFORE_ETAG, pa.string()),
        pa.field(BEFORE_ATTEMPTS, pa.int32()),
        pa.field(COMPARED, pa.bool_()),
    ]
)
"""The columns of a retried row that say where it was and what was known. `COMPARED`: the image may have changed."""


# -- faces ----------------------------------------------------------------------------------------------------


def encode_faces(rows: Sequence[Faces | None]) -> pa.ListArray:
    """Return the column for these rows; None becomes null, no faces an empty list."""
    present = [faces for faces in rows if faces is not None]
    counts = [0 if faces is None else len(faces) for faces in rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(faces.boxes_xyxy for faces in present)])
    scores = np.concatenate([np.zeros(0, np.float32), *(faces.scores for faces in present)])
    values = pa.StructArray.from_arrays(
        [
            *(pa.array(boxes[:, side], pa.float32()) for side in range(4)),
            pa.array(scores, pa.float32()),
            _encode_landmarks(present),
        ],
        fields=list(FACE),
    )
    missing = pa.array([faces is None for faces in rows], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=pa.list_(FACE), mask=missing)


def _encode_landmarks(present: Iterable[Faces]) -> pa.FixedSizeListArray:
    width = 2 * LANDMARK_POINTS
    flat = [np.zeros((0, width), np.float32)]
    absent = [np.zeros(0, np.bool_)]
    for faces in present:
        has_none = faces.landmarks is None
        points = np.zeros((len(faces), width), np.float32) if faces.landmarks is None else faces.landmarks
        flat.append(points.reshape(-1, width))
        absent.append(np.full(len(faces), has_none))
    values = pa.array(np.concatenate(flat).astype(np.float32).ravel(), pa.float32())
    return pa.FixedSizeListArray.from_arrays(
        values, type=FACE.field("landmarks").type, mask=pa.array(np.concatenate(absent))
    )


def decode_faces(column: pa.Array | pa.ChunkedArray) -> Iterator[Faces | None]:
    """Yield the faces of each row, None for null."""
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        values = chunk.values
        boxes = np.stack([values.field(side).to_numpy(zero_copy_only=False) for side in range(4)], axis=1)
        scores = values.field(4).to_numpy(zero_copy_only=False)
        landmarks = values.field(5)
        # `landmarks.values` ignores the offset of a slice.
        points = landmarks.values.to_numpy(zero_copy_only=False).reshape(-1, LANDMARK_POINTS, 2)
        points = points[landmarks.offset : landmarks.offset + len(landmarks)]
        has_points = landmarks.is_valid().to_numpy(zero_copy_only=False)
        offsets = chunk.offsets.to_numpy()
        for row, valid in enumerate(chunk.is_valid().to_pylist()):
            span = slice(offsets[row], offsets[row + 1])
            with_points = has_points[span].all() and span.stop > span.start
            yield Faces(boxes[span], scores[span], points[span] if with_points else None) if valid else None


# -- canvases -------------------------------------------------------------------------------------------------

Canvas = NDArray[np.uint8]


def encode_canvases(canvases: Sequence[Canvas | None]) -> pa.Array:
    """Return the column for these rows: the bytes of each (V, H, W, 3) row's canvases, one after another; None becomes null."""
    sizes = [0 if canvas is None else canvas.nbytes for canvas in canvases]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Not with `pa.array`, which copies everything again each time its buffer is too small.
    pixels = np.empty(offsets[-1], np.uint8)
    for canvas, start, stop in zip(canvases, offsets, offsets[1:], strict=False):
        if canvas is not None:
            pixels[start:stop] = canvas.ravel()
    is_present = pa.array([canvas is not None for canvas in canvases], pa.bool_())
    buffers = [is_present.buffers()[1], pa.py_buffer(offsets), pa.py_buffer(pixels)]
    return pa.Array.from_buffers(pa.large_binary(), len(canvases), buffers)


def decode_canvases(
    column: pa.ChunkedArray, places: Sequence[tuple[int, int]], canvas_hw: HeightWidth
) -> Canvas:
    """Return (N, H, W, 3) canvases, not to be written to; not copied if they are next to each other.

    Args:
        column: A column of one chunk.
        places: Row and view of each canvas, at least one, rising.
        canvas_hw: The size of each canvas.
    """
    shape = (*canvas_hw, 3)
    canvas_bytes = int(np.prod(shape))
    chunk = column.chunk(0)
    offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    pixels = np.frombuffer(chunk.buffers()[2], np.uint8)
    starts = [offsets[row] + view * canvas_bytes for row, view in places]
    if starts[-1] - starts[0] == (len(places) - 1) * canvas_bytes:
        return pixels[starts[0] : starts[-1] + canvas_bytes].reshape(len(places), *shape)
    return np.stack([pixels[start : start + canvas_bytes].reshape(shape) for start in starts])
