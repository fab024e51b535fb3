"""A text file as a manifest: a path or URI on each line."""

from mogface_batch.config import ManifestOptions
from mogface_batch.planning.manifests.source import ManifestSource, build_uri_source, iterate_lines


def open_text(address: str, options: ManifestOptions) -> ManifestSource:
    """Return the lines of a file that are not blank."""
    return build_uri_source(options, lambda: (text for _, text in iterate_lines(address)))
