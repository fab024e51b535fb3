"""An output folder: how everything becomes visible, in one step."""

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mogface_batch.errors import ConfigError, InputError, JobFault, OutputError
from mogface_batch.local_files import write_temporary
from mogface_batch.storage.addresses import is_remote, redacted, scheme_of
from mogface_batch.storage.faults import TRANSIENT_CODES, code_of
from mogface_batch.storage.remote import remote_of

if sys.platform != "win32":
    import fcntl

TEMPORARY = "_tmp"
LOCK = "lock"
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


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

    def read_versioned(self, name: str) -> tuple[bytes, str] | None:
        """Return a file's content and what this version of it is called, None where there is none."""

    def replace_if(self, name: str, content: bytes, version: str) -> bool:
        """Publish a file in place of this version of it; False where another, or none, is there."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def address_of(self, name: str) -> str:
        """Return the address of a file in this store."""


def open_store(address: str) -> Store:
    """Return the store at an address; it is made when something is first published in it.

    Raises:
        ConfigError: The address holds credentials, which would stand in all that is written.
    """
    if redacted(address) != address:
        raise ConfigError(
            f"{redacted(address)}: credentials do not belong in an output's address. Give them as the store's own "
            "tools take them (environment variables, a profile, an identity of the machine)."
        )
    return RemoteStore(address.rstrip("/")) if is_remote(address) else LocalStore(address)


def check_create_if_absent(store: Store) -> None:
    """Check that a store elsewhere keeps its word on create-if-absent, by a probe that is removed again.

    Raises:
        ConfigError: It overwrites what is there.
        OutputError: It cannot be written at all.
    """
    if isinstance(store, LocalStore):
        return
    name = f"{TEMPORARY}/probe-{secrets.token_hex(8)}"
    try:
        if not store.create(name, b"first") or store.create(name, b"second"):
            raise ConfigError(
                f"{redacted(store.address)} ignores create-if-absent: two runs at once could lose or double rows there. "
                "Choose another output.uri; or set output.single_writer=true, and never start a second run."
            )
    finally:
        store.remove(name)


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
        code, why = code_of(error)
        why = "there is no such bucket" if code == "not_found" else getattr(error, "strerror", None) or why
        raise _unwritable(redacted(address), why) from None


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder on disk: a temporary file, fsync, then one link or rename, then fsync of the folder."""

    address: str

    def create(self, name: str, content: bytes) -> bool:
        """See `Store.create`; atomic by a hard link, which fails where the name exists.

        On a file system without hard links (FAT, some network and FUSE mounts) by a rename under a lock.
        """
        with self._temporary(name, content) as temporary:
            target = Path(self.address_of(name))
            try:
                target.hardlink_to(temporary)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with self._locked():
                    if os.path.lexists(target):
                        return False
                    temporary.replace(target)
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

    def read_versioned(self, name: str) -> tuple[bytes, str] | None:
        """See `Store.read_versioned`; a version is told by size, time and inode, which a rename always changes."""
        try:
            with Path(self.address_of(name)).open("rb") as file:
                return file.read(), _version(os.fstat(file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{self.address_of(name)} cannot be read: {error.strerror}.") from None

    def replace_if(self, name: str, content: bytes, version: str) -> bool:
        """See `Store.replace_if`; a rename under a lock, which the system takes away from a process that dies."""
        with self._temporary(name, content) as temporary, self._locked():
            target = Path(self.address_of(name))
            try:
                if _version(target.stat()) != version:
                    return False
            except FileNotFoundError:
                return False
            temporary.replace(target)
            _sync_folder(target.parent)
            return True

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
    def _locked(self) -> Iterator[None]:
        if sys.platform == "win32":
            raise OutputError(
                f"{self.address} cannot be changed safely on Windows: use WSL, or object storage."
            )
        with (Path(self.address_of(TEMPORARY)) / LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _temporary(self, name: str, content: bytes) -> Iterator[Path]:
        with _publishing(self.address_of(name)):
            folder = Path(self.address_of(TEMPORARY))
            folder.mkdir(parents=True, exist_ok=True)
            Path(self.address_of(name)).parent.mkdir(parents=True, exist_ok=True)
            with write_temporary(folder / secrets.token_hex(8), content) as temporary:
                yield temporary


def _version(facts: os.stat_result) -> str:
    return f"{facts.st_size:x}-{facts.st_mtime_ns:x}-{facts.st_ino:x}"


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
        address = self.address_of(name)
        with _publishing_remotely(address):
            return remote_of(address).create(address, content)

    def replace(self, name: str, content: bytes) -> None:
        """See `Store.replace`."""
        address = self.address_of(name)
        with _publishing_remotely(address):
            remote_of(address).write(address, content)

    def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        found = self.read_versioned(name)
        return None if found is None else found[0]

    def read_versioned(self, name: str) -> tuple[bytes, str] | None:
        """See `Store.read_versioned`."""
        address = self.address_of(name)
        try:
            with _reading_remotely(address, "read"):
                return remote_of(address).read_versioned(address)
        except FileNotFoundError:
            return None

    def replace_if(self, name: str, content: bytes, version: str) -> bool:
        """See `Store.replace_if`; by the store's own conditional write."""
        address = self.address_of(name)
        with _publishing_remotely(address):
            try:
                return remote_of(address).replace_if(address, content, version)
            except FileNotFoundError:
                return False

    def names(self, folder: str) -> list[str]:
        """See `Store.names`."""
        address = self.address_of(folder)
        try:
            with _reading_remotely(address, "listed"):
                return sorted(remote_of(address).names(address))
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """See `Store.remove`."""
        address = self.address_of(name)
        with _publishing_remotely(address), contextlib.suppress(FileNotFoundError):
            remote_of(address).remove(address)

    def address_of(self, name: str) -> str:
        """See `Store.address_of`."""
        return f"{self.address}/{name}"


@contextlib.contextmanager
def _reading_remotely(address: str, done: str) -> Iterator[None]:
    try:
        yield
    except (JobFault, FileNotFoundError):
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        code, why = code_of(error)
        what = f"{redacted(address)} cannot be {done}: {why}."
        # A store that is gone is not an output folder that cannot be understood.
        raise (OutputError if code in TRANSIENT_CODES else InputError)(what) from None
