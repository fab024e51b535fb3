"""Tests of mogface_batch.images.metadata."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from mogface_batch.errors import TooLargeFault
from mogface_batch.images.decode import decode_rgb
from mogface_batch.images.encode import SUFFIXES, encode
from mogface_batch.images.image_header import read_header
from mogface_batch.images.metadata import Metadata, read_metadata

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(height=60, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def exif_with_everything():
    """Return an EXIF block with an author, GPS, an orientation, a maker's note, sizes and a thumbnail."""
    exif = Image.Exif()
    exif[0x013B], exif[0x0112] = "Author", 6
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x927C: b"SECRETPREVIEW" * 9, 0xA002: 4000, 0xA003: 3000}
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    return exif.tobytes()


def encoded(kind="JPEG", rgb=None, **options):
    sink = io.BytesIO()
    Image.fromarray(picture() if rgb is None else rgb).save(sink, kind, **options)
    return sink.getvalue()


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_is_written_and_read_back(suffix):
    rgb = np.full((40, 50, 3), (200, 100, 50), dtype=np.uint8)

    back = encode(rgb, suffix, Metadata())

    assert read_header(back).raw_hw == (40, 50)
    assert np.abs(decode_rgb(back, read_header(back)).astype(int) - rgb).max() <= 6
    assert not read_metadata(back).icc
    assert not read_metadata(back).exif


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("AVIF", ".avif")],
)
def test_the_profile_and_the_exif_block_are_kept(kind, suffix):
    source = encoded(kind, icc_profile=SRGB, exif=exif_with_everything())
    kept = read_metadata(source)

    back = Image.open(io.BytesIO(encode(picture(), suffix, kept)))

    assert back.info["icc_profile"] == SRGB
    exif = back.getexif()
    assert exif[0x013B] == "Author"
    assert exif.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
    assert exif.get_ifd(0x8825)[1] == "N"
    assert 0x927C not in exif.get_ifd(0x8769)
    assert 0xA002 not in exif.get_ifd(0x8769)
    assert exif.get(0x0112, 1) == 1
    assert kept.lost is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_no_preview_of_the_source_survives(kind):
    source = encoded(
        kind,
        exif=exif_with_everything(),
        **({} if kind in {"TIFF", "PNG"} else {"xmp": b"<x>SECRETPREVIEW</x>"}),
    )
    assert b"SECRETPREVIEW" in source

    kept = read_metadata(source)

    assert b"SECRETPREVIEW" not in encode(picture(), ".jpg", kept)


def test_a_thumbnail_is_left_out():
    small = encoded("JPEG", picture(8, 8))
    block = bytearray(b"Exif\0\0II*\0\x08\0\0\0" + b"\0\0" + b"\x0e\0\0\0")
    block += b"\x03\0"
    at = 14 + 2 + 3 * 12 + 4
    for tag, kind, value in ((0x0103, 3, 6), (0x0201, 4, at), (0x0202, 4, len(small))):
        block += (
            tag.to_bytes(2, "little")
            + kind.to_bytes(2, "little")
            + (1).to_bytes(4, "little")
            + value.to_bytes(4, "little")
        )
    block += b"\0\0\0\0" + small
    source = encoded("JPEG", exif=bytes(block))
    assert source.count(b"\xff\xd8\xff") == 2

    back = encode(picture(), ".jpg", read_metadata(source))

    assert back.count(b"\xff\xd8\xff") == 1


def test_a_profile_of_other_colours_is_left_out():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

    assert read_metadata(encoded("JPEG", icc_profile=lab)).icc is None


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "junk", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0" + bytes(range(256)) * 20]
)
def test_a_damaged_exif_block_is_no_crash(junk):
    kept = read_metadata(encoded("JPEG", exif=junk))

    assert kept.exif is None or kept.lost is None
    assert encode(picture(), ".jpg", kept)


def test_a_picture_that_its_format_cannot_hold_is_a_fault_of_its_row():
    with pytest.raises(TooLargeFault, match=r"cannot be written as \.webp") as caught:
        encode(np.zeros((1, 17000, 3), dtype=np.uint8), ".webp", Metadata())

    assert caught.value.code == "picture_too_large"
