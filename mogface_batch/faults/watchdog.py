"""Ends this process when native code does not come back: a hang becomes a death, which the engine knows how to treat.

The kernel ends it, by a timer whose signal nobody handles: a decoder in an endless loop runs no Python, and may
even hold the lock that Python needs. Only worker processes are `armed`; elsewhere nothing is watched.
"""

import contextlib
import faulthandler
import signal
import statistics
import time
from collections import deque
from collections.abc import Hashable, Iterator

TIMES_THE_MEDIAN = 50
WARM_UP_TIMES = 30
"""The first run of a session on a canvas may compile kernels: it has so many times the floor."""
_REMEMBERED = 101

HAS_TIMER = hasattr(signal, "setitimer")
EXIT_CODE = -signal.SIGALRM if HAS_TIMER else 1
"""Of a process that was ended, as `multiprocessing` tells it."""


class _Watch:
    """The floor of all limits, None where nothing is watched; and seconds for each unit of work so far."""

    floor_s: float | None = None
    rates: dict[Hashable, deque[float]] = {}  # noqa: RUF012 - of the one process


def arm(floor_s: float) -> None:
    """Watch this process from now on; no limit is below ``floor_s``."""
    _Watch.floor_s = floor_s


@contextlib.contextmanager
def watching(work: Hashable, amount: float = 1.0, *, warms_up: bool = False) -> Iterator[None]:
    """End the process unless the block ends in time; not to be nested.

    Args:
        work: Of one kind, whose time is proportional to its amount.
        amount: In any unit.
        warms_up: Whether a part of it is the first of its kind: then it may take `WARM_UP_TIMES` the floor.
    """
    if _Watch.floor_s is None:
        yield
        return
    rates = _Watch.rates.setdefault(work, deque(maxlen=_REMEMBERED))
    _start(limit_s(_Watch.floor_s, rates, amount, warms_up=warms_up))
    start = time.monotonic()
    try:
        yield
    finally:
        _stop()
        rates.append((time.monotonic() - start) / amount)


def limit_s(floor_s: float, rates: deque[float], amount: float, *, warms_up: bool) -> float:
    """Return how long so much work may take, by the median of what was seen."""
    usual_s = TIMES_THE_MEDIAN * statistics.median(rates) * amount if rates else 0.0
    return max(usual_s, floor_s * (WARM_UP_TIMES if warms_up else 1))


def _start(after_s: float) -> None:
    if HAS_TIMER:
        signal.setitimer(signal.ITIMER_REAL, after_s)
    else:  # Windows
        faulthandler.dump_traceback_later(after_s, exit=True)


def _stop() -> None:
    if HAS_TIMER:
        signal.setitimer(signal.ITIMER_REAL, 0)
    else:
        faulthandler.cancel_dump_traceback_later()
