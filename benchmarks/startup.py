"""``benchmark startup``: from the shell to the first finished image, with a model in the cache.

Real processes, as a user types them, on one made-up photograph; all ways take their turn in each round:

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

import numpy as np

from benchmarks.decode import photograph
from mogface_batch import models
from mogface_batch.benchmark.machine import machine
from mogface_batch.benchmark.table import Cell, Table
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
class _Took:
    """Seconds since the command was typed."""

    first_s: float | None
    """None: no image is finished."""
    end_s: float
    cpu_s: float
    """Of the process and of those that it waited for."""


def installed_ways() -> tuple[str, ...]:
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
        JobFault: The model cannot be had.
        DeviceError: One of the commands failed.
    """
    models.resolve(model)
    taken: dict[str, list[_Took]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="mogface-batch-") as folder:
        place = Path(folder)
        (place / "photos").mkdir()
        (place / "photos/photo.jpg").write_bytes(encode(photograph(0.8), ".jpg"))
        for turn in range(repeats + 1):
            for way in ways:
                took = _run(way, _command(way, place, turn, model), _output(way, place, turn))
                if turn:
                    taken[way].append(took)
    conditions: dict[str, Cell] = {**machine(), "model": model, "rounds": repeats, "method": METHOD}
    rows = tuple(_row(way, taken) for way in ways)
    return Table("startup", "Start-up", rows, conditions)


def _row(way: str, taken: Mapping[str, Sequence[_Took]]) -> dict[str, Cell]:
    own = taken[way]
    first = [took.first_s for took in own if took.first_s is not None]
    bare = taken.get("bare-ray", ())
    beyond = [
        took.first_s - floor.first_s
        for took, floor in zip(own, bare, strict=False)
        if way == "ray" and took.first_s is not None and floor.first_s is not None
    ]
    return {
        "way": way,
        "first_image_s": _spread(first),
        "end_s": _spread([took.end_s for took in own]),
        "CPU_s": _spread([took.cpu_s for took in own]),
        "beyond_bare_ray_s": _spread(beyond),
    }


def _spread(seconds: Sequence[float]) -> str | None:
    if not seconds:
        return None
    low, median, high = np.percentile(seconds, (25, 50, 75))
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


# -- the commands ----------------------------------------------------------------------------------------------


def _output(way: str, place: Path, turn: int) -> Path | None:
    """Return the output of a job, None where a way is no job that finishes an image."""
    return place / f"{way}-{turn}" if way in {"local", "ray"} else None


def _command(way: str, place: Path, turn: int, model: str) -> list[str]:
    if way == "bare-ray":
        return [sys.executable, "-c", _BARE_RAY]
    ours = [sys.executable, "-m", "mogface_batch"]
    if way == "help":
        return [*ours, "--help"]
    output = _output("local" if way == "again" else way, place, turn)
    config = place / "job.yaml"
    config.write_text("output:\n  annotated: false\n", encoding="utf-8")
    engine = "ray" if way == "ray" else "local"
    words = (f"model={model}", f"manifest.uri={place / 'photos'}", f"output.uri={output}", f"engine={engine}")
    return [*ours, "annotate", str(config), *words]


def _run(way: str, command: Sequence[str], output: Path | None) -> _Took:
    # Ray would else write a token into the user's home, which every `ray start` of this user demands from then on.
    environment = {**os.environ, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment.pop("RAY_ADDRESS", None)
    with (
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as complained,
        _started(command, environment, said, complained) as process,
    ):
        start, cpu_before_s = time.perf_counter(), _cpu_of_children_s()
        first_s = None
        while process.poll() is None:
            elapsed = time.perf_counter() - start
            if first_s is None and _is_there(output, said.fileno() if way == "bare-ray" else None):
                first_s = elapsed
            if elapsed > _TIMEOUT_S:
                raise DeviceError(f"{way} was not done after {_TIMEOUT_S:.0f} s: is the machine busy?")
            time.sleep(_LOOK_S)
        end_s = time.perf_counter() - start
        if process.returncode:
            complained.seek(0)
            lines = complained.read().decode(errors="replace").strip().splitlines() or ["nothing"]
            raise DeviceError(f"{way} ended with exit code {process.returncode}; it said: {lines[-1]}")
    return _Took(first_s, end_s, _cpu_of_children_s() - cpu_before_s)


def _cpu_of_children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _is_there(output: Path | None, said: int | None) -> bool:
    """Return whether the first result is in the output, or was printed."""
    if output is not None:
        return next((output / PARTS_FOLDER).glob("*.parquet"), None) is not None
    return said is not None and os.fstat(said).st_size > 0


@contextlib.contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], said: IO[bytes], complained: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process, and end its session, whatever happens."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=complained,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
