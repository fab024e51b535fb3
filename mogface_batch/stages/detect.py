"""Run the session on canvases."""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mogface_batch.columns import CANVAS, DETECTED, canvases_from_column, faces_to_column
from mogface_batch.detector import FaceDetector
from mogface_batch.faults.watchdog import watching
from mogface_batch.geometry import Faces
from mogface_batch.schema import Status
from mogface_batch.stages.lanes import Batch, HeightWidth, Lanes, largest_first
from mogface_batch.stages.settings import StageSettings

_WORK = "detect"


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of the session, on canvases of one size."""

    canvas_hw: HeightWidth
    rows: list[int]
    batch: Batch

    @property
    def px(self) -> int:
        """Pixels of a canvas: the session's time follows them, however full the batch is."""
        return self.canvas_hw[0] * self.canvas_hw[1]


class Detect:
    """Runs the session on what `Prepare` gave; replaces the canvases by candidates in canvas pixels."""

    def __init__(self, job: StageSettings, model_path: str) -> None:
        opened = functools.partial(
            FaceDetector.open,
            model_path,
            provider=job.provider,
            canvas_hw=job.canvas_policy.one_size,
        )
        self._session = Lanes(opened, threads=job.threads, batch_size=job.batch_size, lanes=job.lanes)
        self._score_at_least = job.score_at_least
        self._unit: str | None = None
        self._known: dict[tuple[str, HeightWidth], Faces] = {}
        """What was found in that unit, by the bytes of the image and its canvas."""
        self._seen: set[HeightWidth] = set()
        """The session is warm for these."""
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
        unknown = self._unknown(_by_canvas(prepared), digests, found, unit)
        start = time.perf_counter()
        if warm_up:
            for canvas_hw in set(unknown) - self._seen:
                self._warm_up(canvas_hw)
        runs = self._runs(prepared[CANVAS], unknown)
        for run, some in zip(runs, self._run(runs), strict=True):
            for row, faces in zip(run.rows, some, strict=True):
                found[row] = self._known[digests[row], run.canvas_hw] = faces
            slots[run.rows] = self._session.run_size / len(run.rows)
            infer_s[run.rows] = run.px / len(run.rows)
        infer_s *= (time.perf_counter() - start) / max(infer_s.sum(), 1)
        wait_s = np.zeros(prepared.num_rows, np.float32)
        wait_s[:1] = waited_s
        detected = prepared.drop_columns([CANVAS])
        columns = (faces_to_column(found), pa.array(wait_s), pa.array(infer_s), pa.array(slots))
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

    def _runs(self, column: pa.ChunkedArray, by_canvas: dict[HeightWidth, list[int]]) -> list[_Run]:
        """Return the runs of the session, the largest canvases first."""
        size = self._session.run_size
        return [
            _Run(canvas_hw, some, functools.partial(canvases_from_column, column, some, canvas_hw))
            for canvas_hw, rows in largest_first(by_canvas)
            for some in (rows[start : start + size] for start in range(0, len(rows), size))
        ]

    def _warm_up(self, canvas_hw: HeightWidth) -> None:
        blank = np.zeros((1, *canvas_hw, 3), np.uint8)
        self._run([_Run(canvas_hw, [0], lambda: blank)])

    def _run(self, runs: Sequence[_Run]) -> list[list[Faces]]:
        if not runs:
            return []
        sizes = {run.canvas_hw for run in runs}
        with watching(_WORK, sum(run.px for run in runs), warms_up=not sizes <= self._seen):
            found = self._session.detect([run.batch for run in runs], score_at_least=self._score_at_least)
        self._seen |= sizes
        return found


def _by_canvas(prepared: pa.Table) -> dict[HeightWidth, list[int]]:
    groups: dict[HeightWidth, list[int]] = {}
    columns = (prepared[name].to_pylist() for name in ("status", "canvas_height", "canvas_width"))
    for row, (status, height, width) in enumerate(zip(*columns, strict=True)):
        if status == Status.OK:
            groups.setdefault((height, width), []).append(row)
    return groups
