"""Pictures that keep what came with their source: bytes of the source -> Metadata -> bytes of a picture."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from mogface_batch.errors import ErrorCode, TooLargeFault
from mogface_batch.geometry import Pixels
from mogface_batch.images.header import cause, open_image

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
"""Extension -> the format that is written, in Pillow's word."""
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 92},
    "WEBP": {"quality": 92},
    "PNG": {"compress_level": 3},
    "TIFF": {"compression": "tiff_deflate"},
    "AVIF": {"quality": 85, "max_threads": 1},
    "JPEG2000": {"quality_mode": "dB", "quality_layers": [45]},
}
_HOLDS_ICC = frozenset(["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
_HOLDS_EXIF = _HOLDS_ICC

_ICC_BYTES = 4 << 20
"""Profiles of cameras and printers are far smaller; a JPEG has no room for 17 MB."""
_ORIENTATION, _EXIF_IFD, _GPS_IFD, _MAKER_NOTE, _INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0x927C, 0xA005
_PIXELS_XY = (0xA002, 0xA003)
# Whatever else a first directory holds is the layout of its file, or a small copy of the picture.
_KEPT_TAGS = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a picture takes over from its source."""

    icc: bytes | None = None
    """A profile of RGB pixels."""
    exif: bytes | None = None
    """An EXIF block without orientation, thumbnail, maker's note and sizes."""
    lost: str | None = None
    """Why the EXIF block could not be read."""


def read_metadata(encoded: bytes) -> Metadata:
    """Return what is kept of a source's metadata: its ICC profile, if it is one of RGB, and its EXIF block.

    Not kept is what could show a hidden face: thumbnails and maker's notes (cameras put previews there), XMP and
    IPTC; nor the orientation, since pictures are upright.

    Args:
        encoded: Bytes that `decode_rgb` takes.

    Raises:
        DecodeFault: They are no image.
    """
    with open_image(encoded) as image:
        icc = image.info.get("icc_profile")
        is_kept = isinstance(icc, bytes) and icc[16:20] == b"RGB " and len(icc) <= _ICC_BYTES
        icc = icc if is_kept else None
        try:
            return Metadata(icc, _kept_exif(image.getexif()))
        # Strangers wrote it: a reader of EXIF can raise anything.
        except Exception as error:  # noqa: BLE001
            return Metadata(icc, lost=f"the EXIF block cannot be read, and was left out: {cause(error)}")


def _kept_exif(source: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in _KEPT_TAGS:
        if tag in source:
            kept[tag] = source[tag]
    for directory in (_EXIF_IFD, _GPS_IFD):
        entries = dict(source.get_ifd(directory))
        for tag in (_MAKER_NOTE, _INTEROP_IFD, *_PIXELS_XY):
            entries.pop(tag, None)
        if entries:
            kept[directory] = entries
    return kept.tobytes() if len(kept) else None


def encode_with(rgb: Pixels, extension: str, metadata: Metadata) -> bytes:
    """Return the picture in the format of the extension, with what it takes over from its source.

    JPEG, PNG, WebP, TIFF and AVIF hold an ICC profile and EXIF; in BMP and JPEG 2000 both are left out.

    Args:
        rgb: (H, W, 3) upright.
        extension: One of `SUFFIXES`, in any case.
        metadata: `Metadata()` for none.

    Raises:
        TooLargeFault: ``picture_too_large``: the format has no pictures of so many pixels.
        KeyError: No picture is written with this extension.
    """
    kind = SUFFIXES[extension.lower()]
    options = dict(_SETTINGS.get(kind, {}))
    if metadata.icc and kind in _HOLDS_ICC:
        options["icc_profile"] = metadata.icc
    if metadata.exif and kind in _HOLDS_EXIF:
        options["exif"] = metadata.exif
        options.pop("compression", None)  # Pillow gives an EXIF directory to no TIFF that libtiff compresses
    sink = BytesIO()
    try:
        Image.fromarray(rgb).save(sink, kind, **options)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        height, width = rgb.shape[:2]
        raise TooLargeFault(
            ErrorCode.PICTURE_TOO_LARGE,
            f"{width} x {height} pixels cannot be written as {extension}: {cause(error)}",
        ) from error
    return sink.getvalue()
