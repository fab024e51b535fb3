"""`Detect`: runs the session on canvases. On a CPU each thread of a session runs its own canvases if that pays."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.columns import CANVAS, DETECTED, decode_canvases, encode_faces
from mogface_batch.detector import FaceDetector
from mogface_batch.faults.watchdog import watch
from mogface_batch.geometry import Faces, HeightWidth
from mogface_batch.schema import Status
from mogface_batch.stages.settings import StageSettings

_WORK = "detect"
LoadBatch = Callable[[], NDArray[np.uint8]]
"""Returns the canvases of a run, (N, H, W, 3) uint8 RGB."""


class Lanes:
    """A session that runs several parts of a batch at once; `settings.count_lanes` says how many pay.

    Args:
        open_session: Opens the session, given ``threads`` and ``batch_size``: `FaceDetector.open` with all else bound.
        threads: Threads of the session.
        batch_size: Canvases of a call, all lanes together.
        lanes: Parts of a batch that run at once; ``threads`` and ``batch_size`` are multiples of it.

    Raises:
        JobFault: ``open_session`` raised it.
    """

    def __init__(
        self, open_session: Callable[..., FaceDetector], *, threads: int, batch_size: int, lanes: int
    ) -> None:
        self._run_size = batch_size // lanes
        self._threads = ThreadPoolExecutor(lanes) if lanes > 1 else None
        self._session = open_session(threads=threads // lanes, batch_size=self._run_size)

    @property
    def run_size(self) -> int:
        """Canvases of one run."""
        return self._run_size

    def detect(self, runs: Sequence[LoadBatch], *, score_at_least: float) -> list[list[Faces]]:
        """Return the candidates of each canvas of each run; see `FaceDetector.detect_canvases`.

        Args:
            runs: Each returns at most `run_size` canvases of one size. They are called one by one, since each may copy
                its canvases. Pass runs of several sizes together: only at the end does one lane wait for another.
            score_at_least: As in `FaceDetector.detect_canvases`.

        Raises:
            DeviceError: A run failed on the device.
        """

        def detect_run(load_batch: LoadBatch) -> list[Faces]:
            return self._session.detect_canvases(load_batch(), score_at_least=score_at_least)

        return list(map(detect_run, runs) if self._threads is None else self._threads.map(detect_run, runs))


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of the session on canvases of one size."""

    canvas_hw: HeightWidth
    rows: list[int]
    load_batch: LoadBatch

    @property
    def canvas_px(self) -> int:
        """Pixels of one canvas; the time of a run is proportional to them, however full its batch is."""
        return self.canvas_hw[0] * self.canvas_hw[1]


class Detect:
    """The stage that replaces the canvases of `Prepare` by candidates in canvas pixels.

    Args:
        settings: What the stages need.
        model_path: The contract file.

    Raises:
        JobFault: The session cannot be opened.
    """

    def __init__(self, settings: StageSettings, model_path: str) -> None:
        open_session = functools.partial(
            FaceDetector.open,
            model_path,
            provider=settings.provider,
            canvas_hw=settings.canvas_policy.one_size,
        )
        self._session = Lanes(
            open_session, threads=settings.threads, batch_size=settings.batch_size, lanes=settings.lanes
        )
        self._score_at_least = settings.score_at_least
        self._unit: str | None = None
        self._unit_faces: dict[tuple[str, HeightWidth], Faces] = {}
        """The candidates of that unit, by the sha256 of the image and its canvas."""
        self._warm_sizes: set[HeightWidth] = set()
        """Canvas sizes that the session has run."""
        self._ended_s: float | None = None
        """When the last call ended; None before the first, which nobody waited for."""

    def __call__(self, prepared: pa.Table, *, unit: str | None = None, warm_up: bool = False) -> pa.Table:
        """Return the rows with `DETECTED` in the place of their canvases.

        Args:
            prepared: The result of `Prepare`.
            unit: The unit of the rows: bytes that were seen in it before are not run again; None: in no unit.
            warm_up: Whether to run a blank canvas of each new size first. The time to warm up is then not taken for a
                hang on an image.
        """
        waited_s = 0.0 if self._ended_s is None else time.perf_counter() - self._ended_s
        prepared = prepared.combine_chunks()
        row_faces: list[Faces | None] = [None] * prepared.num_rows
        infer_s, slots = np.zeros((2, prepared.num_rows), np.float32)
        digests = prepared["sha256"].to_pylist()
        new_rows = self._reuse_faces(_group_by_canvas(prepared), digests, row_faces, unit)
        start_s = time.perf_counter()
        if warm_up:
            for canvas_hw in set(new_rows) - self._warm_sizes:
                self._warm_up(canvas_hw)
        runs = self._plan_runs(prepared[CANVAS], new_rows)
        for run, run_faces in zip(runs, self._detect(runs), strict=True):
            for row, faces in zip(run.rows, run_faces, strict=True):
                row_faces[row] = self._unit_faces[digests[row], run.canvas_hw] = faces
            slots[run.rows] = self._session.run_size / len(run.rows)
            infer_s[run.rows] = run.canvas_px / len(run.rows)
        infer_s *= (time.perf_counter() - start_s) / max(infer_s.sum(), 1)
        wait_s = np.zeros(prepared.num_rows, np.float32)
        wait_s[:1] = waited_s
        detected = prepared.drop_columns([CANVAS])
        columns = (encode_faces(row_faces), pa.array(wait_s), pa.array(infer_s), pa.array(slots))
        for field, values in zip(DETECTED, columns, strict=True):
            detected = detected.append_column(field, values)
        self._ended_s = time.perf_counter()
        return detected

    def _reuse_faces(
        self,
        by_canvas: dict[HeightWidth, list[int]],
        digests: list[str],
        row_faces: list[Faces | None],
        unit: str | None,
    ) -> dict[HeightWidth, list[int]]:
        """Fill ``row_faces`` where the bytes were seen in this unit before; return the rows for the session."""
        if unit is None or unit != self._unit:
            self._unit_faces.clear()
        self._unit = unit
        new_rows: dict[HeightWidth, list[int]] = {}
        for canvas_hw, rows in by_canvas.items():
            for row in rows:
                row_faces[row] = self._unit_faces.get((digests[row], canvas_hw))
                if row_faces[row] is None:
                    new_rows.setdefault(canvas_hw, []).append(row)
        return new_rows

    def _plan_runs(self, canvases: pa.ChunkedArray, by_canvas: dict[HeightWidth, list[int]]) -> list[_Run]:
        """Return the runs of the session, the largest canvases first."""
        size = self._session.run_size
        return [
            _Run(canvas_hw, run_rows, functools.partial(decode_canvases, canvases, run_rows, canvas_hw))
            for canvas_hw, rows in sort_largest_first(by_canvas)
            for run_rows in (rows[start : start + size] for start in range(0, len(rows), size))
        ]

    def _warm_up(self, canvas_hw: HeightWidth) -> None:
        blank = np.zeros((1, *canvas_hw, 3), np.uint8)
        self._detect([_Run(canvas_hw, [0], lambda: blank)])

    def _detect(self, runs: Sequence[_Run]) -> list[list[Faces]]:
        if not runs:
            return []
        sizes = {run.canvas_hw for run in runs}
        with watch(_WORK, sum(run.canvas_px for run in runs), warms_up=not sizes <= self._warm_sizes):
            faces = self._session.detect(
                [run.load_batch for run in runs], score_at_least=self._score_at_least
            )
        self._warm_sizes |= sizes
        return faces


def sort_largest_first(by_canvas: Mapping[HeightWidth, list[int]]) -> list[tuple[HeightWidth, list[int]]]:
    """Return the rows of each canvas size, the largest canvases first, so that the last runs are short."""
    return sorted(by_canvas.items(), key=lambda item: -item[0][0] * item[0][1])


def _group_by_canvas(prepared: pa.Table) -> dict[HeightWidth, list[int]]:
    """Return the rows that have a canvas, by its size."""
    groups: dict[HeightWidth, list[int]] = {}
    columns = (prepared[name].to_pylist() for name in ("status", "canvas_height", "canvas_width"))
    for row, (status, height, width) in enumerate(zip(*columns, strict=True)):
        if status == Status.OK:
            groups.setdefault((height, width), []).append(row)
    return groups
