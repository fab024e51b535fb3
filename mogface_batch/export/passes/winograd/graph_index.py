"""Answers questions about a graph: which nodes write and read a value, constants, attributes, sizes."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper


class GraphIndex:
    """An index of a graph, made once; the graph is not changed."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self.outputs = {output.name for output in graph.output}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in set(list_reads(node)):
                self._readers[name].append(node)
        self._size_roots = self._find_size_roots()

    def find_readers(self, value: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a value, also those that read it in a body (of a loop or a branch)."""
        return self._readers.get(value, [])

    def find_same_sized(self, value: str) -> str:
        """Return the first value [N, C, H, W] that is known to have the same N, H and W as this one."""
        return self._size_roots.get(value, value)

    def _find_size_roots(self) -> dict[str, str]:
        roots: dict[str, str] = {}
        for node in self.nodes:
            input_roots = {roots.get(name, name) for name in self._list_same_sized_inputs(node)}
            if len(input_roots) == 1:
                roots[node.output[0]] = input_roots.pop()
        return roots

    def _list_same_sized_inputs(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs that have the N, H and W of the output, provided that all these inputs have the same."""
        if node.op_type in {"Relu", "Add"} or (
            node.op_type == "Concat" and read_attribute(node, "axis", 0) == 1
        ):
            return list(node.input)
        if node.op_type != "Conv" or read_attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
            return []
        kernel = (self.read_constant_shape(node.input[1]) or (0, 0, 0, 0))[2:]
        if len(kernel) != 2 or any(stride != 1 for stride in read_attribute(node, "strides", [1, 1])):
            return []
        pads, dilations = read_attribute(node, "pads", [0] * 4), read_attribute(node, "dilations", [1, 1])
        growth = (pads[axis] + pads[axis + 2] - dilations[axis] * (kernel[axis] - 1) for axis in (0, 1))
        return [] if any(growth) else [node.input[0]]

    def read_constant_shape(self, value: str) -> tuple[int, ...] | None:
        """Return the shape of a constant of the file, None if the value is not a constant."""
        tensor = self._initializers.get(value)
        return None if tensor is None else tuple(tensor.dims)

    def read_constant(self, value: str) -> NDArray[np.generic] | None:
        """Return a constant of the file, None if the value is not a constant."""
        tensor = self._initializers.get(value)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def is_float32(self, value: str) -> bool:
        """Return whether a value is a float32 constant."""
        tensor = self._initializers.get(value)
        return tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT


def read_attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:  # noqa: ANN401 - any type of attribute
    """Return an attribute of a node, or the default if the node does not have it."""
    values = [helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name]
    return values[0] if values else default


def list_reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the values that a node reads, including those that its bodies read."""
    yield from (name for name in node.input if name)
    for entry in node.attribute:
        for body in (entry.g, *entry.graphs):
            for body_node in body.node:
                yield from list_reads(body_node)


def infer_sizes(model: onnx.ModelProto, canvas_hw: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return height and width of every [N, C, H, W] value whose size is known for canvases of one size.

    Args:
        model: Its first input is [N, H, W, 3] or [N, C, H, W]; lengths that are fixed in the file stay.
        canvas_hw: Height and width in pixels.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]
    shape = fixed.graph.input[0].type.tensor_type.shape.dim
    channels_last = len(shape) == 4 and shape[3].dim_value == 3
    lengths = (1, *canvas_hw) if channels_last else (1, shape[1].dim_value, *canvas_hw)
    for dim, length in zip(shape, lengths, strict=False):
        if not dim.dim_value:
            dim.dim_value = length
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    dims = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
    return {
        name: (lengths[2], lengths[3])
        for name, lengths in dims.items()
        if len(lengths) == 4 and all(lengths[2:])
    }
