"""s3:// and az://, by obstore."""

import io
import re
from collections.abc import Iterator
from typing import IO, Any

import fsspec.utils
import obstore
from obstore import exceptions

from mogface_batch.errors import InputError
from mogface_batch.storage.addresses import parse_scheme, parse_store
from mogface_batch.storage.clients.conditional_writes import create_once
from mogface_batch.storage.clients.object_checksums import is_damaged
from mogface_batch.storage.clients.object_listing import is_hidden, list_keys
from mogface_batch.storage.clients.object_reader import ObjectReader
from mogface_batch.storage.clients.object_requests import Bucket, locate_object, run_once, run_persistently
from mogface_batch.storage.error_codes import DamagedOnTheWay
from mogface_batch.storage.retries import retry_read
from mogface_batch.storage.size_limit import check_size

READ_AHEAD_BYTES = 8 * 1024**2
_WILDCARD = re.compile(r"[*?\[]")
FIRST_OF_KEY = 3
"""Index of the first part of the key among the parts of `s3://bucket/key` between slashes."""


class ObjectStoreClient:
    """See `StoreClient`."""

    def fetch(self, address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
        """See `StoreClient.fetch`."""
        bucket, key = locate_object(address, timeout_s=timeout_s)
        if address.endswith("/"):
            raise IsADirectoryError
        response = obstore.get(bucket, key)
        check_size(address, response.meta["size"], max_bytes)
        encoded = bytes(response.bytes())
        if len(encoded) != response.meta["size"]:
            raise DamagedOnTheWay
        etag = (response.meta["e_tag"] or "").strip('"')
        if is_damaged(bucket, key, encoded, etag, timeout_s=timeout_s):
            raise DamagedOnTheWay
        return encoded, etag or None

    def fetch_start(self, address: str, *, at_most_bytes: int, timeout_s: float) -> bytes:
        """See `StoreClient.fetch_start`."""
        bucket, key = locate_object(address, timeout_s=timeout_s)
        return bytes(obstore.get_range(bucket, key, start=0, length=at_most_bytes))

    def open(self, address: str) -> IO[bytes]:
        """See `StoreClient.open`; reads by ranges, each of which is retried separately."""
        bucket, key = locate_object(address)
        size_bytes = retry_read(lambda: run_once(lambda: obstore.head_async(bucket, key)))["size"]
        return io.BufferedReader(ObjectReader(bucket, key, size_bytes), READ_AHEAD_BYTES)

    def read_versioned(self, address: str) -> tuple[bytes, str]:
        """See `StoreClient.read_versioned`."""
        bucket, key = locate_object(address)

        async def read_whole() -> tuple[bytes, str]:
            response = await obstore.get_async(bucket, key)
            content = bytes(await response.bytes_async())
            if len(content) != response.meta["size"]:
                raise DamagedOnTheWay
            return content, response.meta["e_tag"] or ""

        return run_persistently(read_whole)

    def write(self, address: str, content: bytes) -> None:
        """See `StoreClient.write`."""
        bucket, key = locate_object(address)
        run_persistently(lambda: _put(bucket, key, content, "overwrite"), size_bytes=len(content))

    def create(self, address: str, content: bytes) -> bool:
        """See `StoreClient.create`; by If-None-Match."""
        bucket, key = locate_object(address)
        return create_once(
            lambda: run_once(lambda: _put(bucket, key, content, "create"), size_bytes=len(content)),
            is_there=lambda error: isinstance(error, FileExistsError | exceptions.AlreadyExistsError),
            is_ours=lambda: self.read_versioned(address)[0] == content,
        )

    def replace_if(self, address: str, content: bytes, version: str) -> bool:
        """See `StoreClient.replace_if`; by If-Match."""
        if self._replace_version(address, content, version):
            return True
        # Ceph's gateway (16.2) accepts an etag only without its quotes, unlike all other stores.
        if parse_scheme(address) not in {"s3", "s3a"} or self.read_versioned(address)[1] != version:
            return False
        return self._replace_version(address, content, version.strip('"'))

    def _replace_version(self, address: str, content: bytes, version: str) -> bool:
        bucket, key = locate_object(address)
        return create_once(
            lambda: run_once(lambda: _put(bucket, key, content, {"e_tag": version}), size_bytes=len(content)),
            is_there=lambda error: isinstance(error, exceptions.PreconditionError),
            is_ours=lambda: self.read_versioned(address)[0] == content,
        )

    def remove(self, address: str) -> None:
        """See `StoreClient.remove`."""
        bucket, key = locate_object(address)
        run_persistently(lambda: obstore.delete_async(bucket, key))

    def list_names(self, folder: str) -> list[str]:
        """See `StoreClient.list_names`."""
        bucket, key = locate_object(folder)
        names = (path[len(key) :].lstrip("/") for path in list_keys(bucket, key, folder))
        return [name for name in names if "/" not in name]

    def list_files(self, folder: str) -> Iterator[str]:
        """See `StoreClient.list_files`; in the order of the keys, a thousand per request."""
        bucket, key = locate_object(folder)
        is_empty = True
        for path in list_keys(bucket, key, folder):
            is_empty = False
            if not is_hidden(path[len(key) :]):
                yield f"{parse_store(folder)}/{path}"
        if is_empty and key:
            raise FileNotFoundError

    def list_matches(self, pattern: str) -> Iterator[str]:
        """See `StoreClient.list_matches`; lists everything below the last folder without a wildcard."""
        parts = pattern.split("/")
        first = next(number for number, part in enumerate(parts) if _WILDCARD.search(part))
        if first < FIRST_OF_KEY:
            raise InputError(f"{pattern} cannot be listed: a bucket's name cannot be a pattern.")
        pattern_re = re.compile(fsspec.utils.glob_translate("/".join(parts[first:])))
        folder = "/".join(parts[:first])
        bucket, key = locate_object(folder)
        for path in list_keys(bucket, key, folder):
            name = path[len(key) :].lstrip("/")
            if pattern_re.match(name) and (is_hidden("/".join(parts[first:])) or not is_hidden(name)):
                yield f"{parse_store(folder)}/{path}"

    def is_folder(self, address: str) -> bool:
        """See `StoreClient.is_folder`."""
        bucket, key = locate_object(address)
        try:
            return not key or any(True for _ in list_keys(bucket, key, address))
        except FileNotFoundError:
            return False

    def exists(self, address: str) -> bool:
        """See `StoreClient.exists`."""
        bucket, key = locate_object(address)
        try:
            retry_read(lambda: run_once(lambda: obstore.head_async(bucket, key)))
        except (FileNotFoundError, ValueError):
            return self.is_folder(address)
        return True

    def ping(self, address: str, *, timeout_s: float) -> None:
        """See `StoreClient.ping`; the response that there is no such key is enough."""
        bucket, _ = locate_object(address, timeout_s=timeout_s)
        try:
            obstore.head(bucket, "mogface-batch-is-anybody-there")
        except (FileNotFoundError, exceptions.PermissionDeniedError):
            return


async def _put(bucket: Bucket, key: str, content: bytes, mode: Any) -> None:  # noqa: ANN401 - a word or a version
    await obstore.put_async(bucket, key, content, mode=mode, use_multipart=False)
