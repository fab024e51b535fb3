"""``benchmark precision``: what each form of a detector costs, in time and memory, and what it costs in faces.

All forms are open at the same time, each in its own process; they take turns canvas by canvas, so that other load
meets all of them alike. One canvas at a time: batch 1.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mogface_batch.benchmark.machine import describe_machine, measure_device_memory_mb
from mogface_batch.benchmark.table import Cell, Table
from mogface_batch.benchmark.worker import Subject, Worker
from mogface_batch.contract import ModelCard
from mogface_batch.detector import read_model_file
from mogface_batch.evaluation.parity import GATES, Parity
from mogface_batch.geometry import Faces

PIPELINE = "PyTorch (ModelScope's pipeline)"
METHOD = (
    "one canvas at a time, from pixels to faces (threshold and NMS included); the forms take turns canvas by canvas, "
    "after one run each that does not count; each has a process of its own, whose peak memory is the most it ever "
    "had resident, weights and libraries included; CPU ms is the time of all its threads together"
)


@dataclass(slots=True)
class _Record:
    """The figures of a subject."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    faces: list[Faces] = field(default_factory=list)
    """Of each canvas, from the first round."""
    peak_memory_mb: float | None = None
    device_memory_mb: float | None = None


def measure(
    files: Sequence[Path],
    canvases: Sequence[NDArray[np.uint8]],
    *,
    weights: str | None,
    provider: str,
    threads: int,
    repeats: int,
) -> Table:
    """Return a row for ModelScope's pipeline, if weights are given, and one for each file.

    Args:
        files: Contract files; the first row of all is what the faces of the others are compared with.
        canvases: (H, W, 3) each, all of one size.
        weights: MogFace's checkpoint, or None.
        provider: On which all of them run.
        threads: Of each.
        repeats: Rounds over all canvases.

    Raises:
        JobFault: A file, the checkpoint or the device cannot be used.
    """
    height, width, _ = canvases[0].shape
    cards: list[ModelCard | None] = [read_model_file(file).card for file in files]
    subjects = [Subject(file.name, file, None, provider, threads, (height, width)) for file in files]
    if weights is not None:
        subjects.insert(0, Subject(PIPELINE, None, weights, provider, threads, (height, width)))
        cards.insert(0, None)
    records = _measure_subjects(subjects, canvases, repeats)
    rows = tuple(
        _format_row(subject, card, record, records[0])
        for subject, card, record in zip(subjects, cards, records, strict=True)
    )
    conditions: Mapping[str, Cell] = {
        **describe_machine(),
        "provider": provider,
        "threads": threads,
        "canvas": f"{height}x{width}, batch 1",
        "images": len(canvases),
        "rounds": repeats,
        "method": METHOD,
        "faces": f"compared with those of {subjects[0].name} by IoU >= 0.5; matched closely by the precision's own bound",
    }
    return Table("precision", "What a precision costs", rows, conditions)


def _measure_subjects(
    subjects: Sequence[Subject], canvases: Sequence[NDArray[np.uint8]], repeats: int
) -> list[_Record]:
    records = [_Record() for _ in subjects]
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(subject)) for subject in subjects]
        for worker in workers:
            worker.run(canvases[0])
        for round_number in range(repeats):
            for canvas in canvases:
                for worker, record in zip(workers, records, strict=True):
                    run = worker.run(canvas)
                    record.seconds.append(run.seconds)
                    record.cpu_seconds.append(run.cpu_seconds)
                    if round_number == 0:
                        record.faces.append(run.faces)
        for worker, record in zip(workers, records, strict=True):
            record.peak_memory_mb = worker.measure_peak_memory_mb()
            record.device_memory_mb = measure_device_memory_mb(worker.pid)
    return records


def _format_row(
    subject: Subject, card: ModelCard | None, record: _Record, reference: _Record
) -> dict[str, Cell]:
    gate = GATES.get(card.precision if card else "fp32", GATES["int8"])
    parity = Parity(gate)
    for faces, reference_faces in zip(record.faces, reference.faces, strict=True):
        parity.add(faces, reference_faces)
    report = parity.report()
    return {
        "variant": subject.name,
        "precision": card.precision if card else "fp32",
        "for": card.target if card else None,
        "file_MB": subject.file.stat().st_size / 1e6 if subject.file else None,
        "median_ms": float(np.median(record.seconds)) * 1e3,
        "p95_ms": float(np.percentile(record.seconds, 95)) * 1e3,
        "median_CPU_ms": float(np.median(record.cpu_seconds)) * 1e3,
        "images_per_s": len(record.seconds) / sum(record.seconds),
        "peak_memory_MB": record.peak_memory_mb,
        "device_memory_MB": record.device_memory_mb,
        "faces": sum(map(len, record.faces)),
        "matched": report["matched"],
        "matched_closely": f"{report['matched_closely']} at IoU {gate.close_iou}",
        "lost": report["lost"],
        "gained": report["gained"],
        "score_difference_max": report["score_difference_max"],
    }
