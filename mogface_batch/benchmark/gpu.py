"""``benchmark gpu``: how fast MogFace runs on a GPU, in which form and with which options, against PyTorch on the same card.

    `gpu_plan.py` (which forms, in which order) -> `gpu_files.py` (their files) -> `gpu_bench.py` (a process for each,
    `gpu_runners.py`) -> rows of a `Table`, handed out one by one

Needs NumPy, ONNX, ONNX Runtime and torch, and nothing else that the project depends on.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mogface_batch.benchmark import gpu_plan
from mogface_batch.benchmark.gpu_bench import COMPARED, Bench, Rows, Settings
from mogface_batch.benchmark.gpu_files import prepare
from mogface_batch.benchmark.gpu_forms import Place
from mogface_batch.benchmark.gpu_job import measure_job
from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table
from mogface_batch.detector.providers import PROVIDERS
from mogface_batch.detector.session import check_provider_is_installed
from mogface_batch.errors import ConfigError
from mogface_batch.export.passes.calibration import make_synthetic_canvases

METHOD = (
    "a run is from canvases in the host's memory to candidates there, one after the other without overlap; each form in a "
    "process of its own, which takes turns with PyTorch eager fp32, for some seconds of runs each turn; images a second: "
    "median and quartiles of the turns; times_eager_fp32: median and quartiles of the ratios of two turns of one round, at "
    "the same batch. PyTorch eager stands for ModelScope's pipeline: the same network with the six convolutions whose results "
    "that throws away, but in batches, and without its decoding on the CPU; fp32 is without TF32, which torch by itself "
    "allows in convolutions: the row with TF32 is as ModelScope runs. TFLOP/s counts the network's own arithmetic, also "
    "where more is computed. Faces are compared with those of PyTorch fp32; fp16 and TF32 by the bounds of fp16. Device "
    "memory is what the card holds more than before the form was opened"
)
_DISTINCT_CANVASES = 8


def measure(settings: Settings, *, show_rows: Callable[[Table], None]) -> Table:
    """Return a row for each form.

    Args:
        settings: What is measured.
        show_rows: Called with all rows so far whenever there is one more.

    Raises:
        DeviceError: The device is not there, or no form of ONNX Runtime could be run on it.
        JobFault: The files cannot be made.
    """
    check_provider_is_installed(settings.provider)
    from mogface_batch.export.detectors.mogface.network.levels import Levels  # noqa: PLC0415 - this and the next need torch
    from mogface_batch.export.detectors.mogface.pytorch.torch_detector import check_gpu, count_tflop_per_image  # noqa: PLC0415

    levels = Levels.parse(settings.levels)
    if settings.provider.is_gpu:
        check_gpu()
    with tempfile.TemporaryDirectory(prefix="mogface-batch-gpu-") as temporary, ExitStack() as stack:
        files = settings.files or Path(temporary)
        place = Place(files / f"mogface-{levels}", settings.levels, settings.canvas_hw, settings.provider)
        deadline = time.monotonic() + 60 * settings.minutes
        exporter = prepare(place)
        tflop = count_tflop_per_image(levels, settings.canvas_hw)
        canvases = _write_canvases(Path(temporary), settings)
        table = Rows(_describe_conditions(settings, exporter, tflop), show_rows)
        bench = Bench(settings, place, canvases, tflop, deadline, table)
        bench.open_reference(stack)
        for stage in settings.stages:
            _STAGES[stage](bench)
        return bench.finish()


def _measure_shipped(bench: Bench) -> None:
    for form in gpu_plan.plan_shipped(bench.settings.provider, bench.settings.batch):
        bench.measure("shipped", form)


def _measure_options(bench: Bench) -> None:
    provider, batch = bench.settings.provider, bench.settings.batch
    best = gpu_plan.plan_base(provider, batch)
    for form in [best, *gpu_plan.plan_options(provider, batch, PROVIDERS[provider].options)]:
        bench.measure("options", form)
    bench.measure("options", gpu_plan.plan_combined(best, bench.measured))


def _measure_batches(bench: Bench) -> None:
    provider = bench.settings.provider
    winner = gpu_plan.choose_fastest(gpu_plan.plan_base(provider, bench.settings.batch), bench.measured)
    for form in gpu_plan.plan_batches(winner, provider):
        bench.measure("batches", form)


def _measure_compiled(bench: Bench) -> None:
    for form in gpu_plan.plan_compiled(bench.settings.batch):
        bench.measure("compile", form)


def _measure_tensorrt(bench: Bench) -> None:
    if bench.settings.provider.is_gpu:
        for form in gpu_plan.plan_tensorrt(bench.settings.batch, str(bench.place.folder)):
            bench.measure("tensorrt", form)


_STAGES: Mapping[str, Callable[[Bench], None]] = {
    "shipped": _measure_shipped,
    "options": _measure_options,
    "batches": _measure_batches,
    "compile": _measure_compiled,
    "tensorrt": _measure_tensorrt,
    "job": measure_job,
}


def _write_canvases(folder: Path, settings: Settings) -> Path:
    pixels = np.stack(make_synthetic_canvases(_DISTINCT_CANVASES, settings.canvas_hw).pixels)
    count = max(*gpu_plan.BATCHES, settings.batch) + COMPARED
    path = folder / "canvases.npy"
    np.save(path, np.tile(pixels, (-(-count // len(pixels)), 1, 1, 1)))
    return path


def _describe_conditions(settings: Settings, exporter: str, tflop: float) -> dict[str, Cell]:
    height, width = settings.canvas_hw
    defaults = PROVIDERS[settings.provider].options
    return {
        **describe_machine(),
        "provider": settings.provider.value,
        "provider_options": ", ".join(f"{name}={value}" for name, value in defaults.items()) or "none",
        "network": f"MogFace, levels {settings.levels}, seeded weights, exported by {exporter}",
        "canvas": f"{height}x{width}",
        "TFLOP_per_image": tflop,
        "rounds": f"{settings.rounds}, of turns of {settings.turn_s:g} s",
        "compared_canvases": COMPARED,
        "method": METHOD,
    }


def parse_stages(words: Sequence[str] | None) -> list[str]:
    """Return stages in the order in which they are measured; all of them for None.

    Raises:
        ConfigError: There is no such stage.
    """
    for word in words or ():
        if word not in _STAGES:
            raise ConfigError(f"There is no stage {word!r} to measure: there are {', '.join(_STAGES)}.")
    return [stage for stage in _STAGES if words is None or stage in words]
