"""Reads the size and the EXIF block of a regular JPEG from its segments.

Pillow takes as long to open a small JPEG as libjpeg takes for a twentieth of its pixels. Every irregular file is left
to Pillow, so that Pillow alone decides whether a header is damaged.
"""

JPEG = b"\xff\xd8\xff"
"""The first bytes of every JPEG."""
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_ALL_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Every start of a frame; the other three are tables and an extension."""
_FILL = 0xFF
_WITHOUT_LENGTH = frozenset({0x00, 0x01, _FILL, *range(0xD0, 0xDA)})
_TABLES = 0xDB
_SCAN = 0xDA
_APP1 = 0xE1
# Huffman tables, restart interval, comment, and what applications write.
_OTHERS = frozenset({0xC4, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_EXIF = b"Exif\0\0"
_SHORTEST = {b"JFIF": 14, b"ICC_PROFILE\0": 14, b"Adobe": 12}
"""The start of a segment -> its least number of bytes."""
_SEVERAL_PICTURES = b"MPF\0"


def read_hw_and_exif(encoded: bytes) -> tuple[tuple[int, int], bytes | None] | None:
    """Return height and width, and the EXIF block, of a JPEG of one or three components of 8 bits.

    None for any other JPEG, for one with several pictures, and if anything before the first scan is irregular.
    """
    at, hw, exif = 2, None, None
    while encoded[at : at + 1] == b"\xff" and at + 4 <= len(encoded):
        marker, end = encoded[at + 1], at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        body = encoded[at + 4 : end]
        if marker == _SCAN:
            return None if hw is None or end > len(encoded) else (hw, exif)
        if marker in _FRAMES and hw is None:
            hw = _parse_frame_hw(body)
            if hw is None:
                return None
        elif not _is_sound(marker, body):
            return None
        elif marker == _APP1 and body.startswith(_EXIF):
            if exif is not None:
                return None
            exif = body
        at = end
    return None


def has_plain_frame(encoded: bytes) -> bool:
    """Return whether the first frame of a JPEG is coded with the DCT and Huffman codes, baseline or progressive.

    Lossless and arithmetic frames are not. libjpeg-turbo writes beyond its buffers if it decodes a lossless frame at a
    part of its size (seen with version 3.1: heap corruption), so only plain frames may go to the decoders that do so.
    Bytes between segments are skipped, as libjpeg does.
    """
    at = 2
    while (at := encoded.find(b"\xff", at)) >= 0 and at + 1 < len(encoded):
        marker = encoded[at + 1]
        if marker == _SCAN:
            break
        if marker in _ALL_FRAMES:
            return marker in _FRAMES
        if marker in _WITHOUT_LENGTH:
            at += 1 if marker == _FILL else 2
        else:
            at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return False


def _parse_frame_hw(body: bytes) -> tuple[int, int] | None:
    if len(body) < 6 or body[0] != 8 or body[5] not in {1, 3} or len(body) != 6 + 3 * body[5]:
        return None
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return (height, width) if height and width else None


def _is_sound(marker: int, body: bytes) -> bool:
    if marker == _TABLES:
        return _has_sound_tables(body)
    is_short = any(body.startswith(name) and len(body) < least for name, least in _SHORTEST.items())
    return marker in _OTHERS and not is_short and not body.startswith(_SEVERAL_PICTURES)


def _has_sound_tables(body: bytes) -> bool:
    """Return whether quantisation tables, of 64 values of one byte or of two, fill the segment."""
    at = 0
    while at < len(body):
        at += 1 + 64 * (1 + (body[at] > 0x0F))
    return at == len(body)
