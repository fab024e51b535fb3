"""Writes a file on this disk so that it is there whole or not at all. Imports the standard library only.

Not in `storage`, because `benchmark gpu` writes its files where the packages of `storage` are not installed.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a file by one rename; its folder is created. A failure leaves what was there before.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_temporary(path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp"), content) as temporary:
        temporary.replace(path)


@contextlib.contextmanager
def write_temporary(path: Path, content: bytes) -> Iterator[Path]:
    """Write a new file and flush it to the disk; remove it on exit, unless it was renamed meanwhile.

    Raises:
        OSError: It cannot be written, or there is already a file with this name.
    """
    file = path.open("xb")
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
