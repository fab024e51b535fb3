"""The protocol of an output folder, in which every file becomes visible in one step.

`local_store.py` and `remote_store.py` implement it; `open_store.py` chooses.
"""

from typing import Protocol

from mogface_batch.errors import OutputError

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

    def list_names(self, folder: str) -> list[str]:
        """Return the sorted names of the files directly in a folder; none where it does not exist."""

    def read_versioned(self, name: str) -> tuple[bytes, str] | None:
        """Return a file's content and what this version of it is called, None where there is none."""

    def replace_if(self, name: str, content: bytes, version: str) -> bool:
        """Publish a file in place of this version of it; False where another, or none, is there."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def build_address(self, name: str) -> str:
        """Return the address of a file in this store."""


def build_write_error(address: str, why: str) -> OutputError:
    """Return the error for a file that could not be published."""
    return OutputError(f"{address} cannot be written: {why}. Nothing half-written was left.")
