"""gs://, hf:// and every other scheme that fsspec has a file system for, or a user has registered one for."""

import asyncio
import base64
import functools
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from typing import IO, Any, cast

import fsspec
import fsspec.utils
from fsspec.asyn import AsyncFileSystem, sync

from mogface_batch.errors import OutputError
from mogface_batch.storage.addresses import parse_scheme
from mogface_batch.storage.clients.conditional_writes import create_once
from mogface_batch.storage.clients.schemes import build_install_error
from mogface_batch.storage.error_codes import DamagedOnTheWay
from mogface_batch.storage.retries import retry_call, retry_read
from mogface_batch.storage.size_limit import check_size

_memory_lock = threading.Lock()


@functools.lru_cache(maxsize=64)
def open_filesystem(scheme: str) -> Any:  # noqa: ANN401 - fsspec is untyped
    """Return the file system of a scheme.

    Raises:
        InputError: Its client is not installed, or there is none.
    """
    try:
        return fsspec.filesystem(scheme, **_choose_options(scheme))
    except (ImportError, ValueError) as error:
        raise build_install_error(scheme, str(error)) from None


def _choose_options(scheme: str) -> dict[str, Any]:
    if scheme in {"gs", "gcs"} and os.environ.get("STORAGE_EMULATOR_HOST"):  # which has no credentials
        return {"token": "anon"}
    if scheme not in {"http", "https"}:
        return {}
    import aiohttp  # noqa: PLC0415 - comes with the extra http

    # fsspec's own limit is 5 minutes for the whole request, and it has none for a silent server.
    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=300)}}


def locate(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and its path there."""
    filesystem = open_filesystem(parse_scheme(address))
    return filesystem, filesystem._strip_protocol(address)  # noqa: SLF001 - how fsspec itself splits a URI


class FsspecClient:
    """See `StoreClient`."""

    def fetch(self, address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
        """See `StoreClient.fetch`."""
        filesystem, path = locate(address)
        if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
            wait_for = asyncio.wait_for  # ends the request itself; `sync` would only stop waiting for it
            info, encoded = sync(
                filesystem.loop, lambda: wait_for(_read_async(filesystem, path, max_bytes), timeout_s)
            )
        else:
            info = filesystem.info(path)
            check_size(address, info.get("size") or 0, max_bytes)
            encoded = filesystem.cat_file(path)
        check_size(address, len(encoded), max_bytes)
        _check_whole(info, encoded)
        return encoded, cast("str | None", info.get("ETag") or info.get("etag") or info.get("blob_id"))

    def fetch_start(self, address: str, *, at_most_bytes: int, timeout_s: float) -> bytes:
        """See `StoreClient.fetch_start`."""
        filesystem, path = locate(address)
        if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
            wait_for, read = asyncio.wait_for, filesystem._cat_file  # noqa: SLF001 - the only function with a time limit
            content = sync(
                filesystem.loop, lambda: wait_for(read(path, start=0, end=at_most_bytes), timeout_s)
            )
        else:
            content = filesystem.cat_file(path, start=0, end=at_most_bytes)
        return cast("bytes", content)

    def open(self, address: str) -> IO[bytes]:
        """See `StoreClient.open`."""
        filesystem, path = locate(address)
        return cast("IO[bytes]", filesystem.open(path, "rb"))

    def read_versioned(self, address: str) -> tuple[bytes, str]:
        """See `StoreClient.read_versioned`."""
        filesystem, path = locate(address)
        if _is_google(filesystem):
            _drop_cache(filesystem)
            generation = retry_call(lambda: filesystem.info(path))["generation"]
            content = retry_call(
                lambda: filesystem.cat_file(f"{path}#{generation}" if filesystem.version_aware else path)
            )
            return cast("bytes", content), str(generation)
        content = retry_call(lambda: filesystem.cat_file(path))
        return cast("bytes", content), hashlib.sha256(content).hexdigest()

    def write(self, address: str, content: bytes) -> None:
        """See `StoreClient.write`."""
        filesystem, path = locate(address)
        retry_call(lambda: filesystem.pipe_file(path, content))

    def create(self, address: str, content: bytes) -> bool:
        """See `StoreClient.create`."""
        filesystem, path = locate(address)
        return create_once(
            lambda: filesystem.pipe_file(path, content, mode="create"),
            is_there=lambda error: isinstance(error, FileExistsError),
            is_ours=lambda: filesystem.cat_file(path) == content,
        )

    def replace_if(self, address: str, content: bytes, version: str) -> bool:
        """See `StoreClient.replace_if`; of the stores that fsspec is used for, only Google's can do it."""
        filesystem, path = locate(address)
        if _is_google(filesystem):
            return create_once(
                lambda: sync(filesystem.loop, lambda: _write_generation(filesystem, path, content, version)),
                is_there=lambda error: isinstance(
                    error, FileExistsError
                ),  # which gcsfs raises for status 412
                is_ours=lambda: filesystem.cat_file(path) == content,
            )
        if parse_scheme(address) != "memory":
            raise OutputError(
                f"{address} cannot be written: {parse_scheme(address)}:// has no conditional write, which replacing "
                "a part needs. Nothing half-written was left."
            )
        with _memory_lock:  # the memory belongs to this process
            if hashlib.sha256(filesystem.cat_file(path)).hexdigest() != version:
                return False
            filesystem.pipe_file(path, content)
            return True

    def remove(self, address: str) -> None:
        """See `StoreClient.remove`."""
        filesystem, path = locate(address)
        retry_call(lambda: filesystem.rm_file(path))

    def list_names(self, folder: str) -> list[str]:
        """See `StoreClient.list_names`."""
        filesystem, path = locate(folder)
        _drop_cache(filesystem)
        entries = retry_call(lambda: filesystem.ls(path, detail=True))
        return [entry["name"].rpartition("/")[2] for entry in entries if entry["type"] == "file"]

    def list_files(self, folder: str) -> Iterator[str]:
        """See `StoreClient.list_files`; one level at a time."""
        filesystem, path = locate(folder)
        for place, folders, files in filesystem.walk(path, on_error="raise"):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if name and not name.startswith("."):
                    yield filesystem.unstrip_protocol(f"{place.rstrip('/')}/{name}")

    def list_matches(self, pattern: str) -> Iterator[str]:
        """See `StoreClient.list_matches`."""
        filesystem, path = locate(pattern)
        matches = filesystem.glob(path, detail=True)
        may_be_hidden = "/." in path
        for name in sorted(matches):
            is_excluded = "/." in name and not may_be_hidden
            if matches[name]["type"] == "file" and not is_excluded:
                yield filesystem.unstrip_protocol(name)

    def is_folder(self, address: str) -> bool:
        """See `StoreClient.is_folder`."""
        filesystem, path = locate(address)
        return bool(retry_read(lambda: filesystem.isdir(path)))

    def exists(self, address: str) -> bool:
        """See `StoreClient.exists`."""
        filesystem, path = locate(address)
        return bool(retry_read(lambda: filesystem.exists(path)))

    def ping(self, address: str, *, timeout_s: float) -> None:
        """See `StoreClient.ping`."""
        self.fetch(address, max_bytes=1 << 62, timeout_s=timeout_s)


async def _read_async(filesystem: Any, path: str, max_bytes: int) -> tuple[dict[str, Any], bytes]:  # noqa: ANN401 - fsspec is untyped
    info = await filesystem._info(path)  # noqa: SLF001 - the only function with a time limit
    check_size(path, info.get("size") or 0, max_bytes)
    return info, await filesystem._cat_file(path)  # noqa: SLF001 - as above


def _check_whole(info: dict[str, Any], encoded: bytes) -> None:
    if info.get("contentEncoding"):  # the bytes that are stored are not those that are sent
        return
    if info.get("size") not in {None, len(encoded)}:
        raise DamagedOnTheWay
    md5, sha256 = info.get("md5Hash"), getattr(info.get("lfs"), "sha256", None)  # Google's; Hugging Face's
    if md5 and base64.b64decode(md5) != hashlib.md5(encoded, usedforsecurity=False).digest():
        raise DamagedOnTheWay
    if sha256 and sha256 != hashlib.sha256(encoded).hexdigest():
        raise DamagedOnTheWay


def _drop_cache(filesystem: Any) -> None:  # noqa: ANN401 - fsspec is untyped
    """Make a file system ask the store again which files there are."""
    filesystem.invalidate_cache()


def _is_google(filesystem: Any) -> bool:  # noqa: ANN401 - fsspec is untyped
    return type(filesystem).__module__.startswith("gcsfs")


async def _write_generation(filesystem: Any, path: str, content: bytes, generation: str) -> None:  # noqa: ANN401 - fsspec is untyped
    # As gcsfs uploads a file; its own upload supports no condition except that there is no file.
    bucket, key, _ = filesystem.split_path(path)
    parts = (
        b"--==0==\nContent-Type: application/json; charset=UTF-8\n\n" + json.dumps({"name": key}).encode(),
        b"\n--==0==\nContent-Type: application/octet-stream\n\n" + content + b"\n--==0==--",
    )
    await filesystem._call(  # noqa: SLF001 - the only function for a custom request
        "POST",
        f"{filesystem._location}/upload/storage/v1/b/{{}}/o",  # noqa: SLF001 - as above
        bucket,
        uploadType="multipart",
        ifGenerationMatch=generation,
        headers={"Content-Type": 'multipart/related; boundary="==0=="'},
        data=b"".join(parts),
    )
    filesystem.invalidate_cache(filesystem._parent(path))  # noqa: SLF001 - as above
