"""Reads the ONNX file that an author published, checks it, and prepares it to be part of a contract graph.

    bytes -> `read_network` (is it the expected one? opset 11 or later, any batch size) -> `GraphBuilder.include`

A network with a fixed input size gets its pixels from `resize.py`, so that the canvas may have any size.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper, version_converter

from mogface_batch.contract import ModelCard
from mogface_batch.errors import ModelError, quote_first_line
from mogface_batch.export.graph.builder import GraphBuilder
from mogface_batch.export.graph.contract_file import build_contract_file

OLDEST_OPSET = 11
"""The oldest opset for which the pieces of `graph` are valid."""


@dataclass(frozen=True, slots=True)
class PublishedNetwork:
    """A network that takes float32 [N, 3, H, W], ready for `GraphBuilder.include`."""

    encoded: bytes
    input_name: str
    input_hw: tuple[int, int] | None
    """The only height and width that the network takes; None if it takes any."""
    convolutions: int
    """The number of convolutions, which identifies the variant of an architecture."""


def read_network(weights: bytes, *, expected: str, columns: Mapping[str, int]) -> PublishedNetwork:
    """Return the network of an ONNX file; it is recognised by its tensors, never by the name of the file.

    Args:
        weights: One ONNX file that contains its weights.
        expected: Name of the expected network in error messages.
        columns: Output name -> the last of its three dimensions.

    Raises:
        ModelError: It is not an ONNX file, keeps weights in other files, has other inputs or outputs, or takes
            a fixed number of images at once.
    """
    try:
        model = onnx.load_from_string(weights)
        # Also refuses weights in other files: a model in memory has no folder to look in.
        onnx.checker.check_model(model)
        model = _drop_initializer_inputs(model)
        input_hw = _check_tensors(model, expected, columns)
        model = _free_batch(model, expected)
    except ModelError:
        raise
    except Exception as error:
        # Protobuf, the checker, the converter and shape inference have no common base class of errors.
        raise ModelError(
            f"The weights are not those of the {expected}: they cannot be read as an ONNX file ({quote_first_line(error)})."
        ) from error
    return PublishedNetwork(
        encoded=model.SerializeToString(deterministic=True),
        input_name=model.graph.input[0].name,
        input_hw=input_hw,
        convolutions=sum(node.op_type == "Conv" for node in model.graph.node),
    )


def _drop_initializer_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its real inputs only: IR version 3 listed each weight as an input too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    return model


def _check_tensors(
    model: onnx.ModelProto, expected: str, columns: Mapping[str, int]
) -> tuple[int, int] | None:
    """Return the height and width of the input, None if they are free; refuse tensors other than expected."""
    inputs = [_read_shape(value) for value in model.graph.input]
    outputs = {value.name: _read_shape(value) for value in model.graph.output}
    is_input = len(inputs) == 1 and len(inputs[0]) == 4 and inputs[0][1] == 3
    is_output = outputs.keys() == columns.keys() and all(
        len(shape) == 3 and shape[2] == columns[name] for name, shape in outputs.items()
    )
    if not (is_input and is_output):
        expected_outputs = ", ".join(f"{name} [1, N, {last}]" for name, last in columns.items())
        actual_outputs = ", ".join(
            f"{name} [{', '.join(map(str, shape))}]" for name, shape in outputs.items()
        )
        raise ModelError(
            f"The weights are not those of the {expected}: it has one input [1, 3, H, W] and the outputs {expected_outputs}; "
            f"these have the inputs {inputs} and the outputs {actual_outputs or 'none'}."
        )
    match inputs[0][2:]:
        case [int(height), int(width)]:
            return height, width
        case ["?", "?"]:
            return None
        case sides:
            raise ModelError(f"The weights are not usable as the {expected}: their input is {sides}.")


def _read_shape(value: onnx.ValueInfoProto) -> list[int | str]:
    """Return the declared shape of a float32 tensor, ``?`` for a free side; an empty list for another type."""
    tensor_type = value.type.tensor_type
    if tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return []
    return [dim.dim_value if dim.dim_value > 0 else "?" for dim in tensor_type.shape.dim]


def _free_batch(model: onnx.ModelProto, expected: str) -> onnx.ModelProto:
    """Return the model for any batch size, in opset 11 or later.

    An exporter that was run with one image writes the 1 in two places: in the declared shapes, and in ``Reshape`` to
    [1, -1, C]. There, 0 instead of 1 keeps the batch size of the input.
    """
    if any(entry.domain in {"", "ai.onnx"} and entry.version < OLDEST_OPSET for entry in model.opset_import):
        model = version_converter.convert_version(model, OLDEST_OPSET)
    graph = model.graph
    _free_reshapes(graph)
    _drop_unused_weights(graph)
    del graph.value_info[:]
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    # A dimension that inference does not know is 0 here, or missing.
    if any(
        side.dim_value for value in inferred.graph.output for side in value.type.tensor_type.shape.dim[:1]
    ):
        raise ModelError(
            f"The weights are not usable as the {expected}: they take a fixed number of images at once."
        )
    return model


def _free_reshapes(graph: onnx.GraphProto) -> None:
    """Make each ``Reshape`` to [1, -1, C] of a tensor that depends on the input keep the batch size."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.name == "value"
    }
    from_input = {graph.input[0].name}
    for node in graph.node:
        if from_input.isdisjoint(node.input):
            continue
        from_input.update(node.output)
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]])
        if len(shape) == 3 and shape[0] == 1 and shape[1] == -1:
            # A new constant, because other nodes may read the old one.
            free_shape = shape.copy()
            free_shape[0] = 0
            node.input[1] = f"{node.output[0]}/free_shape"
            graph.initializer.append(numpy_helper.from_array(free_shape, node.input[1]))


def _drop_unused_weights(graph: onnx.GraphProto) -> None:
    """Drop weights and constants that no node reads, such as PyTorch's count of training batches."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(used)
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in read]
    del graph.node[:]
    graph.node.extend(nodes)


def build_checked_file(builder: GraphBuilder, card: ModelCard, *, expected: str) -> bytes:
    """Return the contract file, after a check that the network fits the nodes around it.

    Raises:
        ModelError: It does not fit, for example because its outputs have other lengths than it declares.
    """
    try:
        return build_contract_file(builder, card)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"The weights are not those of the {expected}: {quote_first_line(error)}."
        ) from error
