"""Graph nodes for anchors, and for boxes and landmarks decoded from offsets to anchors."""

from collections.abc import Sequence

import onnx

from mogface_batch.export.graph.builder import GraphBuilder, Value


def add_grid_anchors(
    builder: GraphBuilder, hw: tuple[Value, Value], *, stride: int, sides_px: Sequence[float]
) -> Value:
    """Return square anchors of one pyramid level as float32 [A, 4]: centre x, centre y, width, height in px.

    Each cell of ``stride`` px has one anchor of each side at its centre; the grid has ceil(length / stride) cells
    along each axis. Anchors are ordered by row, column, side.
    """
    rows, columns = (_add_cell_centres(builder, length, stride) for length in hw)
    # Each axis is multiplied by a one-hot row, then the three are added: exact, and no shape is computed.
    y = builder.add(
        "Mul",
        builder.add("Reshape", rows, builder.add_integers([-1, 1, 1, 1])),
        builder.add_floats([0, 1, 0, 0]),
    )
    x = builder.add(
        "Mul",
        builder.add("Reshape", columns, builder.add_integers([1, -1, 1, 1])),
        builder.add_floats([1, 0, 0, 0]),
    )
    sizes = builder.add_floats([[0, 0, side, side] for side in sides_px])
    grid = builder.add("Add", builder.add("Add", y, x), sizes)
    return builder.add("Reshape", grid, builder.add_integers([-1, 4]))


def _add_cell_centres(builder: GraphBuilder, length: Value, stride: int) -> Value:
    """Return the centres of the cells along one axis, in px."""
    cells = builder.add(
        "Div",
        builder.add("Add", length, builder.add_integers(stride - 1)),
        builder.add_integers(stride),
    )
    numbers = builder.add("Range", builder.add_integers(0), cells, builder.add_integers(1))
    centres = builder.add(
        "Add", builder.add("Cast", numbers, to=onnx.TensorProto.FLOAT), builder.add_floats(0.5)
    )
    return builder.add("Mul", centres, builder.add_floats(stride))


def decode_boxes(
    builder: GraphBuilder, anchors: Value, offsets: Value, *, variances: tuple[float, float]
) -> Value:
    """Return corners [N, A, 4] from offsets [N, A, 4] to anchors [A, 4] or [N, A, 4], in the unit of the anchors.

    Source: SSD (Liu et al. 2016), as in RetinaFace: centre = anchor + offset * v0 * size; size = size * exp(offset * v1).
    """
    centres, sizes = _slice_columns(builder, anchors, 0, 2), _slice_columns(builder, anchors, 2, 4)
    steps = builder.add("Mul", sizes, builder.add_floats(variances[0]))
    box_centres = builder.add(
        "Add", centres, builder.add("Mul", _slice_columns(builder, offsets, 0, 2), steps)
    )
    growth = builder.add(
        "Exp",
        builder.add("Mul", _slice_columns(builder, offsets, 2, 4), builder.add_floats(variances[1])),
    )
    half_sizes = builder.add("Mul", growth, builder.add("Mul", sizes, builder.add_floats(0.5)))
    return builder.add(
        "Concat",
        builder.add("Sub", box_centres, half_sizes),
        builder.add("Add", box_centres, half_sizes),
        axis=-1,
    )


def decode_landmarks(builder: GraphBuilder, anchors: Value, offsets: Value, *, variance: float) -> Value:
    """Return landmarks [N, A, 10] from offsets [N, A, 10] to anchors as above: anchor + offset * v * size."""
    centres, sizes = _slice_columns(builder, anchors, 0, 2), _slice_columns(builder, anchors, 2, 4)
    steps = builder.add("Mul", sizes, builder.add_floats(variance))
    centres, steps = (builder.add("Concat", *[pair] * 5, axis=-1) for pair in (centres, steps))
    return builder.add("Add", centres, builder.add("Mul", offsets, steps))


def _slice_columns(builder: GraphBuilder, values: Value, start: int, stop: int) -> Value:
    return builder.add(
        "Slice",
        values,
        builder.add_integers([start]),
        builder.add_integers([stop]),
        builder.add_integers([-1]),
    )
