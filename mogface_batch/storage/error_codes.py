"""What the exceptions of all the clients mean, in stable words."""

import errno
import lzma
import re
import zlib

from mogface_batch.errors import ErrorCode

TRANSIENT_CODES = frozenset(code for code in ErrorCode if code.is_transient)
"""What may pass by itself."""


class DamagedOnTheWay(Exception):
    """Bytes came that are not those that the store holds."""


UNUSABLE_KEY = "a name with an empty part, a part '.' or '..', or a control character"


class UnusableKey(ValueError):
    """An object store's key that cannot be asked for."""


_UNUSABLE_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
_NO_FILE, _DENIED = "there is no such file", "access is denied"
_NO_NAME = "its name is none that a file can have"
_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], ErrorCode, str], ...] = (
    ((FileNotFoundError, NotADirectoryError), ErrorCode.NOT_FOUND, _NO_FILE),
    (PermissionError, ErrorCode.FORBIDDEN, _DENIED),
    (FileExistsError, ErrorCode.EXISTS, "there is one already"),
    (IsADirectoryError, ErrorCode.NOT_A_FILE, "it is no regular file"),
    (TimeoutError, ErrorCode.TIMEOUT, "it took longer than limits.fetch_timeout_s"),
    (
        DamagedOnTheWay,
        ErrorCode.CORRUPT,
        "the bytes that came are not those that the store's checksum speaks of",
    ),
    ((zlib.error, lzma.LZMAError, EOFError), ErrorCode.DAMAGED, "it is no whole compressed file"),
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
        # Amazon's word for: somebody else is writing it just now.
        ("ConditionalRequestConflict", ErrorCode.UNAVAILABLE, "another process is writing it"),
        ("kind: Timeout", ErrorCode.TIMEOUT, "it took longer than limits.fetch_timeout_s"),
        ("redirect without LOCATION", ErrorCode.REFUSED, "the bucket lies in another region: set AWS_REGION"),
        ("^InvalidPathError", ErrorCode.UNSUPPORTED, f"{UNUSABLE_KEY} cannot be read"),
    )
)


def classify_error(error: Exception) -> tuple[ErrorCode, str]:
    """Return the error code and the reason, in words that hold no credentials and no object addresses."""
    if type(error).__module__.startswith("obstore"):
        return _code_of_obstore(error)
    status = getattr(error, "status", None) or getattr(error, "code", None)  # of an HTTP answer
    status = getattr(getattr(error, "response", None), "status_code", status)  # of the Hugging Face hub
    if isinstance(status, int):
        return _code_of_status(status)
    for kind, code, why in _KINDS:
        if isinstance(error, kind):
            return code, why
    if getattr(error, "errno", None) in _UNUSABLE_NAME:
        return ErrorCode.NOT_FOUND, _NO_NAME
    if getattr(error, "errno", None) == errno.ENXIO:  # a socket, or a device that is not there
        return ErrorCode.NOT_A_FILE, "it is no regular file"
    return ErrorCode.UNAVAILABLE, getattr(error, "strerror", None) or type(error).__name__


def _code_of_obstore(error: Exception) -> tuple[ErrorCode, str]:
    # Its exceptions tell what happened only in their text, which holds URLs: nothing of it is shown.
    text = f"{type(error).__name__}: {error}"
    for pattern, code, why in _OBSTORE:
        if pattern.search(text):
            return code, why
    status = _OBSTORE_STATUS.search(text)
    return (
        _code_of_status(int(status[1])) if status else (ErrorCode.UNAVAILABLE, "the store cannot be reached")
    )


def _code_of_status(status: int) -> tuple[ErrorCode, str]:
    if status in {404, 410}:
        return ErrorCode.NOT_FOUND, _NO_FILE
    if status in {401, 403}:
        return ErrorCode.FORBIDDEN, _DENIED
    passes = status >= 500 or status in {408, 425, 429}
    return (ErrorCode.UNAVAILABLE if passes else ErrorCode.REFUSED), f"the server answered {status}"
