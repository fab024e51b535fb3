"""Fetch the bytes of an image: bounded in size, time and attempts."""

import asyncio
import errno
import hashlib
import os
import random
import stat
import time
from dataclasses import dataclass
from typing import Any, cast

import fsspec
import fsspec.utils
from fsspec.asyn import AsyncFileSystem, sync

from mogface_batch.errors import FetchFault, JobFault, RowFault, TooLargeFault
from mogface_batch.storage.addresses import (
    is_remote,
    is_url,
    scheme_of,
)
from mogface_batch.storage.faults import code_of
from mogface_batch.storage.filesystems import EXTRAS, located

TRANSIENT_CODES = frozenset(["timeout", "unavailable"])


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of one image, what the store calls this version of it, and the attempts that it took."""

    encoded: bytes
    etag: str | None
    attempts: int

    @property
    def sha256(self) -> str:
        """The digest of the bytes, 64 hex digits."""
        return hashlib.sha256(self.encoded).hexdigest()


def fetch(address: str, *, max_bytes: int, timeout_s: float, attempts: int) -> Fetched:
    """Return the bytes at an address, trying again with backoff after what may pass.

    Args:
        address: Absolute, see `absolute`.
        max_bytes: A larger file is not read.
        timeout_s: For one attempt.
        attempts: How often at most, at least 1.

    Raises:
        FetchFault: They could not be had; its code is not_found, forbidden, not_a_file, refused, unsupported
            (of its scheme), timeout or unavailable.
        TooLargeFault: The file is larger than ``max_bytes``.
    """
    attempt = 1
    while True:
        try:
            encoded, etag = _read_once(address, max_bytes=max_bytes, timeout_s=timeout_s)
        except (RowFault, JobFault):
            raise
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions: _code tells them apart
            code, why = code_of(error)
            if code not in TRANSIENT_CODES or attempt >= attempts:
                raise FetchFault(code, f"{address} could not be read: {why}.", attempt) from None
            time.sleep(_backoff_s(attempt))
            attempt += 1
        else:
            return Fetched(encoded, etag, attempt)


def _read_once(address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
    if not is_remote(address):
        return _read_local(address, max_bytes=max_bytes)
    _check_scheme(address)
    filesystem, path = located(address)
    if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
        read = _read_url if is_url(address) else _read_object
        timed = asyncio.wait_for  # ends the request itself, where `sync` would only stop waiting for it
        encoded, etag = sync(
            filesystem.loop, lambda: timed(read(filesystem, path, max_bytes=max_bytes), timeout_s)
        )
    else:
        info = filesystem.info(path)
        _check_size(path, info.get("size") or 0, max_bytes)
        encoded, etag = filesystem.cat_file(path), _etag(info)
    _check_size(address, len(encoded), max_bytes)
    return encoded, etag.strip('"') if etag else None


def _check_scheme(address: str) -> None:
    scheme = scheme_of(address)
    if scheme not in EXTRAS and scheme not in fsspec.available_protocols():
        raise FetchFault("unsupported", f"{address} could not be read: there is no way to read {scheme}://.")


async def _read_url(filesystem: Any, url: str, *, max_bytes: int) -> tuple[bytes, str | None]:  # noqa: ANN401 - fsspec is untyped
    # Not by `info`: many web servers answer no HEAD request. So the body is cut off where it gets too long.
    session = await filesystem.set_session()
    async with session.get(filesystem.encode_url(url)) as answer:
        filesystem._raise_not_found_for_status(answer, url)  # noqa: SLF001 - as fsspec's own _cat_file does
        _check_size(url, answer.content_length or 0, max_bytes)
        encoded = bytearray()
        async for chunk in answer.content.iter_chunked(1 << 16):
            encoded += chunk
            _check_size(url, len(encoded), max_bytes)
        return bytes(encoded), answer.headers.get("ETag")


async def _read_object(filesystem: Any, path: str, *, max_bytes: int) -> tuple[bytes, str | None]:  # noqa: ANN401 - fsspec is untyped
    info = await filesystem._info(path)  # noqa: SLF001 - the only door with a time-out
    _check_size(path, info.get("size") or 0, max_bytes)
    return await filesystem._cat_file(path), _etag(info)  # noqa: SLF001 - as above


def _etag(info: dict[str, Any]) -> str | None:
    return cast("str | None", info.get("ETag") or info.get("etag"))


def _read_local(path: str, *, max_bytes: int) -> tuple[bytes, str]:
    # Non-blocking, so that a pipe nobody writes to is refused instead of waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):  # asked before `open`, which refuses a folder and leaves it open
            raise IsADirectoryError(errno.EISDIR, "it is no regular file")
        _check_size(path, facts.st_size, max_bytes)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(), f"{facts.st_size:x}-{facts.st_mtime_ns:x}"
    finally:
        os.close(descriptor)


def _check_size(address: str, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise TooLargeFault(
            "too_many_bytes", f"{address} has more bytes than limits.bytes={max_bytes} allows."
        )


def _backoff_s(attempt: int) -> float:
    longest_s = min(20.0, 0.25 * float(2**attempt))
    return random.uniform(0.5, 1.0) * longest_s  # noqa: S311 - jitter, no secret
