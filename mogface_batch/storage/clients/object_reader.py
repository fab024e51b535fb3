"""An object as a file that is read by ranges."""

import io
from typing import Any

import obstore

from mogface_batch.storage.clients.object_requests import Bucket, run_persistently


class ObjectReader(io.RawIOBase):
    """A file that is read by ranges; see `io.RawIOBase` for its methods."""

    def __init__(self, bucket: Bucket, key: str, size_bytes: int) -> None:
        super().__init__()
        self._bucket, self._key, self._size_bytes, self._position = bucket, key, size_bytes, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - anything that can be written to
        """Read the next bytes into a buffer and return their number; 0 at the end."""
        start = self._position
        end = min(start + len(buffer), self._size_bytes)
        if start >= end:
            return 0
        content = run_persistently(
            lambda: obstore.get_range_async(self._bucket, self._key, start=start, end=end),
            size_bytes=end - start,
        )
        buffer[: len(content)] = bytes(content)
        self._position += len(content)
        return len(content)
