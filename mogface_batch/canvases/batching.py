"""How many canvases a session call takes, how many rows share a unit, and how many pass between processes at a time."""

import math
from collections.abc import Sequence

from mogface_batch.canvases.policies import POLICIES
from mogface_batch.config import JobConfig
from mogface_batch.geometry import HeightWidth

UNIT_CANVAS_BYTES = 96 * 1024**2
"""A unit's canvases flow as one block through the object store."""
LARGE_UNIT_CANVAS_BYTES = 256 * 1024**2
"""The limit where `UNIT_CANVAS_BYTES` gives too few rows to fill batches of several sizes."""
PADDED_SHARE = 0.04
"""At most this share of the canvases that a session sees should only fill batches, if memory allows it."""
TYPICAL_CANVAS_PX = 1_000_000
"""Assumed where the images decide the size of their canvases."""
MAX_ROWS_PER_UNIT = 512
MIN_ROWS_PER_UNIT = 8
MIN_ROWS_PER_CHUNK = 4
MIN_ROWS_PER_CHUNK_OF_SEVERAL_SIZES = 16
"""At the end of a chunk one lane waits for another, longer where sizes differ; more rows make that rarer."""


def choose_batch_size(config: JobConfig) -> int:
    """Return how many canvases a session call takes."""
    if config.detect.batch_size:
        return config.detect.batch_size
    return POLICIES[config.canvas.policy].choose_batch_size(is_gpu=config.detect.provider.is_gpu)


def runs_singly(config: JobConfig) -> bool:
    """Return whether each canvas is a batch by itself because the config names no batch size."""
    policy = POLICIES[config.canvas.policy]
    return config.detect.batch_size is None and policy.runs_singly(is_gpu=config.detect.provider.is_gpu)


def choose_rows_per_unit(config: JobConfig, canvases: Sequence[HeightWidth]) -> int:
    """Return how many rows share a part: as many as flow as one block, in whole batches.

    Args:
        config: Its batch, and `rows_per_part`.
        canvases: The canvases to choose from; empty where the images decide.
    """
    if config.rows_per_part:
        return config.rows_per_part
    batch = choose_batch_size(config)
    if batch > MAX_ROWS_PER_UNIT:
        return batch
    canvas_px = max((height * width for height, width in canvases), default=TYPICAL_CANVAS_PX)
    canvas_bytes = 3 * canvas_px * POLICIES[config.canvas.policy].typical_views
    # On average the last batch of each size is half empty.
    filling_rows = math.ceil(len(canvases) * (batch - 1) / 2 / PADDED_SHARE) if len(canvases) > 1 else 0
    rows = max(UNIT_CANVAS_BYTES // canvas_bytes, min(filling_rows, LARGE_UNIT_CANVAS_BYTES // canvas_bytes))
    rows = min(max(rows, MIN_ROWS_PER_UNIT), MAX_ROWS_PER_UNIT)
    return max(rows - rows % batch, batch)


def choose_chunk_rows(config: JobConfig, canvases: Sequence[HeightWidth], *, batch: int, lanes: int) -> int:
    """Return how many rows of a unit pass between the processes of the local engine at a time, in whole batches.

    Args:
        config: Says how many rows share a unit.
        canvases: The canvases to choose from; empty where the images decide.
        batch: Canvases of a session call, all lanes together.
        lanes: Parts of a batch that run at once.
    """
    has_several_sizes = len(canvases) > 1
    if has_several_sizes and batch > lanes:  # only a whole unit has enough rows to fill batches of each size
        return choose_rows_per_unit(config, canvases)
    rows = MIN_ROWS_PER_CHUNK_OF_SEVERAL_SIZES if has_several_sizes else MIN_ROWS_PER_CHUNK
    return -(-rows // batch) * batch
