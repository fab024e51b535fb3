"""The bytes of many images, several requests in flight where they are remote; and what to do when a store is gone."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mogface_batch import storage
from mogface_batch.config import LimitOptions
from mogface_batch.errors import ErrorCode, FetchFault, OutputError, RowFault

REQUESTS_IN_FLIGHT = 16
LONGEST_PAUSE_S = 30.0
FEW = 4
_GONE_CODES = storage.TRANSIENT_CODES | {"forbidden"}

Outcome = tuple[storage.Fetched | RowFault, float]
"""The bytes, or why there are none; and the seconds that it took."""

_seen_well: dict[str, str] = {}
"""Store -> the last address there that this process has read: what shows whether it is still there."""


def fetch_all(
    addresses: list[str], limits: LimitOptions, sources: storage.Sources = storage.ANYTHING
) -> Iterator[Outcome]:
    """Yield what became of each address, in their order.

    Raises:
        OutputError: A store has answered nobody for `limits.store_wait_s`: an outage is no property of its images.
    """
    if not any(storage.is_remote(address) for address in addresses):
        yield from (_fetch(address, limits, sources) for address in addresses)
        return
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
        outcomes = list(pool.map(lambda address: _fetch(address, limits, sources), addresses))
        for store, rows in _by_store(addresses).items():
            _remember(store, rows, addresses, outcomes)
            lost = [row for row in rows if _may_be_outage(store, outcomes[row])]
            if not lost:
                continue
            was_gone = _Outage(store, addresses[lost[0]], limits, sources).waited()
            if was_gone or len(lost) == len(rows) >= FEW:  # it may have come back a moment ago
                again = pool.map(lambda row: _fetch(addresses[row], limits, sources), lost)
                for row, outcome in zip(lost, again, strict=True):
                    outcomes[row] = outcome
    yield from outcomes


def _by_store(addresses: list[str]) -> dict[str, list[int]]:
    """Return the rows of each store elsewhere."""
    rows: dict[str, list[int]] = {}
    for row, address in enumerate(addresses):
        if storage.is_remote(address):
            rows.setdefault(storage.store_of(address), []).append(row)
    return rows


def _remember(store: str, rows: list[int], addresses: list[str], outcomes: list[Outcome]) -> None:
    for row in rows:
        if isinstance(outcomes[row][0], storage.Fetched):
            _seen_well[store] = addresses[row]


def _may_be_outage(store: str, outcome: Outcome) -> bool:
    """Whether a row failed as it would if its store were gone.

    A web server that never answered is no outage: a list from the web names many that are gone for good. A bucket
    that denies everything is one only if it did not before: then credentials have run out.
    """
    fault, _ = outcome
    if not isinstance(fault, FetchFault) or fault.code not in _GONE_CODES:
        return False
    return store in _seen_well or (fault.code != "forbidden" and not storage.is_url(store))


@dataclass(frozen=True, slots=True)
class _Outage:
    """A store that may be gone."""

    store: str
    failed: str
    limits: LimitOptions
    sources: storage.Sources

    def waited(self) -> bool:
        """Wait while the store is gone; return whether it was.

        Raises:
            OutputError: It did not come back in time.
        """
        started = time.monotonic()
        if self._answers():
            return False
        shown = storage.redacted(self.store)
        print(  # noqa: T201 - people wonder why nothing goes on
            f"{shown} answers no more: waiting up to limits.store_wait_s={self.limits.store_wait_s:g} s for it.",
            file=sys.stderr,
            flush=True,
        )
        pause_s = 1.0
        while True:
            left_s = self.limits.store_wait_s - (time.monotonic() - started)
            if left_s <= 0:
                raise OutputError(
                    f"{shown} has answered nobody for {self.limits.store_wait_s:g} s (limits.store_wait_s), or denies "
                    "what it gave before. The images there are not counted as failed: start the same command again "
                    "when the store is back and its credentials are good."
                )
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if self._answers():
                return True

    def _answers(self) -> bool:
        known = _seen_well.get(self.store)
        if known is None:
            return storage.answers(self.failed, timeout_s=self.limits.fetch_timeout_s)
        outcome, _ = _fetch(known, self.limits, self.sources)
        return not (isinstance(outcome, FetchFault) and outcome.code in _GONE_CODES)


def _fetch(address: str, limits: LimitOptions, sources: storage.Sources) -> Outcome:
    start = time.perf_counter()
    try:
        if not address:
            raise FetchFault(ErrorCode.NO_URI, "The manifest row names no image.")
        result: storage.Fetched | RowFault = storage.fetch(
            address,
            max_bytes=limits.bytes,
            timeout_s=limits.fetch_timeout_s,
            attempts=limits.fetch_attempts,
            sources=sources,
        )
    except RowFault as fault:
        result = fault
    return result, time.perf_counter() - start
