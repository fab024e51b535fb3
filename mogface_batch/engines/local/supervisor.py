"""The job on this machine, without Ray: a supervisor, processes for the CPU stages, one process for each session.

    supervisor --rows--> cpu worker: Prepare --tables--> detect worker: Detect --tables--> cpu worker: Finish

A unit passes in chunks, so that the session starts after the first few images and its memory is bounded. Tables
pass between processes as Arrow files in shared memory, without being pickled; the supervisor passes on their names
only. It decodes nothing and holds no session, so an image that kills a process never kills the job: the rows of that
process run again as `ledger.py` says, and a row that the ledger gives up becomes ``quarantined``. Workers end with
the supervisor, however it ends. After a signal it finishes the units whose rows have all passed the detector.

Read `work_queues.py` for what waits for which stage, `workers.py` for what a process does.
"""

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

from mogface_batch.canvases.batching import choose_chunk_rows
from mogface_batch.config import JobConfig
from mogface_batch.cores import count_cores
from mogface_batch.engines.engine import NO_MEMORY_LIMIT, STOPPING, Event, JobEngine
from mogface_batch.engines.local.shared_tables import make_table_folder
from mogface_batch.engines.local.work_queues import UnitInWork, WorkQueues
from mogface_batch.engines.local.workers import (
    Handler,
    Task,
    TaskFailure,
    Worker,
    build_cpu_handler,
    build_detect_handler,
)
from mogface_batch.errors import DeviceError, JobFault, OutputError
from mogface_batch.faults.death_limits import MAX_FAILED_STARTS
from mogface_batch.faults.signals import GRACE_S, StopRequest, defer_signals, stop_gently
from mogface_batch.images.memory import CAN_BE_LIMITED
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.settings import Model, StageSettings, build_settings
from mogface_batch.storage import limit_patience

SIGNAL_CHECK_S = 0.5
"""How often the supervisor looks for a signal while all workers are busy."""

_LOG = logging.getLogger(__name__)


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
def open_local_engine(config: JobConfig, model: Model) -> Iterator[JobEngine]:
    """Yield an engine that has started no process yet; stop its processes on exit."""
    detect_workers = config.detect.workers
    default_threads = 1 if config.detect.provider.is_gpu else max(1, count_cores() // detect_workers)
    settings = build_settings(config, model, threads=config.detect.cpus_per_worker or default_threads)
    engine = LocalEngine(
        settings,
        make_table_folder(),
        WorkerCounts(str(model.path), config.cpu_workers or count_cores(), detect_workers),
        chunk_rows=choose_chunk_rows(
            config, settings.canvas_policy.sizes, batch=settings.batch_size, lanes=settings.lanes
        ),
    )
    try:
        yield engine
    finally:
        with defer_signals():
            engine.stop()


class LocalEngine:
    """The supervisor: starts workers, gives them tasks from the queues, and handles their answers and deaths.

    Args:
        settings: What the stages need.
        folder: Where tables pass between processes; removed by `stop`.
        counts: The processes that it may start.
        chunk_rows: Rows that pass between processes at a time.
    """

    def __init__(
        self, settings: StageSettings, folder: str, counts: WorkerCounts, *, chunk_rows: int
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._counts = counts
        self._chunk_rows = chunk_rows
        self._queues = WorkQueues(settings, folder, chunk_rows=chunk_rows)
        self._workers: list[Worker] = []
        self._max_chunks_ahead = 2 * counts.detect_workers + counts.cpu_workers
        self._failed_starts = 0
        self._is_stopping = False

    # -- starting and stopping ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the processes that a single image needs, without waiting for them; further calls do nothing."""
        if self._workers:
            return
        if not CAN_BE_LIMITED:
            _LOG.warning(NO_MEMORY_LIMIT)
        for _ in range(self._counts.detect_workers):
            self._start_worker(
                build_detect_handler, self._settings, self._counts.model_path, is_detector=True
            )
        self._start_worker(build_cpu_handler, self._settings, is_detector=False)

    def wait_until_ready(self) -> None:
        """Begin, and wait until every session is open.

        Raises:
            JobFault: A session cannot be opened.
        """
        self.begin()
        while waiting := [worker for worker in self._workers if worker.is_detector and not worker.is_ready]:
            self._handle_answer(waiting[0])

    def _start_cpu_workers(self, units: Sequence[Unit]) -> None:
        """Start the other CPU workers, as many as have work; earlier they would slow down the start of the first."""
        chunks = sum(-(-unit.row_count // self._chunk_rows) for unit in units)
        running = sum(1 for worker in self._workers if not worker.is_detector)
        for _ in range(running, min(chunks, self._counts.cpu_workers)):
            self._start_worker(build_cpu_handler, self._settings, is_detector=False)

    def _start_worker(
        self, build_handler: Callable[..., Handler], *arguments: object, is_detector: bool
    ) -> None:
        with defer_signals():  # a session that `stop` does not know of would keep Python from ending
            self._workers.append(Worker(build_handler, arguments, self._folder, is_detector=is_detector))

    def stop(self) -> None:
        """Stop the processes and remove their tables."""
        for worker in self._workers:
            worker.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- running -----------------------------------------------------------------------------------------------

    def run(self, units: Sequence[Unit]) -> Iterator[Event]:
        """Run the units, none of which has a part yet, and yield the events.

        Raises:
            JobFault: A worker cannot go on, or `Interrupted` after units that can be finished are published.
        """
        self.wait_until_ready()
        self._start_cpu_workers(units)
        self._queues.set_units(units)
        with stop_gently() as stop_request, self._close_ledger():
            while stop_request.fault is None:
                self._assign_tasks()
                yield from self._take_events()
                if self._queues.is_empty and not self._queues.start_next_unit():
                    return
                self._wait_for_answers()
            yield from self._drain(stop_request)
            raise stop_request.fault

    @contextlib.contextmanager
    def _close_ledger(self) -> Iterator[None]:
        """Close the ledger on exit, unless the store is gone: closing would wait for the store once more."""
        try:
            yield
        except OutputError:
            raise
        except BaseException:
            with limit_patience(), contextlib.suppress(JobFault):  # the exception that ends the job says more
                self._queues.ledger.close()
            raise
        self._queues.ledger.close()

    def _drain(self, stop_request: StopRequest) -> Iterator[Event]:
        """Publish the units that have passed the detector or are in it; yield the events meanwhile."""
        _LOG.warning(STOPPING)
        self._is_stopping = True
        end_s = time.monotonic() + GRACE_S
        # A second signal also sets `is_urgent`, since code such as logging swallows exceptions raised inside it.
        while time.monotonic() < end_s and not stop_request.is_urgent:
            self._assign_tasks()
            yield from self._take_events()
            stages = {task.stage for worker in self._workers for task, _ in worker.assignments}
            if not self._queues.to_finish and not {"detect", "finish"} & stages:
                return
            self._wait_for_answers()

    def _wait_for_answers(self) -> None:
        ready = connection.wait([worker.pipe for worker in self._workers], timeout=SIGNAL_CHECK_S)
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            self._handle_answer(worker)

    def _take_events(self) -> Iterator[Event]:
        while self._queues.events:
            yield self._queues.events.popleft()

    # -- giving tasks to workers -------------------------------------------------------------------------------

    def _assign_tasks(self) -> None:
        for worker in self._workers:
            while worker.is_free:
                is_assigned = (
                    self._assign_detect(worker) if worker.is_detector else self._assign_cpu_task(worker)
                )
                if not is_assigned:
                    break

    def _assign_detect(self, worker: Worker) -> bool:
        """Give the next prepared chunk to a worker with a session; return False if it must wait."""
        if not self._queues.to_detect or self._is_stopping:
            return False
        chunk, table = self._queues.to_detect[0]
        unit = chunk.unit_in_work.unit
        doubted_by = self._queues.name_doubting_run(unit)
        if doubted_by is not None and worker.assignments:  # what is in doubt must be alone in its process
            return False
        self._queues.to_detect.popleft()
        self._queues.ledger.begin_portion(unit.part, chunk.portion)
        worker.assign(Task("detect", tables=(table,), unit=unit, doubted_by=doubted_by), chunk)
        return True

    def _assign_cpu_task(self, worker: Worker) -> bool:
        """Give a unit to finish or a chunk to prepare to a CPU worker; return False if there is none."""
        if self._queues.to_finish:  # first, since finishing frees memory
            self._assign_finish(worker, self._queues.to_finish.popleft())
            return True
        if self._is_stopping or self._count_chunks_ahead() >= self._max_chunks_ahead:
            return False
        if not self._queues.to_prepare:
            return self._queues.start_next_unit() and self._assign_cpu_task(worker)
        chunk = self._queues.to_prepare.popleft()
        self._queues.ledger.begin_portion(chunk.part, chunk.portion)
        worker.assign(Task("prepare", rows=chunk.rows), chunk)
        return True

    def _assign_finish(self, worker: Worker, unit_in_work: UnitInWork) -> None:
        tables, unit = unit_in_work.detected_tables, unit_in_work.unit
        task = Task(
            "finish",
            tables=tuple(tables[start] for start in sorted(tables)),
            unit=unit,
            doubted_by=self._queues.name_doubting_run(unit),
        )
        worker.assign(task, unit_in_work)

    def _count_chunks_ahead(self) -> int:
        """Return how many chunks before the detector take memory."""
        tasks = (task for worker in self._workers for task, _ in worker.assignments)
        return sum(task.stage == "prepare" for task in tasks) + len(self._queues.to_detect)

    # -- handling answers and deaths ---------------------------------------------------------------------------

    def _handle_answer(self, worker: Worker) -> None:
        try:
            answer = worker.receive()
        except (EOFError, OSError):
            self._handle_death(worker)
            return
        if isinstance(answer, TaskFailure):
            raise answer.error
        if answer is None:  # the worker is ready for its first task
            self._failed_starts = 0
            return
        task, subject = worker.assignments.popleft()
        if isinstance(answer, Receipt):
            self._queues.accept_receipt(subject, answer)
        elif task.stage == "prepare":
            self._queues.accept_prepared(subject, answer)
        else:
            self._queues.accept_detected(subject, answer)

    def _handle_death(self, worker: Worker) -> None:
        """Start another process in the place of a worker that died, and queue its tasks again."""
        if not worker.is_ready:
            self._failed_starts += 1
            if self._failed_starts == MAX_FAILED_STARTS:
                raise DeviceError(
                    f"{MAX_FAILED_STARTS} worker processes in a row ended while they started, the last with exit code "
                    f"{worker.exit_code}: is there memory for detect.workers and cpu_workers?"
                )
        self._workers[self._workers.index(worker)] = worker.replace()
        # Only the first task was running; the others waited behind it.
        for position, (task, subject) in enumerate(worker.assignments):
            if isinstance(subject, UnitInWork):
                self._queues.requeue_unit(subject)
                continue
            for table in task.tables:  # if the worker has taken it already, it is missing
                Path(table).unlink(missing_ok=True)
            self._queues.requeue_chunk(subject, is_to_blame=position == 0)
