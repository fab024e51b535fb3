"""`Worker`: a model in its own process, which runs one canvas at a time, so that its memory can be measured."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch.benchmark.machine import measure_peak_memory_mb
from mogface_batch.benchmark.process import Answer, SideProcess
from mogface_batch.geometry import Faces


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a measurement: a contract file, or MogFace's checkpoint in ModelScope's own pipeline."""

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
    """Of all threads of the process; other load on the machine changes it least."""
    faces: Faces


class Worker(SideProcess):
    """The process of a subject; a context manager that ends it.

    Raises:
        JobFault: The subject cannot be opened.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.name, _open_and_answer, (subject,))
        self.subject = subject

    def run(self, canvas: NDArray[np.uint8]) -> Run:
        """Return the faces of a canvas (H, W, 3), with the time they took.

        Raises:
            JobFault: The run failed.
        """
        run: Run = self.ask(canvas)
        return run

    def measure_peak_memory_mb(self) -> float | None:
        """Return the peak memory of the process, in 10^6 bytes."""
        peak: float | None = self.ask("memory")
        return peak


def _open_and_answer(subject: Subject) -> Answer:
    side = _open_subject(subject)
    return lambda question: (
        measure_peak_memory_mb() if isinstance(question, str) else _time_run(side, question)
    )


def _time_run(side: Any, canvas: NDArray[np.uint8]) -> Run:  # noqa: ANN401 - a FileSide or a Reference
    started, cpu_before = time.perf_counter(), time.process_time()
    faces = side.find_faces(canvas)
    return Run(time.perf_counter() - started, time.process_time() - cpu_before, faces)


def _open_subject(subject: Subject) -> Any:  # noqa: ANN401
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
