"""The sessions of all forms, which take turns unit by unit on the same images."""

import functools
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.buckets.forms import Form, Setting
from mogface_batch.benchmark.process import Answer, SideProcess
from mogface_batch.canvases.batching import choose_batch_size
from mogface_batch.contract import ModelCard
from mogface_batch.detector import FaceDetector, read_model_file
from mogface_batch.geometry import Faces, HeightWidth, Pixels
from mogface_batch.stages.detect import Lanes, sort_largest_first
from mogface_batch.stages.settings import Model, count_lanes


@dataclass(slots=True)
class RoundCounts:
    """What a form's session ran in one round."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    slots: int = 0
    """Canvases of all runs, those included that only filled a batch."""
    px: int = 0
    """Pixels of these."""


@dataclass(slots=True)
class SessionRuns:
    """What the session of a form ran."""

    rounds: list[RoundCounts] = field(default_factory=list)
    faces: dict[int, Faces] = field(default_factory=dict)
    """Candidates by the number of the image."""


def run_sessions(
    forms: Sequence[Form], setting: Setting, contents: Sequence[Pixels], *, repeats: int
) -> list[SessionRuns]:
    """Return the runs of each form.

    Args:
        forms: Each gets a session in its own process.
        setting: What they have in common.
        contents: The images without padding.
        repeats: Rounds over all images, after one run of each canvas size that does not count.

    Raises:
        JobFault: A session cannot be opened, or fails.
    """
    runs = [SessionRuns() for _ in forms]
    with ExitStack() as stack:
        processes = [stack.enter_context(_start_session(form, setting)) for form in forms]
        for form, process in zip(forms, processes, strict=True):
            for canvas_hw in form.canvases:
                process.ask([np.zeros((1, *canvas_hw, 3), np.uint8)])
        for _ in range(repeats):
            for form_runs in runs:
                form_runs.rounds.append(RoundCounts())
            for index, unit in _order_turns(forms, len(contents)):
                _run_unit(forms[index], processes[index], contents, unit, runs[index])
    return runs


def _order_turns(forms: Sequence[Form], images: int) -> Iterator[tuple[int, range]]:
    """Yield the index of a form and a unit, so that all forms are about equally far at any time."""
    turns = [
        (start / images, index, range(start, min(images, start + form.rows_per_unit)))
        for index, form in enumerate(forms)
        for start in range(0, images, form.rows_per_unit)
    ]
    yield from ((index, unit) for _, index, unit in sorted(turns, key=lambda turn: turn[:2]))


def _start_session(form: Form, setting: Setting) -> SideProcess:
    fixed_hw = form.canvases[0] if len(form.canvases) == 1 else None
    model = Model(setting.model, read_model_file(setting.model), str(setting.model))
    lanes = count_lanes(form.config, model, setting.threads)
    batch_size = max(choose_batch_size(form.config), lanes)
    arguments = (setting.model, setting.provider, setting.threads, batch_size, lanes, fixed_hw)
    return SideProcess(f"the session for {form.name}", _open_session, arguments)


def _open_session(
    model: Path, provider: str, threads: int, batch_size: int, lanes: int, fixed_hw: HeightWidth | None
) -> Answer:
    open_detector = functools.partial(FaceDetector.open, model, provider=provider, canvas_hw=fixed_hw)
    session = Lanes(open_detector, threads=threads, batch_size=batch_size, lanes=lanes)
    score_at_least = read_model_file(model).card.score_threshold

    def run_unit(unit: Sequence[Pixels]) -> tuple[float, float, list[Faces]]:
        size = session.run_size
        parts = [
            canvases[start : start + size] for canvases in unit for start in range(0, len(canvases), size)
        ]
        batches = [functools.partial(parts.__getitem__, index) for index in range(len(parts))]
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        faces_by_run = session.detect(batches, score_at_least=score_at_least)
        seconds, cpu_seconds = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        return seconds, cpu_seconds, list(itertools.chain.from_iterable(faces_by_run))

    return run_unit


def _run_unit(
    form: Form, process: SideProcess, contents: Sequence[Pixels], unit: range, runs: SessionRuns
) -> None:
    """Run a unit and add it to the last round."""
    batch_size = choose_batch_size(form.config)
    groups: dict[HeightWidth, list[int]] = {}
    for number in unit:
        groups.setdefault(_choose_canvas(contents[number], form.canvases), []).append(number)
    by_size = sort_largest_first(groups)
    canvases = [
        np.stack([_pad(contents[number], canvas_hw, form.card) for number in numbers])
        for canvas_hw, numbers in by_size
    ]
    seconds, cpu_seconds, faces = process.ask(canvases)
    counts = runs.rounds[-1]
    counts.seconds += seconds
    counts.cpu_seconds += cpu_seconds
    for canvas_hw, numbers in by_size:
        slots = -(-len(numbers) // batch_size) * batch_size
        counts.slots += slots
        counts.px += slots * canvas_hw[0] * canvas_hw[1]
    numbers_in_order = (number for _, numbers in by_size for number in numbers)
    runs.faces |= dict(zip(numbers_in_order, faces, strict=True))


def _choose_canvas(content: Pixels, canvases: Sequence[HeightWidth]) -> HeightWidth:
    """Return the smallest canvas that holds the image, as `BucketsPolicy.fit` does; all give it the same scale."""
    height, width = content.shape[:2]
    return min((hw for hw in canvases if hw[0] >= height and hw[1] >= width), key=lambda hw: hw[0] * hw[1])


def _pad(content: Pixels, canvas_hw: HeightWidth, card: ModelCard) -> Pixels:
    canvas = np.empty((*canvas_hw, 3), np.uint8)
    canvas[:] = card.pad_rgb
    canvas[: content.shape[0], : content.shape[1]] = content
    return canvas
