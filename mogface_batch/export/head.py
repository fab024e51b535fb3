"""Pieces of ONNX graph that turn any detector into one that obeys the contract.

    g = Graph()
    g.include(network, inputs={"input": normalised(g, ...)})     the network itself, its names prefixed
    best = best_candidates(g, scores, top_k=...)                 which leave the graph: only these are decoded
    candidates(g, boxes=..., landmarks=...)                      what else leaves it
    contract_file(g, card)                                       the bytes

Every piece keeps to operators that mean the same from opset 11 on, so a network keeps its own opset: axes are
inserted by Reshape, never by Unsqueeze, and integers are compared by Less and Where, never by Min.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch import __version__
from mogface_batch.contract import INPUTS, OPTIONAL_OUTPUTS, OUTPUTS, TensorSpec
from mogface_batch.errors import ModelError

try:
    import onnx
    from onnx import compose, helper, numpy_helper
except ImportError:
    raise ModelError(
        "Package onnx is needed to make a model file: type pip install 'mogface-batch[cpu]' "
        "(or 'mogface-batch[gpu]' on a machine with an NVIDIA GPU)."
    ) from None

if TYPE_CHECKING:
    from mogface_batch.contract import ModelCard

EXPORTER = f"mogface-batch {__version__}"
ONNX_VERSION: str = onnx.__version__
Value = str
"""The name of a tensor in the graph."""


class Graph:
    """A contract graph while it grows: nodes in the order of adding, one output each unless said otherwise."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.opset_imports: list[Any] = [helper.make_opsetid("", 18)]
        self.ir_version = 8

    def add(self, op: str, *inputs: Value, output: Value | None = None, **attributes: object) -> Value:
        """Append a node and return the name of its output."""
        name = f"head/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output or name], name=name, **attributes))
        return output or name

    def constant(self, values: NDArray[np.generic]) -> Value:
        """Append a constant and return its name."""
        name = f"head/constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def floats(self, values: object) -> Value:
        """Append a float32 constant and return its name."""
        return self.constant(np.array(values, dtype=np.float32))

    def integers(self, values: object) -> Value:
        """Append an int64 constant and return its name."""
        return self.constant(np.array(values, dtype=np.int64))

    def include(self, network: bytes, *, inputs: Mapping[str, Value]) -> dict[str, Value]:
        """Append a whole ONNX file, whose opset and IR version become the graph's; once in a graph.

        Args:
            network: One file, with its weights inside.
            inputs: Its input names -> what is fed to them.

        Returns:
            Its output names -> the names that they have here.
        """
        model = onnx.load_from_string(network)
        outputs = [output.name for output in model.graph.output]
        compose.add_prefix(model, "network/", inplace=True)
        _strip(model.graph)
        fed = {f"network/{name}": value for name, value in inputs.items()}
        for node in model.graph.node:
            node.input[:] = [fed.get(name, name) for name in node.input]
        self.nodes.extend(model.graph.node)
        self.initializers.extend(model.graph.initializer)
        self.opset_imports, self.ir_version = list(model.opset_import), model.ir_version
        return {name: f"network/{name}" for name in outputs}


def channels_first(graph: Graph, *, bgr: bool) -> Value:
    """Return the contract's uint8 [N, H, W, 3] RGB as float32 [N, 3, H, W] of 0..255, blue first if ``bgr``."""
    # While a pixel is a byte: a quarter of the memory to move.
    channels = graph.add("Transpose", "images", perm=[0, 3, 1, 2])
    channels = graph.add("Gather", channels, graph.integers([2, 1, 0]), axis=1) if bgr else channels
    return graph.add("Cast", channels, to=onnx.TensorProto.FLOAT)


def normalised(graph: Graph, *, bgr: bool, mean: Sequence[float], scale: Sequence[float] | float) -> Value:
    """Return ``(images - mean) * scale`` as float32 [N, 3, H, W] from the contract's uint8 [N, H, W, 3] RGB.

    Args:
        graph: Appended to.
        bgr: Whether the network wants blue first.
        mean: Three values on the scale 0..255, in the network's channel order.
        scale: One factor, or three in the network's channel order.
    """
    return shifted(graph, channels_first(graph, bgr=bgr), mean=mean, scale=scale)


def shifted(graph: Graph, pixels: Value, *, mean: Sequence[float], scale: Sequence[float] | float) -> Value:
    """Return ``(pixels - mean) * scale`` of float32 [N, 3, H, W], the channels as in `normalised`."""
    pixels = graph.add("Sub", pixels, graph.floats(_by_channel(mean)))
    factors = _by_channel(np.broadcast_to(scale, 3))
    return pixels if (factors == 1).all() else graph.add("Mul", pixels, graph.floats(factors))


def _by_channel(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (3, 1, 1), to be broadcast over height and width."""
    return np.asarray(values, dtype=np.float32).reshape(3, 1, 1)


def canvas_hw(graph: Graph) -> tuple[Value, Value]:
    """Return height and width of the canvas, int64 scalars."""
    shape = graph.add("Shape", "images")
    height, width = (graph.add("Gather", shape, graph.integers(axis), axis=0) for axis in (1, 2))
    return height, width


def grid_anchors(graph: Graph, hw: tuple[Value, Value], *, stride: int, sides_px: Sequence[float]) -> Value:
    """Return square anchors of one pyramid level as float32 [A, 4]: centre x, centre y, width, height in px.

    One anchor of each side stands in the middle of each cell of ``stride`` px; the grid has ceil(side / stride)
    cells. They are ordered by row, column, side.
    """
    rows, columns = (_cell_centres(graph, side, stride) for side in hw)
    # Each axis is spread by a one-hot row and the three are added: exact, and no shape is computed.
    y = graph.add(
        "Mul", graph.add("Reshape", rows, graph.integers([-1, 1, 1, 1])), graph.floats([0, 1, 0, 0])
    )
    x = graph.add(
        "Mul", graph.add("Reshape", columns, graph.integers([1, -1, 1, 1])), graph.floats([1, 0, 0, 0])
    )
    sizes = graph.floats([[0, 0, side, side] for side in sides_px])
    grid = graph.add("Add", graph.add("Add", y, x), sizes)
    return graph.add("Reshape", grid, graph.integers([-1, 4]))


def _cell_centres(graph: Graph, side: Value, stride: int) -> Value:
    cells = graph.add("Div", graph.add("Add", side, graph.integers(stride - 1)), graph.integers(stride))
    numbers = graph.add("Range", graph.integers(0), cells, graph.integers(1))
    middles = graph.add("Add", graph.add("Cast", numbers, to=onnx.TensorProto.FLOAT), graph.floats(0.5))
    return graph.add("Mul", middles, graph.floats(stride))


def decoded_boxes(graph: Graph, anchors: Value, offsets: Value, *, variances: tuple[float, float]) -> Value:
    """Return [N, A, 4] corners from offsets [N, A, 4] to anchors [A, 4] or [N, A, 4], in the anchors' unit.

    Source: SSD (Liu et al. 2016), as in RetinaFace: centre = anchor + offset * v0 * size; size = size * exp(offset * v1).
    """
    centres, sizes = _columns(graph, anchors, 0, 2), _columns(graph, anchors, 2, 4)
    steps = graph.add("Mul", sizes, graph.floats(variances[0]))
    middle = graph.add("Add", centres, graph.add("Mul", _columns(graph, offsets, 0, 2), steps))
    growth = graph.add("Exp", graph.add("Mul", _columns(graph, offsets, 2, 4), graph.floats(variances[1])))
    half = graph.add("Mul", growth, graph.add("Mul", sizes, graph.floats(0.5)))
    return graph.add("Concat", graph.add("Sub", middle, half), graph.add("Add", middle, half), axis=-1)


def decoded_points(graph: Graph, anchors: Value, offsets: Value, *, variance: float) -> Value:
    """Return [N, A, 10] landmarks from offsets [N, A, 10] to anchors as above: anchor + offset * v * size."""
    centres, sizes = _columns(graph, anchors, 0, 2), _columns(graph, anchors, 2, 4)
    steps = graph.add("Mul", sizes, graph.floats(variance))
    centres, steps = (graph.add("Concat", *[both] * 5, axis=-1) for both in (centres, steps))
    return graph.add("Add", centres, graph.add("Mul", offsets, steps))


def _columns(graph: Graph, values: Value, start: int, stop: int) -> Value:
    return graph.add("Slice", values, graph.integers([start]), graph.integers([stop]), graph.integers([-1]))


def best_candidates(graph: Graph, scores: Value, *, top_k: int) -> Value:
    """Name the output ``scores``, the ``min(top_k, A)`` best of each canvas, best first; return whose they are.

    Args:
        graph: Appended to.
        scores: [N, A] 0..1.
        top_k: How many at most.

    Returns:
        Int64 [N, K, 1], which `of_best` takes.
    """
    anchors = graph.add("Gather", graph.add("Shape", scores), graph.integers([1]), axis=0)
    most = graph.integers([top_k])
    count = graph.add("Where", graph.add("Less", anchors, most), anchors, most)
    best = "head/best"
    graph.nodes.append(
        helper.make_node("TopK", [scores, count], ["scores", best], name=best, axis=1, largest=1, sorted=1)
    )
    return graph.add("Reshape", best, graph.integers([0, 0, 1]))


def of_best(graph: Graph, best: Value, values: Value, *, columns: int) -> Value:
    """Return [N, K, columns] of [N, A, columns], those of the best anchors."""
    every = graph.add("Tile", best, graph.integers([1, 1, columns]))
    return graph.add("GatherElements", values, every, axis=1)


def anchors_of_best(graph: Graph, best: Value, anchors: Value) -> Value:
    """Return [N, K, 4] of anchors [A, 4], the best ones."""
    return graph.add("Gather", anchors, graph.add("Reshape", best, graph.integers([0, -1])), axis=0)


def candidates(graph: Graph, *, boxes: Value, landmarks: Value | None) -> None:
    """Name the other outputs of the graph; ``scores`` has its name from `best_candidates`.

    Args:
        graph: Appended to.
        boxes: [N, K, 4] corners in canvas pixels, half-open.
        landmarks: [N, K, 10] or None.
    """
    graph.add("Reshape", boxes, graph.integers([0, 0, 4]), output="boxes")
    if landmarks is not None:
        graph.add("Reshape", landmarks, graph.integers([0, 0, 5, 2]), output="landmarks")


def contract_file(graph: Graph, card: "ModelCard") -> bytes:
    """Return the finished ONNX file with its card; the same graph and card give the same bytes."""
    model = contract_model(graph, card.detector)
    helper.set_model_props(model, card.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


def contract_model(graph: Graph, name: str) -> Any:  # noqa: ANN401 - onnx is untyped
    """Return the ONNX model of a finished graph, without a card."""
    made = {tensor for node in graph.nodes for tensor in node.output}
    outputs = [*OUTPUTS, *(tensor for tensor in OPTIONAL_OUTPUTS if tensor.name in made)]
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            name,
            [_declared(tensor) for tensor in INPUTS],
            [_declared(tensor) for tensor in outputs],
            graph.initializers,
        ),
        opset_imports=graph.opset_imports,
        ir_version=graph.ir_version,
        producer_name="mogface-batch",
        producer_version=__version__,
    )


def _declared(tensor: TensorSpec) -> Any:  # noqa: ANN401 - onnx is untyped
    kind = onnx.TensorProto.UINT8 if tensor.dtype == "uint8" else onnx.TensorProto.FLOAT
    return helper.make_tensor_value_info(tensor.name, kind, tensor.shape)


def _strip(graph: Any) -> None:  # noqa: ANN401 - onnx is untyped
    """Remove what exporters leave of the machine they ran on: stack traces, and names that are source paths."""
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        if ".py" in node.name:
            node.ClearField("name")
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
            for inner in (attribute.g, *attribute.graphs):
                _strip(inner)
    for tensor in graph.initializer:
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")
