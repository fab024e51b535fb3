"""Ultra-Light-Fast-Generic-Face-Detector-1MB (Linzaer, 2019): ``version-RFB-320.onnx`` and its variants.

The network takes RGB of one fixed size (320x240 or 640x480) and returns decoded boxes, relative to its input (0..1).
The graph stretches the canvas, of any size, to that input, as upstream stretches an image.
"""

import hashlib
from pathlib import Path

from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.errors import ModelError
from mogface_batch.export import graph
from mogface_batch.export.detectors import CompileOptions
from mogface_batch.export.files import read_weights_file
from mogface_batch.export.graph.published_network import PublishedNetwork, build_checked_file, read_network
from mogface_batch.export.graph.resize import read_canvas_corners, resize_pixels

EXPECTED = "Ultra-Light face detector"
COLUMNS = {"scores": 2, "boxes": 4}
MEAN, SCALE = 127, 1 / 128
"""Source: upstream's ``vision/ssd/config/fd_config.py``: ``(x - 127) / 128``."""
SMALLEST_ANCHOR_PX = 10
"""In pixels of the network's input. Source: ``min_boxes`` of the same file."""
SCORE_THRESHOLD = 0.7
"""Source: upstream's ``detect_imgs_onnx.py``."""
NMS_IOU = 0.5
"""Our AP figures were measured with it. Source: the same file; ``detect_imgs.py`` has 0.3."""
NAMES = {52: "ultralight-rfb", 42: "ultralight-slim"}
"""Number of convolutions -> name; RFB has an additional receptive field block."""
LICENCES = {
    "34cd7e60aeff28744c657de7a3dc64e872d506741de66987f3426f2b79f88017": "MIT",  # version-RFB-320.onnx
    "8f4c659275977e7a3bfbfa339a9c769ad793df50f9c0baa8c14b11baa1646430": "MIT",  # version-RFB-640.onnx
    "e9adbd0f920ddcce9368434c4d34d72520dc0c19b526fd44b4ef49bde2c3b1a8": "MIT",  # version-slim-320.onnx
}
"""sha256 of upstream's files (commit dffdddd) -> licence. For weights that others have trained, the licence is not known."""


def compile_ultralight(weights: bytes, *, source: str = "unnamed") -> bytes:
    """Return the contract file made from an ONNX file of upstream; the same arguments give the same bytes.

    Args:
        weights: The ONNX file.
        source: Its name, for the model card.

    Raises:
        ModelError: It is not a file of this architecture.
    """
    network = read_network(weights, expected=EXPECTED, columns=COLUMNS)
    if network.input_hw is None:
        raise ModelError(
            f"The weights are not those of the {EXPECTED}: its input has a fixed height and width."
        )
    builder = graph.GraphBuilder()
    height, width = (builder.add_integers(side) for side in network.input_hw)
    pixels = resize_pixels(builder, graph.read_canvases(builder, bgr=False), (height, width))
    outputs = builder.include(
        network.encoded,
        inputs={network.input_name: graph.shift_and_scale(builder, pixels, mean=(MEAN,) * 3, scale=SCALE)},
    )
    # Column 1 is the face, column 0 the background.
    scores = builder.add("Gather", outputs["scores"], builder.add_integers(1), axis=2)
    best = graph.choose_candidates(builder, scores, top_k=TOP_K)
    boxes = graph.gather_candidates(builder, best, outputs["boxes"], columns=4)
    graph.name_outputs(builder, boxes=builder.add("Mul", boxes, read_canvas_corners(builder)), landmarks=None)
    return build_checked_file(
        builder, _make_card(network, network.input_hw, weights, source), expected=EXPECTED
    )


def _make_card(
    network: PublishedNetwork, input_hw: tuple[int, int], weights: bytes, source: str
) -> ModelCard:
    sha256 = hashlib.sha256(weights).hexdigest()
    return ModelCard(
        detector=f"{NAMES.get(network.convolutions, 'ultralight')}-{input_hw[1]}",
        weights_source=source,
        weights_sha256=sha256,
        licence=LICENCES.get(sha256, "unknown"),
        stride=1,
        pad_rgb=(MEAN, MEAN, MEAN),
        # A letterboxed image keeps its proportions on this canvas. Upstream stretches it, as canvas policy native does.
        default_canvas_hw=input_hw,
        score_threshold=SCORE_THRESHOLD,
        nms_iou=NMS_IOU,
        min_face_px=SMALLEST_ANCHOR_PX,
        exporter=graph.EXPORTER,
        packages={"onnx": graph.ONNX_VERSION},
    )


def compile_detector(weights: str, options: CompileOptions) -> bytes:  # noqa: ARG001 - it has no options
    """Return the contract file made from an ONNX file of upstream or of the same architecture.

    Raises:
        ModelError: The weights cannot be read, or belong to another network.
    """
    encoded, source = read_weights_file(Path(weights))
    return compile_ultralight(encoded, source=source)
