"""Adds bias and group norm to the result of a convolution while it is in tiles."""

import numpy as np

from mogface_batch.export.passes.winograd.node_writer import NodeWriter, Value
from mogface_batch.export.passes.winograd.patterns import GroupNorm, Vector
from mogface_batch.export.passes.winograd.tile_matrix import Tiled
from mogface_batch.export.passes.winograd.tile_positions import (
    compute_scalar,
    count_tiles_of_image,
    count_up,
    mark_existing_outputs,
)


def add_bias(writer: NodeWriter, tiled: Tiled, bias: Vector) -> Value:
    """Return the matrix plus a bias for each channel; the dummy tile stays zero."""
    is_real = writer.add("Less", count_up(writer, tiled.tiles), compute_scalar(writer, "Sub", tiled.tiles, 1))
    bias_by_tile = writer.add(
        "Mul", writer.reshape(writer.add("Cast", is_real, to=1), -1, 1), writer.add_floats(bias)
    )
    return writer.add("Add", tiled.matrix, bias_by_tile)


def apply_group_norm(writer: NodeWriter, tiled: Tiled, norm: GroupNorm, bias: Vector) -> Value:
    """Return the matrix after bias and group norm; the dummy tile stays zero.

    The bias is never added, because its effect on mean and variance is known. The tiles of one image of one map are a
    segment. Each segment has its own sums, added in an order that does not depend on the other images.
    """
    mask = writer.add(
        "Concat", *(_mark_existing(writer, tiled, number) for number in range(len(tiled.sizes))), axis=1
    )
    mask = writer.reshape(
        writer.add("Cast", writer.add("Concat", mask, _mark_dummy(writer, tiled), axis=1), to=1),
        _count_tile_outputs(tiled),
        -1,
        1,
    )
    masked = writer.add("Mul", tiled.matrix, mask)
    sums, squares = (
        writer.add("ReduceSum", value, writer.add_integers([0]), keepdims=0)
        for value in (masked, writer.add("Mul", masked, masked))
    )
    by_segment = _sum_segments(writer, tiled, writer.add("Concat", sums, squares, axis=1))
    scale, shift = _compute_affine(writer, tiled, norm, bias, by_segment)
    return writer.add("Add", writer.add("Mul", masked, scale), shift)


def _mark_existing(writer: NodeWriter, tiled: Tiled, number: int) -> Value:
    return mark_existing_outputs(writer, tiled.tilings, tiled.sizes[number])


def _mark_dummy(writer: NodeWriter, tiled: Tiled) -> Value:
    return writer.add_constant(np.zeros((_count_tile_outputs(tiled), 1), dtype=np.bool_))


def _count_tile_outputs(tiled: Tiled) -> int:
    return tiled.tilings[0].side * tiled.tilings[1].side


def _sum_segments(writer: NodeWriter, tiled: Tiled, by_tile: Value) -> Value:
    """Return (segments, columns) from (tiles, columns).

    It uses MatMul, because ReduceSum adds in another order for one image than for several.
    """
    columns = 2 * tiled.channels
    segment = writer.add_integers([1])
    tiles_per_image = [
        writer.reshape(count_tiles_of_image(writer, tiled.tilings, sizes), 1) for sizes in tiled.sizes
    ]
    images = [writer.reshape(sizes.images, 1) for sizes in tiled.sizes]
    lengths = [writer.add("Mul", *pair) for pair in zip(images, tiles_per_image, strict=True)]
    parts = writer.split(by_tile, writer.add("Concat", *lengths, segment, axis=0), len(lengths) + 1, axis=0)
    sums = []
    for part, count, tiles in zip(parts, images, tiles_per_image, strict=False):
        shape = writer.add("Concat", count, tiles, writer.add_integers([columns]), axis=0)
        ones = writer.add("Expand", writer.add_floats([1.0]), writer.add("Concat", segment, tiles, axis=0))
        sums.append(
            writer.reshape(writer.add("MatMul", ones, writer.add("Reshape", part, shape)), -1, columns)
        )
    return writer.add("Concat", *sums, axis=0)


def _compute_affine(
    writer: NodeWriter, tiled: Tiled, norm: GroupNorm, bias: Vector, by_segment: Value
) -> tuple[Value, Value]:
    """Return scale and shift (tiles, channels) from the sums of the outputs and of their squares."""
    channels, groups = tiled.channels, norm.groups
    sums, squares = writer.split(by_segment, writer.add_integers([channels, channels]), 2, axis=1)
    pixel_counts = _spread_by_image(
        writer, tiled, [writer.add("Mul", sizes.height, sizes.width) for sizes in tiled.sizes]
    )
    pixel_counts = writer.reshape(writer.add("Cast", pixel_counts, to=1), -1, 1)
    # (x + b)^2 = x^2 + 2 b x + b^2, summed over the pixels.
    squares = writer.add("Add", squares, writer.add("Mul", sums, writer.add_floats(2 * bias)))
    squares = writer.add("Add", squares, writer.add("Mul", pixel_counts, writer.add_floats(bias * bias)))
    sums = writer.add("Add", sums, writer.add("Mul", pixel_counts, writer.add_floats(bias)))
    values = writer.add("Mul", writer.reshape(pixel_counts, -1, 1, 1), writer.add_floats(channels // groups))
    mean, mean_square = (
        writer.add("Div", _sum_groups(writer, value, channels, groups), values) for value in (sums, squares)
    )
    variance = writer.add("Relu", writer.add("Sub", mean_square, writer.add("Mul", mean, mean)))
    inverse = writer.add(
        "Reciprocal", writer.add("Sqrt", writer.add("Add", variance, writer.add_floats(norm.epsilon)))
    )
    gamma, beta, offset = (
        writer.add_floats(vector.reshape(groups, -1))
        for vector in (np.frombuffer(norm.gamma, np.float32), np.frombuffer(norm.beta, np.float32), bias)
    )
    scale = writer.add("Mul", inverse, gamma)
    shift = writer.add("Add", writer.add("Mul", writer.add("Sub", offset, mean), scale), beta)
    segment = writer.add("Concat", _number_segments(writer, tiled), axis=0)
    dummy = writer.add_floats([[0.0] * channels])
    tables = (
        writer.add("Concat", writer.reshape(value, -1, channels), dummy, axis=0) for value in (scale, shift)
    )
    by_tile = [writer.add("Gather", table, segment, axis=0) for table in tables]
    return by_tile[0], by_tile[1]


def _sum_groups(writer: NodeWriter, value: Value, channels: int, groups: int) -> Value:
    grouped = writer.reshape(value, -1, groups, channels // groups)
    return writer.add("ReduceSum", grouped, writer.add_integers([2]), keepdims=1)


def _spread_by_image(writer: NodeWriter, tiled: Tiled, values: list[Value]) -> Value:
    """Return an int64 vector with one number per image of each map, from one number per map."""
    spread = (
        writer.add("Expand", value, writer.reshape(sizes.images, 1))
        for value, sizes in zip(values, tiled.sizes, strict=True)
    )
    return writer.add("Concat", *spread, axis=0)


def _number_segments(writer: NodeWriter, tiled: Tiled) -> Value:
    """Return (tiles,): the segment number of each tile; that of the dummy is one beyond the last."""
    parts = []
    for number, sizes in enumerate(tiled.sizes):
        before = writer.add_sum([earlier.images for earlier in tiled.sizes[:number]])
        images = writer.reshape(writer.add("Add", count_up(writer, sizes.images), before), -1, 1)
        tiles_per_image = writer.reshape(count_tiles_of_image(writer, tiled.tilings, sizes), 1)
        parts.append(
            writer.reshape(
                writer.add(
                    "Expand", images, writer.add("Concat", writer.add_integers([1]), tiles_per_image, axis=0)
                ),
                -1,
            )
        )
    last = writer.reshape(writer.add_sum([sizes.images for sizes in tiled.sizes]), 1)
    return writer.add("Concat", *parts, last, axis=0)
