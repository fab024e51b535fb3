"""Tests of mogface_batch.images.crops."""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageCms

from mogface_batch.errors import TooLargeFault
from mogface_batch.geometry import Faces
from mogface_batch.images.crops import (
    _EYES_LEVEL,
    SUFFIXES,
    Metadata,
    crop_faces,
    encode_small,
    encode_with,
    read_metadata,
)
from mogface_batch.images.decode import decode_rgb
from mogface_batch.images.header import read_header

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(height=60, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def one_face(box, points=None):
    landmarks = None if points is None else np.array([points], dtype=np.float32)
    return Faces(np.array([box], dtype=np.float32), np.array([0.9], dtype=np.float32), landmarks)


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


# -- crops ---------------------------------------------------------------------------------------------------------


def test_no_faces_no_crops():
    assert (
        crop_faces(picture(), Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)), margin=0.3) == []
    )


@pytest.mark.parametrize(
    ("box", "margin", "rows", "columns"),
    [
        pytest.param((10, 20, 30, 40), 0, (20, 40), (10, 30), id="as it is"),
        pytest.param((10, 20, 30, 40), 0.5, (10, 50), (0, 40), id="with a margin"),
        pytest.param((0, 0, 30, 40), 1, (0, 60), (0, 60), id="cut at the border"),
        pytest.param((10.4, 20.6, 30.2, 40.9), 0, (20, 41), (10, 31), id="whole pixels around"),
        pytest.param((79.5, 59.5, 80, 60), 0, (59, 60), (79, 80), id="tiny"),
    ],
)
def test_a_face_without_landmarks_is_cut_out(box, margin, rows, columns):
    rgb = picture()

    (crop,) = crop_faces(rgb, one_face(box), margin=margin)

    np.testing.assert_array_equal(crop, rgb[slice(*rows), slice(*columns)])


def test_an_upright_face_with_landmarks_is_the_same_cut():
    rgb = picture()
    points = _EYES_LEVEL / 112 * 20 + [30, 20]

    (crop,) = crop_faces(rgb, one_face((30, 20, 50, 40), points), margin=0)

    difference = np.abs(crop.astype(int) - rgb[20:40, 30:50])
    assert np.median(difference) <= 12  # the template's own eyes are a third of a degree off level


@pytest.mark.parametrize("degrees", [-170, -90, -30, 0, 45, 90, 180])
def test_the_eyes_are_level_and_above_the_mouth(degrees):
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = np.array([150.0, 150.0])
    points = (_EYES_LEVEL - _EYES_LEVEL.mean(axis=0)) @ turn.T + centre
    rgb = np.zeros((300, 300, 3), dtype=np.uint8)
    for (x, y), colour in zip(
        points, [(255, 0, 0), (0, 255, 0), (9, 9, 9), (0, 0, 255), (0, 0, 255)], strict=True
    ):
        rgb[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = colour

    (crop,) = crop_faces(rgb, one_face((100, 100, 200, 200), points), margin=0.2)

    where = [np.argwhere(crop[..., channel] > 128).mean(axis=0) for channel in range(3)]
    assert abs(where[0][0] - where[1][0]) < 1.5
    assert where[0][1] < where[1][1]
    assert where[2][0] > where[0][0] + 20


@pytest.mark.parametrize(
    "points",
    [np.full((5, 2), 20.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf)],
    ids=["one point", "not numbers", "infinite"],
)
def test_landmarks_that_say_nothing_leave_the_plain_cut(points):
    rgb = picture()

    (crop,) = crop_faces(rgb, one_face((10, 20, 30, 40), points), margin=0)

    np.testing.assert_array_equal(crop, rgb[20:40, 10:30])


def test_what_lies_outside_the_image_is_black():
    points = _EYES_LEVEL[:, ::-1] * [-1, 1] / 112 * 20 + [20, 0]  # a quarter turn

    (crop,) = crop_faces(np.full((60, 80, 3), 255, np.uint8), one_face((0, 0, 20, 20), points), margin=0.5)

    assert crop[0, 0].max() == 0 or crop[-1, 0].max() == 0 or crop[0, -1].max() == 0


# -- metadata ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_is_written_and_read_back(suffix):
    rgb = np.full((40, 50, 3), (200, 100, 50), dtype=np.uint8)

    back = encode_with(rgb, suffix, Metadata())

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

    back = Image.open(io.BytesIO(encode_with(picture(), suffix, kept)))

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

    assert b"SECRETPREVIEW" not in encode_with(picture(), ".jpg", kept)


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

    back = encode_with(picture(), ".jpg", read_metadata(source))

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
    assert encode_with(picture(), ".jpg", kept)


def test_a_picture_that_its_format_cannot_hold_is_a_fault_of_its_row():
    with pytest.raises(TooLargeFault, match=r"cannot be written as \.webp") as caught:
        encode_with(np.zeros((1, 17000, 3), dtype=np.uint8), ".webp", Metadata())

    assert caught.value.code == "picture_too_large"


@pytest.mark.parametrize(
    ("hw", "budget"), [((560, 560), 64_000), ((560, 560), 2_000), ((1, 1), 400), ((2, 560), 500)]
)
def test_a_small_picture_keeps_its_budget(hw, budget):
    small = encode_small(picture(*hw), at_most_bytes=budget)

    assert len(small) <= budget
    assert Image.open(io.BytesIO(small)).format == "WEBP"
