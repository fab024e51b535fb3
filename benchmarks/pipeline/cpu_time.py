"""The processor's time of a process and all its descendants, over any span: what else the machine does changes it least.

Looked at from outside every so often, since the children of others cannot be waited for. Only Linux tells.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

EVERY_S = 0.25

Look = tuple[float, Mapping[int, float]]
"""A time, and what each process had used by then, in seconds."""


class CpuTimes:
    """Looks at a process and its descendants from now on; a context manager."""

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
            self._looks.append((time.time(), _used_s(self._pid)))

    def used_s(self, start: float, end: float) -> float | None:
        """Return what was used between two times, None where it cannot be told."""
        return used_s(self._looks, start, end)


def used_s(looks: Sequence[Look], start: float, end: float) -> float | None:
    """Return what all processes used between two times, by the looks nearest to these; None with fewer than two.

    What a process used between the last look at it and its end is not counted.
    """
    within = [look for look in looks if start <= look[0] <= end]
    if len(within) < 2 or not within[0][1]:
        return None
    first, last = within[0][1], {pid: used for _, one in within for pid, used in one.items()}
    used = sum(used - first.get(pid, 0.0) for pid, used in last.items())
    return used * (end - start) / (within[-1][0] - within[0][0])


def _used_s(pid: int) -> dict[int, float]:
    """Return what a process and each of its descendants have used so far; nothing where /proc does not say."""
    used: dict[int, float] = {}
    left = [pid]
    while left:
        one = Path(f"/proc/{left.pop()}")
        try:
            # The name stands in brackets and may hold anything.
            fields = (one / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            children = [task.read_text(encoding="ascii") for task in one.glob("task/*/children")]
        except OSError:  # it has ended meanwhile, or there is no /proc
            continue
        used[int(one.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        left += [int(child) for line in children for child in line.split()]
    return used
