"""From a finished graph to the bytes of a contract file."""

from typing import TYPE_CHECKING

import onnx
from onnx import helper

from mogface_batch import __version__
from mogface_batch.contract import INPUTS, OPTIONAL_OUTPUTS, OUTPUTS, TensorSpec
from mogface_batch.export.graph.builder import GraphBuilder

if TYPE_CHECKING:
    from mogface_batch.contract import ModelCard

EXPORTER = f"mogface-batch {__version__}"
ONNX_VERSION: str = onnx.__version__


def build_contract_file(builder: GraphBuilder, card: "ModelCard") -> bytes:
    """Return the ONNX file of a graph with its card; the same graph and card give the same bytes."""
    model = build_contract_model(builder, card.detector)
    helper.set_model_props(model, card.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    encoded: bytes = model.SerializeToString(deterministic=True)
    return encoded


def build_contract_model(builder: GraphBuilder, name: str) -> onnx.ModelProto:
    """Return the ONNX model of a graph, without a card."""
    tensors = {tensor for node in builder.nodes for tensor in node.output}
    outputs = [*OUTPUTS, *(tensor for tensor in OPTIONAL_OUTPUTS if tensor.name in tensors)]
    return helper.make_model(
        helper.make_graph(
            builder.nodes,
            name,
            [_declare(tensor) for tensor in INPUTS],
            [_declare(tensor) for tensor in outputs],
            builder.initializers,
        ),
        opset_imports=builder.opset_imports,
        ir_version=builder.ir_version,
        producer_name="mogface-batch",
        producer_version=__version__,
    )


def _declare(tensor: TensorSpec) -> onnx.ValueInfoProto:
    element_type = onnx.TensorProto.UINT8 if tensor.dtype == "uint8" else onnx.TensorProto.FLOAT
    return helper.make_tensor_value_info(tensor.name, element_type, tensor.shape)
