"""Puts the network of a contract file into float16; what comes before and after it stays in float32.

Written anew instead of calling ``onnxruntime.transformers.float16``: that converter puts two casts between any two
neighbours that stay in float32, and tells types by inference that stops at operators of ONNX Runtime's own.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mogface_batch.export.graph.contract_graph import FLOAT, FLOAT16, find_network_nodes, infer_tensor_types

LARGEST_FP16 = 65504.0
FLOAT_INPUTS = {"Resize": (1, 2), "GroupNorm": (1, 2)}
"""Operator -> inputs that are float32 also where the first one is float16. Source: onnx.ai, and ContribOperators.md."""
_ASKS_FOR_SHAPE = ("Shape", "Size")


def convert_to_fp16(model: Any, *, kept: Collection[str] = ()) -> Any:  # noqa: ANN401 - onnx is untyped
    """Return the model with its network in float16.

    Args:
        model: In float32; changed.
        kept: Tensors of the network that stay in float32, since they are too large: so do the nodes that make or
            read them.
    """
    types = infer_tensor_types(model)
    inside = {
        node.output[0]
        for node in find_network_nodes(model.graph.node)
        if not _touches(node, kept) and _has_floats(node, types)
    }
    halves = _Halves(model, types)
    nodes = []
    for node in model.graph.node:
        nodes += halves.casts(node, half=node.output[0] in inside)
        nodes.append(node)
        if node.output[0] in inside:
            halves.become_half(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    halves.drop_unread_weights()
    return model


def _touches(node: Any, tensors: Collection[str]) -> bool:  # noqa: ANN401
    return any(name in tensors for name in (*node.input, *node.output))


def _has_floats(node: Any, types: dict[str, int]) -> bool:  # noqa: ANN401
    return any(types.get(name) == FLOAT for name in node.output)


class _Halves:
    """Which tensors are float16 by now, and the casts and weights made for those that are not."""

    def __init__(self, model: Any, types: dict[str, int]) -> None:  # noqa: ANN401
        self._graph = model.graph
        self._types = types
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._cast: set[str] = set()

    def casts(self, node: Any, *, half: bool) -> list[Any]:  # noqa: ANN401
        """Let a node read what it needs, and return the casts that must stand before it."""
        made: list[Any] = []
        if node.op_type in _ASKS_FOR_SHAPE:
            return made
        floats = FLOAT_INPUTS.get(node.op_type, ())
        for place, name in enumerate(node.input):
            wanted = FLOAT16 if half and place not in floats else FLOAT
            if self._types.get(name) not in {FLOAT, FLOAT16} or self._types[name] == wanted:
                continue
            other = f"{name}/{'fp16' if wanted == FLOAT16 else 'fp32'}"
            node.input[place] = other
            if other in self._cast:
                continue
            self._cast.add(other)
            if name in self._weights:
                self._graph.initializer.append(_half_weight(self._weights[name], other))
            else:
                made.append(helper.make_node("Cast", [name], [other], name=f"{other}/Cast", to=wanted))
        return made

    def become_half(self, node: Any) -> None:  # noqa: ANN401
        """Note that a node's results are float16 from now on."""
        for name in node.output:
            if self._types.get(name) == FLOAT:
                self._types[name] = FLOAT16
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = FLOAT16
            if node.op_type == "ConstantOfShape" and attribute.name == "value":
                attribute.t.CopyFrom(_half_weight(attribute.t, attribute.t.name))

    def drop_unread_weights(self) -> None:
        """Drop the weights that are read in float16 alone."""
        read = {name for node in self._graph.node for name in node.input}
        left = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(left)


def _half_weight(weight: Any, name: str) -> Any:  # noqa: ANN401
    values = numpy_helper.to_array(weight)
    return numpy_helper.from_array(np.clip(values, -LARGEST_FP16, LARGEST_FP16).astype(np.float16), name)


def list_float16_tensors(model: Any) -> list[str]:  # noqa: ANN401
    """Return the tensors, weights left out, that `convert_to_fp16` would put into float16."""
    types = infer_tensor_types(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    nodes = find_network_nodes(model.graph.node)
    names = {name: None for node in nodes for name in (*node.input, *node.output)}
    return [name for name in names if types.get(name) == FLOAT and name not in weights]


def has_consistent_types(model: Any) -> bool:  # noqa: ANN401
    """Return whether every operator's types agree, as a runtime without casts of its own demands."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True
