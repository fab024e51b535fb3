"""``benchmark startup``: from the shell to the first finished image, with a model in the cache.

Real commands on one made-up photograph; all ways take turns in each round:

    help        mogface-batch --help
    local       a job with engine=local, on a new output
    again       the same job once more: nothing is left to do, so no worker starts
    ray         a job with engine=ray, which starts Ray on this machine
    bare-ray    a script without us: `ray.init()` and a Ray Data pipeline of one row, which no job can be faster than
"""

import contextlib
import importlib.util
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.decode import make_photograph
from mogface_batch import models
from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table, format_quartiles
from mogface_batch.errors import DeviceError
from mogface_batch.images.encode import encode
from mogface_batch.output.layout import PARTS_FOLDER

WAYS = ("help", "local", "again", "ray", "bare-ray")
METHOD = (
    "each way is a command in a process of its own, the ways taking turns; the first finished image is one whose row can "
    "be read in the output, for bare-ray the row that comes out of the pipeline; medians with quartiles; CPU s is the time "
    "of the command and of the processes that it waited for, which other load changes least (Ray's own are not among "
    "them); beyond bare-ray: the differences of two runs of the same round"
)
_BARE_RAY = """
import ray
ray.init(address="local", include_dashboard=False, log_to_driver=False)
import ray.data
ray.data.DataContext.get_current().enable_progress_bars = False
print(ray.data.range(1).map_batches(lambda batch: batch).take_all(), flush=True)
ray.shutdown()
"""
_LOOK_S = 0.002
_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class _Times:
    """Times of a command, from its start."""

    first_s: float | None
    """When the first image was finished; None: the command finishes none."""
    end_s: float
    cpu_s: float
    """Of the process and of the children that it waited for."""


def list_installed_ways() -> tuple[str, ...]:
    """Return the ways that can be measured here."""
    has_ray = importlib.util.find_spec("ray") is not None
    return tuple(way for way in WAYS if has_ray or "ray" not in way)


def measure(ways: Sequence[str], *, model: str, repeats: int) -> Table:
    """Return a row for each way.

    Args:
        ways: Some of `WAYS`, in this order in each round; `again` follows `local`.
        model: As a config names it; it is brought into the cache first.
        repeats: Rounds, after one that does not count, since files are then in memory.

    Raises:
        JobFault: The model cannot be resolved.
        DeviceError: One of the commands failed.
    """
    models.resolve(model)
    times_by_way: dict[str, list[_Times]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="mogface-batch-") as folder:
        place = Path(folder)
        (place / "photos").mkdir()
        (place / "photos/photo.jpg").write_bytes(encode(make_photograph(0.8), ".jpg"))
        for turn in range(repeats + 1):
            for way in ways:
                times = _run(way, _build_command(way, place, turn, model), _choose_output(way, place, turn))
                if turn:
                    times_by_way[way].append(times)
    conditions: dict[str, Cell] = {**describe_machine(), "model": model, "rounds": repeats, "method": METHOD}
    rows = tuple(_format_row(way, times_by_way) for way in ways)
    return Table("startup", "Start-up", rows, conditions)


def _format_row(way: str, times_by_way: Mapping[str, Sequence[_Times]]) -> dict[str, Cell]:
    runs = times_by_way[way]
    first = [times.first_s for times in runs if times.first_s is not None]
    bare = times_by_way.get("bare-ray", ())
    beyond = [
        times.first_s - floor.first_s
        for times, floor in zip(runs, bare, strict=False)
        if way == "ray" and times.first_s is not None and floor.first_s is not None
    ]
    return {
        "way": way,
        "first_image_s": _format_spread(first),
        "end_s": _format_spread([times.end_s for times in runs]),
        "CPU_s": _format_spread([times.cpu_s for times in runs]),
        "beyond_bare_ray_s": _format_spread(beyond),
    }


def _format_spread(seconds: Sequence[float]) -> str | None:
    return format_quartiles(seconds) if seconds else None


# -- the commands ----------------------------------------------------------------------------------------------


def _choose_output(way: str, place: Path, turn: int) -> Path | None:
    """Return the output of a job, None where a way finishes no image."""
    return place / f"{way}-{turn}" if way in {"local", "ray"} else None


def _build_command(way: str, place: Path, turn: int, model: str) -> list[str]:
    if way == "bare-ray":
        return [sys.executable, "-c", _BARE_RAY]
    command = [sys.executable, "-m", "mogface_batch"]
    if way == "help":
        return [*command, "--help"]
    output = _choose_output("local" if way == "again" else way, place, turn)
    config = place / "job.yaml"
    config.write_text("output:\n  annotated: false\n", encoding="utf-8")
    engine = "ray" if way == "ray" else "local"
    words = (f"model={model}", f"manifest.uri={place / 'photos'}", f"output.uri={output}", f"engine={engine}")
    return [*command, "annotate", str(config), *words]


def _run(way: str, command: Sequence[str], output: Path | None) -> _Times:
    # Ray would else write a token into the user's home, which every `ray start` of this user demands from then on.
    environment = {**os.environ, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment.pop("RAY_ADDRESS", None)
    with (
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
        _start_process(command, environment, stdout, stderr) as process,
    ):
        start, cpu_before_s = time.perf_counter(), _count_children_cpu_s()
        first_s = None
        while process.poll() is None:
            elapsed = time.perf_counter() - start
            if first_s is None and _has_result(output, stdout.fileno() if way == "bare-ray" else None):
                first_s = elapsed
            if elapsed > _TIMEOUT_S:
                raise DeviceError(f"{way} was not done after {_TIMEOUT_S:.0f} s: is the machine busy?")
            time.sleep(_LOOK_S)
        end_s = time.perf_counter() - start
        if process.returncode:
            stderr.seek(0)
            lines = stderr.read().decode(errors="replace").strip().splitlines() or ["nothing"]
            raise DeviceError(f"{way} ended with exit code {process.returncode}; it said: {lines[-1]}")
    return _Times(first_s, end_s, _count_children_cpu_s() - cpu_before_s)


def _count_children_cpu_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _has_result(output: Path | None, stdout: int | None) -> bool:
    """Return whether the first result is in the output, or was printed."""
    if output is not None:
        return next((output / PARTS_FOLDER).glob("*.parquet"), None) is not None
    return stdout is not None and os.fstat(stdout).st_size > 0


@contextlib.contextmanager
def _start_process(
    command: Sequence[str], environment: Mapping[str, str], stdout: IO[bytes], stderr: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process, and end its process session on exit."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
