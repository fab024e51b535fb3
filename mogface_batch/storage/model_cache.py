"""The cache of model files on this machine."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from mogface_batch.storage.local_store import LocalStore

CACHE_VARIABLE = "MOGFACE_BATCH_CACHE"


def find_cache_folder() -> Path:
    """Return the folder of cached model files: ``$MOGFACE_BATCH_CACHE``, else the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("mogface-batch")


def cache_model(sha256: str, read_content: Callable[[], bytes]) -> Path:
    """Return the cached model file with this digest; it is written first if it is missing or damaged.

    Raises:
        OutputError: The cache folder cannot be written.
    """
    store = LocalStore(str(find_cache_folder()))
    name = f"models/{sha256}.onnx"
    cached = store.read(name)
    if cached is None or hashlib.sha256(cached).hexdigest() != sha256:
        store.replace(name, read_content())
    return Path(store.build_address(name))
