"""``benchmark buckets``: what a few canvases, chosen from the images' own sizes, save over one.

Each form has a session in a process of its own. They take turns unit by unit, and one is divided by the first round by
round: what else the machine does meets all of them. Then the whole jobs take turns.
"""

import functools
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mogface_batch import storage
from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.process import Answer, SideProcess
from mogface_batch.benchmark.table import Cell, Table
from mogface_batch.canvases.batching import choose_batch_size, choose_rows_per_unit
from mogface_batch.config import JobConfig, ManifestOptions, Policy, validate
from mogface_batch.contract import ModelCard
from mogface_batch.detector import FaceDetector, read_card
from mogface_batch.errors import DeviceError, InputError, RowFault
from mogface_batch.evaluation.parity import GATES, Parity
from mogface_batch.geometry import Faces, HeightWidth, Letterbox, Pixels, choose_faces
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.jobs.resolve_canvases import resolve_canvases
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.source_images import read_image
from mogface_batch.stages.build_settings import Model, count_lanes
from mogface_batch.stages.detect import Lanes, sort_largest_first

METHOD = (
    "session: as the job opens it; images already decoded and shrunk, which is the same in all forms; each form in a process of its own; they "
    "take turns unit by unit, after one run of each canvas that does not count; whole job: mogface-batch annotate with "
    "engine=local and no pictures, start included, in turns as well; a ratio is the median of the ratios of two runs of "
    "the same round, with their quartiles; padded share: canvases that only filled a batch; CPU s: of "
    "all threads"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all forms have in common."""

    model: Path
    manifest: str
    within_hw: HeightWidth
    provider: str
    threads: int
    batch_size: int | None
    limit: int | None
    """Only the first so many images are measured; the canvases are chosen from all."""


@dataclass(frozen=True, slots=True)
class _Form:
    config: JobConfig
    card: ModelCard

    @property
    def canvases(self) -> tuple[HeightWidth, ...]:
        return self.config.canvas.sizes or ()

    @property
    def name(self) -> str:
        return ", ".join(f"{height}x{width}" for height, width in self.canvases)

    @property
    def rows_per_unit(self) -> int:
        return choose_rows_per_unit(self.config, self.canvases)


@dataclass(slots=True)
class _Counts:
    """What a form's session saw in one round."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    slots: int = 0
    px: int = 0


def measure(setting: Setting, *, counts: Sequence[int], repeats: int, job_repeats: int) -> Table:
    """Return a row for each number of canvases.

    Args:
        setting: Images, model, device.
        counts: How many canvases at most, each a row; the first is what the others are compared with.
        repeats: Rounds of the sessions.
        job_repeats: Rounds of the whole job; 0: it is left out.

    Raises:
        JobFault: The model or the images cannot be used.
    """
    card = read_card(setting.model).card
    with tempfile.TemporaryDirectory() as folder:
        forms = [_form(setting, card, count, Path(folder)) for count in counts]
        contents = _contents(setting, card)
        rounds, faces = _sessions(forms, setting, contents, repeats)
        jobs = _jobs(forms, setting, Path(folder), job_repeats)
    rows = tuple(
        {
            "canvases_at_most": count,
            "canvases": form.name,
            **_session_figures(rounds, place, contents),
            **_face_figures(card, faces[place], faces[0]),
            **(_job_figures(jobs, place) if jobs else {}),
        }
        for place, (count, form) in enumerate(zip(counts, forms, strict=True))
    )
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "model": card.detector,
        "provider": setting.provider,
        "threads": setting.threads,
        "batch": choose_batch_size(forms[0].config),
        "rows_per_unit": ", ".join(str(form.rows_per_unit) for form in forms),
        "images": len(contents),
        "rounds": f"{repeats}, whole jobs {job_repeats}",
        "method": METHOD,
        "faces": f"compared with those on {forms[0].name}",
    }
    return Table("buckets", "Less padding", rows, conditions)


def _form(setting: Setting, card: ModelCard, count: int, folder: Path) -> _Form:
    document = {
        "model": str(setting.model),
        "manifest": {"uri": setting.manifest},
        "output": {"uri": str(folder / f"out-{count}"), "annotated": False},
        "canvas": {"policy": Policy.BUCKETS.value, "sizes": [setting.within_hw], "buckets": count},
        "detect": {"provider": setting.provider, "batch_size": setting.batch_size},
    }
    config = validate(document, where="benchmark buckets")
    return _Form(resolve_canvases(config, card, storage.open_store(config.output.uri)), card)


def _contents(setting: Setting, card: ModelCard) -> list[Pixels]:
    """Return the images as they lie on a canvas, without the padding."""
    rows = open_manifest(ManifestOptions(uri=setting.manifest)).rows()
    addresses = (address for some in rows for address in some.addresses)
    return [
        _content(address, setting.within_hw, card) for address in itertools.islice(addresses, setting.limit)
    ]


def _content(address: str, within_hw: HeightWidth, card: ModelCard) -> Pixels:
    try:
        image = read_image(address)
    except RowFault as fault:
        raise InputError(f"{storage.redact(address)} cannot be used: {fault}") from None
    letterbox = Letterbox.fit(image.header.upright_hw, within_hw)
    alone = replace(letterbox, canvas_hw=letterbox.content_hw)
    return place_on_canvas(image.rgb, alone, card.pad_rgb)


# -- the sessions ----------------------------------------------------------------------------------------------


def _sessions(
    forms: Sequence[_Form], setting: Setting, contents: Sequence[Pixels], repeats: int
) -> tuple[list[list[_Counts]], list[dict[int, Faces]]]:
    """Return what each form's session saw in each round, and the faces of each image by its number."""
    rounds: list[list[_Counts]] = []
    faces: list[dict[int, Faces]] = [{} for _ in forms]
    with ExitStack() as stack:
        sides = [stack.enter_context(_side(form, setting)) for form in forms]
        for form, side in zip(forms, sides, strict=True):
            for hw in form.canvases:
                side.ask([np.zeros((1, *hw, 3), np.uint8)])
        for _ in range(repeats):
            rounds.append([_Counts() for _ in forms])
            for place, unit in _turns(forms, len(contents)):
                _run_unit(forms[place], sides[place], contents, unit, rounds[-1][place], faces[place])
    return rounds, faces


def _turns(forms: Sequence[_Form], images: int) -> Iterator[tuple[int, range]]:
    """Yield form and unit, so that all forms are about equally far at any time."""
    units = [
        (start / images, place, range(start, min(images, start + form.rows_per_unit)))
        for place, form in enumerate(forms)
        for start in range(0, images, form.rows_per_unit)
    ]
    yield from ((place, unit) for _, place, unit in sorted(units, key=lambda turn: turn[:2]))


def _side(form: _Form, setting: Setting) -> SideProcess:
    hw = form.canvases[0] if len(form.canvases) == 1 else None
    model = Model(setting.model, read_card(setting.model), str(setting.model))
    at_once = count_lanes(form.config, model, setting.threads)
    size = max(choose_batch_size(form.config), at_once)
    arguments = (setting.model, setting.provider, setting.threads, size, at_once, hw)
    return SideProcess(f"the session for {form.name}", _opened, arguments)


def _opened(
    model: Path, provider: str, threads: int, batch: int, at_once: int, hw: HeightWidth | None
) -> Answer:
    opened = functools.partial(FaceDetector.open, model, provider=provider, canvas_hw=hw)
    session = Lanes(opened, threads=threads, batch_size=batch, lanes=at_once)
    score_at_least = read_card(model).card.score_threshold

    def answer(unit: Sequence[Pixels]) -> tuple[float, float, list[Faces]]:
        size = session.run_size
        parts = [
            canvases[start : start + size] for canvases in unit for start in range(0, len(canvases), size)
        ]
        batches = [functools.partial(parts.__getitem__, place) for place in range(len(parts))]
        started, cpu_before = time.perf_counter(), time.process_time()
        found = session.detect(batches, score_at_least=score_at_least)
        took = time.perf_counter() - started, time.process_time() - cpu_before
        return *took, list(itertools.chain.from_iterable(found))

    return answer


def _run_unit(
    form: _Form,
    side: SideProcess,
    contents: Sequence[Pixels],
    unit: range,
    counts: _Counts,
    faces: dict[int, Faces],
) -> None:
    batch = choose_batch_size(form.config)
    groups: dict[HeightWidth, list[int]] = {}
    for number in unit:
        groups.setdefault(_canvas_of(contents[number], form.canvases), []).append(number)
    by_size = sort_largest_first(groups)
    canvases = [
        np.stack([_placed(contents[number], hw, form.card) for number in numbers]) for hw, numbers in by_size
    ]
    seconds, cpu_seconds, found = side.ask(canvases)
    counts.seconds += seconds
    counts.cpu_seconds += cpu_seconds
    for hw, numbers in by_size:
        slots = -(-len(numbers) // batch) * batch
        counts.slots += slots
        counts.px += slots * hw[0] * hw[1]
    in_order = (number for _, numbers in by_size for number in numbers)
    faces |= dict(zip(in_order, found, strict=True))


def _canvas_of(content: Pixels, canvases: Sequence[HeightWidth]) -> HeightWidth:
    """Return the smallest canvas that holds it, as `BucketsPolicy.fit` does: all of them give it the same scale."""
    height, width = content.shape[:2]
    return min((hw for hw in canvases if hw[0] >= height and hw[1] >= width), key=lambda hw: hw[0] * hw[1])


def _placed(content: Pixels, hw: HeightWidth, card: ModelCard) -> Pixels:
    canvas = np.empty((*hw, 3), np.uint8)
    canvas[:] = card.pad_rgb
    canvas[: content.shape[0], : content.shape[1]] = content
    return canvas


def _session_figures(
    rounds: Sequence[Sequence[_Counts]], place: int, contents: Sequence[Pixels]
) -> dict[str, Cell]:
    own = [one[place] for one in rounds]
    seen_px = sum(content.shape[0] * content.shape[1] for content in contents)
    return {
        "session_s": float(np.median([one.seconds for one in own])),
        "session_CPU_s": float(np.median([one.cpu_seconds for one in own])),
        "session_times_as_fast": _ratio([(one[0].seconds, one[place].seconds) for one in rounds]),
        "padded_share": round(1 - len(contents) / own[0].slots, 4),
        "empty_share_of_pixels": round(1 - seen_px / own[0].px, 4),
    }


def _face_figures(card: ModelCard, own: dict[int, Faces], first: dict[int, Faces]) -> dict[str, Cell]:
    parity = Parity(GATES["fp32"])
    for number, faces in own.items():
        parity.add(_chosen(faces, card), _chosen(first[number], card))
    report = parity.report()
    return {
        "faces": report["reference_faces"],
        "matched_at_IoU_0.99": report["matched_closely"],
        "lost": report["lost"],
        "gained": report["gained"],
    }


def _chosen(candidates: Faces, card: ModelCard) -> Faces:
    return choose_faces(
        candidates,
        score_at_least=card.score_threshold,
        iou_at_most=card.nms_iou,
        max_faces=card.max_faces,
    )


def _ratio(pairs: Sequence[tuple[float, float]]) -> str:
    low, median, high = np.percentile([first / own for first, own in pairs], (25, 50, 75))
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


# -- the whole job ---------------------------------------------------------------------------------------------


def _jobs(
    forms: Sequence[_Form], setting: Setting, folder: Path, repeats: int
) -> list[list[tuple[float, float]]]:
    """Return of each round and form the seconds of the whole job, and the padded share of its record."""
    return [
        [_job(form, setting, folder / f"job-{number}-{place}") for place, form in enumerate(forms)]
        for number in range(repeats)
    ]


def _job(form: _Form, setting: Setting, out: Path) -> tuple[float, float]:
    document = form.config.model_dump(mode="json")
    document["canvas"]["sizes"] = [setting.within_hw]  # so that it takes its sample itself
    document["output"]["uri"] = str(out)
    document["detect"]["cpus_per_worker"] = setting.threads
    document |= {"engine": "local", "limit": setting.limit, "max_error_rate": 1.0}
    config = out.with_suffix(".yaml")
    config.write_text(json.dumps(document), encoding="utf-8")
    started = time.perf_counter()
    command = [sys.executable, "-m", "mogface_batch", "annotate", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    took = time.perf_counter() - started
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DeviceError(f"The whole job on {form.name} ended with exit code {done.returncode}: {last}")
    record: dict[str, Any] = json.loads((out / "run.json").read_text())
    return took, record["session"]["padded_share"] or 0.0


def _job_figures(jobs: Sequence[Sequence[tuple[float, float]]], place: int) -> dict[str, Cell]:
    return {
        "job_s": float(np.median([one[place][0] for one in jobs])),
        "job_times_as_fast": _ratio([(one[0][0], one[place][0]) for one in jobs]),
        "job_padded_share": jobs[0][place][1],
    }
