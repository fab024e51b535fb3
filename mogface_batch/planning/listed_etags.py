"""The versions (etags) of the images that a manifest lists, for ``identity=etag``."""

from collections.abc import Iterable
from typing import Self

from mogface_batch import storage
from mogface_batch.config import Identity
from mogface_batch.errors import ConfigError
from mogface_batch.planning.manifests import Manifest
from mogface_batch.temporary_database import open_temporary_database


class Etags:
    """Address -> etag; those of a bucket are kept in a temporary file, since there may be millions."""

    def __init__(self) -> None:
        self._database = open_temporary_database(
            "CREATE TABLE listed (address TEXT PRIMARY KEY, etag TEXT) WITHOUT ROWID;", cache_kib=2048
        )

    @classmethod
    def of(cls, identity: Identity, manifest: Manifest) -> Self:
        """Return the etags of the images that a manifest lists; none unless the identity needs them.

        Raises:
            ConfigError: The manifest is not a listing.
            InputError: It cannot be listed.
        """
        etags = cls()
        if identity is not Identity.ETAG:
            return etags
        address = storage.make_absolute(manifest.uri)
        if not manifest.is_folder or storage.is_url(address):
            raise ConfigError(
                f"identity=etag compares listings, and the manifest {storage.redact(manifest.uri)} is not one: name a "
                "folder or a glob, on disk or in a bucket; or set identity=sha256, which reads all images again."
            )
        if storage.is_remote(address):
            etags.add_etags(storage.list_etags(address))
        return etags

    def add_etags(self, etags: Iterable[tuple[str, str]]) -> None:
        """Add addresses and their etags."""
        self._database.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?)", etags)

    def find_etag(self, address: str) -> str | None:
        """Return an address's etag; None if it is not listed."""
        if not storage.is_remote(address):
            return storage.read_local_etag(address)
        row = self._database.execute("SELECT etag FROM listed WHERE address = ?", (address,)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Delete the temporary file."""
        self._database.close()
