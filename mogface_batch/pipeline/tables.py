"""Arrow tables that pass between processes as files in shared memory: written once, read without a copy."""

import os
import secrets

import pyarrow as pa


def save_table(table: pa.Table, folder: str) -> str:
    """Write a table into the folder and return its path."""
    path = os.path.join(folder, secrets.token_hex(8))  # noqa: PTH118 - hot, and plain text
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return path


def load_table(path: str) -> pa.Table:
    """Map a table into memory and take its name away: the memory is freed with the last use of the table."""
    table = pa.ipc.open_file(pa.memory_map(path)).read_all()
    os.unlink(path)  # noqa: PTH108 - as above
    return table
