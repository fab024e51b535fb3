"""Builders for the local engine's processes that die, fail or are slow where a test says; for a spawned process to import.

Each wraps the real builder, so that everything else is the true path.
"""

import os
import signal
import time
from pathlib import Path

import poison

from mogface_batch.engines.local import workers
from mogface_batch.stages import stream_views


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _first_time(settings, what):
    """Whether this is the first time that `what` happens in the test, in whichever process."""
    try:
        (Path(settings.output).parent / what).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def slow_decoder(settings):
    """Take 0.2 s for each task."""
    handle = workers.build_cpu_handler(settings)

    def slow(task, folder):
        time.sleep(0.2)
        return handle(task, folder)

    return slow


def slow_session(settings, model_path):
    """Take 0.2 s for each task."""
    handle = workers.build_detect_handler(settings, model_path)

    def slow(task, folder):
        time.sleep(0.2)
        return handle(task, folder)

    return slow


def writer_that_dies_once(settings):
    """Die at the first unit, after its tables were read."""
    handle = workers.build_cpu_handler(settings)

    def dying(task, folder):
        if task.stage == "finish" and _first_time(settings, "died"):
            for path in task.tables:
                workers.load_table(path)
            _die()
        return handle(task, folder)

    return dying


def writer_that_always_dies(settings):
    """Die at each unit."""
    handle = workers.build_cpu_handler(settings)

    def dying(task, folder):
        if task.stage == "finish":
            _die()
        return handle(task, folder)

    return dying


def decoder_with_a_bug(settings):
    """Raise what no stage should."""
    handle = workers.build_cpu_handler(settings)

    def buggy(task, folder):
        if task.stage == "prepare":
            raise EOFError("planted bug")
        return handle(task, folder)

    return buggy


def session_that_dies_at_its_first_start(settings, model_path):
    """Die once while starting, as if the machine had run out of memory for a moment."""
    if _first_time(settings, "died"):
        _die()
    return workers.build_detect_handler(settings, model_path)


def session_that_never_starts(settings, model_path):
    """Die at each start."""
    _die()


def hanging_session(settings, model_path):
    """Say that it works, then never answer, deaf to the end of its pipe, as a hung driver is."""
    handle = workers.build_detect_handler(settings, model_path)

    def hanging(task, folder):
        (Path(settings.output).parent / f"hangs-{os.getpid()}").touch()
        time.sleep(600)
        return handle(task, folder)

    return hanging


def poisoned_cpu_worker(settings):
    """Take the poison of pictures."""
    poison.install()
    return workers.build_cpu_handler(settings)


def poisoned_detect_worker(settings, model_path):
    """Take the poison of pictures, also in the process that decodes those of many views."""
    poison.install()
    stream_views._CutViews = PoisonedCut
    return workers.build_detect_handler(settings, model_path)


class PoisonedCut(stream_views._CutViews):
    """Takes the poison of pictures in the process where it arrives."""

    __slots__ = ()

    def __setstate__(self, state):
        poison.install()  # here, so that the time for it is not that of an image
        super().__setstate__(state)
