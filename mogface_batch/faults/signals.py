"""SIGINT and SIGTERM: they end the job by a fault, and never while it cleans up.

While an engine works, the first signal only requests a stop: the engine finishes what it can and raises the fault.
A second signal, or the first one at any other time, raises the fault at once.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from mogface_batch.errors import Interrupted, JobFault

GRACE_S = 15
"""How long an engine may take to stop, so that the whole job ends within 20 s."""
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_of_thread = threading.local()


@dataclass(slots=True)
class StopRequest:
    """Whether the job must stop, because of a signal or because another thread has found that it cannot go on."""

    fault: JobFault | None = None
    """Why; None: it must not."""
    is_gentle: bool = False
    """Whether the first signal only sets the fault."""
    is_urgent: bool = False
    """Whether a second signal has come."""


@contextlib.contextmanager
def raise_on_signal() -> Iterator[StopRequest]:
    """Let the signals raise `Interrupted` in the main thread; in other threads Python cannot receive them."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, _: FrameType | None) -> None:
        is_first = request.fault is None
        request.is_urgent = not is_first
        request.fault = request.fault or Interrupted(
            f"Stopped by {signal.Signals(number).name}: what is finished stays, the same command goes on from there."
        )
        if not (is_first and request.is_gentle):
            raise request.fault

    before = {number: signal.signal(number, handle) for number in _STOP_SIGNALS}
    _of_thread.request = request
    try:
        yield request
    finally:
        del _of_thread.request
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stop_gently() -> Iterator[StopRequest]:
    """Inside `raise_on_signal`, let the first signal only set the fault until the block ends."""
    request: StopRequest = getattr(_of_thread, "request", StopRequest())
    request.is_gentle = True
    try:
        yield request
    finally:
        request.is_gentle = False


def are_received() -> bool:
    """Return whether a signal to the main thread raises the fault that is set."""
    return callable(signal.getsignal(signal.SIGTERM))


@contextlib.contextmanager
def defer_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Deliver signals only when the block ends; a process started in the block never receives them.

    Args:
        numbers: The signals to defer; SIGINT and SIGTERM if none is named.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers or _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
