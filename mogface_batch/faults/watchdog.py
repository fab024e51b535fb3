"""Ends this process when native code hangs: the hang becomes a death, which the engines can handle.

The kernel ends the process, by a timer whose signal has no handler: a decoder in an endless loop runs no Python, and
may even hold the lock that Python needs. Only processes that call `arm` are watched.
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
"""The first run of a session on a canvas size may compile kernels: it may take so many times the lower limit."""
_REMEMBERED_RATES = 101

HAS_TIMER = hasattr(signal, "setitimer")
EXIT_CODE = -signal.SIGALRM if HAS_TIMER else 1
"""The exit code of a process that was ended, as `multiprocessing` has it."""


class _Watch:
    """The state of this process."""

    min_limit_s: float | None = None
    """The lower limit of all time limits; None: nothing is watched."""
    rates: dict[Hashable, deque[float]] = {}  # noqa: RUF012 - shared by the whole process
    """Kind of work -> seconds for each unit of its amount, the last few times."""


def arm(min_limit_s: float) -> None:
    """Watch this process from now on; no time limit is below ``min_limit_s``."""
    _Watch.min_limit_s = min_limit_s


@contextlib.contextmanager
def watch(work: Hashable, amount: float = 1.0, *, warms_up: bool = False) -> Iterator[None]:
    """End the process unless the block ends in time; do not nest.

    Args:
        work: The kind of work; its time is proportional to its amount.
        amount: How much work, in any unit.
        warms_up: Whether part of it is the first of its kind: then it may take `WARM_UP_TIMES` the lower limit.
    """
    if _Watch.min_limit_s is None:
        yield
        return
    rates = _Watch.rates.setdefault(work, deque(maxlen=_REMEMBERED_RATES))
    _start_timer(compute_limit_s(_Watch.min_limit_s, rates, amount, warms_up=warms_up))
    start_s = time.monotonic()
    try:
        yield
    finally:
        _stop_timer()
        rates.append((time.monotonic() - start_s) / amount)


def compute_limit_s(min_limit_s: float, rates: deque[float], amount: float, *, warms_up: bool) -> float:
    """Return how long this amount of work may take, from the median of the rates so far."""
    usual_s = TIMES_THE_MEDIAN * statistics.median(rates) * amount if rates else 0.0
    return max(usual_s, min_limit_s * (WARM_UP_TIMES if warms_up else 1))


def _start_timer(after_s: float) -> None:
    if HAS_TIMER:
        signal.setitimer(signal.ITIMER_REAL, after_s)
    else:  # Windows
        faulthandler.dump_traceback_later(after_s, exit=True)


def _stop_timer() -> None:
    if HAS_TIMER:
        signal.setitimer(signal.ITIMER_REAL, 0)
    else:
        faulthandler.cancel_dump_traceback_later()
