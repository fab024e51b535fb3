"""Tests of mogface_batch.images.image_header: sizes, orientation and limits, without decoding a pixel."""

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from mogface_batch.errors import DecodeFault, TooLargeFault
from mogface_batch.images.image_header import FORMATS, ImageHeader, check_pixels, read_header

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

LIMIT = 89_478_485


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def declared_png(width, height):
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", ihdr), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def declared_webp(width, height, *extra):
    vp8x = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
        for kind, data in [(b"VP8X", vp8x), *extra]
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def saved(fmt, size=(7, 5), mode="RGB", **options):
    stream = BytesIO()
    Image.new(mode, size).save(stream, fmt, **options)
    return stream.getvalue()


def exif(order, *entries):
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    packed = b"".join(struct.pack(order + "HHIHxx", tag, kind, 1, value) for tag, kind, value in entries)
    return head + struct.pack(order + "IH", 8, len(entries)) + packed + bytes(4)


@pytest.fixture
def no_pixels(monkeypatch):
    """Make it an error to decode any pixel."""

    def load(self):
        pytest.fail("a pixel was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + exif("<")}),
        ("BMP", {}),
        ("TIFF", {}),
        ("GIF", {}),
        ("JPEG2000", {}),
        ("PPM", {}),
        ("AVIF", {}),
    ],
)
def test_each_format_tells_its_name_and_size_before_any_pixel(fmt, options, no_pixels):
    header = read_header(saved(fmt, **options))

    assert (header.format, header.raw_hw, header.exif_orientation) == (FORMATS[fmt], (5, 7), 1)
    assert header.is_plain_jpeg == (fmt == "JPEG")


@pytest.mark.parametrize(("mode", "is_plain"), [("L", True), ("RGB", True), ("CMYK", False)])
def test_a_plain_jpeg_has_one_or_three_components(mode, is_plain):
    assert read_header(saved("JPEG", mode=mode)).is_plain_jpeg == is_plain


@pytest.mark.parametrize(
    ("encoded", "code"),
    [
        pytest.param(b"", "empty_file", id="empty"),
        pytest.param(b"\0", "not_an_image", id="one-byte"),
        pytest.param(b"<html>not found</html>", "not_an_image", id="web-page"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image", id="eps"),
        pytest.param(b"RIFF\0\0\0\0WEBP", "not_an_image", id="webp-without-a-chunk"),
        pytest.param(b"RIFF\xff\0\0\0WEBPVP8 ", "truncated", id="webp-cut"),
        pytest.param(declared_webp(5, 5)[:12] + b"VP8 \x0a" + bytes(13), "not_an_image", id="webp-nonsense"),
        pytest.param(
            b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", bytes(3)), "not_an_image", id="png-short-ihdr"
        ),
    ],
)
def test_what_is_no_image_is_a_fault_with_a_code(encoded, code):
    with pytest.raises(DecodeFault) as caught:
        read_header(encoded)

    assert caught.value.code == code
    assert "0x" not in caught.value.message
    assert "BytesIO" not in caught.value.message


def test_a_bomb_is_refused_before_any_pixel_and_without_a_warning(no_pixels):
    header = read_header(declared_png(100_000, 100_000))

    with pytest.raises(TooLargeFault, match=r"100000 x 100000 .* limits\.pixels = 89478485") as caught:
        check_pixels(header, LIMIT)
    assert caught.value.code == "too_many_pixels"


def test_a_webp_bomb_is_refused_before_pillow_allocates_its_canvas(monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow opened it"))

    header = read_header(declared_webp(16_383, 16_383, (b"EXIF", exif("<", (274, 3, 6)))))

    assert (header.raw_hw, header.exif_orientation) == ((16_383, 16_383), 6)
    with pytest.raises(TooLargeFault):
        check_pixels(header, LIMIT)


def test_the_limit_itself_is_allowed():
    header = ImageHeader("png", (10, 20), 6)

    check_pixels(header, 200)
    with pytest.raises(TooLargeFault):
        check_pixels(header, 199)
    assert header.upright_hw == (20, 10)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("entries", "orientation"),
    [
        pytest.param([], 1, id="absent"),
        pytest.param([(274, 3, 8)], 8, id="alone"),
        pytest.param([(271, 3, 5), (274, 3, 3)], 3, id="second"),
        pytest.param([(274, 3, 0)], 1, id="zero"),
        pytest.param([(274, 3, 9)], 1, id="nine"),
        pytest.param([(274, 2, 6)], 1, id="text"),
    ],
)
def test_the_exif_orientation_is_1_where_absent_or_nonsense(order, entries, orientation):
    encoded = saved("JPEG", exif=b"Exif\0\0" + exif(order, *entries))

    assert read_header(encoded).exif_orientation == orientation


def test_a_png_may_carry_its_exif_behind_the_pixels(no_pixels):
    plain = declared_png(4, 4)
    late = plain[:-12] + png_chunk(b"eXIf", exif(">", (274, 3, 6))) + plain[-12:]

    assert read_header(late).exif_orientation == 6


def test_xmp_is_not_exif():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'

    assert read_header(saved("JPEG", xmp=xmp)).exif_orientation == 1
    assert read_header(saved("WEBP", xmp=xmp)).exif_orientation == 1


@given(body=st.binary(max_size=80))
def test_no_exif_block_is_a_crash(body):
    for block in (body, b"II*\0\x08\0\0\0" + body, b"MM\0*" + body):
        assert 1 <= read_header(declared_webp(9, 9, (b"EXIF", block))).exif_orientation <= 8


@given(tail=st.binary(max_size=60))
@pytest.mark.parametrize(
    "magic",
    [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"P6\n", b"RIFF\x10\0\0\0WEBP"],
)
def test_no_bytes_are_a_crash(magic, tail):
    try:
        header = read_header(magic + tail)
    except DecodeFault:
        return
    assert header.format in FORMATS.values()
