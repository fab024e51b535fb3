"""Reads manifests, models and other whole files."""

import contextlib
import io
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, cast

import fsspec
import fsspec.utils

from mogface_batch.errors import InputError, JobFault
from mogface_batch.storage.addresses import is_remote, redact, strip_query
from mogface_batch.storage.clients.open_client import open_client
from mogface_batch.storage.error_codes import classify_error


def read_bytes(address: str) -> bytes:
    """Return the whole content at an address.

    Raises:
        InputError: It cannot be read.
    """
    with open_binary(address) as file:
        return file.read()


@contextlib.contextmanager
def open_binary(address: str) -> Iterator[IO[bytes]]:
    """Open an address for reading; a name that ends in .gz, .bz2, .xz or .zst is decompressed.

    Raises:
        InputError: It cannot be read, at the start or later.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_open_decompressed(address))
        except JobFault:
            raise
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions
            raise _build_read_error(address, error) from None
        try:
            yield file
        except _READ_ERRORS as error:
            raise _build_read_error(address, error) from None


_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def _build_read_error(address: str, error: Exception) -> InputError:
    is_compressed = strip_query(address).endswith((".gz", ".bz2", ".xz", ".zst"))
    is_damaged = is_compressed and isinstance(error, OSError) and error.errno is None
    why = "it is not a complete compressed file" if is_damaged else classify_error(error)[1]
    return InputError(f"{redact(address)} cannot be read: {why}.")


@contextlib.contextmanager
def _open_decompressed(address: str) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        file: IO[bytes]
        if not is_remote(address):
            file = stack.enter_context(open(address, "rb"))  # noqa: PTH123 - keeps the text
        else:
            file = stack.enter_context(open_client(address).open(address))
        yield stack.enter_context(_decompress(file, strip_query(address)))


def _decompress(file: IO[bytes], name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if name.lower().endswith(".zst"):
        import pyarrow as pa  # noqa: PLC0415 - Python itself reads zstd from 3.14 on

        return io.BufferedReader(cast("io.RawIOBase", pa.CompressedInputStream(file, "zstd")), 1 << 16)
    codec = fsspec.utils.infer_compression(name)
    if codec is None:
        return contextlib.nullcontext(file)
    return cast(
        "contextlib.AbstractContextManager[IO[bytes]]", fsspec.compression.compr[codec](file, mode="rb")
    )
