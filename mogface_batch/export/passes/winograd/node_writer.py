"""Writes nodes in order, and writes each computation only once: equal ones share their result."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Value = str
"""The name of a tensor in the graph."""


class NodeWriter:
    """The nodes and constants of the rewritten graph."""

    def __init__(self, prefix: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._prefix = prefix
        self._shared: dict[tuple[object, ...], Value] = {}

    def add(self, op: str, *inputs: Value, output: Value | None = None, **attributes: Any) -> Value:  # noqa: ANN401 - of any type
        """Return the output of a node, which is appended unless an equal node exists.

        A node for which ``output`` is given is always appended.
        """
        key = (op, inputs, repr(sorted(attributes.items())))
        if output is None and key in self._shared:
            return self._shared[key]
        name = output or f"{self._prefix}{op}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [name], name=f"{self._prefix}{op}_{len(self.nodes)}", **attributes)
        )
        self._shared.setdefault(key, name)
        return name

    def split(self, value: Value, sizes: Value, parts: int, *, axis: int) -> list[Value]:
        """Return the parts of a tensor along an axis; ``sizes`` is an int64 vector with the length of each part."""
        outputs = [f"{self._prefix}Split_{len(self.nodes)}_{part}" for part in range(parts)]
        self.nodes.append(helper.make_node("Split", [value, sizes], outputs, name=outputs[0], axis=axis))
        return outputs

    def add_constant(self, values: NDArray[np.generic]) -> Value:
        """Return a constant; equal constants are shared."""
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._shared:
            self._shared[key] = f"{self._prefix}constant_{len(self.initializers)}"
            self.initializers.append(numpy_helper.from_array(values, self._shared[key]))
        return self._shared[key]

    def add_large_constant(self, name: str, values: NDArray[np.generic]) -> Value:
        """Return a large constant, which is not compared with others."""
        self.initializers.append(numpy_helper.from_array(values, self._prefix + name))
        return self._prefix + name

    def add_floats(self, values: object) -> Value:
        """Return a float32 constant."""
        return self.add_constant(np.array(values, dtype=np.float32))

    def add_integers(self, values: object) -> Value:
        """Return an int64 constant."""
        return self.add_constant(np.array(values, dtype=np.int64))

    def reshape(self, value: Value, *shape: int) -> Value:
        """Return the tensor in another shape; one length may be -1."""
        return self.add("Reshape", value, self.add_integers(shape))

    def add_sum(self, values: Sequence[Value]) -> Value:
        """Return the sum of int64 scalars; 0 if there are none."""
        if not values:
            return self.add_integers(0)
        result = values[0]
        for value in values[1:]:
            result = self.add("Add", result, value)
        return result
