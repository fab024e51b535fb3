"""Measures the forms of `benchmark gpu`: a process for each, which takes turns with PyTorch in float32.

The ratio of two turns of one round cancels what the card's clock does meanwhile.
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
from mogface_batch.benchmark.gpu_card import peak_tflop_per_s
from mogface_batch.benchmark.gpu_files import provide
from mogface_batch.benchmark.gpu_forms import Form, Place, SessionForm
from mogface_batch.benchmark.gpu_runners import Find, Nodes, Turn, answering
from mogface_batch.benchmark.machine import gpu_name, used_device_memory_mb
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
"""So long after its time a form that is being opened is ended."""
_COLUMNS = (
    "stage", "variant", "options", "batch", "images_per_s", "quartiles", "ms_per_batch", "TFLOP_per_s", "share_of_peak",
    "times_eager_fp32", "device_memory_MB", "faces", "matched_closely", "lost", "gained", "score_difference_max", "passed",
    "nodes_on_CPU", "transposes", "copies", "opened_s", "remark",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured, and for how long."""

    stages: Sequence[str]
    """See `gpu.checked_stages`."""
    provider: Provider = Provider.CUDA
    canvas_hw: tuple[int, int] = (640, 640)
    levels: str = "2-7"
    batch: int = 8
    """Of the stages in which the batch is not what is tried."""
    minutes: float = 8.0
    """After which no further row is begun."""
    rounds: int = 5
    turn_s: float = 0.5
    """Time of the runs of a turn."""
    files: Path | None = None
    """Where the files that are measured are kept for the next time; None: they are removed."""


class Rows:
    """The rows so far; whoever looks on is shown all of them whenever there is one more."""

    def __init__(self, conditions: Mapping[str, Cell], seen: Callable[[Table], None]) -> None:
        self._conditions = conditions
        self._seen = seen
        self._rows: list[Mapping[str, Cell]] = []
        self._left_out: list[str] = []

    def add(self, figures: Mapping[str, Cell]) -> None:
        """Add a row; what it does not tell is not known."""
        self._rows.append({**dict.fromkeys(_COLUMNS), **figures})
        self._seen(self.table())

    def leave_out(self, what: str) -> None:
        """Note what there was no time for."""
        self._left_out.append(what)

    def table(self) -> Table:
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
    """What ran, with its images a second."""
    _faults: list[JobFault] = field(default_factory=list)
    _reference: SideProcess | None = None
    _wanted: list[Faces] = field(default_factory=list)

    def open_reference(self, stack: ExitStack) -> None:
        """Open what all others are compared with; it is closed with the stack."""
        form = gpu_plan.reference(self.settings.batch)
        self._reference = stack.enter_context(self._process(form))
        self._wanted = self._reference.ask(Find(form.batch, COMPARED))
        turns = [self._turn(self._reference, form.batch) for _ in range(self.settings.rounds)]
        self._add("shipped", form, self._figures(form, turns, turns) | self._found(form, self._wanted))

    def measure(self, stage: str, form: Form) -> None:
        """Add a row, unless the form was measured before; one that cannot be run has the reason in it."""
        if any(form == done for done, _ in self.measured):
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

    def rate(self, form: SessionForm) -> float | None:
        """Return images a second of a form, None where it was not measured."""
        return next((rate for done, rate in self.measured if done == form), None)

    def finished(self) -> Table:
        """Return the table.

        Raises:
            JobFault: ONNX Runtime ran nothing: why.
        """
        if self._faults and not self.measured:
            raise self._faults[0]
        return self.rows.table()

    def _measure(self, stage: str, form: Form) -> None:
        provide(form, self.place)
        before_mb = used_device_memory_mb()
        start = time.monotonic()
        with self._process(form) as process:
            opened_s = time.monotonic() - start
            nodes: Nodes | None = process.ask("nodes")
            found = self._found(form, process.ask(Find(form.batch, COMPARED)))
            own, reference = self._rounds(process, form.batch)
            after_mb = used_device_memory_mb()
        figures = self._figures(form, own, reference) | found
        figures |= {"device_memory_MB": _difference(after_mb, before_mb), "opened_s": opened_s}
        if nodes:
            figures |= {"nodes_on_CPU": nodes.on_cpu, "transposes": nodes.transposes, "copies": nodes.copies}
        if isinstance(form, SessionForm):
            self.measured.append((form, float(np.median(own))))
        self._add(stage, form, figures)

    def _process(self, form: Form) -> SideProcess:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        if method == "forkserver":
            # Forms then need not load torch anew; its libraries of CUDA serve ONNX Runtime as well.
            multiprocessing.set_forkserver_preload(["torch", answering.__module__])
        return SideProcess(
            f"{form.name}, batch {form.batch}",
            answering,
            (form, self.place, self.canvases, _WARM_UP_RUNS),
            start_method=method,
            timeout_s=self._left_s(),
        )

    def _left_s(self) -> float:
        return max(0.0, self.deadline - time.monotonic()) + _GRACE_S

    def _rounds(self, process: SideProcess, batch: int) -> tuple[list[float], list[float]]:
        """Return images a second of a form and of the reference, turn by turn; the latter empty if it cannot run."""
        own: list[float] = []
        reference: list[float] = []
        with contextlib.suppress(DeviceError):
            self._reference_turn(
                batch
            )  # it looks for its algorithms when it meets a batch for the first time
        for _ in range(self.settings.rounds):
            own.append(self._turn(process, batch))
            with contextlib.suppress(DeviceError):
                reference += self._reference_turn(batch)
        return own, reference if len(reference) == len(own) else []

    def _reference_turn(self, batch: int) -> list[float]:
        return [] if self._reference is None else [self._turn(self._reference, batch)]

    def _turn(self, process: SideProcess, batch: int) -> float:
        seconds: list[float] = process.ask(Turn(batch, self.settings.turn_s), timeout_s=self._left_s())
        return batch * len(seconds) / sum(seconds)

    def _figures(self, form: Form, own: Sequence[float], reference: Sequence[float]) -> dict[str, Cell]:
        rate = float(np.median(own))
        peak = peak_tflop_per_s(gpu_name() or "", form.precision) if self.settings.provider.is_gpu else None
        ratios = [ours / theirs for ours, theirs in zip(own, reference, strict=False)]
        return {
            "images_per_s": rate,
            "quartiles": _quartiles(own),
            "ms_per_batch": 1e3 * form.batch / rate,
            "TFLOP_per_s": rate * self.tflop_per_image,
            "share_of_peak": rate * self.tflop_per_image / peak if peak else None,
            "times_eager_fp32": f"{np.median(ratios):.2f} ({_quartiles(ratios)})" if ratios else None,
        }

    def _found(self, form: Form, faces: Sequence[Faces]) -> dict[str, Cell]:
        parity = Parity(GATES["fp32" if form.precision == "fp32" else "fp16"])
        for found, wanted in zip(faces, self._wanted, strict=True):
            parity.add(found, wanted)
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
        said: dict[str, Cell] = {"variant": form.name, "options": form.shown_options, "batch": form.batch}
        self.rows.add({"stage": stage, **said, **figures})


def _quartiles(values: Sequence[float]) -> str:
    low, high = np.percentile(values, (25, 75))
    return f"{low:.4g} to {high:.4g}"


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
