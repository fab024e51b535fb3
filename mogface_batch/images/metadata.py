"""The metadata of a source that its picture takes over: its colour profile and its EXIF block."""

from dataclasses import dataclass

from PIL import Image

from mogface_batch.images.image_header import open_image, quote_decoder

_ICC_BYTES = 4 << 20
"""Profiles of cameras and printers are far smaller; a JPEG has no room for 17 MB."""
_ORIENTATION, _EXIF_IFD, _GPS_IFD, _MAKER_NOTE, _INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0x927C, 0xA005
_PIXELS_XY = (0xA002, 0xA003)
# All other tags of a first directory are about the layout of its file, or a small copy of the picture.
_KEPT_TAGS = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata that a picture takes over from its source."""

    icc: bytes | None = None
    """A profile of RGB pixels."""
    exif: bytes | None = None
    """An EXIF block without orientation, thumbnail, maker's note and sizes."""
    lost: str | None = None
    """Why the EXIF block could not be read."""


def read_metadata(encoded: bytes) -> Metadata:
    """Return the part of a source's metadata that is kept: its ICC profile, if it is for RGB, and its EXIF block.

    Everything that could show a hidden face is dropped: thumbnails and maker's notes (cameras put previews there),
    XMP and IPTC; so is the orientation, because pictures are upright.

    Args:
        encoded: Bytes that `decode_rgb` accepts.

    Raises:
        DecodeFault: They are not an image.
    """
    with open_image(encoded) as image:
        icc = image.info.get("icc_profile")
        is_kept = isinstance(icc, bytes) and icc[16:20] == b"RGB " and len(icc) <= _ICC_BYTES
        icc = icc if is_kept else None
        try:
            return Metadata(icc, _filter_exif(image.getexif()))
        # The bytes are not trusted: a reader of EXIF can raise any exception.
        except Exception as error:  # noqa: BLE001
            return Metadata(
                icc, lost=f"the EXIF block cannot be read, and was left out: {quote_decoder(error)}"
            )


def _filter_exif(source: Image.Exif) -> bytes | None:
    kept_tags = Image.Exif()
    for tag in _KEPT_TAGS:
        if tag in source:
            kept_tags[tag] = source[tag]
    for directory in (_EXIF_IFD, _GPS_IFD):
        entries = dict(source.get_ifd(directory))
        for tag in (_MAKER_NOTE, _INTEROP_IFD, *_PIXELS_XY):
            entries.pop(tag, None)
        if entries:
            kept_tags[directory] = entries
    return kept_tags.tobytes() if len(kept_tags) else None
