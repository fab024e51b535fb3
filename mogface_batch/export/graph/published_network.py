"""An ONNX network as somebody published it: read, checked, and made ready to be a part of a contract graph.

    bytes -> `read_network` (is it the one expected? then opset 11 or later, any batch) -> `Graph.include`

A network with a fixed input gets its pixels from `resize.py`: the canvas may then have any size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import numpy_helper, version_converter

from mogface_batch.contract import ModelCard
from mogface_batch.errors import ModelError, quote_first_line
from mogface_batch.export.graph.builder import GraphBuilder
from mogface_batch.export.graph.contract_file import build_contract_file

OLDEST_OPSET = 11
"""What the pieces of `head` need at least."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that takes float32 [N, 3, H, W], ready for `Graph.include`."""

    encoded: bytes
    input_name: str
    input_hw: tuple[int, int] | None
    """The only height and width that it takes; None where it takes many."""
    convolutions: int
    """How many there are, which tells one variant of an architecture from another."""


def read_network(weights: bytes, *, expected: str, columns: Mapping[str, int]) -> Network:
    """Return the network of an ONNX file; what it is, is told by its tensors, never by the file's name.

    Args:
        weights: One ONNX file, with its weights inside.
        expected: What it should be, for the sentence that refuses another.
        columns: Its output names -> the last of their three dimensions.

    Raises:
        ModelError: It is no ONNX file, keeps weights in other files, has other inputs or outputs, or takes a
            fixed number of images at once.
    """
    try:
        model = onnx.load_from_string(weights)
        # Also refuses weights that lie in other files: none are beside a model that is in memory.
        onnx.checker.check_model(model)
        model = _without_initializer_inputs(model)
        input_hw = _checked_input_hw(model, expected, columns)
        model = _with_free_batch(model, expected)
    except ModelError:
        raise
    except Exception as error:
        # Protobuf, the checker, the converter and shape inference have no common error.
        raise ModelError(
            f"The weights are no {expected}: they are no ONNX file that can be read ({quote_first_line(error)})."
        ) from error
    return Network(
        encoded=model.SerializeToString(deterministic=True),
        input_name=model.graph.input[0].name,
        input_hw=input_hw,
        convolutions=sum(node.op_type == "Conv" for node in model.graph.node),
    )


def _without_initializer_inputs(model: Any) -> Any:  # noqa: ANN401 - onnx is untyped
    """Return the model without what IR version 3 asked for: each weight listed as an input too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)
    return model


def _checked_input_hw(model: Any, expected: str, columns: Mapping[str, int]) -> tuple[int, int] | None:  # noqa: ANN401
    """Return height and width of the input, None where they are free; refuse other tensors than expected."""
    inputs = [_shape(value) for value in model.graph.input]
    outputs = {value.name: _shape(value) for value in model.graph.output}
    is_input = len(inputs) == 1 and len(inputs[0]) == 4 and inputs[0][1] == 3
    is_output = outputs.keys() == columns.keys() and all(
        len(shape) == 3 and shape[2] == columns[name] for name, shape in outputs.items()
    )
    if not (is_input and is_output):
        want = ", ".join(f"{name} [1, N, {last}]" for name, last in columns.items())
        have = ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in outputs.items())
        raise ModelError(
            f"The weights are no {expected}: that has one input [1, 3, H, W] and the outputs {want}; "
            f"these have the inputs {inputs} and the outputs {have or 'none'}."
        )
    match inputs[0][2:]:
        case [int(height), int(width)]:
            return height, width
        case ["?", "?"]:
            return None
        case one_fixed:
            raise ModelError(f"The weights are no {expected} that we can use: their input is {one_fixed}.")


def _shape(value: Any) -> list[int | str]:  # noqa: ANN401
    """Return the declared shape of a float32 tensor, ``?`` for a free side; empty for another type."""
    kind = value.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT:
        return []
    return [dim.dim_value if dim.dim_value > 0 else "?" for dim in kind.shape.dim]


def _with_free_batch(model: Any, expected: str) -> Any:  # noqa: ANN401
    """Return the model for any number of images, in opset 11 or later.

    An exporter that was given one image writes that 1 in two places: into the declared shapes, and into
    ``Reshape`` to [1, -1, C], whose 0 instead of 1 means "as many as came in".
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
    # A side that inference cannot tell is 0 here, or missing.
    if any(
        side.dim_value for value in inferred.graph.output for side in value.type.tensor_type.shape.dim[:1]
    ):
        raise ModelError(
            f"The weights are no {expected} that we can use: they take a fixed number of images at once."
        )
    return model


def _free_reshapes(graph: Any) -> None:  # noqa: ANN401
    """Let ``Reshape`` to [1, -1, C] of what comes from the input keep the length of its batch."""
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
            # A new constant: others may read the old one.
            free = shape.copy()
            free[0] = 0
            node.input[1] = f"{node.output[0]}/free_shape"
            graph.initializer.append(numpy_helper.from_array(free, node.input[1]))


def _drop_unused_weights(graph: Any) -> None:  # noqa: ANN401
    """Drop weights and constants that nothing reads, such as PyTorch's count of training batches."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [node for node in graph.node if node.op_type != "Constant" or node.output[0] in read]
    del graph.node[:]
    graph.node.extend(nodes)


def build_checked_file(builder: GraphBuilder, card: ModelCard, *, expected: str) -> bytes:
    """Return the contract file, where the network fits what was built around it.

    Raises:
        ModelError: It does not, as when its outputs have other lengths than it declared.
    """
    try:
        return build_contract_file(builder, card)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"The weights are no {expected}: {quote_first_line(error)}.") from error
