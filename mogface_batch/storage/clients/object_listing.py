"""Lists the objects below a prefix of a bucket, in the order of their keys, a page at a time."""

import re
from collections.abc import Iterator
from typing import Any

import obstore
from obstore import exceptions

from mogface_batch.errors import InputError
from mogface_batch.storage.addresses import parse_store
from mogface_batch.storage.clients.object_requests import Bucket, locate_object, run_once
from mogface_batch.storage.error_codes import UNUSABLE_KEY
from mogface_batch.storage.retries import retry_read


def list_keys(bucket: Bucket, prefix: str, folder: str) -> Iterator[str]:
    """Yield the keys below a prefix in order, without those that only represent a folder.

    Raises:
        InputError: A key in the folder cannot be requested; ``folder`` is its name in the sentence.
    """
    try:
        for entry in _list_entries(bucket, prefix):
            if entry["size"] or "." in entry["path"]:
                yield entry["path"]
    except exceptions.InvalidPathError as error:
        raise InputError(
            f"{folder} cannot be listed: it contains {_quote_name(error)}, and {UNUSABLE_KEY} cannot be read. Rename it, or "
            "name the images in a manifest file."
        ) from None


def list_etags_below(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the addresses of all files below a folder and their etags, in the order of the keys."""
    bucket, key = locate_object(folder)
    for entry in _list_entries(bucket, key):
        if entry["e_tag"]:
            yield f"{parse_store(folder)}/{entry['path']}", entry["e_tag"].strip('"')


def is_hidden(path: str) -> bool:
    """Return whether a part of a path begins with a dot."""
    return any(part.startswith(".") for part in path.split("/"))


def _list_entries(bucket: Bucket, prefix: str) -> Iterator[Any]:
    """Yield the entries below a prefix, in order; an interrupted listing continues after the last entry."""
    pages: Any = None
    last_path = offset = ""

    def read_next_page() -> Any:  # noqa: ANN401 - obstore has no public name for it
        nonlocal pages, offset
        if pages is None:
            offset = last_path
            pages = obstore.list(bucket, prefix or None, offset=offset or None, chunk_size=1000)
        try:
            return run_once(lambda: _read_page(pages))
        except BaseException:
            pages = None
            raise

    while entries := retry_read(read_next_page):
        # Not every server respects the offset.
        yield from (entry for entry in entries if entry["path"] > offset)
        last_path = entries[-1]["path"]


async def _read_page(pages: Any) -> Any:  # noqa: ANN401 - obstore has no public name for it
    """Return the entries of the next page; none at the end."""
    async for page in pages:
        return page
    return []


def _quote_name(error: Exception) -> str:
    quoted = re.search(r'Path "(.*?)"', str(error), re.DOTALL)
    return f"the name {quoted[1]!r}" if quoted else "a name"
