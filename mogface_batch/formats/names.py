"""What images are called in a data set: by their place below the folder that all of them share.

Names that a writer makes files of are safe on every disk and differ from each other, whatever a manifest says.
"""

import hashlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import unquote

from mogface_batch.output.picture_names import collision_key, marked, picture_name
from mogface_batch.storage import is_url, scheme_of, without_query
from mogface_batch.temporary_database import open_temporary_database

_LARGEST_ID = (1 << 53) - 1
"""What JavaScript, and so most label tools, can count to."""
_CLIMBING = {".": "_", "..": "__"}


def path_segments(uri: str) -> list[str]:
    """Return scheme, authority, folders and name of a URI, or folders and name of a path; none climbs up."""
    text = unquote(without_query(uri)) if is_url(uri) else uri
    scheme, colon, rest = text.partition("://")
    if colon and scheme.lower() == scheme_of(uri):
        text = rest if scheme_of(uri) == "file" else f"{scheme_of(uri)}/{rest}"
    return [_CLIMBING.get(segment, segment) for segment in text.split("/") if segment]


def shared_folder(uris: Iterable[str]) -> list[str] | None:
    """Return the segments of the deepest folder that all of them lie in; None of none."""
    shared: list[str] | None = None
    for uri in uris:
        folder = path_segments(uri)[:-1]
        if shared is None:
            shared = folder
        elif folder[: len(shared)] != shared:
            same = (one == other for one, other in zip(shared, folder, strict=False))
            shared = shared[: next((at for at, is_same in enumerate(same) if not is_same), len(folder))]
    return shared


def name_below(shared: list[str], uri: str) -> str:
    """Return the image's path below the shared folder; an image without a name is called ``_``."""
    return "/".join(path_segments(uri)[len(shared) :]) or "_"


class Registry:
    """Gives out names and numbers once; its memory does not grow, what is taken lies in a temporary file."""

    def __init__(self) -> None:
        self._database = open_temporary_database(
            "CREATE TABLE taken (kind TEXT, key, PRIMARY KEY (kind, key)) WITHOUT ROWID;", cache_kib=32_768
        )

    def number(self, image_id: str) -> int:
        """Return a number from 1 to 2**53 - 1 that follows from the image's id alone, but for a rare clash."""
        number = int.from_bytes(_digest(image_id)[:8]) % _LARGEST_ID + 1
        while not self._claim("number", number):
            number = number % _LARGEST_ID + 1
        return number

    def stem(self, name: str, image_id: str) -> str:
        """Return a relative path without extension for files about an image; marked where another has it."""
        bare = name.removesuffix(PurePosixPath(name).suffix)
        bare += "_" if bare.endswith("/") or not bare else ""
        path, _ = picture_name(f"/{bare}.jpg")  # safe on any disk, below a folder for the scheme
        stem = path.partition("/")[2].removesuffix(".jpg")
        digest, attempt = _digest(image_id).hex(), stem
        for start in range(0, len(digest), 8):
            if self._claim("stem", collision_key(attempt)):
                return attempt
            attempt = marked(f"{stem}.", digest[start : start + 8]).removesuffix(".")
        raise AssertionError(f"two images have the id {image_id!r}")

    def _claim(self, kind: str, key: str | int) -> bool:
        done = self._database.execute("INSERT OR IGNORE INTO taken VALUES (?, ?)", (kind, key))
        return done.rowcount == 1

    def close(self) -> None:
        """Give the temporary file back."""
        self._database.close()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
