"""A contract file with a network of several layers, in milliseconds: what passes over graphs are tried on."""

from pathlib import Path

import numpy as np
import onnx
from builders import tiny_card

from mogface_batch.contract import TOP_K
from mogface_batch.export import head

CHANNELS, GROUPS, STRIDE = 16, 4, 8


def deep_detector(*, seed: int = 1, loud: float = 1.0, opset: int = 18, **card) -> bytes:
    """Return a contract file: six convolutions, a group norm as torch exports it, MaxPool, Resize, Relu.

    Its scores are spread over 0..1 and mean nothing; each cell of 8 px is one candidate.

    Args:
        seed: Of the weights.
        loud: One channel of the third layer is so many times as large as the others, and the fourth layer divides
            it by as much: nothing changes but the range of what lies between.
        opset: Of the file.
        card: Fields of the card to change.
    """
    rng = np.random.default_rng(seed)
    g = head.Graph()
    g.opset_imports = [onnx.helper.make_opsetid("", opset)]

    def conv(pixels, inside, outside, *, size=3, stride=1, scale=1.0, channel_in=None, channel_out=None):
        kernel = rng.normal(0, scale * (2 / (inside * size * size)) ** 0.5, (outside, inside, size, size))
        if channel_out:
            kernel[0] *= channel_out
        if channel_in:
            kernel[:, 0] /= channel_in
        pads = [size // 2] * 4 if stride == 1 else [0] * 4
        return g.add(
            "Conv", pixels, g.constant(kernel.astype(np.float32)), strides=[stride, stride], pads=pads
        )

    pixels = head.normalised(g, bgr=False, mean=(128,) * 3, scale=1 / 64)
    first = g.add("Relu", conv(pixels, 3, CHANNELS))
    normed = g.add("Relu", _group_norm(g, conv(first, CHANNELS, CHANNELS), rng))
    loudly = g.add("Relu", conv(normed, CHANNELS, CHANNELS, channel_out=loud))
    quiet = g.add("Relu", conv(loudly, CHANNELS, CHANNELS, channel_in=loud))
    halved = g.add("MaxPool", quiet, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    scales = g.floats([1, 1, 2, 2])
    doubled = g.add("Resize", halved, g.floats([]), scales, mode="linear")
    cells = conv(g.add("Relu", conv(doubled, CHANNELS, CHANNELS)), CHANNELS, 5, size=STRIDE, stride=STRIDE)
    rows = g.add("Reshape", g.add("Transpose", cells, perm=[0, 2, 3, 1]), g.integers([0, -1, 5]))
    logits = g.add("Mul", _columns(g, rows, 0, 1), g.floats(3.0))
    offsets = g.add("Mul", _columns(g, rows, 1, 5), g.floats(0.05))
    scores = g.add("Reshape", g.add("Sigmoid", logits), g.integers([0, -1]))
    best = head.best_candidates(g, scores, top_k=TOP_K)
    anchors, offsets = head.anchors_of_best(g, best, _anchors(g)), head.of_best(g, best, offsets, columns=4)
    head.candidates(g, boxes=head.decoded_boxes(g, anchors, offsets, variances=(1, 1)), landmarks=None)
    return head.contract_file(g, tiny_card(detector="deep", **card))


def deep_file(path: Path, **options) -> Path:
    """Write `deep_detector`, and return the path."""
    path.write_bytes(deep_detector(**options))
    return path


def _group_norm(g, values, rng):
    """Six operators, the Shape of its input among them."""
    shape = g.add("Shape", values)
    grouped = g.add("Reshape", values, g.integers([0, GROUPS, -1]))
    ones, zeros = g.floats(np.ones(GROUPS)), g.floats(np.zeros(GROUPS))
    normed = g.add("Reshape", g.add("InstanceNormalization", grouped, ones, zeros, epsilon=1e-5), shape)
    weight, bias = (g.floats(rng.normal(1, 0.2, (CHANNELS, 1, 1))) for _ in range(2))
    return g.add("Add", g.add("Mul", normed, weight), bias)


def _columns(g, values, start, stop):
    return g.add("Slice", values, g.integers([start]), g.integers([stop]), g.integers([-1]))


def _anchors(g):
    """Anchors of the cells that lie in the canvas whole: a convolution without padding has no others."""
    height, width = (
        g.add("Sub", side, g.integers(STRIDE - 1)) for side in head.canvas_hw(g)
    )  # ceil((side - 7) / 8) = floor(side / 8)
    return head.grid_anchors(g, (height, width), stride=STRIDE, sides_px=[STRIDE])
