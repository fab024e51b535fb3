"""Run the session on canvases."""

import time

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.detector import FaceDetector
from mogface_batch.geometry import Faces
from mogface_batch.pipeline.stages.job import CANVAS, DETECTED, Job
from mogface_batch.pipeline.watchdog import knows, watching
from mogface_batch.schema import Status
from mogface_batch.table.faces_column import to_column


class Detect:
    """Runs the session on what `Prepare` gave; replaces the canvases by candidates in canvas pixels."""

    def __init__(self, job: Job, model_path: str) -> None:
        self._detector = FaceDetector.open(
            model_path,
            provider=job.provider,
            threads=job.threads,
            batch_size=job.batch_size,
            canvas_hw=job.fitting.one_size,
        )
        self._score_at_least = job.score_at_least
        self._batch_size = job.batch_size

    def __call__(self, prepared: pa.Table, *, warm_up: bool = False) -> pa.Table:
        """Return the rows with `DETECTED` in the place of their canvases.

        Args:
            prepared: What `Prepare` gave.
            warm_up: Whether a blank canvas goes first where none of a size was run yet: then a hang on what follows
                is told from the time that a session takes to warm up.
        """
        prepared = prepared.combine_chunks()
        found: list[Faces | None] = [None] * prepared.num_rows
        infer_s = np.zeros(prepared.num_rows, np.float32)
        for canvas_hw, rows in _by_canvas(prepared).items():
            start = time.perf_counter()
            if warm_up and not knows((_WORK, canvas_hw)):
                self._run(np.zeros((1, *canvas_hw, 3), np.uint8))
            canvases = _canvases(prepared[CANVAS], rows, canvas_hw)
            for row, faces in zip(rows, self._run(canvases), strict=True):
                found[row] = faces
            infer_s[rows] = (time.perf_counter() - start) / len(rows)
        detected = prepared.drop_columns([CANVAS])
        for column, values in zip(DETECTED, (to_column(found), pa.array(infer_s)), strict=True):
            detected = detected.append_column(column, values)
        return detected

    def _run(self, canvases: NDArray[np.uint8]) -> list[Faces]:
        runs = -(-len(canvases) // self._batch_size)
        with watching((_WORK, canvases.shape[1:3]), runs, warms_up=True):
            return self._detector.detect_canvases(canvases, score_at_least=self._score_at_least)


_WORK = "detect"


def _by_canvas(prepared: pa.Table) -> dict[tuple[int, int], list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    columns = (prepared[name].to_pylist() for name in ("status", "canvas_height", "canvas_width"))
    for row, (status, height, width) in enumerate(zip(*columns, strict=True)):
        if status == Status.OK:
            groups.setdefault((height, width), []).append(row)
    return groups


def _canvases(column: pa.ChunkedArray, rows: list[int], canvas_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Return (N, H, W, 3) canvases, without a copy where they lie one behind the other."""
    shape = (len(rows), *canvas_hw, 3)
    chunk = column.chunk(0)
    offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    pixels = np.frombuffer(chunk.buffers()[2], np.uint8)
    first, last = offsets[rows[0]], offsets[rows[-1] + 1]
    if last - first == np.prod(shape):
        return pixels[first:last].reshape(shape)
    return np.stack([pixels[offsets[row] : offsets[row + 1]].reshape(shape[1:]) for row in rows])
