"""A temporary SQLite file for state that is kept for each row, so that memory does not grow with their number."""

import sqlite3


def open_temporary_database(tables: str, *, cache_kib: int) -> sqlite3.Connection:
    """Return a connection to a new temporary database, which is deleted when the connection is closed.

    There is one transaction, which is never committed: nobody reads the file after a crash, so nothing is made durable.

    Args:
        tables: The statements that create its tables.
        cache_kib: Memory for pages, in KiB; beyond that SQLite writes to a file in ``TMPDIR``.
    """
    # For SQLite an empty name means a temporary file.
    database = sqlite3.connect("", isolation_level=None)
    database.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{cache_kib:d}; BEGIN; {tables}"
    )
    return database
