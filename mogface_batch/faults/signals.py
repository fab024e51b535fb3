"""SIGINT and SIGTERM: they end the job by a fault, and never in the middle of tidying up.

While an engine works, the first signal only asks: the engine comes to an orderly end and raises the fault itself.
A second one, or the first at any other time, raises it at once.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from mogface_batch.errors import Interrupted, JobFault

GRACE_S = 15
"""In which an engine must come to its end, so that all is over within 20 s."""
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_of_thread = threading.local()


@dataclass(slots=True)
class Stopped:
    """Whether a signal has come, or another thread has found that the job is at its end."""

    fault: JobFault | None = None
    is_gentle: bool = False
    """Whether the first one only asks."""
    is_urgent: bool = False
    """Whether another one has come."""


@contextlib.contextmanager
def raise_on_signal() -> Iterator[Stopped]:
    """Let the signals raise `Interrupted` in the main thread; elsewhere Python cannot receive them."""
    stopped = Stopped()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(number: int, _: FrameType | None) -> None:
        first = stopped.fault is None
        stopped.is_urgent = not first
        stopped.fault = stopped.fault or Interrupted(
            f"Stopped by {signal.Signals(number).name}: what is finished stays, the same command goes on from there."
        )
        if not (first and stopped.is_gentle):
            raise stopped.fault

    before = {number: signal.signal(number, stop) for number in _STOPPING}
    _of_thread.stopped = stopped
    try:
        yield stopped
    finally:
        del _of_thread.stopped
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def note_signals() -> Iterator[Stopped]:
    """Inside `raising`, let the first signal only set the fault, for as long as the context lasts."""
    stopped: Stopped = getattr(_of_thread, "stopped", Stopped())
    stopped.is_gentle = True
    try:
        yield stopped
    finally:
        stopped.is_gentle = False


def are_received() -> bool:
    """Whether a signal to the main thread raises the fault that is set."""
    return callable(signal.getsignal(signal.SIGTERM))


@contextlib.contextmanager
def defer_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals wait until the block ends, all that stop us if none is named; a process started in it never gets them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers or _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
