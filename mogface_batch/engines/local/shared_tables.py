"""Arrow tables that pass between processes as files in shared memory: written once, read without a copy.

A large one is best written over another that nobody needs any more: to get fresh pages from the kernel and to give
them back takes longer than to copy the pixels.
"""

import contextlib
import os
import secrets

import pyarrow as pa

from mogface_batch.errors import OutputError

_SPARE = "spare-"


def save_table(table: pa.Table, folder: str, *, over_spare: bool = False) -> str:
    """Write a table into the folder and return its path.

    Args:
        table: Any.
        folder: Shared by the processes.
        over_spare: Whether to write over a file that `leave_spare` has left there, if there is one.

    Raises:
        OutputError: There is no room for it.
    """
    path = os.path.join(folder, secrets.token_hex(8))  # noqa: PTH118 - hot, and plain text
    try:
        mode = "r+b" if over_spare and _took_spare(folder, path) else "wb"
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


def _took_spare(folder: str, path: str) -> bool:
    """Whether a spare file has got this path; of several processes that want one, each gets another."""
    for name in os.listdir(folder):  # noqa: PTH208 - as above
        if name.startswith(_SPARE):
            with contextlib.suppress(FileNotFoundError):
                os.rename(os.path.join(folder, name), path)  # noqa: PTH104, PTH118
                return True
    return False


def leave_spare(path: str) -> None:
    """Let others write over a table's file; nothing that was loaded from it may be looked at any more."""
    folder, name = os.path.split(path)
    os.rename(path, os.path.join(folder, _SPARE + name))  # noqa: PTH104, PTH118


def load_table(path: str) -> pa.Table:
    """Map a table into memory."""
    return pa.ipc.open_file(pa.memory_map(path)).read_all()
