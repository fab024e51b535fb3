"""The protocol of a remote store, and the client for an address."""

from collections.abc import Iterator
from typing import IO, Protocol

from mogface_batch.storage.addresses import is_url, parse_scheme
from mogface_batch.storage.allowed_sources import ALL_SOURCES, AllowedSources
from mogface_batch.storage.clients.filesystems import FsspecClient
from mogface_batch.storage.clients.schemes import build_install_error, is_registered_by_user
from mogface_batch.storage.clients.web import WebClient

OBJECT_SCHEMES = frozenset(["s3", "s3a", "az", "abfs", "abfss"])
"""The schemes that obstore is used for."""


class StoreClient(Protocol):
    """A client for a kind of store; files are named by their addresses.

    It raises the exceptions of its library: see `error_codes.classify_error`.
    """

    def fetch(self, address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
        """Return the bytes of a file, tried once, and the etag of this version of it.

        Raises:
            TooLargeFault: The file is larger than ``max_bytes``.
        """

    def fetch_start(self, address: str, *, at_most_bytes: int, timeout_s: float) -> bytes:
        """Return the first bytes of a file, tried once."""

    def open(self, address: str) -> IO[bytes]:
        """Open a file for reading."""

    def read_versioned(self, address: str) -> tuple[bytes, str]:
        """Return the content of a file and its version, as `replace_if` takes it."""

    def write(self, address: str, content: bytes) -> None:
        """Write a file in one step."""

    def create(self, address: str, content: bytes) -> bool:
        """Write a file in one step unless it exists; return whether it was written."""

    def replace_if(self, address: str, content: bytes, version: str) -> bool:
        """Write a file in one step if its current version is this one; return whether it was written."""

    def remove(self, address: str) -> None:
        """Remove a file, if it exists."""

    def list_names(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder."""

    def list_files(self, folder: str) -> Iterator[str]:
        """Yield the addresses of all files below a folder, without hidden ones, streamed in a fixed order."""

    def list_matches(self, pattern: str) -> Iterator[str]:
        """Yield the addresses of the files that match a glob, in order."""

    def is_folder(self, address: str) -> bool:
        """Return whether there is a file below this address."""

    def exists(self, address: str) -> bool:
        """Return whether there is a file or folder with exactly this name."""

    def ping(self, address: str, *, timeout_s: float) -> None:
        """Make a small request; raise if the store is not responding."""


def open_client(address: str, sources: AllowedSources = ALL_SOURCES) -> StoreClient:
    """Return the client for an address; it follows no redirect to an address that ``sources`` refuses.

    Raises:
        InputError: Its client is not installed, or there is none.
    """
    scheme = parse_scheme(address)
    if not is_registered_by_user(scheme):
        if scheme in OBJECT_SCHEMES:
            return _open_object_store(scheme)
        if is_url(address):
            return WebClient(sources)
    return FsspecClient()


def _open_object_store(scheme: str) -> StoreClient:
    try:
        from mogface_batch.storage.clients.object_stores import ObjectStoreClient  # noqa: PLC0415 - obstore comes with an extra
    except ImportError:
        raise build_install_error(scheme) from None
    return ObjectStoreClient()
