"""YuNet (Wu et al. 2023): ``yunet_n_dynamic.onnx`` and ``yunet_s_640_640.onnx`` (also OpenCV Zoo's 2023mar).

The network takes BGR of 0..255 and returns raw offsets to one anchor per cell, at the strides 8, 16 and 32. If the
author's file takes any size, so does the contract file (canvases are multiples of 32). If it has a fixed size, the
graph shrinks or enlarges the canvas by one scale until it fits, and pads it with black at the right and bottom, as
upstream does in its own code.
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
from mogface_batch.export.graph.published_network import PublishedNetwork, build_checked_file, read_network
from mogface_batch.export.graph.resize import fit_pixels

EXPECTED = "YuNet face detector"
STRIDES = (8, 16, 32)
COLUMNS = {
    f"{kind}_{stride}": columns
    for kind, columns in {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}.items()
    for stride in STRIDES
}
SMALLEST_FACE_PX = 10
"""The network was trained for faces of about 10 to 300 px. Source: its page in OpenCV Zoo."""
SCORE_THRESHOLD = 0.6
"""Source: the default of ``YuNet`` in OpenCV Zoo; its demo has 0.9."""
NMS_IOU = 0.45
"""Our AP figures were measured with it. Source: libfacedetection.train's ``test_cfg``; OpenCV Zoo has 0.3."""
LICENCES = {
    # yunet_n_dynamic.onnx
    "104ee26c71d5c270ce79a6b3dced91c91013260d29a6bf18f9296c5b8c4c2b12": "Apache-2.0",
    # yunet_s_640_640.onnx: Apache-2.0 in libfacedetection.train; the same bytes are under MIT in OpenCV Zoo
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4": "Apache-2.0 OR MIT",
}
"""sha256 of upstream's files -> licence. For weights that others have trained, the licence is not known."""
NAMES = {59: "yunet-n", 53: "yunet-s"}
"""Number of convolutions -> name."""


def compile_yunet(weights: bytes, *, source: str = "unnamed") -> bytes:
    """Return the contract file made from an ONNX file of upstream; the same arguments give the same bytes.

    Args:
        weights: The ONNX file.
        source: Its name, for the model card.

    Raises:
        ModelError: It is not a file of this architecture.
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
    outputs = builder.include(network.encoded, inputs={network.input_name: pixels})
    best = graph.choose_candidates(builder, _add_scores(builder, outputs), top_k=TOP_K)
    boxes, landmarks = _decode(builder, best, outputs, hw)
    if factors is not None:
        boxes = builder.add("Mul", boxes, builder.add("Tile", factors, builder.add_integers([2])))
        landmarks = builder.add("Mul", landmarks, builder.add("Tile", factors, builder.add_integers([5])))
    graph.name_outputs(builder, boxes=boxes, landmarks=landmarks)
    return build_checked_file(builder, _make_card(network, weights, source), expected=EXPECTED)


def _check_multiples(input_hw: tuple[int, int]) -> None:
    if any(side % STRIDES[-1] for side in input_hw):
        raise ModelError(
            f"The weights are not those of the {EXPECTED}: its input's height and width are multiples of {STRIDES[-1]}, "
            f"not {input_hw}."
        )


def _decode(
    builder: GraphBuilder, best: Value, outputs: dict[str, Value], hw: tuple[Value, Value]
) -> tuple[Value, Value]:
    """Return boxes [N, K, 4] and landmarks [N, K, 10] in pixels of the network's input.

    The order of the landmarks is already that of the contract: OpenCV calls the first one the right eye, which is on
    the person's right and the image's left.

    Source: ``FaceDetectorYNImpl::postProcess`` of OpenCV: centre = corner of the cell + offset * stride;
    size = stride * exp(offset); landmark = corner of the cell + offset * stride.
    """
    anchors = builder.add("Concat", *(_add_corner_anchors(builder, hw, stride) for stride in STRIDES), axis=0)
    anchors = graph.gather_anchors(builder, best, anchors)
    offsets = graph.gather_candidates(builder, best, _concatenate_levels(builder, outputs, "bbox"), columns=4)
    points = graph.gather_candidates(builder, best, _concatenate_levels(builder, outputs, "kps"), columns=10)
    boxes = graph.decode_boxes(builder, anchors, offsets, variances=(1.0, 1.0))
    return boxes, graph.decode_landmarks(builder, anchors, points, variance=1.0)


def _add_corner_anchors(builder: GraphBuilder, hw: tuple[Value, Value], stride: int) -> Value:
    """Return anchors [A, 4]: squares of the size of a cell, centred on its top left corner instead of its centre."""
    centred = graph.add_grid_anchors(builder, hw, stride=stride, sides_px=[stride])
    return builder.add("Sub", centred, builder.add_floats(np.array([stride / 2, stride / 2, 0, 0])))


def _add_scores(builder: GraphBuilder, outputs: dict[str, Value]) -> Value:
    """Return [N, A] sqrt(cls * obj), both clipped to 0..1. Source: the same function of OpenCV."""
    zero, unit = builder.add_floats(0), builder.add_floats(1)
    probabilities = [
        builder.add("Clip", _concatenate_levels(builder, outputs, kind), zero, unit)
        for kind in ("cls", "obj")
    ]
    scores = builder.add("Sqrt", builder.add("Mul", *probabilities))
    return builder.add("Reshape", scores, builder.add_integers([0, -1]))


def _concatenate_levels(builder: GraphBuilder, outputs: dict[str, Value], kind: str) -> Value:
    return builder.add("Concat", *(outputs[f"{kind}_{stride}"] for stride in STRIDES), axis=1)


def _make_card(network: PublishedNetwork, weights: bytes, source: str) -> ModelCard:
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
    """Return the contract file made from an ONNX file of upstream or of the same architecture.

    Raises:
        ModelError: The weights cannot be read, or belong to another network.
    """
    encoded, source = read_weights_file(Path(weights))
    return compile_yunet(encoded, source=source)
