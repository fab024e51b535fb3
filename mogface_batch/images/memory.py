"""Limits the memory that decoding one image may allocate, in the process that decodes it.

RLIMIT_AS would also count memory that is only reserved: shared memory that Arrow maps, arenas of the allocators, stacks
of threads. RLIMIT_DATA counts private, writable memory, which is what a decoder allocates. The kernel then refuses an
allocation and the decoder reports it, instead of the kernel ending a process when the machine has no memory left.
"""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator

CAN_BE_LIMITED = sys.platform == "linux"
"""Other kernels have no such limit, or do not enforce it."""
_STATM_AT_MOST_BYTES = 256
_DATA_PAGES = 5


@contextlib.contextmanager
def limit_memory(more_bytes: int | None) -> Iterator[None]:
    """Let this process allocate at most so many more bytes than it has now; None: no limit.

    The limit is shared by all of its threads. A refused allocation raises MemoryError, or the library's own error.
    """
    if more_bytes is None or not CAN_BE_LIMITED:
        yield
        return
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_read_private_bytes() + more_bytes, *(limit for limit in (soft, hard) if limit >= 0)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _read_private_bytes() -> int:
    pages = os.pread(_open_statm(os.getpid()), _STATM_AT_MOST_BYTES, 0).split()[_DATA_PAGES]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _open_statm(pid: int) -> int:
    """Return a file descriptor of this process's memory figures: opening it for each image takes ten times as long."""
    return os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
