"""s3:// and az://: the only home of obstore.

Its own retries are off: how often something was tried, and whether an answer may have been lost, is ours to know.
"""

import asyncio
import functools
import hashlib
import io
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import IO, Any, TypeVar

import fsspec.utils
import obstore
from fsspec.asyn import get_loop, sync
from obstore import exceptions
from obstore.store import AzureStore, S3Store

from mogface_batch.errors import InputError
from mogface_batch.storage.addresses import parse_scheme, parse_store
from mogface_batch.storage.clients.credentials import find_azure_options, find_s3_options
from mogface_batch.storage.clients.filesystems import create_once
from mogface_batch.storage.error_codes import UNUSABLE_KEY, DamagedOnTheWay, UnusableKey
from mogface_batch.storage.retries import retry_call, retry_read
from mogface_batch.storage.size_limit import check_size

ATTEMPT_S = 60.0
"""For one request of the job's own, and a second more for each megabyte."""
READ_AHEAD_BYTES = 8 * 1024**2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MD5 = re.compile(r"[0-9a-f]{32}")
_WILDCARD = re.compile(r"[*?\[]")
FIRST_OF_KEY = 3
"""Of the parts between the slashes of `s3://bucket/key`."""
_AZURE_HOST = re.compile(r"([a-z0-9]{3,24})\.(?:blob|dfs)\.[a-z0-9.-]+")
Bucket = S3Store | AzureStore
T = TypeVar("T")


class ObjectStoreClient:
    """See `StoreClient`."""

    def fetch(self, address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
        """See `StoreClient.fetch`."""
        bucket, key = _located(address, timeout_s=timeout_s)
        if address.endswith("/"):
            raise IsADirectoryError
        answer = obstore.get(bucket, key)
        check_size(address, answer.meta["size"], max_bytes)
        encoded = bytes(answer.bytes())
        if len(encoded) != answer.meta["size"]:
            raise DamagedOnTheWay
        etag = (answer.meta["e_tag"] or "").strip('"')
        if _is_damaged(bucket, key, encoded, etag, timeout_s=timeout_s):
            raise DamagedOnTheWay
        return encoded, etag or None

    def fetch_start(self, address: str, *, at_most_bytes: int, timeout_s: float) -> bytes:
        """See `StoreClient.fetch_start`."""
        bucket, key = _located(address, timeout_s=timeout_s)
        return bytes(obstore.get_range(bucket, key, start=0, length=at_most_bytes))

    def open(self, address: str) -> IO[bytes]:
        """See `StoreClient.open`; by ranges, each of them tried again by itself."""
        bucket, key = _located(address)
        size_bytes = retry_read(lambda: _once(lambda: obstore.head_async(bucket, key)))["size"]
        return io.BufferedReader(_Ranges(bucket, key, size_bytes), READ_AHEAD_BYTES)

    def read_versioned(self, address: str) -> tuple[bytes, str]:
        """See `StoreClient.read_versioned`."""
        bucket, key = _located(address)

        async def whole() -> tuple[bytes, str]:
            answer = await obstore.get_async(bucket, key)
            content = bytes(await answer.bytes_async())
            if len(content) != answer.meta["size"]:
                raise DamagedOnTheWay
            return content, answer.meta["e_tag"] or ""

        return _patiently(whole)

    def write(self, address: str, content: bytes) -> None:
        """See `StoreClient.write`."""
        bucket, key = _located(address)
        _patiently(lambda: _put(bucket, key, content, "overwrite"), size_bytes=len(content))

    def create(self, address: str, content: bytes) -> bool:
        """See `StoreClient.create`; by If-None-Match."""
        bucket, key = _located(address)
        return create_once(
            lambda: _once(lambda: _put(bucket, key, content, "create"), size_bytes=len(content)),
            is_there=lambda error: isinstance(error, FileExistsError | exceptions.AlreadyExistsError),
            is_ours=lambda: self.read_versioned(address)[0] == content,
        )

    def replace_if(self, address: str, content: bytes, version: str) -> bool:
        """See `StoreClient.replace_if`; by If-Match."""
        if self._replaced_if(address, content, version):
            return True
        # Ceph's gateway (16.2) takes an etag only as no other store sends it: without its quotes.
        if parse_scheme(address) not in {"s3", "s3a"} or self.read_versioned(address)[1] != version:
            return False
        return self._replaced_if(address, content, version.strip('"'))

    def _replaced_if(self, address: str, content: bytes, version: str) -> bool:
        bucket, key = _located(address)
        return create_once(
            lambda: _once(lambda: _put(bucket, key, content, {"e_tag": version}), size_bytes=len(content)),
            is_there=lambda error: isinstance(error, exceptions.PreconditionError),
            is_ours=lambda: self.read_versioned(address)[0] == content,
        )

    def remove(self, address: str) -> None:
        """See `StoreClient.remove`."""
        bucket, key = _located(address)
        _patiently(lambda: obstore.delete_async(bucket, key))

    def list_names(self, folder: str) -> list[str]:
        """See `StoreClient.list_names`."""
        bucket, key = _located(folder)
        names = (path[len(key) :].lstrip("/") for path in _keys(bucket, key, folder))
        return [name for name in names if "/" not in name]

    def list_files(self, folder: str) -> Iterator[str]:
        """See `StoreClient.list_files`; in the order of the keys, a thousand at a time."""
        bucket, key = _located(folder)
        is_empty = True
        for path in _keys(bucket, key, folder):
            is_empty = False
            if not _is_hidden(path[len(key) :]):
                yield f"{parse_store(folder)}/{path}"
        if is_empty and key:
            raise FileNotFoundError

    def list_matches(self, pattern: str) -> Iterator[str]:
        """See `StoreClient.list_matches`; what lies below the last folder without a wildcard is listed."""
        parts = pattern.split("/")
        first = next(number for number, part in enumerate(parts) if _WILDCARD.search(part))
        if first < FIRST_OF_KEY:
            raise InputError(f"{pattern} cannot be listed: a bucket's name can be no pattern.")
        wanted = re.compile(fsspec.utils.glob_translate("/".join(parts[first:])))
        folder = "/".join(parts[:first])
        bucket, key = _located(folder)
        for path in _keys(bucket, key, folder):
            name = path[len(key) :].lstrip("/")
            if wanted.match(name) and (_is_hidden("/".join(parts[first:])) or not _is_hidden(name)):
                yield f"{parse_store(folder)}/{path}"

    def is_folder(self, address: str) -> bool:
        """See `StoreClient.is_folder`."""
        bucket, key = _located(address)
        try:
            return not key or any(True for _ in _keys(bucket, key, address))
        except FileNotFoundError:
            return False

    def exists(self, address: str) -> bool:
        """See `StoreClient.exists`."""
        bucket, key = _located(address)
        try:
            retry_read(lambda: _once(lambda: obstore.head_async(bucket, key)))
        except (FileNotFoundError, ValueError):
            return self.is_folder(address)
        return True

    def ping(self, address: str, *, timeout_s: float) -> None:
        """See `StoreClient.ping`; that there is no such key is an answer as well."""
        bucket, _ = _located(address, timeout_s=timeout_s)
        try:
            obstore.head(bucket, "mogface-batch-is-anybody-there")
        except (FileNotFoundError, exceptions.PermissionDeniedError):
            return


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _located(address: str, *, timeout_s: float | None = None) -> tuple[Bucket, str]:
    scheme, _, rest = address.partition("://")
    authority, _, key = rest.partition("/")
    key = key.removesuffix("/")
    if key and (_CONTROL.search(key) or {"", ".", ".."} & set(key.split("/"))):
        raise UnusableKey  # obstore refuses most of them, and makes another name of /a
    return _bucket(scheme.lower(), authority, timeout_s), key


@functools.lru_cache(maxsize=256)
def _bucket(scheme: str, authority: str, timeout_s: float | None) -> Bucket:
    if not authority:
        raise FileNotFoundError
    options = dict(find_s3_options() if scheme in {"s3", "s3a"} else find_azure_options())
    # Without a time of its own, a request ends by `_once`.
    limits = {"timeout": timedelta(seconds=timeout_s or 24 * 3600), "connect_timeout": timedelta(seconds=10)}
    options["client_options"] = options["client_options"] | limits
    options["retry_config"] = {"max_retries": 0}
    if scheme in {"s3", "s3a"}:
        return S3Store(authority, **options)
    container, at, host = authority.partition("@")
    if at:  # abfs://container@account.dfs.core.windows.net: the account's name, but never another host
        account = _AZURE_HOST.fullmatch(host)
        if account is None:
            raise FileNotFoundError
        options["config"] = {**options["config"], "account_name": account[1]}
    return AzureStore(container, **options)


def _once(call: Callable[[], Awaitable[T]], *, size_bytes: int = 0) -> T:
    # On another thread's loop, so that a signal need not wait for an answer.
    limit_s = ATTEMPT_S + size_bytes / 1e6

    async def limited() -> T:
        return await asyncio.wait_for(call(), limit_s)

    result: T = sync(get_loop(), limited)
    return result


def _patiently(call: Callable[[], Awaitable[T]], *, size_bytes: int = 0) -> T:
    return retry_call(lambda: _once(call, size_bytes=size_bytes))


async def _put(bucket: Bucket, key: str, content: bytes, mode: Any) -> None:  # noqa: ANN401 - a word or a version
    await obstore.put_async(bucket, key, content, mode=mode, use_multipart=False)


def _keys(bucket: Bucket, prefix: str, folder: str) -> Iterator[str]:
    """Yield the keys below a prefix in order, but for those that only stand for a folder."""
    try:
        for entry in _entries(bucket, prefix):
            if entry["size"] or "." in entry["path"]:
                yield entry["path"]
    except exceptions.InvalidPathError as error:
        raise InputError(
            f"{folder} cannot be listed: it holds {_named(error)}, and {UNUSABLE_KEY} cannot be read. Rename it, or "
            "name the images in a manifest file."
        ) from None


def list_etags_below(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the addresses of all files below a folder and their etags, in the order of the keys."""
    bucket, key = _located(folder)
    for entry in _entries(bucket, key):
        if entry["e_tag"]:
            yield f"{parse_store(folder)}/{entry['path']}", entry["e_tag"].strip('"')


def _entries(bucket: Bucket, prefix: str) -> Iterator[Any]:
    """Yield what lies below a prefix, in order; a listing that breaks off goes on behind the last entry."""
    pages: Any = None
    seen = begun_behind = ""

    def page() -> Any:  # noqa: ANN401 - obstore has no public name for it
        nonlocal pages, begun_behind
        if pages is None:
            pages, begun_behind = (
                obstore.list(bucket, prefix or None, offset=seen or None, chunk_size=1000),
                seen,
            )
        try:
            return _once(lambda: _next(pages))
        except BaseException:
            pages = None
            raise

    while some := retry_read(page):
        # Not every server heeds the offset.
        yield from (entry for entry in some if entry["path"] > begun_behind)
        seen = some[-1]["path"]


async def _next(pages: Any) -> Any:  # noqa: ANN401 - obstore has no public name for it
    """Return the entries of the next page; none at the end."""
    async for page in pages:
        return page
    return []


def _named(error: Exception) -> str:
    quoted = re.search(r'Path "(.*?)"', str(error), re.DOTALL)
    return f"the name {quoted[1]!r}" if quoted else "a name"


class _Ranges(io.RawIOBase):
    """A file that is read by ranges."""

    def __init__(self, bucket: Bucket, key: str, size_bytes: int) -> None:
        super().__init__()
        self._bucket, self._key, self._size_bytes, self._position = bucket, key, size_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything that can be written to
        start = self._position
        end = min(start + len(buffer), self._size_bytes)
        if start >= end:
            return 0
        got = _patiently(
            lambda: obstore.get_range_async(self._bucket, self._key, start=start, end=end),
            size_bytes=end - start,
        )
        buffer[: len(got)] = bytes(got)
        self._position += len(got)
        return len(got)


def _is_damaged(bucket: Bucket, key: str, encoded: bytes, etag: str, *, timeout_s: float) -> bool:
    """Whether the bytes are not those of the etag, where it is an MD5: of an object that was put in one piece."""
    if not isinstance(bucket, S3Store) or not _MD5.fullmatch(etag):
        return False
    if hashlib.md5(encoded, usedforsecurity=False).hexdigest() == etag:
        return False
    return not _is_encrypted(bucket, key, timeout_s)


def _is_encrypted(bucket: S3Store, key: str, timeout_s: float) -> bool:
    """Whether an object is encrypted by a key of the customer's or of KMS, so that its etag is no MD5."""
    url = obstore.sign(bucket, "HEAD", key, timedelta(minutes=1))  # obstore does not show an answer's headers
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - our own URL
        with urllib.request.urlopen(request, timeout=timeout_s, context=_trusted()) as answer:  # noqa: S310 - as above
            headers = answer.headers
    except urllib.error.HTTPError as error:
        if error.code == 400:  # a key of the customer's must be shown for HEAD as well
            return True
        raise
    return str(headers.get("x-amz-server-side-encryption", "AES256")) != "AES256"


def _trusted() -> ssl.SSLContext:
    trusted = ssl.create_default_context()
    certificates = find_s3_options()["client_options"].get("root_certificate")
    if certificates:
        trusted.load_verify_locations(cadata=certificates.decode("ascii", "ignore"))
    return trusted
