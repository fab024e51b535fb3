"""``benchmark decode``: how fast a core decodes photographs, beside libjpeg-turbo alone and beside OpenCV.

The photographs are made up, of 0.3 to 48 megapixels: noise whose power falls with its frequency as that of
photographs does, with a few edges, so that a JPEG has as many bits a pixel as a camera's. Two questions, in turns:

    decoded     bytes -> all pixels           ours against simplejpeg, a bare call of libjpeg-turbo
    placed      file -> canvas of 640x640     ours, which may decode at 1/2, 1/4 or 1/8 of the size, against
                                              `cv2.imread` and `cv2.resize`
"""

import importlib.metadata
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table, format_quartiles
from mogface_batch.geometry import Letterbox, Pixels
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.images.decode import (
    check_pixels,
    choose_reduction,
    decode_rgb,
    read_header,
    use_one_thread,
)

FORMATS: Mapping[str, Mapping[str, int]] = {
    "JPEG": {"quality": 90},
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 80, "method": 0},
}
"""Pillow's word -> how it is written."""
MEGAPIXELS = (0.3, 2.0, 12.0, 48.0)
CANVAS_HW = (640, 640)
METHOD = (
    "one thread; each way takes its turn, after one that does not count; a turn is as many images as take 50 ms, at least "
    "one; times are of the processor, which other load changes least; speeds are of the median turn, a ratio is the "
    "median of the ratios of two turns of the same round, with their quartiles; MB are of the file; `placed` reads the "
    "file too, which is in the page cache"
)
_DECODERS = ("opencv-python-headless", "pillow", "simplejpeg")
_TURN_S = 0.05
_LARGEST_MADE_PX = 12_000_000
"""A larger photograph is laid out of mirrored copies of a smaller one."""
_COARSE = 16
_MEMORY_BYTES = 4 * 1024**3

Way = Callable[[], object]


def measure(
    megapixels: Sequence[float] = MEGAPIXELS, *, formats: Sequence[str] = tuple(FORMATS), repeats: int = 7
) -> Table:
    """Return a row for each size and format.

    Args:
        megapixels: Of the photographs, which are 4 wide and 3 high.
        formats: Some of `FORMATS`.
        repeats: Rounds in which each way takes its turn.
    """
    threads = cv2.getNumThreads()
    use_one_thread()
    try:
        with tempfile.TemporaryDirectory(prefix="mogface-batch-") as folder:
            rows = tuple(
                _measure_format(pixels, Path(folder) / f"photo.{fmt.lower()}", fmt, repeats)
                for pixels in map(make_photograph, megapixels)
                for fmt in formats
            )
    finally:
        cv2.setNumThreads(threads)
    height, width = CANVAS_HW
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "decoders": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _DECODERS),
        "canvas": f"{height}x{width}",
        "rounds": repeats,
        "method": METHOD,
    }
    return Table("decode", "Decoding", rows, conditions)


def make_photograph(megapixels: float, seed: int = 0) -> Pixels:
    """Return (H, W, 3) RGB of a made-up photograph, 4 wide and 3 high, both multiples of 8 as cameras have them."""
    if megapixels * 1e6 > _LARGEST_MADE_PX:
        quarter = make_photograph(megapixels / 4, seed)
        half = np.concatenate([quarter, quarter[:, ::-1]], axis=1)
        return np.concatenate([half, half[::-1]])
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5 / 8) * 8
    height = round(width * 3 / 4 / 8) * 8
    rng = np.random.default_rng(seed)
    hw = (height, width)
    light = 118 + _make_octave(rng, hw, 4, 22.0)
    # Much of a photograph is out of focus, or sky: fine texture lies in a part of it only.
    in_focus = np.clip(_make_octave(rng, hw, 6, 1.0)[:, :, :1] + 0.2, 0.08, 1.5)
    _add_shapes(light, rng)
    longest = 8
    while longest < width:
        is_finest = longest * 2 >= width  # a lens leaves little of it
        octave = _make_octave(rng, hw, longest, 7.0 if is_finest else 17.0)
        light += octave if longest <= _COARSE else octave * in_focus
        longest *= 2
    return np.clip(light, 0, 255).astype(np.uint8)


def _make_octave(
    rng: np.random.Generator, hw: tuple[int, int], longest: int, strength: float
) -> NDArray[np.float32]:
    """Return noise (H, W, 3) with so many independent values along the longer side, mostly grey."""
    small_hw = (max(2, longest * hw[0] // hw[1]), longest)
    grey = rng.standard_normal((*small_hw, 1), dtype=np.float32)
    colour = rng.standard_normal((*small_hw, 3), dtype=np.float32) * 0.2
    octave: NDArray[np.float32] = cv2.resize(
        (grey + colour) * strength, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC
    )
    return octave


def _add_shapes(light: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Add things with an edge."""
    height, width = light.shape[:2]
    for _ in range(60):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(2, width // 10 + 3)), int(rng.integers(2, width // 10 + 3)))
        shade = tuple(float(value) for value in rng.uniform(60, 180) + rng.uniform(-30, 30, 3))
        cv2.ellipse(light, centre, axes, float(rng.uniform(0, 180)), 0, 360, shade, thickness=-1)


@dataclass(frozen=True, slots=True)
class _Turns:
    """The time of a way for an image, turn by turn."""

    seconds: tuple[float, ...]

    @property
    def per_s(self) -> float:
        return 1 / statistics.median(self.seconds)

    def format_ratio(self, reference: "_Turns") -> str:
        return format_quartiles([b / a for a, b in zip(self.seconds, reference.seconds, strict=True)])


def _measure_format(pixels: Pixels, path: Path, fmt: str, repeats: int) -> dict[str, Cell]:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, fmt, **FORMATS[fmt])
    encoded = sink.getvalue()
    path.write_bytes(encoded)
    ways: dict[str, Way] = {
        "decoded": lambda: _decode(encoded),
        "placed": lambda: _decode_and_place(path),
        "imread_area": lambda: _place_with_opencv(path, cv2.INTER_AREA),
        "imread_linear": lambda: _place_with_opencv(path, cv2.INTER_LINEAR),
    }
    if fmt == "JPEG":
        ways["bare"] = lambda: simplejpeg.decode_jpeg(encoded, "RGB")
    turns = _take_turns(ways, repeats)
    decoded, placed, bare = turns["decoded"], turns["placed"], turns.get("bare")
    header = read_header(encoded)
    return {
        "format": fmt,
        "megapixels": round(pixels.shape[0] * pixels.shape[1] / 1e6, 1),
        "file_MB": len(encoded) / 1e6,
        "decoded_images_per_s": decoded.per_s,
        "decoded_MB_per_s": decoded.per_s * len(encoded) / 1e6,
        "simplejpeg_images_per_s": bare.per_s if bare else None,
        "times_as_fast_as_simplejpeg": decoded.format_ratio(bare) if bare else None,
        "reduced_by": choose_reduction(header, Letterbox.fit(header.upright_hw, CANVAS_HW).scale),
        "placed_images_per_s": placed.per_s,
        "placed_MB_per_s": placed.per_s * len(encoded) / 1e6,
        "imread_images_per_s": turns["imread_linear"].per_s,
        "times_as_fast_as_imread_and_INTER_LINEAR": placed.format_ratio(turns["imread_linear"]),
        "times_as_fast_as_imread_and_INTER_AREA": placed.format_ratio(turns["imread_area"]),
    }


def _take_turns(ways: Mapping[str, Way], repeats: int) -> dict[str, _Turns]:
    images = {name: max(1, round(_TURN_S / _time_way(way, 1))) for name, way in ways.items()}
    seconds_by_way: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds_by_way[name].append(_time_way(way, images[name]))
    return {name: _Turns(tuple(seconds)) for name, seconds in seconds_by_way.items()}


def _time_way(way: Way, images: int) -> float:
    """Return the CPU time of an image, in seconds."""
    start = time.process_time()
    for _ in range(images):
        way()
    return (time.process_time() - start) / images


# -- the ways --------------------------------------------------------------------------------------------------


def _decode(encoded: bytes) -> Pixels:
    header = read_header(encoded)
    check_pixels(header, 100_000_000)
    return decode_rgb(encoded, header, memory_bytes=_MEMORY_BYTES)


def _decode_and_place(path: Path) -> Pixels:
    encoded = path.read_bytes()
    header = read_header(encoded)
    check_pixels(header, 100_000_000)
    letterbox = Letterbox.fit(header.upright_hw, CANVAS_HW)
    by = choose_reduction(header, letterbox.scale)
    rgb = decode_rgb(encoded, header, memory_bytes=_MEMORY_BYTES, reduced_by=by)
    return place_on_canvas(rgb, letterbox, (0, 0, 0), reduced_by=by)


def _place_with_opencv(path: Path, interpolation: int) -> Pixels:
    bgr: Any = cv2.imread(str(path))
    height, width = bgr.shape[:2]
    scale = min(1.0, CANVAS_HW[0] / height, CANVAS_HW[1] / width)
    canvas = np.zeros((*CANVAS_HW, 3), dtype=np.uint8)
    small = cv2.resize(bgr, (round(width * scale), round(height * scale)), interpolation=interpolation)
    canvas[: small.shape[0], : small.shape[1]] = small
    return canvas
