"""An output folder: how everything becomes visible, in one step."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from mogface_batch.errors import InputError, JobFault, OutputError
from mogface_batch.storage.addresses import is_remote, scheme_of
from mogface_batch.storage.faults import code_of
from mogface_batch.storage.filesystems import located

TEMPORARY = "_tmp"


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
        raise _unwritable(address, error.strerror or code_of(error)[1]) from None


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
        raise _unwritable(address, getattr(error, "strerror", None) or code_of(error)[1]) from None


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
        filesystem, path = located(self.address_of(name))
        with _publishing_remotely(self.address_of(name)):
            try:
                filesystem.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            return True

    def replace(self, name: str, content: bytes) -> None:
        """See `Store.replace`."""
        filesystem, path = located(self.address_of(name))
        with _publishing_remotely(self.address_of(name)):
            filesystem.pipe_file(path, content)

    def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        filesystem, path = located(self.address_of(name))
        try:
            return cast("bytes", filesystem.cat_file(path))
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions
            raise InputError(f"{self.address_of(name)} cannot be read: {code_of(error)[1]}.") from None

    def names(self, folder: str) -> list[str]:
        """See `Store.names`."""
        filesystem, path = located(self.address_of(folder))
        try:
            filesystem.invalidate_cache()
            entries = filesystem.ls(path, detail=True)
        except FileNotFoundError:
            return []
        except Exception as error:  # noqa: BLE001 - each client has its own exceptions
            raise InputError(f"{self.address_of(folder)} cannot be listed: {code_of(error)[1]}.") from None
        return sorted(entry["name"].rpartition("/")[2] for entry in entries if entry["type"] == "file")

    def remove(self, name: str) -> None:
        """See `Store.remove`."""
        filesystem, path = located(self.address_of(name))
        with _publishing_remotely(self.address_of(name)), contextlib.suppress(FileNotFoundError):
            filesystem.rm_file(path)

    def address_of(self, name: str) -> str:
        """See `Store.address_of`."""
        return f"{self.address}/{name}"
