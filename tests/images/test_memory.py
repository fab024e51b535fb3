"""Tests of mogface_batch.images.memory: a decoder gets so much memory and no more."""

import subprocess
import sys

import numpy as np
import pytest

from mogface_batch.images import memory

MIB = 1024**2
pytestmark = pytest.mark.skipif(not memory.CAN_BE_LIMITED, reason="only Linux keeps to RLIMIT_DATA")


# In processes of their own: what others have freed could be taken again without asking the kernel.
DECODE = """
import io, sys
import numpy as np
from PIL import Image
from mogface_batch.errors import DecodeFault
from mogface_batch.images.decode import decode_rgb, read_header

small = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8))
for kind in sys.argv[1:]:
    sink = io.BytesIO()
    small.resize((4000, 4000), Image.Resampling.NEAREST).save(sink, kind)
    raw = sink.getvalue()
    for mib in (32, 512):
        try:
            print(kind, mib, decode_rgb(raw, read_header(raw), memory_bytes=mib * 1024**2).shape)
        except DecodeFault as fault:
            print(kind, mib, fault.code)
"""


ALLOCATE = """
import resource
import numpy as np
from mogface_batch.images import memory

before = resource.getrlimit(resource.RLIMIT_DATA)
with memory.limit_memory(200 << 20):
    assert np.ones(100 << 20, np.uint8).all()
    try:
        np.ones(300 << 20, np.uint8)
    except MemoryError:
        print("refused")
assert np.ones(300 << 20, np.uint8).all()
assert resource.getrlimit(resource.RLIMIT_DATA) == before
"""


def test_more_than_the_limit_is_refused_and_less_is_not():
    done = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_no_limit_is_no_limit():
    with memory.limit_memory(None):
        assert np.ones(300 * MIB, np.uint8).all()


def test_an_image_that_needs_more_is_out_of_memory_and_then_decoded_with_more():
    done = subprocess.run(
        [sys.executable, "-c", DECODE, "JPEG", "PNG", "TIFF"], capture_output=True, text=True, check=True
    )

    said = [
        f"{kind} {end}"
        for kind in ("JPEG", "PNG", "TIFF")
        for end in ("32 out_of_memory", "512 (4000, 4000, 3)")
    ]
    assert done.stdout.splitlines() == said


def test_a_decoder_that_does_not_say_why_it_failed_makes_a_fault_of_its_row():
    done = subprocess.run([sys.executable, "-c", DECODE, "WEBP"], capture_output=True, text=True, check=True)

    first, second = done.stdout.splitlines()
    assert first in {"WEBP 32 out_of_memory", "WEBP 32 not_an_image", "WEBP 32 undecodable"}
    assert second == "WEBP 512 (4000, 4000, 3)"
