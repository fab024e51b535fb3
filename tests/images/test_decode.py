"""Tests of mogface_batch.images.decode: upright RGB of every format, or a fault; never a partial picture."""

import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from mogface_batch.errors import DecodeFault, RowFault, TooLargeFault
from mogface_batch.geometry import Letterbox
from mogface_batch.images import decode
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.images.decode import check_pixels, choose_reduction, decode_rgb, read_header
from mogface_batch.images.image_header import ImageHeader

# pytest puts its own filters before ours, which silence Pillow about odd files.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

BAD_IMAGES = Path(__file__).resolve().parents[2].parent / "shared/data/badimages"
LIMIT = 89_478_485

Y, X = np.mgrid[0:48, 0:64]
# Smooth, so that lossy formats keep it, and equal to none of its own turns and flips.
UPRIGHT = np.stack([X * 4, Y * 5, (255 - X * 2 - Y)], axis=-1).astype(np.uint8)

STORED = {
    1: lambda u: u,
    2: lambda u: u[:, ::-1],
    3: lambda u: u[::-1, ::-1],
    4: lambda u: u[::-1],
    5: lambda u: u.transpose(1, 0, 2),
    6: lambda u: u.transpose(1, 0, 2)[::-1],
    7: lambda u: u.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda u: u.transpose(1, 0, 2)[:, ::-1],
}
"""How an upright picture is stored; row 0 is its top, top, bottom, bottom, left, right, right, left side."""


def saved(image, fmt, **options):
    stream = BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(np.ascontiguousarray(image))
    image.save(stream, fmt, **options)
    return stream.getvalue()


def decoded(encoded):
    header = read_header(encoded)
    check_pixels(header, LIMIT)
    return decode_rgb(encoded, header)


def outcome(encoded, limit=LIMIT, reduced_by=1):
    """Return the picture and None, or None and the fault."""
    try:
        header = read_header(encoded)
        check_pixels(header, limit)
        return decode_rgb(encoded, header, reduced_by=reduced_by), None
    except RowFault as fault:
        return None, fault


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def late_exif_png(raw, orientation):
    early = saved(raw, "PNG", exif=exif(orientation))
    at = early.index(b"eXIf") - 4
    end = at + 12 + int.from_bytes(early[at : at + 4], "big")
    return early[:at] + early[end:-12] + early[at:end] + early[-12:]


def tiff(raw, orientation, **options):
    return saved(raw, "TIFF", tiffinfo={0x0112: orientation}, **options)


def mpo(raw, orientation):
    second = Image.fromarray(np.ascontiguousarray(255 - raw))
    return saved(raw, "MPO", save_all=True, append_images=[second], exif=exif(orientation), quality=95)


CARRIERS = {
    "jpeg": lambda raw, o: saved(raw, "JPEG", exif=exif(o), quality=95),
    "jpeg-progressive": lambda raw, o: saved(raw, "JPEG", exif=exif(o), quality=95, progressive=True),
    "jpeg-cmyk": lambda raw, o: saved(
        Image.fromarray(np.ascontiguousarray(raw)).convert("CMYK"), "JPEG", exif=exif(o), quality=95
    ),
    "mpo": mpo,
    "png": lambda raw, o: saved(raw, "PNG", exif=exif(o)),
    "png-late": late_exif_png,
    "webp": lambda raw, o: saved(raw, "WEBP", exif=exif(o), quality=95),
    "tiff": tiff,
    "tiff-lzw": lambda raw, o: tiff(raw, o, compression="tiff_lzw"),
    "tiff-jpeg": lambda raw, o: tiff(
        Image.fromarray(np.ascontiguousarray(raw)).convert("YCbCr"), o, compression="jpeg", quality=95
    ),
    # Pillow writes the orientation as the irot and imir boxes, and reads them as EXIF.
    "avif": lambda raw, o: saved(raw, "AVIF", exif=exif(o), quality=95),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_orientation_is_applied_once(carrier, orientation):
    encoded = CARRIERS[carrier](STORED[orientation](UPRIGHT), orientation)
    header = read_header(encoded)

    upright = decode_rgb(encoded, header)

    assert (header.exif_orientation, header.upright_hw) == (orientation, (48, 64))
    assert header.raw_hw == ((64, 48) if orientation >= 5 else (48, 64))
    assert header.format == carrier.split("-")[0]
    assert upright.flags.c_contiguous
    assert upright.dtype == np.uint8
    assert np.abs(upright.astype(int) - UPRIGHT).mean() < 3


def test_a_tiff_is_not_turned_by_its_xmp():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'

    np.testing.assert_array_equal(decoded(saved(UPRIGHT, "TIFF", tiffinfo={700: xmp})), UPRIGHT)


@pytest.mark.parametrize(
    ("fmt", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("PPM", {}),
        ("JPEG2000", {}),
        ("JPEG2000", {"tile_size": (32, 32)}),
        ("JPEG2000", {"no_jp2": True}),
    ],
)
def test_lossless_formats_come_back_equal(fmt, options):
    np.testing.assert_array_equal(decoded(saved(UPRIGHT, fmt, **options)), UPRIGHT)


def test_a_jpeg_comes_back_as_opencv_decodes_it():
    encoded = saved(UPRIGHT, "JPEG")

    expected = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_BGR)[..., ::-1]
    np.testing.assert_array_equal(decoded(encoded), expected)


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-grey", "jpeg-restart"])
@pytest.mark.parametrize("reduced_by", [1, 2, 4, 8])
def test_both_ways_to_libjpeg_give_equal_pixels(monkeypatch, name, reduced_by):
    encoded = CUTTABLE[name]
    picture, _ = outcome(encoded, reduced_by=reduced_by)
    monkeypatch.setattr(decode.simplejpeg, "decode_jpeg", complains)

    np.testing.assert_array_equal(outcome(encoded, reduced_by=reduced_by)[0], picture)


@pytest.mark.parametrize("reduced_by", [1, 2, 4, 8])
def test_what_libjpeg_only_warns_of_is_a_picture_all_the_same(capfd, reduced_by):
    encoded = CUTTABLE["jpeg"]
    with_rubbish = encoded[:-2] + bytes(14) + encoded[-2:]

    picture, fault = outcome(with_rubbish, reduced_by=reduced_by)

    assert fault is None
    np.testing.assert_array_equal(picture, outcome(encoded, reduced_by=reduced_by)[0])


def test_only_the_first_frame_of_an_animation_counts():
    first, second = Image.fromarray(UPRIGHT), Image.fromarray(255 - UPRIGHT)
    for fmt, options in [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]:
        encoded = saved(first, fmt, save_all=True, append_images=[second], **options)
        np.testing.assert_array_equal(decoded(encoded), UPRIGHT)
    gif = decoded(saved(first, "GIF", save_all=True, append_images=[second]))
    assert np.abs(gif.astype(int) - UPRIGHT).mean() < 20


def constant(mode, value):
    return Image.new(mode, (9, 7), value)


def deep(values, fmt, **options):
    return saved(Image.fromarray(values), fmt, **options)


GREY16 = np.full((7, 9), 32768, dtype=np.uint16)
GREY16_TIFF = deep(GREY16, "TIFF")


def with_tiff_tag(encoded, tag, old, new):
    """Return the little-endian TIFF with one short value replaced."""
    order = "little" if encoded[:2] == b"II" else "big"
    entry = tag.to_bytes(2, order) + (3).to_bytes(2, order) + (1).to_bytes(4, order)
    assert encoded.count(entry + old.to_bytes(2, order)) == 1
    return encoded.replace(entry + old.to_bytes(2, order), entry + new.to_bytes(2, order))


@pytest.mark.parametrize(
    ("encoded", "rgb"),
    [
        pytest.param(saved(constant("L", 100), "PNG"), (100, 100, 100), id="grey"),
        pytest.param(saved(constant("L", 100), "JPEG"), (100, 100, 100), id="grey-jpeg"),
        pytest.param(saved(constant("1", 1), "PNG"), (255, 255, 255), id="1-bit"),
        pytest.param(saved(constant("1", 0), "TIFF", compression="group4"), (0, 0, 0), id="1-bit-fax"),
        pytest.param(deep(GREY16, "PNG"), (128, 128, 128), id="16-bit-png"),
        pytest.param(GREY16_TIFF, (128, 128, 128), id="16-bit-tiff"),
        pytest.param(deep(GREY16.astype(">u2"), "TIFF"), (128, 128, 128), id="16-bit-big-endian-tiff"),
        pytest.param(deep(GREY16 // 4, "JPEG2000"), (32, 32, 32), id="16-bit-jpeg2000"),
        pytest.param(b"P5 9 7 65535\n" + GREY16.astype(">u2").tobytes(), (128, 128, 128), id="16-bit-pgm"),
        pytest.param(b"P5 9 7 1023\n" + b"\x02\x00" * 63, (128, 128, 128), id="10-bit-pgm"),
        pytest.param(b"P6 9 7 65535\n" + b"\x80\x80\x40\x40\x00\x00" * 63, (128, 64, 0), id="16-bit-ppm"),
        pytest.param(b"P2 9 7 255\n" + b"100 " * 63, (100, 100, 100), id="plain-pgm"),
        pytest.param(
            with_tiff_tag(GREY16_TIFF, 262, 1, 0).replace(b"\x00\x80" * 63, b"\x00\x40" * 63),
            (191, 191, 191),
            id="16-bit-white-is-zero",
        ),
        pytest.param(deep(np.full((7, 9), 2**30, np.int32), "TIFF"), (128, 128, 128), id="32-bit-tiff"),
        pytest.param(deep(np.full((7, 9), 0.5, np.float32), "TIFF"), (128, 128, 128), id="float-share"),
        pytest.param(deep(np.full((7, 9), 99.6, np.float32), "TIFF"), (100, 100, 100), id="float-255"),
        pytest.param(deep(np.full((7, 9), np.nan, np.float32), "TIFF"), (0, 0, 0), id="float-nan"),
        pytest.param(
            saved(constant("CMYK", (0, 255, 255, 0)), "JPEG", quality=95), (255, 0, 0), id="cmyk-red"
        ),
        pytest.param(saved(constant("CMYK", (0, 0, 0, 255)), "JPEG", quality=95), (0, 0, 0), id="cmyk-black"),
        pytest.param(saved(constant("CMYK", (255, 0, 255, 0)), "TIFF"), (0, 255, 0), id="cmyk-tiff"),
        pytest.param(saved(constant("LA", (0, 51)), "PNG"), (204, 204, 204), id="grey-alpha"),
        pytest.param(saved(constant("RGBA", (255, 0, 0, 102)), "PNG"), (255, 153, 153), id="alpha-png"),
        pytest.param(
            saved(constant("RGBA", (0, 0, 0, 0)), "WEBP", lossless=True), (255, 255, 255), id="alpha-webp"
        ),
        pytest.param(saved(constant("RGBA", (9, 9, 9, 0)), "TIFF"), (255, 255, 255), id="alpha-tiff"),
        pytest.param(
            saved(constant("RGB", (1, 2, 3)), "PNG", transparency=(1, 2, 3)), (255, 255, 255), id="key-png"
        ),
        pytest.param(saved(constant("L", 9), "PNG", transparency=9), (255, 255, 255), id="key-grey-png"),
        pytest.param(deep(GREY16, "PNG", transparency=32768), (255, 255, 255), id="key-16-bit-png"),
        pytest.param(
            saved(constant("RGB", (200, 10, 60)).convert("P", palette=Image.Palette.ADAPTIVE), "PNG"),
            (200, 10, 60),
            id="palette-png",
        ),
        pytest.param(
            saved(
                constant("RGB", (200, 10, 60)).convert("P", palette=Image.Palette.ADAPTIVE),
                "PNG",
                transparency=bytes([102]),
            ),
            (233, 157, 177),
            id="palette-alpha-png",
        ),
        pytest.param(saved(constant("P", 0), "GIF", transparency=0), (255, 255, 255), id="key-gif"),
        pytest.param(saved(constant("YCbCr", (76, 85, 255)), "TIFF"), (254, 0, 0), id="ycbcr-tiff"),
        pytest.param(saved(constant("LAB", (255, 0, 0)), "TIFF"), (255, 255, 255), id="lab-white"),
    ],
)
def test_every_kind_of_pixel_becomes_8_bit_rgb(encoded, rgb):
    image = decoded(encoded)

    assert image.shape == (7, 9, 3)
    np.testing.assert_allclose(image.astype(int), np.broadcast_to(rgb, image.shape), atol=2)


def test_16_bit_grey_keeps_its_order_and_its_ends():
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    ramp[-1, -1] = 65535

    grey = decoded(deep(ramp, "PNG"))[..., 0].ravel().astype(int)

    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 255)


def noisy():
    rng = np.random.default_rng(7)
    picture = UPRIGHT.copy()
    picture[10:30, 20:50] = rng.integers(0, 256, (20, 30, 3))
    return Image.fromarray(picture)


NOISY = noisy()
PLAIN_PPM = b"P3 64 48 255\n" + " ".join(str(value) for value in np.asarray(NOISY).ravel()).encode() + b"\n"
CUTTABLE = {
    "jpeg": saved(NOISY, "JPEG"),
    "jpeg-progressive": saved(NOISY, "JPEG", progressive=True),
    "jpeg-grey": saved(NOISY.convert("L"), "JPEG"),
    "jpeg-restart": saved(NOISY, "JPEG", restart_marker_blocks=4),
    "jpeg-cmyk": saved(NOISY.convert("CMYK"), "JPEG"),
    "jpeg-cmyk-progressive": saved(NOISY.convert("CMYK"), "JPEG", progressive=True),
    "mpo": mpo(np.asarray(NOISY), 6),
    "png": saved(NOISY, "PNG"),
    "webp": saved(NOISY, "WEBP"),
    "webp-lossless": saved(NOISY, "WEBP", lossless=True),
    "webp-alpha": saved(NOISY.convert("RGBA"), "WEBP", exif=exif(6)),
    "gif": saved(NOISY.convert("P"), "GIF"),
    "bmp": saved(NOISY, "BMP"),
    "bmp-palette": saved(NOISY.convert("P"), "BMP"),
    "tiff": saved(NOISY, "TIFF"),
    "tiff-lzw": saved(NOISY, "TIFF", compression="tiff_lzw"),
    "tiff-jpeg": saved(NOISY, "TIFF", compression="jpeg"),
    "tiff-fax": saved(NOISY.convert("1"), "TIFF", compression="group4"),
    "jpeg2000": saved(NOISY, "JPEG2000"),
    "jpeg2000-tiles": saved(NOISY, "JPEG2000", tile_size=(32, 32)),
    "jpeg2000-lossy": saved(NOISY, "JPEG2000", irreversible=True, quality_layers=[20, 5]),
    "jpeg2000-bare": saved(NOISY, "JPEG2000", no_jp2=True),
    "avif": saved(NOISY, "AVIF"),
    "ppm": saved(NOISY, "PPM"),
    "pbm": saved(NOISY.convert("1"), "PPM"),
    "ppm-plain": PLAIN_PPM,
}
NEVER_WHOLE_WITHOUT_ITS_LAST_BYTE = {
    "jpeg",
    "jpeg-progressive",
    "jpeg-grey",
    "jpeg-restart",
    "webp",
    "webp-lossless",
    "webp-alpha",
    "jpeg2000",
    "jpeg2000-tiles",
    "jpeg2000-lossy",
    "jpeg2000-bare",
    "avif",
    "ppm",
    "pbm",
    "tiff",
}
# Plain text has no end mark: a cut inside the last number is another number.
UNKNOWABLE_BYTES = {"ppm-plain": 3}


@pytest.mark.parametrize("name", CUTTABLE)
def test_a_cut_file_is_a_fault_or_has_lost_nothing(name):
    encoded = CUTTABLE[name]
    whole = decoded(encoded)
    size = len(encoded)
    unknowable = range(size - UNKNOWABLE_BYTES.get(name, 0), size)
    for cut in sorted(
        {*range(0, size, max(1, size // 150)), *range(max(0, size - 40), size)} - {*unknowable}
    ):
        picture, fault = outcome(encoded[:cut])
        if fault is None:
            np.testing.assert_array_equal(picture, whole, err_msg=f"cut at {cut} of {size}")
        else:
            assert fault.code in {"empty_file", "not_an_image", "truncated", "undecodable"}


def test_plain_webp_has_the_pixels_that_pillow_gives():
    for options in ({}, {"quality": 30}, {"method": 0}):
        encoded = saved(NOISY, "WEBP", **options)
        header = read_header(encoded)

        assert header.is_plain_webp
        np.testing.assert_array_equal(decoded(encoded), decode._decode_with_pillow(encoded, header))


def test_webp_that_opencv_refuses_is_pillows_to_judge(monkeypatch):
    encoded = CUTTABLE["webp"]
    picture = decoded(encoded)
    monkeypatch.setattr(decode.cv2, "imdecode", lambda *_: None)

    np.testing.assert_array_equal(decoded(encoded), picture)


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(saved(UPRIGHT, "WEBP", lossless=True), id="lossless"),
        pytest.param(saved(constant("RGBA", (9, 9, 9, 0)), "WEBP"), id="alpha"),
        pytest.param(saved(UPRIGHT, "WEBP", exif=exif(6)), id="exif"),
        pytest.param(
            saved(Image.fromarray(UPRIGHT), "WEBP", save_all=True, append_images=[NOISY]), id="animation"
        ),
    ],
)
def test_a_webp_of_another_kind_is_not_plain(encoded):
    assert not read_header(encoded).is_plain_webp


def test_a_webp_whose_lengths_disagree_is_not_plain():
    encoded = saved(NOISY, "WEBP")
    shorter = int.from_bytes(encoded[16:20], "little") - 64

    assert not read_header(encoded[:16] + shorter.to_bytes(4, "little") + encoded[20:]).is_plain_webp


# -- decoded at a part of the size ---------------------------------------------------------------------------------


def plain(raw_hw, orientation=1):
    return ImageHeader("jpeg", raw_hw, orientation, is_plain_jpeg=True)


@pytest.mark.parametrize(
    ("header", "scale", "expected"),
    [
        pytest.param(plain((3000, 4000)), 1.0, 1, id="not-shrunk"),
        pytest.param(plain((3000, 4000)), 0.51, 1, id="shrunk-by-less-than-two"),
        pytest.param(plain((3000, 4000)), 0.5, 2, id="by-two"),
        pytest.param(plain((3000, 4000)), 0.26, 2, id="by-less-than-four"),
        pytest.param(plain((3000, 4000)), 0.25, 4, id="by-four"),
        pytest.param(plain((3000, 4000)), 0.16, 4, id="640-of-12-megapixels"),
        pytest.param(plain((6000, 8000)), 0.08, 8, id="640-of-48-megapixels"),
        pytest.param(plain((6000, 8000)), 0.01, 8, id="no-more-than-eight"),
        pytest.param(plain((3001, 4003)), 0.125, 8, id="odd-sides"),
        pytest.param(plain((3001, 4000), 6), 0.125, 1, id="mirrored-odd-height"),
        pytest.param(plain((3002, 4000), 6), 0.125, 2, id="mirrored-height-of-two"),
        pytest.param(plain((3000, 4003), 6), 0.125, 8, id="the-other-side-is-mirrored"),
        pytest.param(plain((3000, 4004), 8), 0.125, 4, id="mirrored-width"),
        pytest.param(plain((3001, 4003), 5), 0.125, 8, id="transposed"),
        pytest.param(plain((3000, 4004), 3), 0.125, 4, id="both-mirrored"),
        pytest.param(plain((4, 3)), 0.1, 1, id="a-few-pixels"),
        pytest.param(ImageHeader("png", (3000, 4000), 1), 0.125, 1, id="no-jpeg"),
    ],
)
def test_as_much_is_reduced_as_leaves_what_the_canvas_takes(header, scale, expected):
    assert choose_reduction(header, scale) == expected


@given(
    raw_hw=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    canvas_hw=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    orientation=st.integers(1, 8),
)
def test_a_reduced_image_is_never_smaller_than_what_goes_on_the_canvas(raw_hw, canvas_hw, orientation):
    header = plain(raw_hw, orientation)
    letterbox = Letterbox.fit(header.upright_hw, canvas_hw)

    by = choose_reduction(header, letterbox.scale)

    assert letterbox.scale * by <= 1
    reduced = [-(-side // by) for side in header.upright_hw]
    assert all(left >= taken for left, taken in zip(reduced, letterbox.content_hw, strict=True))


@pytest.mark.parametrize("reduced_by", [2, 4, 8])
@pytest.mark.parametrize("hw", [(48, 64), (41, 61), (5, 64), (64, 5), (9, 9)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_reduced_pixel_stands_for_a_square_of_pixels(reduced_by, hw, mode):
    picture = Image.fromarray(np.ascontiguousarray(smooth(hw))).convert(mode)
    whole, _ = outcome(saved(picture, "JPEG", quality=98, subsampling=0))

    reduced, fault = outcome(saved(picture, "JPEG", quality=98, subsampling=0), reduced_by=reduced_by)

    assert fault is None
    height, width = (side // reduced_by for side in hw)
    assert reduced.shape == (-(-hw[0] // reduced_by), -(-hw[1] // reduced_by), 3)
    squares = whole[: height * reduced_by, : width * reduced_by].astype(float)
    means = squares.reshape(height, reduced_by, width, reduced_by, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(reduced[:height, :width], means, atol=4)


def smooth(hw):
    y, x = np.mgrid[0 : hw[0], 0 : hw[1]]
    channels = [x * 200 // hw[1] + 20, y * 200 // hw[0] + 20, 220 - x * 90 // hw[1] - y * 90 // hw[0]]
    return np.stack(channels, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "raw_hw", [(603, 803), (600, 803), (603, 800), (604, 804), (600, 800)], ids="{0[0]}x{0[1]}".format
)
def test_a_reduced_image_lies_where_the_whole_one_lies(raw_hw, orientation):
    """To a tenth of a canvas pixel, of which the ramps have 3 grey levels."""
    encoded = saved(smooth(raw_hw), "JPEG", quality=98, subsampling=0, exif=exif(orientation))
    header = read_header(encoded)
    letterbox = Letterbox.fit(header.upright_hw, (70, 70))
    by = choose_reduction(header, letterbox.scale)

    whole = place_on_canvas(decode_rgb(encoded, header), letterbox, (0, 0, 0))
    reduced = place_on_canvas(decode_rgb(encoded, header, reduced_by=by), letterbox, (0, 0, 0), reduced_by=by)

    height, width = letterbox.content_hw
    difference = (reduced.astype(float) - whole)[1 : height - 1, 1 : width - 1]
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.3
    assert (reduced[height:] == 0).all()
    assert (reduced[:, width:] == 0).all()


@pytest.mark.parametrize("reduced_by", [2, 4, 8])
@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-grey", "jpeg-restart", "mpo"])
def test_a_cut_or_damaged_file_has_the_same_fault_at_every_size(name, reduced_by):
    encoded, rng = CUTTABLE[name], np.random.default_rng(reduced_by)
    step = max(1, len(encoded) // 60)
    broken = [encoded[:cut] for cut in [*range(0, len(encoded), step), len(encoded) - 1]]
    for _ in range(60):
        damaged = bytearray(encoded)
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        broken.append(bytes(damaged))
    for some in broken:
        (_, whole_fault), (_, fault) = outcome(some, 10**6), outcome(some, 10**6, reduced_by)
        assert repr(fault) == repr(whole_fault)


@pytest.mark.parametrize("name", sorted(NEVER_WHOLE_WITHOUT_ITS_LAST_BYTE))
@pytest.mark.parametrize("lost", [1, 2, 0.1, 0.5])
def test_what_lost_its_tail_says_so(name, lost):
    encoded = CUTTABLE[name]
    cut = len(encoded) - (lost if isinstance(lost, int) else int(len(encoded) * lost))

    with pytest.raises(DecodeFault) as caught:
        decoded(encoded[:cut])
    assert caught.value.code in {"truncated", "not_an_image"}
    if name.startswith(("jpeg", "webp", "ppm")):
        assert caught.value.code == "truncated"


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-cmyk", "png", "gif", "webp", "jpeg2000"])
def test_garbage_behind_a_whole_image_is_ignored(name):
    encoded = CUTTABLE[name]

    np.testing.assert_array_equal(decoded(encoded + b"\0garbage" * 20), decoded(encoded))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "gif", "bmp", "jpeg2000", "avif", "ppm"])
def test_damaged_bytes_are_a_picture_of_the_declared_size_or_a_row_fault(name, data):
    encoded = bytearray(CUTTABLE[name])
    for at in data.draw(st.lists(st.integers(0, len(encoded) - 1), min_size=1, max_size=6)):
        encoded[at] = data.draw(st.integers(0, 255))
    picture, fault = outcome(bytes(encoded), limit=1_000_000)
    if fault is not None:
        assert "0x" not in fault.message
    else:
        assert picture.shape == (*read_header(bytes(encoded)).upright_hw, 3)


def test_the_size_must_be_what_the_header_declared():
    small, large = saved(UPRIGHT[:8, :8], "PNG"), saved(UPRIGHT, "PNG")

    with pytest.raises(DecodeFault, match="another size"):
        decode_rgb(large, read_header(small))


def broken_scan_jpeg():
    """A JPEG whose quantisation tables are gone: whole, yet undecodable."""
    return saved(UPRIGHT, "JPEG").replace(b"\xff\xdb", b"\xff\xed")


def test_undecodable_is_not_called_truncated():
    with pytest.raises(DecodeFault) as caught:
        decoded(broken_scan_jpeg())

    assert caught.value.code == "undecodable"


def no_memory(*_):
    raise MemoryError


def no_opencv_memory(*_):
    error = cv2.error("OpenCV(5.0.0) /io/opencv/alloc.cpp:73: error: (-4:Insufficient memory)")
    error.code = cv2.Error.StsNoMem
    raise error


def complains(*_, **__):
    raise ValueError("Corrupt JPEG data: 14 extraneous bytes before marker 0xd9")


def surprise(*_):
    raise ZeroDivisionError("<_io.BytesIO object at 0x7f31> is\n odd")


@pytest.mark.parametrize(
    ("broken", "code"),
    [(no_memory, "out_of_memory"), (no_opencv_memory, "out_of_memory"), (surprise, "undecodable")],
)
def test_whatever_a_decoder_raises_is_a_row_fault_in_plain_words(monkeypatch, broken, code):
    encoded = saved(UPRIGHT, "JPEG")
    header = read_header(encoded)
    monkeypatch.setattr(decode.simplejpeg, "decode_jpeg", complains)
    monkeypatch.setattr(decode.cv2, "imdecode", broken)

    with pytest.raises(DecodeFault) as caught:
        decode_rgb(encoded, header)
    assert caught.value.code == code
    assert not set("<>/\n") & set(caught.value.message)
    assert "0x" not in caught.value.message


def test_opencv_writes_nothing_about_a_cut_jpeg(capfd):
    with pytest.raises(DecodeFault):
        decoded(CUTTABLE["jpeg"][:-300])

    assert capfd.readouterr() == ("", "")


def test_many_threads_decode_the_same():
    encoded = [CUTTABLE[name] for name in ("jpeg", "png", "tiff-lzw", "webp", "jpeg2000", "avif")] * 6
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(decoded, encoded))

    for picture, alone in zip(pictures, map(decoded, encoded), strict=True):
        np.testing.assert_array_equal(picture, alone)


def test_one_thread_is_one_thread():
    before = cv2.getNumThreads()
    try:
        decode.use_one_thread()
        assert cv2.getNumThreads() == 1
        np.testing.assert_array_equal(decoded(CUTTABLE["avif"]), decoded(CUTTABLE["avif"]))
    finally:
        cv2.setNumThreads(before)
        decode.AvifImagePlugin.DEFAULT_MAX_THREADS = 0


def test_importing_the_room_imports_no_decoder():
    import subprocess

    code = "import sys, mogface_batch.images; sys.exit('cv2' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_tiff_reader_still_turns_by_itself():
    # decode.py relies on it; should Pillow stop, every turned TIFF would come out lying.
    image = Image.open(BytesIO(tiff(STORED[6](UPRIGHT), 6)))

    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    np.testing.assert_array_equal(np.asarray(image), UPRIGHT)


def bad_images():
    manifest = BAD_IMAGES / "manifest.csv"
    if not manifest.exists():
        return [pytest.param({}, marks=pytest.mark.skip(reason=f"no {manifest}"), id="absent")]
    with manifest.open(newline="", encoding="utf-8") as lines:
        return [pytest.param(row, id=f"{number}") for number, row in enumerate(csv.DictReader(lines))]


# Where the manifest's judgement does not bind us.
OTHERWISE = {
    # ICO is no format that we read, so its size is never asked.
    "pillow__decompression_bomb.ico": "undecodable",
    # Pillow 13 decodes it to the very pixels of its sound twin, imagers__ycbcr_lzw_bt709.tif.
    "imagers__ycbcr_lzw_broken.tif": "ok",
}


@pytest.mark.shared
@pytest.mark.parametrize("row", bad_images())
def test_bad_images_end_as_their_manifest_says(row):
    encoded = (BAD_IMAGES / row["file"]).read_bytes()
    picture, fault = outcome(encoded)
    fate = {DecodeFault: "undecodable", TooLargeFault: "over_limit", type(None): "ok"}[type(fault)]

    expected = OTHERWISE.get(row["file"], row["expected"])
    assert fate == expected or (expected == "either" and fate != "over_limit")
    if fault is None:
        assert picture.shape == (*read_header(encoded).upright_hw, 3)
    else:
        assert "0x" not in fault.message


@pytest.mark.shared
def test_there_are_521_bad_images():
    rows = bad_images()
    if rows[0].id == "absent":
        pytest.skip(f"no {BAD_IMAGES}")

    assert len(rows) == 521
