"""The CPU time of a process and all its descendants, over any span; other load on the machine changes it least.

Sampled from outside, since the children of another process cannot be waited for. Linux only.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

EVERY_S = 0.25

Look = tuple[float, Mapping[int, float]]
"""A time, and the CPU time of each process until then, in seconds."""


class CpuTimes:
    """Samples the CPU time of a process and its descendants; a context manager."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._looks: list[Look] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._looks.append((time.time(), _read_used_s(self._pid)))

    def count_used_s(self, start: float, end: float) -> float | None:
        """Return the CPU time between two times, in seconds; None where it is not known."""
        return count_used_s(self._looks, start, end)


def count_used_s(looks: Sequence[Look], start: float, end: float) -> float | None:
    """Return the CPU time of all processes between two times, by the samples nearest to these; None with fewer than two.

    What a process used between the last look at it and its end is not counted.
    """
    within = [look for look in looks if start <= look[0] <= end]
    if len(within) < 2 or not within[0][1]:
        return None
    first, last = within[0][1], {pid: used for _, used_by_pid in within for pid, used in used_by_pid.items()}
    used = sum(used - first.get(pid, 0.0) for pid, used in last.items())
    return used * (end - start) / (within[-1][0] - within[0][0])


def _read_used_s(pid: int) -> dict[int, float]:
    """Return the CPU time of a process and of each descendant so far, in seconds; empty where there is no /proc."""
    used: dict[int, float] = {}
    queue = [pid]
    while queue:
        folder = Path(f"/proc/{queue.pop()}")
        try:
            # The process's name is in brackets and may contain anything.
            fields = (
                (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            )
            children = [task.read_text(encoding="ascii") for task in folder.glob("task/*/children")]
        except OSError:  # the process has ended, or there is no /proc
            continue
        used[int(folder.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        queue += [int(child) for line in children for child in line.split()]
    return used
