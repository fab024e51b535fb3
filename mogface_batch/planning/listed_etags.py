"""What the stores call the versions of the images that a manifest lists, for ``identity=etag``."""

from collections.abc import Iterable
from typing import Self

from mogface_batch import storage
from mogface_batch.config import Identity
from mogface_batch.errors import ConfigError
from mogface_batch.planning.manifests import Manifest
from mogface_batch.temporary_database import open_temporary_database


class Etags:
    """Address -> etag; those of a bucket lie in a temporary file, since there may be millions."""

    def __init__(self) -> None:
        self._database = open_temporary_database(
            "CREATE TABLE listed (address TEXT PRIMARY KEY, etag TEXT) WITHOUT ROWID;", cache_kib=2048
        )

    @classmethod
    def of(cls, identity: Identity, manifest: Manifest) -> Self:
        """Return the etags of what a manifest lists; none where the identity needs none.

        Raises:
            ConfigError: The manifest is no listing.
            InputError: It cannot be listed.
        """
        etags = cls()
        if identity is not Identity.ETAG:
            return etags
        address = storage.make_absolute(manifest.uri)
        if not manifest.is_folder or storage.is_url(address):
            raise ConfigError(
                f"identity=etag compares listings, and the manifest {storage.redact(manifest.uri)} is none: name a "
                "folder or a glob, on disk or in a bucket; or set identity=sha256, which reads all images again."
            )
        if storage.is_remote(address):
            etags.add_etags(storage.list_etags(address))
        return etags

    def add_etags(self, listed: Iterable[tuple[str, str]]) -> None:
        """Take in addresses and their etags."""
        self._database.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?)", listed)

    def find_etag(self, address: str) -> str | None:
        """Return an address's etag; None where it is not listed."""
        if not storage.is_remote(address):
            return storage.read_local_etag(address)
        found = self._database.execute("SELECT etag FROM listed WHERE address = ?", (address,)).fetchone()
        return None if found is None else str(found[0])

    def close(self) -> None:
        """Give the temporary file back."""
        self._database.close()
