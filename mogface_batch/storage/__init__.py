"""Where bytes come from and go to: fetch, list, publish. The only home of fsspec.

An *address* is an absolute place: a local path (``/data/a.jpg``) or a URI (``s3://bucket/a.jpg``). Only http(s)
is parsed as a URL; elsewhere ``%``, ``#`` and ``?`` belong to the name.

Knows nothing of images, manifests or tables. Read `store.py` first: it is how everything becomes visible.
"""

from mogface_batch.storage.addresses import (
    absolute,
    is_glob,
    is_remote,
    is_url,
    parent,
    scheme_of,
    without_query,
)
from mogface_batch.storage.cache import CACHE_VARIABLE, cache_folder, kept_by_sha256
from mogface_batch.storage.fetching import Fetched, fetch
from mogface_batch.storage.listing import exists, is_folder, is_pattern, list_files
from mogface_batch.storage.reading import open_binary, read_bytes
from mogface_batch.storage.store import TEMPORARY, LocalStore, RemoteStore, Store, open_store

__all__ = [
    "CACHE_VARIABLE", "TEMPORARY", "Fetched", "LocalStore", "RemoteStore", "Store", "absolute", "cache_folder", "exists",
    "fetch", "is_folder", "is_glob", "is_pattern", "is_remote", "is_url", "kept_by_sha256", "list_files", "open_binary",
    "open_store", "parent", "read_bytes", "scheme_of", "without_query",
]  # fmt: skip
