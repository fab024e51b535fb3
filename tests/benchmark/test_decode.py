"""Tests of benchmarks.decode: what it measures is decoding as the job does it, of pictures like photographs."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import decode
from benchmarks.decode import make_photograph, measure


def test_each_size_and_format_has_its_row():
    table = measure((0.05, 2.0), formats=("JPEG", "PNG"), repeats=1)

    assert [(row["format"], row["megapixels"]) for row in table.rows] == [
        ("JPEG", 0.0),
        ("PNG", 0.0),
        ("JPEG", 2.0),
        ("PNG", 2.0),
    ]
    assert [row["reduced_by"] for row in table.rows] == [1, 1, 2, 1]
    for row in table.rows:
        assert row["decoded_images_per_s"] > row["placed_images_per_s"] * 0.1 > 0
        assert (row["simplejpeg_images_per_s"] is None) == (row["format"] == "PNG")
        assert row["decoded_MB_per_s"] == pytest.approx(row["decoded_images_per_s"] * row["file_MB"])
    assert "simplejpeg" in table.conditions["decoders"]


def test_both_ways_onto_the_canvas_show_the_same_picture(tmp_path):
    path = tmp_path / "photo.jpeg"
    Image.fromarray(make_photograph(2.0)).save(path, quality=90)

    ours = decode._decode_and_place(path).astype(float)
    theirs = decode._place_with_opencv(path, decode.cv2.INTER_AREA)[..., ::-1].astype(float)

    assert ours.shape == theirs.shape == (*decode.CANVAS_HW, 3)
    assert np.abs(ours - theirs)[:470, :630].mean() < 3


@pytest.mark.parametrize("megapixels", [0.05, 0.3, 2.0])
def test_a_made_up_photograph_takes_as_many_bits_as_a_photograph(megapixels):
    pixels = make_photograph(megapixels)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", quality=90)

    height, width, _ = pixels.shape
    assert (height % 8, width % 8) == (0, 0)
    assert height * width == pytest.approx(megapixels * 1e6, rel=0.1)
    assert 1 < 8 * len(sink.getvalue()) / (height * width) < 4
    np.testing.assert_array_equal(pixels, make_photograph(megapixels))


def test_a_large_photograph_is_laid_out_of_smaller_ones(monkeypatch):
    monkeypatch.setattr(decode, "_LARGEST_MADE_PX", 100_000)

    pixels = make_photograph(0.3)

    half = pixels.shape[1] // 2
    np.testing.assert_array_equal(pixels[:, :half], pixels[:, : half - 1 : -1])
    assert pixels.shape[0] * pixels.shape[1] == pytest.approx(0.3e6, rel=0.1)
