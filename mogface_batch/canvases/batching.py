"""How many canvases a session call takes, how many rows share a unit, and how many pass between processes at a time."""

import math
from collections.abc import Sequence

from mogface_batch.config import JobConfig, Policy

DEFAULT_BATCH = 8
UNIT_CANVAS_BYTES = 96 * 1024**2
"""A unit's canvases flow as one block through the object store."""
LARGE_UNIT_CANVAS_BYTES = 256 * 1024**2
"""Where that leaves too few rows to fill batches of several sizes."""
PADDED_SHARE = 0.04
"""Of the canvases that a session sees, so many at most are to fill batches, if memory allows it."""
TYPICAL_NATIVE_PX = 1_000_000
MOST_ROWS_PER_UNIT = 512
FEW_ROWS_PER_UNIT = 8
FEW_ROWS_PER_CHUNK = 4
FEW_ROWS_PER_CHUNK_OF_SEVERAL_SIZES = 16
"""At its end one lane waits for another, longer where sizes differ: less often with more rows."""
HeightWidth = tuple[int, int]


def batch_size(config: JobConfig) -> int:
    """Return how many canvases a session call takes."""
    if config.detect.batch_size:
        return config.detect.batch_size
    return 1 if runs_singly(config) or config.canvas.policy is Policy.NATIVE else DEFAULT_BATCH


def runs_singly(config: JobConfig) -> bool:
    """Whether each canvas is a batch of its own, since nobody wishes otherwise.

    A CPU is no faster with many at a time, and of each size the last batch of a unit would be half empty.
    """
    by_default = config.detect.batch_size is None and not config.detect.provider.is_gpu
    return by_default and config.canvas.policy is Policy.BUCKETS


def rows_per_unit(config: JobConfig, canvases: Sequence[HeightWidth]) -> int:
    """Return how many rows share a part: as many as flow as one block, in whole batches.

    Args:
        config: Its batch, and `rows_per_part`.
        canvases: What an image is put on; none for policy native.
    """
    if config.rows_per_part:
        return config.rows_per_part
    batch = batch_size(config)
    if batch > MOST_ROWS_PER_UNIT:
        return batch
    canvas_bytes = 3 * max((height * width for height, width in canvases), default=TYPICAL_NATIVE_PX)
    # The last batch of each size is half empty, by and large.
    filling = math.ceil(len(canvases) * (batch - 1) / 2 / PADDED_SHARE) if len(canvases) > 1 else 0
    rows = max(UNIT_CANVAS_BYTES // canvas_bytes, min(filling, LARGE_UNIT_CANVAS_BYTES // canvas_bytes))
    rows = min(max(rows, FEW_ROWS_PER_UNIT), MOST_ROWS_PER_UNIT)
    return max(rows - rows % batch, batch)


def chunk_rows(config: JobConfig, canvases: Sequence[HeightWidth], *, batch: int, lanes: int) -> int:
    """Return how many rows of a unit pass between the processes of the local engine at a time, in whole batches.

    Args:
        config: Says how many rows share a unit.
        canvases: What an image is put on; none for policy native.
        batch: Canvases of a session call, all lanes together.
        lanes: Parts of a batch that run at once.
    """
    has_several_sizes = len(canvases) > 1
    if has_several_sizes and batch > lanes:  # only many together fill batches of each
        return rows_per_unit(config, canvases)
    few = FEW_ROWS_PER_CHUNK_OF_SEVERAL_SIZES if has_several_sizes else FEW_ROWS_PER_CHUNK
    return -(-few // batch) * batch
