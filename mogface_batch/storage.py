"""Where bytes come from and go to: fetch, list, publish. The only home of fsspec.

An *address* is an absolute place: a local path (``/data/a.jpg``) or a URI (``s3://bucket/a.jpg``). Only http(s)
is parsed as a URL; elsewhere ``%``, ``#`` and ``?`` belong to the name.

Knows nothing of images, manifests or tables. Read `Store` first: it is how everything becomes visible.
"""

import asyncio
import contextlib
import errno
import functools
import glob
import hashlib
import io
import lzma
import os
import random
import re
import secrets
import stat
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

import fsspec
import fsspec.utils
import platformdirs
from fsspec.asyn import AsyncFileSystem, sync

from mogface_batch.errors import FetchFault, InputError, JobFault, OutputError, RowFault, TooLargeFault

TEMPORARY = "_tmp"
EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az",
    "http": "http", "https": "http", "hf": "hf",
}  # fmt: skip
"""Scheme -> the extra of this package that brings its client."""

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_GLOB = re.compile(r"[*?\[]")


def scheme_of(text: str) -> str:
    """Return the lower-case scheme of a URI, ``file`` for a plain path."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else "file"


def is_remote(address: str) -> bool:
    """Whether an address is not a path on this machine."""
    return scheme_of(address) != "file"


def is_url(address: str) -> bool:
    """Whether an address is parsed as a URL, in which ``?`` and ``#`` end the path."""
    return scheme_of(address) in {"http", "https"}


def without_query(address: str) -> str:
    """Return an address up to the query or fragment that a URL may have; any other address whole."""
    return re.split("[?#]", address, maxsplit=1)[0] if is_url(address) else address


def absolute(text: str, base: str = ".") -> str:
    """Return the address of a path or URI; a relative path is relative to the folder ``base``."""
    if is_remote(text):
        return text
    path = _SCHEME.sub("", text)
    if is_remote(base) and not path.startswith("/"):
        return f"{base.rstrip('/')}/{path}"
    return os.path.abspath(os.path.join(_SCHEME.sub("", base), path))  # noqa: PTH100, PTH118 - text, kept as it is


def parent(address: str) -> str:
    """Return the folder that an address lies in; a bucket or a host is its own."""
    match = _SCHEME.match(address)
    root = match[0] if match else "/"
    place, slash, _ = without_query(address)[len(root) :].rstrip("/").rpartition("/")
    return root + place if slash else (without_query(address).rstrip("/") if match else root)


@functools.lru_cache(maxsize=64)
def _filesystem(scheme: str) -> Any:  # noqa: ANN401 - fsspec is untyped
    try:
        return fsspec.filesystem(scheme, **(_http_options() if scheme in {"http", "https"} else {}))
    except (ImportError, ValueError) as error:
        extra = EXTRAS.get(scheme)
        what = f"type pip install 'mogface-batch[{extra}]'" if extra else str(error).rstrip(".")
        raise InputError(f"{scheme}:// cannot be reached: {what}.") from None


def _http_options() -> dict[str, Any]:
    import aiohttp  # noqa: PLC0415 - comes with the extra http

    # Its own limit is 5 minutes for everything, and none for silence.
    return {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=None, sock_connect=60, sock_read=300)}}


def _at(address: str) -> tuple[Any, str]:
    filesystem = _filesystem(scheme_of(address))
    return filesystem, filesystem._strip_protocol(address)  # noqa: SLF001 - fsspec's own way to take a URI apart


# -- fetching images -------------------------------------------------------------------------------------------

TRANSIENT_CODES = frozenset(["timeout", "unavailable"])


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of one image, what the store calls this version of it, and the attempts that it took."""

    encoded: bytes
    etag: str | None
    attempts: int

    @property
    def sha256(self) -> str:
        """The digest of the bytes, 64 hex digits."""
        return hashlib.sha256(self.encoded).hexdigest()


def fetch(address: str, *, max_bytes: int, timeout_s: float, attempts: int) -> Fetched:
    """Return the bytes at an address, trying again with backoff after what may pass.

    Args:
        address: Absolute, see `absolute`.
        max_bytes: A larger file is not read.
        timeout_s: For one attempt.
        attempts: How often at most, at least 1.

    Raises:
        FetchFault: They could not be had; its code is not_found, forbidden, not_a_file, refused, unsupported
            (of its scheme), timeout or unavailable.
        TooLargeFault: The file is larger than ``max_bytes``.
    """
    attempt = 1
    while True:
        try:
            encoded, etag = _read_once(address, max_bytes=max_bytes, timeout_s=timeout_s)
        except (RowFault, JobFault):
            raise
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions: _code tells them apart
            code, why = _code(error)
            if code not in TRANSIENT_CODES or attempt >= attempts:
                raise FetchFault(code, f"{address} could not be read: {why}.", attempt) from None
            time.sleep(_backoff_s(attempt))
            attempt += 1
        else:
            return Fetched(encoded, etag, attempt)


def _read_once(address: str, *, max_bytes: int, timeout_s: float) -> tuple[bytes, str | None]:
    if not is_remote(address):
        return _read_local(address, max_bytes=max_bytes)
    _check_scheme(address)
    filesystem, path = _at(address)
    if isinstance(filesystem, AsyncFileSystem) and filesystem.async_impl:
        read = _read_url if is_url(address) else _read_object
        timed = asyncio.wait_for  # ends the request itself, where `sync` would only stop waiting for it
        encoded, etag = sync(
            filesystem.loop, lambda: timed(read(filesystem, path, max_bytes=max_bytes), timeout_s)
        )
    else:
        info = filesystem.info(path)
        _check_size(path, info.get("size") or 0, max_bytes)
        encoded, etag = filesystem.cat_file(path), _etag(info)
    _check_size(address, len(encoded), max_bytes)
    return encoded, etag.strip('"') if etag else None


def _check_scheme(address: str) -> None:
    scheme = scheme_of(address)
    if scheme not in EXTRAS and scheme not in fsspec.available_protocols():
        raise FetchFault("unsupported", f"{address} could not be read: there is no way to read {scheme}://.")


async def _read_url(filesystem: Any, url: str, *, max_bytes: int) -> tuple[bytes, str | None]:  # noqa: ANN401 - fsspec is untyped
    # Not by `info`: many web servers answer no HEAD request. So the body is cut off where it gets too long.
    session = await filesystem.set_session()
    async with session.get(filesystem.encode_url(url)) as answer:
        filesystem._raise_not_found_for_status(answer, url)  # noqa: SLF001 - as fsspec's own _cat_file does
        _check_size(url, answer.content_length or 0, max_bytes)
        encoded = bytearray()
        async for chunk in answer.content.iter_chunked(1 << 16):
            encoded += chunk
            _check_size(url, len(encoded), max_bytes)
        return bytes(encoded), answer.headers.get("ETag")


async def _read_object(filesystem: Any, path: str, *, max_bytes: int) -> tuple[bytes, str | None]:  # noqa: ANN401 - fsspec is untyped
    info = await filesystem._info(path)  # noqa: SLF001 - the only door with a time-out
    _check_size(path, info.get("size") or 0, max_bytes)
    return await filesystem._cat_file(path), _etag(info)  # noqa: SLF001 - as above


def _etag(info: dict[str, Any]) -> str | None:
    return cast("str | None", info.get("ETag") or info.get("etag"))


def _read_local(path: str, *, max_bytes: int) -> tuple[bytes, str]:
    # Non-blocking, so that a pipe nobody writes to is refused instead of waited for.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):  # asked before `open`, which refuses a folder and leaves it open
            raise IsADirectoryError(errno.EISDIR, "it is no regular file")
        _check_size(path, facts.st_size, max_bytes)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(), f"{facts.st_size:x}-{facts.st_mtime_ns:x}"
    finally:
        os.close(descriptor)


def _check_size(address: str, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise TooLargeFault(
            "too_many_bytes", f"{address} has more bytes than limits.bytes={max_bytes} allows."
        )


_UNUSABLE_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    ((FileNotFoundError, NotADirectoryError), "not_found", "there is no such file"),
    (PermissionError, "forbidden", "access is denied"),
    (IsADirectoryError, "not_a_file", "it is no regular file"),
    (TimeoutError, "timeout", "it took longer than limits.fetch_timeout_s"),
    ((zlib.error, lzma.LZMAError, EOFError), "damaged", "it is no whole compressed file"),
    (ValueError, "not_found", "its name is none that a file can have"),
)


def _code(error: Exception) -> tuple[str, str]:
    """Return the error code and the reason, in words that hold no credentials and no object addresses."""
    status = getattr(error, "status", None)  # of an HTTP answer
    if isinstance(status, int):
        return _code_of_status(status)
    for kind, code, why in _KINDS:
        if isinstance(error, kind):
            return code, why
    if getattr(error, "errno", None) in _UNUSABLE_NAME:
        return "not_found", "its name is none that a file can have"
    if getattr(error, "errno", None) == errno.ENXIO:  # a socket, or a device that is not there
        return "not_a_file", "it is no regular file"
    return "unavailable", getattr(error, "strerror", None) or type(error).__name__


def _code_of_status(status: int) -> tuple[str, str]:
    if status in {404, 410}:
        return "not_found", "there is no such file"
    if status in {401, 403}:
        return "forbidden", "access is denied"
    passes = status >= 500 or status in {408, 425, 429}
    return ("unavailable" if passes else "refused"), f"the server answered {status}"


def _backoff_s(attempt: int) -> float:
    longest_s = min(20.0, 0.25 * float(2**attempt))
    return random.uniform(0.5, 1.0) * longest_s  # noqa: S311 - jitter, no secret


# -- manifests, models and folders -----------------------------------------------------------------------------


def read_bytes(address: str) -> bytes:
    """Return the whole content at an address.

    Raises:
        InputError: It cannot be read.
    """
    with open_binary(address) as file:
        return file.read()


@contextlib.contextmanager
def open_binary(address: str) -> Iterator[IO[bytes]]:
    """Open an address for reading; a name that ends in .gz, .bz2, .xz or .zst is decompressed on the way.

    Raises:
        InputError: It cannot be read, at the start or later.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_opened(address))
        except JobFault:
            raise
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions
            raise _unreadable(address, error) from None
        try:
            yield file
        except _READ_ERRORS as error:
            raise _unreadable(address, error) from None


_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)


def _unreadable(address: str, error: Exception) -> InputError:
    is_compressed = without_query(address).endswith((".gz", ".bz2", ".xz", ".zst"))
    damaged = is_compressed and isinstance(error, OSError) and error.errno is None
    why = "it is no whole compressed file" if damaged else _code(error)[1]
    return InputError(f"{address} cannot be read: {why}.")


@contextlib.contextmanager
def _opened(address: str) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        file: IO[bytes]
        if not is_remote(address):
            file = stack.enter_context(open(address, "rb"))  # noqa: PTH123 - keeps the text
        elif is_url(address):  # many web servers cannot seek
            file = stack.enter_context(tempfile.TemporaryFile())
            filesystem, path = _at(address)
            filesystem.get_file(path, file)
            file.seek(0)
        else:
            filesystem, path = _at(address)
            file = stack.enter_context(filesystem.open(path, "rb"))
        yield stack.enter_context(_decompressed(file, without_query(address)))


def _decompressed(file: IO[bytes], name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    if name.lower().endswith(".zst"):
        import pyarrow as pa  # noqa: PLC0415 - Python reads zstd by itself from 3.14 on

        return io.BufferedReader(cast("io.RawIOBase", pa.CompressedInputStream(file, "zstd")), 1 << 16)
    codec = fsspec.utils.infer_compression(name)
    if codec is None:
        return contextlib.nullcontext(file)
    return cast(
        "contextlib.AbstractContextManager[IO[bytes]]", fsspec.compression.compr[codec](file, mode="rb")
    )


def exists(address: str) -> bool:
    """Whether there is a file or folder at a local address."""
    return os.path.lexists(address)


def is_folder(address: str) -> bool:
    """Whether there is a folder at an address.

    Raises:
        InputError: The store cannot be asked.
    """
    if not is_remote(address):
        return os.path.isdir(address)  # noqa: PTH112 - Path raises where a name is too long
    if is_url(address):  # asking would download the page
        return without_query(address).endswith("/")
    filesystem, path = _at(address)
    try:
        return bool(filesystem.isdir(path))
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise InputError(f"{address} cannot be read: {_code(error)[1]}.") from None


def is_glob(text: str) -> bool:
    """Whether a text has characters that make it a pattern; in a URL that is the star alone."""
    return "*" in without_query(text) if is_url(text) else _GLOB.search(text) is not None


def is_pattern(address: str) -> bool:
    """Whether an address is a glob, and no file or folder has this very name.

    Raises:
        InputError: The store cannot be asked.
    """
    if not is_glob(address):
        return False
    if not is_remote(address):
        return not exists(address)
    filesystem, path = _at(address)
    try:
        return not filesystem.exists(path)
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise InputError(f"{address} cannot be read: {_code(error)[1]}.") from None


def list_files(address: str) -> Iterator[str]:
    """Yield the addresses of all files below a folder, or of those that a glob names, in a fixed order.

    Names that begin with a dot are left out. A folder is streamed, one level at a time.

    Raises:
        InputError: It cannot be listed.
    """
    try:
        if is_pattern(address):
            yield from _remote_matches(address) if is_remote(address) else _local_matches(address)
        elif is_remote(address):
            yield from _walk_remote(address)
        else:
            yield from _walk_local(address, seen=set())
    except JobFault:
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise InputError(f"{address} cannot be listed: {_code(error)[1]}.") from None


def _local_matches(pattern: str) -> Iterator[str]:
    folder, rest = _literal_folder(pattern)
    if "**" not in rest:
        found = sorted(glob.iglob("/".join([glob.escape(folder), *rest])))  # noqa: PTH207 - keeps the text
        yield from (path for path in found if os.path.isfile(path))  # noqa: PTH113 - as above
        return
    # Not by `glob`, which follows a link that leads back up until the system stops it.
    wanted = re.compile(fsspec.utils.glob_translate("/".join(rest)))
    found = sorted(_walk_local(folder or "/", seen=set()))
    yield from (path for path in found if wanted.match(path[len(folder) + 1 :]) and os.path.isfile(path))  # noqa: PTH113


def _literal_folder(pattern: str) -> tuple[str, list[str]]:
    """Return the deepest folder that the pattern begins with, and its other parts.

    A folder that is there is taken by its name, though that may look like a pattern itself.
    """
    folder, rest = "", pattern.lstrip("/").split("/")
    while len(rest) > 1 and os.path.isdir(f"{folder}/{rest[0]}"):  # noqa: PTH112 - keeps the text
        folder = f"{folder}/{rest.pop(0)}"
    # Two stars mean any folders only where they are a whole part.
    return folder, [part if part == "**" else re.sub(r"\*+", "*", part) for part in rest]


def _remote_matches(pattern: str) -> Iterator[str]:
    filesystem, path = _at(pattern)
    found = filesystem.glob(path, detail=True)
    hidden_wanted = "/." in path
    for name in sorted(found):
        hidden = "/." in name and not hidden_wanted
        if found[name]["type"] == "file" and not hidden:
            yield filesystem.unstrip_protocol(name)


def _walk_local(folder: str, seen: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back up
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        visible = sorted(
            (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
    for entry in visible:
        if os.path.isdir(entry.path):  # noqa: PTH112 - `entry.is_dir` raises where a link leads to itself
            yield from _walk_local(entry.path, seen)
        else:
            yield entry.path


def _walk_remote(folder: str) -> Iterator[str]:
    filesystem, path = _at(folder)
    for place, folders, files in filesystem.walk(path, on_error="raise"):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name and not name.startswith("."):
                yield filesystem.unstrip_protocol(f"{place.rstrip('/')}/{name}")


# -- the cache on this machine ---------------------------------------------------------------------------------

CACHE_VARIABLE = "MOGFACE_BATCH_CACHE"


def cache_folder() -> Path:
    """Return where model files are kept: ``$MOGFACE_BATCH_CACHE``, else the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("mogface-batch")


def kept_by_sha256(sha256: str, content: Callable[[], bytes]) -> Path:
    """Return the cached model file with this digest, written first if it is not there or not whole.

    Raises:
        OutputError: The cache folder cannot be written.
    """
    store = LocalStore(str(cache_folder()))
    name = f"models/{sha256}.onnx"
    kept = store.read(name)
    if kept is None or hashlib.sha256(kept).hexdigest() != sha256:
        store.replace(name, content())
    return Path(store.address_of(name))


# -- publishing ------------------------------------------------------------------------------------------------


class Store(Protocol):
    """An output folder. What it shows is whole at every moment: a file appears, or is replaced, in one step."""

    @property
    def address(self) -> str:
        """Where it is."""

    def create(self, name: str, content: bytes) -> bool:
        """Publish a file unless one of this name exists; return whether it is ours."""

    def replace(self, name: str, content: bytes) -> None:
        """Publish a file in place of what may be there."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is none."""

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the files directly in a folder; none where it does not exist."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def address_of(self, name: str) -> str:
        """Return the address of a file in this store."""


def open_store(address: str) -> Store:
    """Return the store at an address; it is made when something is first published in it."""
    return RemoteStore(address.rstrip("/")) if is_remote(address) else LocalStore(address)


@contextlib.contextmanager
def _publishing(address: str) -> Iterator[None]:
    try:
        yield
    except JobFault:
        raise
    except OSError as error:
        raise _unwritable(address, error.strerror or _code(error)[1]) from None


def _unwritable(address: str, why: str) -> OutputError:
    return OutputError(f"{address} cannot be written: {why}. Nothing half-written was left.")


@contextlib.contextmanager
def _publishing_remotely(address: str) -> Iterator[None]:
    try:
        yield
    except JobFault:
        raise
    except NotImplementedError:
        raise _unwritable(address, f"{scheme_of(address)}:// can only be read") from None
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise _unwritable(address, getattr(error, "strerror", None) or _code(error)[1]) from None


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder on disk: a temporary file, fsync, then one link or rename, then fsync of the folder."""

    address: str

    def create(self, name: str, content: bytes) -> bool:
        """See `Store.create`; atomic by a hard link, which fails where the name exists."""
        with self._temporary(name, content) as temporary:
            target = Path(self.address_of(name))
            try:
                target.hardlink_to(temporary)
            except FileExistsError:
                return False
            _sync_folder(target.parent)
            return True

    def replace(self, name: str, content: bytes) -> None:
        """See `Store.replace`; atomic by a rename."""
        with self._temporary(name, content) as temporary:
            target = Path(self.address_of(name))
            temporary.replace(target)
            _sync_folder(target.parent)

    def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        try:
            return Path(self.address_of(name)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{self.address_of(name)} cannot be read: {error.strerror}.") from None

    def names(self, folder: str) -> list[str]:
        """See `Store.names`."""
        try:
            return sorted(entry.name for entry in Path(self.address_of(folder)).iterdir() if entry.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(f"{self.address_of(folder)} cannot be listed: {error.strerror}.") from None

    def remove(self, name: str) -> None:
        """See `Store.remove`."""
        with _publishing(self.address_of(name)):
            Path(self.address_of(name)).unlink(missing_ok=True)

    def address_of(self, name: str) -> str:
        """See `Store.address_of`."""
        return f"{self.address}/{name}"

    @contextlib.contextmanager
    def _temporary(self, name: str, content: bytes) -> Iterator[Path]:
        with _publishing(self.address_of(name)):
            folder = Path(self.address_of(TEMPORARY))
            folder.mkdir(parents=True, exist_ok=True)
            Path(self.address_of(name)).parent.mkdir(parents=True, exist_ok=True)
            temporary = folder / secrets.token_hex(8)
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and needs no fsync of one
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A prefix in an object store, where one PUT appears whole."""

    address: str

    def create(self, name: str, content: bytes) -> bool:
        """See `Store.create`; by the store's own create-if-absent."""
        filesystem, path = _at(self.address_of(name))
        with _publishing_remotely(self.address_of(name)):
            try:
                filesystem.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            return True

    def replace(self, name: str, content: bytes) -> None:
        """See `Store.replace`."""
        filesystem, path = _at(self.address_of(name))
        with _publishing_remotely(self.address_of(name)):
            filesystem.pipe_file(path, content)

    def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        filesystem, path = _at(self.address_of(name))
        try:
            return cast("bytes", filesystem.cat_file(path))
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions
            raise InputError(f"{self.address_of(name)} cannot be read: {_code(error)[1]}.") from None

    def names(self, folder: str) -> list[str]:
        """See `Store.names`."""
        filesystem, path = _at(self.address_of(folder))
        try:
            filesystem.invalidate_cache()
            entries = filesystem.ls(path, detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions
            raise InputError(f"{self.address_of(folder)} cannot be listed: {_code(error)[1]}.") from None
        return sorted(entry["name"].rpartition("/")[2] for entry in entries if entry["type"] == "file")

    def remove(self, name: str) -> None:
        """See `Store.remove`."""
        filesystem, path = _at(self.address_of(name))
        with _publishing_remotely(self.address_of(name)), contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(path)

    def address_of(self, name: str) -> str:
        """See `Store.address_of`."""
        return f"{self.address}/{name}"
