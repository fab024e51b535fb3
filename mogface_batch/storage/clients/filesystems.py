"""gs://, hf:// and whatever else fsspec has a file system for, or a user has registered one for."""

import asyncio
import base64
import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from typing import IO, Any, cast

import fsspec
import fsspec.utils
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.registry import known_implementations

from mogface_batch.errors import InputError, OutputError
from mogface_batch.storage.addresses import parse_scheme
from mogface_batch.storage.error_codes import DamagedOnTheWay
from mogface_batch.storage.retries import retry_call, retry_read
from mogface_batch.storage.size_limit import check_size

EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az",
    "http": "http", "https": "http", "hf": "hf",
}  # fmt: skip
"""Scheme -> the extra of this package that brings its client."""
_USUAL_PACKAGES = {"s3fs", "gcsfs", "adlfs", "fsspec", "huggingface_hub"}
_swapping = threading.Lock()


def is_registered_by_user(scheme: str) -> bool:
    """Whether fsspec was told to use another file system for a scheme than it does by itself."""
    loaded = fsspec.registry.get(scheme)
    known = known_implementations.get(scheme, {}).get("class")
    place = loaded.__module__ if loaded is not None else known
    return place is not None and place.partition(".")[0] not in _USUAL_PACKAGES


def has_client(scheme: str) -> bool:
    """Whether there is any way to read a scheme, be it installed or not."""
    return scheme in EXTRAS or scheme in fsspec.available_protocols()


def build_install_error(scheme: str, why: str = "") -> InputError:
    """Return what to say where a scheme's client is missing."""
    extra = EXTRAS.get(scheme)
    what = f"type pip install 'mogface-batch[{extra}]'" if extra else why.rstrip(".")
    return InputError(f"{scheme}:// cannot be reached: {what}.")


@functools.lru_cache(maxsize=64)
def open_filesystem(scheme: str) -> Any:  # noqa: ANN401 - fsspec is untyped
    """Return the file system of a scheme.

    Raises:
        InputError: Its client is not installed, or there is none.
    """
    try:
        return fsspec.filesystem(scheme, **_options(scheme))
    except (ImportError, ValueError) as error:
        raise build_install_error(scheme, str(error)) from None


def _options(scheme: str) -> dict[str, Any]:
    if scheme in {"gs", "gcs"} and os.environ.get("STORAGE_EMULATOR_HOST"):  # which knows no credentials
        return {"token": "anon"}
    if scheme not in {"http", "https"}:
        return {}
    import aiohttp  # noqa: PLC0415 - comes with the extra http

    # Its own limit is 5 minutes for everything, and none for silence.
    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=300)}}


def locate(address: str) -> tuple[Any, str]:
    """Return an address's file system and its path there."""
    filesystem = open_filesystem(parse_scheme(address))
    return filesystem, filesystem._strip_protocol(address)  # noqa: SLF001 - fsspec's own way to take a URI apart


class FsspecClient:
    """See `StoreClient`."""

    def fetch(self, address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
        """See `StoreClient.fetch`."""
        filesystem, path = locate(address)
        if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
            timed = asyncio.wait_for  # ends the request itself, where `sync` would only stop waiting for it
            info, encoded = sync(
                filesystem.loop, lambda: timed(_read_async(filesystem, path, max_bytes), timeout_s)
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
            timed, read = asyncio.wait_for, filesystem._cat_file  # noqa: SLF001 - the only door with a time-out
            got = sync(filesystem.loop, lambda: timed(read(path, start=0, end=at_most_bytes), timeout_s))
        else:
            got = filesystem.cat_file(path, start=0, end=at_most_bytes)
        return cast("bytes", got)

    def open(self, address: str) -> IO[bytes]:
        """See `StoreClient.open`."""
        filesystem, path = locate(address)
        return cast("IO[bytes]", filesystem.open(path, "rb"))

    def read_versioned(self, address: str) -> tuple[bytes, str]:
        """See `StoreClient.read_versioned`."""
        filesystem, path = locate(address)
        if _is_google(filesystem):
            _forget(filesystem)
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
        """See `StoreClient.replace_if`; of the stores that are reached through fsspec, Google's alone can."""
        filesystem, path = locate(address)
        if _is_google(filesystem):
            return create_once(
                lambda: sync(filesystem.loop, lambda: _write_generation(filesystem, path, content, version)),
                is_there=lambda error: isinstance(error, FileExistsError),  # what gcsfs makes of 412
                is_ours=lambda: filesystem.cat_file(path) == content,
            )
        if parse_scheme(address) != "memory":
            raise OutputError(
                f"{address} cannot be written: {parse_scheme(address)}:// knows no conditional write, which replacing "
                "a part needs. Nothing half-written was left."
            )
        with _swapping:  # the memory is this process's own
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
        _forget(filesystem)
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
        found = filesystem.glob(path, detail=True)
        hidden_wanted = "/." in path
        for name in sorted(found):
            hidden = "/." in name and not hidden_wanted
            if found[name]["type"] == "file" and not hidden:
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


def create_once(
    write: Callable[[], object], *, is_there: Callable[[Exception], bool], is_ours: Callable[[], bool]
) -> bool:
    """Return whether a conditional write is ours, be its first answer lost or not.

    Args:
        write: Tries once.
        is_there: Whether an exception means that the store refused since the condition does not hold.
        is_ours: Whether the store holds the content that we tried to write.
    """
    in_doubt = False

    def doubt() -> None:
        nonlocal in_doubt
        in_doubt = True

    try:
        retry_call(write, doubtful=doubt)
    except Exception as error:
        if not is_there(error):
            raise
        return in_doubt and retry_call(is_ours)
    return True


async def _read_async(filesystem: Any, path: str, max_bytes: int) -> tuple[dict[str, Any], bytes]:  # noqa: ANN401 - fsspec is untyped
    info = await filesystem._info(path)  # noqa: SLF001 - the only door with a time-out
    check_size(path, info.get("size") or 0, max_bytes)
    return info, await filesystem._cat_file(path)  # noqa: SLF001 - as above


def _check_whole(info: dict[str, Any], encoded: bytes) -> None:
    if info.get("contentEncoding"):  # what was stored is not what arrives
        return
    if info.get("size") not in {None, len(encoded)}:
        raise DamagedOnTheWay
    md5, sha256 = info.get("md5Hash"), getattr(info.get("lfs"), "sha256", None)  # Google's; Hugging Face's
    if md5 and base64.b64decode(md5) != hashlib.md5(encoded, usedforsecurity=False).digest():
        raise DamagedOnTheWay
    if sha256 and sha256 != hashlib.sha256(encoded).hexdigest():
        raise DamagedOnTheWay


def _forget(filesystem: Any) -> None:  # noqa: ANN401 - fsspec is untyped
    """Have a file system ask the store again what is there."""
    filesystem.invalidate_cache()


def _is_google(filesystem: Any) -> bool:  # noqa: ANN401 - fsspec is untyped
    return type(filesystem).__module__.startswith("gcsfs")


async def _write_generation(filesystem: Any, path: str, content: bytes, generation: str) -> None:  # noqa: ANN401 - fsspec is untyped
    # As gcsfs's own upload does, which knows no condition but that there be no file.
    bucket, key, _ = filesystem.split_path(path)
    parts = (
        b"--==0==\nContent-Type: application/json; charset=UTF-8\n\n" + json.dumps({"name": key}).encode(),
        b"\n--==0==\nContent-Type: application/octet-stream\n\n" + content + b"\n--==0==--",
    )
    await filesystem._call(  # noqa: SLF001 - the only door to a request of one's own
        "POST",
        f"{filesystem._location}/upload/storage/v1/b/{{}}/o",  # noqa: SLF001 - as above
        bucket,
        uploadType="multipart",
        ifGenerationMatch=generation,
        headers={"Content-Type": 'multipart/related; boundary="==0=="'},
        data=b"".join(parts),
    )
    filesystem.invalidate_cache(filesystem._parent(path))  # noqa: SLF001 - as above
