"""MogFace's network in torch as an ONNX file, for any batch, height and width."""

import io
from collections.abc import Mapping
from typing import cast

import onnx
import torch

from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.detectors.mogface.silence import silence_libraries

OPSET = 18
"""From 21 on, group norms become an operator for which ONNX Runtime has no kernel; from 18 to 20 they can be fused."""
_INPUTS, _OUTPUTS = ["images"], ["scores", "offsets"]
_SIZES = {0: "batch", 2: "height", 3: "width"}
_EXAMPLE = (2, 3, 261, 389)
"""Odd lengths, and more than one row and column at every level, so that the exporter assumes nothing about sizes."""
_SMALL_EXAMPLE = (2, 3, 133, 197)
"""The same, but small, for the exporter that runs the network while it traces."""


def convert_to_onnx(network: MogFace) -> bytes:
    """Return the network exported by torch's current exporter, which needs the package onnxscript."""
    sizes = {axis: torch.export.Dim(name) for axis, name in _SIZES.items()}
    with silence_libraries():
        exported = torch.onnx.export(
            network,
            (torch.zeros(_EXAMPLE),),
            input_names=_INPUTS,
            output_names=_OUTPUTS,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(sizes,),
            external_data=False,
            verbose=False,
        )
    program = cast("torch.onnx.ONNXProgram", exported)  # None is what the other exporter returns
    encoded: bytes = program.model_proto.SerializeToString(deterministic=True)
    return encoded


def trace_to_onnx(network: MogFace) -> bytes:
    """Return the network exported by torch's older exporter, which needs only torch; the layers are the same."""
    file = io.BytesIO()
    with silence_libraries():
        torch.onnx.export(
            network,
            (torch.zeros(_SMALL_EXAMPLE),),
            file,  # type: ignore[arg-type] # takes a file as well as a path
            input_names=_INPUTS,
            output_names=_OUTPUTS,
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes={"images": _SIZES, "scores": {0: "batch"}, "offsets": {0: "batch"}},
        )
    return _remove_identities(file.getvalue())


def _remove_identities(encoded: bytes) -> bytes:
    """Return the network without Identity nodes, which give equal weights a second name and hide them from passes."""
    model = onnx.load_from_string(encoded)
    nodes = list(model.graph.node)
    first_names = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Identity"}
    for node in nodes:
        node.input[:] = [_resolve_name(name, first_names) for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(node for node in nodes if node.op_type != "Identity")
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _resolve_name(name: str, first_names: Mapping[str, str]) -> str:
    while name in first_names:
        name = first_names[name]
    return name
