"""Writes a file so that it is there whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def write_whole(path: Path, encoded: bytes) -> None:
    """Write a file by one rename; its folder is created. A failure leaves what was there before.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
