"""Converts layers of a contract file to INT8 for ONNX Runtime on the CPU, with QuantizeLinear and DequantizeLinear.

Weights are int8 with one scale per output channel, activations are uint8: the only pair for which ONNX Runtime has
fast kernels on x86. `int8_search.py` chooses the layers and decides whether the result is good enough.
"""

import platform
from collections.abc import Collection
from pathlib import Path

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
"""Operators that are quantized with the layer before them: without its Relu, a convolution would be rounded twice."""
OLDEST_OPSET = 13
"""The first opset in which a weight may have one scale per channel."""
DOT_PRODUCT_FLAGS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def prepare_for_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in opset 13 or later, with names for all nodes and types for all tensors."""
    if any(entry.domain in {"", "ai.onnx"} and entry.version < OLDEST_OPSET for entry in model.opset_import):
        model = version_converter.convert_version(model, OLDEST_OPSET)
    names = {node.name for node in model.graph.node}
    for number, node in enumerate(model.graph.node):
        if not node.name:
            node.name = (
                f"node_{number}" if f"node_{number}" not in names else f"node_{number}/{node.output[0]}"
            )
    return onnx.shape_inference.infer_shapes(model)


def find_int8_layers(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return the layers that may be converted to INT8: name of a weight -> the convolutions that use it.

    The first layers, which read the finest steps of a pixel, and the last ones, whose results are scores and offsets,
    stay in float32.
    """
    nodes = list(model.graph.node)
    outer_layers = {node.output[0] for node in (*find_first_layers(nodes), *find_last_layers(nodes))}
    weights = {tensor.name for tensor in model.graph.initializer}
    layers: dict[str, list[str]] = {}
    for node in find_network_nodes(nodes):
        if node.op_type in LAYERS and node.output[0] not in outer_layers and node.input[1] in weights:
            layers.setdefault(node.input[1], []).append(node.name)
    return layers


def list_activations(model: onnx.ModelProto) -> list[str]:
    """Return the activations whose ranges must be measured for INT8."""
    types = infer_tensor_types(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    names: dict[str, None] = {}
    for node in find_network_nodes(model.graph.node):
        if node.op_type in (*LAYERS, *FOLLOWERS):
            names |= dict.fromkeys((node.input[0], *node.output))
    return [name for name in names if types.get(name) == FLOAT and name not in weights]


def quantize_layers(
    model: onnx.ModelProto, ranges: Ranges, chosen: Collection[str], *, reduce_range: bool
) -> onnx.ModelProto:
    """Return a new model with some layers in INT8.

    Args:
        model: What `prepare_for_int8` returns; it is not changed.
        ranges: The ranges of `list_activations`.
        chosen: Keys of `find_int8_layers`.
        reduce_range: Whether weights have 7 bits: on x86 without dot product instructions, the sum of two products of
            8 bits can overflow.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData  # noqa: PLC0415

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    nodes = {name for weight in chosen for name in find_int8_layers(model)[weight]}
    producers = {node.output[0]: node.name for node in copied.graph.node}
    nodes |= {
        node.name
        for node in copied.graph.node
        if node.op_type in FOLLOWERS and producers.get(node.input[0]) in nodes
    }
    # The mean of the limits of all canvases, so that one unusual canvas does not make the steps coarse for all. It
    # keeps many more faces than the outermost limits (docs/mogface.md).
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
    quantized: onnx.ModelProto = quantizer.model.model
    del quantized.graph.value_info[:]
    return quantized


def has_dot_product(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether this CPU multiplies 8 bit numbers without overflow; False if that is not known."""
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return True
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return not DOT_PRODUCT_FLAGS.isdisjoint(flags)
