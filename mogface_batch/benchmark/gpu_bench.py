"""`Bench` measures the forms of `benchmark gpu`: each in its own process, which takes turns with PyTorch in float32.

The ratio of two turns of one round cancels changes of the card's clock.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mogface_batch.benchmark import gpu_plan
from mogface_batch.benchmark.gpu_card import find_peak_tflop_per_s
from mogface_batch.benchmark.gpu_files import provide
from mogface_batch.benchmark.gpu_forms import Form, Place, SessionForm
from mogface_batch.benchmark.gpu_runners import Find, Nodes, Turn, open_and_answer
from mogface_batch.benchmark.machine import find_gpu_name, measure_used_device_memory_mb
from mogface_batch.benchmark.process import SideProcess
from mogface_batch.benchmark.table import Cell, Table
from mogface_batch.contract import Provider
from mogface_batch.errors import DeviceError, JobFault
from mogface_batch.evaluation.parity import GATES, Parity
from mogface_batch.geometry import Faces

COMPARED = 4
"""Canvases on which faces are compared."""
_WARM_UP_RUNS = 4
_GRACE_S = 30
"""How long after the deadline a form that is being opened is ended."""
_COLUMNS = (
    "stage", "variant", "options", "batch", "images_per_s", "quartiles", "ms_per_batch", "TFLOP_per_s", "share_of_peak",
    "times_eager_fp32", "device_memory_MB", "faces", "matched_closely", "lost", "gained", "score_difference_max", "passed",
    "nodes_on_CPU", "transposes", "copies", "opened_s", "remark",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure, and for how long."""

    stages: Sequence[str]
    """See `gpu.parse_stages`."""
    provider: Provider = Provider.CUDA
    canvas_hw: tuple[int, int] = (640, 640)
    levels: str = "2-7"
    batch: int = 8
    """Used by all stages but the one that tries batches."""
    minutes: float = 8.0
    """No row is begun after this time."""
    rounds: int = 5
    turn_s: float = 0.5
    """Time of the runs of a turn."""
    files: Path | None = None
    """Where the files that are measured are kept for the next time; None: they are removed."""


class Rows:
    """The rows so far; all of them are shown whenever there is one more."""

    def __init__(self, conditions: Mapping[str, Cell], show_rows: Callable[[Table], None]) -> None:
        self._conditions = conditions
        self._show_rows = show_rows
        self._rows: list[Mapping[str, Cell]] = []
        self._left_out: list[str] = []

    def add(self, figures: Mapping[str, Cell]) -> None:
        """Add a row; columns that are missing in ``figures`` are None."""
        self._rows.append({**dict.fromkeys(_COLUMNS), **figures})
        self._show_rows(self.build_table())

    def leave_out(self, name: str) -> None:
        """Note a form for which there was no time."""
        self._left_out.append(name)

    def build_table(self) -> Table:
        """Return the table."""
        left_out = "; ".join(self._left_out) or "nothing"
        conditions = {**self._conditions, "left_out_for_lack_of_time": left_out}
        return Table("gpu", "On a GPU", tuple(self._rows), conditions)


@dataclass(slots=True)
class Bench:
    """Measures forms one after the other, each against the reference, whose process stays."""

    settings: Settings
    place: Place
    canvases: Path
    tflop_per_image: float
    deadline: float
    """By `time.monotonic`; no row is begun later."""
    rows: Rows
    measured: list[tuple[SessionForm, float]] = field(default_factory=list)
    """The forms that ran, with their images per second."""
    _faults: list[JobFault] = field(default_factory=list)
    _reference: SideProcess | None = None
    _wanted: list[Faces] = field(default_factory=list)

    def open_reference(self, stack: ExitStack) -> None:
        """Open the form that all others are compared with; the stack closes it."""
        form = gpu_plan.plan_reference(self.settings.batch)
        self._reference = stack.enter_context(self._start_process(form))
        self._wanted = self._reference.ask(Find(form.batch, COMPARED))
        turns = [self._run_turn(self._reference, form.batch) for _ in range(self.settings.rounds)]
        self._add(
            "shipped",
            form,
            self._format_figures(form, turns, turns) | self._compare_faces(form, self._wanted),
        )

    def measure(self, stage: str, form: Form) -> None:
        """Add a row, unless the form was measured before; one that cannot be run has the reason in it."""
        if any(form == measured for measured, _ in self.measured):
            return
        if time.monotonic() > self.deadline:
            self.rows.leave_out(f"{form.name} batch {form.batch} {form.shown_options}".strip())
            return
        try:
            self._measure(stage, form)
        except JobFault as fault:
            if isinstance(form, SessionForm):
                self._faults.append(fault)
            self._add(stage, form, {"remark": str(fault)})

    def find_rate(self, form: SessionForm) -> float | None:
        """Return images a second of a form, None where it was not measured."""
        return next((rate for measured, rate in self.measured if measured == form), None)

    def finish(self) -> Table:
        """Return the table.

        Raises:
            JobFault: No form of ONNX Runtime could be run; the first reason.
        """
        if self._faults and not self.measured:
            raise self._faults[0]
        return self.rows.build_table()

    def _measure(self, stage: str, form: Form) -> None:
        provide(form, self.place)
        before_mb = measure_used_device_memory_mb()
        start = time.monotonic()
        with self._start_process(form) as process:
            opened_s = time.monotonic() - start
            nodes: Nodes | None = process.ask("nodes")
            comparison = self._compare_faces(form, process.ask(Find(form.batch, COMPARED)))
            rates, reference_rates = self._run_rounds(process, form.batch)
            after_mb = measure_used_device_memory_mb()
        figures = self._format_figures(form, rates, reference_rates) | comparison
        figures |= {"device_memory_MB": _subtract_mb(after_mb, before_mb), "opened_s": opened_s}
        if nodes:
            figures |= {"nodes_on_CPU": nodes.on_cpu, "transposes": nodes.transposes, "copies": nodes.copies}
        if isinstance(form, SessionForm):
            self.measured.append((form, float(np.median(rates))))
        self._add(stage, form, figures)

    def _start_process(self, form: Form) -> SideProcess:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        if method == "forkserver":
            # Forms then need not load torch anew; its libraries of CUDA serve ONNX Runtime as well.
            multiprocessing.set_forkserver_preload(["torch", open_and_answer.__module__])
        return SideProcess(
            f"{form.name}, batch {form.batch}",
            open_and_answer,
            (form, self.place, self.canvases, _WARM_UP_RUNS),
            start_method=method,
            timeout_s=self._count_time_left_s(),
        )

    def _count_time_left_s(self) -> float:
        return max(0.0, self.deadline - time.monotonic()) + _GRACE_S

    def _run_rounds(self, process: SideProcess, batch: int) -> tuple[list[float], list[float]]:
        """Return images a second of a form and of the reference, turn by turn; the latter empty if it cannot run."""
        rates: list[float] = []
        reference_rates: list[float] = []
        with contextlib.suppress(DeviceError):
            self._run_reference_turn(
                batch
            )  # it looks for its algorithms when it meets a batch for the first time
        for _ in range(self.settings.rounds):
            rates.append(self._run_turn(process, batch))
            with contextlib.suppress(DeviceError):
                reference_rates += self._run_reference_turn(batch)
        return rates, reference_rates if len(reference_rates) == len(rates) else []

    def _run_reference_turn(self, batch: int) -> list[float]:
        return [] if self._reference is None else [self._run_turn(self._reference, batch)]

    def _run_turn(self, process: SideProcess, batch: int) -> float:
        seconds: list[float] = process.ask(
            Turn(batch, self.settings.turn_s), timeout_s=self._count_time_left_s()
        )
        return batch * len(seconds) / sum(seconds)

    def _format_figures(
        self, form: Form, rates: Sequence[float], reference_rates: Sequence[float]
    ) -> dict[str, Cell]:
        rate = float(np.median(rates))
        peak = (
            find_peak_tflop_per_s(find_gpu_name() or "", form.precision)
            if self.settings.provider.is_gpu
            else None
        )
        ratios = [a / b for a, b in zip(rates, reference_rates, strict=False)]
        return {
            "images_per_s": rate,
            "quartiles": _format_quartiles(rates),
            "ms_per_batch": 1e3 * form.batch / rate,
            "TFLOP_per_s": rate * self.tflop_per_image,
            "share_of_peak": rate * self.tflop_per_image / peak if peak else None,
            "times_eager_fp32": f"{np.median(ratios):.2f} ({_format_quartiles(ratios)})" if ratios else None,
        }

    def _compare_faces(self, form: Form, faces: Sequence[Faces]) -> dict[str, Cell]:
        parity = Parity(GATES["fp32" if form.precision == "fp32" else "fp16"])
        for own_faces, reference_faces in zip(faces, self._wanted, strict=True):
            parity.add(own_faces, reference_faces)
        report = parity.report()
        return {
            "faces": report["reference_faces"],
            "matched_closely": f"{report['matched_closely']} at IoU {parity.gate.close_iou}",
            "lost": report["lost"],
            "gained": report["gained"],
            "score_difference_max": report["score_difference_max"],
            "passed": not report["failures"],
        }

    def _add(self, stage: str, form: Form, figures: Mapping[str, Cell]) -> None:
        labels: dict[str, Cell] = {"variant": form.name, "options": form.shown_options, "batch": form.batch}
        self.rows.add({"stage": stage, **labels, **figures})


def _format_quartiles(values: Sequence[float]) -> str:
    low, high = np.percentile(values, (25, 75))
    return f"{low:.4g} to {high:.4g}"


def _subtract_mb(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
