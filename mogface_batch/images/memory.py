"""A limit on what decoding one image may allocate, in the process that decodes it.

RLIMIT_AS would count what is only reserved: shared memory that Arrow maps, arenas of the allocators, stacks of
threads. RLIMIT_DATA counts what is private and writable, which is what a decoder takes; the kernel then refuses
an allocation, and the decoder says so, instead of the machine looking for a process to end.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator

CAN_BE_LIMITED = sys.platform == "linux"
"""Elsewhere the kernel has no such limit, or does not keep to it."""
_STATM_AT_MOST_BYTES = 256
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
    pages = os.pread(_statm(os.getpid()), _STATM_AT_MOST_BYTES, 0).split()[_DATA_PAGES]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _statm(pid: int) -> int:
    """Return a descriptor of this process's figures: to open it anew for each image takes ten times as long."""
    return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
