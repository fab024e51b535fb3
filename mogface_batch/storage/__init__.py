"""Reads and lists files at local paths and URIs, and publishes output files. The only home of fsspec and obstore.

    read     `fetch_file.py` (an image, within limits), `read_file.py` (a whole file), `list_folder.py`, `list_versions.py`
    publish  `open_store.py` -> `local_store.py` or `remote_store.py`, both a `store.Store`
    below    `clients/`: one protocol for all remote stores

An *address* is an absolute path (``/data/a.jpg``) or a URI (``s3://bucket/a.jpg``). Only http(s) is parsed as a URL;
in all others ``%``, ``#`` and ``?`` are part of the name.

This package knows nothing of images, manifests or tables. Read `store.py` first, then `clients/open_client.py`.
"""

from mogface_batch.storage.addresses import (
    find_parent,
    has_wildcard,
    is_remote,
    is_url,
    make_absolute,
    parse_scheme,
    parse_store,
    redact,
    strip_query,
)
from mogface_batch.storage.allowed_sources import ALL_SOURCES, AllowedSources
from mogface_batch.storage.error_codes import TRANSIENT_CODES
from mogface_batch.storage.fetch_file import Fetched, fetch, fetch_start, is_responding
from mogface_batch.storage.list_folder import exists, is_folder, is_glob_pattern, list_files
from mogface_batch.storage.list_versions import list_etags, read_local_etag
from mogface_batch.storage.local_store import LocalStore
from mogface_batch.storage.model_cache import CACHE_VARIABLE, cache_model, find_cache_folder
from mogface_batch.storage.open_store import check_create_if_absent, open_store
from mogface_batch.storage.read_file import open_binary, read_bytes
from mogface_batch.storage.remote_store import RemoteStore
from mogface_batch.storage.retries import limit_patience
from mogface_batch.storage.store import TEMPORARY, Store

__all__ = [
    "ALL_SOURCES",
    "CACHE_VARIABLE",
    "TEMPORARY",
    "TRANSIENT_CODES",
    "AllowedSources",
    "Fetched",
    "LocalStore",
    "RemoteStore",
    "Store",
    "cache_model",
    "check_create_if_absent",
    "exists",
    "fetch",
    "fetch_start",
    "find_cache_folder",
    "find_parent",
    "has_wildcard",
    "is_folder",
    "is_glob_pattern",
    "is_remote",
    "is_responding",
    "is_url",
    "limit_patience",
    "list_etags",
    "list_files",
    "make_absolute",
    "open_binary",
    "open_store",
    "parse_scheme",
    "parse_store",
    "read_bytes",
    "read_local_etag",
    "redact",
    "strip_query",
]
