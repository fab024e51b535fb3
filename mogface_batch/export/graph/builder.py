"""`GraphBuilder`: the ONNX graph of a contract file while nodes are added to it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper

Value = str
"""The name of a tensor in the graph."""


class GraphBuilder:
    """The graph of a contract file. Nodes keep the order in which they are added; each has one output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.opset_imports: list[onnx.OperatorSetIdProto] = [helper.make_opsetid("", 18)]
        self.ir_version = 8

    def add(self, op: str, *inputs: Value, output: Value | None = None, **attributes: Any) -> Value:  # noqa: ANN401 - of any type
        """Append a node and return the name of its output."""
        name = f"head/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output or name], name=name, **attributes))
        return output or name

    def add_constant(self, values: NDArray[np.generic]) -> Value:
        """Append a constant and return its name."""
        name = f"head/constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add_floats(self, values: object) -> Value:
        """Append a float32 constant and return its name."""
        return self.add_constant(np.array(values, dtype=np.float32))

    def add_integers(self, values: object) -> Value:
        """Append an int64 constant and return its name."""
        return self.add_constant(np.array(values, dtype=np.int64))

    def include(self, network: bytes, *, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Append a whole ONNX file; the graph takes over its opset and IR version. Call it once per graph.

        Args:
            network: One ONNX file that contains its weights.
            inputs: Input name of the network -> the tensor of this graph that feeds it.

        Returns:
            Output name of the network -> its name in this graph.
        """
        model = onnx.load_from_string(network)
        outputs = [output.name for output in model.graph.output]
        compose.add_prefix(model, "network/", inplace=True)
        _strip_exporter_traces(model.graph)
        sources = {f"network/{name}": value for name, value in inputs.items()}
        for node in model.graph.node:
            node.input[:] = [sources.get(name, name) for name in node.input]
        self.nodes.extend(model.graph.node)
        self.initializers.extend(model.graph.initializer)
        self.opset_imports, self.ir_version = list(model.opset_import), model.ir_version
        return {name: f"network/{name}" for name in outputs}


def _strip_exporter_traces(graph: onnx.GraphProto) -> None:
    """Remove what exporters record of their own machine: stack traces, and names that are source paths."""
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        if ".py" in node.name:
            node.ClearField("name")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            for body in (attribute.g, *attribute.graphs):
                _strip_exporter_traces(body)
    for tensor in graph.initializer:
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")
