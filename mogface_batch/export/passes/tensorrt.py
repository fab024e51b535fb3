"""What TensorRT 10 takes: standard operators in explicit types, and at most 3840 candidates.

TensorRT chooses no precision of its own here: the file says which, operator by operator.
"""

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mogface_batch.errors import ModelError

MAX_TOP_K = 3840
"""Source: TensorRT's page on TopK, NVIDIA/TensorRT#4244: more are refused when an engine is built."""
MAX_OPSET = 20
"""Up to here group norms are operators that ONNX Runtime can run too, should TensorRT leave some to it."""
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
"""Those of TensorRT 10's ONNX parser that a detector may need. Source: onnx-tensorrt, docs/operators.md."""


def adapt_to_tensorrt(model: Any, *, top_k: int) -> int:  # noqa: ANN401 - onnx is untyped
    """Let at most `MAX_TOP_K` candidates leave the graph of a model, which is changed; return how many do.

    Raises:
        ModelError: It holds what TensorRT's parser does not take.
    """
    strange = sorted({node.op_type for node in model.graph.node} - OPERATORS)
    strange += sorted({entry.domain for entry in model.opset_import} - {"", "ai.onnx"})
    if strange:
        raise ModelError(
            f"TensorRT 10 cannot take this file: it holds {', '.join(strange)}. Export it with --for any."
        )
    if max(entry.version for entry in model.opset_import) > MAX_OPSET:
        raise ModelError(f"TensorRT 10 is given opset {MAX_OPSET} at most, and this file is in a later one.")
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


def _cast_pixels_first(graph: Any) -> None:  # noqa: ANN401 - onnx is untyped
    """Let a cast come before what our graphs do with bytes; the later cast has nothing to do then.

    Source: NVIDIA/TensorRT#3985: no layer but a cast takes uint8, not even one that only moves it.
    """
    for node in graph.node:
        if node.op_type != "Shape":
            node.input[:] = ["tensorrt/images" if name == "images" else name for name in node.input]
    cast = helper.make_node("Cast", ["images"], ["tensorrt/images"], "tensorrt/images", to=TensorProto.FLOAT)
    graph.node.insert(0, cast)
