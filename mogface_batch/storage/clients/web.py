"""http:// and https://, read only."""

import asyncio
import atexit
import functools
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urljoin

from fsspec.asyn import get_loop, sync

from mogface_batch.errors import ErrorCode, FetchFault
from mogface_batch.storage.addresses import is_url, redact
from mogface_batch.storage.allowed_sources import ALL_SOURCES, PRIVATE, AllowedSources, open_public_socket
from mogface_batch.storage.clients.filesystems import FsspecClient, locate
from mogface_batch.storage.clients.schemes import build_install_error
from mogface_batch.storage.retries import is_transient, retry_read
from mogface_batch.storage.size_limit import check_size

MAX_REDIRECTS = 10
_REDIRECTS = {301, 302, 303, 307, 308}


class HttpRefusal(Exception):
    """The server responded with a status that is not a success."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class WebClient(FsspecClient):
    """See `StoreClient`. fsspec lists; a fetch is done here, so that its limits can be enforced."""

    sources: AllowedSources = ALL_SOURCES

    def fetch(self, address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
        """See `StoreClient.fetch`; no redirect to an address that the sources refuse is followed."""
        return self._wait_for(
            address, _download(address, max_bytes=max_bytes, sources=self.sources), timeout_s
        )

    def fetch_start(self, address: str, *, at_most_bytes: int, timeout_s: float) -> bytes:
        """See `StoreClient.fetch_start`; also if the server does not support ranges."""
        request = _download(address, max_bytes=1 << 62, sources=self.sources, only_bytes=at_most_bytes)
        return self._wait_for(address, request, timeout_s)[0]

    def _wait_for(
        self, address: str, request: Coroutine[Any, Any, tuple[bytes, str | None]], timeout_s: float
    ) -> tuple[bytes, str | None]:
        content: tuple[bytes, str | None]
        try:
            content = sync(get_loop(), lambda: asyncio.wait_for(request, timeout_s))
        except OSError as error:
            if PRIVATE not in str(error):
                raise
            why = f"{PRIVATE}, which a remote manifest may not name unless sources.allow names the host"
            raise FetchFault(ErrorCode.NOT_ALLOWED, f"{redact(address)} was not read: {why}.") from None
        return content

    def open(self, address: str) -> IO[bytes]:
        """See `StoreClient.open`; downloaded first, since many web servers cannot seek."""
        filesystem, path = locate(address)
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it

        def download() -> None:
            file.seek(0)
            file.truncate()
            filesystem.get_file(path, file)

        try:
            retry_read(download)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def ping(self, address: str, *, timeout_s: float) -> None:
        """See `StoreClient.ping`; any response is enough, except a status that may pass."""
        try:
            self.fetch(address, max_bytes=1 << 62, timeout_s=timeout_s)
        except HttpRefusal as error:
            if is_transient(error):
                raise


async def _download(
    url: str, *, max_bytes: int, sources: AllowedSources, only_bytes: int | None = None
) -> tuple[bytes, str | None]:
    # The body is cut off when it becomes too long: many web servers do not respond to a HEAD request.
    target = url
    headers = {} if only_bytes is None else {"Range": f"bytes=0-{only_bytes - 1}"}
    for _ in range(MAX_REDIRECTS):
        session = _open_session(must_be_public=sources.must_be_public(target))
        async with session.get(target, allow_redirects=False, headers=headers) as response:
            if response.status in _REDIRECTS and "Location" in response.headers:
                target = _resolve_redirect(url, urljoin(target, response.headers["Location"]), sources)
                continue
            if response.status >= 300:
                raise HttpRefusal(response.status)
            check_size(url, response.content_length or 0, max_bytes)
            encoded = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                encoded += chunk
                check_size(url, len(encoded), max_bytes)
                if only_bytes is not None and len(encoded) >= only_bytes:
                    break
            return bytes(encoded[:only_bytes]), response.headers.get("ETag")
    raise FetchFault(
        ErrorCode.REFUSED, f"{redact(url)} could not be read: it redirects more than {MAX_REDIRECTS} times."
    )


def _resolve_redirect(url: str, target: str, sources: AllowedSources) -> str:
    if not is_url(target):
        raise FetchFault(
            ErrorCode.REFUSED,
            f"{redact(url)} could not be read: it redirects to something that is not a web address.",
        )
    sources.check(target)
    return target


@functools.lru_cache(maxsize=2)
def _open_session(*, must_be_public: bool) -> Any:  # noqa: ANN401 - aiohttp may be missing
    """Return a session in fsspec's event loop; must be called there."""
    try:
        import aiohttp  # noqa: PLC0415 - comes with the extra http
    except ImportError:
        raise build_install_error("http") from None
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=open_public_socket if must_be_public else None),
        # No limit for the whole request: the attempt has one.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=60),
    )
    atexit.register(lambda: sync(get_loop(), session.close, timeout=5))
    return session
