"""Python imports this at the start of every process that has this folder in PYTHONPATH; see `row_files.py`.

Writes the name of each file of the package in which a function was called, once a process, as soon as it is called: a
worker that is killed has then written what it has. Code of modules and of class bodies does not count: an import is
not yet a call.
"""

import inspect
import os
import sys
import threading
from pathlib import Path
from types import FrameType

_PACKAGE = os.environ["TRACED_PACKAGE"] + os.sep
_FOLDER = Path(os.environ["TRACE_FOLDER"])


class _Tracer:
    """A profile function; a process that forked writes to a file of its own."""

    def __init__(self) -> None:
        self._written: set[tuple[int, str]] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        key = (os.getpid(), code.co_filename)
        if event != "call" or key in self._written or not code.co_filename.startswith(_PACKAGE):
            return
        if not code.co_flags & inspect.CO_OPTIMIZED or _runs_at_import(frame):
            return
        self._written.add(key)
        with (_FOLDER / f"{key[0]}.txt").open("a", encoding="utf-8") as file:
            file.write(f"{code.co_filename.removeprefix(_PACKAGE)}\n")


def _runs_at_import(frame: FrameType | None) -> bool:
    """Return whether this call is made by the import of a module of the package."""
    while frame is not None:
        code = frame.f_code
        is_import = code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__"
        if is_import and code.co_filename.startswith(_PACKAGE):
            return True
        frame = frame.f_back
    return False


_tracer = _Tracer()
threading.setprofile(_tracer)
sys.setprofile(_tracer)
