"""Reads one source image: fetch, check, decode. For verbs, notebooks and pictures of rows that the table has.

The stages of a job do these steps separately, because each step has its own columns and its own time limit there.
"""

from dataclasses import dataclass

from mogface_batch import storage
from mogface_batch.config import LimitOptions
from mogface_batch.errors import DecodeFault, ErrorCode, FetchFault
from mogface_batch.geometry import Pixels
from mogface_batch.images.decode import decode_rgb
from mogface_batch.images.image_header import ImageHeader, check_pixels, read_header


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image as it was read."""

    encoded: bytes
    """The bytes of its file."""
    header: ImageHeader
    rgb: Pixels
    """(H, W, 3) upright."""


def read_image(source: str, limits: LimitOptions | None = None) -> SourceImage:
    """Return the image at a path or URI.

    Args:
        source: A path or URI.
        limits: What the image may cost; None: the default limits.

    Raises:
        RowFault: It cannot be fetched or decoded, or is too large; the message is a sentence.
    """
    encoded, header = fetch_image(source, limits or LimitOptions())
    return SourceImage(encoded, header, decode_rgb(encoded, header))


def fetch_image(source: str, limits: LimitOptions) -> tuple[bytes, ImageHeader]:
    """Return the bytes of the image at a path or URI, and its header, which keeps the limits.

    Raises:
        RowFault: It cannot be fetched, is not an image, or is too large.
    """
    encoded = _fetch(storage.make_absolute(source), limits).encoded
    header = read_header(encoded)
    check_pixels(header, limits.pixels)
    return encoded, header


def read_image_of_row(
    address: str, *, sha256: str | None, size_bytes: int, limits: LimitOptions
) -> SourceImage:
    """Return the image of a row whose faces are known; it may be as large as it was when they were found.

    Args:
        address: Absolute; empty if the table does not say where its images are.
        sha256: Digest of the bytes that the faces were found in; None if the table has none.
        size_bytes: Their number.
        limits: How long to try; and the size of the file, unless ``size_bytes`` is more.

    Raises:
        RowFault: It cannot be fetched or decoded; ``no_source``: there is no address; ``source_changed``: its bytes
            are not those that the faces were found in.
    """
    check_has_address(address)
    fetched = _fetch(address, limits, min_bytes=size_bytes)
    if sha256 is not None and fetched.sha256 != sha256:
        raise DecodeFault(
            ErrorCode.SOURCE_CHANGED, "The image has changed since its faces were found: annotate it again."
        )
    header = read_header(fetched.encoded)
    return SourceImage(fetched.encoded, header, decode_rgb(fetched.encoded, header))


def check_has_address(address: str) -> None:
    """Check that the table says where an image is.

    Raises:
        FetchFault: ``no_source``.
    """
    if not address:
        raise FetchFault(
            ErrorCode.NO_SOURCE, "The location of this image is unknown: the plan of its table is missing."
        )


def _fetch(address: str, limits: LimitOptions, *, min_bytes: int = 0) -> storage.Fetched:
    return storage.fetch(
        address,
        max_bytes=max(limits.bytes, min_bytes),
        timeout_s=limits.fetch_timeout_s,
        attempts=limits.fetch_attempts,
    )
