"""A limit on what decoding one image may allocate, in the process that decodes it.

RLIMIT_AS would count what is only reserved: shared memory that Arrow maps, arenas of the allocators, stacks of
threads. RLIMIT_DATA counts what is private and writable, which is what a decoder takes; the kernel then refuses
an allocation, and the decoder says so, instead of the machine looking for a process to end.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CAN_BE_LIMITED = sys.platform == "linux"
"""Elsewhere the kernel has no such limit, or does not keep to it."""
_STATM = Path("/proc/self/statm")
_DATA_PAGES = 5


@contextlib.contextmanager
def at_most_more(more_bytes: int | None) -> Iterator[None]:
    """Let this process take so many bytes more than it has now; None: as many as there are.

    All of its threads share them. What is refused raises MemoryError, or what a library makes of it.
    """
    if more_bytes is None or not CAN_BE_LIMITED:
        yield
        return
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_private_bytes() + more_bytes, *(limit for limit in (soft, hard) if limit >= 0)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _private_bytes() -> int:
    return int(_STATM.read_text(encoding="ascii").split()[_DATA_PAGES]) * os.sysconf("SC_PAGE_SIZE")
