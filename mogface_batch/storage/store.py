"""The protocol of an output folder, in which every file becomes visible in one step.

`local_store.py` and `remote_store.py` implement it; `open_store.py` chooses.
"""

from typing import Protocol

from mogface_batch.errors import OutputError

TEMPORARY = "_tmp"


class Store(Protocol):
    """An output folder. Every file in it is complete at every moment: it appears, or is replaced, in one step."""

    @property
    def address(self) -> str:
        """The address of the folder."""

    def create(self, name: str, content: bytes) -> bool:
        """Publish a file unless one with this name exists; return whether it was published."""

    def replace(self, name: str, content: bytes) -> None:
        """Publish a file; replace the one with this name, if there is one."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none."""

    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names of the files directly in a folder; none if it does not exist."""

    def read_versioned(self, name: str) -> tuple[bytes, str] | None:
        """Return the content of a file and the name of its version, None if there is none."""

    def replace_if(self, name: str, content: bytes, version: str) -> bool:
        """Replace this version of a file and return True; return False if the file has another version or is missing."""

    def remove(self, name: str) -> None:
        """Remove a file, if it exists."""

    def build_address(self, name: str) -> str:
        """Return the address of a file in this store."""


def build_write_error(address: str, why: str) -> OutputError:
    """Return the error for a file that could not be published."""
    return OutputError(f"{address} cannot be written: {why}. Nothing half-written was left.")
