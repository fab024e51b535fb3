"""Arrow tables that pass between processes as files in shared memory: written once, read without a copy."""

import os
import secrets

import pyarrow as pa

from mogface_batch.errors import OutputError


def save_table(table: pa.Table, folder: str) -> str:
    """Write a table into the folder and return its path.

    Raises:
        OutputError: There is no room for it.
    """
    path = os.path.join(folder, secrets.token_hex(8))  # noqa: PTH118 - hot, and plain text
    try:
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OutputError(
            f"{folder}, where tables pass between processes, cannot be written: {reason}. "
            "Make room there, or set fewer decode.workers or a smaller detect.batch_size."
        ) from None
    return path


def load_table(path: str) -> pa.Table:
    """Map a table into memory."""
    return pa.ipc.open_file(pa.memory_map(path)).read_all()


def take_table(path: str) -> pa.Table:
    """Map a table into memory and take its name away: the memory is freed with the last use of the table."""
    table = load_table(path)
    os.unlink(path)  # noqa: PTH108 - as above
    return table
