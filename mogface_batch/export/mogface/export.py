"""Compiles MogFace into a contract file: torch exports the network, `head.py` puts the ends on.

One file serves every batch size, height and width.
"""

from pathlib import Path
from typing import cast

import torch

from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.export import head
from mogface_batch.export.files import check_out, write_model
from mogface_batch.export.mogface.levels import Levels
from mogface_batch.export.mogface.network import MogFace
from mogface_batch.export.mogface.quiet import quiet
from mogface_batch.export.mogface.weights import Checkpoint, read_checkpoint

MEAN_RGB = (123.675, 116.28, 103.53)
STD_RGB = (58.395, 57.120003, 57.375)
"""Source: ModelScope's ``MogFaceDetector.forward``; the pixel is then divided by 255 once more."""
OPSET = 18
"""From 21 on group norms become an operator for which ONNX Runtime has no kernel; from 18 to 20 they can be fused."""
LICENCE = "unverified: the owner of the weights states none; ModelScope's code is Apache-2.0"

_EXAMPLE = (2, 3, 261, 389)
"""Odd, and every level has more than one row and column: nothing about sizes can be taken for granted."""


def compile_mogface(checkpoint: Checkpoint, levels: Levels) -> bytes:
    """Return the contract file; the same checkpoint, levels and packages give the same bytes."""
    graph = head.Graph()
    scale = [1 / (std * 255) for std in STD_RGB]
    images = head.normalised(graph, bgr=False, mean=MEAN_RGB, scale=scale)
    network = graph.include(_exported(checkpoint.network(levels)), inputs={"images": images})
    hw = head.canvas_hw(graph)
    anchors = [
        head.grid_anchors(graph, hw, stride=stride, sides_px=[side])
        for stride, side in levels.anchors.items()
    ]
    head.candidates(
        graph,
        boxes=_boxes(graph, graph.add("Concat", *anchors, axis=0), network["offsets"]),
        scores=network["scores"],
        landmarks=None,
        top_k=TOP_K,
    )
    return head.contract_file(graph, _card(checkpoint, levels))


def _boxes(graph: head.Graph, anchors: head.Value, offsets: head.Value) -> head.Value:
    """Return half-open corners.

    ModelScope's ``mogdecode`` gives inclusive ones: x1 = centre - (width - 1) / 2 and x2 = x1 + width - 1. With 1 added
    to x2 they are the plain corners, centre -+ width / 2, moved by half a pixel to the right; y likewise.
    """
    plain = head.decoded_boxes(graph, anchors, offsets, variances=(1.0, 1.0))
    return graph.add("Add", plain, graph.floats(0.5))


def _exported(network: MogFace) -> bytes:
    """Return the network as an ONNX file, for any batch, height and width."""
    sizes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with quiet():
        exported = torch.onnx.export(
            network,
            (torch.zeros(_EXAMPLE),),
            input_names=["images"],
            output_names=["scores", "offsets"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(sizes,),
            external_data=False,
            verbose=False,
        )
    program = cast("torch.onnx.ONNXProgram", exported)  # None is for another exporter
    encoded: bytes = program.model_proto.SerializeToString(deterministic=True)
    return encoded


def _card(checkpoint: Checkpoint, levels: Levels) -> ModelCard:
    red, green, blue = (round(mean) for mean in MEAN_RGB)
    return ModelCard(
        detector="mogface-resnet101",
        weights_source=checkpoint.source,
        weights_sha256=checkpoint.sha256,
        licence=LICENCE,
        stride=1,
        pad_rgb=(red, green, blue),
        default_canvas_hw=(640, 640),
        score_threshold=0.82,
        nms_iou=0.4,
        max_faces=750,
        levels=str(levels),
        min_face_px=levels.min_face_px,
        exporter=head.EXPORTER,
        packages={"onnx": head.ONNX_VERSION, "torch": torch.__version__.split("+")[0]},
    )


def compiled_mogface(weights: str, *, levels: str = "2-7") -> bytes:
    """Return the contract file of a checkpoint.

    Args:
        weights: A hub id, a folder or a file; see `read_checkpoint`.
        levels: The levels of the pyramid to keep, such as ``3-7``.

    Raises:
        ConfigError: There are no such levels.
        ModelError: The weights cannot be had, or are others.
    """
    kept = Levels.parse(levels)
    return compile_mogface(read_checkpoint(weights), kept)


def export_mogface(out: Path, weights: str, *, levels: str = "2-7") -> None:
    """Write the contract file; its folder is created, and a failure leaves nothing behind.

    Args:
        out: The ONNX file.
        weights: See `compiled_mogface`.
        levels: The same.

    Raises:
        ConfigError: There are no such levels.
        ModelError: The weights cannot be had, or are others.
        OutputError: The file cannot be written.
    """
    check_out(out)
    write_model(out, compiled_mogface(weights, levels=levels))
