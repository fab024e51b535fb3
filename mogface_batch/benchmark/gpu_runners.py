"""Open a form of `benchmark gpu` in this process, and run and time batches.

A run begins with canvases in the host's memory and ends with candidates there, in every form.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mogface_batch.benchmark.gpu_forms import WEIGHTS, Form, Place, SessionForm, TorchForm
from mogface_batch.benchmark.process import Answer
from mogface_batch.contract import TOP_K, Provider
from mogface_batch.errors import DeviceError, quote_first_line
from mogface_batch.geometry import Faces, Pixels, choose_faces

Candidates = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes (N, K, 4) and scores (N, K), falling."""
SCORE_THRESHOLD, NMS_IOU, MAX_FACES = 0.82, 0.4, 750
"""As in the card of an exported MogFace."""
_OUTPUTS = ["boxes", "scores"]
_CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that ONNX Runtime ran for one batch."""

    on_cpu: int
    """Nodes on the CPU where the provider is another: the device may wait for each."""
    transposes: int
    copies: int
    """Between host and device, inside the graph."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Time for `seconds` of runs, of the first ``batch`` canvases: a question to `open_and_answer`."""

    batch: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Find:
    """Find the faces of the first ``count`` canvases, ``batch`` at a time: a question to `open_and_answer`."""

    batch: int
    count: int


class Runner(Protocol):
    """An open form."""

    def run(self, canvases: Pixels) -> Candidates:
        """Return the candidates of a batch (N, H, W, 3).

        Raises:
            DeviceError: The run failed.
        """
        ...

    def read_nodes(self) -> Nodes | None:
        """Return the nodes that were run, after the first run and once; None where it is not known."""
        ...


def open_and_answer(form: Form, place: Place, canvases: Path, warm_up_runs: int) -> Answer:
    """Open a form, warm it up, and return a function that answers questions.

    It answers `Turn` with the seconds of each run, `Find` with faces, and ``nodes`` with `Nodes`.

    Args:
        form: What to open.
        place: Where its files are.
        canvases: A file of (N, H, W, 3) as NumPy writes it.
        warm_up_runs: Runs before that do not count.

    Raises:
        JobFault: The form cannot be opened, or does not run.
    """
    runner = _open_runner(form, place)
    pixels: Pixels = np.load(canvases)
    runner.run(pixels[: form.batch])
    nodes = runner.read_nodes()
    for _ in range(warm_up_runs - 1):
        runner.run(pixels[: form.batch])

    def answer(question: Turn | Find | str) -> list[float] | list[Faces] | Nodes | None:
        match question:
            case Turn():
                return _time_runs(runner, pixels[: question.batch], question.seconds)
            case Find():
                return _find_faces(runner, pixels, question)
            case _:
                return nodes

    return answer


def _time_runs(runner: Runner, batch: Pixels, at_least_s: float) -> list[float]:
    seconds: list[float] = []
    while sum(seconds) < at_least_s or not seconds:
        start = time.perf_counter()
        runner.run(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def _find_faces(runner: Runner, pixels: Pixels, find: Find) -> list[Faces]:
    faces: list[Faces] = []
    for start in range(0, find.count, find.batch):
        boxes, scores = runner.run(pixels[start : start + find.batch])
        faces += [
            choose_faces(
                Faces(*candidates),
                score_at_least=SCORE_THRESHOLD,
                iou_at_most=NMS_IOU,
                max_faces=MAX_FACES,
            )
            for candidates in zip(boxes, scores, strict=True)
        ]
    return faces[: find.count]


def _open_runner(form: Form, place: Place) -> Runner:
    return (
        _open_torch_runner(form, place) if isinstance(form, TorchForm) else _open_session_runner(form, place)
    )


# -- PyTorch ---------------------------------------------------------------------------------------------------


class _TorchRunner:
    def __init__(self, detector: Any) -> None:  # noqa: ANN401 - its module needs torch
        self.run = detector.run

    def read_nodes(self) -> Nodes | None:
        return None


def _open_torch_runner(form: TorchForm, place: Place) -> Runner:
    from mogface_batch.export.detectors.mogface.network.levels import Levels  # noqa: PLC0415 - this and the next need torch
    from mogface_batch.export.detectors.mogface.pytorch.torch_detector import TorchDetector, TorchOptions  # noqa: PLC0415

    options = TorchOptions(
        half=form.half,
        tf32=form.tf32,
        channels_last=form.channels_last,
        compiled=form.compiled,
        dead_branches=True,
    )
    detector = TorchDetector(
        place.folder / WEIGHTS,
        Levels.parse(place.levels),
        place.canvas_hw,
        on_gpu=place.provider.is_gpu,
        options=options,
    )
    return _TorchRunner(detector)


# -- ONNX Runtime ----------------------------------------------------------------------------------------------


class _SessionRunner:
    def __init__(self, session: Any, provider: Provider) -> None:  # noqa: ANN401 - ONNX Runtime is untyped
        self._session = session
        self._provider = provider

    def run(self, canvases: Pixels) -> Candidates:
        try:
            return self._run(canvases)
        except Exception as error:
            raise DeviceError(
                f"Provider {self._provider} failed on {len(canvases)} canvases: {quote_first_line(error)}."
            ) from error

    def _run(self, canvases: Pixels) -> Candidates:
        boxes, scores = self._session.run(_OUTPUTS, {"images": canvases})
        return boxes, scores

    def read_nodes(self) -> Nodes | None:
        profile = Path(self._session.end_profiling())
        try:
            return count_nodes(
                json.loads(profile.read_bytes()), is_elsewhere=self._provider is not Provider.CPU
            )
        finally:
            profile.unlink()


class _BoundRunner(_SessionRunner):
    """With one place on the device for the canvases of all runs, and one for their candidates."""

    def __init__(self, session: Any, provider: Provider, shape: Sequence[int], candidates: int) -> None:  # noqa: ANN401
        super().__init__(session, provider)
        from mogface_batch.detector.session import load_onnxruntime  # noqa: PLC0415

        place = load_onnxruntime().OrtValue
        device = "cuda" if provider.is_gpu else "cpu"
        self._images = place.ortvalue_from_numpy(np.zeros(shape, np.uint8), device, 0)
        self._outputs = [
            place.ortvalue_from_shape_and_type((shape[0], candidates, *tail), np.float32, device, 0)
            for tail in ((4,), ())
        ]
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("images", self._images)
        for name, value in zip(_OUTPUTS, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def _run(self, canvases: Pixels) -> Candidates:
        self._images.update_inplace(canvases)
        self._session.run_with_iobinding(self._binding)
        boxes, scores = (value.numpy() for value in self._outputs)
        return boxes, scores


def _open_session_runner(form: SessionForm, place: Place) -> Runner:
    from mogface_batch.detector.session import Tuning, open_session  # noqa: PLC0415 - loads ONNX Runtime

    provider = Provider.TENSORRT if form.target == "tensorrt" else place.provider
    height, width = place.canvas_hw
    session = open_session(
        place.folder / form.graph,
        provider,
        threads=None,
        fixed_dims={"batch": form.batch, "height": height, "width": width},
        tuning=Tuning(form.options, place.folder / f"profile-{form.graph}"),
    )
    if not form.binding:
        return _SessionRunner(session, provider)
    try:
        return _BoundRunner(session, provider, (form.batch, height, width, 3), _count_candidates(place))
    except Exception as error:  # ONNX Runtime's have no common base
        raise DeviceError(
            f"Provider {provider} has no place for a batch: {quote_first_line(error)}."
        ) from error


def _count_candidates(place: Place) -> int:
    """Return how many candidates leave the graph for each canvas."""
    from mogface_batch.export.detectors.mogface.network.levels import Levels  # noqa: PLC0415 - its package asks for torch

    height, width = place.canvas_hw
    strides = Levels.parse(place.levels).anchors
    return min(TOP_K, sum(-(-height // stride) * -(-width // stride) for stride in strides))


def count_nodes(events: Sequence[Any], *, is_elsewhere: bool) -> Nodes:
    """Return the counts of one run by its profile.

    Args:
        events: Of ONNX Runtime's file.
        is_elsewhere: Whether the network is on another provider than the CPU.
    """
    ran = [
        event["args"]
        for event in events
        if event.get("cat") == "Node" and str(event.get("name")).endswith("_kernel_time")
    ]
    operators = [arguments.get("op_name") for arguments in ran]
    return Nodes(
        on_cpu=sum(arguments.get("provider") == _CPU for arguments in ran) if is_elsewhere else 0,
        transposes=operators.count("Transpose"),
        copies=sum(str(operator).startswith("Memcpy") for operator in operators),
    )
