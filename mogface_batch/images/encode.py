"""Pixels -> the bytes of a picture, by extension, with or without the metadata of its source.

OpenCV writes JPEG, PNG and WebP without metadata, Pillow everything else: JPEG and WebP are the same bytes from both,
but OpenCV writes a PNG in a quarter of the time.
"""

from io import BytesIO
from typing import Any

import cv2
from PIL import Image

from mogface_batch.errors import ErrorCode, TooLargeFault
from mogface_batch.geometry import Pixels
from mogface_batch.images.image_header import quote_decoder
from mogface_batch.images.metadata import Metadata

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jp2": "JPEG2000",
    ".avif": "AVIF",
}
"""Extension -> the format that is written, as Pillow calls it."""
_QUALITY = 92
_MAX_SIDE_PX = {"JPEG": 65_500, "PNG": 1_000_000, "WEBP": 16_383}
"""The longest side that OpenCV writes in each of its formats."""
_OPENCV_SETTINGS = {
    "JPEG": (cv2.IMWRITE_JPEG_QUALITY, _QUALITY),
    "PNG": (),
    # OpenCV's own default is lossless, which is slow and large.
    "WEBP": (cv2.IMWRITE_WEBP_QUALITY, _QUALITY),
}
_PILLOW_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": _QUALITY},
    "WEBP": {"quality": _QUALITY},
    "PNG": {"compress_level": 3},
    "TIFF": {"compression": "tiff_deflate"},
    "AVIF": {"quality": 85, "max_threads": 1},
    "JPEG2000": {"quality_mode": "dB", "quality_layers": [45]},
}
_HOLDS_METADATA = frozenset(["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
_NO_METADATA = Metadata()


def encode(rgb: Pixels, extension: str, metadata: Metadata = _NO_METADATA) -> bytes:
    """Return the picture in the format of the extension.

    JPEG, PNG, WebP, TIFF and AVIF hold an ICC profile and EXIF; in BMP and JPEG 2000 both are left out. JPEG and
    WebP have quality 92.

    Args:
        rgb: (H, W, 3) upright.
        extension: One of `SUFFIXES`, in any case.
        metadata: What the picture takes over from its source; by default nothing.

    Raises:
        TooLargeFault: ``picture_too_large``: the format cannot hold so large a picture.
        ValueError: No picture is written with this extension.
    """
    kind = SUFFIXES.get(extension.lower())
    if kind is None:
        raise ValueError(f"no picture is written as {extension!r}, only as {', '.join(SUFFIXES)}")
    height, width = rgb.shape[:2]
    max_side_px = _MAX_SIDE_PX.get(kind)
    if max_side_px is not None and max(height, width) > max_side_px:
        raise _build_size_fault(rgb, extension, f"at most {max_side_px} px a side fit into it")
    has_metadata = metadata.icc is not None or metadata.exif is not None
    if kind in _OPENCV_SETTINGS and not has_metadata:
        return _encode_with_opencv(rgb, extension.lower(), kind)
    return _encode_with_pillow(rgb, extension, kind, metadata)


def _build_size_fault(rgb: Pixels, extension: str, reason: str) -> TooLargeFault:
    height, width = rgb.shape[:2]
    return TooLargeFault(
        ErrorCode.PICTURE_TOO_LARGE,
        f"{width} x {height} pixels cannot be written as {extension.lower()}: {reason}",
    )


def _encode_with_opencv(rgb: Pixels, extension: str, kind: str) -> bytes:
    is_written, encoded = cv2.imencode(
        extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _OPENCV_SETTINGS[kind]
    )
    if not is_written:
        raise RuntimeError(f"OpenCV could not write {rgb.shape[1]} x {rgb.shape[0]} pixels as {extension}")
    return bytes(encoded)


def _encode_with_pillow(rgb: Pixels, extension: str, kind: str, metadata: Metadata) -> bytes:
    options = dict(_PILLOW_SETTINGS.get(kind, {}))
    if metadata.icc and kind in _HOLDS_METADATA:
        options["icc_profile"] = metadata.icc
    if metadata.exif and kind in _HOLDS_METADATA:
        options["exif"] = metadata.exif
        options.pop("compression", None)  # Pillow gives no EXIF directory to a TIFF that libtiff compresses
    sink = BytesIO()
    try:
        Image.fromarray(rgb).save(sink, kind, **options)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        raise _build_size_fault(rgb, extension, quote_decoder(error)) from error
    return sink.getvalue()


def encode_small(rgb: Pixels, *, at_most_bytes: int) -> bytes:
    """Return a WebP of at most so many bytes: of the best quality that fits, made smaller if none does.

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
