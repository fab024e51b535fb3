"""Tests of mogface_batch.images.encode."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from mogface_batch.errors import TooLargeFault
from mogface_batch.images.encode import encode, encode_small

Y, X = np.mgrid[0:40, 0:60]
PICTURE = np.stack([X * 4, Y * 6, 200 - X], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("extension", "fmt", "error"),
    [
        (".jpg", "JPEG", 3.0),
        (".jpeg", "JPEG", 3.0),
        (".JPG", "JPEG", 3.0),
        (".png", "PNG", 0.0),
        (".webp", "WEBP", 4.0),
    ],
)
def test_a_picture_is_written_in_the_format_of_its_extension(extension, fmt, error):
    image = Image.open(BytesIO(encode(PICTURE, extension)))

    assert image.format == fmt
    assert np.abs(np.asarray(image).astype(int) - PICTURE).mean() <= error


def test_webp_is_not_the_slow_lossless_kind():
    assert b"VP8L" not in encode(PICTURE, ".webp")


def test_the_same_pixels_give_the_same_bytes():
    assert encode(PICTURE, ".jpg") == encode(PICTURE.copy(), ".jpg")


@pytest.mark.parametrize("extension", ["", ".gif", "jpg", ".pdf"])
def test_no_other_extension_is_written(extension):
    with pytest.raises(ValueError, match="no picture is written as"):
        encode(PICTURE, extension)


@pytest.mark.parametrize(
    ("extension", "most_px"), [(".jpg", 65_500), (".jpeg", 65_500), (".webp", 16_383), (".png", 1_000_000)]
)
def test_a_format_has_a_longest_side(extension, most_px):
    longest = Image.open(BytesIO(encode(np.zeros((1, most_px, 3), np.uint8), extension)))
    assert longest.size == (most_px, 1)

    with pytest.raises(TooLargeFault, match=f"at most {most_px} px") as caught:
        encode(np.zeros((most_px + 1, 1, 3), np.uint8), extension)
    assert caught.value.code == "picture_too_large"


@pytest.mark.parametrize(
    ("hw", "budget"), [((560, 560), 64_000), ((560, 560), 2_000), ((1, 1), 400), ((2, 560), 500)]
)
def test_a_small_picture_keeps_its_budget(hw, budget):
    noise = np.random.default_rng(0).integers(0, 255, (*hw, 3), dtype=np.uint8)

    small = encode_small(noise, at_most_bytes=budget)

    assert len(small) <= budget
    assert Image.open(BytesIO(small)).format == "WEBP"
