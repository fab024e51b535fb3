"""Arrow tables that pass between processes as files in shared memory: written once, read without a copy.

A large table is best written over a file that no process needs any more: taking fresh pages from the kernel and giving
them back takes longer than copying the pixels.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa

from mogface_batch.errors import OutputError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only a new folder in it is used
SHARED_MEMORY_NEEDED_BYTES = 1 << 30
_SPARE = "spare-"


def make_table_folder() -> str:
    """Make a folder for the tables of this process and its workers: in shared memory if it has room, else on disk."""
    parent = None
    with contextlib.suppress(OSError):
        free_bytes = shutil.disk_usage(SHARED_MEMORY).free
        parent = str(SHARED_MEMORY) if free_bytes >= SHARED_MEMORY_NEEDED_BYTES else None
    return tempfile.mkdtemp(prefix=f"mogface-batch-{os.getpid()}-", dir=parent)


def save_table(table: pa.Table, folder: str, *, over_spare: bool = False) -> str:
    """Write a table into the folder and return its path.

    Args:
        table: The table to write.
        folder: A folder that the processes share.
        over_spare: Whether to write over a file that `leave_spare` has left, if there is one.

    Raises:
        OutputError: The folder has no room for the table.
    """
    path = os.path.join(folder, secrets.token_hex(8))  # noqa: PTH118 - a hot path, and plain text
    try:
        mode = "r+b" if over_spare and _take_spare(folder, path) else "wb"
        with open(path, mode) as file:  # noqa: PTH123 - as above
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            file.truncate()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(
            f"{folder}, where tables pass between processes, cannot be written: {reason}. "
            "Make room there, or set fewer cpu_workers or a smaller detect.batch_size."
        ) from None
    return path


def _take_spare(folder: str, path: str) -> bool:
    """Rename a spare file to this path and return True, or return False if there is none.

    Of several processes that take a spare file at once, each gets a different one.
    """
    for name in os.listdir(folder):  # noqa: PTH208 - as above
        if name.startswith(_SPARE):
            with contextlib.suppress(FileNotFoundError):
                os.rename(os.path.join(folder, name), path)  # noqa: PTH104, PTH118
                return True
    return False


def leave_spare(path: str) -> None:
    """Let other processes write over the file of a table; nothing loaded from it may be used any more."""
    folder, name = os.path.split(path)
    os.rename(path, os.path.join(folder, _SPARE + name))  # noqa: PTH104, PTH118


def load_table(path: str) -> pa.Table:
    """Return a table that is mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(path)).read_all()
