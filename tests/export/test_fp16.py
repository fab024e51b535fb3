import numpy as np
import onnx
import pytest
from deep_detector import make_deep_detector
from networks import noise, session
from onnx import numpy_helper

from mogface_batch.export.graph.contract_graph import (
    FLOAT,
    FLOAT16,
    find_network_nodes,
    infer_tensor_types,
    read_contract,
)
from mogface_batch.export.passes.fp16 import convert_to_fp16, has_consistent_types, list_float16_tensors
from mogface_batch.export.passes.tensor_ranges import MAX_SAFE_VALUE, find_largest_values, measure_ranges

CANVASES = noise(3, (64, 96))


def halved(encoded, **options):
    return convert_to_fp16(read_contract(encoded, "F")[0], **options)


def run_network(encoded, canvases=CANVASES):
    return session(encoded, fused=False).run(["boxes", "scores"], {"images": canvases})


@pytest.mark.parametrize("opset", [11, 18, 20])
def test_every_operator_has_the_types_that_it_takes(opset):
    assert has_consistent_types(halved(make_deep_detector(opset=opset)))


def test_the_network_is_float16_and_all_else_is_not():
    model = halved(make_deep_detector())
    types = infer_tensor_types(model)

    inside = {node.output[0] for node in find_network_nodes(model.graph.node)}
    for node in model.graph.node:
        is_half = types[node.output[0]] == FLOAT16
        assert is_half == (node.output[0] in inside and node.op_type != "Shape") or node.op_type == "Cast", (
            node
        )
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {weights[node.input[1]] for node in model.graph.node if node.op_type == "Conv"} == {FLOAT16}
    assert [tensor.name for tensor in model.graph.initializer if tensor.name.endswith("/fp32")] == []


def test_no_two_casts_stand_between_neighbours():
    model = halved(make_deep_detector())

    casts = [node for node in model.graph.node if node.op_type == "Cast" and node.name.endswith("/Cast")]

    # One where the network begins, one where it ends.
    assert len(casts) == 2


def test_scales_of_a_resize_stay_float32():
    model = halved(make_deep_detector())
    types = infer_tensor_types(model)

    (resize,) = (node for node in model.graph.node if node.op_type == "Resize")

    assert [types[name] for name in resize.input] == [FLOAT16, FLOAT, FLOAT]


def test_the_faces_are_nearly_the_same():
    (boxes, scores), (half_boxes, half_scores) = (
        run_network(make_deep_detector()),
        run_network(halved(make_deep_detector()).SerializeToString()),
    )

    assert 0 < np.abs(scores - half_scores).max() < 0.01
    assert boxes.shape == half_boxes.shape


def test_what_float16_cannot_hold_stays_in_float32():
    encoded = make_deep_detector(loud=1e6)
    model, _ = read_contract(encoded, "F")
    values = find_largest_values(measure_ranges(model, list_float16_tensors(model), CANVASES))
    kept_fp32 = [name for name, value in values.items() if value > MAX_SAFE_VALUE]

    careful, careless = halved(encoded, kept_fp32=kept_fp32), halved(encoded)

    assert len(kept_fp32) == 2  # a convolution's result and its Relu
    assert has_consistent_types(careful)
    wanted = run_network(encoded)[1]
    assert np.abs(run_network(careful.SerializeToString())[1] - wanted).max() < 0.01
    types = infer_tensor_types(careful)
    assert {types[name] for name in kept_fp32} == {FLOAT}
    # The loud weights do not fit into float16 either: without the check the result is another one.
    assert not np.abs(run_network(careless.SerializeToString())[1] - wanted).max() < 0.01


def test_weights_beyond_float16_are_cut_and_never_infinite():
    model = halved(make_deep_detector(loud=1e9))

    for tensor in model.graph.initializer:
        assert np.isfinite(numpy_helper.to_array(tensor)).all()


def test_the_same_file_gives_the_same_bytes():
    assert halved(make_deep_detector()).SerializeToString(deterministic=True) == halved(
        make_deep_detector()
    ).SerializeToString(deterministic=True)


def test_a_wrongly_typed_model_is_noticed():
    model = onnx.load_from_string(make_deep_detector())
    next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 4).data_type = FLOAT16

    assert not has_consistent_types(model)
