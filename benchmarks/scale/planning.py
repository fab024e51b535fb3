"""The cost of planning and resuming in the driver: time and memory for a table of which most is done.

The manifest and the parts are made up, of the form that a job writes. Planning, surveying the parts and finding the
work are the code of the job, in a separate process for each size.

    python -m benchmarks scale --rows 10000 1000000
"""

import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch import storage
from mogface_batch.benchmark.machine import describe_machine, measure_peak_memory_mb
from mogface_batch.benchmark.table import Cell, Table
from mogface_batch.config import Identity, JobConfig, ManifestOptions, Retry, validate
from mogface_batch.output.layout import PARTS_FOLDER
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import encode_part
from mogface_batch.output.survey import Survey
from mogface_batch.planning.listed_etags import Etags
from mogface_batch.planning.manifests import Manifest, open_manifest
from mogface_batch.planning.planner import Planner
from mogface_batch.planning.work import TableState, find_work
from mogface_batch.schema import Status, build_output_schema

ROWS_PER_UNIT = 80
"""As many as a canvas of 640x640 allows."""
_FINGERPRINT = "f" * 64
_MANIFEST_CHUNK = 1_000_000
_ENVIRONMENT = json.dumps({"provider": "cpu", "card": None, "packages": {}})


def measure(
    sizes: Sequence[int], *, done_share: float = 0.9, failed_share: float = 0.01, folder: Path | None = None
) -> Table:
    """Return the cost of planning a manifest, and of resuming its table.

    Args:
        sizes: Rows of the manifest.
        done_share: Share of the units whose part is there.
        failed_share: Share of the rows that are `undecodable`.
        folder: Where the tables are written, and removed again; by default the system's folder for temporary files.
    """
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            rows.append(_measure_size(Path(place), size, done_share, failed_share))
    conditions: dict[str, Cell] = {
        "rows_per_part": ROWS_PER_UNIT,
        "done": done_share,
        "failed": failed_share,
        "memory": "the peak of the driver's process, without an engine",
        **describe_machine(),
    }
    return Table("scale", "Planning and resuming", tuple(rows), conditions)


def _measure_size(place: Path, size: int, done_share: float, failed_share: float) -> dict[str, Cell]:
    _write_manifest(place / "manifest.parquet", size)
    planned = _run_in_process("plan", place)
    _write_parts(place, done_share, failed_share)
    resumed = _run_in_process("resume", place)
    return {"rows": size, **planned, **resumed}


def _run_in_process(task: str, place: Path) -> dict[str, Cell]:
    command = [sys.executable, "-m", "benchmarks.scale.planning", task, str(place)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this very file
    figures: dict[str, Cell] = json.loads(process.stdout)
    return figures


def _write_manifest(path: Path, size: int) -> None:
    schema = pa.schema([("uri", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, size, _MANIFEST_CHUNK):
            numbers = range(start, min(size, start + _MANIFEST_CHUNK))
            uris = [f"s3://bucket/photos/{number % 997:03}/{number:012}.jpg" for number in numbers]
            writer.write_table(pa.table({"uri": uris}, schema=schema))


def _write_parts(place: Path, done_share: float, failed_share: float) -> None:
    store = storage.open_store(str(place / "out"))
    folder = place / "out" / PARTS_FOLDER
    folder.mkdir()
    with closing(Planner(store, rows_per_unit=ROWS_PER_UNIT)) as planner:
        units = list(planner.iterate_units(_FINGERPRINT))
        for unit in units[: int(done_share * len(units))]:
            # Not through the store, whose fsync would take most of the time.
            (folder / unit.part).write_bytes(_build_part(store, unit, failed_share))


def _build_part(store: storage.Store, unit: Unit, failed_share: float) -> bytes:
    rows = unit.read(store, columns=["image_id", "uri"])
    digests = [hashlib.sha256(image_id.encode()).hexdigest() for image_id in rows["image_id"].to_pylist()]
    is_ok = [int(digest[:8], 16) >= failed_share * 2**32 for digest in digests]
    columns = {
        "image_id": rows["image_id"],
        "uri": rows["uri"],
        "status": pa.array([Status.OK.value if ok else Status.UNDECODABLE.value for ok in is_ok]),
        "error_code": pa.array([None if ok else "not_an_image" for ok in is_ok], pa.string()),
        "attempts": pa.array([1] * len(is_ok), pa.int32()),
        "sha256": pa.array(digests),
        "face_count": pa.array([0 if ok else None for ok in is_ok], pa.int32()),
    }
    schema = build_output_schema(pa.schema([]))
    arrays = [columns.get(field.name, pa.nulls(len(is_ok), field.type)) for field in schema]
    return encode_part(pa.table(arrays, schema=schema), {}, [_ENVIRONMENT])


# -- in a separate process -----------------------------------------------------------------------------------


def _build_config(place: Path) -> JobConfig:
    document = {
        "manifest": {"uri": str(place / "manifest.parquet")},
        "output": {"uri": str(place / "out")},
        "retry": Retry.TRANSIENT.value,
    }
    return validate(document, where="benchmark scale")


def _open_manifest(place: Path) -> Manifest:
    return open_manifest(ManifestOptions(uri=str(place / "manifest.parquet")))


def _measure_planning(place: Path) -> dict[str, Cell]:
    start = time.monotonic()
    with closing(Planner(storage.open_store(str(place / "out")), rows_per_unit=ROWS_PER_UNIT)) as planner:
        planner.extend(_open_manifest(place))
    took = time.monotonic() - start
    return {"plan_s": took, "plan_cpu_s": time.process_time(), "plan_peak_mb": measure_peak_memory_mb()}


def _measure_resuming(place: Path) -> dict[str, Cell]:
    config, store = _build_config(place), storage.open_store(str(place / "out"))
    marks = [time.monotonic()]
    survey = Survey(store)
    survey.refresh()
    marks.append(time.monotonic())
    with (
        closing(Planner(store, rows_per_unit=ROWS_PER_UNIT)) as planner,
        closing(Etags.of(Identity.URI, _open_manifest(place))) as etags,
    ):
        planner.extend(_open_manifest(place))
        marks.append(time.monotonic())
        state = TableState(store, _FINGERPRINT, planner, survey, etags)
        work = find_work(config, state, rows_per_unit=ROWS_PER_UNIT)
        marks.append(time.monotonic())
        survey.refresh()
        failed = survey.count_failed_rows(planner.is_named)
        marks.append(time.monotonic())
    took = [after - before for before, after in itertools.pairwise(marks)]
    names = ("look_through_parts_s", "read_plan_and_manifest_s", "find_work_s", "count_s")
    return {
        **dict(zip(names, took, strict=True)),
        "resume_s": sum(took),
        "resume_cpu_s": time.process_time(),
        "resume_peak_mb": measure_peak_memory_mb(),
        "rows_left": work.rows,
        "rows_failed": failed,
    }


def main(words: list[str]) -> None:
    """Measure planning or resuming in the folder that the words name, and print the figures."""
    task, folder = words
    figures = (_measure_planning if task == "plan" else _measure_resuming)(Path(folder))
    print(json.dumps(figures))  # for the process that asked


if __name__ == "__main__":
    main(sys.argv[1:])
