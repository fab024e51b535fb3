"""Each piece alone, against NumPy; the detectors' own tests hold them together."""

import numpy as np
import onnx
import pytest
from builders import tiny_card
from networks import noise, session
from onnx import helper

from mogface_batch.errors import ModelError
from mogface_batch.export import graph
from mogface_batch.export.graph.published_network import build_checked_file
from mogface_batch.export.graph.resize import read_canvas_corners


def run(builder, *values, images):
    """Return tensors of an unfinished graph."""
    outputs = [helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None) for value in values]
    inputs = [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["n", "h", "w", 3])]
    model = helper.make_model(
        helper.make_graph(builder.nodes, "part", inputs, outputs, builder.initializers),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=6,
    )
    return session(model.SerializeToString()).run(list(values), {"images": images})


@pytest.mark.parametrize("bgr", [False, True], ids=["rgb", "bgr"])
def test_pixels_are_shifted_and_scaled_in_the_networks_own_channel_order(bgr):
    builder, canvases = graph.GraphBuilder(), noise(2, (5, 7))
    mean, scale = (1.0, 20.0, 300.0), (0.5, 2.0, 4.0)

    whole = graph.normalise(builder, bgr=bgr, mean=mean, scale=scale)
    bare = graph.shift_and_scale(builder, graph.read_canvases(builder, bgr=bgr), mean=(0, 0, 0), scale=1)
    shifted, unshifted = run(builder, whole, bare, images=canvases)

    channels = canvases[..., ::-1] if bgr else canvases
    np.testing.assert_array_equal(unshifted, channels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(shifted, ((channels - np.float32(mean)) * scale).transpose(0, 3, 1, 2))


@pytest.mark.parametrize("hw", [(1, 1), (8, 16), (9, 15)], ids=str)
def test_anchors_stand_in_the_middle_of_cells_by_row_column_and_side(hw):
    builder = graph.GraphBuilder()
    anchors = graph.add_grid_anchors(builder, graph.read_canvas_hw(builder), stride=8, sides_px=[4, 10])

    (found,) = run(builder, anchors, images=noise(1, hw))

    wanted = [
        (8 * column + 4, 8 * row + 4, side, side)
        for row in range(-(-hw[0] // 8))
        for column in range(-(-hw[1] // 8))
        for side in (4, 10)
    ]
    np.testing.assert_array_equal(found, np.float32(wanted))


def test_offsets_move_anchors_by_shares_of_their_size():
    builder = graph.GraphBuilder()
    anchors = builder.add_floats([[10, 20, 4, 8]])
    boxes = graph.decode_boxes(
        builder, anchors, builder.add_floats([[[1, -1, 0, np.log(2)]]]), variances=(0.5, 1.0)
    )
    points = graph.decode_landmarks(builder, anchors, builder.add_floats([[[1, 1] * 5]]), variance=0.5)

    box, landmarks = run(builder, boxes, points, images=noise(1, (1, 1)))

    np.testing.assert_allclose(box, [[[10, 8, 14, 24]]], rtol=1e-6)  # middle (12, 16), size (4, 16)
    np.testing.assert_allclose(landmarks, [[[12, 24] * 5]])


def with_candidates(scores, *, top_k):
    """Return a contract file of one canvas whose boxes count 0, 1, 2, ..."""
    builder = graph.GraphBuilder()
    count = len(scores)
    number = np.arange(count, dtype=np.float32)[None, :, None]
    # The batch is the canvases': a constant would have its own.
    one = builder.add("Slice", read_canvas_corners(builder), *map(builder.add_integers, ([0], [1])))
    none = builder.add("Mul", one, builder.add_floats(0))
    best = graph.choose_candidates(
        builder, builder.add("Add", builder.add_floats([scores]), none), top_k=top_k
    )
    boxes, points = (
        builder.add("Add", builder.add_floats(np.tile(number, columns)), none) for columns in (4, 10)
    )
    graph.name_outputs(
        builder,
        boxes=graph.gather_candidates(builder, best, boxes, columns=4),
        landmarks=graph.gather_candidates(builder, best, points, columns=10),
    )
    return build_checked_file(builder, tiny_card(), expected="detector")


@pytest.mark.parametrize(
    ("top_k", "order"),
    [(1, [2]), (3, [2, 0, 3]), (4, [2, 0, 3, 1]), (5000, [2, 0, 3, 1])],
)
def test_the_best_candidates_leave_best_first_and_of_equals_the_first(top_k, order):
    opened = session(with_candidates([0.5, 0.1, 0.9, 0.5], top_k=top_k))

    boxes, scores, landmarks = opened.run(["boxes", "scores", "landmarks"], {"images": noise(1, (2, 3))})

    np.testing.assert_array_equal(scores, np.float32([[[0.5, 0.1, 0.9, 0.5][row] for row in order]]))
    np.testing.assert_array_equal(boxes[0, :, 0], order)
    np.testing.assert_array_equal(landmarks[0, :, 4, 1], order)


def test_offsets_meet_the_anchors_of_the_best_alone():
    random = np.random.default_rng(0)
    scores, offsets = (random.random(shape).astype(np.float32) for shape in ((2, 6), (2, 6, 4)))
    builder = graph.GraphBuilder()
    anchors = graph.add_grid_anchors(builder, graph.read_canvas_hw(builder), stride=8, sides_px=[8])

    def decoded(these, offsets):
        return graph.decode_boxes(builder, these, offsets, variances=(0.1, 0.2))

    every = decoded(anchors, builder.add_floats(offsets))
    best = graph.choose_candidates(builder, builder.add_floats(scores), top_k=4)
    chosen = decoded(
        graph.gather_anchors(builder, best, anchors),
        graph.gather_candidates(builder, best, builder.add_floats(offsets), columns=4),
    )

    of_all, of_best = run(builder, every, chosen, images=noise(2, (16, 24)))

    order = np.argsort(-scores, axis=1)[:, :4, None]
    np.testing.assert_array_equal(of_best, np.take_along_axis(of_all, order, axis=1))


def test_a_network_that_does_not_fit_what_was_built_around_it_is_refused():
    builder = graph.GraphBuilder()
    best = graph.choose_candidates(builder, builder.add_floats([[1, 0]]), top_k=1)
    boxes = graph.gather_candidates(builder, best, builder.add_floats(np.zeros((1, 2, 3))), columns=4)
    graph.name_outputs(
        builder, boxes=boxes, landmarks=builder.add("Add", builder.add_floats([[1]]), "nobody/made_this")
    )

    with pytest.raises(ModelError, match="The weights are not those of the detector") as refused:
        build_checked_file(builder, tiny_card(), expected="detector")

    assert "\n" not in str(refused.value)
