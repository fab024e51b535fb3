"""The processes of the local engine: a pipe, a loop, one task after the other."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
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
from mogface_batch.images.silence import native_code_silenced
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.processes.without_pandas import keep_pandas_out
from mogface_batch.stages.settings import StageSettings

# Spawned, not forked: a fork would copy the supervisor's threads' locks, and CUDA cannot be forked at all.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Task:
    """A stage, and what it takes: plan rows, or tables by their paths."""

    stage: str
    rows: pa.Table | None = None
    tables: tuple[str, ...] = ()
    unit: Unit | None = None
    doubted_by: str | None = None
    """`Ledger.run` where something died with the unit before."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker's answer when the job cannot go on, be it a fault or a bug."""

    error: Exception


Handler = Callable[[Task, str], "str | Receipt"]
Answer = str | Receipt | Failed | None


def cpu_worker(job: StageSettings) -> Handler:
    """Return what a process of the CPU stages does with a task."""
    from mogface_batch.stages.finish import Finish  # noqa: PLC0415
    from mogface_batch.stages.finish_unit import finish_unit  # noqa: PLC0415 - OpenCV stays out of the supervisor
    from mogface_batch.stages.prepare import Prepare  # noqa: PLC0415

    prepare, finish = Prepare(job), Finish(job)
    watchdog.arm(job.limits.stall_timeout_s)

    def handle(task: Task, folder: str) -> str | Receipt:
        if task.stage == "prepare":
            return save_table(prepare(task.rows), folder, over_spare=True)
        assert task.unit is not None  # noqa: S101 - a unit is what is finished
        # They keep their names until the part is published: who dies here leaves them to another.
        detected = pa.concat_tables([load_table(path) for path in task.tables])
        return finish_unit(finish, detected, task.unit, doubted_by=task.doubted_by)

    return handle


def detect_worker(job: StageSettings, model_path: str) -> Handler:
    """Return what a process that holds a session does with a task."""
    from mogface_batch.stages.detect import Detect  # noqa: PLC0415 - ONNX Runtime stays out of the supervisor

    detect = Detect(job, model_path)
    watchdog.arm(job.limits.stall_timeout_s)

    def handle(task: Task, folder: str) -> str:
        path, unit = task.tables[0], task.unit.part if task.unit else None
        found = detect(load_table(path), unit=unit, warm_up=task.doubted_by is not None)
        detected = save_table(found, folder)
        leave_spare(path)
        return detected

    return handle


def _serve(pipe: Connection, build: Callable[..., Handler], arguments: tuple[Any, ...], folder: str) -> None:
    # Ctrl-C reaches the whole process group, systemd's SIGTERM too: the supervisor decides when a worker ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    watcher = threading.Thread(target=_end_with_supervisor, args=(folder,), daemon=True)
    watcher.start()
    keep_pandas_out()
    with native_code_silenced(), contextlib.suppress(EOFError, ConnectionError):  # the supervisor is gone
        handler = _guarded(build, *arguments)
        pipe.send(handler if isinstance(handler, Failed) else None)
        while not isinstance(handler, Failed):
            pipe.send(_guarded(handler, pipe.recv(), folder))
    watcher.join()


def _end_with_supervisor(folder: str) -> None:
    """End this process when the supervisor dies, be it in the middle of a session's run, and its tables with it."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _guarded(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - whatever the function returns
    """Return what the function returns, or `Failed`."""
    try:
        return function(*arguments)
    except JobFault as fault:
        return Failed(fault)
    except Exception:  # noqa: BLE001 - a bug: the supervisor stops with this traceback
        return Failed(RuntimeError(f"A worker process failed.\n{traceback.format_exc()}"))


class Worker:
    """A process with a stage or two; made again when it dies."""

    def __init__(
        self, build: Callable[..., Handler], arguments: tuple[Any, ...], folder: str, *, is_detector: bool
    ) -> None:
        self._made_of = (build, arguments, folder)
        self.is_detector = is_detector
        self.was_ready = False
        self.given: deque[tuple[Task, Any]] = deque()
        """The tasks that it has not answered, with what the supervisor knows them by."""
        self.answers, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, *self._made_of), daemon=True)
        with defer_signals():  # also before it can ignore them
            self._process.start()
        theirs.close()

    @property
    def is_free(self) -> bool:
        """Whether it may be given a task; a session has its next one in hand while it works on the last.

        Not while it works on what is in doubt: if it dies, that must have been alone with it.
        """
        most = 2 if self.is_detector and not any(task.doubted_by for task, _ in self.given) else 1
        return self.was_ready and len(self.given) < most

    @property
    def exit_code(self) -> int | None:
        """The process's exit code, negative for a signal."""
        self._process.join(timeout=5)
        return self._process.exitcode

    def give(self, task: Task, subject: object) -> None:
        """Send a task."""
        self.given.append((task, subject))
        with contextlib.suppress(ConnectionError):  # it has died: its answer will be the end of the pipe
            self.answers.send(task)

    def take(self) -> Answer:
        """Return the next answer.

        Raises:
            EOFError: The process has died.
        """
        answer: Answer = self.answers.recv()
        self.was_ready = True
        return answer

    def replacement(self) -> "Worker":
        """Return a new process in the place of one that died."""
        self.stop()
        return Worker(*self._made_of, is_detector=self.is_detector)

    def stop(self) -> None:
        """End the process."""
        self.answers.close()
        self._process.kill()
        self._process.join()
