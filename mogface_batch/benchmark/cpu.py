"""``benchmark cpu``: how much faster a file made for the CPU is than the plain one and than ModelScope's pipeline.

For each canvas, every form is open in its own process, so that its peak memory is that of this canvas. They take turns,
and one is divided by another round by round, so that other load meets both.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table, format_quartiles
from mogface_batch.benchmark.worker import Run, Subject, Worker
from mogface_batch.contract import ModelCard
from mogface_batch.detector import read_model_file
from mogface_batch.evaluation.parity import GATES, Parity
from mogface_batch.geometry import Pixels

PIPELINE = "PyTorch (ModelScope's pipeline)"
METHOD = (
    "one canvas at a time, from pixels to faces; each form in a process of its own, which is opened anew for each canvas; "
    "they take turns canvas by canvas, after one run each that does not count; a ratio is the median of the ratios of two "
    "runs of the same turn, with their quartiles; CPU s is the time of all threads; peak memory is the most the process "
    "ever had resident, opening included"
)
Canvases = Mapping[tuple[int, int], Sequence[Pixels]]


def measure(
    files: Sequence[Path], canvases: Canvases, *, weights: str | None, threads: int, repeats: int
) -> Table:
    """Return a row for each canvas and form.

    Args:
        files: Contract files; the plain one first.
        canvases: (height, width) -> (H, W, 3) canvases of that size.
        weights: MogFace's checkpoint for ModelScope's pipeline, or None.
        threads: Of each form.
        repeats: Rounds over all canvases.

    Raises:
        JobFault: A file or the checkpoint cannot be used.
    """
    cards: dict[str, ModelCard] = {file.name: read_model_file(file).card for file in files}
    rows: list[Mapping[str, Cell]] = []
    for hw, sized_canvases in canvases.items():
        subjects = [Subject(file.name, file, None, "cpu", threads, hw) for file in files]
        if weights is not None:
            subjects.append(Subject(PIPELINE, None, weights, "cpu", threads, hw))
        runs, peaks = _measure_subjects(subjects, sized_canvases, repeats)
        reference = PIPELINE if weights is not None else files[0].name
        rows.extend(
            _format_row(
                subject, cards, runs, peaks[subject.name], (files[0].name, reference, len(sized_canvases))
            )
            for subject in subjects
        )
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "threads": threads,
        "images": len(next(iter(canvases.values()))),
        "rounds": repeats,
        "method": METHOD,
        "faces": f"compared with those of {PIPELINE if weights is not None else files[0].name}",
    }
    return Table("cpu", "What a file made for the CPU gains", tuple(rows), conditions)


def _measure_subjects(
    subjects: Sequence[Subject], canvases: Sequence[Pixels], repeats: int
) -> tuple[dict[str, list[Run]], dict[str, float | None]]:
    """Return the runs of each form, in the order of the turns, and its peak memory."""
    runs: dict[str, list[Run]] = {subject.name: [] for subject in subjects}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(subject)) for subject in subjects]
        for worker in workers:
            worker.run(canvases[0])
        for canvas in list(canvases) * repeats:
            for worker in workers:
                runs[worker.subject.name].append(worker.run(canvas))
        return runs, {worker.subject.name: worker.measure_peak_memory_mb() for worker in workers}


def _format_row(
    subject: Subject,
    cards: Mapping[str, ModelCard],
    runs: Mapping[str, Sequence[Run]],
    peak_memory_mb: float | None,
    bases: tuple[str, str, int],
) -> dict[str, Cell]:
    plain, reference, images = bases
    card = cards.get(subject.name)
    gate = GATES.get(card.precision if card else "fp32", GATES["int8"])
    parity = Parity(gate)
    subject_runs = runs[subject.name]
    for run, reference_run in list(zip(subject_runs, runs[reference], strict=True))[:images]:
        parity.add(run.faces, reference_run.faces)
    report = parity.report()
    height, width = subject.canvas_hw
    return {
        "canvas": f"{height}x{width}",
        "variant": subject.name,
        "precision": card.precision if card else "fp32",
        "for": card.target if card else None,
        "median_s": float(np.median([run.seconds for run in subject_runs])),
        "median_CPU_s": float(np.median([run.cpu_seconds for run in subject_runs])),
        "times_as_fast_as_plain": _format_ratio(runs[plain], subject_runs),
        "times_as_fast_as_PyTorch": _format_ratio(runs[PIPELINE], subject_runs) if PIPELINE in runs else None,
        "peak_memory_MB": peak_memory_mb,
        "faces": report["reference_faces"],
        "matched_closely": f"{report['matched_closely']} at IoU {gate.close_iou}",
        "lost": report["lost"],
        "gained": report["gained"],
        "score_difference_max": report["score_difference_max"],
        "passed": not report["failures"],
    }


def _format_ratio(slower: Sequence[Run], faster: Sequence[Run]) -> str:
    """Return the median and the quartiles of the ratios, turn by turn."""
    return format_quartiles([a.seconds / b.seconds for a, b in zip(slower, faster, strict=True)])
