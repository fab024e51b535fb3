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
from mogface_batch.export import graph
from mogface_batch.export.detectors import CompileOptions
from mogface_batch.export.files import read_weights_file
from mogface_batch.export.graph.builder import GraphBuilder, Value
from mogface_batch.export.graph.published_network import Network, build_checked_file, read_network
from mogface_batch.export.graph.resize import fit_pixels

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
    builder = GraphBuilder()
    pixels = graph.read_canvases(builder, bgr=True)
    hw, factors = graph.read_canvas_hw(builder), None
    if network.input_hw is not None:
        _check_multiples(network.input_hw)
        pixels, factors = fit_pixels(builder, pixels, network.input_hw)
        height, width = (builder.add_integers(side) for side in network.input_hw)
        hw = height, width
    made = builder.include(network.encoded, inputs={network.input_name: pixels})
    best = graph.choose_candidates(builder, _scores(builder, made), top_k=TOP_K)
    boxes, landmarks = _decoded(builder, best, made, hw)
    if factors is not None:
        boxes = builder.add("Mul", boxes, builder.add("Tile", factors, builder.add_integers([2])))
        landmarks = builder.add("Mul", landmarks, builder.add("Tile", factors, builder.add_integers([5])))
    graph.name_outputs(builder, boxes=boxes, landmarks=landmarks)
    return build_checked_file(builder, _card(network, weights, source), expected=EXPECTED)


def _check_multiples(input_hw: tuple[int, int]) -> None:
    if any(side % STRIDES[-1] for side in input_hw):
        raise ModelError(
            f"The weights are no {EXPECTED}: its input's height and width are multiples of {STRIDES[-1]}, "
            f"not {input_hw}."
        )


def _decoded(
    builder: GraphBuilder, best: Value, made: dict[str, Value], hw: tuple[Value, Value]
) -> tuple[Value, Value]:
    """Return boxes [N, K, 4] and landmarks [N, K, 10] in pixels of the network's input.

    The landmarks' order is the contract's already: OpenCV calls the first one the right eye, which is the person's
    right and the image's left.

    Source: ``FaceDetectorYNImpl::postProcess`` of OpenCV: centre = cell's corner + offset * stride; size =
    stride * exp(offset); landmark = cell's corner + offset * stride.
    """
    anchors = builder.add("Concat", *(_corner_anchors(builder, hw, stride) for stride in STRIDES), axis=0)
    anchors = graph.gather_anchors(builder, best, anchors)
    offsets = graph.gather_candidates(builder, best, _all_levels(builder, made, "bbox"), columns=4)
    points = graph.gather_candidates(builder, best, _all_levels(builder, made, "kps"), columns=10)
    boxes = graph.decode_boxes(builder, anchors, offsets, variances=(1.0, 1.0))
    return boxes, graph.decode_landmarks(builder, anchors, points, variance=1.0)


def _corner_anchors(builder: GraphBuilder, hw: tuple[Value, Value], stride: int) -> Value:
    """Return [A, 4]: squares of one cell's size that stand in the cell's top left corner, not in its middle."""
    centred = graph.add_grid_anchors(builder, hw, stride=stride, sides_px=[stride])
    return builder.add("Sub", centred, builder.add_floats(np.array([stride / 2, stride / 2, 0, 0])))


def _scores(builder: GraphBuilder, made: dict[str, Value]) -> Value:
    """Return [N, A] sqrt(cls * obj), both clipped to 0..1. Source: the same function of OpenCV."""
    zero, one = builder.add_floats(0), builder.add_floats(1)
    shares = [builder.add("Clip", _all_levels(builder, made, kind), zero, one) for kind in ("cls", "obj")]
    scores = builder.add("Sqrt", builder.add("Mul", *shares))
    return builder.add("Reshape", scores, builder.add_integers([0, -1]))


def _all_levels(builder: GraphBuilder, made: dict[str, Value], kind: str) -> Value:
    return builder.add("Concat", *(made[f"{kind}_{stride}"] for stride in STRIDES), axis=1)


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
        exporter=graph.EXPORTER,
        packages={"onnx": graph.ONNX_VERSION},
    )


def compile_detector(weights: str, options: CompileOptions) -> bytes:  # noqa: ARG001 - it has no options
    """Return the contract file of one of upstream's ONNX files, or of another file of the same architecture.

    Raises:
        ModelError: The weights cannot be read, or belong to another network.
    """
    encoded, source = read_weights_file(Path(weights))
    return compile_yunet(encoded, source=source)
