"""Stable error codes for the exceptions of all clients."""

import errno
import lzma
import re
import zlib

from mogface_batch.errors import ErrorCode

TRANSIENT_CODES = frozenset(code for code in ErrorCode if code.is_transient)
"""What may pass by itself."""


class DamagedOnTheWay(Exception):
    """The bytes received are not those in the store."""


UNUSABLE_KEY = "a name with an empty part, a part '.' or '..', or a control character"


class UnusableKey(ValueError):
    """A key that cannot be requested from an object store."""


_UNUSABLE_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
_NO_FILE, _DENIED = "there is no such file", "access is denied"
_NO_NAME = "no file can have this name"
_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], ErrorCode, str], ...] = (
    ((FileNotFoundError, NotADirectoryError), ErrorCode.NOT_FOUND, _NO_FILE),
    (PermissionError, ErrorCode.FORBIDDEN, _DENIED),
    (FileExistsError, ErrorCode.EXISTS, "it already exists"),
    (IsADirectoryError, ErrorCode.NOT_A_FILE, "it is not a regular file"),
    (TimeoutError, ErrorCode.TIMEOUT, "it took longer than limits.fetch_timeout_s"),
    (
        DamagedOnTheWay,
        ErrorCode.CORRUPT,
        "the bytes received do not match the store's checksum",
    ),
    ((zlib.error, lzma.LZMAError, EOFError), ErrorCode.DAMAGED, "it is not a complete compressed file"),
    (UnusableKey, ErrorCode.UNSUPPORTED, f"{UNUSABLE_KEY} cannot be read"),
    (ValueError, ErrorCode.NOT_FOUND, _NO_NAME),
)
_OBSTORE_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_OBSTORE = tuple(
    (re.compile(pattern), code, why)
    for pattern, code, why in (
        ("^NotFoundError", ErrorCode.NOT_FOUND, _NO_FILE),
        ("ExpiredToken|TokenRefreshRequired", ErrorCode.FORBIDDEN, "the credentials have expired"),
        ("RequestTimeTooSkewed", ErrorCode.FORBIDDEN, "this machine's clock is wrong"),
        ("^(PermissionDenied|Unauthenticated)Error", ErrorCode.FORBIDDEN, _DENIED),
        # Amazon's error while another process is writing the object.
        ("ConditionalRequestConflict", ErrorCode.UNAVAILABLE, "another process is writing it"),
        ("kind: Timeout", ErrorCode.TIMEOUT, "it took longer than limits.fetch_timeout_s"),
        ("redirect without LOCATION", ErrorCode.REFUSED, "the bucket is in another region: set AWS_REGION"),
        ("^InvalidPathError", ErrorCode.UNSUPPORTED, f"{UNUSABLE_KEY} cannot be read"),
    )
)


def classify_error(error: Exception) -> tuple[ErrorCode, str]:
    """Return the error code of an exception, and the reason in words without credentials or object addresses."""
    if type(error).__module__.startswith("obstore"):
        return _classify_obstore_error(error)
    status = getattr(error, "status", None) or getattr(error, "code", None)  # of an HTTP response
    status = getattr(getattr(error, "response", None), "status_code", status)  # of the Hugging Face hub
    if isinstance(status, int):
        return _classify_status(status)
    for kind, code, why in _KINDS:
        if isinstance(error, kind):
            return code, why
    if getattr(error, "errno", None) in _UNUSABLE_NAME:
        return ErrorCode.NOT_FOUND, _NO_NAME
    if getattr(error, "errno", None) == errno.ENXIO:  # a socket, or a device that does not exist
        return ErrorCode.NOT_A_FILE, "it is not a regular file"
    return ErrorCode.UNAVAILABLE, getattr(error, "strerror", None) or type(error).__name__


def _classify_obstore_error(error: Exception) -> tuple[ErrorCode, str]:
    # Its exceptions describe the cause only in their text, which contains URLs and is therefore never shown.
    text = f"{type(error).__name__}: {error}"
    for pattern, code, why in _OBSTORE:
        if pattern.search(text):
            return code, why
    status = _OBSTORE_STATUS.search(text)
    return (
        _classify_status(int(status[1])) if status else (ErrorCode.UNAVAILABLE, "the store cannot be reached")
    )


def _classify_status(status: int) -> tuple[ErrorCode, str]:
    if status in {404, 410}:
        return ErrorCode.NOT_FOUND, _NO_FILE
    if status in {401, 403}:
        return ErrorCode.FORBIDDEN, _DENIED
    is_transient = status >= 500 or status in {408, 425, 429}
    return (ErrorCode.UNAVAILABLE if is_transient else ErrorCode.REFUSED), f"the server answered {status}"
