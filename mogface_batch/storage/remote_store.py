"""An output folder in an object store."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from mogface_batch.errors import InputError, JobFault, OutputError
from mogface_batch.storage.addresses import parse_scheme, redact
from mogface_batch.storage.clients.open_client import open_client
from mogface_batch.storage.error_codes import TRANSIENT_CODES, classify_error
from mogface_batch.storage.store import build_write_error


@dataclass(frozen=True, slots=True)
class RemoteStore:
    """A prefix in an object store, where the file of one PUT appears complete."""

    address: str

    def create(self, name: str, content: bytes) -> bool:
        """See `Store.create`; by the store's own create-if-absent."""
        address = self.build_address(name)
        with _translate_write_errors(address):
            return open_client(address).create(address, content)

    def replace(self, name: str, content: bytes) -> None:
        """See `Store.replace`."""
        address = self.build_address(name)
        with _translate_write_errors(address):
            open_client(address).write(address, content)

    def read(self, name: str) -> bytes | None:
        """See `Store.read`."""
        versioned = self.read_versioned(name)
        return None if versioned is None else versioned[0]

    def read_versioned(self, name: str) -> tuple[bytes, str] | None:
        """See `Store.read_versioned`."""
        address = self.build_address(name)
        try:
            with _translate_read_errors(address, "read"):
                return open_client(address).read_versioned(address)
        except FileNotFoundError:
            return None

    def replace_if(self, name: str, content: bytes, version: str) -> bool:
        """See `Store.replace_if`; by the store's own conditional write."""
        address = self.build_address(name)
        with _translate_write_errors(address):
            try:
                return open_client(address).replace_if(address, content, version)
            except FileNotFoundError:
                return False

    def list_names(self, folder: str) -> list[str]:
        """See `Store.list_names`."""
        address = self.build_address(folder)
        try:
            with _translate_read_errors(address, "listed"):
                return sorted(open_client(address).list_names(address))
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """See `Store.remove`."""
        address = self.build_address(name)
        with _translate_write_errors(address), contextlib.suppress(FileNotFoundError):
            open_client(address).remove(address)

    def build_address(self, name: str) -> str:
        """See `Store.build_address`."""
        return f"{self.address}/{name}"


@contextlib.contextmanager
def _translate_read_errors(address: str, action: str) -> Iterator[None]:
    try:
        yield
    except (JobFault, FileNotFoundError):
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        code, why = classify_error(error)
        message = f"{redact(address)} cannot be {action}: {why}."
        # A store that is not responding is not an output folder that cannot be read.
        raise (OutputError if code in TRANSIENT_CODES else InputError)(message) from None


@contextlib.contextmanager
def _translate_write_errors(address: str) -> Iterator[None]:
    try:
        yield
    except JobFault:
        raise
    except NotImplementedError:
        raise build_write_error(address, f"{parse_scheme(address)}:// can only be read") from None
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        code, why = classify_error(error)
        why = "there is no such bucket" if code == "not_found" else getattr(error, "strerror", None) or why
        raise build_write_error(redact(address), why) from None
