"""What the exceptions of all the clients mean, in stable words."""

import errno
import lzma
import zlib

_UNUSABLE_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL}
_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    ((FileNotFoundError, NotADirectoryError), "not_found", "there is no such file"),
    (PermissionError, "forbidden", "access is denied"),
    (IsADirectoryError, "not_a_file", "it is no regular file"),
    (TimeoutError, "timeout", "it took longer than limits.fetch_timeout_s"),
    ((zlib.error, lzma.LZMAError, EOFError), "damaged", "it is no whole compressed file"),
    (ValueError, "not_found", "its name is none that a file can have"),
)


def code_of(error: Exception) -> tuple[str, str]:
    """Return the error code and the reason, in words that hold no credentials and no object addresses."""
    status = getattr(error, "status", None)  # of an HTTP answer
    if isinstance(status, int):
        return _code_of_status(status)
    for kind, code, why in _KINDS:
        if isinstance(error, kind):
            return code, why
    if getattr(error, "errno", None) in _UNUSABLE_NAME:
        return "not_found", "its name is none that a file can have"
    if getattr(error, "errno", None) == errno.ENXIO:  # a socket, or a device that is not there
        return "not_a_file", "it is no regular file"
    return "unavailable", getattr(error, "strerror", None) or type(error).__name__


def _code_of_status(status: int) -> tuple[str, str]:
    if status in {404, 410}:
        return "not_found", "there is no such file"
    if status in {401, 403}:
        return "forbidden", "access is denied"
    passes = status >= 500 or status in {408, 425, 429}
    return ("unavailable" if passes else "refused"), f"the server answered {status}"
