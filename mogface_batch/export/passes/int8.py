"""Puts layers of a contract file into INT8, for ONNX Runtime on the CPU: QuantizeLinear and DequantizeLinear around them.

Weights are int8 with one scale for each output channel, activations uint8: the one pair for which ONNX Runtime has
fast kernels on x86. Which layers, and whether the result is good enough, is for `quantize.py` to say.
"""

import platform
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import version_converter

from mogface_batch.export.graph.contract_graph import (
    FLOAT,
    find_first_layers,
    find_last_layers,
    find_network_nodes,
    infer_tensor_types,
)
from mogface_batch.export.passes.tensor_ranges import Ranges

LAYERS = ("Conv",)
FOLLOWERS = ("Relu",)
"""What is computed in the same breath: a convolution whose Relu stays behind would be rounded twice."""
OLDEST_OPSET = 13
"""The first in which a weight may have one scale for each channel."""
DOT_PRODUCT_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def prepare_for_int8(model: Any) -> Any:  # noqa: ANN401 - onnx is untyped
    """Return a model in a late enough opset, with names for all nodes and types for all tensors."""
    if any(entry.domain in {"", "ai.onnx"} and entry.version < OLDEST_OPSET for entry in model.opset_import):
        model = version_converter.convert_version(model, OLDEST_OPSET)
    taken = {node.name for node in model.graph.node}
    for number, node in enumerate(model.graph.node):
        if not node.name:
            node.name = (
                f"node_{number}" if f"node_{number}" not in taken else f"node_{number}/{node.output[0]}"
            )
    return onnx.shape_inference.infer_shapes(model)


def layers(model: Any) -> dict[str, list[str]]:  # noqa: ANN401
    """Return the layers that may be put into INT8: the name of a weight -> the convolutions that use it.

    The first layers, which see the finest steps of a pixel, and the last ones, whose results are scores and offsets,
    stay in float32.
    """
    nodes = list(model.graph.node)
    outer = {node.output[0] for node in (*find_first_layers(nodes), *find_last_layers(nodes))}
    weights = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, list[str]] = {}
    for node in find_network_nodes(nodes):
        if node.op_type in LAYERS and node.output[0] not in outer and node.input[1] in weights:
            found.setdefault(node.input[1], []).append(node.name)
    return found


def list_activations(model: Any) -> list[str]:  # noqa: ANN401
    """Return the activations whose ranges INT8 needs."""
    types = infer_tensor_types(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    names: dict[str, None] = {}
    for node in find_network_nodes(model.graph.node):
        if node.op_type in (*LAYERS, *FOLLOWERS):
            names |= dict.fromkeys((node.input[0], *node.output))
    return [name for name in names if types.get(name) == FLOAT and name not in weights]


def quantize_layers(model: Any, ranges: Ranges, chosen: Collection[str], *, reduce_range: bool) -> Any:  # noqa: ANN401
    """Return a new model with some layers in INT8.

    Args:
        model: From `prepare_for_int8`; not changed.
        ranges: Of `list_activations`.
        chosen: Of `layers`.
        reduce_range: Weights of 7 bit: on x86 without dot product instructions two products of 8 bit can overflow.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData  # noqa: PLC0415

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    nodes = {name for weight in chosen for name in layers(model)[weight]}
    made_by = {node.output[0]: node.name for node in copied.graph.node}
    nodes |= {
        node.name
        for node in copied.graph.node
        if node.op_type in FOLLOWERS and made_by.get(node.input[0]) in nodes
    }
    # Of each canvas's own limits, the mean: one odd canvas must not make the steps coarse for all. Measured in faces
    # kept, this is far better than the outermost limits (docs/mogface.md).
    limits = {
        name: (np.float32(values[:, 0].mean()), np.float32(values[:, 1].mean()))
        for name, values in ranges.items()
    }
    quantizer = QDQQuantizer(
        copied,
        per_channel=True,
        reduce_range=reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=sorted(nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=[*LAYERS, *FOLLOWERS],
        extra_options={},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized = quantizer.model.model
    del quantized.graph.value_info[:]
    return quantized


def has_dot_product(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether this CPU multiplies 8 bit numbers without overflow; False where that cannot be told."""
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return True
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not DOT_PRODUCT_FLAGS.isdisjoint(flags)
