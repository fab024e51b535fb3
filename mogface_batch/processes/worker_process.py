"""What all worker processes have in common: how they start, which signals they ignore, and when they end."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from multiprocessing.process import BaseProcess
from types import ModuleType

SPAWN = multiprocessing.get_context("spawn")
"""Spawned, not forked: a fork would copy the locks of the parent's threads, and CUDA cannot be forked at all."""


def initialize_worker(clean_up: Callable[[], None] | None = None) -> threading.Thread:
    """Prepare this process for work: ignore SIGINT and SIGTERM, and end when the parent ends.

    Args:
        clean_up: Called after the death of the parent, before this process ends.

    Returns:
        The thread that waits for the parent; it ends the process and never returns.
    """
    # Ctrl-C reaches the whole process group, systemd's SIGTERM too: the parent decides when a worker ends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    thread = threading.Thread(target=_end_with_parent, args=(clean_up,), daemon=True)
    thread.start()
    return thread


def _end_with_parent(clean_up: Callable[[], None] | None) -> None:
    """End this process when the parent dies, even while native code runs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        if clean_up is not None:
            clean_up()
        os._exit(1)


def kill_processes(processes: list[BaseProcess]) -> None:
    """Kill the processes and wait until they are gone."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


# -- pandas ----------------------------------------------------------------------------------------------------

_PANDAS = "pandas"


class _PandasHider(MetaPathFinder):
    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> None:
        if fullname == _PANDAS:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def keep_pandas_out() -> None:
    """Hide pandas from pyarrow when it looks for it first: when it makes the first array from Python values.

    Importing pandas takes 0.4 s in each process, and nothing here needs it. Call it only in processes of this package. `pyarrow.Table.to_pandas` looks again, and works.
    """
    if _PANDAS in sys.modules:
        return
    import pyarrow as pa  # noqa: PLC0415 - other worker processes do not use it

    hider = _PandasHider()
    sys.meta_path.insert(0, hider)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(hider)
