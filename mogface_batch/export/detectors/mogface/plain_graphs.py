"""MogFace's graphs without a card, in each variant of a contract file, for the sessions of a benchmark."""

import hashlib
import importlib.util

import onnx

from mogface_batch.contract import TOP_K
from mogface_batch.export import graph
from mogface_batch.export.detectors.mogface.detector_graph import build_detector_graph
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.detectors.mogface.to_onnx import convert_to_onnx, trace_to_onnx
from mogface_batch.export.graph.contract_graph import simplify_model, write_contract
from mogface_batch.export.passes.cuda import fuse_group_norms
from mogface_batch.export.passes.fp16 import convert_to_fp16
from mogface_batch.export.passes.tensorrt import adapt_to_tensorrt


def build_plain_graph(network: MogFace, levels: Levels) -> tuple[bytes, str]:
    """Return the graph in float32 for any device, and the exporter of torch that made it: the older one needs only torch."""
    if importlib.util.find_spec("onnxscript") is None:
        encoded, exporter = trace_to_onnx(network), "torch.onnx, by tracing"
    else:
        encoded, exporter = convert_to_onnx(network), "torch.onnx"
    model = graph.build_contract_model(build_detector_graph(encoded, levels), "mogface-seeded")
    simplify_model(model, "The graph")
    plain: bytes = model.SerializeToString(deterministic=True)
    return plain, exporter


def arrange_graph(plain: bytes, *, half: bool, target: str) -> bytes:
    """Return the graph in a precision, for a device; float16 is not checked for overflow.

    Args:
        plain: What `build_plain_graph` returns.
        half: float16 instead of float32.
        target: ``any``, ``cuda`` or ``tensorrt``, as for ``export --for``.
    """
    model = onnx.load_from_string(plain)
    if target == "cuda":
        fuse_group_norms(model)
    if target == "tensorrt":
        adapt_to_tensorrt(model, top_k=TOP_K)
    if half:
        convert_to_fp16(model)
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


def add_card(plain: bytes, *, half: bool, target: str, levels: Levels) -> bytes:
    """Return a graph as a contract file; needs pydantic.

    Args:
        plain: What `arrange_graph` or `build_plain_graph` returns.
        half: Whether the graph is in float16.
        target: The device for which it is arranged.
        levels: The levels of the network.
    """
    from mogface_batch.export.detectors.mogface.mogface_card import make_mogface_card  # noqa: PLC0415 - pydantic may not be there

    card = make_mogface_card("a seed, for benchmarks", hashlib.sha256(plain).hexdigest(), levels)
    changed = {
        "precision": "fp16" if half else "fp32",
        "target": target,
        "needs_provider": "cuda" if target == "cuda" else None,
    }
    return write_contract(onnx.load_from_string(plain), card.model_copy(update=changed))
