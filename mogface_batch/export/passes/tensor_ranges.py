"""What values a network's tensors take, measured on canvases: float16 ends at 65504, and INT8 has 256 steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from mogface_batch.detector.session import loaded_onnxruntime
from mogface_batch.export.graph.contract_graph import FLOAT

MAX_SAFE_VALUE = 2e4
"""A tensor that exceeds this stays in float32: other images may drive it three times as far before float16 ends."""

Ranges = Mapping[str, NDArray[np.float64]]
"""Tensor -> (canvases, 2): its least and largest value on each canvas; infinite where one is no number."""


def measure_ranges(
    model: Any,  # noqa: ANN401 - onnx is untyped
    tensors: Sequence[str],
    canvases: Sequence[NDArray[np.uint8]],
) -> Ranges:
    """Return the range of each tensor on each canvas.

    Args:
        model: A contract file in float32; not changed.
        tensors: Float32 tensors of it.
        canvases: (H, W, 3) each.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    outputs = []
    for number, name in enumerate(tensors):
        # Only two numbers for each tensor leave the graph: all tensors together would not fit into memory.
        for op in ("ReduceMin", "ReduceMax"):
            outputs.append(f"watched/{op}_{number}")
            watched.graph.node.append(helper.make_node(op, [name], outputs[-1:], keepdims=0))
            watched.graph.output.append(helper.make_tensor_value_info(outputs[-1], FLOAT, ()))
    ort = loaded_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        watched.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    found = np.array(
        [session.run(outputs, {"images": canvas[None]}) for canvas in canvases], dtype=np.float64
    )
    found = np.where(np.isfinite(found), found, np.inf).reshape(len(canvases), len(tensors), 2)
    return {name: found[:, number] for number, name in enumerate(tensors)}


def find_largest_values(ranges: Ranges) -> dict[str, float]:
    """Return tensor -> its largest absolute value on any canvas."""
    return {name: float(np.abs(values).max()) for name, values in ranges.items()}
