"""A contract file as a graph that is about to be changed: which of its nodes are the network, and what type flows where.

    bytes -> `read_contract` -> a pass (`fp16.py`, `cuda.py`, `tensorrt.py`, `int8.py`) -> `write_contract` -> bytes

A pass knows no detector. It tells the network from what the export put around it by one rule: a node belongs to the
network if a heavy operator comes before it, or is it, and one comes after it, or is it. So normalisation, sigmoid,
decoding and top-K lie outside, whatever their names.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import onnx

from mogface_batch.errors import ModelError, quote_first_line

if TYPE_CHECKING:
    from mogface_batch.contract import ModelCard

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def read_contract(encoded: bytes, where: str) -> tuple[Any, "ModelCard"]:
    """Return the ONNX model and the card of a contract file in float32, made by this project for any device.

    Args:
        encoded: The file.
        where: What to call it.

    Raises:
        ModelError: It is none, is no longer in float32, or cannot be taken apart.
    """
    from mogface_batch.contract import ModelCard  # noqa: PLC0415 - the passes below need no card, nor pydantic

    try:
        model = onnx.load_from_string(encoded)
        onnx.checker.check_model(model)
    except Exception as error:
        # Protobuf and the checker have no common error.
        raise ModelError(f"{where} is no ONNX model that can be read: {quote_first_line(error)}.") from error
    card, wrong = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if card is None:
        raise ModelError(f"{where} is no contract file: {'; '.join(wrong)}.")
    if card.precision != "fp32" or card.target != "any" or card.needs_provider:
        raise ModelError(
            f"{where} is {card.precision} for {card.target} already: take the file in fp32, exported without --for."
        )
    simplify_model(model, where)
    return model, card


def simplify_model(model: Any, where: str) -> None:  # noqa: ANN401 - onnx is untyped
    """Let a model, which is changed, have the one form that passes know.

    Raises:
        ModelError: It has branches or loops, or holds no network.
    """
    if any(
        attribute.HasField("g") or attribute.graphs
        for node in model.graph.node
        for attribute in node.attribute
    ):
        raise ModelError(f"{where} has branches or loops in its graph, which no detector of ours has.")
    _turn_constants_into_weights(model.graph)
    if not find_network_nodes(model.graph.node):
        raise ModelError(f"{where} holds no network: there is no {', '.join(sorted(HEAVY))} in it.")


def _turn_constants_into_weights(graph: Any) -> None:  # noqa: ANN401 - onnx is untyped
    """Let passes know one form of constant only; exporters write some as nodes."""
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


def write_contract(model: Any, card: "ModelCard") -> bytes:  # noqa: ANN401 - onnx is untyped
    """Return the file with this card; the same model and card give the same bytes."""
    onnx.helper.set_model_props(model, card.to_metadata())
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


def find_network_nodes(nodes: Iterable[Any]) -> list[Any]:
    """Return the nodes of the network, in the graph's order."""
    nodes = list(nodes)
    after = _reached(nodes)
    before = _reached(reversed(nodes), backwards=True)
    return [node for node in nodes if node.output[0] in after and node.output[0] in before]


def find_first_layers(nodes: Iterable[Any]) -> list[Any]:
    """Return the heavy nodes that no other one comes before."""
    nodes = list(nodes)
    after = _reached(nodes, strictly=True)
    return [node for node in nodes if node.op_type in HEAVY and node.output[0] not in after]


def find_last_layers(nodes: Iterable[Any]) -> list[Any]:
    """Return the heavy nodes that no other one comes after."""
    nodes = list(nodes)
    before = _reached(reversed(nodes), backwards=True, strictly=True)
    return [node for node in nodes if node.op_type in HEAVY and node.output[0] not in before]


def infer_tensor_types(model: Any) -> dict[str, int]:  # noqa: ANN401
    """Return tensor -> its element type, as far as ONNX can tell."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    declared = (*graph.input, *graph.output, *graph.value_info)
    return {value.name: value.type.tensor_type.elem_type for value in declared} | {
        tensor.name: tensor.data_type for tensor in graph.initializer
    }


def _reached(nodes: Iterable[Any], *, backwards: bool = False, strictly: bool = False) -> set[str]:
    """Return the first output of each node that a heavy one leads to, itself included unless ``strictly``."""
    tensors: set[str] = set()
    reached: set[str] = set()
    for node in nodes:
        comes_in, goes_out = (node.output, node.input) if backwards else (node.input, node.output)
        is_led_to = not tensors.isdisjoint(comes_in)
        is_heavy = node.op_type in HEAVY
        if is_led_to or (is_heavy and not strictly):
            reached.add(node.output[0])
        if is_led_to or is_heavy:
            tensors.update(name for name in goes_out if name)
    return reached
