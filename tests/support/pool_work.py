"""Work for tests of the pool, in a module of its own: another process must be able to import it."""

import os
import signal
import time
from pathlib import Path


def doubled(number: int) -> int:
    return 2 * number


def fragile(number: int) -> int:
    """Double a number; 13 kills the process as a decoder does."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGSEGV)
    return 2 * number


def twice_unlucky(path: str) -> str:
    """Die the first two times."""
    with Path(path).open("a") as file:
        file.write("x")
    if len(Path(path).read_text()) <= 2:
        os.abort()
    return "done"


def hanging(number: int) -> int:
    if number == 13:
        time.sleep(1000)
    return 2 * number


def refusing(number: int) -> int:
    raise ValueError(f"no {number}")


def deadly(number: int) -> int:
    os.abort()


def slow(number: int) -> int:
    time.sleep(1000)
    return number
