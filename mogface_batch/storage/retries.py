"""Decides how often, and for how long, a call is repeated."""

import contextlib
import contextvars
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from mogface_batch.errors import JobFault
from mogface_batch.storage.error_codes import TRANSIENT_CODES, classify_error

PATIENCE_S = 180.0
"""How long the job keeps retrying its own reads and writes in a store that is not responding."""
READING_PATIENCE_S = 30.0
"""The same for manifests, models and listings, which a person may be waiting for."""
ENDING_PATIENCE_S = 3.0
"""The same for cleaning up while a job ends."""
_max_s = contextvars.ContextVar[float]("max_s", default=float("inf"))
T = TypeVar("T")


def choose_backoff_s(attempt: int) -> float:
    """Return how long to wait after so many attempts: longer each time, and random, so that clients do not collide."""
    max_s = min(20.0, 0.25 * float(2**attempt))
    return random.uniform(0.5, 1.0) * max_s  # noqa: S311 - jitter, no secret


_BUGS = (AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError)


def is_transient(error: Exception) -> bool:
    """Return whether an exception is of a transient kind."""
    return not isinstance(error, (JobFault, *_BUGS)) and classify_error(error)[0] in TRANSIENT_CODES


@contextlib.contextmanager
def limit_patience() -> Iterator[None]:
    """Retry for at most `ENDING_PATIENCE_S` inside this context: a job that ends must not wait for a store that is gone."""
    token = _max_s.set(ENDING_PATIENCE_S)
    try:
        yield
    finally:
        _max_s.reset(token)


def retry_call(
    call: Callable[[], T], *, for_s: float | None = None, on_doubt: Callable[[], None] = lambda: None
) -> T:
    """Return the result of a call, repeated while it fails with a transient error.

    Args:
        call: Made at least once.
        for_s: No new attempt starts after this time; None: `PATIENCE_S`.
        on_doubt: Called after each transient error: the store may have carried out the request nevertheless.
    """
    give_up_at = time.monotonic() + min(PATIENCE_S if for_s is None else for_s, _max_s.get())
    attempt = 1
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() >= give_up_at:
                raise
        on_doubt()
        time.sleep(choose_backoff_s(attempt))
        attempt += 1


def retry_read(call: Callable[[], T]) -> T:
    """Return the result of a call, repeated as by `retry_call`, but for `READING_PATIENCE_S`."""
    return retry_call(call, for_s=READING_PATIENCE_S)
