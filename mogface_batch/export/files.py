"""Reads a file of weights, and writes a contract file."""

import os
from pathlib import Path

from mogface_batch.errors import ModelError, OutputError
from mogface_batch.local_files import write_file

_MAX_WEIGHTS_BYTES = 2**31
"""No ONNX file is larger: protobuf's own limit."""


def read_weights_file(path: Path) -> tuple[bytes, str]:
    """Return the bytes of a file of weights, and its name without its folder, for the model card.

    Raises:
        ModelError: It is missing, is no file, is too large, or cannot be read.
    """
    try:
        if not path.is_file():
            raise ModelError(f"The weights {path} are {'not a file' if path.exists() else 'not there'}.")
        if (size_bytes := path.stat().st_size) > _MAX_WEIGHTS_BYTES:
            raise ModelError(f"The weights {path} are {size_bytes} bytes long, which no ONNX file is.")
        weights = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The weights {path} cannot be read: {error.strerror}.") from None
    # A file's name may hold bytes that are no text; a card may not.
    return weights, os.fsencode(path.name).decode("utf-8", errors="replace")


def check_out(out: Path) -> None:
    """Refuse an output that is a folder, before any work is done for it.

    Raises:
        OutputError: It is one.
    """
    if out.is_dir():
        raise OutputError(f"{out} is a folder: name a file in it, such as {out / 'model.onnx'}.")


def write_model(out: Path, encoded: bytes) -> None:
    """Write a contract file; its folder is created, and a failure leaves what was there before.

    Raises:
        OutputError: It cannot be written.
    """
    check_out(out)
    try:
        write_file(out, encoded)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}.") from None
