"""A job whose session only waits, in a driver of its own: what everything but the network costs.

The images are real, small and all different; fetching, decoding, the engines, the ledger and the parts are the job's own.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mogface_batch import __version__
from mogface_batch.benchmark.machine import memory_mb, peak_memory_mb
from mogface_batch.config import validated
from mogface_batch.contract import INPUTS, OUTPUTS, ModelCard
from mogface_batch.detector.model_file import ModelFile
from mogface_batch.engines.engine import Event
from mogface_batch.errors import DeviceError
from mogface_batch.geometry import Faces
from mogface_batch.images.encode import encode
from mogface_batch.jobs.annotate import Model, annotate
from mogface_batch.output.publish import Receipt

FILES = 2_000
"""Different images; a manifest of more rows names them by other names, through links to their folder."""
SIDE_PX = 32
_MODEL = "waits.onnx"
_NOTES = "notes"
_PROGRAM = "import sys; from mogface_batch.benchmark.waiting import main; main(sys.argv[1:])"


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
    """Whether the sessions note when they have seen what; else `Outcome.seen` is empty."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the job was."""

    seconds: float
    """Since it began."""
    rows: int
    """In published parts; of `Outcome.seen`, those that have passed the sessions."""
    driver_mb: float
    """Memory that the driver's process had in use, in 10^6 bytes."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job; marks rise, the first is from before the first part."""

    marks: tuple[Mark, ...]
    seen: tuple[Mark, ...]
    whole_s: float
    driver_peak_mb: float


def rate(marks: Sequence[Mark], start: float, stop: float) -> float:
    """Return rows a second between two shares of all rows, without the time until the first of them."""
    rows = marks[-1].rows
    first = next(mark for mark in marks if mark.rows >= max(start * rows, 1))
    last = next(mark for mark in marks if mark.rows >= stop * rows)
    return (last.rows - first.rows) / (last.seconds - first.seconds)


class Waiting:
    """Finds nothing, after a while, without using the CPU.

    Args:
        per_canvas_s: How long that is.
        notes: A folder for a file that says when how many canvases were seen, or None.
    """

    def __init__(self, per_canvas_s: float, notes: str | None = None) -> None:
        self._per_canvas_s = per_canvas_s
        self._notes = None if notes is None else Path(notes, f"{os.getpid()}.txt")

    def detect_canvases(self, canvases: NDArray[np.uint8], *, score_at_least: float) -> list[Faces]:  # noqa: ARG002 - as `FaceDetector` does
        """Return no candidate for each canvas."""
        time.sleep(self._per_canvas_s * len(canvases))
        if self._notes is not None:
            with self._notes.open("a", encoding="utf-8") as file:
                file.write(f"{time.time()} {len(canvases)}\n")
        return [_NOTHING] * len(canvases)


_NOTHING = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def _opened(*_: object, per_canvas_s: float, notes: str | None, **__: object) -> Waiting:
    return Waiting(per_canvas_s, notes)


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


def run(folder: Path, order: Order, *, environment: Mapping[str, str] | None = None) -> Outcome:
    """Run the job on what `write_images` has written, in a process of its own.

    Args:
        folder: Where the images are; the output is made there.
        order: How it runs.
        environment: Of the process; its parent's by default.

    Raises:
        DeviceError: It failed.
    """
    command = [sys.executable, "-c", _PROGRAM, str(folder), json.dumps(asdict(order))]
    done = subprocess.run(  # noqa: S603 - this very file
        command, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DeviceError(f"The job that waits failed with exit code {done.returncode}: {last}")
    said = json.loads(done.stdout.splitlines()[-1])
    marks, seen = (tuple(Mark(*mark) for mark in said[name]) for name in ("marks", "seen"))
    return Outcome(marks, seen, said["whole_s"], said["driver_peak_mb"])


# -- in a process of its own -----------------------------------------------------------------------------------


def _model(folder: Path, order: Order) -> Model:
    (folder / _MODEL).write_bytes(b"")  # what the engines hand to their workers
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
    file = ModelFile(card, INPUTS, OUTPUTS, hashlib.sha256(b"").hexdigest(), 0)
    notes = str(folder / _NOTES) if order.notes else None
    (folder / _NOTES).mkdir()
    opener = partial(_opened, per_canvas_s=order.per_canvas_s, notes=notes)
    return Model(folder / _MODEL, file, "waits", opener)


def _seen(folder: Path, started: float) -> list[Mark]:
    lines = [line.split() for file in folder.iterdir() for line in file.read_text().splitlines()]
    marks: list[Mark] = []
    for at, canvases in sorted((float(at), int(canvases)) for at, canvases in lines):
        marks.append(Mark(at - started, canvases + (marks[-1].rows if marks else 0), 0.0))
    return marks


def _work(folder: Path, order: Order) -> dict[str, object]:
    config = validated(
        {
            "manifest": {"uri": str(folder / "manifest.txt")},
            "output": {"uri": str(folder / "out"), "annotated": False},
            "detect": {"workers": order.workers},
            "engine": order.engine,
            "rows_per_part": order.rows_per_part,
        },
        where="benchmark scale",
    )
    started, began = time.monotonic(), time.time()
    marks = [Mark(0.0, 0, memory_mb() or 0.0)]

    def watch(event: Event) -> None:
        if isinstance(event, Receipt):
            rows = marks[-1].rows + event.rows
            marks.append(Mark(time.monotonic() - started, rows, memory_mb() or 0.0))

    record = annotate(config, _model(folder, order), watch=watch)
    if record["this_run"]["by_status"] != {"ok": marks[-1].rows}:
        raise RuntimeError(f"{record['this_run']} came out of {marks[-1].rows} good images")
    return {
        "marks": [astuple(mark) for mark in marks],
        "seen": [astuple(mark) for mark in _seen(folder / _NOTES, began)],
        "whole_s": time.monotonic() - started,
        "driver_peak_mb": peak_memory_mb() or 0.0,
    }


def main(words: Sequence[str]) -> None:
    """Run the job that the words name, and print what came of it."""
    folder, order = words
    print(json.dumps(_work(Path(folder), Order(**json.loads(order)))))  # noqa: T201 - for the process that asked
