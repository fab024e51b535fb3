"""Reads a file of weights, and writes a contract file."""

import os
from pathlib import Path

from mogface_batch.errors import ModelError, OutputError
from mogface_batch.local_files import write_file

_MAX_WEIGHTS_BYTES = 2**31
"""Protobuf's own limit: no ONNX file is larger."""


def read_weights_file(path: Path) -> tuple[bytes, str]:
    """Return the bytes of a weight file, and its name without its folder for the model card.

    Raises:
        ModelError: The file is missing, is not a file, is too large, or cannot be read.
    """
    try:
        if not path.is_file():
            raise ModelError(f"The weights {path} are {'not a file' if path.exists() else 'not there'}.")
        if (size_bytes := path.stat().st_size) > _MAX_WEIGHTS_BYTES:
            raise ModelError(f"The weights {path} are {size_bytes} bytes long, which no ONNX file is.")
        weights = path.read_bytes()
    except OSError as error:
        raise ModelError(f"The weights {path} cannot be read: {error.strerror}.") from None
    # A file name may contain bytes that are not text; a card may not.
    return weights, os.fsencode(path.name).decode("utf-8", errors="replace")


def check_out(out: Path) -> None:
    """Refuse an output path that is a folder, before any work is done.

    Raises:
        OutputError: The path is a folder.
    """
    if out.is_dir():
        raise OutputError(f"{out} is a folder: name a file in it, such as {out / 'model.onnx'}.")


def write_model(out: Path, encoded: bytes) -> None:
    """Write a contract file and create its folder; a failure leaves the previous file in place.

    Raises:
        OutputError: The file cannot be written.
    """
    check_out(out)
    try:
        write_file(out, encoded)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}.") from None
