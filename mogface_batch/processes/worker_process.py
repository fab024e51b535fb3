"""What all worker processes have in common: how they start, which signals they ignore, and when they end."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.process import BaseProcess

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
