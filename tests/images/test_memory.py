"""Tests of mogface_batch.images.memory: a decoder gets so much memory and no more."""

import io
import resource

import numpy as np
import pytest
from PIL import Image

from mogface_batch.errors import DecodeFault
from mogface_batch.images import memory
from mogface_batch.images.decode import decode_rgb, read_header

MIB = 1024**2
pytestmark = pytest.mark.skipif(not memory.CAN_BE_LIMITED, reason="only Linux keeps to RLIMIT_DATA")


SIDE = 4000


def encoded(kind):
    small = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(sink, kind)
    return sink.getvalue()


def test_more_than_the_limit_is_refused_and_less_is_not():
    before = resource.getrlimit(resource.RLIMIT_DATA)

    with memory.at_most_more(200 * MIB):
        assert np.ones(100 * MIB, np.uint8).all()
        with pytest.raises(MemoryError):
            np.ones(300 * MIB, np.uint8)

    assert np.ones(300 * MIB, np.uint8).all()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_no_limit_is_no_limit():
    with memory.at_most_more(None):
        assert np.ones(300 * MIB, np.uint8).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_an_image_that_needs_more_is_out_of_memory_and_the_next_is_decoded(kind):
    raw = encoded(kind)
    header = read_header(raw)

    with pytest.raises(DecodeFault) as caught:
        decode_rgb(raw, header, memory_bytes=16 * MIB)

    assert caught.value.code == "out_of_memory"
    assert decode_rgb(raw, header, memory_bytes=512 * MIB).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("kind", ["JPEG2000", "WEBP"])
def test_a_decoder_that_does_not_say_why_it_failed_makes_a_fault_of_its_row(kind):
    raw = encoded(kind)

    with pytest.raises(DecodeFault):
        decode_rgb(raw, read_header(raw), memory_bytes=16 * MIB)
