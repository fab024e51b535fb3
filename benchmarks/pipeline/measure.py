"""``benchmark pipeline``: the whole job, from files to a table, against a hand-written loop and textbook jobs.

All jobs work on the same images, repeated as different files until the loop takes long enough; each runs in its own
process. They take turns, and each is divided by the loop round by round, so that other load meets all of them.
"""

import importlib.util
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.pipeline.job_process import LOOP, NEEDS, Outcome, run_in_process
from benchmarks.pipeline.peers import Work
from mogface_batch import storage
from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table, format_quartiles
from mogface_batch.canvases.batching import MAX_ROWS_PER_UNIT, UNIT_CANVAS_BYTES
from mogface_batch.config import LimitOptions
from mogface_batch.errors import ConfigError, InputError, RowFault

LEAST_PARTS = 16
"""With fewer, an engine that hands on whole parts would hardly be busy everywhere at once."""
TITLES = {
    "loop": "a hand-written loop",
    "local": "engine=local",
    "ray": "engine=ray",
    "ray-data": "a textbook Ray Data job",
    "daft": "a textbook Daft job",
}
METHOD = (
    "from files to a table of faces, without pictures; the same model, threads and batches in all (how the threads share "
    "a batch is each job's own matter); each job in a "
    "process of its own, one after the other, in an order that turns by one each round. Images a second: all of them by "
    "the time from the moment when the first one is read (by its access time) until the last part of the table is "
    "written; so neither start nor shutdown counts, and what is decoded ahead does. A ratio is the median of the ratios of each round, with their "
    "quartiles. CPU is the time of all processes of a job in that span: what else the machine does changes it least. "
    "Whole s: with start and shutdown"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """What all jobs have in common."""

    model: Path
    provider: str
    canvas_hw: tuple[int, int]
    pad_rgb: tuple[int, int, int]
    batch_size: int
    threads: int


def measure(
    addresses: Sequence[str],
    setting: Setting,
    *,
    jobs: Sequence[str],
    seconds: float,
    repeats: int,
    folder: Path | None = None,
) -> Table:
    """Return a row for each job.

    Args:
        addresses: Of the images.
        setting: What all jobs have in common.
        jobs: Keys of `NEEDS`; the loop comes first, whether named or not.
        seconds: The images are repeated until the loop takes about so long; 0: they are not.
        repeats: Rounds.
        folder: Where the images are copied to, and removed again; the system's own for temporary files by default.

    Raises:
        ConfigError: A job is unknown, or its package is not installed.
        InputError: An image cannot be read.
        JobFault: A job failed.
    """
    jobs = check_jobs(jobs)
    with tempfile.TemporaryDirectory(dir=folder, prefix="mogface-batch-") as place:
        images = _copy_images(addresses, 1, Path(place))
        if seconds:
            single = _run(LOOP, images, setting, len(images), Path(place))
            images = _copy_images(addresses, math.ceil(seconds / single.work_s), Path(place))
        rows_per_part = _choose_rows_per_part(setting, len(images))
        outcomes: dict[str, list[Outcome]] = {job: [] for job in jobs}
        for number in range(repeats):
            for job in [*jobs[number % len(jobs) :], *jobs[: number % len(jobs)]]:
                outcomes[job].append(_run(job, images, setting, rows_per_part, Path(place)))
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "provider": setting.provider,
        "threads": setting.threads,
        "canvas": f"{setting.canvas_hw[0]}x{setting.canvas_hw[1]}, batch {setting.batch_size}",
        "images": f"{len(addresses)}, repeated to {len(images)}",
        "rows_per_part": rows_per_part,
        "rounds": repeats,
        "method": METHOD,
    }
    rows = tuple(_format_row(job, outcomes) for job in jobs)
    return Table("pipeline", "The whole job", rows, conditions)


def list_available_jobs() -> list[str]:
    """Return the jobs whose package is installed."""
    return [job for job, package in NEEDS.items() if _is_installed(package)]


def _is_installed(package: str | None) -> bool:
    return package is None or importlib.util.find_spec(package) is not None


def check_jobs(jobs: Sequence[str]) -> list[str]:
    """Return the jobs, the loop first, each once.

    Raises:
        ConfigError: One is unknown, or its package is not installed.
    """
    for job in jobs:
        if job not in NEEDS:
            raise ConfigError(f"There is no job {job!r} to measure: there are {', '.join(NEEDS)}.")
        package = NEEDS[job]
        if not _is_installed(package):
            raise ConfigError(f"The job {job!r} needs the package {package}: type pip install {package}.")
    return list(dict.fromkeys([LOOP, *jobs]))


def _choose_rows_per_part(setting: Setting, images: int) -> int:
    """Return the number that a job takes by default, or fewer where there are few images."""
    height, width = setting.canvas_hw
    batch = setting.batch_size
    default = min(UNIT_CANVAS_BYTES // (3 * height * width), MAX_ROWS_PER_UNIT)
    return max(min(default, images // LEAST_PARTS) // batch, 1) * batch


def _copy_images(addresses: Sequence[str], times: int, place: Path) -> list[str]:
    """Write the images so many times and return the paths, those of each time together.

    A copy has its number behind its last byte, where decoders do not look: our engines work on equal bytes once.
    """
    paths = []
    limits = LimitOptions()
    for row, address in enumerate(addresses):
        try:
            encoded = storage.fetch(
                address,
                max_bytes=limits.bytes,
                timeout_s=limits.fetch_timeout_s,
                attempts=limits.fetch_attempts,
            ).encoded
        except RowFault as fault:
            raise InputError(f"{address} cannot be measured: {fault.message}") from None
        for time in range(times):
            path = place / f"images/{time:04}/{row:06}{Path(address).suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded + (str(time).encode() if time else b""))
            paths.append(str(path))
    return sorted(paths)


def _run(job: str, images: Sequence[str], setting: Setting, rows_per_part: int, place: Path) -> Outcome:
    with tempfile.TemporaryDirectory(dir=place, prefix=f"{job}-") as out:
        work = Work(
            files=tuple(images),
            model=str(setting.model),
            provider=setting.provider,
            canvas_hw=setting.canvas_hw,
            pad_rgb=setting.pad_rgb,
            batch_size=setting.batch_size,
            threads=setting.threads,
            out=out,
        )
        return run_in_process(job, work, rows_per_part=rows_per_part)


def _format_row(job: str, outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Cell]:
    runs, loop_runs = outcomes[job], outcomes[LOOP]
    counts, loop_counts = runs[0].face_counts, loop_runs[0].face_counts
    cpu = [outcome.work_cpu_s for outcome in runs if outcome.work_cpu_s is not None]
    return {
        "job": TITLES[job],
        "images_per_s": len(loop_counts) / float(np.median([outcome.work_s for outcome in runs])),
        "of_the_loop": _format_ratio(
            [outcome.work_s for outcome in loop_runs], [outcome.work_s for outcome in runs]
        ),
        "CPU_ms_an_image": 1e3 * float(np.median(cpu)) / len(loop_counts) if cpu else None,
        "CPU_of_the_loop": _format_ratio(
            [outcome.work_cpu_s for outcome in runs], [outcome.work_cpu_s for outcome in loop_runs]
        ),
        "start_s": float(np.median([outcome.start_s for outcome in runs])),
        "whole_s": float(np.median([outcome.whole_s for outcome in runs])),
        "faces": sum(count or 0 for count in counts),
        "images_with_as_many_faces": f"{sum(a == b for a, b in zip(counts, loop_counts, strict=True))} of {len(loop_counts)}",
    }


def _format_ratio(dividends: Sequence[float | None], divisors: Sequence[float | None]) -> str | None:
    """Return the median and the quartiles of the ratios, round by round."""
    pairs = zip(dividends, divisors, strict=True)
    ratios = [dividend / divisor for dividend, divisor in pairs if dividend and divisor]
    return format_quartiles(ratios) if ratios else None
