"""Which schemes can be read, and what to install for them."""

import fsspec
from fsspec.registry import known_implementations

from mogface_batch.errors import InputError

EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az",
    "http": "http", "https": "http", "hf": "hf",
}  # fmt: skip
"""Scheme -> the extra of this package that installs its client."""
_USUAL_PACKAGES = {"s3fs", "gcsfs", "adlfs", "fsspec", "huggingface_hub"}


def is_registered_by_user(scheme: str) -> bool:
    """Return whether a user has registered a file system for a scheme in place of fsspec's own."""
    loaded = fsspec.registry.get(scheme)
    default_class = known_implementations.get(scheme, {}).get("class")
    module = loaded.__module__ if loaded is not None else default_class
    return module is not None and module.partition(".")[0] not in _USUAL_PACKAGES


def has_client(scheme: str) -> bool:
    """Return whether there is a client for a scheme, installed or not."""
    return scheme in EXTRAS or scheme in fsspec.available_protocols()


def build_install_error(scheme: str, why: str = "") -> InputError:
    """Return the error for a scheme whose client is not installed."""
    extra = EXTRAS.get(scheme)
    what = f"type pip install 'mogface-batch[{extra}]'" if extra else why.rstrip(".")
    return InputError(f"{scheme}:// cannot be reached: {what}.")
