"""YuNet (Wu et al. 2023): ``yunet_n_dynamic.onnx`` and ``yunet_s_640_640.onnx`` (also OpenCV Zoo's 2023mar).

The network takes BGR of 0..255 and gives raw offsets to one anchor a cell, at the strides 8, 16 and 32. A file of any
size keeps it (its canvases are multiples of 32); in one of a fixed size the canvas is shrunk or enlarged by one scale
until it fits, and padded with black at the right and bottom, as upstream does outside.
"""

import hashlib
from pathlib import Path

import numpy as np

from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.errors import ModelError
from mogface_batch.export import head
from mogface_batch.export.files import check_out, read_weights_file, write_model
from mogface_batch.export.head import Graph, Value
from mogface_batch.export.network import Network, finished, read_network
from mogface_batch.export.resize import fitted

EXPECTED = "YuNet face detector"
STRIDES = (8, 16, 32)
COLUMNS = {
    f"{kind}_{stride}": columns
    for kind, columns in {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}.items()
    for stride in STRIDES
}
SMALLEST_FACE_PX = 10
"""It was trained for faces of about 10 to 300 px. Source: OpenCV Zoo's page of it."""
SCORE_THRESHOLD = 0.6
"""Source: the default of ``YuNet`` in OpenCV Zoo; its demo has 0.9."""
NMS_IOU = 0.45
"""What our AP figures were measured with. Source: libfacedetection.train's ``test_cfg``; OpenCV Zoo has 0.3."""
LICENCES = {
    # yunet_n_dynamic.onnx
    "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12": "Apache-2.0",
    # yunet_s_640_640.onnx: in libfacedetection.train under the one, the same bytes in OpenCV Zoo under the other
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4": "Apache-2.0 OR MIT",
}
"""sha256 of upstream's files -> licence; whoever trained others must say what theirs is."""
NAMES = {59: "yunet-n", 53: "yunet-s"}
"""Convolutions -> name."""


def compile_yunet(weights: bytes, *, source: str = "unnamed") -> bytes:
    """Return the contract file made of one of upstream's ONNX files; the same arguments give the same bytes.

    Args:
        weights: The file.
        source: Its name, for the model card.

    Raises:
        ModelError: It is not such a file.
    """
    network = read_network(weights, expected=EXPECTED, columns=COLUMNS)
    graph = Graph()
    pixels = head.channels_first(graph, bgr=True)
    hw, factors = head.canvas_hw(graph), None
    if network.input_hw is not None:
        _check_multiples(network.input_hw)
        pixels, factors = fitted(graph, pixels, network.input_hw)
        height, width = (graph.integers(side) for side in network.input_hw)
        hw = height, width
    made = graph.include(network.encoded, inputs={network.input_name: pixels})
    best = head.best_candidates(graph, _scores(graph, made), top_k=TOP_K)
    boxes, landmarks = _decoded(graph, best, made, hw)
    if factors is not None:
        boxes = graph.add("Mul", boxes, graph.add("Tile", factors, graph.integers([2])))
        landmarks = graph.add("Mul", landmarks, graph.add("Tile", factors, graph.integers([5])))
    head.candidates(graph, boxes=boxes, landmarks=landmarks)
    return finished(graph, _card(network, weights, source), expected=EXPECTED)


def _check_multiples(input_hw: tuple[int, int]) -> None:
    if any(side % STRIDES[-1] for side in input_hw):
        raise ModelError(
            f"The weights are no {EXPECTED}: its input's height and width are multiples of {STRIDES[-1]}, "
            f"not {input_hw}."
        )


def _decoded(
    graph: Graph, best: Value, made: dict[str, Value], hw: tuple[Value, Value]
) -> tuple[Value, Value]:
    """Return boxes [N, K, 4] and landmarks [N, K, 10] in pixels of the network's input.

    The landmarks' order is the contract's already: OpenCV calls the first one the right eye, which is the person's
    right and the image's left.

    Source: ``FaceDetectorYNImpl::postProcess`` of OpenCV: centre = cell's corner + offset * stride; size =
    stride * exp(offset); landmark = cell's corner + offset * stride.
    """
    anchors = graph.add("Concat", *(_corner_anchors(graph, hw, stride) for stride in STRIDES), axis=0)
    anchors = head.anchors_of_best(graph, best, anchors)
    offsets = head.of_best(graph, best, _all_levels(graph, made, "bbox"), columns=4)
    points = head.of_best(graph, best, _all_levels(graph, made, "kps"), columns=10)
    boxes = head.decoded_boxes(graph, anchors, offsets, variances=(1.0, 1.0))
    return boxes, head.decoded_points(graph, anchors, points, variance=1.0)


def _corner_anchors(graph: Graph, hw: tuple[Value, Value], stride: int) -> Value:
    """Return [A, 4]: squares of one cell's size that stand in the cell's top left corner, not in its middle."""
    centred = head.grid_anchors(graph, hw, stride=stride, sides_px=[stride])
    return graph.add("Sub", centred, graph.floats(np.array([stride / 2, stride / 2, 0, 0])))


def _scores(graph: Graph, made: dict[str, Value]) -> Value:
    """Return [N, A] sqrt(cls * obj), both clipped to 0..1. Source: the same function of OpenCV."""
    zero, one = graph.floats(0), graph.floats(1)
    shares = [graph.add("Clip", _all_levels(graph, made, kind), zero, one) for kind in ("cls", "obj")]
    scores = graph.add("Sqrt", graph.add("Mul", *shares))
    return graph.add("Reshape", scores, graph.integers([0, -1]))


def _all_levels(graph: Graph, made: dict[str, Value], kind: str) -> Value:
    return graph.add("Concat", *(made[f"{kind}_{stride}"] for stride in STRIDES), axis=1)


def _card(network: Network, weights: bytes, source: str) -> ModelCard:
    sha256 = hashlib.sha256(weights).hexdigest()
    is_fixed = network.input_hw is not None
    size = f"-{network.input_hw[1]}" if network.input_hw else ""
    return ModelCard(
        detector=NAMES.get(network.convolutions, "yunet") + size,
        weights_source=source,
        weights_sha256=sha256,
        licence=LICENCES.get(sha256, "unknown"),
        stride=1 if is_fixed else STRIDES[-1],
        pad_rgb=(0, 0, 0),
        default_canvas_hw=network.input_hw or (640, 640),
        score_threshold=SCORE_THRESHOLD,
        nms_iou=NMS_IOU,
        min_face_px=SMALLEST_FACE_PX,
        exporter=head.EXPORTER,
        packages={"onnx": head.ONNX_VERSION},
    )


def export_yunet(out: Path, weights: Path) -> None:
    """Write the contract file; its folder is created, and a failure leaves nothing behind.

    Args:
        out: The ONNX file.
        weights: One of upstream's ONNX files, or one of the same architecture.

    Raises:
        ModelError: The weights cannot be read, or are another network's.
        OutputError: The file cannot be written.
    """
    check_out(out)
    encoded, name = read_weights_file(weights)
    write_model(out, compile_yunet(encoded, source=name))
