"""The model card of MogFace's contract files."""

import torch

from mogface_batch.contract import ModelCard
from mogface_batch.export import graph
from mogface_batch.export.detectors.mogface.detector_graph import MEAN_RGB
from mogface_batch.export.detectors.mogface.network.levels import Levels

LICENCE = "unverified: the owner of the weights states none; ModelScope's code is Apache-2.0"


def make_mogface_card(source: str, sha256: str, levels: Levels) -> ModelCard:
    """Return the card of a file in float32, for any device.

    Args:
        source: Origin of the weights.
        sha256: Of the weights, 64 hex digits.
        levels: The levels of the network.
    """
    red, green, blue = (round(mean) for mean in MEAN_RGB)
    return ModelCard(
        detector="mogface-resnet101",
        weights_source=source,
        weights_sha256=sha256,
        licence=LICENCE,
        stride=1,
        pad_rgb=(red, green, blue),
        default_canvas_hw=(640, 640),
        score_threshold=0.82,
        nms_iou=0.4,
        max_faces=750,
        levels=str(levels),
        min_face_px=levels.min_face_px,
        exporter=graph.EXPORTER,
        packages={"onnx": graph.ONNX_VERSION, "torch": torch.__version__.split("+")[0]},
    )
