"""Keeps the messages of the decoders off the terminal. Imports no decoder."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silence_native_code() -> Iterator[None]:
    """Let only Python write to stderr: libjpeg and libtiff print a line for each damaged image."""
    try:
        terminal = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    python = sys.stderr
    with open(terminal, "w", buffering=1, encoding="utf-8", errors="backslashreplace") as stderr:  # noqa: PTH123 - a descriptor, no path
        sys.stderr = stderr
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            sys.stderr = python
