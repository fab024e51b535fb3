"""SIGINT and SIGTERM: they end the job by a fault, and never in the middle of tidying up."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from mogface_batch.errors import Interrupted

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Stopped:
    """Whether a signal has come."""

    fault: Interrupted | None = None


@contextlib.contextmanager
def raising() -> Iterator[Stopped]:
    """Let the signals raise `Interrupted` in the main thread; elsewhere Python cannot receive them."""
    stopped = Stopped()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(number: int, _: FrameType | None) -> None:
        stopped.fault = Interrupted(
            f"Stopped by {signal.Signals(number).name}: what is finished stays, the same command goes on from there."
        )
        raise stopped.fault

    before = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals wait until the block ends, all that stop us if none is named; a process started in it never gets them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers or _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
