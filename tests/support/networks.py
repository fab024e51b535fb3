"""Networks as authors publish them: the real files of ../shared, and tiny networks with the same tensors.

The tiny networks have a fixed seed; their scores and boxes vary over the canvas and mean nothing.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from mogface_batch.contract import TOP_K
from mogface_batch.geometry import Faces, choose_faces, pad_hw
from mogface_batch.images.decode import decode_rgb, read_header

SHARED = Path(__file__).resolve().parents[2].parent / "shared/data"
TINY_HW = (64, 96)
FLOAT = onnx.TensorProto.FLOAT


def shared_file(name: str) -> Path:
    """Return a file of ../shared/data; skip the test if it does not exist."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


def shared_photo(name: str) -> np.ndarray:
    """Return a WIDER FACE photo as (H, W, 3) RGB."""
    encoded = shared_file(f"wider/images/{name}").read_bytes()
    return decode_rgb(encoded, read_header(encoded))


def noise(count: int, hw: tuple[int, int]) -> np.ndarray:
    """Return (N, H, W, 3) uint8 noise that is smooth enough for networks to react, and different everywhere."""
    coarse = np.random.default_rng(7).integers(0, 256, (count, hw[0] // 8 + 1, hw[1] // 8 + 1, 3))
    blocks = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, : hw[0], : hw[1]]
    fine = np.random.default_rng(8).integers(-20, 21, blocks.shape)
    return np.clip(blocks + fine, 0, 255).astype(np.uint8)


def session(encoded: bytes, *, also: str | None = None, fused: bool = True) -> onnxruntime.InferenceSession:
    """Return a session on one thread; ``also`` names an inner tensor that becomes an additional output."""
    if also is not None:
        model = onnx.load_from_string(encoded)
        model.graph.output.append(helper.make_tensor_value_info(also, FLOAT, None))
        encoded = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(encoded, options, providers=["CPUExecutionProvider"])


def network_input(encoded: bytes) -> str:
    """Return the input tensor of the network, the part of the graph whose names begin with ``network/``."""
    nodes = onnx.load_from_string(encoded).graph.node
    first = next(node for node in nodes if node.output[0].startswith("network/") and node.op_type == "Conv")
    return first.input[0]


def run_with_input(encoded: bytes, canvases: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the outputs of the contract by name, and the input of the network (N, 3, H, W)."""
    name = network_input(encoded)
    opened = session(encoded, also=name, fused=False)
    outputs = [output.name for output in opened.get_outputs()]
    values = dict(zip(outputs, opened.run(outputs, {"images": canvases}), strict=True))
    return values, values.pop(name)


def assert_best_first(outputs: dict[str, np.ndarray], row: int, wanted: dict[str, np.ndarray]) -> None:
    """Compare the outputs of one canvas with unsorted scores (A,), boxes (A, 4) and optional landmarks (A, 5, 2).

    Both must come from sessions without fusion, because the values of the network are then equal to the bit.
    """
    best = np.argsort(-wanted["scores"], kind="stable")[:TOP_K]
    np.testing.assert_allclose(outputs["scores"][row], wanted["scores"][best], rtol=2e-7)
    for name in wanted.keys() - {"scores"}:
        np.testing.assert_allclose(outputs[name][row], wanted[name][best], rtol=1e-5, atol=1e-3)


def stretched(canvas: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """Return (3, H, W) float64 of (h, w, 3): bilinear between pixel centres, not rounded."""

    def axis(length: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(new) + 0.5) * length / new - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, length - 1), at - low

    channels = canvas.astype(np.float64).transpose(2, 0, 1)
    top, bottom, share = axis(canvas.shape[0], hw[0])
    channels = channels[:, top] * (1 - share)[:, None] + channels[:, bottom] * share[:, None]
    left, right, share = axis(canvas.shape[1], hw[1])
    return channels[:, :, left] * (1 - share) + channels[:, :, right] * share


def faces_at_half(detector, rgb: np.ndarray) -> Faces:
    """Return the faces with a score of 0.5 or more that the job finds in a photo on its native canvas."""
    hw = pad_hw(rgb.shape[:2], detector.card.stride)
    canvas = np.full((1, *hw, 3), detector.card.pad_rgb, dtype=np.uint8)
    canvas[0, : rgb.shape[0], : rgb.shape[1]] = rgb
    found = detector.detect_canvases(canvas, score_at_least=0.5)[0]
    return choose_faces(found, score_at_least=0.5, iou_at_most=detector.card.nms_iou, max_faces=750)


class _Nodes:
    """Collects the nodes of a network."""

    def __init__(self) -> None:
        self.nodes, self.weights, self._random = [], [], np.random.default_rng(3)

    def add(self, op, *inputs, output=None, **attributes):
        name = output or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, values, dtype):
        self.weights.append(numpy_helper.from_array(np.array(values, dtype), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def convolved(self, pixels, columns, *, stride, size):
        kernel = self._random.normal(0, size / stride, (columns, 3, stride, stride))
        made = self.add("Conv", pixels, self.constant(kernel, np.float32), strides=[stride, stride])
        return self.add("Transpose", made, perm=[0, 2, 3, 1])

    def file(self, outputs, *, input_shape, opset, weights_are_inputs=False):
        """Return the file; outputs are name -> declared shape."""
        inputs = [helper.make_tensor_value_info("input", FLOAT, input_shape)]
        if weights_are_inputs:
            inputs += [helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)) for w in self.weights]
        declared = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "tiny", inputs, declared, self.weights)
        imports = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=6).SerializeToString()


def tiny_ultralight(*, reshape=(1, -1, 6)) -> bytes:
    """Return a network of opset 9 with Ultra-Light's tensors for one image of `TINY_HW`.

    Its batch of 1 is written into a ``Reshape``, and its weights are listed as inputs, as old exporters did.
    """
    g = _Nodes()
    rows = g.add("Reshape", g.convolved("input", 6, stride=8, size=0.5), g.constant(reshape, np.int64))
    scores = g.add("Slice", rows, axes=[2], starts=[0], ends=[2])
    g.add("Softmax", scores, output="scores", axis=2)
    g.add("Sigmoid", g.add("Slice", rows, axes=[2], starts=[2], ends=[6]), output="boxes")
    g.constant([1.0], np.float32)  # no node reads it
    cells = TINY_HW[0] // 8 * TINY_HW[1] // 8
    shapes = {"scores": [1, cells, 2], "boxes": [1, cells, 4]}
    return g.file(shapes, input_shape=[1, 3, *TINY_HW], opset=9, weights_are_inputs=True)


def tiny_yunet(hw: tuple[int, int] | None = TINY_HW, *, opset: int = 11) -> bytes:
    """Return a network with YuNet's tensors, for one image of this size or, with None, for any images."""
    g = _Nodes()
    shapes = {}
    for kind, columns in {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}.items():
        for stride in (8, 16, 32):
            name = f"{kind}_{stride}"
            cells = g.convolved("input", columns, stride=stride, size=0.01)
            shape = g.constant([0 if hw is None else 1, -1, columns], np.int64)
            if kind in ("cls", "obj"):
                g.add("Sigmoid", g.add("Reshape", cells, shape), output=name)
            else:
                g.add("Reshape", cells, shape, output=name)
            count = "cells" if hw is None else hw[0] * hw[1] // stride**2
            shapes[name] = ["batch" if hw is None else 1, count, columns]
    size = ("height", "width") if hw is None else hw
    return g.file(shapes, input_shape=["batch" if hw is None else 1, 3, *size], opset=opset)
