"""Where pixels lie: the integer side of the pass, computed inside the graph from the sizes that it meets.

Between rewritten convolutions a feature map is a matrix: one row a pixel, one column a channel. Its rows are ordered as
the tiles were made, [row in the tile, column in the tile, tile]; the last tile is a dummy whose pixels are zero, the
padding. A plain map [N, C, H, W], transposed, is the case of tiles of 1x1 (without the dummy). So cutting windows out of
such a matrix, whatever order it is in, is one Gather, and padding, cropping, dilation and odd sizes are arithmetic on its
indices. When the canvas is fixed, ONNX Runtime folds all of it into constants.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mogface_batch.export.passes.winograd.node_writer import Emitter, Value

_NOWHERE = -(2**40)
"""Added to an index, it stays negative."""


class Tiling(NamedTuple):
    """How an output is cut along one axis: into tiles of ``side`` outputs that lie ``dilation`` pixels apart."""

    side: int
    dilation: int


PLAIN = Tiling(1, 1)


class Sizes(NamedTuple):
    """Batch, height and width of a feature map: int64 scalars in the graph."""

    images: Value
    height: Value
    width: Value


class Window(NamedTuple):
    """What a convolution of 3 taps reads along one axis."""

    tiling: Tiling
    """Of its output."""
    pad: int
    """Zeros before the first pixel."""


@dataclass(frozen=True)
class Placement:
    """Where a feature map lies in a matrix of pixels: its tiles are ``first`` and following."""

    tilings: tuple[Tiling, Tiling]
    sizes: Sizes
    first: Value
    """Its first tile's number in the matrix; int64 scalar, as the rest."""
    tiles: Value
    """All tiles of the matrix."""
    base: Value
    """Row of the matrix at which the order begins."""


def scalar(e: Emitter, op: str, left: Value, right: Value | int) -> Value:
    """Return a sum, product, ... of int64 tensors; an int is a constant."""
    return e.add(op, left, right if isinstance(right, str) else e.integers(right))


def sizes_of(e: Emitter, value: Value) -> Sizes:
    """Return the sizes of a tensor [N, C, H, W]."""
    shape = e.add("Shape", value)
    return Sizes(*(e.add("Gather", shape, e.integers(axis), axis=0) for axis in (0, 2, 3)))


def tile_count(e: Emitter, length: Value, tiling: Tiling) -> Value:
    """Return how many tiles an axis of ``length`` outputs has: ceil(ceil(length / dilation) / side) * dilation."""
    each = scalar(e, "Div", scalar(e, "Add", length, tiling.dilation - 1), tiling.dilation)
    runs = scalar(e, "Div", scalar(e, "Add", each, tiling.side - 1), tiling.side)
    return scalar(e, "Mul", runs, tiling.dilation)


def tiles_of_image(e: Emitter, tilings: tuple[Tiling, Tiling], sizes: Sizes) -> Value:
    """Return the tiles of one image, all its rows and columns of tiles."""
    rows, columns = (tile_count(e, length, tiling) for length, tiling in zip(sizes[1:], tilings, strict=True))
    return e.add("Mul", rows, columns)


def counted(e: Emitter, length: Value) -> Value:
    """Return 0 .. length - 1."""
    return e.add("Range", e.integers(0), length, e.integers(1))


def output_positions(e: Emitter, length: Value, tiling: Tiling) -> Value:
    """Return (side, tiles): which output of an axis lies where in which tile; some are beyond ``length``."""
    tile = counted(e, tile_count(e, length, tiling))
    run = scalar(e, "Div", tile, tiling.dilation)
    residue = e.add("Sub", tile, scalar(e, "Mul", run, tiling.dilation))
    start = e.add("Add", scalar(e, "Mul", run, tiling.dilation * tiling.side), residue)
    return e.add("Add", e.integers(np.arange(tiling.side).reshape(-1, 1) * tiling.dilation), start)


def window_positions(e: Emitter, length: Value, window: Window) -> Value:
    """Return (side + 2, tiles): which input each tap of each tile reads; some lie outside the input."""
    side, dilation = window.tiling
    first = e.add("Gather", output_positions(e, length, window.tiling), e.integers([0]), axis=0)
    return e.add("Add", e.integers(np.arange(side + 2).reshape(-1, 1) * dilation - window.pad), first)


def window_rows(e: Emitter, windows: tuple[Window, Window], outputs: Sizes, source: Placement) -> Value:
    """Return (taps, N * tiles of an image): the row of the matrix that each tap reads, negative for padding."""
    vertical, horizontal = (
        window_positions(e, length, window) for length, window in zip(outputs[1:], windows, strict=True)
    )
    rows = _rows(e, source, vertical, horizontal)
    taps = [window.tiling.side + 2 for window in windows]
    return e.reshape(rows, taps[0] * taps[1], -1)


def image_rows(e: Emitter, source: Placement) -> Value:
    """Return (N, H, W): the row of the matrix of each pixel."""
    every = [e.reshape(counted(e, length), 1, -1) for length in source.sizes[1:]]
    rows = _rows(e, source, every[0], every[1])
    shape = e.add("Concat", *(e.reshape(size, 1) for size in source.sizes), axis=0)
    return e.add("Reshape", rows, shape, allowzero=1)


def inside(e: Emitter, tilings: tuple[Tiling, Tiling], sizes: Sizes) -> Value:
    """Return bool (side * side, N * tiles of an image): whether an output exists."""
    flags = [
        e.add("Less", output_positions(e, length, tiling), length)
        for length, tiling in zip(sizes[1:], tilings, strict=True)
    ]
    (side, _), (other, _) = tilings
    both = e.add("And", e.reshape(flags[0], side, 1, 1, -1, 1), e.reshape(flags[1], 1, other, 1, 1, -1))
    image = e.reshape(e.add("Less", counted(e, sizes.images), sizes.images), -1, 1, 1)
    return e.reshape(e.add("And", both, image), side * other, -1)


def _rows(e: Emitter, source: Placement, vertical: Value, horizontal: Value) -> Value:
    """Return (taps, taps, N, tiles, tiles) from positions (taps, tiles) along each axis."""
    (_, across) = source.tilings
    columns = tile_count(e, source.sizes.width, across)
    in_tile = scalar(e, "Mul", source.tiles, across.side)
    down = _steps(e, vertical, source.sizes.height, source.tilings[0], (in_tile, columns))
    right = _steps(e, horizontal, source.sizes.width, across, (source.tiles, e.integers(1)))
    each = tiles_of_image(e, source.tilings, source.sizes)
    start = e.add("Add", source.base, source.first)
    images = e.add("Add", e.add("Mul", counted(e, source.sizes.images), each), start)
    place = e.add("Add", e.add("Unsqueeze", right, e.integers([0, 2, 3])), e.reshape(images, -1, 1, 1))
    return e.add("Add", e.add("Unsqueeze", down, e.integers([1, 2, 4])), place)


def _steps(e: Emitter, position: Value, length: Value, tiling: Tiling, strides: tuple[Value, Value]) -> Value:
    """Return what a position along one axis adds to the row; far below zero where it lies outside."""
    spaced = scalar(e, "Div", position, tiling.dilation)
    residue = e.add("Sub", position, scalar(e, "Mul", spaced, tiling.dilation))
    run = scalar(e, "Div", spaced, tiling.side)
    offset = e.add("Sub", spaced, scalar(e, "Mul", run, tiling.side))
    tile = e.add("Add", scalar(e, "Mul", run, tiling.dilation), residue)
    step = e.add("Add", e.add("Mul", offset, strides[0]), e.add("Mul", tile, strides[1]))
    within = e.add("And", e.add("Less", e.integers(-1), position), e.add("Less", position, length))
    return e.add("Where", within, step, e.integers(_NOWHERE))
