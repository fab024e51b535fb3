"""Finds the bucket and the key of an address, and runs requests on it within a time limit.

The retries of obstore are off: this package must know how often a request was tried, and whether a response may have been
lost.
"""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from fsspec.asyn import get_loop, sync
from obstore.store import AzureStore, S3Store

from mogface_batch.storage.clients.credentials import find_azure_options, find_s3_options
from mogface_batch.storage.error_codes import UnusableKey
from mogface_batch.storage.retries import retry_call

ATTEMPT_S = 60.0
"""Time limit for one request of the job's own, plus a second for each megabyte."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AZURE_HOST = re.compile(r"([a-z0-9]{3,24})\.(?:blob|dfs)\.[a-z0-9.-]+")
Bucket = S3Store | AzureStore
T = TypeVar("T")


def locate_object(address: str, *, timeout_s: float | None = None) -> tuple[Bucket, str]:
    """Return the bucket of an address and the key in it.

    Args:
        address: A URI.
        timeout_s: Limit for each request on this bucket; None: `run_once` limits it.

    Raises:
        UnusableKey: The key cannot be requested.
        FileNotFoundError: There is no bucket in the address.
    """
    scheme, _, rest = address.partition("://")
    authority, _, key = rest.partition("/")
    key = key.removesuffix("/")
    if key and (_CONTROL.search(key) or {"", ".", ".."} & set(key.split("/"))):
        raise UnusableKey  # obstore refuses most of them, and changes the name /a
    return open_bucket(scheme.lower(), authority, timeout_s), key


@functools.lru_cache(maxsize=256)
def open_bucket(scheme: str, authority: str, timeout_s: float | None) -> Bucket:
    """Return the client of a bucket or container.

    Raises:
        FileNotFoundError: It has no name, or its host is not one of Azure's.
        InputError: There are no credentials.
    """
    if not authority:
        raise FileNotFoundError
    options = dict(find_s3_options() if scheme in {"s3", "s3a"} else find_azure_options())
    # Without a limit here, `run_once` ends a request.
    limits = {"timeout": timedelta(seconds=timeout_s or 24 * 3600), "connect_timeout": timedelta(seconds=10)}
    options["client_options"] = options["client_options"] | limits
    options["retry_config"] = {"max_retries": 0}
    if scheme in {"s3", "s3a"}:
        return S3Store(authority, **options)
    container, at, host = authority.partition("@")
    if (
        at
    ):  # abfs://container@account.dfs.core.windows.net: only the account's name is used, never another host
        account = _AZURE_HOST.fullmatch(host)
        if account is None:
            raise FileNotFoundError
        options["config"] = {**options["config"], "account_name": account[1]}
    return AzureStore(container, **options)


def run_once(call: Callable[[], Awaitable[T]], *, size_bytes: int = 0) -> T:
    """Return the result of a request, made once, within `ATTEMPT_S` and a second for each megabyte."""
    # In the event loop of another thread, so that a signal need not wait for the response.
    limit_s = ATTEMPT_S + size_bytes / 1e6

    async def run_limited() -> T:
        return await asyncio.wait_for(call(), limit_s)

    result: T = sync(get_loop(), run_limited)
    return result


def run_persistently(call: Callable[[], Awaitable[T]], *, size_bytes: int = 0) -> T:
    """Return the result of a request, repeated as `retry_call` does."""
    return retry_call(lambda: run_once(call, size_bytes=size_bytes))
