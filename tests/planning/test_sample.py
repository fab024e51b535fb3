"""Tests of mogface_batch.planning.sample: a fair sample, and sizes out of headers alone."""

import os
import signal

import numpy as np
import pytest
from builders import red_squares, saved, tiny_config

from mogface_batch import storage
from mogface_batch.errors import InputError
from mogface_batch.planning import sample as sampling
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.planning.sample import Sample, sample_sizes


def sizes(tmp_path, *words):
    config = tiny_config(tmp_path, *words)
    return sample_sizes(open_manifest(config.manifest), config)


def test_a_sample_is_fair_bounded_and_repeatable():
    def sampled():
        sample = Sample(32)
        for number in range(10_000):
            sample.add(str(number))
        return sample.addresses

    assert sampled() == sampled()
    assert len(sampled()) == 32
    assert 2_500 < sum(map(int, sampled())) / 32 < 7_500


def test_sizes_are_upright_and_of_every_format(tmp_path):
    pixels = red_squares((20, 30), {})
    for suffix in ("jpg", "png", "webp", "bmp", "tiff", "gif", "jp2", "avif"):
        saved(tmp_path / f"images/a.{suffix}", pixels)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    saved(tmp_path / "images/turned.jpg", pixels, exif=exif)

    assert sorted(sizes(tmp_path)) == [(20, 30)] * 8 + [(30, 20)]


def test_what_cannot_be_read_has_no_size(tmp_path):
    saved(tmp_path / "images/a.png", red_squares((20, 30), {}))
    saved(tmp_path / "images/b.png", red_squares((40, 40), {}))
    (tmp_path / "images/c.png").write_bytes(b"broken")
    (tmp_path / "images/d.png").write_bytes(b"")
    (tmp_path / "list.txt").write_text("a.png\nb.png\nc.png\nd.png\nnowhere.png\n")
    where = f"manifest.uri={tmp_path / 'list.txt'}", f"manifest.base_uri={tmp_path / 'images'}"

    assert sizes(tmp_path, *where) == [(20, 30), (40, 40)]
    assert sizes(tmp_path, *where, "limits.pixels=1000") == [(20, 30)]  # nor what will be too large


def test_only_the_beginning_of_a_file_is_read(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    saved(tmp_path / "images/a.jpg", noise, quality=95)
    saved(tmp_path / "images/b.png", noise)
    monkeypatch.setattr(sampling, "HEADER_BYTES", 4096)
    monkeypatch.setattr(storage, "fetch", lambda *_, **__: pytest.fail("it was read whole"))

    assert sizes(tmp_path) == [(300, 400)] * 2


def test_whose_size_stands_at_its_end_is_read_whole(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    saved(tmp_path / "images/a.tiff", noise, compression="tiff_lzw")
    monkeypatch.setattr(sampling, "HEADER_BYTES", 4096)

    assert sizes(tmp_path) == [(300, 400)]


def test_many_images_are_sampled(tmp_path, monkeypatch):
    for number in range(40):
        saved(tmp_path / f"images/{number:02}.png", red_squares((number + 1, 1), {}))
    monkeypatch.setattr(sampling, "SAMPLE_SIZE", 35)

    found = sizes(tmp_path)

    assert len(set(found)) == 35
    assert sizes(tmp_path, "limit=1") == found


def _dies(item):
    if "killer" in item[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return (1, 1)


def test_an_image_that_kills_its_process_has_no_size(tmp_path, monkeypatch):
    for name in ("a", "killer", "z"):
        saved(tmp_path / f"images/{name}.png", red_squares((20, 30), {}))
    monkeypatch.setattr(sampling, "_read_declared_hw", _dies)

    assert sizes(tmp_path) == [(1, 1)] * 2


def test_a_manifest_without_a_size_says_what_to_do(tmp_path):
    (tmp_path / "list.txt").write_text("nowhere.png\n")

    with pytest.raises(
        InputError, match=r"none of 1 that were tried .* could be read \(.*nowhere.png.*canvas.sizes"
    ):
        sizes(tmp_path, f"manifest.uri={tmp_path / 'list.txt'}")
