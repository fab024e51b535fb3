"""An output folder on disk."""

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mogface_batch.errors import InputError, JobFault, OutputError
from mogface_batch.local_files import write_temporary
from mogface_batch.storage.error_codes import classify_error
from mogface_batch.storage.store import TEMPORARY, build_write_error

if sys.platform != "win32":
    import fcntl

LOCK = "lock"
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


@dataclass(frozen=True, slots=True)
class LocalStore:
    """A folder on disk. A file is written to a temporary file, flushed, then linked or renamed; then the folder is flushed."""

    address: str

    def create(self, name: str, content: bytes) -> bool:
        """See `Store.create`; atomic by a hard link, which fails if the name exists.

        On a file system without hard links (FAT, some network and FUSE mounts) by a rename under a lock.
        """
        with self._write_temporary(name, content) as temporary:
            target = Path(self.build_address(name))
            try:
                target.hardlink_to(temporary)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with self._hold_lock():
                    if os.path.lexists(target):
                        return False
                    temporary.replace(target)
            _sync_folder(target.parent)
            return True

    def replace(self, name: str, content: bytes) -> None:
        """See `Store.replace`; atomic by a rename."""
        with self._write_temporary(name, content) as temporary:
            target = Path(self.build_address(name))
            temporary.replace(target)
            _sync_folder(target.parent)

    def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        try:
            return Path(self.build_address(name)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{self.build_address(name)} cannot be read: {error.strerror}.") from None

    def read_versioned(self, name: str) -> tuple[bytes, str] | None:
        """See `Store.read_versioned`; a version is size, time and inode, which a rename always changes."""
        try:
            with Path(self.build_address(name)).open("rb") as file:
                return file.read(), _describe_version(os.fstat(file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(f"{self.build_address(name)} cannot be read: {error.strerror}.") from None

    def replace_if(self, name: str, content: bytes, version: str) -> bool:
        """See `Store.replace_if`; a rename under a lock, which the system releases when its process dies."""
        with self._write_temporary(name, content) as temporary, self._hold_lock():
            target = Path(self.build_address(name))
            try:
                if _describe_version(target.stat()) != version:
                    return False
            except FileNotFoundError:
                return False
            temporary.replace(target)
            _sync_folder(target.parent)
            return True

    def list_names(self, folder: str) -> list[str]:
        """See `Store.list_names`."""
        try:
            return sorted(
                entry.name for entry in Path(self.build_address(folder)).iterdir() if entry.is_file()
            )
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(f"{self.build_address(folder)} cannot be listed: {error.strerror}.") from None

    def remove(self, name: str) -> None:
        """See `Store.remove`."""
        with _translate_errors(self.build_address(name)):
            Path(self.build_address(name)).unlink(missing_ok=True)

    def build_address(self, name: str) -> str:
        """See `Store.build_address`."""
        return f"{self.address}/{name}"

    @contextlib.contextmanager
    def _hold_lock(self) -> Iterator[None]:
        if sys.platform == "win32":
            raise OutputError(
                f"{self.address} cannot be changed safely on Windows: use WSL, or object storage."
            )
        with (Path(self.build_address(TEMPORARY)) / LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _write_temporary(self, name: str, content: bytes) -> Iterator[Path]:
        with _translate_errors(self.build_address(name)):
            folder = Path(self.build_address(TEMPORARY))
            folder.mkdir(parents=True, exist_ok=True)
            Path(self.build_address(name)).parent.mkdir(parents=True, exist_ok=True)
            with write_temporary(folder / secrets.token_hex(8), content) as temporary:
                yield temporary


def _describe_version(facts: os.stat_result) -> str:
    return f"{facts.st_size:x}-{facts.st_mtime_ns:x}-{facts.st_ino:x}"


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder, and needs no fsync of one
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translate_errors(address: str) -> Iterator[None]:
    try:
        yield
    except JobFault:
        raise
    except OSError as error:
        raise build_write_error(address, error.strerror or classify_error(error)[1]) from None
