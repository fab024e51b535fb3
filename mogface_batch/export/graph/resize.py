"""Pieces of graph for a network with a fixed input: any canvas in, canvas pixels out."""

import onnx

from mogface_batch.export.graph.builder import GraphBuilder, Value
from mogface_batch.export.graph.pixels import read_canvas_hw


def resize_pixels(builder: GraphBuilder, pixels: Value, hw: tuple[Value, Value]) -> Value:
    """Return float32 [N, 3, H, W] pixels in another size, as OpenCV resizes 8-bit pixels by ``INTER_LINEAR``.

    Pixel centres are mapped (``half_pixel``), nothing is smoothed when shrinking, and the result is rounded to
    whole grey levels. OpenCV truncates on its way: one value in eight is a level darker there (0.12 on average),
    never more. Its ``INTER_LINEAR_EXACT`` does not, and differs from ours in one value of fifty.

    Args:
        builder: Receives the nodes.
        pixels: Of 0..255.
        hw: New height and width, int64 scalars.
    """
    shape = builder.add("Shape", pixels)
    kept = builder.add("Slice", shape, builder.add_integers([0]), builder.add_integers([2]))
    sizes = builder.add("Concat", kept, _vector(builder, *hw), axis=0)
    # Opset 11 asks for the two that are not used, as empty tensors; later ones take them too.
    empty = builder.add_floats([])
    whole = builder.add(
        "Resize", pixels, empty, empty, sizes, mode="linear", coordinate_transformation_mode="half_pixel"
    )
    return builder.add("Round", whole)


def fit_pixels(builder: GraphBuilder, pixels: Value, input_hw: tuple[int, int]) -> tuple[Value, Value]:
    """Fit pixels into a fixed input by one scale, enlarging too, and pad with 0 at the right and bottom.

    Args:
        builder: Receives the nodes.
        pixels: The whole canvas as float32 [N, 3, H, W] of 0..255.
        input_hw: Of the fixed input.

    Returns:
        Float32 [N, 3, *input_hw], and float32 [2], by which x and y of the input are multiplied to be the canvas's:
        one for each axis, since a side is a whole number of pixels.

    Source: ``Resize(keep_ratio=True)`` and ``Pad(pad_val=0)`` of mmdetection, with which YuNet is evaluated: sides
    are rounded, halves up.
    """
    height, width = read_canvas_hw(builder)
    input_height, input_width = (builder.add_integers(side) for side in input_hw)
    # Whole numbers all the way, so that no rounding makes a side one too long: which side fills the input?
    is_high = builder.add(
        "Less", builder.add("Mul", input_height, width), builder.add("Mul", input_width, height)
    )
    filled = builder.add("Where", is_high, input_height, input_width)
    longer = builder.add("Where", is_high, height, width)
    height_inside, width_inside = (_scaled_side(builder, side, filled, longer) for side in (height, width))
    inside = resize_pixels(builder, pixels, (height_inside, width_inside))
    below = builder.add("Sub", input_height, height_inside)
    right = builder.add("Sub", input_width, width_inside)
    nothing = builder.add_integers([0] * 6)
    pads = builder.add("Concat", nothing, _vector(builder, below, right), axis=0)
    factors = builder.add(
        "Div",
        builder.add("Cast", _vector(builder, width, height), to=onnx.TensorProto.FLOAT),
        builder.add("Cast", _vector(builder, width_inside, height_inside), to=onnx.TensorProto.FLOAT),
    )
    return builder.add("Pad", inside, pads, builder.add_floats(0), mode="constant"), factors


def read_canvas_corners(builder: GraphBuilder) -> Value:
    """Return float32 [4], width height width height of the canvas: times a box in shares, a box in pixels."""
    height, width = read_canvas_hw(builder)
    return builder.add("Cast", _vector(builder, width, height, width, height), to=onnx.TensorProto.FLOAT)


def _scaled_side(builder: GraphBuilder, side: Value, filled: Value, longer: Value) -> Value:
    """Return ``side * filled / longer``, rounded with halves up, at least 1."""
    two, one = builder.add_integers(2), builder.add_integers(1)
    doubled = builder.add("Add", builder.add("Mul", builder.add("Mul", side, filled), two), longer)
    rounded = builder.add("Div", doubled, builder.add("Mul", longer, two))
    return builder.add("Where", builder.add("Less", rounded, one), one, rounded)


def _vector(builder: GraphBuilder, *scalars: Value) -> Value:
    one = builder.add_integers([1])
    return builder.add("Concat", *(builder.add("Reshape", scalar, one) for scalar in scalars), axis=0)
