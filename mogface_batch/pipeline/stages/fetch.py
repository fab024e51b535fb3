"""The bytes of many images, several requests in flight where they are remote."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from mogface_batch import storage
from mogface_batch.config import LimitOptions
from mogface_batch.errors import FetchFault, RowFault

REQUESTS_IN_FLIGHT = 16

Outcome = tuple[storage.Fetched | RowFault, float]
"""The bytes, or why there are none; and the seconds that it took."""


def fetch_all(addresses: list[str], limits: LimitOptions) -> Iterator[Outcome]:
    """Yield what became of each address, in their order."""
    if not any(storage.is_remote(address) for address in addresses):
        yield from (_fetch(address, limits) for address in addresses)
        return
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
        yield from pool.map(lambda address: _fetch(address, limits), addresses)


def _fetch(address: str, limits: LimitOptions) -> Outcome:
    start = time.perf_counter()
    try:
        if not address:
            raise FetchFault("no_uri", "The manifest row names no image.")
        result: storage.Fetched | RowFault = storage.fetch(
            address,
            max_bytes=limits.bytes,
            timeout_s=limits.fetch_timeout_s,
            attempts=limits.fetch_attempts,
        )
    except RowFault as fault:
        result = fault
    return result, time.perf_counter() - start
