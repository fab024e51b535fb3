"""The job on this machine, without Ray: a supervisor, processes for the CPU stages, one for each session.

    supervisor --rows--> cpu worker: Prepare --tables--> detect worker: Detect --tables--> cpu worker: Finish

A unit flows in chunks, so that the session starts after the first few images and its memory is bounded. Tables
pass between processes as Arrow files in shared memory, without being pickled; the supervisor moves only their
names. It decodes nothing and holds no session, so that an image that kills a process never kills the job: its
rows begin again one by one, and a row whose process died `ALONE_DEATHS` times while it was alone becomes
``quarantined``. Workers end with the supervisor, whatever ends it.
"""

import contextlib
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

import pyarrow as pa

from mogface_batch.errors import DeviceError, OutputError
from mogface_batch.pipeline.engine import Advance, Event
from mogface_batch.pipeline.plan import Unit, read_unit
from mogface_batch.pipeline.publish import Receipt
from mogface_batch.pipeline.signals import held_back
from mogface_batch.pipeline.stages.job import Job, quarantined
from mogface_batch.pipeline.tables import save_table
from mogface_batch.pipeline.workers import Failed, Handler, Task, Worker, cpu_worker, detect_worker
from mogface_batch.storage import open_store

ALONE_DEATHS = 3
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
SHARED_MEMORY_NEEDED_BYTES = 1 << 30


@dataclass(slots=True)
class _Flow:
    """A unit on its way: which of its rows have passed the detector."""

    unit: Unit
    done: dict[int, str] = field(default_factory=dict)
    """First row -> file with the detected rows from there on."""
    done_rows: int = 0
    deaths: int = 0


@dataclass(slots=True)
class _Chunk:
    """Some rows of a unit that pass the stages together."""

    flow: _Flow
    start: int
    rows: pa.Table
    deaths_alone: int = 0


@contextlib.contextmanager
def started(
    job: Job, model_path: str, *, cpu_workers: int, detect_workers: int, chunk_rows: int
) -> Iterator["LocalEngine"]:
    """Start the processes, wait until every session is open, and yield the engine.

    Args:
        job: What the stages need.
        model_path: The contract file.
        cpu_workers: Processes that prepare and finish.
        detect_workers: Processes that each hold one session.
        chunk_rows: Images that pass between processes at a time.

    Raises:
        JobFault: A session cannot be opened.
    """
    engine = LocalEngine(job, _table_folder(), chunk_rows)
    try:
        engine.start(model_path, cpu_workers, detect_workers)
        yield engine
    finally:
        with held_back():
            engine.stop()


def _table_folder() -> str:
    parent = None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(SHARED_MEMORY).free
        parent = str(SHARED_MEMORY) if free >= SHARED_MEMORY_NEEDED_BYTES else None
    return tempfile.mkdtemp(prefix=f"mogface-batch-{os.getpid()}-", dir=parent)


class LocalEngine:
    """The supervisor."""

    def __init__(self, job: Job, folder: str, chunk_rows: int) -> None:
        self._job = job
        self._folder = folder
        self._chunk_rows = chunk_rows
        self._store = open_store(job.output)
        self._workers: list[Worker] = []
        self._most_ahead = 0
        self._units: Iterator[Unit] = iter(())
        self._to_prepare: deque[_Chunk] = deque()
        self._to_detect: deque[tuple[_Chunk, str]] = deque()
        self._to_finish: deque[_Flow] = deque()
        self._open_flows = 0
        self._failed_starts = 0
        """In a row."""

    def start(self, model_path: str, cpu_workers: int, detect_workers: int) -> None:
        """Start the processes and wait for the sessions; see `started`."""
        self._most_ahead = 2 * detect_workers + cpu_workers
        for _ in range(detect_workers):
            self._add(detect_worker, self._job, model_path, is_detector=True)
        for _ in range(cpu_workers):
            self._add(cpu_worker, self._job, is_detector=False)
        while waiting := [worker for worker in self._workers if worker.is_detector and not worker.was_ready]:
            list(self._answered(waiting[0]))

    def _add(self, build: Callable[..., Handler], *arguments: object, is_detector: bool) -> None:
        self._workers.append(Worker(build, arguments, self._folder, is_detector=is_detector))

    def run(self, units: Iterator[Unit]) -> Iterator[Event]:
        """Work off the units, those whose part is missing, and yield what happened.

        Raises:
            JobFault: What a worker could not go on with.
        """
        self._units = units
        while True:
            self._assign()
            if not self._open_flows and not self._next_unit():
                return
            ready = connection.wait([worker.answers for worker in self._workers])
            for worker in [worker for worker in self._workers if worker.answers in ready]:
                yield from self._answered(worker)

    def stop(self) -> None:
        """End the processes, and take their tables away."""
        for worker in self._workers:
            worker.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- handing out work --------------------------------------------------------------------------------------

    def _assign(self) -> None:
        for worker in self._workers:
            while worker.is_free:
                if not (self._give_detect(worker) if worker.is_detector else self._give_cpu(worker)):
                    break

    def _give_detect(self, worker: Worker) -> bool:
        if not self._to_detect:
            return False
        chunk, table = self._to_detect.popleft()
        worker.give(Task("detect", tables=(table,)), chunk)
        return True

    def _give_cpu(self, worker: Worker) -> bool:
        if self._to_finish:  # first, since it frees memory
            flow = self._to_finish.popleft()
            tables = tuple(flow.done[start] for start in sorted(flow.done))
            worker.give(Task("finish", tables=tables, unit=flow.unit), flow)
            return True
        if self._ahead() >= self._most_ahead or not (self._to_prepare or self._next_unit()):
            return False
        chunk = self._to_prepare.popleft()
        worker.give(Task("prepare", rows=chunk.rows), chunk)
        return True

    def _ahead(self) -> int:
        """Return how many chunks take memory before the detector."""
        preparing = sum(1 for worker in self._workers for task, _ in worker.given if task.stage == "prepare")
        return preparing + len(self._to_detect)

    def _next_unit(self) -> bool:
        unit = next(self._units, None)
        if unit is None:
            return False
        self._open_flows += 1
        self._split(_Flow(unit))
        return True

    def _split(self, flow: _Flow) -> None:
        rows = read_unit(self._store, flow.unit)
        for start in range(0, rows.num_rows, self._chunk_rows):
            self._to_prepare.append(_Chunk(flow, start, rows.slice(start, self._chunk_rows)))

    # -- taking answers ----------------------------------------------------------------------------------------

    def _answered(self, worker: Worker) -> Iterator[Event]:
        try:
            answer = worker.take()
        except (EOFError, OSError):
            yield from self._died(worker)
            return
        if isinstance(answer, Failed):
            raise answer.error
        if answer is None:  # it is ready for its first task
            self._failed_starts = 0
            return
        task, subject = worker.given.popleft()
        if isinstance(answer, Receipt):
            self._open_flows -= 1
            yield answer
        elif task.stage == "prepare":
            self._to_detect.append((subject, answer))
        else:
            yield from self._detected(subject, answer)

    def _detected(self, chunk: _Chunk, table: str) -> Iterator[Event]:
        flow = chunk.flow
        flow.done[chunk.start] = table
        flow.done_rows += chunk.rows.num_rows
        yield Advance(chunk.rows.num_rows)
        if flow.done_rows == flow.unit.row_count:
            self._to_finish.append(flow)

    def _died(self, worker: Worker) -> Iterator[Event]:
        if not worker.was_ready:
            self._failed_starts += 1
            if self._failed_starts == ALONE_DEATHS:
                raise DeviceError(
                    f"{ALONE_DEATHS} worker processes in a row ended while they started, the last with exit code "
                    f"{worker.exit_code}: is there memory for detect.workers and decode.workers?"
                )
        self._workers[self._workers.index(worker)] = worker.replacement()
        # Only the first was running; the others merely waited behind it.
        for position, (task, subject) in enumerate(worker.given):
            for table in task.tables:  # those that it has not taken up
                Path(table).unlink(missing_ok=True)
            if isinstance(subject, _Flow):
                yield self._restarted(subject)
            elif position:
                self._to_prepare.appendleft(subject)
            else:
                yield from self._again(subject)

    def _again(self, chunk: _Chunk) -> Iterator[Event]:
        if chunk.rows.num_rows > 1:
            singles = [
                _Chunk(chunk.flow, chunk.start + row, chunk.rows.slice(row, 1))
                for row in range(chunk.rows.num_rows)
            ]
            self._to_prepare.extendleft(reversed(singles))
            return
        chunk.deaths_alone += 1
        if chunk.deaths_alone < ALONE_DEATHS:
            self._to_prepare.appendleft(chunk)
            return
        message = f"A process died {ALONE_DEATHS} times while it worked on this image alone."
        yield from self._detected(chunk, save_table(quarantined(chunk.rows, message), self._folder))

    def _restarted(self, flow: _Flow) -> Event:
        """Begin a unit again whose finishing died with its tables."""
        flow.deaths += 1
        if flow.deaths == ALONE_DEATHS:
            raise OutputError(
                f"The process that draws and writes {flow.unit.part} died {ALONE_DEATHS} times: the job cannot go on."
            )
        undone = Advance(-flow.done_rows)
        flow.done.clear()
        flow.done_rows = 0
        self._split(flow)
        return undone
