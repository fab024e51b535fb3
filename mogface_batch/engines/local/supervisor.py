"""The job on this machine, without Ray: a supervisor, processes for the CPU stages, one for each session.

    supervisor --rows--> cpu worker: Prepare --tables--> detect worker: Detect --tables--> cpu worker: Finish

A unit flows in chunks, so that the session starts after the first few images and its memory is bounded. Tables
pass between processes as Arrow files in shared memory, without being pickled; the supervisor moves only their
names. It decodes nothing and holds no session, so that an image that kills a process never kills the job: its
rows begin again as `ledger.py` says, and a row that it condemns becomes ``quarantined``. Workers end with the
supervisor, whatever ends it. A signal lets it finish the units whose rows have all passed the detector.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

import pyarrow as pa

from mogface_batch.engines.engine import NO_MEMORY_LIMIT, STOPPING, Advance, Event
from mogface_batch.engines.local.shared_tables import save_table
from mogface_batch.engines.local.workers import Failed, Handler, Task, Worker, cpu_worker, detect_worker
from mogface_batch.errors import DeviceError, JobFault, OutputError
from mogface_batch.faults.ledger import Ledger, Portion
from mogface_batch.faults.signals import GRACE_S, Stopped, defer_signals, note_signals
from mogface_batch.images.memory import CAN_BE_LIMITED
from mogface_batch.output.plan import Unit, read_unit
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.settings import StageSettings, quarantine_rows
from mogface_batch.storage import hurried, open_store

MOST_FAILED_STARTS = 3
"""In a row."""
LOOK_AROUND_S = 0.5
"""For a signal, while all workers are busy."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
SHARED_MEMORY_NEEDED_BYTES = 1 << 30


_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Flow:
    """A unit on its way: which of its rows have passed the detector."""

    unit: Unit
    done: dict[int, str] = field(default_factory=dict)
    """First row -> file with the detected rows from there on."""
    done_rows: int = 0


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some rows of a unit that pass the stages together."""

    flow: _Flow
    portion: Portion
    rows: pa.Table


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """The processes of an engine."""

    model_path: str
    """The contract file."""
    cpu_workers: int
    """Processes that prepare and finish, at most."""
    detect_workers: int
    """Processes that each hold one session."""


@contextlib.contextmanager
def open_local_engine(job: StageSettings, staff: WorkerCounts, *, chunk_rows: int) -> Iterator["LocalEngine"]:
    """Yield an engine, which has no process yet, and end those that it has in the end.

    Args:
        job: What the stages need.
        staff: What it may start.
        chunk_rows: Images that pass between processes at a time.
    """
    engine = LocalEngine(job, _table_folder(), staff, chunk_rows=chunk_rows)
    try:
        yield engine
    finally:
        with defer_signals():
            engine.stop()


def _table_folder() -> str:
    parent = None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(SHARED_MEMORY).free
        parent = str(SHARED_MEMORY) if free >= SHARED_MEMORY_NEEDED_BYTES else None
    return tempfile.mkdtemp(prefix=f"mogface-batch-{os.getpid()}-", dir=parent)


class LocalEngine:
    """The supervisor."""

    def __init__(self, job: StageSettings, folder: str, staff: WorkerCounts, *, chunk_rows: int) -> None:
        self._job = job
        self._folder = folder
        self._staff = staff
        self._chunk_rows = chunk_rows
        self._store = open_store(job.output)
        self._workers: list[Worker] = []
        self._most_ahead = 2 * staff.detect_workers + staff.cpu_workers
        self._units: Iterator[Unit] = iter(())
        self._to_prepare: deque[_Chunk] = deque()
        self._to_detect: deque[tuple[_Chunk, str]] = deque()
        self._to_finish: deque[_Flow] = deque()
        self._happened: deque[Event] = deque()
        self._open_flows = 0
        self._failed_starts = 0
        self._is_stopping = False
        self._ledger = Ledger(self._store, job.batch_size)

    def begin(self) -> None:
        """Start the processes that a single image needs, unless they are, and do not wait for them."""
        if self._workers:
            return
        if not CAN_BE_LIMITED:
            _LOG.warning(NO_MEMORY_LIMIT)
        for _ in range(self._staff.detect_workers):
            self._add(detect_worker, self._job, self._staff.model_path, is_detector=True)
        self._add(cpu_worker, self._job, is_detector=False)

    def _add_cpu_workers(self, units: Sequence[Unit]) -> None:
        """Start the others, as many as there is work for: they would only keep the first ones from starting."""
        chunks = sum(-(-unit.row_count // self._chunk_rows) for unit in units)
        there = sum(1 for worker in self._workers if not worker.is_detector)
        for _ in range(there, min(chunks, self._staff.cpu_workers)):
            self._add(cpu_worker, self._job, is_detector=False)

    def wait_until_ready(self) -> None:
        """Begin, and wait until every session is open.

        Raises:
            JobFault: One cannot be.
        """
        self.begin()
        while waiting := [worker for worker in self._workers if worker.is_detector and not worker.was_ready]:
            self._handle_answer(waiting[0])

    def _add(self, build: Callable[..., Handler], *arguments: object, is_detector: bool) -> None:
        self._workers.append(Worker(build, arguments, self._folder, is_detector=is_detector))

    def run(self, units: Sequence[Unit]) -> Iterator[Event]:
        """Work off the units, those whose part is missing, and yield what happened.

        Raises:
            JobFault: What a worker could not go on with, or `Interrupted` after what could be finished.
        """
        self.wait_until_ready()
        self._add_cpu_workers(units)
        self._units = iter(units)
        with note_signals() as stopped, self._taken_back():
            while stopped.fault is None:
                self._assign()
                yield from self._told()
                if not self._open_flows and not self._next_unit():
                    return
                self._listen()
            yield from self._drain(stopped)
            raise stopped.fault

    @contextlib.contextmanager
    def _taken_back(self) -> Iterator[None]:
        """Take back at the end what was begun, unless the store is gone: it would be waited for once more."""
        try:
            yield
        except OutputError:
            raise
        except BaseException:
            with hurried(), contextlib.suppress(JobFault):  # what ends the job says more
                self._ledger.close()
            raise
        self._ledger.close()

    def _drain(self, stopped: Stopped) -> Iterator[Event]:
        """Yield what happens while the units are published that have passed the detector, or just do."""
        _LOG.warning(STOPPING)
        self._is_stopping = True
        end = time.monotonic() + GRACE_S
        # Asked as well, since logging, for one, swallows what a second signal raises inside it.
        while time.monotonic() < end and not stopped.is_urgent:
            self._assign()
            yield from self._told()
            given = [task.stage for worker in self._workers for task, _ in worker.given]
            if not self._to_finish and not {"detect", "finish"}.intersection(given):
                return
            self._listen()

    def _listen(self) -> None:
        ready = connection.wait([worker.answers for worker in self._workers], timeout=LOOK_AROUND_S)
        for worker in [worker for worker in self._workers if worker.answers in ready]:
            self._handle_answer(worker)

    def _told(self) -> Iterator[Event]:
        while self._happened:
            yield self._happened.popleft()

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
        if not self._to_detect or self._is_stopping:
            return False
        chunk, table = self._to_detect[0]
        doubted_by = self._doubted_by(chunk.flow)
        if doubted_by is not None and worker.given:
            return False
        self._to_detect.popleft()
        self._ledger.begin(chunk.flow.unit.part, chunk.portion)
        worker.give(Task("detect", tables=(table,), unit=chunk.flow.unit, doubted_by=doubted_by), chunk)
        return True

    def _give_cpu(self, worker: Worker) -> bool:
        if self._to_finish:  # first, since it frees memory
            flow = self._to_finish.popleft()
            tables = tuple(flow.done[start] for start in sorted(flow.done))
            worker.give(
                Task("finish", tables=tables, unit=flow.unit, doubted_by=self._doubted_by(flow)), flow
            )
            return True
        if self._is_stopping or self._ahead() >= self._most_ahead:
            return False
        if not self._to_prepare:
            return self._next_unit() and self._give_cpu(worker)
        chunk = self._to_prepare.popleft()
        self._ledger.begin(chunk.flow.unit.part, chunk.portion)
        worker.give(Task("prepare", rows=chunk.rows), chunk)
        return True

    def _doubted_by(self, flow: _Flow) -> str | None:
        return self._ledger.run if self._ledger.is_in_doubt(flow.unit.part) else None

    def _ahead(self) -> int:
        """Return how many chunks take memory before the detector."""
        preparing = sum(1 for worker in self._workers for task, _ in worker.given if task.stage == "prepare")
        return preparing + len(self._to_detect)

    def _next_unit(self) -> bool:
        unit = next(self._units, None)
        if unit is None:
            return False
        self._open_flows += 1
        rows = read_unit(self._store, unit)
        self._ledger.enter(unit.part, rows["image_id"].to_pylist())
        flow = _Flow(unit)
        chunks = [
            chunk
            for start in range(0, rows.num_rows, self._chunk_rows)
            for chunk in self._chunks(flow, start, rows.slice(start, self._chunk_rows))
        ]
        self._to_prepare.extend(chunks)
        return True

    def _chunks(self, flow: _Flow, start: int, rows: pa.Table) -> Iterator[_Chunk]:
        """Yield these rows of a unit as they are to be worked on; those that must not be are done at once."""
        for portion in self._ledger.portions(flow.unit.part, start, start + rows.num_rows):
            some = rows.slice(portion.start - start, portion.stop - portion.start)
            chunk = _Chunk(flow, portion, some)
            if portion.condemned is None:
                yield chunk
            else:
                self._has_passed(chunk, save_table(quarantine_rows(some, portion.condemned), self._folder))

    # -- taking answers ----------------------------------------------------------------------------------------

    def _handle_answer(self, worker: Worker) -> None:
        try:
            answer = worker.take()
        except (EOFError, OSError):
            self._died(worker)
            return
        if isinstance(answer, Failed):
            raise answer.error
        if answer is None:  # it is ready for its first task
            self._failed_starts = 0
            return
        task, subject = worker.given.popleft()
        if isinstance(answer, Receipt):
            self._finished(subject, answer)
        elif task.stage == "prepare":
            self._ledger.withdraw(subject.flow.unit.part, subject.portion)
            self._to_detect.append((subject, answer))
        else:
            self._ledger.done(subject.flow.unit.part, subject.portion)
            self._has_passed(subject, answer)

    def _has_passed(self, chunk: _Chunk, table: str) -> None:
        """Take in the file with a chunk's detected rows."""
        flow = chunk.flow
        flow.done[chunk.portion.start] = table
        flow.done_rows += chunk.rows.num_rows
        self._happened.append(Advance(chunk.rows.num_rows))
        if flow.done_rows == flow.unit.row_count:
            self._to_finish.append(flow)

    def _finished(self, flow: _Flow, receipt: Receipt) -> None:
        self._open_flows -= 1
        for table in flow.done.values():
            Path(table).unlink(missing_ok=True)
        self._ledger.finished(flow.unit.part)
        self._happened.append(receipt)

    def _died(self, worker: Worker) -> None:
        if not worker.was_ready:
            self._failed_starts += 1
            if self._failed_starts == MOST_FAILED_STARTS:
                raise DeviceError(
                    f"{MOST_FAILED_STARTS} worker processes in a row ended while they started, the last with exit code "
                    f"{worker.exit_code}: is there memory for detect.workers and cpu_workers?"
                )
        self._workers[self._workers.index(worker)] = worker.replacement()
        # Only the first was running; the others merely waited behind it.
        for position, (task, subject) in enumerate(worker.given):
            if isinstance(subject, _Flow):
                self._ledger.finishing_died(subject.unit.part)
                self._to_finish.append(subject)
                continue
            for table in task.tables:  # unless it has taken it up
                Path(table).unlink(missing_ok=True)
            self._begin_again(subject, is_to_blame=not position)

    def _begin_again(self, chunk: _Chunk, *, is_to_blame: bool) -> None:
        part = chunk.flow.unit.part
        (self._ledger.died if is_to_blame else self._ledger.withdraw)(part, chunk.portion)
        chunks = list(self._chunks(chunk.flow, chunk.portion.start, chunk.rows))
        self._to_prepare.extendleft(reversed(chunks))
