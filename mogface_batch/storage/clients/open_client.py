"""What every kind of store elsewhere can do, and which one an address belongs to."""

from collections.abc import Iterator
from typing import IO, Protocol

from mogface_batch.storage.addresses import is_url, parse_scheme
from mogface_batch.storage.allowed_sources import ALL_SOURCES, AllowedSources
from mogface_batch.storage.clients.filesystems import FsspecClient, build_install_error, is_registered_by_user
from mogface_batch.storage.clients.web import WebClient

OBJECT_SCHEMES = frozenset(["s3", "s3a", "az", "abfs", "abfss"])
"""What obstore is the client of."""


class StoreClient(Protocol):
    """A kind of store, by the addresses of its files. It raises what its client raises: see `faults.classify_error`."""

    def fetch(self, address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
        """Return a file's bytes, once, with what the store calls this version of it.

        Raises:
            TooLargeFault: The file is larger than ``max_bytes``.
        """

    def fetch_start(self, address: str, *, at_most_bytes: int, timeout_s: float) -> bytes:
        """Return the first bytes of a file, once."""

    def open(self, address: str) -> IO[bytes]:
        """Open a file for reading."""

    def read_versioned(self, address: str) -> tuple[bytes, str]:
        """Return a file's content and version, good for `replace_if`."""

    def write(self, address: str, content: bytes) -> None:
        """Write a file in one step."""

    def create(self, address: str, content: bytes) -> bool:
        """Write a file in one step unless it is there; return whether it is ours."""

    def replace_if(self, address: str, content: bytes, version: str) -> bool:
        """Write a file in one step if this version of it is there; return whether it was."""

    def remove(self, address: str) -> None:
        """Remove a file, if it is there."""

    def list_names(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder."""

    def list_files(self, folder: str) -> Iterator[str]:
        """Yield the addresses of all files below a folder, without hidden ones, streamed in a fixed order."""

    def list_matches(self, pattern: str) -> Iterator[str]:
        """Yield the addresses of the files that a glob names, in order."""

    def is_folder(self, address: str) -> bool:
        """Whether there is something below this address."""

    def exists(self, address: str) -> bool:
        """Whether there is a file or folder of this very name."""

    def ping(self, address: str, *, timeout_s: float) -> None:
        """Ask the store something small; it raises where nobody answers."""


def open_client(address: str, sources: AllowedSources = ALL_SOURCES) -> StoreClient:
    """Return the store that an address lies in, from which no redirect leads to what the sources refuse.

    Raises:
        InputError: Its client is not installed, or there is none.
    """
    scheme = parse_scheme(address)
    if not is_registered_by_user(scheme):
        if scheme in OBJECT_SCHEMES:
            return _objects(scheme)
        if is_url(address):
            return WebClient(sources)
    return FsspecClient()


def _objects(scheme: str) -> StoreClient:
    try:
        from mogface_batch.storage.clients.object_stores import ObjectStoreClient  # noqa: PLC0415 - obstore comes with an extra
    except ImportError:
        raise build_install_error(scheme) from None
    return ObjectStoreClient()
