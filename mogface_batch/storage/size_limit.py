"""The limit on the size of a file."""

from mogface_batch.errors import ErrorCode, TooLargeFault
from mogface_batch.storage.addresses import redact


def check_size(address: str, size_bytes: int, max_bytes: int) -> None:
    """Check that a file is not too large.

    Raises:
        TooLargeFault: It is.
    """
    if size_bytes > max_bytes:
        raise TooLargeFault(
            ErrorCode.TOO_MANY_BYTES,
            f"{redact(address)} has more bytes than limits.bytes={max_bytes} allows.",
        )
