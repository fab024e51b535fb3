"""One job of ``benchmark pipeline`` in its own process, so that no job finds what another has loaded."""

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
    """How a job went."""

    face_counts: list[int | None]
    """Of each file, None where it could not be read."""
    start_s: float
    """From the start of the process until the first image is read; 0 where the file system does not tell."""
    work_s: float
    """From the first read until the last file of the table is written."""
    whole_s: float
    """From the start of the process to the end of the job, shutdown included."""
    work_cpu_s: float | None
    """CPU time of all processes of the job in that span; None where it is not known."""


def run_in_process(job: str, work: Work, *, rows_per_part: int) -> Outcome:
    """Run a job and return how it went.

    Raises:
        JobFault: The job failed.
    """
    for file in work.files:  # where access times are kept, the next to read it sets it anew
        os.utime(file, (_UNREAD_S, Path(file).stat().st_mtime))
    started = time.time()
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(far_end, job, work, rows_per_part))
    process.start()
    far_end.close()
    try:
        with CpuTimes(process.pid or 0) as cpu:
            answer: Any = pipe.recv()
    except EOFError:
        process.join()
        raise DeviceError(
            f"The process of the job {job!r} has died (exit code {process.exitcode}): its memory may not have sufficed."
        ) from None
    finally:
        pipe.close()
        process.join()
    if isinstance(answer, Exception):
        raise answer
    face_counts, end_s = answer
    began, written = _find_first_read(work.files) or started, _find_last_write(work.out)
    return Outcome(
        face_counts, began - started, written - began, end_s - started, cpu.count_used_s(began, written)
    )


def _find_first_read(files: Sequence[str]) -> float | None:
    """Return when the first of them was read, None where the file system keeps no access times."""
    return min((at for file in files if (at := Path(file).stat().st_atime) != _UNREAD_S), default=None)


def _find_last_write(out: str) -> float:
    return max(path.stat().st_mtime for path in Path(out).rglob("*.parquet"))


def _serve(pipe: Connection, job: str, work: Work, rows_per_part: int) -> None:
    os.environ.pop("RAY_ADDRESS", None)  # this machine is measured
    try:
        table = _run_engine(job, work, rows_per_part) if job in {LOCAL, RAY} else _run_peer(job, work)
        pipe.send((_order_counts(work, table), time.time()))
    except JobFault as fault:
        pipe.send(fault)
    except Exception:  # noqa: BLE001 - a bug, or a framework's own word: the other process stops with this traceback
        pipe.send(RuntimeError(f"The job {job!r} failed.\n{traceback.format_exc()}"))


def _run_peer(job: str, work: Work) -> pa.Table:
    from benchmarks.pipeline import peers  # noqa: PLC0415 - OpenCV stays out of the engines' drivers

    jobs = {
        LOOP: peers.run_loop,
        RAY_DATA: peers.run_ray_data,
        DAFT: peers.run_daft,
    }
    jobs[job](work)
    return pq.read_table(work.out, columns=["file", "face_count"])


def _run_engine(job: str, work: Work, rows_per_part: int) -> pa.Table:
    from mogface_batch import models  # noqa: PLC0415 - the peers need none of it
    from mogface_batch.config import validate  # noqa: PLC0415
    from mogface_batch.detector import read_model_file  # noqa: PLC0415
    from mogface_batch.jobs.annotate import annotate  # noqa: PLC0415
    from mogface_batch.stages.settings import Model  # noqa: PLC0415

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
    annotate(config, Model(resolved.path, read_model_file(resolved.path), resolved.source))
    parts = Path(work.out, "out", "detections").glob("part-*.parquet")
    table = pa.concat_tables([pq.read_table(part, columns=["uri", "face_count"]) for part in parts])
    return table.rename_columns(["file", "face_count"])


def _order_counts(work: Work, table: pa.Table) -> list[int | None]:
    counts = dict(zip(table["file"].to_pylist(), table["face_count"].to_pylist(), strict=True))
    if len(counts) != table.num_rows or len(counts) != len(work.files):
        raise RuntimeError(f"{table.num_rows} rows came out of {len(work.files)} files")
    return [counts[file] for file in work.files]
