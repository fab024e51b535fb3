"""Pieces of graph for a network with a fixed input: any canvas in, canvas pixels out."""

import onnx

from mogface_batch.export.head import Graph, Value, canvas_hw


def resized(graph: Graph, pixels: Value, hw: tuple[Value, Value]) -> Value:
    """Return float32 [N, 3, H, W] pixels in another size, as OpenCV resizes 8-bit pixels by ``INTER_LINEAR``.

    Pixel centres are mapped (``half_pixel``), nothing is smoothed when shrinking, and the result is rounded to
    whole grey levels. OpenCV truncates on its way: one value in eight is a level darker there (0.12 on average),
    never more. Its ``INTER_LINEAR_EXACT`` does not, and differs from ours in one value of fifty.

    Args:
        graph: Appended to.
        pixels: Of 0..255.
        hw: New height and width, int64 scalars.
    """
    shape = graph.add("Shape", pixels)
    kept = graph.add("Slice", shape, graph.integers([0]), graph.integers([2]))
    sizes = graph.add("Concat", kept, _vector(graph, *hw), axis=0)
    # Opset 11 asks for the two that are not used, as empty tensors; later ones take them too.
    empty = graph.floats([])
    whole = graph.add(
        "Resize", pixels, empty, empty, sizes, mode="linear", coordinate_transformation_mode="half_pixel"
    )
    return graph.add("Round", whole)


def fitted(graph: Graph, pixels: Value, input_hw: tuple[int, int]) -> tuple[Value, Value]:
    """Fit pixels into a fixed input by one scale, enlarging too, and pad with 0 at the right and bottom.

    Args:
        graph: Appended to.
        pixels: The whole canvas as float32 [N, 3, H, W] of 0..255.
        input_hw: Of the fixed input.

    Returns:
        Float32 [N, 3, *input_hw], and float32 [2], by which x and y of the input are multiplied to be the canvas's:
        one for each axis, since a side is a whole number of pixels.

    Source: ``Resize(keep_ratio=True)`` and ``Pad(pad_val=0)`` of mmdetection, with which YuNet is evaluated: sides
    are rounded, halves up.
    """
    height, width = canvas_hw(graph)
    input_height, input_width = (graph.integers(side) for side in input_hw)
    # Whole numbers all the way, so that no rounding makes a side one too long: which side fills the input?
    is_high = graph.add("Less", graph.add("Mul", input_height, width), graph.add("Mul", input_width, height))
    filled = graph.add("Where", is_high, input_height, input_width)
    longer = graph.add("Where", is_high, height, width)
    height_inside, width_inside = (_scaled_side(graph, side, filled, longer) for side in (height, width))
    inside = resized(graph, pixels, (height_inside, width_inside))
    below = graph.add("Sub", input_height, height_inside)
    right = graph.add("Sub", input_width, width_inside)
    nothing = graph.integers([0] * 6)
    pads = graph.add("Concat", nothing, _vector(graph, below, right), axis=0)
    factors = graph.add(
        "Div",
        graph.add("Cast", _vector(graph, width, height), to=onnx.TensorProto.FLOAT),
        graph.add("Cast", _vector(graph, width_inside, height_inside), to=onnx.TensorProto.FLOAT),
    )
    return graph.add("Pad", inside, pads, graph.floats(0), mode="constant"), factors


def canvas_corners(graph: Graph) -> Value:
    """Return float32 [4], width height width height of the canvas: times a box in shares, a box in pixels."""
    height, width = canvas_hw(graph)
    return graph.add("Cast", _vector(graph, width, height, width, height), to=onnx.TensorProto.FLOAT)


def _scaled_side(graph: Graph, side: Value, filled: Value, longer: Value) -> Value:
    """Return ``side * filled / longer``, rounded with halves up, at least 1."""
    two, one = graph.integers(2), graph.integers(1)
    doubled = graph.add("Add", graph.add("Mul", graph.add("Mul", side, filled), two), longer)
    rounded = graph.add("Div", doubled, graph.add("Mul", longer, two))
    return graph.add("Where", graph.add("Less", rounded, one), one, rounded)


def _vector(graph: Graph, *scalars: Value) -> Value:
    one = graph.integers([1])
    return graph.add("Concat", *(graph.add("Reshape", scalar, one) for scalar in scalars), axis=0)
