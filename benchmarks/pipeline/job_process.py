"""One job of ``benchmark pipeline`` in a process of its own, so that none finds what another has loaded or left."""

import multiprocessing
import os
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.pipeline.cpu_time import CpuTimes
from benchmarks.pipeline.peers import Work
from mogface_batch.config import Engine
from mogface_batch.errors import DeviceError, JobFault

LOOP, LOCAL, RAY, RAY_DATA, DAFT = "loop", "local", "ray", "ray-data", "daft"
_UNREAD_S = 1.0
"""An access time that no file has by itself."""
NEEDS = {LOOP: None, LOCAL: None, RAY: "ray", RAY_DATA: "ray", DAFT: "daft"}
"""Job -> the package that it needs beyond ours."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job."""

    face_counts: list[int | None]
    """Of each file, None where it could not be read."""
    start_s: float
    """From the start of the process until the first image is read; 0 where the file system does not tell."""
    work_s: float
    """From then on until the last file of the table is written."""
    whole_s: float
    """From the start of the process to the end of the job, whatever it shuts down."""
    work_cpu_s: float | None
    """Of all processes of the job meanwhile; None where it cannot be told."""


def outcome_of(job: str, work: Work, *, rows_per_part: int) -> Outcome:
    """Run a job and return what came of it.

    Raises:
        JobFault: What ended it.
    """
    for file in work.files:  # where access times are kept, the next to read it sets it anew
        os.utime(file, (_UNREAD_S, Path(file).stat().st_mtime))
    started = time.time()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(theirs, job, work, rows_per_part))
    process.start()
    theirs.close()
    try:
        with CpuTimes(process.pid or 0) as cpu:
            answer: Any = ours.recv()
    except EOFError:
        process.join()
        raise DeviceError(
            f"The process of the job {job!r} has died (exit code {process.exitcode}): its memory may not have sufficed."
        ) from None
    finally:
        ours.close()
        process.join()
    if isinstance(answer, Exception):
        raise answer
    face_counts, ended = answer
    began, written = _first_read(work.files) or started, _last_written(work.out)
    return Outcome(face_counts, began - started, written - began, ended - started, cpu.used_s(began, written))


def _first_read(files: Sequence[str]) -> float | None:
    """Return when the first of them was read, None where the file system keeps no access times."""
    return min((at for file in files if (at := Path(file).stat().st_atime) != _UNREAD_S), default=None)


def _last_written(out: str) -> float:
    return max(path.stat().st_mtime for path in Path(out).rglob("*.parquet"))


def _serve(pipe: Connection, job: str, work: Work, rows_per_part: int) -> None:
    os.environ.pop("RAY_ADDRESS", None)  # this machine is measured
    try:
        table = _engine(job, work, rows_per_part) if job in {LOCAL, RAY} else _peer(job, work)
        pipe.send((_by_file(work, table), time.time()))
    except JobFault as fault:
        pipe.send(fault)
    except Exception:  # noqa: BLE001 - a bug, or a framework's own word: the other process stops with this traceback
        pipe.send(RuntimeError(f"The job {job!r} failed.\n{traceback.format_exc()}"))


def _peer(job: str, work: Work) -> pa.Table:
    from benchmarks.pipeline import peers  # noqa: PLC0415 - OpenCV stays out of the engines' drivers

    jobs = {
        LOOP: peers.loop,
        RAY_DATA: peers.ray_data,
        DAFT: peers.daft,
    }
    jobs[job](work)
    return pq.read_table(work.out, columns=["file", "face_count"])


def _engine(job: str, work: Work, rows_per_part: int) -> pa.Table:
    from mogface_batch import models  # noqa: PLC0415 - the peers need none of it
    from mogface_batch.config import validate  # noqa: PLC0415
    from mogface_batch.detector import read_card  # noqa: PLC0415
    from mogface_batch.jobs.annotate import Model, annotate  # noqa: PLC0415

    manifest = Path(work.out, "manifest.txt")
    manifest.write_text("".join(f"{file}\n" for file in work.files), encoding="utf-8")
    config = validate(
        {
            "model": work.model,
            "manifest": {"uri": str(manifest)},
            "output": {"uri": str(Path(work.out, "out")), "annotated": False},
            "canvas": {"sizes": [work.canvas_hw]},
            "detect": {"batch_size": work.batch_size, "provider": work.provider},
            "engine": Engine(job).value,
            "max_error_rate": 1.0,
            "rows_per_part": rows_per_part,
        },
        where="benchmark pipeline",
    )
    resolved = models.resolve(config.model)
    annotate(config, Model(resolved.path, read_card(resolved.path), resolved.source))
    parts = Path(work.out, "out", "detections").glob("part-*.parquet")
    table = pa.concat_tables([pq.read_table(part, columns=["uri", "face_count"]) for part in parts])
    return table.rename_columns(["file", "face_count"])


def _by_file(work: Work, table: pa.Table) -> list[int | None]:
    counts = dict(zip(table["file"].to_pylist(), table["face_count"].to_pylist(), strict=True))
    if len(counts) != table.num_rows or len(counts) != len(work.files):
        raise RuntimeError(f"{table.num_rows} rows came out of {len(work.files)} files")
    return [counts[file] for file in work.files]
