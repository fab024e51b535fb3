"""Run the session on canvases."""

import functools
import time

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.detector import FaceDetector
from mogface_batch.geometry import Faces
from mogface_batch.pipeline.stages.canvases import from_column
from mogface_batch.pipeline.stages.job import CANVAS, DETECTED, Job
from mogface_batch.pipeline.stages.lanes import Lanes
from mogface_batch.pipeline.watchdog import knows, watching
from mogface_batch.schema import Status
from mogface_batch.table.faces_column import to_column

HeightWidth = tuple[int, int]
_WORK = "detect"


class Detect:
    """Runs the session on what `Prepare` gave; replaces the canvases by candidates in canvas pixels."""

    def __init__(self, job: Job, model_path: str) -> None:
        opened = functools.partial(
            job.open_detector or FaceDetector.open,
            model_path,
            provider=job.provider,
            canvas_hw=job.fitting.one_size,
        )
        self._session = Lanes(opened, threads=job.threads, batch_size=job.batch_size, lanes=job.lanes)
        self._score_at_least = job.score_at_least
        self._unit: str | None = None
        self._known: dict[tuple[str, HeightWidth], Faces] = {}
        """What was found in that unit, by the bytes of the image and its canvas."""
        self._ended: float | None = None
        """When the last call did; nobody waits for the first."""

    def __call__(self, prepared: pa.Table, *, unit: str | None = None, warm_up: bool = False) -> pa.Table:
        """Return the rows with `DETECTED` in the place of their canvases.

        Args:
            prepared: What `Prepare` gave.
            unit: Whose rows they are: bytes that were seen in it before are not inferred again; None: of none.
            warm_up: Whether a blank canvas goes first where none of a size was run yet: then a hang on what follows
                is told from the time that a session takes to warm up.
        """
        waited_s = 0.0 if self._ended is None else time.perf_counter() - self._ended
        prepared = prepared.combine_chunks()
        found: list[Faces | None] = [None] * prepared.num_rows
        infer_s, slots = np.zeros((2, prepared.num_rows), np.float32)
        digests = prepared["sha256"].to_pylist()
        for canvas_hw, rows in self._unknown(_by_canvas(prepared), digests, found, unit).items():
            start = time.perf_counter()
            if warm_up and not knows((_WORK, canvas_hw)):
                self._run(np.zeros((1, *canvas_hw, 3), np.uint8))
            canvases = from_column(prepared[CANVAS], rows, canvas_hw)
            for row, faces in zip(rows, self._run(canvases), strict=True):
                found[row] = self._known[digests[row], canvas_hw] = faces
            infer_s[rows] = (time.perf_counter() - start) / len(rows)
            slots[rows] = self._session.slots(len(rows)) / len(rows)
        wait_s = np.zeros(prepared.num_rows, np.float32)
        wait_s[:1] = waited_s
        detected = prepared.drop_columns([CANVAS])
        columns = (to_column(found), pa.array(wait_s), pa.array(infer_s), pa.array(slots))
        for column, values in zip(DETECTED, columns, strict=True):
            detected = detected.append_column(column, values)
        self._ended = time.perf_counter()
        return detected

    def _unknown(
        self,
        by_canvas: dict[HeightWidth, list[int]],
        digests: list[str],
        found: list[Faces | None],
        unit: str | None,
    ) -> dict[HeightWidth, list[int]]:
        """Return the rows that the session must see, and put into ``found`` what is known of the others."""
        if unit is None or unit != self._unit:
            self._known.clear()
        self._unit = unit
        unknown: dict[HeightWidth, list[int]] = {}
        for canvas_hw, rows in by_canvas.items():
            for row in rows:
                found[row] = self._known.get((digests[row], canvas_hw))
                if found[row] is None:
                    unknown.setdefault(canvas_hw, []).append(row)
        return unknown

    def _run(self, canvases: NDArray[np.uint8]) -> list[Faces]:
        with watching((_WORK, canvases.shape[1:3]), self._session.runs(len(canvases)), warms_up=True):
            return self._session.detect(canvases, score_at_least=self._score_at_least)


def _by_canvas(prepared: pa.Table) -> dict[HeightWidth, list[int]]:
    groups: dict[HeightWidth, list[int]] = {}
    columns = (prepared[name].to_pylist() for name in ("status", "canvas_height", "canvas_width"))
    for row, (status, height, width) in enumerate(zip(*columns, strict=True)):
        if status == Status.OK:
            groups.setdefault((height, width), []).append(row)
    return groups
