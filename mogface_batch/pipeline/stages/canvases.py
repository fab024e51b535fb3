"""Canvases as an Arrow column and back, copied as little as can be: they are nearly all that passes between stages."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Canvas = NDArray[np.uint8]


def to_column(canvases: Sequence[Canvas | None]) -> pa.Array:
    """Return the column for these rows: the bytes of each (H, W, 3) canvas one behind the other; None becomes null."""
    sizes = [0 if canvas is None else canvas.nbytes for canvas in canvases]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    # Not by `pa.array`, which copies all of it again whenever its buffer has become too small.
    pixels = np.empty(offsets[-1], np.uint8)
    for canvas, start, stop in zip(canvases, offsets, offsets[1:], strict=False):
        if canvas is not None:
            pixels[start:stop] = canvas.ravel()
    are_there = pa.array([canvas is not None for canvas in canvases], pa.bool_())
    buffers = [are_there.buffers()[1], pa.py_buffer(offsets), pa.py_buffer(pixels)]
    return pa.Array.from_buffers(pa.large_binary(), len(canvases), buffers)


def from_column(column: pa.ChunkedArray, rows: Sequence[int], canvas_hw: tuple[int, int]) -> Canvas:
    """Return (N, H, W, 3) canvases, without a copy where they lie one behind the other; not to be written to.

    Args:
        column: Of one chunk.
        rows: At least one, rising.
        canvas_hw: Of each of them.
    """
    shape = (len(rows), *canvas_hw, 3)
    chunk = column.chunk(0)
    offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    pixels = np.frombuffer(chunk.buffers()[2], np.uint8)
    first, last = offsets[rows[0]], offsets[rows[-1] + 1]
    if last - first == np.prod(shape):
        return pixels[first:last].reshape(shape)
    return np.stack([pixels[offsets[row] : offsets[row + 1]].reshape(shape[1:]) for row in rows])
