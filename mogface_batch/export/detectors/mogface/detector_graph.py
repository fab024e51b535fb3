"""The graph around MogFace's network in a contract file: normalisation, anchors, boxes, the best candidates."""

from mogface_batch.contract import TOP_K
from mogface_batch.export import graph
from mogface_batch.export.detectors.mogface.network.levels import Levels

MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.120003, 57.375)
"""Source: ModelScope's ``MogFaceDetector.forward``, which then divides by 255 once more."""


def build_detector_graph(network: bytes, levels: Levels) -> graph.GraphBuilder:
    """Return the graph of the whole detector.

    Args:
        network: `MogFace` as an ONNX file: ``images`` -> ``scores`` [N, A], ``offsets`` [N, A, 4].
        levels: The levels of the network.
    """
    builder = graph.GraphBuilder()
    scale = [1 / (std * 255) for std in STD_RGB]
    images = graph.normalise(builder, bgr=False, mean=MEAN_RGB, scale=scale)
    outputs = builder.include(network, inputs={"images": images})
    hw = graph.read_canvas_hw(builder)
    anchors = [
        graph.add_grid_anchors(builder, hw, stride=stride, sides_px=[side])
        for stride, side in levels.anchors.items()
    ]
    best = graph.choose_candidates(builder, outputs["scores"], top_k=TOP_K)
    boxes = _decode_boxes(
        builder,
        graph.gather_anchors(builder, best, builder.add("Concat", *anchors, axis=0)),
        graph.gather_candidates(builder, best, outputs["offsets"], columns=4),
    )
    graph.name_outputs(builder, boxes=boxes, landmarks=None)
    return builder


def _decode_boxes(builder: graph.GraphBuilder, anchors: graph.Value, offsets: graph.Value) -> graph.Value:
    """Return half-open corners.

    ModelScope's ``mogdecode`` returns inclusive corners: x1 = centre - (width - 1) / 2 and x2 = x1 + width - 1. With 1
    added to x2, they are the corners centre -+ width / 2, moved by half a pixel to the right; y likewise.
    """
    corners = graph.decode_boxes(builder, anchors, offsets, variances=(1.0, 1.0))
    return builder.add("Add", corners, builder.add_floats(0.5))
