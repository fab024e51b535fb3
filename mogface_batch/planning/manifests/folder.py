"""A folder or a glob as a manifest: its rows are the files."""

from collections.abc import Iterator

from mogface_batch import storage
from mogface_batch.config import ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.planning.manifests.source import ManifestSource, build_uri_source, has_wildcard

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".avif",
)  # fmt: skip
"""The extensions of images; all other files in a folder are ignored."""


def open_folder(address: str, options: ManifestOptions) -> ManifestSource:
    """Return the images below a folder, or all files of a glob."""
    takes_all_files = has_wildcard(options, address)
    if not takes_all_files and not storage.is_folder(address):
        raise InputError(
            f"The manifest {storage.redact(options.uri)} is not a folder ({storage.redact(address)}), although "
            "manifest.format=folder."
        )

    def list_uris() -> Iterator[str]:
        # A table cannot hold a file name that is not UTF-8: it is escaped, and its row says that there is no such file.
        yield from (
            file.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            for file in storage.list_files(address)
            if takes_all_files or is_image(file)
        )

    return build_uri_source(options, list_uris)


def is_image(address: str) -> bool:
    """Return whether a file is an image by its extension."""
    return address.lower().endswith(IMAGE_SUFFIXES)
