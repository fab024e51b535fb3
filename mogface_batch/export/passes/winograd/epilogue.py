"""What follows a convolution while it is in tiles: bias, group norm, ReLU."""

import numpy as np

from mogface_batch.export.passes.winograd.node_writer import Emitter, Value
from mogface_batch.export.passes.winograd.patterns import GroupNorm, Vector
from mogface_batch.export.passes.winograd.tile_matrix import Tiled
from mogface_batch.export.passes.winograd.tile_positions import counted, inside, scalar, tiles_of_image


def biased(e: Emitter, tiled: Tiled, bias: Vector) -> Value:
    """Return the matrix with a bias for each channel; the dummy tile stays zero."""
    real = e.add("Less", counted(e, tiled.tiles), scalar(e, "Sub", tiled.tiles, 1))
    each = e.add("Mul", e.reshape(e.add("Cast", real, to=1), -1, 1), e.floats(bias))
    return e.add("Add", tiled.matrix, each)


def normed(e: Emitter, tiled: Tiled, norm: GroupNorm, bias: Vector) -> Value:
    """Return the matrix after bias and group norm; the dummy tile stays zero.

    The bias is never added: its share in mean and variance is known. Every map and image is a segment of tiles with
    sums of its own, added in an order that does not depend on the other images.
    """
    mask = e.add("Concat", *(_exists(e, tiled, number) for number in range(len(tiled.sizes))), axis=1)
    mask = e.reshape(e.add("Cast", e.add("Concat", mask, _none(e, tiled), axis=1), to=1), _area(tiled), -1, 1)
    existing = e.add("Mul", tiled.matrix, mask)
    sums, squares = (
        e.add("ReduceSum", value, e.integers([0]), keepdims=0)
        for value in (existing, e.add("Mul", existing, existing))
    )
    by_segment = _segment_sums(e, tiled, e.add("Concat", sums, squares, axis=1))
    scale, shift = _affine(e, tiled, norm, bias, by_segment)
    return e.add("Add", e.add("Mul", existing, scale), shift)


def _exists(e: Emitter, tiled: Tiled, number: int) -> Value:
    return inside(e, tiled.tilings, tiled.sizes[number])


def _none(e: Emitter, tiled: Tiled) -> Value:
    return e.constant(np.zeros((_area(tiled), 1), dtype=np.bool_))


def _area(tiled: Tiled) -> int:
    return tiled.tilings[0].side * tiled.tilings[1].side


def _segment_sums(e: Emitter, tiled: Tiled, by_tile: Value) -> Value:
    """Return (segments, columns) from (tiles, columns).

    By MatMul, since ReduceSum adds in another order where there is one image than where there are several.
    """
    columns = 2 * tiled.channels
    one = e.integers([1])
    each = [e.reshape(tiles_of_image(e, tiled.tilings, sizes), 1) for sizes in tiled.sizes]
    images = [e.reshape(sizes.images, 1) for sizes in tiled.sizes]
    lengths = [e.add("Mul", *pair) for pair in zip(images, each, strict=True)]
    parts = e.split(by_tile, e.add("Concat", *lengths, one, axis=0), len(lengths) + 1, axis=0)
    sums = []
    for part, count, tiles in zip(parts, images, each, strict=False):
        shape = e.add("Concat", count, tiles, e.integers([columns]), axis=0)
        ones = e.add("Expand", e.floats([1.0]), e.add("Concat", one, tiles, axis=0))
        sums.append(e.reshape(e.add("MatMul", ones, e.add("Reshape", part, shape)), -1, columns))
    return e.add("Concat", *sums, axis=0)


def _affine(
    e: Emitter, tiled: Tiled, norm: GroupNorm, bias: Vector, by_segment: Value
) -> tuple[Value, Value]:
    """Return scale and shift, (tiles, channels), from the sums of the outputs and of their squares."""
    channels, groups = tiled.channels, norm.groups
    sums, squares = e.split(by_segment, e.integers([channels, channels]), 2, axis=1)
    pixels = _by_image(e, tiled, [e.add("Mul", sizes.height, sizes.width) for sizes in tiled.sizes])
    pixels = e.reshape(e.add("Cast", pixels, to=1), -1, 1)
    # (x + b)^2 = x^2 + 2 b x + b^2, summed over the pixels.
    squares = e.add("Add", squares, e.add("Mul", sums, e.floats(2 * bias)))
    squares = e.add("Add", squares, e.add("Mul", pixels, e.floats(bias * bias)))
    sums = e.add("Add", sums, e.add("Mul", pixels, e.floats(bias)))
    values = e.add("Mul", e.reshape(pixels, -1, 1, 1), e.floats(channels // groups))
    mean, mean_square = (
        e.add("Div", _group_sum(e, value, channels, groups), values) for value in (sums, squares)
    )
    variance = e.add("Relu", e.add("Sub", mean_square, e.add("Mul", mean, mean)))
    inverse = e.add("Reciprocal", e.add("Sqrt", e.add("Add", variance, e.floats(norm.epsilon))))
    gamma, beta, offset = (
        e.floats(vector.reshape(groups, -1))
        for vector in (np.frombuffer(norm.gamma, np.float32), np.frombuffer(norm.beta, np.float32), bias)
    )
    scale = e.add("Mul", inverse, gamma)
    shift = e.add("Add", e.add("Mul", e.add("Sub", offset, mean), scale), beta)
    segment = e.add("Concat", _segments(e, tiled), axis=0)
    dummy = e.floats([[0.0] * channels])
    tables = (e.add("Concat", e.reshape(value, -1, channels), dummy, axis=0) for value in (scale, shift))
    by_tile = [e.add("Gather", table, segment, axis=0) for table in tables]
    return by_tile[0], by_tile[1]


def _group_sum(e: Emitter, value: Value, channels: int, groups: int) -> Value:
    grouped = e.reshape(value, -1, groups, channels // groups)
    return e.add("ReduceSum", grouped, e.integers([2]), keepdims=1)


def _by_image(e: Emitter, tiled: Tiled, values: list[Value]) -> Value:
    """Return an int64 vector, one number for each image of each map, from one for each map."""
    spread = (
        e.add("Expand", value, e.reshape(sizes.images, 1))
        for value, sizes in zip(values, tiled.sizes, strict=True)
    )
    return e.add("Concat", *spread, axis=0)


def _segments(e: Emitter, tiled: Tiled) -> Value:
    """Return (tiles,): the segment of each tile; the dummy's is one beyond the last."""
    parts = []
    for number, sizes in enumerate(tiled.sizes):
        before = e.total([earlier.images for earlier in tiled.sizes[:number]])
        images = e.reshape(e.add("Add", counted(e, sizes.images), before), -1, 1)
        each = e.reshape(tiles_of_image(e, tiled.tilings, sizes), 1)
        parts.append(e.reshape(e.add("Expand", images, e.add("Concat", e.integers([1]), each, axis=0)), -1))
    last = e.reshape(e.total([sizes.images for sizes in tiled.sizes]), 1)
    return e.add("Concat", *parts, last, axis=0)
