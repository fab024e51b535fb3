"""Finds what the pass rewrites: 3x3 convolutions, with the nodes after them that can stay in tiles."""

from dataclasses import dataclass, field

import numpy as np
import onnx
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
    """(C,) float32, as bytes so that two norms can be compared. The same holds for beta."""
    beta: bytes


@dataclass(frozen=True, slots=True)
class Kind:
    """The properties that two convolutions must share to be computed as one."""

    weight: str
    bias: str
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    """Top, left, bottom, right."""
    norm: GroupNorm | None
    relu: bool


@dataclass(slots=True)
class Convolution:
    """A 3x3 convolution of stride 1, and the norm and ReLU that follow it."""

    kind: Kind
    channels: tuple[int, int]
    """Input and output channels."""
    source: str
    """The value that the convolution reads."""
    convolved: str
    """The output of the convolution itself."""
    result: str
    """The output of the last node that belongs to it."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)


def match_convolution(index: GraphIndex, node: onnx.NodeProto) -> Convolution | None:
    """Return the convolution that begins at a node, or None if the node is not rewritten."""
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
    nodes, result, norm = _match_group_norm(index, node.output[0], shape[0])
    relu = _find_only_reader(index, result, "Relu")
    if relu is not None:
        nodes, result = [*nodes, relu], relu.output[0]
    kind = Kind(node.input[1], bias, dilations, pads, norm, relu is not None)
    return Convolution(kind, (shape[1], shape[0]), node.input[0], node.output[0], result, [node, *nodes])


def _is_plain(node: onnx.NodeProto) -> bool:
    automatic = read_attribute(node, "auto_pad", b"NOTSET") != b"NOTSET"
    strides = list(read_attribute(node, "strides", [1, 1]))
    pads = read_attribute(node, "pads", [0, 0, 0, 0])
    return not automatic and read_attribute(node, "group", 1) == 1 and strides == [1, 1] and min(pads) >= 0


def _find_only_reader(index: GraphIndex, value: str, op: str) -> onnx.NodeProto | None:
    """Return the node that reads a value if it is the only reader and has this operator."""
    readers = index.find_readers(value)
    is_only_reader = len(readers) == 1 and value not in index.outputs and readers[0].op_type == op
    return readers[0] if is_only_reader and value in readers[0].input else None


def _match_group_norm(
    index: GraphIndex, value: str, channels: int
) -> tuple[list[onnx.NodeProto], str, GroupNorm | None]:
    """Return the nodes, the output and the parameters of a group norm of [N, C, H, W] in the form of exporters.

    Reshape to [N, groups, -1], InstanceNormalization, Reshape back, Mul, Add.
    """
    shapes = [node for node in index.find_readers(value) if node.op_type == "Shape"]
    readers = [node for node in index.find_readers(value) if node.op_type != "Shape"]
    nodes = _match_chain(index, readers, ("Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"))
    if not nodes or value in index.outputs or not _restores(index, nodes[2].input[1], shapes):
        return [], value, None
    norm = _read_norm(index, nodes, channels)
    return ([], value, None) if norm is None else ([*shapes, *nodes], nodes[-1].output[0], norm)


def _match_chain(
    index: GraphIndex, first: list[onnx.NodeProto], ops: tuple[str, ...]
) -> list[onnx.NodeProto]:
    """Return nodes with these operators, each the only reader of the node before it; else an empty list."""
    if len(first) != 1 or first[0].op_type != ops[0]:
        return []
    nodes = [first[0]]
    for op in ops[1:]:
        reader = _find_only_reader(index, nodes[-1].output[0], op)
        if reader is None:
            return []
        nodes.append(reader)
    return nodes


def _read_norm(index: GraphIndex, nodes: list[onnx.NodeProto], channels: int) -> GroupNorm | None:
    grouping, instance_norm, ungrouping, scaling, shifting = nodes
    groups = _read_groups(index, grouping, channels)
    gamma = _read_by_channel(index, scaling, ungrouping.output[0], channels)
    beta = _read_by_channel(index, shifting, scaling.output[0], channels)
    scale, offset = (index.read_constant(name) for name in instance_norm.input[1:3])
    if groups is None or gamma is None or beta is None or scale is None or offset is None:
        return None
    group_size = channels // groups
    return GroupNorm(
        groups,
        float(read_attribute(instance_norm, "epsilon", 1e-5)),
        (gamma * np.repeat(scale, group_size)).astype(np.float32).tobytes(),
        (gamma * np.repeat(offset, group_size) + beta).astype(np.float32).tobytes(),
    )


def _read_groups(index: GraphIndex, grouping: onnx.NodeProto, channels: int) -> int | None:
    """Return the number of groups into which a Reshape to [0, groups, -1] splits the channels."""
    target = index.read_constant(grouping.input[1])
    if target is None or target.shape != (3,) or read_attribute(grouping, "allowzero", 0):
        return None
    batch, groups, other_nodes = (int(length) for length in target)
    return groups if (batch, other_nodes) == (0, -1) and groups > 0 and channels % groups == 0 else None


def _restores(index: GraphIndex, shape: str, shapes: list[onnx.NodeProto]) -> bool:
    """Return whether a Reshape to this shape restores the shape of the input of the group norm."""
    if len(shapes) != 1 or shape != shapes[0].output[0] or len(index.find_readers(shape)) != 1:
        return False
    return not read_attribute(shapes[0], "start", 0) and read_attribute(shapes[0], "end", None) is None


def _read_by_channel(index: GraphIndex, node: onnx.NodeProto, variable: str, channels: int) -> Vector | None:
    """Return the constant operand of a node, one number per channel of [N, C, H, W]."""
    names = [name for name in node.input if name != variable]
    values = index.read_constant(names[0]) if len(names) == 1 else None
    if values is None or values.shape[-3:] != (channels, 1, 1) or values.size != channels:
        return None
    return values.astype(np.float32).ravel()
