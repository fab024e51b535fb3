"""The pass itself: a model in, the same detector with rewritten convolutions out."""

import onnx

from mogface_batch.errors import ModelError
from mogface_batch.export.passes.winograd.cost import choose_by_cost
from mogface_batch.export.passes.winograd.graph_index import GraphIndex, infer_sizes, list_reads
from mogface_batch.export.passes.winograd.groups import Choice, plan_groups
from mogface_batch.export.passes.winograd.rewriter import Rewriter

PREFIX = "winograd/"
_OPSET = 14
"""The first opset in which a Reshape can treat a 0 as the length 0."""


def use_winograd(model: onnx.ModelProto, canvas_hw: tuple[int, int]) -> int:
    """Rewrite those 3x3 convolutions of a model that become faster; the result is correct for every canvas size.

    Args:
        model: An ONNX model; it is changed in place.
        canvas_hw: Height and width of the canvases for which speed is estimated.

    Returns:
        The number of rewritten convolutions.

    Raises:
        ModelError: The opset of the model is too old.
    """
    return rewrite_convolutions(model, choose_by_cost(infer_sizes(model, canvas_hw)))


def rewrite_convolutions(model: onnx.ModelProto, choose: Choice) -> int:
    """Rewrite the chosen convolutions of a model, in place, and return their number; results change by rounding only.

    Raises:
        ModelError: The opset of the model is too old, and there are convolutions to rewrite.
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
    rewriter = Rewriter(index, groups, PREFIX)
    rewriter.run({value.name for value in (*graph.input, *graph.initializer)})
    names_read = {name for node in rewriter.writer.nodes for name in list_reads(node)}
    names_read.update(output.name for output in graph.output)
    constants = [
        tensor for tensor in (*graph.initializer, *rewriter.writer.initializers) if tensor.name in names_read
    ]
    nodes = list(rewriter.writer.nodes)
    for field in ("node", "value_info", "initializer"):
        graph.ClearField(field)
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    return sum(len(group.members) for group in groups)
