"""Fetch the bytes of many images, from remote stores with several requests at once; wait for a store that is gone."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mogface_batch import storage
from mogface_batch.config import LimitOptions
from mogface_batch.errors import ErrorCode, FetchFault, OutputError, RowFault

REQUESTS_IN_FLIGHT = 16
MAX_PAUSE_S = 30.0
FEW_ROWS = 4
"""If so many rows of one store all fail, they are fetched again even though the store responds."""
_OUTAGE_CODES = storage.TRANSIENT_CODES | {"forbidden"}

Outcome = tuple[storage.Fetched | RowFault, float]
"""The bytes, or why there are none; and the seconds that it took."""

_last_good_addresses: dict[str, str] = {}
"""Store -> the last address in it that this process has read. Reading it again shows whether the store is there."""


def fetch_all(
    addresses: list[str], limits: LimitOptions, sources: storage.AllowedSources = storage.ALL_SOURCES
) -> Iterator[Outcome]:
    """Yield the outcome for each address, in their order.

    Raises:
        OutputError: A store has not responded for `limits.store_wait_s`. Outages are not counted against images.
    """
    if not any(storage.is_remote(address) for address in addresses):
        yield from (_fetch(address, limits, sources) for address in addresses)
        return
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
        outcomes = list(pool.map(lambda address: _fetch(address, limits, sources), addresses))
        for store, rows in _group_by_store(addresses).items():
            _remember_good_address(store, rows, addresses, outcomes)
            lost_rows = [row for row in rows if _may_be_outage(store, outcomes[row])]
            if not lost_rows:
                continue
            was_gone = _StoreCheck(store, addresses[lost_rows[0]], limits, sources).wait_while_gone()
            # A store that responds may have come back a moment ago.
            if was_gone or len(lost_rows) == len(rows) >= FEW_ROWS:
                retried = pool.map(lambda row: _fetch(addresses[row], limits, sources), lost_rows)
                for row, outcome in zip(lost_rows, retried, strict=True):
                    outcomes[row] = outcome
    yield from outcomes


def _group_by_store(addresses: list[str]) -> dict[str, list[int]]:
    """Return the rows of each remote store."""
    rows: dict[str, list[int]] = {}
    for row, address in enumerate(addresses):
        if storage.is_remote(address):
            rows.setdefault(storage.parse_store(address), []).append(row)
    return rows


def _remember_good_address(
    store: str, rows: list[int], addresses: list[str], outcomes: list[Outcome]
) -> None:
    for row in rows:
        if isinstance(outcomes[row][0], storage.Fetched):
            _last_good_addresses[store] = addresses[row]


def _may_be_outage(store: str, outcome: Outcome) -> bool:
    """Return whether a row failed as it would if its store were gone.

    A web server that never responded is not an outage: lists from the web name many servers that are gone for good. A
    bucket that denies access has an outage only if it allowed access before: then the credentials have expired.
    """
    fault, _ = outcome
    if not isinstance(fault, FetchFault) or fault.code not in _OUTAGE_CODES:
        return False
    return store in _last_good_addresses or (fault.code != "forbidden" and not storage.is_url(store))


@dataclass(frozen=True, slots=True)
class _StoreCheck:
    """Checks a store that may be gone."""

    store: str
    failed_address: str
    limits: LimitOptions
    sources: storage.AllowedSources

    def wait_while_gone(self) -> bool:
        """Wait until the store responds; return whether it was gone.

        Raises:
            OutputError: It did not come back in time.
        """
        started_s = time.monotonic()
        if self._is_responding():
            return False
        name = storage.redact(self.store)
        print(  # noqa: T201 - else it is not clear why the job stands still
            f"{name} is not responding: waiting up to limits.store_wait_s={self.limits.store_wait_s:g} s for it.",
            file=sys.stderr,
            flush=True,
        )
        pause_s = 1.0
        while True:
            remaining_s = self.limits.store_wait_s - (time.monotonic() - started_s)
            if remaining_s <= 0:
                raise OutputError(
                    f"{name} has not responded for {self.limits.store_wait_s:g} s (limits.store_wait_s), or denies "
                    "access that it allowed before. The images there are not counted as failed: start the same command "
                    "again when the store is back and its credentials are valid."
                )
            time.sleep(min(pause_s, remaining_s))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            if self._is_responding():
                return True

    def _is_responding(self) -> bool:
        address = _last_good_addresses.get(self.store)
        if address is None:
            return storage.is_responding(self.failed_address, timeout_s=self.limits.fetch_timeout_s)
        outcome, _ = _fetch(address, self.limits, self.sources)
        return not (isinstance(outcome, FetchFault) and outcome.code in _OUTAGE_CODES)


def _fetch(address: str, limits: LimitOptions, sources: storage.AllowedSources) -> Outcome:
    start_s = time.perf_counter()
    try:
        if not address:
            raise FetchFault(ErrorCode.NO_URI, "The manifest row has no URI.")
        result: storage.Fetched | RowFault = storage.fetch(
            address,
            max_bytes=limits.bytes,
            timeout_s=limits.fetch_timeout_s,
            attempts=limits.fetch_attempts,
            sources=sources,
        )
    except RowFault as fault:
        result = fault
    return result, time.perf_counter() - start_s
