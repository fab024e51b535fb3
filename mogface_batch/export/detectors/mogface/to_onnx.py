"""MogFace's network in torch as an ONNX file, for any batch, height and width."""

import io
from collections.abc import Mapping
from typing import cast

import onnx
import torch

from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.detectors.mogface.silence import silence_libraries

OPSET = 18
"""From 21 on group norms become an operator for which ONNX Runtime has no kernel; from 18 to 20 they can be fused."""
_INPUTS, _OUTPUTS = ["images"], ["scores", "offsets"]
_SIZES = {0: "batch", 2: "height", 3: "width"}
_EXAMPLE = (2, 3, 261, 389)
"""Odd, and every level has more than one row and column: nothing about sizes can be taken for granted."""
_SMALL_EXAMPLE = (2, 3, 133, 197)
"""The same; for the exporter that computes what it traces."""


def convert_to_onnx(network: MogFace) -> bytes:
    """Return the network by torch's present exporter, which needs the package onnxscript."""
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
    program = cast("torch.onnx.ONNXProgram", exported)  # None is for another exporter
    encoded: bytes = program.model_proto.SerializeToString(deterministic=True)
    return encoded


def trace_to_onnx(network: MogFace) -> bytes:
    """Return the network by torch's former exporter, which needs torch alone: the same layers, in other small change."""
    file = io.BytesIO()
    with silence_libraries():
        torch.onnx.export(
            network,
            (torch.zeros(_SMALL_EXAMPLE),),
            file,  # type: ignore[arg-type] # a file as well as a path
            input_names=_INPUTS,
            output_names=_OUTPUTS,
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes={"images": _SIZES, "scores": {0: "batch"}, "offsets": {0: "batch"}},
        )
    return _without_identities(file.getvalue())


def _without_identities(encoded: bytes) -> bytes:
    """Return the network without the nodes that give equal weights a second name, which hide weights from our passes."""
    model = onnx.load_from_string(encoded)
    nodes = list(model.graph.node)
    first_names = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Identity"}
    for node in nodes:
        node.input[:] = [_followed(name, first_names) for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(node for node in nodes if node.op_type != "Identity")
    cleaned: bytes = model.SerializeToString(deterministic=True)
    return cleaned


def _followed(name: str, first_names: Mapping[str, str]) -> str:
    while name in first_names:
        name = first_names[name]
    return name
