"""fsspec's file systems, one for each scheme."""

import functools
from typing import Any

import fsspec
import fsspec.utils

from mogface_batch.errors import InputError
from mogface_batch.storage.addresses import scheme_of

EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az",
    "http": "http", "https": "http", "hf": "hf",
}  # fmt: skip
"""Scheme -> the extra of this package that brings its client."""


@functools.lru_cache(maxsize=64)
def filesystem_of(scheme: str) -> Any:  # noqa: ANN401 - fsspec is untyped
    """Return the file system of a scheme.

    Raises:
        InputError: Its client is not installed, or there is none.
    """
    try:
        return fsspec.filesystem(scheme, **(_http_options() if scheme in {"http", "https"} else {}))
    except (ImportError, ValueError) as error:
        extra = EXTRAS.get(scheme)
        what = f"type pip install 'mogface-batch[{extra}]'" if extra else str(error).rstrip(".")
        raise InputError(f"{scheme}:// cannot be reached: {what}.") from None


def _http_options() -> dict[str, Any]:
    import aiohttp  # noqa: PLC0415 - comes with the extra http

    # Its own limit is 5 minutes for everything, and none for silence.
    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=300)}}


def located(address: str) -> tuple[Any, str]:
    """Return an address's file system and its path there."""
    filesystem = filesystem_of(scheme_of(address))
    return filesystem, filesystem._strip_protocol(address)  # noqa: SLF001 - fsspec's own way to take a URI apart
