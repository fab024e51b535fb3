"""Ways to kill a job, and what is left: for the tests in tests/deaths and the table in docs/reliability.md.

A scene starts the real command, does it harm, starts it again until it comes to its end, and judges the output
folder: rows in and out, rows that are there twice, files that are not whole.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from builders import photos, table_of, tiny_config
from PIL import Image
from processes import children, wait_until
from ray_clusters import end_session, processes_of

TIMEOUT_S = 240


@dataclass(frozen=True)
class Outcome:
    """What a scene came to."""

    rows_in: int
    rows_out: int
    twice: int
    half_written: int
    deaths: int
    """Things that were killed, runs that ended before their end included."""
    seconds: float
    by_status: dict[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return (self.rows_out, self.twice, self.half_written) == (self.rows_in, 0, 0)


class Scene:
    """A job in a folder, and a clock.

    Args:
        folder: Its images, config and output go there.
        count: Images.
        words: Settings.
        program: What to run; by default the command itself.
        shell: With an environment, and a session for each command; by default this process's.
    """

    def __init__(self, folder, count, *words, program=("-m", "mogface_batch", "annotate"), shell=None):
        self.images = folder / "images"
        self.paths = photos(self.images, count)
        self.out = folder / "out"
        tiny_config(folder)
        self.config, self.words, self.program, self.shell = folder / "job.yaml", words, program, shell
        self.deaths = 0
        self._start = time.monotonic()

    def start(self):
        """Start the command, in a session of its own."""
        command = [sys.executable, *self.program, self.config, *self.words]
        if self.shell is not None:
            return self.shell.start(*command)
        return subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )  # fmt: skip

    def finish(self):
        """Run the command to its end, and return what it said."""
        process = self.start()
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            end_session(process.pid)
        assert process.returncode == 0, (process.returncode, out, err)
        return err

    def kill(self, process):
        """Kill the command as nobody can foresee, and wait until what it started is gone."""
        self.deaths += process.poll() is None
        process.kill()
        process.communicate()
        wait_until(lambda: not working_in(process.pid), timeout_s=60)
        end_session(process.pid)

    def parts(self):
        return list((self.out / "detections").glob("part-*.parquet"))

    def wait_for_parts(self, process, more):
        """Wait until the command has published so many more parts, or ended."""
        wanted = len(self.parts()) + more
        end = time.monotonic() + TIMEOUT_S
        while len(self.parts()) < wanted and process.poll() is None:
            assert time.monotonic() < end, "no part ever came"
            time.sleep(0.005)

    def judged(self):
        """Return what is left."""
        table = table_of(self.out) if self.parts() else None
        ids = Counter(table["image_id"].to_pylist()) if table is not None else Counter()
        assert {Path(uri).name for uri in (table["uri"].to_pylist() if table is not None else [])} <= {
            path.name for path in self.images.iterdir()
        }
        return Outcome(
            rows_in=sum(1 for _ in self.images.iterdir()),
            rows_out=len(ids),
            twice=sum(count - 1 for count in ids.values()),
            half_written=len(half_written(self.out)),
            deaths=self.deaths,
            seconds=time.monotonic() - self._start,
            by_status=dict(Counter(table["status"].to_pylist())) if table is not None else {},
        )


def half_written(out):
    """Return the visible files that are not whole."""
    broken = []
    for path in out.rglob("*"):
        if not path.is_file() or "_tmp" in path.parts:
            continue
        try:
            READERS[path.suffix](path)
        except Exception:  # noqa: BLE001 - whatever a reader thinks of half a file
            broken.append(path)
    return broken


def _picture(path):
    with Image.open(path) as image:
        image.load()


READERS = {
    ".parquet": pq.read_table,
    ".json": lambda path: json.loads(path.read_text()),
    ".png": _picture,
    ".jpg": _picture,
}


def working_in(session):
    """Return the processes of a session that can still write; Ray's agents hold no work, and take a minute to end."""
    found = []
    for process in processes_of(session):
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{process}/comm").read_text().strip()
            is_worker = b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
            if (
                is_worker
                or name in {"gcs_server", "raylet"}
                or name.startswith(("ray::Map", "ray::Attempts"))
            ):
                found.append(process)
    return found


def kill_drivers(scene, times, *, seed):
    """Kill the command so many times: half of them after some progress, half at any moment until about the first."""
    moments = random.Random(seed)
    first_part_s = 0.0
    for number in range(times):
        began = time.monotonic()
        process = scene.start()
        if number % 2:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=moments.uniform(0, 1.2 * first_part_s))
        else:
            scene.wait_for_parts(process, 1)
            first_part_s = first_part_s or time.monotonic() - began
            scene.wait_for_parts(process, moments.randint(0, 3))
            time.sleep(moments.uniform(0, 0.1))
        scene.kill(process)


def kill_workers(scene, times, *, of_session):
    """Kill workers of one driver of the local engine, so many times: whoever holds the session, or who decodes."""
    process = scene.start()
    for _ in range(times):
        scene.wait_for_parts(process, 1)
        victims = []
        while not victims and process.poll() is None:
            victims = [worker for worker in children(process.pid) if is_detector(worker) == of_session]
        if process.poll() is None:
            os.kill(victims[0], signal.SIGKILL)
            scene.deaths += 1
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, (out, err)


def is_detector(pid):
    """Whether a worker of the local engine holds a session: only those load ONNX Runtime."""
    with contextlib.suppress(OSError):
        return "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()
    return False


def ray_workers(word):
    """Return the Ray processes whose task's name holds a word."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"ray::{word}" in (place / "cmdline").read_text(errors="replace"):
                found.append(int(place.name))
    return found
