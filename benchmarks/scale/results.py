"""``benchmark scale results``: what reading a finished table costs, by its number of rows.

`report`, `compare`, `evaluate` and `convert` as the command line runs them, each in its own process, on made-up tables:
it shows whether they need more memory for a million rows than for ten thousand.
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table
from mogface_batch.columns import encode_faces
from mogface_batch.errors import DeviceError
from mogface_batch.formats.catalogue import FORMATS
from mogface_batch.geometry import Faces
from mogface_batch.output.layout import METADATA_PREFIX, PARTS_FOLDER
from mogface_batch.schema import RESULT_COLUMNS, SCHEMA_VERSION

ROWS_PER_PART = 50_000
MOST_FACES = 6
TRUTH_IMAGES = 1_000
"""The images of the ground truth, as many at any size of the table: what `evaluate` keeps follows them."""
SHIFT_PX = 10.0
SIDE_PX = 1_000
_METADATA = {
    f"{METADATA_PREFIX}schema_version": str(SCHEMA_VERSION),
    f"{METADATA_PREFIX}fingerprint": "f" * 64,
}
_PROGRAM = """
import contextlib, json, os, sys
from mogface_batch.benchmark.machine import measure_peak_memory_mb
from mogface_batch.cli import main

with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
    code = main(sys.argv[1:])
print(json.dumps(measure_peak_memory_mb()))
sys.exit(code)
"""
"""Runs a verb in its own process and prints the peak memory of that process."""


def measure_results(sizes: Sequence[int], *, folder: Path | None = None) -> Table:
    """Return what each verb that reads a table costs, by rows.

    Args:
        sizes: Rows.
        folder: Where the tables are made, and removed again; by default the system's folder for temporary files.

    Raises:
        DeviceError: A verb failed.
    """
    measured = [_measure_size(size, folder) for size in sizes]
    rows: list[dict[str, Cell]] = []
    for name in measured[0]:
        row: dict[str, Cell] = {"what": name}
        for size, figures in zip(sizes, measured, strict=True):
            seconds, peak_mb = figures[name]
            row |= {f"{size}_rows_s": seconds, f"{size}_rows_peak_MB": peak_mb}
        rows.append(row)
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "faces": f"0 to {MOST_FACES} an image, {MOST_FACES / 2:g} on average",
        "evaluate": f"COCO ground truth of {TRUTH_IMAGES} images at most, whatever the rows",
        "compare": "with a table of which a tenth of the faces lies elsewhere",
        "report": "without pictures: there are no images",
        "memory": "the peak of the verb's process",
    }
    return Table("scale-results", "Reading a table at scale", tuple(rows), conditions)


def _measure_size(size: int, folder: Path | None) -> dict[str, tuple[float, float | None]]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        a, b, truth = (str(Path(place) / name) for name in ("a", "b", "truth.json"))
        write_table(Path(a), size)
        write_table(Path(b), size, shift_px=SHIFT_PX)
        run_verb(["convert", a, "--to", "coco", "--out", truth])
        _keep_images(Path(truth), TRUTH_IMAGES)
        commands = {
            "report": ["report", a, "--no-pictures"],
            "compare": ["compare", a, b],
            "evaluate": ["evaluate", a, "--ground-truth", truth],
            **{f"convert {kind}": ["convert", a, "--to", kind] for kind in FORMATS},
        }
        figures = {}
        for name, words in commands.items():
            # Removed at once: some formats write a file an image.
            with tempfile.TemporaryDirectory(dir=place) as output:
                output_words = ["--out", str(Path(output) / "out")] if words[0] == "convert" else []
                figures[name] = run_verb([*words, *output_words])
        return figures


def _keep_images(path: Path, count: int) -> None:
    document = json.loads(path.read_text())
    document["images"] = document["images"][:count]
    image_ids = {image["id"] for image in document["images"]}
    document["annotations"] = [
        annotation for annotation in document["annotations"] if annotation["image_id"] in image_ids
    ]
    path.write_text(json.dumps(document))


def run_verb(words: Sequence[str]) -> tuple[float, float | None]:
    """Run a verb and return its time in seconds and its peak memory in 10^6 bytes.

    Raises:
        DeviceError: The verb failed.
    """
    start = time.monotonic()
    argv = [sys.executable, "-c", _PROGRAM, *words]
    process = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    took_s = time.monotonic() - start
    if process.returncode:
        raise DeviceError(f"`mogface-batch {' '.join(words)}` failed: {process.stderr.strip()}")
    peak_mb: float | None = json.loads(process.stdout)
    return took_s, peak_mb


# -- the table -------------------------------------------------------------------------------------------------


def write_table(
    out: Path, rows: int, *, seed: int = 0, rows_per_part: int = ROWS_PER_PART, shift_px: float = 0.0
) -> Path:
    """Write a made-up output folder of images that were read, with 0 to 6 faces each; return it.

    Args:
        out: The folder.
        rows: Images.
        seed: The same seed gives the same faces.
        rows_per_part: Parts hold so many.
        shift_px: Move a tenth of the faces so far.
    """
    parts = out / PARTS_FOLDER
    parts.mkdir(parents=True, exist_ok=True)
    for start, stop in _split_rows(rows, rows_per_part):
        table = _build_part(np.random.default_rng([seed, start]), start, stop - start, shift_px)
        pq.write_table(table.replace_schema_metadata(_METADATA), parts / f"part-{start:09}.parquet")
    return out


def _split_rows(rows: int, step: int) -> Iterator[tuple[int, int]]:
    return itertools.pairwise([*range(0, rows, step), rows])


def _build_part(random: np.random.Generator, start: int, count: int, shift_px: float) -> pa.Table:
    numbers = range(start, start + count)
    counts = random.integers(0, MOST_FACES + 1, count)
    fixed = {
        "status": "ok", "attempts": 1, "size_bytes": 1000, "format": "jpeg", "width": SIDE_PX, "height": SIDE_PX,
        "exif_orientation": 1, "canvas_width": SIDE_PX, "canvas_height": SIDE_PX, "scale": 1.0,
    }  # fmt: skip
    columns = {
        "image_id": pa.array([f"{number:032x}" for number in numbers]),
        "uri": pa.array([f"s3://bucket/photos/{number % 1000:03}/{number}.jpg" for number in numbers]),
        "faces": _build_faces(random, counts, shift_px),
        "face_count": pa.array(counts, pa.int32()),
    }
    arrays = [
        columns[field.name]
        if field.name in columns
        else pa.array([fixed.get(field.name)] * count, field.type)
        for field in RESULT_COLUMNS
    ]
    return pa.table(arrays, schema=RESULT_COLUMNS)


def _build_faces(random: np.random.Generator, counts: np.ndarray, shift_px: float) -> pa.ListArray:
    """Return the column of faces, so many in each row."""
    total = int(counts.sum())
    corners = random.uniform(0, 0.8 * SIDE_PX, (total, 2))
    sides = random.uniform(8, 150, (total, 2))
    corners[random.random(total) < 0.1] += shift_px
    boxes_xyxy = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    faces = encode_faces([Faces(boxes_xyxy, random.uniform(0.3, 1, total).astype(np.float32))]).values
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, faces, type=RESULT_COLUMNS.field("faces").type)
