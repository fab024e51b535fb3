"""Files for CUDA and TensorRT. The fused operator has a kernel on CUDA only: here ONNX's reference evaluator runs it, by its documentation."""

import numpy as np
import onnx
import pytest
from deep_detector import CHANNELS, make_deep_detector
from fused_norms import run_fused
from networks import noise, session

from mogface_batch.errors import ModelError
from mogface_batch.export.graph.contract_graph import FLOAT, FLOAT16, infer_tensor_types, read_contract
from mogface_batch.export.passes.cuda import fuse_group_norms
from mogface_batch.export.passes.fp16 import convert_to_fp16
from mogface_batch.export.passes.tensorrt import MAX_TOP_K, OPERATORS, adapt_to_tensorrt


def fused(encoded=None, *, half=False):
    model, _ = read_contract(encoded or make_deep_detector(), "F")
    assert fuse_group_norms(model) == 1
    return convert_to_fp16(model) if half else model


def test_the_fused_file_finds_the_same():
    canvases = noise(2, (40, 56))
    boxes, scores = session(make_deep_detector()).run(["boxes", "scores"], {"images": canvases})

    fused_boxes, fused_scores = run_fused(fused(), canvases)

    np.testing.assert_allclose(fused_scores, scores, atol=1e-5)
    np.testing.assert_allclose(fused_boxes, boxes, atol=1e-3)


def test_in_float16_too_and_its_weights_stay_float32():
    canvases = noise(1, (40, 56))
    (scores,) = session(make_deep_detector()).run(["scores"], {"images": canvases})
    model = fused(half=True)

    _, fused_scores = run_fused(model, canvases)

    assert np.abs(fused_scores - scores).max() < 0.02
    (norm,) = (node for node in model.graph.node if node.op_type == "GroupNorm")
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert [types[name] for name in norm.input[1:]] == [FLOAT, FLOAT]
    # What follows the operator, which ONNX itself does not know, is float16 as well.
    assert sum(tensor.data_type == FLOAT16 for tensor in model.graph.initializer) >= 6


def test_the_file_is_whole():
    model = fused()

    onnx.checker.check_model(model)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18, "com.microsoft": 1}
    operators = [node.op_type for node in model.graph.node]
    assert (operators.count("GroupNorm"), "InstanceNormalization" in operators) == (1, False)
    (norm,) = (node for node in model.graph.node if node.op_type == "GroupNorm")
    gamma = next(tensor for tensor in model.graph.initializer if tensor.name == norm.input[1])
    assert list(gamma.dims) == [CHANNELS]
    assert all(infer_tensor_types(model).get(name) for node in model.graph.node for name in node.output)


def test_the_same_file_gives_the_same_bytes():
    assert fused().SerializeToString(deterministic=True) == fused().SerializeToString(deterministic=True)


def test_tensorrt_gets_no_more_candidates_than_it_takes():
    encoded = make_deep_detector()
    model, card = read_contract(encoded, "F")
    canvases = noise(1, (528, 528))  # 66 x 66 cells

    assert adapt_to_tensorrt(model, top_k=card.top_k) == MAX_TOP_K

    boxes, scores = session(model.SerializeToString()).run(["boxes", "scores"], {"images": canvases})
    whole = session(encoded).run(["boxes", "scores"], {"images": canvases})
    assert scores.shape[1] == MAX_TOP_K < whole[1].shape[1]
    np.testing.assert_array_equal(scores, whole[1][:, :MAX_TOP_K])
    np.testing.assert_array_equal(boxes, whole[0][:, :MAX_TOP_K])
    assert {node.op_type for node in model.graph.node} <= OPERATORS


def test_fewer_candidates_than_that_stay_as_they_are():
    model, _ = read_contract(make_deep_detector(), "F")

    (scores,) = session((adapt_to_tensorrt(model, top_k=5000), model.SerializeToString())[1]).run(
        ["scores"], {"images": noise(1, (64, 96))}
    )

    assert scores.shape == (1, 96)


def test_tensorrt_refuses_operators_that_its_parser_does_not_take():
    with pytest.raises(ModelError, match=r"it contains GroupNorm, com\.microsoft"):
        adapt_to_tensorrt(fused(), top_k=100)


def test_tensorrt_refuses_a_later_opset():
    model, _ = read_contract(make_deep_detector(), "F")
    model.opset_import[0].version = 21

    with pytest.raises(ModelError, match="opset is 20 at most"):
        adapt_to_tensorrt(model, top_k=100)
