"""A model in a process of its own, so that its memory is its own, which runs one canvas when it is told to."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch.benchmark.machine import peak_memory_mb
from mogface_batch.benchmark.process import Answer, SideProcess
from mogface_batch.geometry import Faces


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


class Worker(SideProcess):
    """The process of a subject; a context manager that ends it.

    Raises:
        JobFault: The subject cannot be opened: whatever that raises.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.name, _answering, (subject,))
        self.subject = subject

    def run(self, canvas: NDArray[np.uint8]) -> Run:
        """Return the faces of a canvas (H, W, 3), and how long they took.

        Raises:
            JobFault: The run failed.
        """
        done: Run = self.ask(canvas)
        return done

    def peak_memory_mb(self) -> float | None:
        """Return the most memory that the process ever had in use, in 10^6 bytes."""
        peak: float | None = self.ask("memory")
        return peak


def _answering(subject: Subject) -> Answer:
    side = _opened(subject)
    return lambda asked: peak_memory_mb() if isinstance(asked, str) else _timed(side, asked)


def _timed(side: Any, canvas: NDArray[np.uint8]) -> Run:  # noqa: ANN401 - a FileSide or a Reference
    started, cpu_before = time.perf_counter(), time.process_time()
    faces = side.faces(canvas)
    return Run(time.perf_counter() - started, time.process_time() - cpu_before, faces)


def _opened(subject: Subject) -> Any:  # noqa: ANN401
    if subject.file is not None:
        from mogface_batch.export.verify_model import FileSide  # noqa: PLC0415 - not in the other kind's memory

        return FileSide(
            subject.file,
            score_at_least=None,
            threads=subject.threads,
            provider=subject.provider,
            canvas_hw=subject.canvas_hw,
        )
    from mogface_batch.export.detectors.mogface.modelscope_reference import Reference  # noqa: PLC0415 - the same

    return Reference(str(subject.checkpoint), threads=subject.threads, on_gpu=subject.provider != "cpu")
