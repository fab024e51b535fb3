"""The worker processes of the local engine: each reads tasks from a pipe, one after the other, and answers each."""

import contextlib
import functools
import shutil
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from mogface_batch.engines.local.shared_tables import leave_spare, load_table, save_table
from mogface_batch.errors import JobFault
from mogface_batch.faults import watchdog
from mogface_batch.faults.signals import defer_signals
from mogface_batch.images.silence_decoders import silence_native_code
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.processes.worker_process import SPAWN, initialize_worker, keep_pandas_out, kill_processes
from mogface_batch.stages.settings import StageSettings


@dataclass(frozen=True, slots=True)
class Task:
    """A stage and its input: plan rows, or tables by their paths."""

    stage: str
    rows: pa.Table | None = None
    tables: tuple[str, ...] = ()
    unit: Unit | None = None
    doubted_by: str | None = None
    """`Ledger.run_id` if a process died with the unit before."""


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """The answer of a worker when the job cannot go on, because of a fault or a bug."""

    error: Exception


Handler = Callable[[Task, str], "str | Receipt"]
"""Runs a task, given the folder for tables; returns the path of the resulting table, or a receipt."""
Answer = str | Receipt | TaskFailure | None
"""None: the worker is ready for its first task."""


# -- in the worker process -------------------------------------------------------------------------------------


def build_cpu_handler(settings: StageSettings) -> Handler:
    """Return the handler of a process that runs the CPU stages."""
    from mogface_batch.stages.finish import Finish, finish_unit  # noqa: PLC0415
    from mogface_batch.stages.prepare import Prepare  # noqa: PLC0415 - OpenCV stays out of the supervisor

    prepare, finish = Prepare(settings), Finish(settings)
    watchdog.arm(settings.limits.stall_timeout_s)

    def handle(task: Task, folder: str) -> str | Receipt:
        if task.stage == "prepare":
            return save_table(prepare(task.rows), folder, over_spare=True)
        assert task.unit is not None  # noqa: S101 - a task to finish has a unit
        # The files stay until the part is published: if this process dies, another one reads them.
        detected = pa.concat_tables([load_table(path) for path in task.tables])
        return finish_unit(finish, detected, task.unit, doubted_by=task.doubted_by)

    return handle


def build_detect_handler(settings: StageSettings, model_path: str) -> Handler:
    """Return the handler of a process that holds a session."""
    from mogface_batch.stages.detect import Detect  # noqa: PLC0415 - ONNX Runtime stays out of the supervisor

    detect = Detect(settings, model_path)
    watchdog.arm(settings.limits.stall_timeout_s)

    def handle(task: Task, folder: str) -> str:
        path, part = task.tables[0], task.unit.part if task.unit else None
        detected = detect(load_table(path), unit=part, warm_up=task.doubted_by is not None)
        detected_path = save_table(detected, folder)
        leave_spare(path)
        return detected_path

    return handle


def _serve(pipe: Connection, build_handler: Callable[..., Handler], arguments: Any, folder: str) -> None:  # noqa: ANN401 - as the builder takes
    watcher = initialize_worker(functools.partial(shutil.rmtree, folder, ignore_errors=True))
    keep_pandas_out()
    with silence_native_code(), contextlib.suppress(EOFError, ConnectionError):  # the supervisor is gone
        handler = _call(build_handler, *arguments)
        pipe.send(handler if isinstance(handler, TaskFailure) else None)
        while not isinstance(handler, TaskFailure):
            pipe.send(_call(handler, pipe.recv(), folder))
    watcher.join()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - whatever the function returns
    """Return what the function returns, or a `TaskFailure`."""
    try:
        return function(*arguments)
    except JobFault as fault:
        return TaskFailure(fault)
    except Exception:  # noqa: BLE001 - a bug: the supervisor stops with this traceback
        return TaskFailure(RuntimeError(f"A worker process failed.\n{traceback.format_exc()}"))


# -- in the supervisor -----------------------------------------------------------------------------------------


class Worker:
    """A process that runs one or two stages, as the supervisor sees it.

    Args:
        build_handler: Called in the process; returns its handler.
        arguments: Arguments of ``build_handler``.
        folder: Where tables pass between processes.
        is_detector: Whether the process holds a session.
    """

    def __init__(
        self,
        build_handler: Callable[..., Handler],
        arguments: tuple[Any, ...],
        folder: str,
        *,
        is_detector: bool,
    ) -> None:
        self._serve_arguments = (build_handler, arguments, folder)
        self.is_detector = is_detector
        self.is_ready = False
        """Whether the process has answered at least once."""
        self.assignments: deque[tuple[Task, Any]] = deque()
        """The tasks without an answer, each with the supervisor's own object for it."""
        self.pipe, worker_end = SPAWN.Pipe()
        self._process = SPAWN.Process(
            target=_serve,
            args=(worker_end, *self._serve_arguments),
            # A daemon cannot have children, and a session decodes very large images in one (`stream_views`).
            daemon=not is_detector,
        )
        with defer_signals():  # until the process ignores them itself
            self._process.start()
        worker_end.close()

    @property
    def is_free(self) -> bool:
        """Whether the worker can take a task; a session has its next task waiting while it runs one.

        A task in doubt has no other behind it: if the process dies, that task must have been alone with it.
        """
        is_in_doubt = any(task.doubted_by for task, _ in self.assignments)
        max_assignments = 2 if self.is_detector and not is_in_doubt else 1
        return self.is_ready and len(self.assignments) < max_assignments

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process, negative for a signal."""
        self._process.join(timeout=5)
        return self._process.exitcode

    def assign(self, task: Task, subject: object) -> None:
        """Send a task to the process.

        Args:
            task: What the process runs.
            subject: What the supervisor knows the task by.
        """
        self.assignments.append((task, subject))
        with contextlib.suppress(ConnectionError):  # it has died: `receive` will raise
            self.pipe.send(task)

    def receive(self) -> Answer:
        """Return the next answer of the process.

        Raises:
            EOFError: The process has died.
        """
        answer: Answer = self.pipe.recv()
        self.is_ready = True
        return answer

    def replace(self) -> "Worker":
        """Return a new worker in the place of this one, whose process has died."""
        self.stop()
        return Worker(*self._serve_arguments, is_detector=self.is_detector)

    def stop(self) -> None:
        """Kill the process and wait until it is gone."""
        self.pipe.close()
        kill_processes([self._process])
