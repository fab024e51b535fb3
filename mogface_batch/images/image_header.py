"""Encoded bytes -> what they declare: format, size, EXIF orientation. No pixels are decoded here.

Pillow's own guard against decompression bombs is switched off: `check_pixels` is the guard, with our limit, and
the caller calls it before `decode.decode_rgb`. For the same reason nothing here calls ``getexif()``, which
decodes a whole PNG to find an EXIF chunk after the pixels.
"""

import logging
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from mogface_batch import geometry
from mogface_batch.errors import DecodeFault, ErrorCode, TooLargeFault
from mogface_batch.images import jpeg_segments

FORMATS = {
    "JPEG": "jpeg",
    "MPO": "mpo",
    "PNG": "png",
    "WEBP": "webp",
    "BMP": "bmp",
    "TIFF": "tiff",
    "GIF": "gif",
    "JPEG2000": "jpeg2000",
    "PPM": "ppm",
    "AVIF": "avif",
}
"""The formats that are read: Pillow's name -> ours. Pillow tries no other, so it never starts Ghostscript."""

# Pillow opens an MPO as the JPEG at its start.
_OPENERS = tuple(word for word in FORMATS if word != "MPO")

Image.MAX_IMAGE_PIXELS = None
# A million odd files would print a million lines that say less than their rows.
warnings.filterwarnings("ignore", module="PIL")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

_ORIENTATION = 0x0112
_SHORT = 3
_PNG = b"\x89PNG\r\n\x1a\n"
_PLAIN_MODES = ("L", "RGB")
_MIRRORS_HEIGHT, _MIRRORS_WIDTH = (3, 4, 6, 7), (2, 3, 7, 8)


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What encoded bytes declare about their image."""

    format: str
    """One of the values of `FORMATS`."""
    raw_hw: tuple[int, int]
    """Height and width as stored, before the EXIF orientation is applied."""
    exif_orientation: int
    """1 to 8; 1 if absent or invalid."""
    is_plain_jpeg: bool = False
    """Whether it is a baseline or progressive JPEG of one or three components, with Huffman codes."""
    is_plain_webp: bool = False
    """Whether it is a WebP of one lossy picture and nothing else. Pillow decodes what is neither this nor a plain JPEG."""

    @property
    def upright_hw(self) -> tuple[int, int]:
        """Height and width after the EXIF orientation is applied."""
        return geometry.orient_hw(self.raw_hw, self.exif_orientation)

    @property
    def mirrored_hw(self) -> tuple[bool, bool]:
        """Whether what is stored at the bottom, and at the right, comes first once the orientation is applied."""
        return self.exif_orientation in _MIRRORS_HEIGHT, self.exif_orientation in _MIRRORS_WIDTH


def read_header(encoded: bytes) -> ImageHeader:
    """Return what the bytes declare, without decoding a pixel.

    Raises:
        DecodeFault: ``empty_file``, ``not_an_image``, ``truncated`` or ``out_of_memory``.
    """
    if not encoded:
        raise DecodeFault(ErrorCode.EMPTY_FILE, "the file is empty")
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return _read_webp_header(encoded)
    if (
        encoded.startswith(jpeg_segments.JPEG)
        and (declared := jpeg_segments.read_hw_and_exif(encoded)) is not None
    ):
        raw_hw, exif = declared
        return ImageHeader("jpeg", raw_hw, _parse_orientation(exif), is_plain_jpeg=True)
    image = open_image(encoded)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _read_tiff_header(image)
    is_png = encoded.startswith(_PNG)
    exif = _find_chunk(b"eXIf", _split_png_chunks(encoded)) if is_png else image.info.get("exif")
    width, height = image.size
    return ImageHeader(
        format=FORMATS[image.format or ""],
        raw_hw=(height, width),
        exif_orientation=_parse_orientation(exif),
        is_plain_jpeg=image.format in {"JPEG", "MPO"}
        and image.mode in _PLAIN_MODES
        and jpeg_segments.has_plain_frame(encoded),
    )


def check_pixels(header: ImageHeader, max_pixels: int) -> None:
    """Refuse an image that declares more than ``max_pixels`` pixels.

    Raises:
        TooLargeFault: ``too_many_pixels``.
    """
    height, width = header.raw_hw
    if height * width > max_pixels:
        raise TooLargeFault(
            ErrorCode.TOO_MANY_PIXELS,
            f"{width} x {height} is {height * width} pixels, more than limits.pixels = {max_pixels}",
        )


def open_image(encoded: bytes) -> Image.Image:
    """Return Pillow's image of the bytes, its pixels not yet decoded.

    Raises:
        DecodeFault: ``not_an_image`` or ``out_of_memory``.
    """
    try:
        return Image.open(BytesIO(encoded), formats=_OPENERS)
    except UnidentifiedImageError as error:
        formats = ", ".join(FORMATS.values())
        raise DecodeFault(
            ErrorCode.NOT_AN_IMAGE,
            f"the file is not an image of a supported format ({formats}), or its header is damaged",
        ) from error
    except MemoryError as error:
        raise DecodeFault(ErrorCode.OUT_OF_MEMORY, "not enough memory to open the image") from error
    # A decoder that reads hostile bytes can raise anything; none of it is a bug of ours.
    except Exception as error:
        raise DecodeFault(
            ErrorCode.NOT_AN_IMAGE, f"the header of the image cannot be read: {quote_decoder(error)}"
        ) from error


def quote_decoder(error: Exception) -> str:
    """Return the text of a decoder's error on one line, without memory addresses, which differ between processes."""
    words = re.sub(r"<[^>]*>|0x[0-9a-fA-F]+", "...", " ".join(str(error).split()))
    return words[:200] or type(error).__name__


def _read_tiff_header(image: TiffImagePlugin.TiffImageFile) -> ImageHeader:
    orientation = _check_orientation(image.tag_v2.get(_ORIENTATION))
    width, height = image.size
    # Pillow reports the upright size of a TIFF; its own inverse gives the stored one.
    return ImageHeader("tiff", geometry.orient_hw((height, width), orientation), orientation)


def _read_webp_header(encoded: bytes) -> ImageHeader:
    """Return the header of a WebP without Pillow, which allocates the whole image twice when it opens one."""
    if len(encoded) < 8 + int.from_bytes(encoded[4:8], "little"):
        raise DecodeFault(
            ErrorCode.TRUNCATED, "the webp data is cut short: the file is smaller than it declares"
        )
    chunks = _split_riff_chunks(encoded)
    try:
        kind, body = next(chunks)
        raw_hw = _parse_webp_hw(kind, body)
    except (StopIteration, struct.error) as error:
        raise DecodeFault(ErrorCode.NOT_AN_IMAGE, "the header of the webp file is cut short") from error
    is_all = int.from_bytes(encoded[4:8], "little") == 12 + len(body) + len(body) % 2
    exif = _find_chunk(b"EXIF", chunks)
    return ImageHeader("webp", raw_hw, _parse_orientation(exif), is_plain_webp=kind == b"VP8 " and is_all)


def _parse_webp_hw(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L" and body[:1] == b"\x2f":
        (bits,) = struct.unpack_from("<I", body, 1)
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[7:10], "little") + 1, int.from_bytes(body[4:7], "little") + 1
    raise DecodeFault(ErrorCode.NOT_AN_IMAGE, "the header of the webp file cannot be read")


def _split_riff_chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(encoded):
        kind, size = struct.unpack_from("<4sI", encoded, at)
        yield kind, encoded[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _split_png_chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_PNG)
    while at + 8 <= len(encoded):
        size, kind = struct.unpack_from(">I4s", encoded, at)
        yield kind, encoded[at + 8 : at + 8 + size]
        at += 12 + size


def _find_chunk(wanted: bytes, chunks: Iterator[tuple[bytes, bytes]]) -> bytes | None:
    return next((body for kind, body in chunks if kind == wanted), None)


def _parse_orientation(exif: bytes | None) -> int:
    """Return the orientation that an EXIF block declares: tag 0x0112 of its first directory."""
    body = (exif or b"").removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(body[:4])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", body, 4)
        (entries,) = struct.unpack_from(order + "H", body, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", body, entry)
            if tag == _ORIENTATION and kind == _SHORT:
                return _check_orientation(value)
    except struct.error:
        return 1
    return 1


def _check_orientation(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
