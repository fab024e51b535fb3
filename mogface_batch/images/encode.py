"""Pixels -> the bytes of a picture, by extension. No metadata: an EXIF thumbnail would show what was blurred."""

from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mogface_batch.errors import ErrorCode, TooLargeFault

_JPEG_SETTINGS = (cv2.IMWRITE_JPEG_QUALITY, 92)
_JPEG_MOST_PX, _WEBP_MOST_PX, _PNG_MOST_PX = 65_500, 16_383, 1_000_000
_SETTINGS: dict[str, tuple[int, ...]] = {
    ".jpg": _JPEG_SETTINGS,
    ".jpeg": _JPEG_SETTINGS,
    ".png": (),
    # OpenCV's own default is lossless, which is slow and large.
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 92),
}
_MOST_PX = {".jpg": _JPEG_MOST_PX, ".jpeg": _JPEG_MOST_PX, ".png": _PNG_MOST_PX, ".webp": _WEBP_MOST_PX}
"""The longest side that each encoder writes."""


def encode(rgb: NDArray[np.uint8], extension: str) -> bytes:
    """Return the picture in the format of the extension.

    Args:
        rgb: (H, W, 3).
        extension: ``.jpg``, ``.jpeg``, ``.png`` or ``.webp``, in any case; JPEG and WebP at quality 92.

    Raises:
        TooLargeFault: ``picture_too_large``: the format has no pictures with so long a side.
        ValueError: No picture is written with this extension.
    """
    kind = extension.lower()
    if kind not in _SETTINGS:
        raise ValueError(f"no picture is written as {extension!r}, only as {', '.join(_SETTINGS)}")
    height, width = rgb.shape[:2]
    if max(height, width) > _MOST_PX[kind]:
        raise TooLargeFault(
            ErrorCode.PICTURE_TOO_LARGE,
            f"the picture is {width} x {height}; a {kind} file holds at most {_MOST_PX[kind]} px a side",
        )
    written, encoded = cv2.imencode(kind, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _SETTINGS[kind])
    if not written:
        raise RuntimeError(f"OpenCV could not write {width} x {height} pixels as {kind}")
    return bytes(encoded)


def encode_small(rgb: NDArray[np.uint8], *, at_most_bytes: int) -> bytes:
    """Return a WebP of at most so many bytes: of the best quality that fits, made smaller where none does.

    Args:
        rgb: (H, W, 3), a thumbnail.
        at_most_bytes: At least some hundreds.
    """
    picture = Image.fromarray(rgb)
    while True:
        for quality in (80, 65, 45):
            sink = BytesIO()
            picture.save(sink, "WEBP", quality=quality)
            if sink.tell() <= at_most_bytes or max(picture.size) <= 16:
                return sink.getvalue()
        picture = picture.resize((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)))
