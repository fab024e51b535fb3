"""Adapts a file to TensorRT 10: standard operators in explicit types, and at most 3840 candidates.

TensorRT does not choose precisions here: the file states them, operator by operator.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mogface_batch.errors import ModelError

MAX_TOP_K = 3840
"""Source: TensorRT's page on TopK, NVIDIA/TensorRT#4244: TensorRT refuses more when it builds an engine."""
MAX_OPSET = 20
"""Up to this opset, ONNX Runtime can run group norms too, if TensorRT leaves some to it."""
OPERATORS = frozenset(
    [
        "Abs",
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Ceil",
        "Clip",
        "Concat",
        "Constant",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "Div",
        "Equal",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "Gemm",
        "GlobalAveragePool",
        "Greater",
        "Identity",
        "InstanceNormalization",
        "LeakyRelu",
        "Less",
        "Log",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "Pad",
        "Pow",
        "PRelu",
        "Range",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Resize",
        "Round",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Sum",
        "Tanh",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
"""The operators of TensorRT 10's ONNX parser that a detector may need. Source: onnx-tensorrt, docs/operators.md."""


def adapt_to_tensorrt(model: onnx.ModelProto, *, top_k: int) -> int:
    """Limit the candidates of a model to `MAX_TOP_K`, in place, and return their largest number.

    Raises:
        ModelError: The model contains an operator or an opset that TensorRT's parser does not accept.
    """
    unsupported = sorted({node.op_type for node in model.graph.node} - OPERATORS)
    unsupported += sorted({entry.domain for entry in model.opset_import} - {"", "ai.onnx"})
    if unsupported:
        raise ModelError(
            f"TensorRT 10 does not support this file: it contains {', '.join(unsupported)}. Export it with --for any."
        )
    if max(entry.version for entry in model.opset_import) > MAX_OPSET:
        raise ModelError(f"For TensorRT 10 the opset is {MAX_OPSET} at most, and this file uses a later one.")
    _cast_pixels_first(model.graph)
    if top_k <= MAX_TOP_K:
        return top_k
    nodes = []
    model.graph.initializer.append(numpy_helper.from_array(np.array([MAX_TOP_K]), "tensorrt/most"))
    for node in model.graph.node:
        if node.op_type == "TopK":
            count = node.input[1]
            node.input[1] = "tensorrt/count"
            nodes.append(helper.make_node("Less", [count, "tensorrt/most"], ["tensorrt/is_less"]))
            nodes.append(
                helper.make_node("Where", ["tensorrt/is_less", count, "tensorrt/most"], ["tensorrt/count"])
            )
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return MAX_TOP_K


def _cast_pixels_first(graph: onnx.GraphProto) -> None:
    """Cast the uint8 canvases before any other operator; the later cast then has no effect.

    Source: NVIDIA/TensorRT#3985: only a cast accepts uint8, not even a layer that just moves data.
    """
    for node in graph.node:
        if node.op_type != "Shape":
            node.input[:] = ["tensorrt/images" if name == "images" else name for name in node.input]
    cast = helper.make_node("Cast", ["images"], ["tensorrt/images"], "tensorrt/images", to=TensorProto.FLOAT)
    graph.node.insert(0, cast)
