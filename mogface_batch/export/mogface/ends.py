"""What stands before and after MogFace's network in a contract file: normalisation, anchors, boxes, the best candidates."""

from mogface_batch.contract import TOP_K
from mogface_batch.export import head
from mogface_batch.export.mogface.levels import Levels

MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.120003, 57.375)
"""Source: ModelScope's ``MogFaceDetector.forward``; the pixel is then divided by 255 once more."""


def with_ends(network: bytes, levels: Levels) -> head.Graph:
    """Return the whole graph of a detector.

    Args:
        network: `MogFace` as an ONNX file: ``images`` -> ``scores`` [N, A], ``offsets`` [N, A, 4].
        levels: Those that it has.
    """
    graph = head.Graph()
    scale = [1 / (std * 255) for std in STD_RGB]
    images = head.normalised(graph, bgr=False, mean=MEAN_RGB, scale=scale)
    outputs = graph.include(network, inputs={"images": images})
    hw = head.canvas_hw(graph)
    anchors = [
        head.grid_anchors(graph, hw, stride=stride, sides_px=[side])
        for stride, side in levels.anchors.items()
    ]
    best = head.best_candidates(graph, outputs["scores"], top_k=TOP_K)
    boxes = _boxes(
        graph,
        head.anchors_of_best(graph, best, graph.add("Concat", *anchors, axis=0)),
        head.of_best(graph, best, outputs["offsets"], columns=4),
    )
    head.candidates(graph, boxes=boxes, landmarks=None)
    return graph


def _boxes(graph: head.Graph, anchors: head.Value, offsets: head.Value) -> head.Value:
    """Return half-open corners.

    ModelScope's ``mogdecode`` gives inclusive ones: x1 = centre - (width - 1) / 2 and x2 = x1 + width - 1. With 1 added
    to x2 they are the plain corners, centre -+ width / 2, moved by half a pixel to the right; y likewise.
    """
    plain = head.decoded_boxes(graph, anchors, offsets, variances=(1.0, 1.0))
    return graph.add("Add", plain, graph.floats(0.5))
