"""Where bytes come from and go to: fetch, list, publish. The only home of fsspec and obstore.

An *address* is an absolute place: a local path (``/data/a.jpg``) or a URI (``s3://bucket/a.jpg``). Only http(s)
is parsed as a URL; elsewhere ``%``, ``#`` and ``?`` belong to the name.

Knows nothing of images, manifests or tables. Read `store.py` first: it is how everything becomes visible; then
`remote.py`: what a store elsewhere can do. `objects.py` does it by obstore, `filesystems.py` by fsspec, `web.py` by http.
"""

from mogface_batch.storage.addresses import (
    absolute,
    is_glob,
    is_remote,
    is_url,
    parent,
    redacted,
    scheme_of,
    store_of,
    without_query,
)
from mogface_batch.storage.cache import CACHE_VARIABLE, cache_folder, kept_by_sha256
from mogface_batch.storage.etags import list_etags, local_etag
from mogface_batch.storage.faults import TRANSIENT_CODES
from mogface_batch.storage.fetching import Fetched, answers, fetch, fetch_start
from mogface_batch.storage.listing import exists, is_folder, is_pattern, list_files
from mogface_batch.storage.reading import open_binary, read_bytes
from mogface_batch.storage.retrying import hurried
from mogface_batch.storage.sources import ANYTHING, Sources
from mogface_batch.storage.store import (
    TEMPORARY,
    LocalStore,
    RemoteStore,
    Store,
    check_create_if_absent,
    open_store,
)

__all__ = [
    "ANYTHING", "CACHE_VARIABLE", "TEMPORARY", "TRANSIENT_CODES", "Fetched", "LocalStore", "RemoteStore", "Sources",
    "Store", "absolute", "answers", "cache_folder", "check_create_if_absent", "exists", "fetch", "fetch_start", "hurried", "is_folder", "is_glob",
    "is_pattern", "is_remote", "is_url", "kept_by_sha256", "list_etags", "list_files", "local_etag", "open_binary", "open_store",
    "parent",
    "read_bytes", "redacted", "scheme_of", "store_of", "without_query",
]  # fmt: skip
