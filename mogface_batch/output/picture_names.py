"""The name of an annotated picture: OUT/annotated/<scheme>/<authority>/<path>, which cannot leave the folder."""

import re
import unicodedata

from mogface_batch.storage import parse_scheme

KEPT_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""What keeps its type; another name gets .jpg added."""
MAX_SEGMENT_BYTES = 200
MAX_PATH_BYTES = 900

# What no file system or object store has trouble with; the separators are taken out before.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_PLAIN = re.compile(r"[0-9A-Za-z_-]([0-9A-Za-z_. -]{0,198}[0-9A-Za-z_-])?")
"""Most names: nothing in them needs a look, unless they are reserved."""
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def name_picture(address: str) -> tuple[str, bool]:
    """Return the path of an address's picture below OUT/annotated, and whether its name had to be changed."""
    scheme = parse_scheme(address)
    rest = address[len(scheme) + 3 :] if "://" in address and scheme != "file" else address.lstrip("/")
    wanted = [segment for segment in rest.split("/") if segment]
    segments = [*map(_safe_folder, wanted[:-1]), *map(_safe, wanted[-1:])] or ["_"]
    first = _safe_folder(scheme)
    changed = segments != wanted or first != scheme
    path = "/".join([first, *segments])
    if len(path.encode()) > MAX_PATH_BYTES:
        path, changed = _cut("/".join([first, segments[0]]) + "/" + segments[-1], MAX_PATH_BYTES), True
    if not path.lower().endswith(KEPT_SUFFIXES):
        path += ".jpg"
    return path, changed


def mark_name(path: str, image_id_digest: str) -> str:
    """Return the name of a picture whose own name was changed or taken: with ~<8 hex> before the extension."""
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}~{image_id_digest[:8]}{dot}{suffix}"


def fold_name(path: str) -> str:
    """Return what two names share that some file system would take for one."""
    if path.isascii():
        return path.lower()
    # Compatible forms too (ZFS can be told so): a full-width letter is its plain one.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())


def _safe(segment: str) -> str:
    if _PLAIN.fullmatch(segment) and not _RESERVED.match(segment):
        return segment
    return _cleaned(segment)


def _cleaned(segment: str) -> str:
    if unicodedata.normalize("NFKC", segment) in {".", ".."}:
        return "_" * len(segment)
    cleaned = "".join("_" if _is_unsafe(letter) else letter for letter in segment)
    cleaned = _cut(cleaned, MAX_SEGMENT_BYTES)
    if cleaned.endswith((" ", ".")):
        cleaned = cleaned.rstrip(" .") + "_"
    return f"_{cleaned}" if _RESERVED.match(cleaned) else cleaned


def _is_unsafe(letter: str) -> bool:
    """Whether a letter, or what it is a form of (a full-width slash), means something to a file system."""
    plain = letter if letter.isascii() else unicodedata.normalize("NFKC", letter)
    return "/" in plain or _UNSAFE.search(plain) is not None or not (letter.isprintable() or letter == " ")


def _safe_folder(segment: str) -> str:
    # In a bucket, a.jpg and a.jpg/b.jpg can both be there; on a disk, a name is a file or a folder.
    safe = _safe(segment)
    return f"{safe}_" if safe.lower().endswith(KEPT_SUFFIXES) else safe


def _cut(text: str, max_bytes: int) -> str:
    """Return the text cut to so many bytes of UTF-8, with its extension kept."""
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) <= max_bytes:
        return encoded.decode("utf-8", "replace").replace("\ufffd", "_")
    stem, dot, suffix = text.rpartition(".")
    ending = (dot + suffix).encode("utf-8", "surrogateescape") if stem and len(suffix) <= 5 else b""
    head = encoded[: max_bytes - len(ending)].decode("utf-8", "ignore")
    return head + ending.decode("utf-8", "ignore")
