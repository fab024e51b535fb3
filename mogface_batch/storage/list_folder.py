"""Lists files, folders and globs."""

import glob
import os
import re
from collections.abc import Iterator

import fsspec
import fsspec.utils

from mogface_batch.errors import InputError, JobFault
from mogface_batch.storage.addresses import has_wildcard, is_remote, is_url, redact, strip_query
from mogface_batch.storage.clients.open_client import open_client
from mogface_batch.storage.error_codes import classify_error


def exists(address: str) -> bool:
    """Return whether there is a file or folder at a local address."""
    return os.path.lexists(address)


def is_folder(address: str) -> bool:
    """Return whether there is a folder at an address.

    Raises:
        InputError: The store is not responding.
    """
    if not is_remote(address):
        return os.path.isdir(address)  # noqa: PTH112 - Path raises where a name is too long
    if is_url(address):  # asking would download the page
        return strip_query(address).endswith("/")
    try:
        return open_client(address).is_folder(address)
    except JobFault:
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise InputError(f"{redact(address)} cannot be read: {classify_error(error)[1]}.") from None


def is_glob_pattern(address: str) -> bool:
    """Return whether an address is a glob, and no file or folder has exactly this name.

    Raises:
        InputError: The store is not responding.
    """
    if not has_wildcard(address):
        return False
    if not is_remote(address):
        return not exists(address)
    try:
        return not open_client(address).exists(address)
    except JobFault:
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise InputError(f"{redact(address)} cannot be read: {classify_error(error)[1]}.") from None


def list_files(address: str) -> Iterator[str]:
    """Yield the addresses of all files below a folder, or of those that match a glob, in a fixed order.

    Names that begin with a dot are left out. A folder is listed as a stream.

    Raises:
        InputError: It cannot be listed.
    """
    try:
        if is_glob_pattern(address):
            yield from (
                open_client(address).list_matches(address) if is_remote(address) else _match_local(address)
            )
        elif is_remote(address):
            yield from open_client(address).list_files(address)
        else:
            yield from _walk_local(address, visited=set())
    except JobFault:
        raise
    except Exception as error:  # noqa: BLE001 - each client has its own exceptions
        raise InputError(f"{redact(address)} cannot be listed: {classify_error(error)[1]}.") from None


def _match_local(pattern: str) -> Iterator[str]:
    folder, tail = _split_pattern(pattern)
    if "**" not in tail:
        paths = sorted(glob.iglob("/".join([glob.escape(folder), *tail])))  # noqa: PTH207 - keeps the text
        yield from (path for path in paths if os.path.isfile(path))  # noqa: PTH113 - as above
        return
    # Not by `glob`, which follows a link to a parent folder until the system stops it.
    pattern_re = re.compile(fsspec.utils.glob_translate("/".join(tail)))
    paths = sorted(_walk_local(folder or "/", visited=set()))
    yield from (path for path in paths if pattern_re.match(path[len(folder) + 1 :]) and os.path.isfile(path))  # noqa: PTH113


def _split_pattern(pattern: str) -> tuple[str, list[str]]:
    """Return the deepest existing folder that the pattern begins with, and the other parts of the pattern.

    An existing folder is matched by its exact name, even if that contains wildcards.
    """
    folder, tail = "", pattern.lstrip("/").split("/")
    while len(tail) > 1 and os.path.isdir(f"{folder}/{tail[0]}"):  # noqa: PTH112 - keeps the text
        folder = f"{folder}/{tail.pop(0)}"
    # Two stars match any folders only if they are a whole part.
    return folder, [part if part == "**" else re.sub(r"\*+", "*", part) for part in tail]


def _walk_local(folder: str, visited: set[str]) -> Iterator[str]:
    real_path = os.path.realpath(folder)
    if real_path in visited:  # a link to a parent folder
        return
    visited.add(real_path)
    with os.scandir(folder) as entries:
        visible = sorted(
            (entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name
        )
    for entry in visible:
        if os.path.isdir(entry.path):  # noqa: PTH112 - `entry.is_dir` raises for a link to itself
            yield from _walk_local(entry.path, visited)
        else:
            yield entry.path
