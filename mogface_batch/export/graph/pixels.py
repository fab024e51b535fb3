"""Graph nodes from the contract's uint8 canvases to the input of a network."""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from mogface_batch.export.graph.builder import GraphBuilder, Value


def read_canvases(builder: GraphBuilder, *, bgr: bool) -> Value:
    """Return the uint8 [N, H, W, 3] RGB canvases as float32 [N, 3, H, W] of 0..255; blue first if ``bgr``."""
    # Transpose while a pixel is still one byte: a quarter of the memory to move.
    channels = builder.add("Transpose", "images", perm=[0, 3, 1, 2])
    channels = builder.add("Gather", channels, builder.add_integers([2, 1, 0]), axis=1) if bgr else channels
    return builder.add("Cast", channels, to=onnx.TensorProto.FLOAT)


def normalise(
    builder: GraphBuilder, *, bgr: bool, mean: Sequence[float], scale: Sequence[float] | float
) -> Value:
    """Return ``(images - mean) * scale`` as float32 [N, 3, H, W] from the uint8 [N, H, W, 3] RGB canvases.

    Args:
        builder: Receives the nodes.
        bgr: Whether the network expects blue first.
        mean: Three values on the scale 0..255, in the network's channel order.
        scale: One factor, or three in the network's channel order.
    """
    return shift_and_scale(builder, read_canvases(builder, bgr=bgr), mean=mean, scale=scale)


def shift_and_scale(
    builder: GraphBuilder, pixels: Value, *, mean: Sequence[float], scale: Sequence[float] | float
) -> Value:
    """Return ``(pixels - mean) * scale`` of float32 [N, 3, H, W]; the channel order is that of `normalise`."""
    pixels = builder.add("Sub", pixels, builder.add_floats(_reshape_by_channel(mean)))
    factors = _reshape_by_channel(np.broadcast_to(scale, 3))
    return pixels if (factors == 1).all() else builder.add("Mul", pixels, builder.add_floats(factors))


def _reshape_by_channel(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (3, 1, 1), which broadcasts over height and width."""
    return np.asarray(values, dtype=np.float32).reshape(3, 1, 1)


def read_canvas_hw(builder: GraphBuilder) -> tuple[Value, Value]:
    """Return the height and width of the canvas as int64 scalars."""
    shape = builder.add("Shape", "images")
    height, width = (builder.add("Gather", shape, builder.add_integers(axis), axis=0) for axis in (1, 2))
    return height, width
