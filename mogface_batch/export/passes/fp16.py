"""Converts the network of a contract file to float16; the nodes before and after it stay in float32.

``onnxruntime.transformers.float16`` is not used: it puts two casts between any two neighbours that stay in float32,
and its type inference stops at operators of ONNX Runtime.
"""

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mogface_batch.export.graph.contract_graph import FLOAT, FLOAT16, find_network_nodes, infer_tensor_types

LARGEST_FP16 = 65504.0
FLOAT_INPUTS = {"Resize": (1, 2), "GroupNorm": (1, 2)}
"""Operator -> inputs that are float32 even if the first one is float16. Source: onnx.ai, and ContribOperators.md."""
_SHAPE_OPERATORS = ("Shape", "Size")


def convert_to_fp16(model: onnx.ModelProto, *, kept_fp32: Collection[str] = ()) -> onnx.ModelProto:
    """Return the model with its network in float16.

    Args:
        model: In float32; it is changed.
        kept_fp32: Tensors of the network that stay in float32 because their values are too large, as do the nodes that
            write or read them.
    """
    types = infer_tensor_types(model)
    half_outputs = {
        node.output[0]
        for node in find_network_nodes(model.graph.node)
        if not _touches(node, kept_fp32) and _has_floats(node, types)
    }
    half_precision = _HalfPrecision(model, types)
    nodes = []
    for node in model.graph.node:
        nodes += half_precision.add_casts(node, half=node.output[0] in half_outputs)
        nodes.append(node)
        if node.output[0] in half_outputs:
            half_precision.mark_as_half(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    half_precision.drop_unread_weights()
    return model


def _touches(node: onnx.NodeProto, tensors: Collection[str]) -> bool:
    return any(name in tensors for name in (*node.input, *node.output))


def _has_floats(node: onnx.NodeProto, types: dict[str, int]) -> bool:
    return any(types.get(name) == FLOAT for name in node.output)


class _HalfPrecision:
    """Tracks which tensors are float16 already, and makes casts and weights for the others."""

    def __init__(self, model: onnx.ModelProto, types: dict[str, int]) -> None:
        self._graph = model.graph
        self._types = types
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._converted: set[str] = set()

    def add_casts(self, node: onnx.NodeProto, *, half: bool) -> list[onnx.NodeProto]:
        """Make a node read tensors of the type that it needs; return the casts to insert before it."""
        casts: list[onnx.NodeProto] = []
        if node.op_type in _SHAPE_OPERATORS:
            return casts
        floats = FLOAT_INPUTS.get(node.op_type, ())
        for place, name in enumerate(node.input):
            element_type = FLOAT16 if half and place not in floats else FLOAT
            if self._types.get(name) not in {FLOAT, FLOAT16} or self._types[name] == element_type:
                continue
            converted = f"{name}/{'fp16' if element_type == FLOAT16 else 'fp32'}"
            node.input[place] = converted
            if converted in self._converted:
                continue
            self._converted.add(converted)
            if name in self._weights:
                self._graph.initializer.append(_convert_weight(self._weights[name], converted))
            else:
                casts.append(
                    helper.make_node("Cast", [name], [converted], name=f"{converted}/Cast", to=element_type)
                )
        return casts

    def mark_as_half(self, node: onnx.NodeProto) -> None:
        """Record that the results of a node are float16."""
        for name in node.output:
            if self._types.get(name) == FLOAT:
                self._types[name] = FLOAT16
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = FLOAT16
            if node.op_type == "ConstantOfShape" and attribute.name == "value":
                attribute.t.CopyFrom(_convert_weight(attribute.t, attribute.t.name))

    def drop_unread_weights(self) -> None:
        """Drop float32 weights that no node reads any more."""
        read = {name for node in self._graph.node for name in node.input}
        used = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(used)


def _convert_weight(weight: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(weight)
    return numpy_helper.from_array(np.clip(values, -LARGEST_FP16, LARGEST_FP16).astype(np.float16), name)


def list_float16_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the tensors, without weights, that `convert_to_fp16` converts to float16."""
    types = infer_tensor_types(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = find_network_nodes(model.graph.node)
    names = {name: None for node in nodes for name in (*node.input, *node.output)}
    return [name for name in names if types.get(name) == FLOAT and name not in weights]


def has_consistent_types(model: onnx.ModelProto) -> bool:
    """Return whether the types of every operator agree, which a runtime that inserts no casts requires."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True
