"""A model in a process of its own, so that its memory is its own, which runs one canvas when it is told to."""

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mogface_batch.benchmark.machine import peak_memory_mb
from mogface_batch.errors import DeviceError, JobFault
from mogface_batch.geometry import Faces

_END_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: a contract file, or MogFace's checkpoint in ModelScope's own pipeline."""

    name: str
    file: Path | None
    checkpoint: str | None
    provider: str
    threads: int
    canvas_hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """One canvas, from its pixels to its faces."""

    seconds: float
    cpu_seconds: float
    """Of all threads of the process: what else the machine does changes this least."""
    faces: Faces


class Worker:
    """The process of a subject; a context manager that ends it."""

    def __init__(self, subject: Subject) -> None:
        """Start it.

        Raises:
            JobFault: The subject cannot be opened: whatever that raises.
        """
        self.subject = subject
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, subject), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._received()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid or 0

    def run(self, canvas: NDArray[np.uint8]) -> Run:
        """Return the faces of a canvas (H, W, 3), and how long they took.

        Raises:
            JobFault: The run failed.
        """
        self._connection.send(canvas)
        done: Run = self._received()
        return done

    def peak_memory_mb(self) -> float | None:
        """Return the most memory that the process ever had in use, in 10^6 bytes."""
        self._connection.send("memory")
        peak: float | None = self._received()
        return peak

    def close(self) -> None:
        """End the process."""
        self._connection.close()  # it ends when it reads that
        self._process.join(_END_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _received(self) -> Any:  # noqa: ANN401 - a Run, a number, or nothing
        try:
            answer = self._connection.recv()
        except (EOFError, ConnectionError):
            self._process.join(_END_TIMEOUT_S)
            raise DeviceError(
                f"The process of {self.subject.name} has died (exit code {self._process.exitcode}): "
                "its memory may not have sufficed. Choose a smaller canvas, or fewer files at once."
            ) from None
        if isinstance(answer, JobFault):
            raise answer
        return answer


def _serve(connection: Connection, subject: Subject) -> None:
    try:
        side = _opened(subject)
        connection.send(None)
        while True:
            asked = connection.recv()
            connection.send(peak_memory_mb() if isinstance(asked, str) else _timed(side, asked))
    except JobFault as fault:
        connection.send(fault)
    except (EOFError, ConnectionError, KeyboardInterrupt):
        pass


def _timed(side: Any, canvas: NDArray[np.uint8]) -> Run:  # noqa: ANN401 - a FileSide or a Reference
    started, cpu_before = time.perf_counter(), time.process_time()
    faces = side.faces(canvas)
    return Run(time.perf_counter() - started, time.process_time() - cpu_before, faces)


def _opened(subject: Subject) -> Any:  # noqa: ANN401
    if subject.file is not None:
        from mogface_batch.export.verify import FileSide  # noqa: PLC0415 - not in the other kind's memory

        return FileSide(
            subject.file,
            score_at_least=None,
            threads=subject.threads,
            provider=subject.provider,
            canvas_hw=subject.canvas_hw,
        )
    from mogface_batch.export.mogface.reference import Reference  # noqa: PLC0415 - the same

    return Reference(str(subject.checkpoint), threads=subject.threads, on_gpu=subject.provider != "cpu")
