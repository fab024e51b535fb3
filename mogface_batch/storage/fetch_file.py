"""Fetches the bytes of an image within limits of size, time and attempts."""

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass

from mogface_batch.errors import ErrorCode, FetchFault, JobFault, RowFault
from mogface_batch.storage.addresses import is_remote, parse_scheme, redact
from mogface_batch.storage.allowed_sources import ALL_SOURCES, AllowedSources
from mogface_batch.storage.clients.open_client import open_client
from mogface_batch.storage.clients.schemes import has_client
from mogface_batch.storage.error_codes import TRANSIENT_CODES, classify_error
from mogface_batch.storage.list_versions import describe_version
from mogface_batch.storage.retries import choose_backoff_s
from mogface_batch.storage.size_limit import check_size


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of one image, the etag of this version of it, and the number of attempts."""

    encoded: bytes
    etag: str | None
    attempts: int

    @property
    def sha256(self) -> str:
        """The digest of the bytes, 64 hex digits."""
        return hashlib.sha256(self.encoded).hexdigest()


def fetch(
    address: str, *, max_bytes: int, timeout_s: float, attempts: int, sources: AllowedSources = ALL_SOURCES
) -> Fetched:
    """Return the bytes at an address, retried with backoff after transient errors.

    Args:
        address: Absolute, see `make_absolute`.
        max_bytes: A larger file is not read.
        timeout_s: For one attempt.
        attempts: Maximum number of attempts, at least 1.
        sources: What may be read.

    Raises:
        FetchFault: They could not be fetched; its code is not_found, forbidden, not_a_file, refused, unsupported
            (of its scheme or name), not_allowed, timeout, unavailable or corrupt.
        TooLargeFault: The file is larger than ``max_bytes``.
    """
    sources.check(address)
    attempt = 1
    while True:
        try:
            encoded, etag = _fetch_once(address, max_bytes=max_bytes, timeout_s=timeout_s, sources=sources)
        except (RowFault, JobFault):
            raise
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions: classify_error tells them apart
            code, why = classify_error(error)
            if code not in TRANSIENT_CODES or attempt >= attempts:
                raise FetchFault(code, f"{redact(address)} could not be read: {why}.", attempt) from None
            time.sleep(choose_backoff_s(attempt))
            attempt += 1
        else:
            return Fetched(encoded, etag, attempt)


def fetch_start(
    address: str, *, at_most_bytes: int, timeout_s: float, sources: AllowedSources = ALL_SOURCES
) -> bytes:
    """Return the first bytes at an address, tried once.

    Args:
        address: Absolute, see `make_absolute`.
        at_most_bytes: No more are returned, and about as many are transferred; fewer if the file is smaller.
        timeout_s: For the attempt.
        sources: What may be read.

    Raises:
        FetchFault: As `fetch`.
    """
    sources.check(address)
    try:
        if not is_remote(address):
            return _read_local(address, max_bytes=1 << 62, only_bytes=at_most_bytes)[0]
        _check_client(address)
        return open_client(address, sources).fetch_start(
            address, at_most_bytes=at_most_bytes, timeout_s=timeout_s
        )
    except (RowFault, JobFault):
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions: classify_error tells them apart
        code, why = classify_error(error)
        raise FetchFault(code, f"{redact(address)} could not be read: {why}.") from None


def is_responding(address: str, *, timeout_s: float) -> bool:
    """Return whether the store of an address is responding; the response that a file does not exist is enough."""
    try:
        open_client(address).ping(address, timeout_s=timeout_s)
    except (RowFault, JobFault):
        return True
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions: classify_error tells them apart
        return classify_error(error)[0] not in TRANSIENT_CODES
    return True


def _fetch_once(
    address: str, *, max_bytes: int, timeout_s: float, sources: AllowedSources
) -> tuple[bytes, str | None]:
    if not is_remote(address):
        return _read_local(address, max_bytes=max_bytes)
    _check_client(address)
    encoded, etag = open_client(address, sources).fetch(address, max_bytes=max_bytes, timeout_s=timeout_s)
    return encoded, etag.strip('"') if etag else None


def _check_client(address: str) -> None:
    if not has_client(parse_scheme(address)):
        why = f"{parse_scheme(address)}:// cannot be read by any client"
        raise FetchFault(ErrorCode.UNSUPPORTED, f"{redact(address)} could not be read: {why}.")


def _read_local(path: str, *, max_bytes: int, only_bytes: int = -1) -> tuple[bytes, str]:
    # Non-blocking, so that a pipe without a writer is refused instead of waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(
            facts.st_mode
        ):  # checked before `open`, which refuses a folder and leaves the descriptor open
            raise IsADirectoryError(errno.EISDIR, "it is not a regular file")
        check_size(path, facts.st_size, max_bytes)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(only_bytes), describe_version(facts)
    finally:
        os.close(descriptor)
