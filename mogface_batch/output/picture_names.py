"""The name of an annotated picture: OUT/annotated/<scheme>/<authority>/<path>, which cannot leave the folder."""

import re
import unicodedata

from mogface_batch.storage import parse_scheme

KEPT_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Names that keep their type; other names get .jpg added."""
MAX_SEGMENT_BYTES = 200
MAX_PATH_BYTES = 900

# Characters that some file system or object store does not allow; `/` has been split off before.
_UNSAFE_CHARACTERS = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_SAFE_NAME = re.compile(r"[0-9A-Za-z_-]([0-9A-Za-z_. -]{0,198}[0-9A-Za-z_-])?")
"""Most names: they need no further check except for reserved words."""
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def name_picture(address: str) -> tuple[str, bool]:
    """Return the path of an address's picture below OUT/annotated, and whether its name had to be changed."""
    scheme = parse_scheme(address)
    path_in_scheme = (
        address[len(scheme) + 3 :] if "://" in address and scheme != "file" else address.lstrip("/")
    )
    raw_segments = [segment for segment in path_in_scheme.split("/") if segment]
    segments = [*map(_clean_folder_name, raw_segments[:-1]), *map(_clean_name, raw_segments[-1:])] or ["_"]
    first = _clean_folder_name(scheme)
    changed = segments != raw_segments or first != scheme
    path = "/".join([first, *segments])
    if len(path.encode()) > MAX_PATH_BYTES:
        path, changed = _cut("/".join([first, segments[0]]) + "/" + segments[-1], MAX_PATH_BYTES), True
    if not path.lower().endswith(KEPT_SUFFIXES):
        path += ".jpg"
    return path, changed


def mark_name(path: str, image_id_digest: str) -> str:
    """Return the name for a picture whose plain name was changed or is in use: with ~<8 hex> before the extension."""
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}~{image_id_digest[:8]}{dot}{suffix}"


def fold_name(path: str) -> str:
    """Return a key that is equal for names that some file system does not tell apart."""
    if path.isascii():
        return path.lower()
    # Compatible forms too, which ZFS can be configured to treat as equal: a full-width letter equals its plain form.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _clean_name(segment: str) -> str:
    if _SAFE_NAME.fullmatch(segment) and not _RESERVED.match(segment):
        return segment
    return _replace_unsafe(segment)


def _replace_unsafe(segment: str) -> str:
    if unicodedata.normalize("NFKC", segment) in {".", ".."}:
        return "_" * len(segment)
    cleaned = "".join("_" if _is_unsafe(letter) else letter for letter in segment)
    cleaned = _cut(cleaned, MAX_SEGMENT_BYTES)
    if cleaned.endswith((" ", ".")):
        cleaned = cleaned.rstrip(" .") + "_"
    return f"_{cleaned}" if _RESERVED.match(cleaned) else cleaned


def _is_unsafe(letter: str) -> bool:
    """Whether a character, or the one that it is a form of (a full-width slash), is special to a file system."""
    plain = letter if letter.isascii() else unicodedata.normalize("NFKC", letter)
    return (
        "/" in plain
        or _UNSAFE_CHARACTERS.search(plain) is not None
        or not (letter.isprintable() or letter == " ")
    )


def _clean_folder_name(segment: str) -> str:
    # A bucket can have both a.jpg and a.jpg/b.jpg; on a disk a name is either a file or a folder.
    safe = _clean_name(segment)
    return f"{safe}_" if safe.lower().endswith(KEPT_SUFFIXES) else safe


def _cut(text: str, max_bytes: int) -> str:
    """Return the text cut to at most ``max_bytes`` bytes of UTF-8, with its extension kept."""
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) <= max_bytes:
        return encoded.decode("utf-8", "replace").replace("\ufffd", "_")
    stem, dot, suffix = text.rpartition(".")
    ending = (dot + suffix).encode("utf-8", "surrogateescape") if stem and len(suffix) <= 5 else b""
    head = encoded[: max_bytes - len(ending)].decode("utf-8", "ignore")
    return head + ending.decode("utf-8", "ignore")
