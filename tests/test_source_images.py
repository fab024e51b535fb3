"""Tests of mogface_batch.source_images: one image is read within its limits, or a fault says why not."""

import hashlib

import pytest
from builders import red_squares, saved

from mogface_batch.config import LimitOptions
from mogface_batch.errors import RowFault, TooLargeFault
from mogface_batch.source_images import read_image, read_image_of_row

SMALL = LimitOptions(bytes=1, pixels=1, fetch_attempts=1)


@pytest.fixture
def path(tmp_path):
    return saved(tmp_path / "photo.png", red_squares((64, 96), {}))


def test_an_image_is_read_with_its_header_and_its_bytes(path):
    image = read_image(str(path))

    assert image.rgb.shape == (64, 96, 3)
    assert image.header.upright_hw == (64, 96)
    assert image.encoded == path.read_bytes()


@pytest.mark.parametrize("limits", [LimitOptions(bytes=1), LimitOptions(pixels=1)], ids=["bytes", "pixels"])
def test_an_image_over_a_limit_is_refused(path, monkeypatch, limits):
    monkeypatch.setattr("mogface_batch.source_images.LimitOptions", lambda: limits)

    with pytest.raises(TooLargeFault):
        read_image(str(path))


def test_an_image_of_a_row_may_be_as_large_as_it_was(path):
    encoded = path.read_bytes()

    image = read_image_of_row(
        str(path), sha256=hashlib.sha256(encoded).hexdigest(), size_bytes=len(encoded), limits=SMALL
    )

    assert image.rgb.shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("has_address", "sha256", "code"),
    [
        pytest.param(False, None, "no_source", id="unknown-location"),
        pytest.param(True, "0" * 64, "source_changed", id="changed"),
    ],
)
def test_an_image_that_is_not_that_of_its_row_is_refused(path, has_address, sha256, code):
    address = str(path) if has_address else ""

    with pytest.raises(RowFault) as caught:
        read_image_of_row(address, sha256=sha256, size_bytes=path.stat().st_size, limits=LimitOptions())

    assert caught.value.code == code
