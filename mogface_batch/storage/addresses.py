"""Addresses: absolute places, a local path (``/data/a.jpg``) or a URI (``s3://bucket/a.jpg``)."""

import os
import re

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_GLOB = re.compile(r"[*?\[]")
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+://)[^/?#]*@")
_USER_AND_PASSWORD = re.compile(
    r"^([A-Za-z][A-Za-z0-9+.-]+://)[^/?#:]*:[^/?#]*@"
)  # abfs://container@account has none
_SECRET = re.compile(r"(sig|signature|token|secret|password|passwd|key|credential)[^=&;\s]*=", re.IGNORECASE)


def parse_scheme(text: str) -> str:
    """Return the lower-case scheme of a URI, ``file`` for a plain path."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else "file"


def is_remote(address: str) -> bool:
    """Return whether an address is not a path on this machine."""
    return parse_scheme(address) != "file"


def is_url(address: str) -> bool:
    """Return whether an address is parsed as a URL, in which ``?`` and ``#`` end the path."""
    return parse_scheme(address) in {"http", "https"}


def strip_query(address: str) -> str:
    """Return a URL without its query and fragment; any other address unchanged."""
    return re.split("[?#]", address, maxsplit=1)[0] if is_url(address) else address


def redact(address: str) -> str:
    """Return an address that may be shown to people: without a user's name and password, and without a signature.

    The whole query of a URL is left out, because any part of it may grant access. In another address ``?`` may be part
    of the name, so the text after it is left out only if it looks like a signature.
    """
    if not is_remote(address):
        return address
    shown = (_USER if is_url(address) else _USER_AND_PASSWORD).sub(r"\1...@", address)
    head, mark, query = shown.partition("?")
    return f"{head}?..." if mark and (is_url(address) or _SECRET.search(query)) else shown


def make_absolute(text: str, base: str = ".") -> str:
    """Return the address of a path or URI; a relative path is relative to the folder ``base``."""
    if is_remote(text):
        return text
    path = _SCHEME.sub("", text)
    if is_remote(base) and not path.startswith("/"):
        return f"{base.rstrip('/')}/{path}"
    return os.path.abspath(os.path.join(_SCHEME.sub("", base), path))  # noqa: PTH100, PTH118 - keeps the text


def find_parent(address: str) -> str:
    """Return the folder that contains an address; for a bucket or a host, itself."""
    match = _SCHEME.match(address)
    root = match[0] if match else "/"
    place, slash, _ = strip_query(address)[len(root) :].rstrip("/").rpartition("/")
    return root + place if slash else (strip_query(address).rstrip("/") if match else root)


def parse_store(address: str) -> str:
    """Return the bucket or host of an address, with its scheme: the unit that can be unavailable."""
    match = _SCHEME.match(address)
    if match is None:
        return "/"
    authority = strip_query(address)[match.end() :].partition("/")[0]
    return f"{match[0].lower()}{authority.lower() if is_url(address) else authority}"


def has_wildcard(text: str) -> bool:
    """Return whether a text has wildcards that make it a pattern; in a URL only the star is one."""
    return "*" in strip_query(text) if is_url(text) else _GLOB.search(text) is not None
