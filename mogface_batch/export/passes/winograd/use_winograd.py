"""The pass itself: a contract file in, the same detector out."""

from typing import Any

from mogface_batch.errors import ModelError
from mogface_batch.export.passes.winograd.cost import choose_by_cost
from mogface_batch.export.passes.winograd.graph_index import GraphIndex, infer_sizes, list_reads
from mogface_batch.export.passes.winograd.groups import Choice, plan_groups
from mogface_batch.export.passes.winograd.rewriter import Rewrite

PREFIX = "winograd/"
_OPSET = 14
"""The first in which a Reshape can say that 0 means 0."""


def use_winograd(model: Any, canvas_hw: tuple[int, int]) -> int:  # noqa: ANN401 - onnx is untyped
    """Rewrite a model's 3x3 convolutions where that pays; it stays right for every canvas size.

    Args:
        model: An ONNX model; changed in place.
        canvas_hw: Height and width of the canvases for which it shall be fast.

    Returns:
        How many convolutions are rewritten.

    Raises:
        ModelError: The model's operators are too old for it.
    """
    return rewrite(model, choose_by_cost(infer_sizes(model, canvas_hw)))


def rewrite(model: Any, choose: Choice) -> int:  # noqa: ANN401 - onnx is untyped
    """Rewrite the chosen convolutions of a model, in place; what it computes stays, to rounding.

    Raises:
        ModelError: There are some, and the model's operators are too old for it.
    """
    graph = model.graph
    index = GraphIndex(graph)
    groups = plan_groups(index, choose)
    if not groups:
        return 0
    opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if opset < _OPSET:
        raise ModelError(
            f"The model uses ONNX opset {opset}, and the rewrite for the CPU needs {_OPSET} or newer: "
            "use the file for any device."
        )
    new = Rewrite(index, groups, PREFIX)
    new.run({value.name for value in (*graph.input, *graph.initializer)})
    used = {name for node in new.writer.nodes for name in list_reads(node)}
    used.update(output.name for output in graph.output)
    constants = [tensor for tensor in (*graph.initializer, *new.writer.initializers) if tensor.name in used]
    nodes = list(new.writer.nodes)
    for field in ("node", "value_info", "initializer"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    return sum(len(group.members) for group in groups)
