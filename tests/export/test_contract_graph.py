import numpy as np
import onnx
import pytest
from builders import tiny_detector
from deep_detector import make_deep_detector
from onnx import helper, numpy_helper

from mogface_batch.errors import ModelError
from mogface_batch.export.graph import contract_graph


def operators(nodes):
    return [node.op_type for node in nodes]


def test_the_network_lies_between_its_first_and_its_last_layer():
    nodes = onnx.load_from_string(make_deep_detector()).graph.node

    network = operators(contract_graph.find_network_nodes(nodes))

    assert (network[0], network[-1], network.count("Conv")) == ("Conv", "Conv", 6)
    assert {"InstanceNormalization", "MaxPool", "Resize", "Relu"} < set(network)
    assert {"Cast", "Sigmoid", "TopK", "Exp"}.isdisjoint(network)


def test_the_first_and_the_last_layers():
    nodes = onnx.load_from_string(make_deep_detector()).graph.node
    convolutions = [node.output[0] for node in nodes if node.op_type == "Conv"]

    assert [node.output[0] for node in contract_graph.find_first_layers(nodes)] == convolutions[:1]
    assert [node.output[0] for node in contract_graph.find_last_layers(nodes)] == convolutions[-1:]


def test_branches_have_several_ends():
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"]),
        helper.make_node("Conv", ["a", "w1"], ["left"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["right"]),
        helper.make_node("Sigmoid", ["right"], ["y"]),
    ]

    assert operators(contract_graph.find_network_nodes(nodes)) == ["Conv", "Conv", "Relu", "Conv"]
    assert [node.output[0] for node in contract_graph.find_last_layers(nodes)] == ["left", "right"]


def test_constants_of_any_form_become_weights():
    model = onnx.load_from_string(make_deep_detector())
    weight = model.graph.initializer[5]
    node = helper.make_node("Constant", [], [weight.name], value=weight)
    del model.graph.initializer[5]
    model.graph.node.insert(0, node)

    read, _ = contract_graph.read_contract(model.SerializeToString(), "F")

    assert "Constant" not in operators(read.graph.node)
    assert weight.name in {tensor.name for tensor in read.graph.initializer}


def changed(**fields):
    model = onnx.load_from_string(make_deep_detector(**fields.pop("card", {})))
    for change in fields.values():
        change(model)
    return model.SerializeToString()


def without_card(model):
    del model.metadata_props[:]


def with_a_branch(model):
    branch = helper.make_graph([], "then", [], [])
    yes = numpy_helper.from_array(np.array(True), "yes")
    model.graph.initializer.append(yes)
    model.graph.node.append(helper.make_node("If", ["yes"], [], then_branch=branch, else_branch=branch))


def without_convolutions(model):
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.op_type = "LpPool"
            del node.input[1:]
            node.attribute.append(helper.make_attribute("kernel_shape", [1, 1]))


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        pytest.param(b"no file", "cannot be read as an ONNX model", id="no-onnx"),
        pytest.param(make_deep_detector()[:-500], "cannot be read as an ONNX model", id="cut"),
        pytest.param(changed(card={"precision": "int8"}), "is int8 for any already", id="int8-already"),
        pytest.param(changed(card={"target": "cuda"}), "is fp32 for cuda already", id="for-cuda-already"),
        pytest.param(changed(change=without_card), "carries no model card", id="no-card"),
        pytest.param(
            changed(change=with_a_branch), "F cannot be read as an ONNX model|branches", id="branch"
        ),
        pytest.param(changed(change=without_convolutions), "contains no network", id="no-convolution"),
    ],
)
def test_what_cannot_be_changed_is_refused_in_one_sentence(encoded, says):
    with pytest.raises(ModelError, match=says) as caught:
        contract_graph.read_contract(encoded, "F")

    assert len(str(caught.value).splitlines()) == 1


def test_a_detector_without_a_network_of_ours_is_read(tmp_path):
    encoded = tiny_detector(tmp_path / "tiny.onnx").read_bytes()

    model, card = contract_graph.read_contract(encoded, "F")

    assert contract_graph.write_contract(model, card) == contract_graph.write_contract(
        *contract_graph.read_contract(encoded, "F")
    )
