"""A contract file as a graph that a pass may change: which nodes are the network, and the type of each tensor.

    bytes -> `read_contract` -> a pass of `passes/` -> `write_contract` -> bytes

A pass knows no detector. One rule separates the network from the nodes that the export has added: a node belongs to
the network if it is a heavy operator or is between two of them. So normalisation, sigmoid, decoding and top-K are
outside, whatever their names are.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import onnx

from mogface_batch.errors import ModelError, quote_first_line

if TYPE_CHECKING:
    from mogface_batch.contract import ModelCard

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def read_contract(encoded: bytes, where: str) -> tuple[onnx.ModelProto, "ModelCard"]:
    """Return the ONNX model and the card of a contract file in float32, made by this project for any device.

    Args:
        encoded: The file.
        where: Its name in error messages.

    Raises:
        ModelError: It is not a contract file, is not in float32 any more, or has a form that passes do not handle.
    """
    from mogface_batch.contract import ModelCard  # noqa: PLC0415 - passes without a card work without pydantic

    try:
        model = onnx.load_from_string(encoded)
        onnx.checker.check_model(model)
    except Exception as error:
        # Protobuf and the checker have no common error.
        raise ModelError(f"{where} cannot be read as an ONNX model: {quote_first_line(error)}.") from error
    card, wrong = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if card is None:
        raise ModelError(f"{where} is not a contract file: {'; '.join(wrong)}.")
    if card.precision != "fp32" or card.target != "any" or card.needs_provider:
        raise ModelError(
            f"{where} is {card.precision} for {card.target} already: take the file in fp32, exported without --for."
        )
    simplify_model(model, where)
    return model, card


def simplify_model(model: onnx.ModelProto, where: str) -> None:
    """Change a model into the one form that passes handle: weights are initializers, and there is no control flow.

    Raises:
        ModelError: The model has branches or loops, or contains no network.
    """
    if any(
        attribute.HasField("g") or attribute.graphs
        for node in model.graph.node
        for attribute in node.attribute
    ):
        raise ModelError(f"{where} has branches or loops in its graph, which passes do not handle.")
    _turn_constants_into_weights(model.graph)
    if not find_network_nodes(model.graph.node):
        raise ModelError(f"{where} contains no network: it has no {', '.join(sorted(HEAVY))}.")


def _turn_constants_into_weights(graph: onnx.GraphProto) -> None:
    """Turn Constant nodes, which some exporters write, into initializers, so that passes handle one form only."""
    nodes = []
    for node in graph.node:
        values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if node.op_type == "Constant" and values:
            values[0].name = node.output[0]
            graph.initializer.append(values[0])
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def write_contract(model: onnx.ModelProto, card: "ModelCard") -> bytes:
    """Return the file with this card; the same model and card give the same bytes."""
    onnx.helper.set_model_props(model, card.to_metadata())
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


def find_network_nodes(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes of the network, in the order of the graph."""
    nodes = list(nodes)
    downstream = _trace_heavy(nodes)
    upstream = _trace_heavy(reversed(nodes), backwards=True)
    return [node for node in nodes if node.output[0] in downstream and node.output[0] in upstream]


def find_first_layers(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the heavy nodes that depend on no other heavy node."""
    nodes = list(nodes)
    downstream = _trace_heavy(nodes, strictly=True)
    return [node for node in nodes if node.op_type in HEAVY and node.output[0] not in downstream]


def find_last_layers(nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the heavy nodes on which no other heavy node depends."""
    nodes = list(nodes)
    upstream = _trace_heavy(reversed(nodes), backwards=True, strictly=True)
    return [node for node in nodes if node.op_type in HEAVY and node.output[0] not in upstream]


def infer_tensor_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return tensor -> its element type, where shape inference knows it."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    declared = (*graph.input, *graph.output, *graph.value_info)
    return {value.name: value.type.tensor_type.elem_type for value in declared} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def _trace_heavy(
    nodes: Iterable[onnx.NodeProto], *, backwards: bool = False, strictly: bool = False
) -> set[str]:
    """Return the first output of each node that depends on a heavy node.

    Args:
        nodes: In an order in which each node follows the nodes that it is traced from.
        backwards: Trace from outputs to inputs: the nodes on which a heavy node depends.
        strictly: Leave out heavy nodes that depend on no other heavy node.
    """
    tensors: set[str] = set()
    reached: set[str] = set()
    for node in nodes:
        sources, targets = (node.output, node.input) if backwards else (node.input, node.output)
        is_downstream = not tensors.isdisjoint(sources)
        is_heavy = node.op_type in HEAVY
        if is_downstream or (is_heavy and not strictly):
            reached.add(node.output[0])
        if is_downstream or is_heavy:
            tensors.update(name for name in targets if name)
    return reached
