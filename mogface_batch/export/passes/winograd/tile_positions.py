"""Positions of pixels: the integer arithmetic of the pass, which the graph computes from the sizes at run time.

Between rewritten convolutions a feature map is a matrix: one row per pixel, one column per channel. Rows are in the
order of the tiles: [row in the tile, column in the tile, tile]. The last tile is a dummy whose pixels are zero; it is
the padding. A plain map [N, C, H, W], transposed, is the same with tiles of 1x1 (without the dummy). So cutting windows
from a matrix in any such order is one Gather, and padding, cropping, dilation and odd sizes are arithmetic on its
indices. If the canvas size is fixed, ONNX Runtime folds all of this into constants.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mogface_batch.export.passes.winograd.node_writer import NodeWriter, Value

_OUTSIDE = -(2**40)
"""An index stays negative when it is added to this."""


class Tiling(NamedTuple):
    """How an output is cut along one axis: into tiles of ``side`` outputs that are ``dilation`` pixels apart."""

    side: int
    dilation: int


PLAIN = Tiling(1, 1)


class Sizes(NamedTuple):
    """Batch, height and width of a feature map: int64 scalars in the graph."""

    images: Value
    height: Value
    width: Value


class Window(NamedTuple):
    """The inputs that a convolution of 3 taps reads along one axis."""

    tiling: Tiling
    """The tiling of its output."""
    pad: int
    """Zeros before the first pixel."""


@dataclass(frozen=True)
class Placement:
    """The position of a feature map in a matrix of pixels: its tiles are ``first`` and following."""

    tilings: tuple[Tiling, Tiling]
    sizes: Sizes
    first: Value
    """Number of its first tile in the matrix. Int64 scalar, like the fields below."""
    tiles: Value
    """Number of tiles of the matrix."""
    base: Value
    """Row of the matrix at which its rows begin."""


def compute_scalar(writer: NodeWriter, op: str, left_value: Value, right: Value | int) -> Value:
    """Return the sum, product or other operation of two int64 tensors; an int becomes a constant."""
    return writer.add(op, left_value, right if isinstance(right, str) else writer.add_integers(right))


def read_sizes(writer: NodeWriter, value: Value) -> Sizes:
    """Return the sizes of a tensor [N, C, H, W]."""
    shape = writer.add("Shape", value)
    return Sizes(*(writer.add("Gather", shape, writer.add_integers(axis), axis=0) for axis in (0, 2, 3)))


def count_tiles(writer: NodeWriter, length: Value, tiling: Tiling) -> Value:
    """Return the number of tiles of an axis of ``length`` outputs: ceil(ceil(length / dilation) / side) * dilation."""
    spaced_length = compute_scalar(
        writer, "Div", compute_scalar(writer, "Add", length, tiling.dilation - 1), tiling.dilation
    )
    runs = compute_scalar(
        writer, "Div", compute_scalar(writer, "Add", spaced_length, tiling.side - 1), tiling.side
    )
    return compute_scalar(writer, "Mul", runs, tiling.dilation)


def count_tiles_of_image(writer: NodeWriter, tilings: tuple[Tiling, Tiling], sizes: Sizes) -> Value:
    """Return the number of tiles of one image: rows times columns of tiles."""
    rows, columns = (
        count_tiles(writer, length, tiling) for length, tiling in zip(sizes[1:], tilings, strict=True)
    )
    return writer.add("Mul", rows, columns)


def count_up(writer: NodeWriter, length: Value) -> Value:
    """Return 0 .. length - 1."""
    return writer.add("Range", writer.add_integers(0), length, writer.add_integers(1))


def compute_output_positions(writer: NodeWriter, length: Value, tiling: Tiling) -> Value:
    """Return (side, tiles): the output position of each place in each tile of an axis; some are beyond ``length``."""
    tile = count_up(writer, count_tiles(writer, length, tiling))
    run = compute_scalar(writer, "Div", tile, tiling.dilation)
    residue = writer.add("Sub", tile, compute_scalar(writer, "Mul", run, tiling.dilation))
    start = writer.add("Add", compute_scalar(writer, "Mul", run, tiling.dilation * tiling.side), residue)
    return writer.add(
        "Add", writer.add_integers(np.arange(tiling.side).reshape(-1, 1) * tiling.dilation), start
    )


def compute_window_positions(writer: NodeWriter, length: Value, window: Window) -> Value:
    """Return (side + 2, tiles): the input position that each tap of each tile reads; some are outside the input."""
    side, dilation = window.tiling
    first = writer.add(
        "Gather", compute_output_positions(writer, length, window.tiling), writer.add_integers([0]), axis=0
    )
    return writer.add(
        "Add", writer.add_integers(np.arange(side + 2).reshape(-1, 1) * dilation - window.pad), first
    )


def compute_window_rows(
    writer: NodeWriter, windows: tuple[Window, Window], outputs: Sizes, source: Placement
) -> Value:
    """Return (taps, N * tiles per image): the row of the matrix that each tap reads; negative for padding."""
    vertical, horizontal = (
        compute_window_positions(writer, length, window)
        for length, window in zip(outputs[1:], windows, strict=True)
    )
    rows = _locate_rows(writer, source, vertical, horizontal)
    taps = [window.tiling.side + 2 for window in windows]
    return writer.reshape(rows, taps[0] * taps[1], -1)


def compute_image_rows(writer: NodeWriter, source: Placement) -> Value:
    """Return (N, H, W): the row of the matrix for each pixel."""
    positions = [writer.reshape(count_up(writer, length), 1, -1) for length in source.sizes[1:]]
    rows = _locate_rows(writer, source, positions[0], positions[1])
    shape = writer.add("Concat", *(writer.reshape(size, 1) for size in source.sizes), axis=0)
    return writer.add("Reshape", rows, shape, allowzero=1)


def mark_existing_outputs(writer: NodeWriter, tilings: tuple[Tiling, Tiling], sizes: Sizes) -> Value:
    """Return bool (side * side, N * tiles per image): whether an output exists."""
    flags = [
        writer.add("Less", compute_output_positions(writer, length, tiling), length)
        for length, tiling in zip(sizes[1:], tilings, strict=True)
    ]
    (tile_height, _), (tile_width, _) = tilings
    both = writer.add(
        "And",
        writer.reshape(flags[0], tile_height, 1, 1, -1, 1),
        writer.reshape(flags[1], 1, tile_width, 1, 1, -1),
    )
    image = writer.reshape(writer.add("Less", count_up(writer, sizes.images), sizes.images), -1, 1, 1)
    return writer.reshape(writer.add("And", both, image), tile_height * tile_width, -1)


def _locate_rows(writer: NodeWriter, source: Placement, vertical: Value, horizontal: Value) -> Value:
    """Return (taps, taps, N, tiles, tiles) from positions (taps, tiles) along tiles_per_image axis."""
    (_, across) = source.tilings
    columns = count_tiles(writer, source.sizes.width, across)
    in_tile = compute_scalar(writer, "Mul", source.tiles, across.side)
    down = _compute_steps(writer, vertical, source.sizes.height, source.tilings[0], (in_tile, columns))
    right = _compute_steps(
        writer, horizontal, source.sizes.width, across, (source.tiles, writer.add_integers(1))
    )
    tiles_per_image = count_tiles_of_image(writer, source.tilings, source.sizes)
    start = writer.add("Add", source.base, source.first)
    images = writer.add(
        "Add", writer.add("Mul", count_up(writer, source.sizes.images), tiles_per_image), start
    )
    place = writer.add(
        "Add",
        writer.add("Unsqueeze", right, writer.add_integers([0, 2, 3])),
        writer.reshape(images, -1, 1, 1),
    )
    return writer.add("Add", writer.add("Unsqueeze", down, writer.add_integers([1, 2, 4])), place)


def _compute_steps(
    writer: NodeWriter, position: Value, length: Value, tiling: Tiling, strides: tuple[Value, Value]
) -> Value:
    """Return what a position along one axis adds to the row number; far below zero if it is outside the map."""
    spaced = compute_scalar(writer, "Div", position, tiling.dilation)
    residue = writer.add("Sub", position, compute_scalar(writer, "Mul", spaced, tiling.dilation))
    run = compute_scalar(writer, "Div", spaced, tiling.side)
    offset = writer.add("Sub", spaced, compute_scalar(writer, "Mul", run, tiling.side))
    tile = writer.add("Add", compute_scalar(writer, "Mul", run, tiling.dilation), residue)
    step = writer.add("Add", writer.add("Mul", offset, strides[0]), writer.add("Mul", tile, strides[1]))
    is_inside = writer.add(
        "And", writer.add("Less", writer.add_integers(-1), position), writer.add("Less", position, length)
    )
    return writer.add("Where", is_inside, step, writer.add_integers(_OUTSIDE))
