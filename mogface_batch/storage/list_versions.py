"""Lists the etags of files without reading them; they are the etags that `fetch` returns."""

import os
from collections.abc import Iterator

from mogface_batch.errors import InputError, JobFault
from mogface_batch.storage.addresses import find_parent, parse_scheme, redact
from mogface_batch.storage.clients.filesystems import locate
from mogface_batch.storage.clients.open_client import OBJECT_SCHEMES
from mogface_batch.storage.clients.schemes import is_registered_by_user
from mogface_batch.storage.error_codes import classify_error
from mogface_batch.storage.list_folder import is_glob_pattern


def describe_version(facts: os.stat_result) -> str:
    """Return the etag of a file on disk: its size and time of change."""
    return f"{facts.st_size:x}-{facts.st_mtime_ns:x}"


def read_local_etag(path: str) -> str | None:
    """Return the etag of a file on this machine; None if the file does not exist or cannot be accessed."""
    try:
        return describe_version(os.stat(path))  # noqa: PTH116 - any text, also one that is not a path
    except (OSError, ValueError):
        return None


def list_etags(address: str) -> Iterator[tuple[str, str]]:
    """Yield address and etag of at least all files below a remote folder, or of those that match a glob.

    Raises:
        InputError: It cannot be listed.
    """
    folder = address
    while is_glob_pattern(folder):
        folder = find_parent(folder)
    try:
        if parse_scheme(folder) in OBJECT_SCHEMES and not is_registered_by_user(parse_scheme(folder)):
            from mogface_batch.storage.clients.object_listing import list_etags_below  # noqa: PLC0415 - obstore comes with an extra

            yield from list_etags_below(folder)
        else:
            yield from _list_by_fsspec(folder)
    except JobFault:
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise InputError(f"{redact(address)} cannot be listed: {classify_error(error)[1]}.") from None


def _list_by_fsspec(folder: str) -> Iterator[tuple[str, str]]:
    filesystem, path = locate(folder)
    for place, _, files in filesystem.walk(path, detail=True, on_error="raise"):
        for name, info in files.items():
            etag = info.get("ETag") or info.get("etag")
            if name and etag:
                yield filesystem.unstrip_protocol(f"{place.rstrip('/')}/{name}"), str(etag).strip('"')
