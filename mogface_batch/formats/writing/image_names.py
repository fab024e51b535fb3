"""Names of images in a data set: their paths below the folder that all images share.

Names that become files are valid on every disk and unique, whatever the manifest says.
"""

import hashlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import unquote

from mogface_batch.output.picture_names import fold_name, mark_name, name_picture
from mogface_batch.storage import is_url, parse_scheme, strip_query
from mogface_batch.temporary_database import open_temporary_database

_LARGEST_ID = (1 << 53) - 1
"""The largest integer that JavaScript, and so most label tools, holds exactly."""
_REPLACED_SEGMENTS = {".": "_", "..": "__"}


def split_address(uri: str) -> list[str]:
    """Return scheme, authority, folders and name of a URI, or folders and name of a path; ``..`` is replaced."""
    text = unquote(strip_query(uri)) if is_url(uri) else uri
    scheme, colon, path = text.partition("://")
    if colon and scheme.lower() == parse_scheme(uri):
        text = path if parse_scheme(uri) == "file" else f"{parse_scheme(uri)}/{path}"
    return [_REPLACED_SEGMENTS.get(segment, segment) for segment in text.split("/") if segment]


def find_shared_folder(uris: Iterable[str]) -> list[str] | None:
    """Return the segments of the deepest folder that contains all URIs, or None if there are no URIs."""
    shared: list[str] | None = None
    for uri in uris:
        folder = split_address(uri)[:-1]
        if shared is None:
            shared = folder
        elif folder[: len(shared)] != shared:
            is_shared = (a == b for a, b in zip(shared, folder, strict=False))
            depth = next((depth for depth, is_same in enumerate(is_shared) if not is_same), len(folder))
            shared = shared[:depth]
    return shared


def strip_folder(shared: list[str], uri: str) -> str:
    """Return the image's path below the shared folder, or ``_`` if it has no name."""
    return "/".join(split_address(uri)[len(shared) :]) or "_"


class UniqueNames:
    """Assigns each name and number once. Those assigned are kept in a temporary file, so memory does not grow."""

    def __init__(self) -> None:
        self._database = open_temporary_database(
            "CREATE TABLE taken (kind TEXT, key, PRIMARY KEY (kind, key)) WITHOUT ROWID;", cache_kib=32_768
        )

    def assign_number(self, image_id: str) -> int:
        """Return an unused number from 1 to 2**53 - 1, derived from the image's id alone unless two ids collide."""
        number = int.from_bytes(_hash(image_id)[:8]) % _LARGEST_ID + 1
        while not self._claim("number", number):
            number = number % _LARGEST_ID + 1
        return number

    def assign_stem(self, name: str, image_id: str) -> str:
        """Return an unused relative path without extension for an image's files.

        Where another image has the path, it ends in ``~`` and 8 hex digits of the id's digest.
        """
        bare = name.removesuffix(PurePosixPath(name).suffix)
        bare += "_" if bare.endswith("/") or not bare else ""
        path, _ = name_picture(f"/{bare}.jpg")  # valid on every disk, below a folder for the scheme
        stem = path.partition("/")[2].removesuffix(".jpg")
        digest, attempt = _hash(image_id).hex(), stem
        for offset in range(0, len(digest), 8):
            if self._claim("stem", fold_name(attempt)):
                return attempt
            attempt = mark_name(f"{stem}.", digest[offset : offset + 8]).removesuffix(".")
        raise AssertionError(f"two images have the id {image_id!r}")

    def _claim(self, kind: str, key: str | int) -> bool:
        cursor = self._database.execute("INSERT OR IGNORE INTO taken VALUES (?, ?)", (kind, key))
        return cursor.rowcount == 1

    def close(self) -> None:
        """Remove the temporary file."""
        self._database.close()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
