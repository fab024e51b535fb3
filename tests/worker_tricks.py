"""Builders for the local engine's processes that die, fail or are slow where a test says; for a spawned process to import.

Each wraps the real builder, so that everything else is the true path. Pictures are known by their names: a name
that holds ``poison`` kills its process, ``slow`` takes a while.
"""

import os
import signal
import time
from pathlib import Path

import pyarrow as pa

from mogface_batch.pipeline import workers
from mogface_batch.schema import ADDRESS


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _names(path_or_rows):
    """Return the names of a task's images, without taking its table away as `load_table` does."""
    rows = path_or_rows
    if isinstance(rows, str):
        with pa.memory_map(rows) as file:
            rows = pa.ipc.open_file(file).read_all()
    return [address.rpartition("/")[2] for address in rows[ADDRESS].to_pylist()]


def _first_time(job, what):
    """Whether this is the first time that `what` happens in the test, in whichever process."""
    try:
        (Path(job.output).parent / what).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def poisoned_decoder(job):
    """Die at each picture whose name holds poison."""
    handle = workers.cpu_worker(job)

    def poisoned(task, folder):
        if task.stage == "prepare" and any("poison" in name for name in _names(task.rows)):
            _die()
        return handle(task, folder)

    return poisoned


def poisoned_session(job, model_path):
    """Die at each picture whose name holds poison."""
    handle = workers.detect_worker(job, model_path)

    def poisoned(task, folder):
        if any("poison" in name for name in _names(task.tables[0])):
            _die()
        return handle(task, folder)

    return poisoned


def slow_decoder(job):
    """Take 0.2 s for each task."""
    handle = workers.cpu_worker(job)

    def slow(task, folder):
        time.sleep(0.2)
        return handle(task, folder)

    return slow


def writer_that_dies_once(job):
    """Die at the first unit, after its tables were taken up."""
    handle = workers.cpu_worker(job)

    def dying(task, folder):
        if task.stage == "finish" and _first_time(job, "died"):
            for path in task.tables:
                workers.load_table(path)
            _die()
        return handle(task, folder)

    return dying


def writer_that_always_dies(job):
    """Die at each unit."""
    handle = workers.cpu_worker(job)

    def dying(task, folder):
        if task.stage == "finish":
            _die()
        return handle(task, folder)

    return dying


def decoder_with_a_bug(job):
    """Raise what no stage should."""
    handle = workers.cpu_worker(job)

    def buggy(task, folder):
        if task.stage == "prepare":
            raise EOFError("planted bug")
        return handle(task, folder)

    return buggy


def session_that_dies_at_its_first_start(job, model_path):
    """Die once while starting, as if the machine had run out of memory for a moment."""
    if _first_time(job, "died"):
        _die()
    return workers.detect_worker(job, model_path)


def session_that_never_starts(job, model_path):
    """Die at each start."""
    _die()


def hanging_session(job, model_path):
    """Say that it works, then never answer, deaf to the end of its pipe, as a hung driver is."""
    handle = workers.detect_worker(job, model_path)

    def hanging(task, folder):
        (Path(job.output).parent / f"hangs-{os.getpid()}").touch()
        time.sleep(600)
        return handle(task, folder)

    return hanging
