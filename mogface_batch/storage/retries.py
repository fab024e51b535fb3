"""How often, and for how long, something is tried again."""

import contextlib
import contextvars
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from mogface_batch.errors import JobFault
from mogface_batch.storage.error_codes import TRANSIENT_CODES, classify_error

PATIENCE_S = 180.0
"""How long a store may be away before what the job itself reads and writes there is given up."""
READING_PATIENCE_S = 30.0
"""The same for manifests, models and listings, for which a person may wait."""
HURRY_S = 3.0
"""The same for what is tidied up while a job ends."""
_most_s = contextvars.ContextVar[float]("most_s", default=float("inf"))
T = TypeVar("T")


def choose_backoff_s(attempt: int) -> float:
    """Return how long to wait after so many attempts: longer each time, and never the same for two clients."""
    longest_s = min(20.0, 0.25 * float(2**attempt))
    return random.uniform(0.5, 1.0) * longest_s  # noqa: S311 - jitter, no secret


_BUGS = (AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError)


def is_transient(error: Exception) -> bool:
    """Whether an exception is of a kind that may pass."""
    return not isinstance(error, (JobFault, *_BUGS)) and classify_error(error)[0] in TRANSIENT_CODES


@contextlib.contextmanager
def limit_patience() -> Iterator[None]:
    """Give a store up after `HURRY_S` for as long as the context lasts: a job that ends must not wait for one that is gone."""
    token = _most_s.set(HURRY_S)
    try:
        yield
    finally:
        _most_s.reset(token)


def retry_call(
    call: Callable[[], T], *, for_s: float | None = None, doubtful: Callable[[], None] = lambda: None
) -> T:
    """Return what the call returns, made again while it fails in a way that may pass.

    Args:
        call: Made at least once.
        for_s: No new attempt after so long; None: `PATIENCE_S`.
        doubtful: Called after such a failure: the store may have done what it was asked for all the same.
    """
    give_up_at = time.monotonic() + min(PATIENCE_S if for_s is None else for_s, _most_s.get())
    attempt = 1
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() >= give_up_at:
                raise
        doubtful()
        time.sleep(choose_backoff_s(attempt))
        attempt += 1


def retry_read(call: Callable[[], T]) -> T:
    """Return what the call returns, as `retry_call`, but for `READING_PATIENCE_S`."""
    return retry_call(call, for_s=READING_PATIENCE_S)
