"""Makes a contract file with a network of several layers in milliseconds, for tests of passes."""

from pathlib import Path

import numpy as np
import onnx
from builders import tiny_card

from mogface_batch.contract import TOP_K
from mogface_batch.export import graph

CHANNELS, GROUPS, STRIDE = 16, 4, 8


def make_deep_detector(*, seed: int = 1, loud: float = 1.0, opset: int = 18, **card) -> bytes:
    """Return a contract file with six convolutions, a group norm as torch exports it, MaxPool, Resize and Relu.

    Its scores are spread over 0..1 and mean nothing; each cell of 8 px is one candidate.

    Args:
        seed: Of the weights.
        loud: Factor by which the third layer multiplies one channel, and by which the fourth layer divides it again:
            only the range of values between them changes.
        opset: Opset of the file.
        card: Fields of the card to change.
    """
    rng = np.random.default_rng(seed)
    builder = graph.GraphBuilder()
    builder.opset_imports = [onnx.helper.make_opsetid("", opset)]

    def add_conv(
        pixels,
        channels_in,
        channels_out,
        *,
        size=3,
        stride=1,
        scale=1.0,
        first_divided_by=None,
        first_multiplied_by=None,
    ):
        kernel = rng.normal(
            0, scale * (2 / (channels_in * size * size)) ** 0.5, (channels_out, channels_in, size, size)
        )
        if first_multiplied_by:
            kernel[0] *= first_multiplied_by
        if first_divided_by:
            kernel[:, 0] /= first_divided_by
        pads = [size // 2] * 4 if stride == 1 else [0] * 4
        return builder.add(
            "Conv",
            pixels,
            builder.add_constant(kernel.astype(np.float32)),
            strides=[stride, stride],
            pads=pads,
        )

    pixels = graph.normalise(builder, bgr=False, mean=(128,) * 3, scale=1 / 64)
    first = builder.add("Relu", add_conv(pixels, 3, CHANNELS))
    normed = builder.add("Relu", _add_group_norm(builder, add_conv(first, CHANNELS, CHANNELS), rng))
    loud_layer = builder.add("Relu", add_conv(normed, CHANNELS, CHANNELS, first_multiplied_by=loud))
    quiet_layer = builder.add("Relu", add_conv(loud_layer, CHANNELS, CHANNELS, first_divided_by=loud))
    halved = builder.add("MaxPool", quiet_layer, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    scales = builder.add_floats([1, 1, 2, 2])
    doubled = builder.add("Resize", halved, builder.add_floats([]), scales, mode="linear")
    cells = add_conv(
        builder.add("Relu", add_conv(doubled, CHANNELS, CHANNELS)), CHANNELS, 5, size=STRIDE, stride=STRIDE
    )
    rows = builder.add(
        "Reshape", builder.add("Transpose", cells, perm=[0, 2, 3, 1]), builder.add_integers([0, -1, 5])
    )
    logits = builder.add("Mul", _slice_columns(builder, rows, 0, 1), builder.add_floats(3.0))
    offsets = builder.add("Mul", _slice_columns(builder, rows, 1, 5), builder.add_floats(0.05))
    scores = builder.add("Reshape", builder.add("Sigmoid", logits), builder.add_integers([0, -1]))
    best = graph.choose_candidates(builder, scores, top_k=TOP_K)
    anchors, offsets = (
        graph.gather_anchors(builder, best, _add_anchors(builder)),
        graph.gather_candidates(builder, best, offsets, columns=4),
    )
    graph.name_outputs(
        builder, boxes=graph.decode_boxes(builder, anchors, offsets, variances=(1, 1)), landmarks=None
    )
    return graph.build_contract_file(builder, tiny_card(detector="deep", **card))


def write_deep_detector(path: Path, **options) -> Path:
    """Write the file of `make_deep_detector` and return its path."""
    path.write_bytes(make_deep_detector(**options))
    return path


def _add_group_norm(builder, values, rng):
    """Return the group norm of values: six operators, including the Shape of its input."""
    shape = builder.add("Shape", values)
    grouped_values = builder.add("Reshape", values, builder.add_integers([0, GROUPS, -1]))
    ones, zeros = builder.add_floats(np.ones(GROUPS)), builder.add_floats(np.zeros(GROUPS))
    normed = builder.add(
        "Reshape", builder.add("InstanceNormalization", grouped_values, ones, zeros, epsilon=1e-5), shape
    )
    weight, bias = (builder.add_floats(rng.normal(1, 0.2, (CHANNELS, 1, 1))) for _ in range(2))
    return builder.add("Add", builder.add("Mul", normed, weight), bias)


def _slice_columns(builder, values, start, stop):
    return builder.add(
        "Slice",
        values,
        builder.add_integers([start]),
        builder.add_integers([stop]),
        builder.add_integers([-1]),
    )


def _add_anchors(builder):
    """Return the anchors of the complete cells of the canvas, the only ones of a convolution without padding."""
    height, width = (
        builder.add("Sub", side, builder.add_integers(STRIDE - 1)) for side in graph.read_canvas_hw(builder)
    )  # ceil((side - 7) / 8) = floor(side / 8)
    return graph.add_grid_anchors(builder, (height, width), stride=STRIDE, sides_px=[STRIDE])
