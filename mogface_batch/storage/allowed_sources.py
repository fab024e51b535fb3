"""Which addresses a job may read: a remote manifest is not trusted with this machine's network and disk."""

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from mogface_batch.errors import ErrorCode, FetchFault
from mogface_batch.storage.addresses import (
    is_remote,
    is_url,
    make_absolute,
    parse_scheme,
    parse_store,
    redact,
)
from mogface_batch.storage.clients.schemes import EXTRAS


@dataclass(frozen=True, slots=True)
class AllowedSources:
    """The addresses that may be read; without arguments all, as for a person who writes a manifest on this machine."""

    allow: tuple[str, ...] | None = None
    """`sources.allow`: prefixes of addresses, each up to a slash."""
    is_foreign: bool = False
    """Whether the manifest is remote."""
    named: tuple[str, ...] = ()
    """The addresses that the config itself names: the manifest's and `manifest.base_uri`."""

    @classmethod
    def of(cls, allow: tuple[str, ...] | None, manifest: str, base: str | None) -> "AllowedSources":
        """Return the addresses that a job with this manifest may read.

        Args:
            allow: `sources.allow`.
            manifest: `manifest.uri`.
            base: `manifest.base_uri`.
        """
        manifest = make_absolute(manifest)
        prefixes = None if allow is None else tuple(_normalize_prefix(text) for text in allow)
        named = (manifest,) if base is None else (manifest, make_absolute(base))
        return cls(prefixes, is_remote(manifest), named)

    def check(self, address: str) -> None:
        """Check that an address may be read.

        Raises:
            FetchFault: It may not (``not_allowed``).
        """
        if self._is_allowed(address):
            return
        why = (
            "sources.allow does not name it"
            if self.allow is not None
            else "a remote manifest may not name it unless sources.allow does"
        )
        raise FetchFault(ErrorCode.NOT_ALLOWED, f"{redact(address)} was not read: {why}.")

    def _is_allowed(self, address: str) -> bool:
        if self.allow is not None:
            return any(_is_within(address, prefix) for prefix in self.allow)
        if not self.is_foreign or parse_scheme(address) in EXTRAS:
            return True
        return any(_is_within(address, folder) for folder in self.named)

    def must_be_public(self, url: str) -> bool:
        """Return whether a URL's host must be on the public Internet: not on loopback or a private network."""
        if self.allow is not None:
            return not any(
                parse_store(prefix) == parse_store(url) for prefix in self.allow if not prefix.endswith("://")
            )
        return self.is_foreign and parse_store(url) not in map(parse_store, self.named)


ALL_SOURCES = AllowedSources()
"""All addresses, for a person whose manifest is on this machine."""


def _normalize_prefix(text: str) -> str:
    return text if text.endswith("://") and text != "file://" else make_absolute(text).rstrip("/") or "/"


def _is_within(address: str, prefix: str) -> bool:
    if prefix.endswith("://"):  # a whole scheme
        return parse_scheme(address) == parse_scheme(prefix)
    if parse_scheme(address) != parse_scheme(prefix) or _has_parent_part(address):
        return False
    if not is_remote(address):  # a link cannot lead out of a folder either
        address, prefix = os.path.realpath(address), os.path.realpath(prefix)
        return address == prefix or address.startswith(prefix.rstrip("/") + "/")
    if parse_store(address) != parse_store(prefix):
        return False
    path, folder = _strip_store(address), _strip_store(prefix)
    return not folder or path == folder or path.startswith((folder + "/", folder + "?"))


def _strip_store(address: str) -> str:
    return address[len(parse_store(address)) :]


def _has_parent_part(address: str) -> bool:
    parts = address.split("/")
    return any(unquote(part) in {".", ".."} for part in parts) if is_url(address) else ".." in parts


PRIVATE = "its host is on this machine or a private network"


def open_public_socket(address_info: Any) -> socket.socket:  # noqa: ANN401 - a tuple of `socket.getaddrinfo`
    """Return a socket for an address that a host's name resolved to, if that address is public.

    The check is made for the very address that is connected to, so that a name cannot mean one host when it is checked
    and another one when it is used.

    Raises:
        PermissionError: It is not public; `PRIVATE` is in the text, also of the exception that aiohttp raises for it.
    """
    family, kind, protocol, _, socket_address = address_info
    if not is_public(socket_address[0]):
        raise PermissionError(errno.EACCES, PRIVATE)
    return socket.socket(family, kind, protocol)


def is_public(ip: str) -> bool:
    """Return whether an IP address, in digits, can be reached from everywhere, so that no firewall protects it."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64
        inner = ipaddress.ip_address(int(address) & 0xFFFFFFFF)
    return (address if inner is None else inner).is_global and not address.is_multicast
