"""An image by its path or URI, for people; the job's own stages fetch and decode many."""

import numpy as np
from numpy.typing import NDArray

from mogface_batch import storage
from mogface_batch.config import LimitOptions
from mogface_batch.images.decode import decode_rgb
from mogface_batch.images.header import Header, check_pixels, read_header


def read_image(source: str) -> tuple[NDArray[np.uint8], Header]:
    """Return the upright pixels (H, W, 3), RGB, of an image, and its header; within the default limits.

    Raises:
        RowFault: It cannot be had, is no image, or is too large; the message is a sentence.
    """
    limits = LimitOptions()
    encoded = storage.fetch(
        storage.absolute(source),
        max_bytes=limits.bytes,
        timeout_s=limits.fetch_timeout_s,
        attempts=limits.fetch_attempts,
    ).encoded
    header = read_header(encoded)
    check_pixels(header, limits.pixels)
    return decode_rgb(encoded, header), header
