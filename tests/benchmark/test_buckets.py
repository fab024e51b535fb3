"""Tests of benchmarks.buckets.measure: the sessions see what the job's sessions see, and the figures say so."""

from pathlib import Path

import pytest
from builders import red_squares, saved, tiny_detector

from benchmarks.buckets.forms import Setting
from benchmarks.buckets.measure import measure
from mogface_batch.errors import InputError


@pytest.fixture
def images(tmp_path) -> Path:
    for number in range(12):
        hw = (64, 128) if number % 3 else (128, 64)
        saved(tmp_path / f"images/{number:02}.png", red_squares(hw, {(0, 0): 150 + number}))
    return tmp_path / "images"


def setting(tmp_path, **changed) -> Setting:
    fields = {
        "model": tiny_detector(tmp_path / "tiny.onnx"),
        "manifest": str(tmp_path / "images"),
        "within_hw": (128, 128),
        "provider": "cpu",
        "threads": 1,
        "batch_size": None,
        "limit": None,
    }
    return Setting(**(fields | changed))


def test_fewer_pixels_the_same_faces_and_the_share_that_the_job_writes_down(tmp_path, images):
    table = measure(setting(tmp_path, batch_size=3), counts=[1, 3], repeats=2, job_repeats=1)

    one, three = table.rows
    assert (one["canvases"], three["canvases"]) == ("128x128", "64x128, 128x64, 128x128")
    assert (one["faces"], one["matched_at_IoU_0.99"]) == (12, 12)
    assert (three["faces"], three["matched_at_IoU_0.99"], three["lost"], three["gained"]) == (12, 12, 0, 0)
    # Eight wide and four upright images, three at a time.
    assert (one["padded_share"], three["padded_share"]) == (0.0, 0.2)
    assert (one["job_padded_share"], three["job_padded_share"]) == (0.0, 0.2)
    assert (one["empty_share_of_pixels"], three["empty_share_of_pixels"]) == (0.5, 0.2)
    assert one["session_times_as_fast"] == "1.00 (1.00 to 1.00)"
    assert table.conditions["batch"] == 3


def test_without_the_whole_job_the_first_images_alone(tmp_path, images):
    table = measure(setting(tmp_path, limit=2), counts=[1, 2], repeats=1, job_repeats=0)

    assert table.conditions["images"] == 2
    assert table.rows[1]["padded_share"] == 0.0  # one at a time on a CPU
    assert "job_s" not in table.rows[0]
    # Chosen from all images: most are wide.
    assert table.rows[1]["canvases"] == "64x128, 128x128"


def test_an_image_that_cannot_be_read_is_named(tmp_path, images):
    (images / "05.png").write_bytes(b"broken")

    with pytest.raises(InputError, match=r"05\.png cannot be used"):
        measure(setting(tmp_path), counts=[1], repeats=1, job_repeats=0)
