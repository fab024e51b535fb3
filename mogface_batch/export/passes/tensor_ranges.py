"""Measures the values of a network's tensors on canvases: float16 ends at 65504, and INT8 has 256 steps."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from mogface_batch.detector.session import load_onnxruntime
from mogface_batch.export.graph.contract_graph import FLOAT

MAX_SAFE_VALUE = 2e4
"""A tensor with larger values stays in float32. Other images may have values three times as large without overflow."""

Ranges = Mapping[str, NDArray[np.float64]]
"""Tensor -> (canvases, 2): its smallest and largest value on each canvas; infinite if a value is not a number."""


def measure_ranges(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    canvases: Sequence[NDArray[np.uint8]],
) -> Ranges:
    """Return the range of each tensor on each canvas.

    Args:
        model: A contract file in float32; it is not changed.
        tensors: Names of float32 tensors.
        canvases: (H, W, 3) each.
    """
    extended = onnx.ModelProto()
    extended.CopyFrom(model)
    outputs = []
    for number, name in enumerate(tensors):
        # Only two numbers per tensor leave the graph: all tensors together would not fit into memory.
        for op in ("ReduceMin", "ReduceMax"):
            outputs.append(f"watched/{op}_{number}")
            extended.graph.node.append(helper.make_node(op, [name], outputs[-1:], keepdims=0))
            extended.graph.output.append(helper.make_tensor_value_info(outputs[-1], FLOAT, ()))
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        extended.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    values = np.array(
        [session.run(outputs, {"images": canvas[None]}) for canvas in canvases], dtype=np.float64
    )
    values = np.where(np.isfinite(values), values, np.inf).reshape(len(canvases), len(tensors), 2)
    return {name: values[:, number] for number, name in enumerate(tensors)}


def find_largest_values(ranges: Ranges) -> dict[str, float]:
    """Return tensor -> its largest absolute value over all canvases."""
    return {name: float(np.abs(values).max()) for name, values in ranges.items()}
