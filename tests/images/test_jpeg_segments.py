"""Tests of mogface_batch.images.jpeg_segments: what it says of a JPEG is what Pillow says, or it says nothing."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mogface_batch.errors import RowFault
from mogface_batch.images import jpeg_segments
from mogface_batch.images.decode import choose_reduction, decode_rgb
from mogface_batch.images.image_header import read_header
from mogface_batch.images.jpeg_segments import read_hw_and_exif

# pytest puts its own filters before ours, which silence Pillow about odd files.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def jpeg(image=PICTURE, kind="JPEG", **options):
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


PLAIN = {
    "rgb": jpeg(),
    "grey": jpeg(PICTURE.convert("L")),
    "progressive": jpeg(progressive=True, optimize=True),
    "turned": jpeg(exif=exif(6)),
    "with-profile-and-comment": jpeg(icc_profile=b"x" * 300, comment=b"a comment", dpi=(72, 72)),
    "restart": jpeg(restart_marker_blocks=2),
}
OTHER = {
    "cmyk": jpeg(PICTURE.convert("CMYK")),
    "two-pictures": jpeg(kind="MPO", save_all=True, append_images=[PICTURE]),
    "no-scan": PLAIN["rgb"][: PLAIN["rgb"].index(b"\xff\xda")],
    "cut-in-its-scan-header": PLAIN["rgb"][: PLAIN["rgb"].index(b"\xff\xda") + 6],
    "no-size": PLAIN["rgb"].replace(b"\x00\x18\x00\x28", b"\x00\x00\x00\x28", 1),
    "twelve-bits": PLAIN["rgb"].replace(b"\x08\x00\x18", b"\x0c\x00\x18", 1),
    "half-a-table": PLAIN["rgb"].replace(b"\xff\xdb\x00\x43", b"\xff\xdb\x00\x33", 1),
    "rubbish-between-segments": PLAIN["rgb"].replace(b"\xff\xdb", b"\0\xff\xdb", 1),
    "two-exif-blocks": PLAIN["turned"].replace(b"\xff\xdb", b"\xff\xe1\0\x08Exif\0\0\xff\xdb", 1),
    "begin-only": jpeg_segments.JPEG,
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_jpeg_tells_its_size_and_its_exif(name):
    hw, block = read_hw_and_exif(PLAIN[name])

    assert hw == (24, 40)
    assert block == (exif(6) if name == "turned" else None)


@pytest.mark.parametrize("name", OTHER)
def test_what_is_odd_is_left_to_pillow(name):
    assert read_hw_and_exif(OTHER[name]) is None


def judged(encoded):
    try:
        return read_header(encoded)
    except RowFault as fault:
        return fault.code


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(sorted(PLAIN)), data=st.data())
def test_whatever_is_damaged_pillow_says_the_same_or_is_asked(name, data):
    encoded = bytearray(PLAIN[name])
    before_the_scan = encoded.index(b"\xff\xda") + 14
    for at in data.draw(st.lists(st.integers(0, before_the_scan - 1), max_size=3)):
        encoded[at] = data.draw(
            st.sampled_from([0, 1, 8, 0xC0, 0xDA, 0xDB, 0xE1, 0xFF]) | st.integers(0, 255)
        )
    encoded = bytes(encoded[: data.draw(st.integers(0, len(encoded)) | st.just(len(encoded)))])
    with_ours = judged(encoded)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jpeg_segments, "read_hw_and_exif", lambda _: None)
        assert judged(encoded) == with_ours


def lossless_jpeg():
    """Return a lossless JPEG (SOF3) of 64 by 64 pixels of one colour, as imagecodecs' `jpeg8_encode` writes it."""
    head = (
        "ffd8ffee000e41646f626500640000000000ffc30011080040004003521100471100421100ffc4001500010100000000"
        "000000000000000000000007ffda000c0352004700420001000084d223a0"
    )
    return bytes.fromhex(head) + bytes(1535) + b"\xff\xd9"


def test_a_lossless_jpeg_is_decoded_whole_and_never_at_a_part_of_its_size():
    encoded = lossless_jpeg()
    header = read_header(encoded)

    # libjpeg-turbo corrupts the heap where it decodes this at an eighth of its size.
    assert not header.is_plain_jpeg
    assert choose_reduction(header, 0.1) == 1
    rgb = decode_rgb(encoded, header)
    assert rgb.shape == (64, 64, 3)
    assert (rgb == (10, 200, 30)).all()


@pytest.mark.parametrize("kind", range(0xC0, 0xD0))
@pytest.mark.parametrize("before", [b"", b"\xff", b"garbage", b"\xff\xfe\0\x04ab", b"\xff\0"])
def test_only_baseline_and_progressive_frames_with_huffman_codes_are_plain(kind, before):
    frame = bytes([0xFF, kind, 0, 17]) + bytes(15)
    encoded = b"\xff\xd8" + before + frame + b"\xff\xc0\0\x11" + bytes(15) + b"\xff\xda\0\x08"

    # 0xC4, 0xC8 and 0xCC are no frames: the one behind them counts.
    assert jpeg_segments.has_plain_frame(encoded) is (kind in {0xC0, 0xC1, 0xC2, 0xC4, 0xC8, 0xCC})


@pytest.mark.parametrize(
    "encoded", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xda\0\x08\xff\xc0", b"\xff\xd8" + b"x" * 50]
)
def test_without_a_frame_before_the_scan_nothing_is_plain(encoded):
    assert not jpeg_segments.has_plain_frame(encoded)
