"""`Detect`: runs the session on canvases. On a CPU each thread of a session runs its own canvases if that pays."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.columns import CANVAS, DETECTED, ENCODED, decode_canvases, encode_faces
from mogface_batch.detector import FaceDetector
from mogface_batch.errors import ErrorCode, RowFault
from mogface_batch.faults.death_limits import MAX_DEATHS_ALONE
from mogface_batch.faults.watchdog import watch
from mogface_batch.geometry import Faces, HeightWidth, concatenate_faces
from mogface_batch.schema import Status, choose_status
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
    """The row of each canvas; a row with several views has several canvases."""
    load_batch: LoadBatch

    @property
    def canvas_px(self) -> int:
        """Pixels of one canvas; the time of a run is proportional to them, however full its batch is."""
        return self.canvas_hw[0] * self.canvas_hw[1]


class _Results:
    """What the session has found for the rows of a table, and what it took."""

    def __init__(self, row_count: int) -> None:
        self.faces: list[list[Faces] | None] = [None] * row_count
        """Of each view; None for a row that the session did not run."""
        self.faults: dict[int, tuple[Status, str, str]] = {}
        """Row -> status, error code and message, where the views could not be cut."""
        self.px, self.slots = np.zeros((2, row_count), np.float32)

    def add(self, run: _Run, run_faces: list[Faces], run_size: int) -> None:
        """Add the faces of the canvases of a run, which follow those of its earlier runs."""
        for row, faces in zip(run.rows, run_faces, strict=True):
            views = self.faces[row] or []
            views.append(faces)
            self.faces[row] = views
        np.add.at(self.slots, run.rows, run_size / len(run.rows))
        np.add.at(self.px, run.rows, run.canvas_px * run_size / len(run.rows))

    def append_to(self, rows: pa.Table, *, infer_s: float, wait_s: float) -> pa.Table:
        """Return the rows with `DETECTED`; the time is shared out by the pixels that each row took."""
        counts = [None if views is None else [len(faces) for faces in views] for views in self.faces]
        waits_s = np.zeros(len(self.faces), np.float32)
        waits_s[:1] = wait_s
        columns = (
            encode_faces([None if views is None else concatenate_faces(views) for views in self.faces]),
            pa.array(counts, pa.list_(pa.int32())),
            pa.array(waits_s),
            pa.array((self.px * infer_s / max(self.px.sum(), 1)).astype(np.float32)),
            pa.array(self.slots),
        )
        for field, values in zip(DETECTED, columns, strict=True):
            rows = rows.append_column(field, values)
        for name, position in (("status", 0), ("error_code", 1), ("error_message", 2)) if self.faults else ():
            texts = rows[name].to_pylist()
            for row, fault in self.faults.items():
                texts[row] = fault[position]
            index = rows.schema.get_field_index(name)
            rows = rows.set_column(index, rows.schema.field(name), pa.array(texts, pa.string()))
        return rows


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
        self._settings = settings
        self._session = Lanes(
            open_session, threads=settings.threads, batch_size=settings.batch_size, lanes=settings.lanes
        )
        self._unit: str | None = None
        self._unit_faces: dict[tuple[str, HeightWidth], list[Faces]] = {}
        """The candidates of that unit, view by view, by the sha256 of the image and its canvas."""
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
        wait_s = 0.0 if self._ended_s is None else time.perf_counter() - self._ended_s
        prepared = prepared.combine_chunks()
        results, digests = _Results(prepared.num_rows), prepared["sha256"].to_pylist()
        new_rows = self._reuse_faces(_group_by_canvas(prepared), digests, results, unit)
        start_s = time.perf_counter()
        if warm_up:
            for canvas_hw in set(new_rows) - self._warm_sizes:
                self._warm_up(canvas_hw)
        is_present = prepared[CANVAS].is_valid().to_pylist()
        runs = self._plan_runs(
            prepared, {hw: [row for row in rows if is_present[row]] for hw, rows in new_rows.items()}
        )
        for run, run_faces in zip(runs, self._detect(runs), strict=True):
            results.add(run, run_faces, self._session.run_size)
        for row in (row for rows in new_rows.values() for row in rows if not is_present[row]):
            self._detect_streamed(prepared, row, results)
        for canvas_hw, rows in new_rows.items():
            self._unit_faces |= {
                (digests[row], canvas_hw): faces for row in rows if (faces := results.faces[row]) is not None
            }
        detected = results.append_to(
            prepared.drop_columns([CANVAS]), infer_s=time.perf_counter() - start_s, wait_s=wait_s
        )
        self._ended_s = time.perf_counter()
        return detected

    def _reuse_faces(
        self,
        by_canvas: dict[HeightWidth, list[int]],
        digests: list[str],
        results: _Results,
        unit: str | None,
    ) -> dict[HeightWidth, list[int]]:
        """Fill ``results`` where the bytes were seen in this unit before; return the rows that the session must run."""
        if unit is None or unit != self._unit:
            self._unit_faces.clear()
        self._unit = unit
        new_rows: dict[HeightWidth, list[int]] = {}
        for canvas_hw, rows in by_canvas.items():
            for row in rows:
                results.faces[row] = self._unit_faces.get((digests[row], canvas_hw))
                if results.faces[row] is None:
                    new_rows.setdefault(canvas_hw, []).append(row)
        return new_rows

    def _plan_runs(self, prepared: pa.Table, by_canvas: dict[HeightWidth, list[int]]) -> list[_Run]:
        """Return the runs of the session, the largest canvases first; the views of a row follow each other."""
        size, view_counts = self._session.run_size, prepared["views"].to_pylist()
        runs = []
        for canvas_hw, rows in sort_largest_first(by_canvas):
            places = [(row, view) for row in rows for view in range(view_counts[row])]
            for start in range(0, len(places), size):
                run_places = places[start : start + size]
                load_batch = functools.partial(decode_canvases, prepared[CANVAS], run_places, canvas_hw)
                runs.append(_Run(canvas_hw, [row for row, _ in run_places], load_batch))
        return runs

    def _detect_streamed(self, prepared: pa.Table, row: int, results: _Results) -> None:
        """Run the views of a row that came without its canvases."""
        from mogface_batch.stages.stream_views import stream_views  # noqa: PLC0415 - few images need a decoder here

        image_hw = (prepared["height"][row].as_py(), prepared["width"][row].as_py())
        views = self._settings.canvas_policy.list_views(image_hw)
        encoded = prepared[ENCODED][row].as_buffer().to_pybytes()
        size = self._session.run_size
        # Closed at once whatever happens, since a process belongs to it.
        with contextlib.closing(stream_views(self._settings, encoded, views)) as groups:
            for canvases in groups:
                if not isinstance(canvases, np.ndarray):
                    results.faces[row], results.faults[row] = None, _describe_fault(canvases)
                    return
                batches = [canvases[start : start + size] for start in range(0, len(canvases), size)]
                runs = [
                    _Run(views[0].canvas_hw, [row] * len(batch), functools.partial(np.asarray, batch))
                    for batch in batches
                ]
                for run, run_faces in zip(runs, self._detect(runs), strict=True):
                    results.add(run, run_faces, size)

    def _warm_up(self, canvas_hw: HeightWidth) -> None:
        blank = np.zeros((1, *canvas_hw, 3), np.uint8)
        self._detect([_Run(canvas_hw, [0], lambda: blank)])

    def _detect(self, runs: Sequence[_Run]) -> list[list[Faces]]:
        if not runs:
            return []
        sizes = {run.canvas_hw for run in runs}
        with watch(_WORK, sum(run.canvas_px for run in runs), warms_up=not sizes <= self._warm_sizes):
            faces = self._session.detect(
                [run.load_batch for run in runs], score_at_least=self._settings.score_at_least
            )
        self._warm_sizes |= sizes
        return faces


def sort_largest_first(by_canvas: Mapping[HeightWidth, list[int]]) -> list[tuple[HeightWidth, list[int]]]:
    """Return the rows of each canvas size, the largest canvases first, so that the last runs are short."""
    return sorted(by_canvas.items(), key=lambda item: -item[0][0] * item[0][1])


def _describe_fault(fault: RowFault | None) -> tuple[Status, str, str]:
    if fault is None:
        message = f"A process died {MAX_DEATHS_ALONE} times while it cut this image into views."
        return Status.QUARANTINED, ErrorCode.KILLED_WORKER, message
    return choose_status(fault), fault.code, fault.message


def _group_by_canvas(prepared: pa.Table) -> dict[HeightWidth, list[int]]:
    """Return the rows that have canvases, by the size of these."""
    groups: dict[HeightWidth, list[int]] = {}
    columns = (prepared[name].to_pylist() for name in ("status", "canvas_height", "canvas_width"))
    for row, (status, height, width) in enumerate(zip(*columns, strict=True)):
        if status == Status.OK:
            groups.setdefault((height, width), []).append(row)
    return groups
