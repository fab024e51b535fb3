"""What the pass looks for: a 3x3 convolution, and what follows it that can stay in tiles."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch.export.passes.winograd.graph_index import GraphIndex, read_attribute
from mogface_batch.export.passes.winograd.transforms import TAPS

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GroupNorm:
    """Mean 0 and variance 1 over each group of channels of each image, then ``* gamma + beta``."""

    groups: int
    epsilon: float
    gamma: bytes
    """(C,) float32, as bytes so that two can be compared; so is beta."""
    beta: bytes


@dataclass(frozen=True, slots=True)
class Kind:
    """All that two convolutions must share to be computed as one."""

    weight: str
    bias: str
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    norm: GroupNorm | None
    relu: bool


@dataclass(slots=True)
class Convolution:
    """A 3x3 convolution of stride 1 and what follows it."""

    kind: Kind
    channels: tuple[int, int]
    """In and out."""
    source: str
    """Reads this value."""
    convolved: str
    """The convolution's own output."""
    result: str
    """The output of the last node that belongs to it."""
    nodes: list[Any] = field(default_factory=list)


def match_convolution(index: GraphIndex, node: Any) -> Convolution | None:  # noqa: ANN401 - onnx is untyped
    """Return what the node is, or None where it is left alone."""
    if node.op_type != "Conv" or node.domain not in {"", "ai.onnx"} or not index.is_float32(node.input[1]):
        return None
    shape = index.read_constant_shape(node.input[1])
    if shape is None or len(shape) != 4 or shape[2:] != (TAPS, TAPS) or not _is_plain(node):
        return None
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias and not index.is_float32(bias):
        return None
    pads = tuple(read_attribute(node, "pads", [0, 0, 0, 0]))
    dilations = tuple(read_attribute(node, "dilations", [1, 1]))
    nodes, result, norm = _group_norm(index, node.output[0], shape[0])
    relu = _only_reader(index, result, "Relu")
    if relu is not None:
        nodes, result = [*nodes, relu], relu.output[0]
    kind = Kind(node.input[1], bias, dilations, pads, norm, relu is not None)
    return Convolution(kind, (shape[1], shape[0]), node.input[0], node.output[0], result, [node, *nodes])


def _is_plain(node: Any) -> bool:  # noqa: ANN401 - onnx is untyped
    automatic = read_attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"
    strides = list(read_attribute(node, "strides", [1, 1]))
    pads = read_attribute(node, "pads", [0, 0, 0, 0])
    return not automatic and read_attribute(node, "group", 1) == 1 and strides == [1, 1] and min(pads) >= 0


def _only_reader(index: GraphIndex, value: str, op: str) -> Any:  # noqa: ANN401 - onnx is untyped
    """Return the node that reads a value, if it is the only one and of this kind."""
    readers = index.find_readers(value)
    alone = len(readers) == 1 and value not in index.outputs and readers[0].op_type == op
    return readers[0] if alone and value in readers[0].input else None


def _group_norm(index: GraphIndex, value: str, channels: int) -> tuple[list[Any], str, GroupNorm | None]:
    """Return the nodes, the output and the numbers of a group norm of [N, C, H, W], as exporters write it.

    Reshape to [N, groups, -1], InstanceNormalization, Reshape back, Mul, Add.
    """
    shapes = [node for node in index.find_readers(value) if node.op_type == "Shape"]
    others = [node for node in index.find_readers(value) if node.op_type != "Shape"]
    nodes = _chain(index, others, ("Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"))
    if not nodes or value in index.outputs or not _restores(index, nodes[2].input[1], shapes):
        return [], value, None
    norm = _norm(index, nodes, channels)
    return ([], value, None) if norm is None else ([*shapes, *nodes], nodes[-1].output[0], norm)


def _chain(index: GraphIndex, first: list[Any], ops: tuple[str, ...]) -> list[Any]:
    """Return nodes of these kinds, each the only reader of the one before; none where it is otherwise."""
    if len(first) != 1 or first[0].op_type != ops[0]:
        return []
    nodes = [first[0]]
    for op in ops[1:]:
        reader = _only_reader(index, nodes[-1].output[0], op)
        if reader is None:
            return []
        nodes.append(reader)
    return nodes


def _norm(index: GraphIndex, nodes: list[Any], channels: int) -> GroupNorm | None:
    grouping, instance_norm, back, scaled, shifted = nodes
    groups = _groups(index, grouping, channels)
    gamma = _by_channel(index, scaled, back.output[0], channels)
    beta = _by_channel(index, shifted, scaled.output[0], channels)
    scale, offset = (index.read_constant(name) for name in instance_norm.input[1:3])
    if groups is None or gamma is None or beta is None or scale is None or offset is None:
        return None
    each = channels // groups
    return GroupNorm(
        groups,
        float(read_attribute(instance_norm, "epsilon", 1e-5)),
        (gamma * np.repeat(scale, each)).astype(np.float32).tobytes(),
        (gamma * np.repeat(offset, each) + beta).astype(np.float32).tobytes(),
    )


def _groups(index: GraphIndex, grouping: Any, channels: int) -> int | None:  # noqa: ANN401 - onnx is untyped
    """Return the groups into which a Reshape to [0, groups, -1] parts the channels."""
    target = index.read_constant(grouping.input[1])
    if target is None or target.shape != (3,) or read_attribute(grouping, "allowzero", 0):
        return None
    kept, groups, rest = (int(length) for length in target)
    return groups if (kept, rest) == (0, -1) and groups > 0 and channels % groups == 0 else None


def _restores(index: GraphIndex, shape: str, shapes: list[Any]) -> bool:
    """Return whether a Reshape to this shape gives back what the group norm was given."""
    if len(shapes) != 1 or shape != shapes[0].output[0] or len(index.find_readers(shape)) != 1:
        return False
    return not read_attribute(shapes[0], "start", 0) and read_attribute(shapes[0], "end", None) is None


def _by_channel(index: GraphIndex, node: Any, other: str, channels: int) -> Vector | None:  # noqa: ANN401 - onnx is untyped
    """Return the constant operand, one number a channel of [N, C, H, W]."""
    names = [name for name in node.input if name != other]
    values = index.read_constant(names[0]) if len(names) == 1 else None
    if values is None or values.shape[-3:] != (channels, 1, 1) or values.size != channels:
        return None
    return values.astype(np.float32).ravel()
