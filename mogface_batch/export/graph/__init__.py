"""Pieces of ONNX graph that turn any detector into one that obeys the contract.

    builder = graph.GraphBuilder()
    pixels = graph.normalise(builder, bgr=..., mean=..., scale=...)      canvases -> the network's input
    outputs = builder.include(network, inputs={"input": pixels})         the network, its names prefixed
    best = graph.choose_candidates(builder, scores, top_k=...)           only the best are decoded
    boxes = graph.decode_boxes(builder, anchors, offsets, variances=...)
    graph.name_outputs(builder, boxes=boxes, landmarks=...)
    graph.build_contract_file(builder, card)                             the bytes

Each piece appends nodes to the builder and returns the name of its result. Pieces use only operators that mean the
same from opset 11 on, so that a network keeps its own opset: axes are inserted by Reshape, never by Unsqueeze, and
integers are compared by Less and Where, never by Min.

`published_network.py` reads the ONNX file of an author; `contract_graph.py` reads a contract file for a pass.
"""

from mogface_batch.errors import ModelError

try:
    import onnx as _onnx  # noqa: F401 - before any module below imports it
except ImportError:
    raise ModelError(
        "Package onnx is needed to make a model file: type pip install 'mogface-batch[cpu]' "
        "(or 'mogface-batch[gpu]' on a machine with an NVIDIA GPU)."
    ) from None

from mogface_batch.export.graph.boxes import add_grid_anchors, decode_boxes, decode_landmarks
from mogface_batch.export.graph.builder import GraphBuilder, Value
from mogface_batch.export.graph.candidates import (
    choose_candidates,
    gather_anchors,
    gather_candidates,
    name_outputs,
)
from mogface_batch.export.graph.contract_file import (
    EXPORTER,
    ONNX_VERSION,
    build_contract_file,
    build_contract_model,
)
from mogface_batch.export.graph.pixels import normalise, read_canvas_hw, read_canvases, shift_and_scale
from mogface_batch.export.graph.resize import fit_pixels, read_canvas_corners, resize_pixels

__all__ = [
    "EXPORTER",
    "ONNX_VERSION",
    "GraphBuilder",
    "Value",
    "add_grid_anchors",
    "build_contract_file",
    "build_contract_model",
    "choose_candidates",
    "decode_boxes",
    "decode_landmarks",
    "fit_pixels",
    "gather_anchors",
    "gather_candidates",
    "name_outputs",
    "normalise",
    "read_canvas_corners",
    "read_canvas_hw",
    "read_canvases",
    "resize_pixels",
    "shift_and_scale",
]
