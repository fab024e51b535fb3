"""Graph nodes for a network with a fixed input size: any canvas in, canvas pixels out."""

import onnx

from mogface_batch.export.graph.builder import GraphBuilder, Value
from mogface_batch.export.graph.pixels import read_canvas_hw


def resize_pixels(builder: GraphBuilder, pixels: Value, hw: tuple[Value, Value]) -> Value:
    """Return float32 [N, 3, H, W] pixels in another size, as OpenCV resizes 8-bit pixels by ``INTER_LINEAR``.

    Pixel centres are mapped (``half_pixel``), shrinking does not smooth, and the result is rounded to whole grey
    levels. OpenCV truncates intermediate values: one value in eight is a level darker there (0.12 on average), never
    more. Its ``INTER_LINEAR_EXACT`` does not truncate, and differs from ours in one value of fifty.

    Args:
        builder: Receives the nodes.
        pixels: Of 0..255.
        hw: New height and width, int64 scalars.
    """
    shape = builder.add("Shape", pixels)
    batch_and_channels = builder.add("Slice", shape, builder.add_integers([0]), builder.add_integers([2]))
    sizes = builder.add("Concat", batch_and_channels, _concatenate(builder, *hw), axis=0)
    # Opset 11 requires the two unused inputs, as empty tensors; later opsets accept them.
    empty = builder.add_floats([])
    resized = builder.add(
        "Resize", pixels, empty, empty, sizes, mode="linear", coordinate_transformation_mode="half_pixel"
    )
    return builder.add("Round", resized)


def fit_pixels(builder: GraphBuilder, pixels: Value, input_hw: tuple[int, int]) -> tuple[Value, Value]:
    """Fit pixels into a fixed input by one scale, which may enlarge, and pad with 0 at the right and bottom.

    Args:
        builder: Receives the nodes.
        pixels: The whole canvas as float32 [N, 3, H, W] of 0..255.
        input_hw: Height and width of the fixed input.

    Returns:
        Float32 [N, 3, *input_hw], and float32 [2], the factors from x and y of the input to x and y of the canvas.
        There is one per axis because each side is rounded to whole pixels.

    Source: ``Resize(keep_ratio=True)`` and ``Pad(pad_val=0)`` of mmdetection, with which YuNet is evaluated: sides
    are rounded, halves up.
    """
    height, width = read_canvas_hw(builder)
    input_height, input_width = (builder.add_integers(side) for side in input_hw)
    # Integer arithmetic throughout, so that rounding never makes a side one pixel too long.
    is_tall = builder.add(
        "Less", builder.add("Mul", input_height, width), builder.add("Mul", input_width, height)
    )
    filled_side = builder.add("Where", is_tall, input_height, input_width)
    canvas_side = builder.add("Where", is_tall, height, width)
    height_inside, width_inside = (
        _scale_side(builder, side, filled_side, canvas_side) for side in (height, width)
    )
    inside = resize_pixels(builder, pixels, (height_inside, width_inside))
    below = builder.add("Sub", input_height, height_inside)
    right = builder.add("Sub", input_width, width_inside)
    no_pads = builder.add_integers([0] * 6)
    pads = builder.add("Concat", no_pads, _concatenate(builder, below, right), axis=0)
    factors = builder.add(
        "Div",
        builder.add("Cast", _concatenate(builder, width, height), to=onnx.TensorProto.FLOAT),
        builder.add("Cast", _concatenate(builder, width_inside, height_inside), to=onnx.TensorProto.FLOAT),
    )
    return builder.add("Pad", inside, pads, builder.add_floats(0), mode="constant"), factors


def read_canvas_corners(builder: GraphBuilder) -> Value:
    """Return width, height, width, height of the canvas as float32 [4]: the factors from relative boxes to pixels."""
    height, width = read_canvas_hw(builder)
    return builder.add("Cast", _concatenate(builder, width, height, width, height), to=onnx.TensorProto.FLOAT)


def _scale_side(builder: GraphBuilder, side: Value, filled_side: Value, canvas_side: Value) -> Value:
    """Return ``side * filled_side / canvas_side``, rounded with halves up, at least 1."""
    two, unit = builder.add_integers(2), builder.add_integers(1)
    doubled = builder.add("Add", builder.add("Mul", builder.add("Mul", side, filled_side), two), canvas_side)
    rounded = builder.add("Div", doubled, builder.add("Mul", canvas_side, two))
    return builder.add("Where", builder.add("Less", rounded, unit), unit, rounded)


def _concatenate(builder: GraphBuilder, *scalars: Value) -> Value:
    unit = builder.add_integers([1])
    return builder.add("Concat", *(builder.add("Reshape", scalar, unit) for scalar in scalars), axis=0)
