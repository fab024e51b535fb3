"""A job whose detector only waits, in its own driver process: what everything but the network costs.

The images are real, small and all different; fetching, decoding, the engines, the ledger and the parts are those of any
job.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.scale.waiting_detector import build_environment
from mogface_batch import __version__
from mogface_batch.benchmark.machine import measure_memory_mb, measure_peak_memory_mb
from mogface_batch.config import validate
from mogface_batch.contract import INPUTS, OUTPUTS, ModelCard
from mogface_batch.detector.model_file import ModelFile
from mogface_batch.engines.engine import Event
from mogface_batch.errors import DeviceError
from mogface_batch.images.encode import encode
from mogface_batch.jobs.annotate import annotate
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.settings import Model

FILES = 2_000
"""Different images; a manifest of more rows names them by other names, through links to their folder."""
SIDE_PX = 32
_MODEL = "waits.onnx"
_NOTES = "notes"
_PROGRAM = "import sys; from benchmarks.scale.waiting import main; main(sys.argv[1:])"


@dataclass(frozen=True, slots=True)
class Order:
    """How the job runs."""

    engine: str
    per_canvas_s: float = 0.0
    """How long the session waits for each canvas."""
    workers: int = 1
    """Sessions."""
    rows_per_part: int = 80
    notes: bool = False
    """Whether the sessions note when they have seen what; otherwise `Outcome.seen_marks` is empty."""

    def build_environment(self, folder: Path) -> dict[str, str]:
        """Return the variables that the driver needs, and the raylets of a cluster that runs the job in ``folder``."""
        return build_environment(self.per_canvas_s, folder / _NOTES if self.notes else None)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the job was."""

    seconds: float
    """Since it began."""
    rows: int
    """In published parts; of `Outcome.seen_marks`, those that have passed the sessions."""
    driver_mb: float
    """Memory that the driver's process had in use, in 10^6 bytes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job went; marks rise, the first is from before the first part."""

    marks: tuple[Mark, ...]
    seen_marks: tuple[Mark, ...]
    """By the rows that have passed the sessions; empty without `Order.notes`."""
    whole_s: float
    driver_peak_mb: float


def compute_rate(marks: Sequence[Mark], start: float, stop: float) -> float:
    """Return rows a second between two shares of all rows, without the time until the first of them."""
    rows = marks[-1].rows
    first = next(mark for mark in marks if mark.rows >= max(start * rows, 1))
    last = next(mark for mark in marks if mark.rows >= stop * rows)
    return (last.rows - first.rows) / (last.seconds - first.seconds)


def write_images(folder: Path, rows: int) -> None:
    """Write `FILES` images, and a manifest of so many different names of them."""
    encoded = encode(np.full((SIDE_PX, SIDE_PX, 3), 127, np.uint8), ".jpg")
    files = folder / "images"
    files.mkdir(parents=True)
    for number in range(min(rows, FILES)):
        # A comment makes them differ, so that none is taken for another's copy.
        comment = f"{number:08}".encode()
        content = encoded[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + encoded[2:]
        (files / f"{number:04}.jpg").write_bytes(content)
    with (folder / "manifest.txt").open("w", encoding="utf-8") as manifest:
        for start in range(0, rows, FILES):
            link = folder / f"{start // FILES:06}"
            link.symlink_to(files, target_is_directory=True)
            manifest.writelines(f"{link}/{number:04}.jpg\n" for number in range(min(FILES, rows - start)))


def run_job(folder: Path, order: Order, *, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run the job on what `write_images` has written, in its own driver process.

    Args:
        folder: Where the images are; the output is made there.
        order: How it runs.
        environment: Variables of the driver; by default those of this process.

    Raises:
        DeviceError: The job failed.
    """
    command = [sys.executable, "-c", _PROGRAM, str(folder), json.dumps(asdict(order))]
    variables = {**(os.environ if environment is None else environment), **order.build_environment(folder)}
    driver = subprocess.run(  # noqa: S603 - this very file
        command, capture_output=True, text=True, check=False, env=variables
    )
    if driver.returncode:
        last_line = (driver.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise DeviceError(f"The job that waits failed with exit code {driver.returncode}: {last_line}")
    figures = json.loads(driver.stdout.splitlines()[-1])
    marks, seen_marks = (tuple(Mark(*mark) for mark in figures[name]) for name in ("marks", "seen_marks"))
    return Outcome(marks, seen_marks, figures["whole_s"], figures["driver_peak_mb"])


# -- in the driver process -----------------------------------------------------------------------------------


def _write_model(folder: Path) -> Model:
    (folder / _MODEL).write_bytes(b"")  # the engines pass its path to their workers
    card = ModelCard(
        detector="waits",
        weights_source="none",
        weights_sha256=hashlib.sha256(b"").hexdigest(),
        licence="Apache-2.0",
        stride=1,
        pad_rgb=(0, 0, 0),
        default_canvas_hw=(SIDE_PX, SIDE_PX),
        score_threshold=0.5,
        nms_iou=0.4,
        exporter=f"mogface-batch {__version__}",
    )
    # A fixed batch, so that a session runs one canvas at a time: its rate is then known.
    images = replace(INPUTS[0], shape=(1, *INPUTS[0].shape[1:]))
    file = ModelFile(card, (images,), OUTPUTS, hashlib.sha256(b"").hexdigest(), 0)
    return Model(folder / _MODEL, file, "waits")


def _read_notes(folder: Path, start_time: float) -> list[Mark]:
    lines = [line.split() for file in folder.iterdir() for line in file.read_text().splitlines()]
    marks: list[Mark] = []
    for at, canvases in sorted((float(at), int(canvases)) for at, canvases in lines):
        marks.append(Mark(at - start_time, canvases + (marks[-1].rows if marks else 0), 0.0))
    return marks


def _run_job(folder: Path, order: Order) -> dict[str, object]:
    config = validate(
        {
            "manifest": {"uri": str(folder / "manifest.txt")},
            "output": {"uri": str(folder / "out"), "annotated": False},
            "detect": {"workers": order.workers},
            "engine": order.engine,
            "rows_per_part": order.rows_per_part,
        },
        where="benchmark scale",
    )
    start, start_time = time.monotonic(), time.time()
    (folder / _NOTES).mkdir()
    marks = [Mark(0.0, 0, measure_memory_mb() or 0.0)]

    def watch(event: Event) -> None:
        if isinstance(event, Receipt):
            rows = marks[-1].rows + event.rows
            marks.append(Mark(time.monotonic() - start, rows, measure_memory_mb() or 0.0))

    record = annotate(config, _write_model(folder), watch=watch)
    if record["this_run"]["by_status"] != {"ok": marks[-1].rows}:
        raise RuntimeError(f"{record['this_run']} came out of {marks[-1].rows} good images")
    return {
        "marks": [astuple(mark) for mark in marks],
        "seen_marks": [astuple(mark) for mark in _read_notes(folder / _NOTES, start_time)],
        "whole_s": time.monotonic() - start,
        "driver_peak_mb": measure_peak_memory_mb() or 0.0,
    }


def main(words: Sequence[str]) -> None:
    """Run the job that the words name, and print the figures of `Outcome`."""
    folder, order = words
    print(json.dumps(_run_job(Path(folder), Order(**json.loads(order)))))  # for the process that asked
